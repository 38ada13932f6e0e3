//! JSON Schemas: what is refused before llguidance reads them, and how the JSON is written.
use llguidance::api::TopLevelGrammar;
use llguidance::JsonCompileOptions;
use serde_json::Value;

use super::{recursion, Failure};

/// Between two tokens of JSON: what indented texts have, so that a model that likes blanks comes to an
/// end.
const BLANKS: &str = r" |\r?\n[ \t]{0,40}";

/// The library's own accept the 29th of February of any year, and leap seconds at any time.
const DATE: &str = concat!(
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))",
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
);
const TIME: &str = concat!(
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?",
    "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
);

/// Within these nothing is a schema.
pub const DATA: [&str; 5] = ["const", "enum", "default", "examples", "example"];

pub fn read(text: &str, is_bounded: bool) -> Result<TopLevelGrammar, Failure> {
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| Failure::Refused(format!("it is not valid JSON: {error}")))?;
    Ok(TopLevelGrammar::from_json_schema(prepare(schema, false, is_bounded)?))
}

/// The schema as llguidance shall read it; with `is_object` of a JSON object, whatever else it says;
/// with `is_bounded` its recursion has an end.
pub fn prepare(mut schema: Value, is_object: bool, is_bounded: bool) -> Result<Value, Failure> {
    check(&schema, true)?;
    write_formats(&mut schema);
    if schema == Value::Bool(true) {
        schema = Value::Object(Default::default());
    }
    if !schema.is_object() {
        return Err(Failure::Refused("a schema is an object, or true".into()));
    }
    if is_bounded {
        schema = recursion::bound(schema);
    }
    if is_object {
        schema["type"] = Value::from("object");
    }
    let options = JsonCompileOptions {
        whitespace_pattern: Some(BLANKS.to_owned()),
        ..JsonCompileOptions::default()
    };
    options.apply_to(&mut schema);
    Ok(schema)
}

fn refuse(words: String) -> Result<(), Failure> {
    Err(Failure::Refused(words))
}

/// References are looked up from the document's root. The library's own options are not for clients:
/// among them is one that passes over what it does not know.
fn check(schema: &Value, is_root: bool) -> Result<(), Failure> {
    if let Value::Array(items) = schema {
        return items.iter().try_for_each(|item| check(item, false));
    }
    let Value::Object(keywords) = schema else { return Ok(()) };
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("x-guidance", _) => return refuse("'x-guidance' is not supported".into()),
            ("$ref", Value::String(to)) if to != "#" && !to.starts_with("#/") => {
                return refuse(format!(
                    "'$ref' to '{to}' is not supported: only '#' and '#/…', within the schema"
                ));
            }
            ("$id" | "id", Value::String(_)) if !is_root && keyword == "$id" => {
                return refuse("'$id' is supported at the schema's root only".into());
            }
            (name, _) if DATA.contains(&name) => {}
            (_, value) => check(value, false)?,
        }
    }
    Ok(())
}

fn pattern_of(format: &str) -> Option<String> {
    match format {
        "date" => Some(format!("^{DATE}$")),
        "time" => Some(format!("^{TIME}$")),
        "date-time" => Some(format!("^{DATE}T{TIME}$")),
        _ => None,
    }
}

/// Formats of ours become patterns.
fn write_formats(schema: &mut Value) {
    if let Value::Array(items) = schema {
        return items.iter_mut().for_each(write_formats);
    }
    let Value::Object(keywords) = schema else { return };
    if let Some(pattern) = keywords.get("format").and_then(Value::as_str).and_then(pattern_of) {
        keywords.remove("format");
        let all = keywords.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(all) = all {
            all.push(serde_json::json!({ "pattern": pattern }));
        }
    }
    for (keyword, value) in keywords {
        if !DATA.contains(&keyword.as_str()) {
            write_formats(value);
        }
    }
}
