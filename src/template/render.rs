//! A compiled template, and the rendering of one conversation.
use std::collections::{BTreeMap, HashSet};
use std::error::Error as _;
use std::sync::OnceLock;

use minijinja::machinery::{self, ast, CodeGenerator, Instruction, Instructions};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State};

use crate::base::memory;
use crate::base::own_stack;
use super::functions::{Raised, NOW};
use super::marks::{self, Marking, PLANES};
use super::strftime::Moment;
use super::print::write_str;
use super::value::{dict, items_of, list, Dict, Key, Pairs};
use super::{clock, filters, functions, json, methods, operators, rewrite, source, tests};

/// What one rendering may cost, in the engine's unit: an instruction, or 64 bytes made. A template
/// that never ends is refused within 100 ms; a long conversation may cost more.
const FUEL: u64 = 500_000;
const FUEL_FOR_BYTE: u64 = 2;
/// The stack that compiling needs at most: source.rs bounds what recurses.
const COMPILING_STACK: usize = 64 << 20;
/// Macros within macros; each takes about 5 KB of the caller's stack.
const RECURSION: usize = 160;

/// The message roles whose words a template may make special tokens of, as in `'<|' + role + '|>'`.
const ROLES: [&str; 10] = [
    "system", "user", "assistant", "tool", "developer", "function", "ipython", "model", "context",
    "environment",
];

#[derive(Debug)]
pub enum Failure {
    /// Does not compile.
    Syntax(String),
    /// The template's own refusal (raise_exception).
    Raised(String),
    /// Fails on this conversation.
    Failed(String),
    /// Needs more steps, memory or depth than a template may have.
    Limit(String),
    /// The request is not what it has to be.
    Request(String),
    Memory,
}

pub struct Template {
    // Borrow from `source`, which is declared after them, so dropped later.
    instructions: Instructions<'static>,
    blocks: BTreeMap<&'static str, Instructions<'static>>,
    owner: Owner,
    source: Box<str>,
}

/// Which of the request's characters could belong to a special token.
struct Owner {
    /// First and last characters of special tokens.
    ends: HashSet<char>,
    /// The template has pieces that could become a special token around a text of the request.
    composes: bool,
}

pub struct Request<'a> {
    pub messages: Messages<'a>,
    pub tools: Option<&'a str>,
    pub documents: Option<&'a str>,
    pub variables: Option<&'a str>,
    pub tokens: Vec<(&'a str, &'a str)>, // "bos_token" and its text …
    pub generation_prompt: bool,
    pub now: Moment,
}

pub enum Messages<'a> {
    Json(&'a str),
    Plain(Vec<(&'a str, &'a str)>), // role, content
}

pub struct Rendered {
    pub text: String,
    /// The byte ranges of the text that the request wrote and that could look like special tokens.
    pub foreign: Vec<[usize; 2]>,
}

// ---- compiling ----------------------------------------------------------------------------------

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut env = Environment::empty();
        env.set_recursion_limit(RECURSION);
        env.set_formatter(emit);
        env.set_unknown_method_callback(methods::unknown);
        operators::register(&mut env);
        functions::register(&mut env);
        filters::register(&mut env);
        tests::register(&mut env);
        env
    })
}

fn emit(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.as_object().is_some() {
        super::value::charge_value(state, value)?;
    }
    super::value::check_memory()?;
    write_str(out, value).map_err(Error::from)
}

impl Template {
    pub fn compile(text: &str, specials: &[&str]) -> Result<Template, Failure> {
        let prepared = source::prepare(text).map_err(Failure::Syntax)?.into_boxed_str();
        let ends = specials.iter().flat_map(|s| [s.chars().next(), s.chars().next_back()]);
        let mut owner = Owner { ends: ends.flatten().collect(), composes: false };
        // SAFETY: the text is on the heap and is dropped after everything that borrows from it.
        let source: &'static str = unsafe { &*std::ptr::from_ref::<str>(&prepared) };
        let compiled = own_stack::run(COMPILING_STACK, || translate(source, specials));
        let compiled = compiled.ok_or(Failure::Memory)?;
        let compiled = compiled.map_err(|_| Failure::Syntax("the compiler failed".into()))?;
        let (instructions, blocks, composes) =
            compiled.map_err(|error| Failure::Syntax(describe(&error)))?;
        owner.composes = composes;
        Ok(Template { instructions, blocks, owner, source: prepared })
    }
}

type Compiled = (Instructions<'static>, BTreeMap<&'static str, Instructions<'static>>, bool);

fn translate(source: &'static str, specials: &[&str]) -> Result<Compiled, Error> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    let tree = rewrite::template(&machinery::parse(source, "template", syntax)?);
    let mut generator = CodeGenerator::new("template", source);
    generator.compile_stmt(&tree);
    let (instructions, blocks) = generator.finish();
    let mut pieces = Vec::new();
    for part in std::iter::once(&instructions).chain(blocks.values()) {
        let all = (0..).map_while(|i| part.get(i));
        pieces.extend(all.filter_map(|instruction| match instruction {
            Instruction::EmitRaw(raw) => Some(Value::from(*raw)),
            Instruction::LoadConst(value) => Some(value.clone()),
            _ => None,
        }));
    }
    let texts: Vec<&str> = pieces.iter().filter_map(Value::as_str).collect();
    let composes = composes(&texts, specials);
    drop::<ast::Stmt>(tree); // here, where the stack is deep enough
    Ok((instructions, blocks, composes))
}

/// Whether some piece ends with the beginning of a special token, and some begins with an end.
fn composes(pieces: &[&str], specials: &[&str]) -> bool {
    let cuts = |text: &'_ str| -> Vec<usize> { text.char_indices().skip(1).map(|x| x.0).collect() };
    let mut heads = HashSet::new();
    let mut tails = HashSet::new();
    for special in specials {
        for cut in cuts(special) {
            heads.insert(&special[..cut]);
            tails.insert(&special[cut..]);
        }
    }
    let longest = heads.iter().map(|x| x.len()).max().unwrap_or(0);
    let lengths = |text: &str| 1..=text.len().min(longest);
    let opens = |text: &&str| {
        let ends = lengths(text).filter_map(|n| text.get(text.len() - n..));
        ends.into_iter().any(|end| heads.contains(end))
    };
    let closes = |text: &&str| {
        let beginnings = lengths(text).filter_map(|n| text.get(..n));
        beginnings.into_iter().any(|beginning| tails.contains(beginning))
    };
    pieces.iter().any(opens) && pieces.iter().any(closes)
}

/// The words of an error, and where in the template it arose.
fn describe(error: &Error) -> String {
    let words = match error.detail() {
        Some(detail) if error.kind() == ErrorKind::SyntaxError => detail.to_owned(),
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    match error.line() {
        Some(line) => format!("{words} (line {line})"),
        None => words,
    }
}

fn classify(error: &Error) -> Failure {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(Raised(words)) = inner.downcast_ref::<Raised>() {
            return Failure::Raised(words.clone());
        }
        source = inner.source();
    }
    let mut innermost = error;
    while let Some(inner) = innermost.source().and_then(|x| x.downcast_ref::<Error>()) {
        innermost = inner;
    }
    match innermost.kind() {
        _ if memory::has_failed() => Failure::Memory,
        ErrorKind::OutOfFuel => Failure::Limit("it takes too many steps".into()),
        _ => Failure::Failed(describe(innermost)),
    }
}

// ---- rendering ----------------------------------------------------------------------------------

impl Template {
    pub fn render(&self, request: &Request) -> Result<Rendered, Failure> {
        memory::begin();
        let rendered = self.render_twice(request);
        match memory::has_failed() {
            true => Err(Failure::Memory),
            false => rendered,
        }
    }

    fn render_twice(&self, request: &Request) -> Result<Rendered, Failure> {
        let parts = Parts::read(request)?;
        let text = self.run(&parts, request)?;
        if !parts.foreign().any(|value| self.owner.suspects(value, None)) {
            return Ok(Rendered { text, foreign: Vec::new() });
        }
        let is_free = |plane: &u32| {
            !marks::is_in_plane(&text, *plane)
                && !marks::is_in_plane(&self.source, *plane)
                && !parts.foreign().any(|value| has_plane(value, *plane))
        };
        let Some(plane) = PLANES.into_iter().find(is_free) else {
            return Err(unclear());
        };
        let marking = Marking::begin(plane); // keys are hashed by their plain texts
        let marked = parts.map(|value, key| self.owner.mark(value, key, plane))?;
        let shown = self.run(&marked, request)?;
        let foreign = foreign_places(&shown);
        let same = marks::plain(&shown) == text;
        drop(marking);
        match same {
            true => Ok(Rendered { text, foreign }),
            false => Err(unclear()),
        }
    }

    fn run(&self, parts: &Parts, request: &Request) -> Result<String, Failure> {
        clock::begin(parts.bytes);
        let root = parts.root(request).map_err(|error| Failure::Request(describe(&error)))?;
        let mut env = environment().clone();
        env.set_fuel(Some(FUEL + FUEL_FOR_BYTE * parts.bytes as u64));
        let mut text = String::new();
        let mut out = machinery::make_string_output(&mut text);
        let result = machinery::eval(
            &env,
            &self.instructions,
            root,
            &self.blocks,
            &mut out,
            AutoEscape::None,
        );
        match result {
            Ok(_) => {}
            Err(error) => return Err(classify(&error)),
        }
        drop(out);
        Ok(text)
    }
}

fn unclear() -> Failure {
    Failure::Failed("it cannot be told which special tokens the conversation wrote".into())
}

/// The byte ranges, in the text without marks, of its marked characters.
fn foreign_places(shown: &str) -> Vec<[usize; 2]> {
    let mut places: Vec<[usize; 2]> = Vec::new();
    let mut at = 0;
    for c in shown.chars() {
        let end = at + marks::unmark(c).len_utf8();
        if marks::is_marked(c) {
            match places.last_mut() {
                Some(last) if last[1] == at => last[1] = end,
                _ => places.push([at, end]),
            }
        }
        at = end;
    }
    places
}

fn has_plane(value: &Value, plane: u32) -> bool {
    any_text(value, &|text| marks::is_in_plane(text, plane))
}

/// Whether any text within the value, keys included, is one that `is` holds for.
fn any_text(value: &Value, is: &dyn Fn(&str) -> bool) -> bool {
    if let Some(text) = value.as_str() {
        return is(text);
    }
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        return dict.pairs.iter().any(|(key, value)| any_text(&key.0, is) || any_text(value, is));
    }
    super::value::is_list(value) && items_of(value).iter().any(|item| any_text(item, is))
}

impl Owner {
    fn is_suspect(&self, c: char) -> bool {
        match self.composes {
            true => !methods::is_space(c),
            false => self.ends.contains(&c),
        }
    }

    /// Whether the value has characters to mark. A message's role that is a known one has not.
    fn suspects(&self, value: &Value, key: Option<&str>) -> bool {
        if let Some(text) = value.as_str() {
            return !is_role(key, text) && text.chars().any(|c| self.is_suspect(c));
        }
        if let Some(dict) = value.downcast_object_ref::<Dict>() {
            return dict.pairs.iter().any(|(key, value)| {
                self.suspects(&key.0, None) || self.suspects(value, key.0.as_str())
            });
        }
        super::value::is_list(value) && items_of(value).iter().any(|x| self.suspects(x, None))
    }

    fn mark(&self, value: &Value, key: Option<&str>, plane: u32) -> Result<Value, Error> {
        if let Some(text) = value.as_str() {
            if is_role(key, text) {
                return Ok(value.clone());
            }
            let mark = |c| if self.is_suspect(c) { marks::mark(c, plane) } else { c };
            return Ok(Value::from(text.chars().map(mark).collect::<String>()));
        }
        if let Some(dictionary) = value.downcast_object_ref::<Dict>() {
            let mut pairs = Pairs::with_capacity(dictionary.pairs.len());
            for (key, value) in &dictionary.pairs {
                let marked = self.mark(value, key.0.as_str(), plane)?;
                pairs.insert(Key(self.mark(&key.0, None, plane)?), marked);
            }
            return dict(pairs);
        }
        if super::value::is_list(value) {
            let items = items_of(value);
            return list(items.iter().map(|x| self.mark(x, None, plane)).collect::<Result<_, _>>()?);
        }
        Ok(value.clone())
    }
}

fn is_role(key: Option<&str>, text: &str) -> bool {
    key == Some("role") && ROLES.contains(&text)
}

// ---- requests -----------------------------------------------------------------------------------

/// A request's values.
struct Parts {
    messages: Value,
    tools: Value,
    documents: Value,
    variables: Value,
    bytes: usize, // of their texts
}

impl Parts {
    fn read(request: &Request) -> Result<Parts, Failure> {
        let mut bytes = 0;
        let mut read = |what: &str, text: Option<&str>| -> Result<Value, Failure> {
            let Some(text) = text else { return Ok(Value::from(())) };
            bytes += text.len();
            json::read(text).map_err(|error| Failure::Request(format!("{what}: {error}")))
        };
        let tools = read("tools", request.tools)?;
        let documents = read("documents", request.documents)?;
        let variables = read("chat_template_kwargs", request.variables)?;
        let messages = match &request.messages {
            Messages::Json(text) => read("messages", Some(text)).and_then(|x| parsed_arguments(&x)),
            Messages::Plain(messages) => {
                bytes += messages.iter().map(|x| x.1.len()).sum::<usize>();
                plain_messages(messages).map_err(|error| Failure::Request(describe(&error)))
            }
        }?;
        Ok(Parts { messages, tools, documents, variables, bytes })
    }

    fn foreign(&self) -> impl Iterator<Item = &Value> {
        [&self.messages, &self.tools, &self.documents, &self.variables].into_iter()
    }

    fn map(
        &self,
        change: impl Fn(&Value, Option<&str>) -> Result<Value, Error>,
    ) -> Result<Parts, Failure> {
        let change = |value: &Value| {
            change(value, None).map_err(|error| Failure::Request(describe(&error)))
        };
        Ok(Parts {
            messages: change(&self.messages)?,
            tools: change(&self.tools)?,
            documents: change(&self.documents)?,
            variables: change(&self.variables)?,
            bytes: self.bytes,
        })
    }

    /// The template's variables, named as the transformers library names them.
    fn root(&self, request: &Request) -> Result<Value, Error> {
        let mut root = Pairs::new();
        let key = |name: &str| Key(Value::from(name));
        for (name, text) in &request.tokens {
            root.insert(key(name), Value::from(*text));
        }
        if let Some(variables) = self.variables.downcast_object_ref::<Dict>() {
            let plain_key = |key: &Key| Key(Value::from(super::print::to_str(&key.0)));
            root.extend(variables.pairs.iter().map(|(k, v)| (plain_key(k), v.clone())));
        }
        root.insert(key("messages"), self.messages.clone());
        root.insert(key("tools"), self.tools.clone());
        root.insert(key("documents"), self.documents.clone());
        root.insert(key("add_generation_prompt"), Value::from(request.generation_prompt));
        root.insert(key(NOW), Value::from_object(request.now));
        dict(root)
    }
}

fn plain_messages(messages: &[(&str, &str)]) -> Result<Value, Error> {
    let message = |(role, content): &(&str, &str)| {
        let pairs = [("role", *role), ("content", *content)];
        dict(pairs.into_iter().map(|(k, v)| (Key(Value::from(k)), Value::from(v))).collect())
    };
    list(messages.iter().map(message).collect::<Result<_, _>>()?)
}

/// OpenAI's API sends the arguments of tool calls as JSON in a text; templates want the object.
fn parsed_arguments(messages: &Value) -> Result<Value, Failure> {
    if messages.len() == Some(0) {
        return Err(Failure::Request("the conversation has no messages".into()));
    }
    let mut parsed = Vec::new();
    for message in items_of(messages) {
        parsed.push(at_key(&message, "tool_calls", &|calls| {
            let call = |call: &Value| {
                at_key(call, "function", &|function| at_key(function, "arguments", &parsed_object))
            };
            match super::value::is_list(calls) {
                true => list(items_of(calls).iter().map(call).collect::<Result<_, _>>()?),
                false => Ok(calls.clone()),
            }
        }));
    }
    let is_object = |x: &Value| x.downcast_object_ref::<Dict>().is_some();
    let parsed = parsed.into_iter().map(|x| with_thinking(x?));
    let parsed = parsed.collect::<Result<Vec<Value>, Error>>();
    match parsed.and_then(|parsed| Ok((parsed.iter().all(is_object), list(parsed)?))) {
        Ok((true, parsed)) if super::value::is_list(messages) => Ok(parsed),
        Ok(_) => Err(Failure::Request("messages: a list of objects is needed".into())),
        Err(error) => Err(Failure::Request(describe(&error))),
    }
}

/// A message's thought under gpt-oss's name for it, too. Its template refuses one beside both calls
/// and content.
fn with_thinking(message: Value) -> Result<Value, Error> {
    let Some(dictionary) = message.downcast_object_ref::<Dict>() else {
        return Ok(message);
    };
    let is_there = |key: &str| dictionary.get(&Value::from(key)).is_some_and(Value::is_true);
    let has_both = is_there("tool_calls") && is_there("content");
    match dictionary.get(&Value::from("reasoning_content")) {
        Some(thought) if !has_both && dictionary.get(&Value::from("thinking")).is_none() => {
            let mut pairs = dictionary.pairs.clone();
            pairs.insert(Key(Value::from("thinking")), thought.clone());
            dict(pairs)
        }
        _ => Ok(message),
    }
}

fn parsed_object(value: &Value) -> Result<Value, Error> {
    let parsed = value.as_str().and_then(|text| json::read(text).ok());
    let object = parsed.filter(|x| x.downcast_object_ref::<Dict>().is_some());
    Ok(object.unwrap_or_else(|| value.clone()))
}

/// The dictionary with what `change` makes of the value at `key`; anything else as it is.
fn at_key(
    value: &Value,
    key: &str,
    change: &dyn Fn(&Value) -> Result<Value, Error>,
) -> Result<Value, Error> {
    let name = Value::from(key);
    let dictionary = value.downcast_object_ref::<Dict>();
    let Some((dictionary, old)) = dictionary.and_then(|d| d.get(&name).map(|old| (d, old))) else {
        return Ok(value.clone());
    };
    let mut pairs = dictionary.pairs.clone();
    pairs.insert(Key(name), change(old)?);
    dict(pairs)
}
