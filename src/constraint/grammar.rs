//! From a grammar's text, in one of several languages, to what matches it.
use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::Matcher;
use serde_json::Value;

use super::names::Quotes;
use super::vocabulary::Vocabulary;
use super::{calls, gbnf, schema, Failure};
use crate::base::memory;
use crate::base::own_stack;

/// constraint_kind
#[derive(Clone, Copy)]
pub enum Kind {
    JsonSchema,
    Lark,
    Gbnf,
    Regex,
    Choice,
    Calls,
}

impl Kind {
    pub fn from_number(number: i32) -> Kind {
        let kinds =
            [Kind::JsonSchema, Kind::Lark, Kind::Gbnf, Kind::Regex, Kind::Choice, Kind::Calls];
        kinds[number as usize]
    }
}

/// A compiled grammar: a matcher that has seen nothing yet.
pub struct Grammar {
    pub start: Arc<Matcher>,
    /// Of a JSON text.
    pub quotes: Option<Arc<Quotes>>,
}

// constraint.h lets any thread make replies of one grammar at once.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Grammar>();
};

/// Bytes of a grammar's text: what recurses in llguidance goes as deep as this allows, and what takes
/// the square of a grammar's size is done within two seconds.
const MAX_TEXT: usize = 64 << 10;
const COMPILING_STACK: usize = 128 << 20; // of addresses: pages cost nothing until they are used
const MAX_CHOICES: usize = 4096;

/// Of compiling (the first; 50,000 a millisecond) and of each mask: 14,000 of the lexer's and 20,000
/// items a millisecond. A state of the lexer takes one or two kilobytes.
pub fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_lexer_states: 25_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

impl Grammar {
    pub fn compile(vocabulary: &Vocabulary, kind: Kind, text: &str) -> Result<Grammar, Failure> {
        if text.len() > MAX_TEXT {
            return Err(Failure::Limit(format!(
                "it has {} bytes, at most {MAX_TEXT} are allowed",
                text.len()
            )));
        }
        own_stack::run(COMPILING_STACK, || compile(vocabulary, kind, text))
            .ok_or(Failure::Memory)?
            .unwrap_or_else(|_| Err(Failure::Failed("the compiler failed".into())))
    }
}

/// Recursion is bounded where that can be compiled.
fn compile(vocabulary: &Vocabulary, kind: Kind, text: &str) -> Result<Grammar, Failure> {
    match compile_with(vocabulary, kind, text, true) {
        Err(Failure::Refused(_) | Failure::Limit(_)) => compile_with(vocabulary, kind, text, false),
        done => done,
    }
}

fn compile_with(
    vocabulary: &Vocabulary,
    kind: Kind,
    text: &str,
    is_bounded: bool,
) -> Result<Grammar, Failure> {
    let parsed = match kind {
        Kind::JsonSchema => schema::read(text, is_bounded)?,
        Kind::Lark => lark(text)?,
        Kind::Gbnf => TopLevelGrammar::from_lark(gbnf::to_lark(text)?),
        Kind::Regex => TopLevelGrammar::from_regex(text),
        Kind::Choice => choice(text)?,
        Kind::Calls => TopLevelGrammar::from_lark(calls::to_lark(text, is_bounded)?),
    };
    let start = Matcher::new(vocabulary.factory.create_parser(parsed));
    let mut first = start.deep_clone();
    let _ = first.compute_mask_or_eos(); // says what is wrong
    match first.get_error() {
        _ if memory::has_failed() => Err(Failure::Memory),
        None => Ok(Grammar {
            start: Arc::new(start),
            quotes: matches!(kind, Kind::JsonSchema).then(|| Arc::clone(&vocabulary.quotes)),
        }),
        Some(words) => Err(refusal(&words)),
    }
}

/// What a rule's head may say and only sampling could do: `NAME[temperature=0.5]: …`.
const NOT_HONOURED: [&str; 2] = ["temperature", "stop"];

fn lark(text: &str) -> Result<TopLevelGrammar, Failure> {
    for line in text.lines() {
        let name_end = line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len());
        let Some(attributes) = line[name_end..].trim_start().strip_prefix('[') else { continue };
        for attribute in attributes.split(',') {
            let name = attribute.split('=').next().unwrap_or_default().trim();
            if NOT_HONOURED.contains(&name) {
                return Err(Failure::Refused(format!("'{name}' of a rule is not supported")));
            }
        }
    }
    Ok(TopLevelGrammar::from_lark(text.to_owned()))
}

/// The library's words that are for its own callers, and what they mean to a client.
const REWORDED: [(&str, &str); 3] = [
    ("Unimplemented keys:", "not supported:"),
    ("Unknown format:", "the format is not supported:"),
    ("oneOf constraints are not supported. Enable 'coerce_one_of' option to approximate oneOf with anyOf",
     "'oneOf' is supported only where no value can match two of its schemas"),
];

/// What the library says of a grammar, in one line.
fn refusal(words: &str) -> Failure {
    if words.starts_with("panic") {
        return Failure::Refused("it cannot be compiled".into());
    }
    if words.starts_with("NoExtension") {
        return Failure::Refused("no text matches it".into());
    }
    let words = words.split("\n<").next().unwrap_or_default();
    let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for (theirs, ours) in REWORDED {
        line = line.replace(theirs, ours);
    }
    match ["too large", "too many", "too big", "limits.", "exceeded"].iter().any(|x| line.contains(x)) {
        true => Failure::Limit(format!("it is too complex: {line}")),
        false => Failure::Refused(line),
    }
}

fn choice(text: &str) -> Result<TopLevelGrammar, Failure> {
    let wrong = || Failure::Refused("an array of texts that are not empty is needed".into());
    let choices: Vec<String> = serde_json::from_str(text).map_err(|_| wrong())?;
    if choices.is_empty() || choices.iter().any(String::is_empty) {
        return Err(wrong());
    }
    if choices.len() > MAX_CHOICES {
        return Err(Failure::Limit(format!("at most {MAX_CHOICES} choices are allowed")));
    }
    let quoted: Vec<String> = choices.into_iter().map(|x| Value::from(x).to_string()).collect();
    Ok(TopLevelGrammar::from_lark(format!("start: {}", quoted.join(" | "))))
}
