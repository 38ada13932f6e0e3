//! Schemas that refer to themselves, made finite: a model that nests without an end comes to one.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{json, Map, Value};

use super::schema::DATA;

/// References to what refers to itself that are followed, one within the other.
const MOST_DEEP: usize = 64;
/// Below that, and where the copies would have more bytes, a schema stays as it is.
const LEAST_DEEP: usize = 8;
const MAX_COPIES: usize = 64 << 10;

/// Their members are schemas, whatever they are called.
const NAMED: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Calls `found` with each schema that is a reference.
fn each_reference(schema: &mut Value, found: &mut dyn FnMut(&mut Value)) {
    if let Value::Array(items) = schema {
        return items.iter_mut().for_each(|item| each_reference(item, found));
    }
    let Value::Object(keywords) = schema else { return };
    for (keyword, value) in keywords.iter_mut() {
        match value {
            Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                named.values_mut().for_each(|x| each_reference(x, found));
            }
            _ if DATA.contains(&keyword.as_str()) => {}
            _ => each_reference(value, found),
        }
    }
    if schema["$ref"].is_string() {
        found(schema);
    }
}

/// What a reference points to; NULL: nothing that is known here.
fn target(document: &Value, reference: &str) -> Value {
    let pointer = reference.strip_prefix('#').unwrap_or("/");
    let mut schema = document.pointer(pointer).cloned().unwrap_or(Value::Null);
    if let Some(keywords) = schema.as_object_mut() {
        DEFINITIONS.iter().for_each(|x| drop(keywords.remove(*x))); // reached by references only
    }
    schema
}

fn references(schema: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    each_reference(&mut schema.clone(), &mut |x| {
        all.extend(x["$ref"].as_str().map(str::to_owned));
    });
    all
}

/// The references from whose targets a way leads back, and these targets.
fn recursive(document: &Value) -> BTreeMap<String, Value> {
    let all = references(document);
    let targets: BTreeMap<_, _> = all.iter().map(|x| (x.clone(), target(document, x))).collect();
    let next: BTreeMap<_, _> = targets.iter().map(|(x, to)| (x, references(to))).collect();
    let leads_back = |start: &String| {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&String> = next[start].iter().collect();
        while let Some(x) = open.pop() {
            if reached.insert(x) {
                open.extend(next.get(x).into_iter().flatten());
            }
        }
        reached.contains(start)
    };
    targets.iter().filter(|(x, _)| leads_back(x)).map(|(x, to)| (x.clone(), to.clone())).collect()
}

fn copy_name(number: usize, depth: usize) -> String {
    format!("a-io recursion {number} {depth}")
}

/// Its references into the recursion lead to the copies of this depth; `false`, nothing, where there
/// are none so deep.
fn lead_to(schema: &mut Value, numbers: &BTreeMap<String, usize>, depth: Option<usize>) {
    each_reference(schema, &mut |x| {
        let number = x["$ref"].as_str().and_then(|to| numbers.get(to));
        match (number, depth) {
            (None, _) => {}
            (Some(_), None) => *x = Value::Bool(false),
            (Some(number), Some(depth)) => {
                x["$ref"] = json!(format!("#/$defs/{}", copy_name(*number, depth)));
            }
        }
    });
}

/// The schema with a copy of what is recursive for each depth; as it was where nothing is, or too
/// much of it.
pub fn bound(document: Value) -> Value {
    let recursive = recursive(&document);
    let bytes: usize = recursive.values().map(|x| x.to_string().len()).sum();
    let depth = MOST_DEEP.min(MAX_COPIES.checked_div(bytes).unwrap_or(0));
    if depth < LEAST_DEEP {
        return document;
    }
    let numbers = recursive.keys().enumerate().map(|(i, x)| (x.clone(), i)).collect();
    let mut bounded = document;
    lead_to(&mut bounded, &numbers, Some(0));
    let mut copies = Map::new();
    for at in 0..depth {
        for (number, schema) in recursive.values().enumerate() {
            let mut copy = schema.clone();
            lead_to(&mut copy, &numbers, (at + 1 < depth).then_some(at + 1));
            copies.insert(copy_name(number, at), copy);
        }
    }
    match bounded.as_object_mut().map(|x| x.entry("$defs").or_insert_with(|| json!({}))) {
        Some(Value::Object(definitions)) => definitions.extend(copies),
        _ => return Value::Null, // "$defs" that are none are refused
    }
    bounded
}
