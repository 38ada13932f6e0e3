//! Replies that call functions, in whatever marks a model's template has around a call.
use std::fmt::Write;

use serde_json::Value;

use super::{schema, Failure};

/// A text of Lark's, from parts that are texts (strings) and tokens (their ids).
fn marks(parts: &Value) -> String {
    let parts = parts.as_array().map(Vec::as_slice).unwrap_or_default();
    let written = parts.iter().map(|part| match part.as_u64() {
        Some(id) => format!("<[{id}]>"),
        None => Value::from(part.as_str().unwrap_or_default()).to_string(),
    });
    written.collect::<Vec<_>>().join(" ")
}

/// constraint.h says what the JSON holds.
pub fn to_lark(text: &str) -> Result<String, Failure> {
    let wrong = |error| Failure::Refused(format!("not valid JSON: {error}"));
    let calls: Value = serde_json::from_str(text).map_err(wrong)?;
    let functions = calls["functions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if functions.is_empty() {
        return Err(Failure::Refused("there is no function that could be called".into()));
    }
    let part = |name: &str| marks(&calls[name]);
    let names = (0..functions.len()).map(|i| format!("f{i}")).collect::<Vec<_>>().join(" | ");
    let more = match calls["most_one"].as_bool() {
        Some(true) => String::new(),
        _ => format!("({} call)*", part("between")),
    };
    let mut lark = String::new();
    let thought = match calls["thought_end"].as_str() {
        Some(end) => {
            let _ = writeln!(lark, "thought[suffix={}]: /(?s:.*)/", Value::from(end)); // never fails
            r#"thought /\s*/ "#
        }
        None => "",
    };
    let _ = writeln!(lark, "start: {thought}{} call {more} {}", part("before"), part("after"));
    let _ = writeln!(lark, "call: {} ({names}) {}", part("begin"), part("end"));
    let key = calls["key"].as_str().unwrap_or("arguments");
    for (i, function) in functions.iter().enumerate() {
        let head = format!("{{\"name\": {}, \"{key}\": ", function["name"]);
        let parameters = match &function["parameters"] {
            Value::Null => Value::Object(Default::default()),
            given => given.clone(),
        };
        let refused = |failure| named(&function["name"], failure);
        let arguments = schema::prepare(parameters, true).map_err(refused)?;
        let _ = writeln!(lark, "f{i}: {} a{i} \"}}\"", Value::from(head));
        let _ = writeln!(lark, "a{i}: %json {arguments}");
    }
    Ok(lark)
}

fn named(name: &Value, failure: Failure) -> Failure {
    match failure {
        Failure::Refused(words) => Failure::Refused(format!("function {name}: {words}")),
        other => other,
    }
}
