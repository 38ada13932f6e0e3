//! Replies that call functions, in whatever marks a model's template has around a call.
use std::fmt::Write;

use serde_json::Value;

use super::{schema, Failure};

/// One part of a mark: a text, or the id of a token that no text makes.
fn part(given: &Value) -> String {
    match given.as_u64() {
        Some(id) => format!("<[{id}]>"),
        None => Value::from(given.as_str().unwrap_or_default()).to_string(),
    }
}

fn parts(given: &Value) -> Vec<String> {
    let given = given.as_array().map(Vec::as_slice).unwrap_or_default();
    given.iter().filter(|x| x.as_str() != Some("")).map(part).collect()
}

fn marks(given: &Value) -> String {
    parts(given).join(" ")
}

/// A rule for any text up to this mark, and the mark.
fn until(rule: &str, mark: &str) -> String {
    match mark.starts_with('<') {
        true => format!("{rule}: TEXT? {mark}\n"),
        false => format!("{rule}[suffix={mark}]: /(?s:.*)/\n"),
    }
}

/// A call's object, up to its function's name.
const HEAD: &str = r#"{"name": ""#;

/// The beginning of a call without marks, which models write with blanks of their own.
const BARE: &str = r#"
bare[lazy]: /[ \n\r\t]*\{[ \n\r\t]*"name"[ \n\r\t]*:[ \n\r\t]*"/
fenced[lazy]: /[ \n\r\t]*```(json)?\n\{[ \n\r\t]*"name"[ \n\r\t]*:[ \n\r\t]*"/
CLOSE: /[ \n\r\t]{0,40}\}/
FENCE: /[ \n\r\t]{0,40}```/
"#;

/// constraint.h says what the JSON holds.
pub fn to_lark(text: &str, is_bounded: bool) -> Result<String, Failure> {
    let wrong = |error| Failure::Refused(format!("not valid JSON: {error}"));
    let calls: Value = serde_json::from_str(text).map_err(wrong)?;
    let functions = calls["functions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if functions.is_empty() {
        return Err(Failure::Refused("there is no function that could be called".into()));
    }
    let mut lark = match calls["is_free"].as_bool() {
        Some(true) => free(&calls),
        _ => required(&calls),
    };
    let _ = writeln!(lark, "TEXT: /(?s:.+)/"); // never fails
    let _ = writeln!(lark, "object: {} named", Value::from(HEAD));
    let _ = writeln!(lark, "call: {} object {}", marks(&calls["begin"]), marks(&calls["end"]));
    let names = (0..functions.len()).map(|i| format!("f{i}")).collect::<Vec<_>>().join(" | ");
    let _ = writeln!(lark, "named: {names}");
    let key = calls["key"].as_str().unwrap_or("arguments");
    for (i, function) in functions.iter().enumerate() {
        let name = function["name"].to_string();
        let opening = format!("{}, \"{key}\": ", &name[1..]); // HEAD has its first quote
        let parameters = match &function["parameters"] {
            Value::Null => Value::Object(Default::default()),
            given => given.clone(),
        };
        let refused = |failure| of_function(&function["name"], failure);
        let arguments = schema::prepare(parameters, true, is_bounded).map_err(refused)?;
        let _ = writeln!(lark, "f{i}: {} a{i} \"}}\"", Value::from(opening));
        let _ = writeln!(lark, "a{i}: %json {arguments}");
    }
    Ok(lark)
}

/// What may follow the first call.
fn more(calls: &Value) -> String {
    match calls["most_one"].as_bool() {
        Some(true) => String::new(),
        _ => format!("({} call)*", marks(&calls["between"])),
    }
}

/// The reply is calls.
fn required(calls: &Value) -> String {
    let start = format!("{} call {} {}", marks(&calls["before"]), more(calls), marks(&calls["after"]));
    match &calls["thought_end"] {
        Value::Null => format!("start: {start}\n"),
        end => format!("start: thought /\\s*/ {start}\n{}", until("thought", &part(end))),
    }
}

/// The reply is text, or calls with text before them. Where both may go on, the shortest text before
/// a mark is taken (suffix, lazy), so that whatever follows the mark is a call.
fn free(calls: &Value) -> String {
    let mut opening = parts(&calls["before"]);
    opening.extend(parts(&calls["begin"]));
    let mut lark = String::new();
    let mut replies = vec!["TEXT"];
    let with_lead;
    if let Some((mark, rest)) = opening.split_first() {
        with_lead = format!(
            "lead {} object {} {} {}",
            rest.join(" "),
            marks(&calls["end"]),
            more(calls),
            marks(&calls["after"])
        );
        lark += &until("lead", mark);
        replies.push(&with_lead);
    }
    if calls["is_bare"].as_bool() == Some(true) {
        lark += BARE;
        lark += &written_freely(calls);
        replies.extend(["bare freely", "fenced freely FENCE?"]);
    }
    let _ = writeln!(lark, "reply: {}", replies.join(" | ")); // never fails
    let start = match (&calls["thought_end"], &calls["thought_begin"]) {
        (Value::Null, _) => "reply?",
        (end, Value::Null) => {
            lark += &until("thought", &part(end));
            "TEXT? | thought reply?"
        }
        (end, begin) => {
            lark += &thought(&part(begin), &part(end));
            "thought? reply?"
        }
    };
    format!("start: {start}\n{lark}")
}

/// What follows BARE's rules.
fn written_freely(calls: &Value) -> String {
    let key = calls["key"].as_str().unwrap_or("arguments");
    let mut lark = format!("BETWEEN: /[ \\n\\r\\t]{{0,40}},[ \\n\\r\\t]{{0,40}}\"{key}\"");
    lark += "[ \\n\\r\\t]{0,40}:[ \\n\\r\\t]{0,40}/\n";
    let functions = calls["functions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let calls = functions.iter().enumerate().map(|(i, function)| {
        let name = function["name"].to_string();
        format!("{} BETWEEN a{i} CLOSE", Value::from(&name[1..]))
    });
    let _ = writeln!(lark, "freely: {}", calls.collect::<Vec<_>>().join(" | ")); // never fails
    lark
}

/// A thought that the reply itself begins.
fn thought(begin: &str, end: &str) -> String {
    match (begin.starts_with('<'), end.starts_with('<')) {
        (false, false) => format!("thought[suffix={end}]: /\\s*/ {begin} /(?s:.*)/\n"),
        _ => format!("thought: {begin} close\n{}", until("close", end)),
    }
}

fn of_function(name: &Value, failure: Failure) -> Failure {
    match failure {
        Failure::Refused(words) => Failure::Refused(format!("function {name}: {words}")),
        other => other,
    }
}
