//! llama.cpp's grammars, rewritten as Lark's.
//!
//! A rule that does not need itself becomes a terminal: a regular expression, which the lexer follows
//! exactly however its parts overlap. The others stay rules.
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::Failure;

const MAX_DEPTH: usize = 128; // of parentheses

enum Node {
    /// Lark's own text of a terminal: a string or a regular expression.
    Terminal(String),
    /// A token of the vocabulary, as Lark writes it.
    Token(String),
    Rule(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(Box<Node>, String),
}

struct Reader<'a> {
    left: std::str::Chars<'a>,
    depth: usize,
}

fn refuse<T>(words: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Refused(words.into()))
}

/// The grammar as Lark.
pub fn to_lark(text: &str) -> Result<String, Failure> {
    let rules = Reader { left: text.chars(), depth: 0 }.rules()?;
    let names: Vec<&String> = rules.iter().map(|x| &x.0).collect();
    let by_name: HashMap<&str, &Node> = rules.iter().map(|x| (x.0.as_str(), &x.1)).collect();
    if by_name.len() != rules.len() {
        return refuse("a rule is defined twice");
    }
    if !by_name.contains_key("root") {
        return refuse("there is no rule 'root'");
    }
    let regular = regular_rules(&by_name)?;
    let lark_name = |name: &str| {
        let number = names.iter().position(|x| *x == name).unwrap_or(0);
        if regular.contains(name) { format!("R{number}") } else { format!("r{number}") }
    };
    let mut lark = format!("start: {}\n", lark_name("root"));
    for (name, node) in &rules {
        let _ = write!(lark, "{}: ", lark_name(name)); // a String takes everything
        write_node(&mut lark, node, &lark_name);
        lark.push('\n');
    }
    Ok(lark)
}

fn write_node(lark: &mut String, node: &Node, lark_name: &dyn Fn(&str) -> String) {
    let list = |lark: &mut String, nodes: &[Node], between: &str| {
        lark.push('(');
        for (i, node) in nodes.iter().enumerate() {
            lark.push_str(if i > 0 { between } else { "" });
            write_node(lark, node, lark_name);
        }
        lark.push(')');
    };
    match node {
        Node::Terminal(text) | Node::Token(text) => lark.push_str(text),
        Node::Rule(name) => lark.push_str(&lark_name(name)),
        Node::Sequence(nodes) if nodes.is_empty() => lark.push_str("\"\""),
        Node::Sequence(nodes) => list(lark, nodes, " "),
        Node::Choice(nodes) => list(lark, nodes, " | "),
        Node::Repeat(node, times) => {
            list(lark, std::slice::from_ref(&**node), "");
            lark.push_str(times);
        }
    }
}

// ---- which rules are regular --------------------------------------------------------------------

/// What a rule is made of: the rules it names, and whether it names a token.
fn parts<'a>(node: &'a Node, rules: &mut Vec<&'a str>) -> bool {
    match node {
        Node::Terminal(_) => false,
        Node::Token(_) => true,
        Node::Rule(name) => {
            rules.push(name);
            false
        }
        Node::Sequence(nodes) | Node::Choice(nodes) => {
            nodes.iter().fold(false, |has, node| parts(node, rules) | has)
        }
        Node::Repeat(node, _) => parts(node, rules),
    }
}

/// Those all of whose parts are known to be regular, until there are no more.
fn regular_rules<'a>(rules: &HashMap<&'a str, &'a Node>) -> Result<HashSet<&'a str>, Failure> {
    let mut regular = HashSet::new();
    let mut waiting = Vec::new();
    for (name, node) in rules {
        let mut names = Vec::new();
        let has_token = parts(node, &mut names);
        if let Some(unknown) = names.iter().find(|x| !rules.contains_key(*x)) {
            return refuse(format!("rule '{name}' needs '{unknown}', which is not defined"));
        }
        if !has_token {
            waiting.push((*name, names));
        }
    }
    loop {
        let before = regular.len();
        waiting.retain(|(name, names)| {
            let is_regular = names.iter().all(|x| regular.contains(x));
            if is_regular {
                regular.insert(*name);
            }
            !is_regular
        });
        if regular.len() == before {
            return Ok(regular);
        }
    }
}

// ---- reading ------------------------------------------------------------------------------------

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.left.clone().next()
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.left.as_str().starts_with(text);
        if found {
            self.left = self.left.as_str()[text.len()..].chars();
        }
        found
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let rest = self.left.as_str();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.left = rest[end..].chars();
        rest[..end].to_owned()
    }

    /// Blanks and comments; the ends of lines only with `lines`.
    fn space(&mut self, lines: bool) {
        loop {
            self.take_while(|c| c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')));
            if self.peek() != Some('#') {
                return;
            }
            self.take_while(|c| c != '\n' && c != '\r');
        }
    }

    /// The first words of what is left, for messages.
    fn here(&self) -> String {
        self.left.as_str().chars().take(20).take_while(|c| *c != '\n').collect()
    }

    fn rules(mut self) -> Result<Vec<(String, Node)>, Failure> {
        let mut rules = Vec::new();
        self.space(true);
        while self.peek().is_some() {
            let name = self.take_while(is_name);
            self.space(false);
            if name.is_empty() || !self.take("::=") {
                return refuse(format!("a rule 'name ::= …' is needed at '{name}{}'", self.here()));
            }
            self.space(true);
            rules.push((name, self.choice()?));
            if !matches!(self.peek(), None | Some('\n' | '\r')) {
                return refuse(format!("the end of a line is needed at '{}'", self.here()));
            }
            self.space(true);
        }
        Ok(rules)
    }

    fn choice(&mut self) -> Result<Node, Failure> {
        let mut nodes = vec![self.sequence()?];
        loop {
            // an alternative may stand on a line of its own
            let mut ahead = Reader { left: self.left.clone(), depth: self.depth };
            ahead.space(true);
            if !ahead.take("|") {
                break;
            }
            self.left = ahead.left;
            self.space(true);
            nodes.push(self.sequence()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Choice(nodes) })
    }

    fn sequence(&mut self) -> Result<Node, Failure> {
        let mut nodes = Vec::new();
        while let Some(node) = self.symbol()? {
            let times = self.times()?;
            nodes.push(match times.as_str() {
                "" => node,
                "{0}" => Node::Sequence(Vec::new()),
                _ => Node::Repeat(Box::new(node), times),
            });
            self.space(self.depth > 0);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Sequence(nodes) })
    }

    fn symbol(&mut self) -> Result<Option<Node>, Failure> {
        let node = match self.peek() {
            Some('"') => Node::Terminal(self.string()?),
            Some('[') => Node::Terminal(self.class()?),
            Some('.') => {
                self.left.next();
                Node::Terminal("/(?s:.)/".into())
            }
            Some('(') => self.group()?,
            Some('<') => self.token()?,
            Some(c) if is_name(c) => {
                let before = self.left.clone();
                let name = self.take_while(is_name);
                let mut ahead = Reader { left: self.left.clone(), depth: 0 };
                ahead.space(false);
                if ahead.take("::=") {
                    self.left = before; // the next rule, after a rule's empty last alternative
                    return Ok(None);
                }
                Node::Rule(name)
            }
            _ => return Ok(None),
        };
        Ok(Some(node))
    }

    fn group(&mut self) -> Result<Node, Failure> {
        if self.depth == MAX_DEPTH {
            return Err(Failure::Limit(format!("parentheses nest more than {MAX_DEPTH} deep")));
        }
        self.left.next();
        self.depth += 1;
        self.space(true);
        let node = self.choice()?;
        self.depth -= 1;
        match self.take(")") {
            true => Ok(node),
            false => refuse(format!("')' is needed at '{}'", self.here())),
        }
    }

    fn token(&mut self) -> Result<Node, Failure> {
        let text = self.take_while(|c| c != '>' && c != '\n');
        match self.take(">") && text.len() > 1 {
            true => Ok(Node::Token(text + ">")),
            false => refuse("a token's '>' is missing"),
        }
    }

    fn times(&mut self) -> Result<String, Failure> {
        if let Some(c @ ('*' | '+' | '?')) = self.peek() {
            self.left.next();
            return Ok(c.to_string());
        }
        if self.peek() != Some('{') {
            return Ok(String::new());
        }
        let times = self.take_while(|c| c != '}' && c != '\n').replace([' ', '\t'], "");
        let numbers: Vec<&str> = times[1..].split(',').collect();
        let are_numbers = numbers.len() <= 2
            && numbers.iter().enumerate().all(|(i, x)| {
                (i == 1 && x.is_empty()) || x.parse::<u32>().is_ok_and(|n| n <= 100_000)
            });
        if !self.take("}") || !are_numbers {
            return refuse("a repetition is {m}, {m,} or {m,n}, of numbers up to 100000");
        }
        Ok(match numbers[..] {
            ["0"] | ["0", "0"] => "{0}".into(),
            _ => times + "}",
        })
    }

    /// A character, perhaps escaped.
    fn character(&mut self) -> Result<char, Failure> {
        let wrong = || Failure::Refused("an escape that is not known, or has too few digits".into());
        let c = self.left.next().ok_or_else(|| Failure::Refused("it ends within a text".into()))?;
        if c != '\\' {
            return Ok(c);
        }
        let digits = match self.left.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^')) => return Ok(c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err(wrong()),
        };
        let code = self.left.as_str().get(..digits).ok_or_else(wrong)?;
        let made = u32::from_str_radix(code, 16).ok().and_then(char::from_u32).ok_or_else(wrong)?;
        self.left = self.left.as_str()[digits..].chars();
        Ok(made)
    }

    fn string(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        self.left.next();
        while self.peek() != Some('"') {
            text.push(self.character()?);
        }
        self.left.next();
        Ok(serde_json::Value::from(text).to_string())
    }

    fn class(&mut self) -> Result<String, Failure> {
        let mut class = String::from("/[");
        self.left.next();
        if self.take("^") {
            class.push('^');
        }
        while self.peek() != Some(']') {
            let first = self.character()?;
            let mut last = first;
            if self.left.as_str().starts_with('-') && !self.left.as_str().starts_with("-]") {
                self.left.next();
                last = self.character()?;
            }
            let _ = write!(class, r"\x{{{:x}}}-\x{{{:x}}}", first as u32, last as u32);
        }
        self.left.next();
        Ok(class + "]/")
    }
}
