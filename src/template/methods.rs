//! The methods of Python's str, list and dict, those that change nothing (others are refused by
//! Jinja's sandbox).
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr};
use minijinja::{Error, ErrorKind, State, Value};

use super::args::bind;
use super::methods_text;
use super::value::{charge_items, equal, fail, is_list, items_of, list, tuple, type_name, view, Dict};

/// str.isspace
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

// ---- methods as values --------------------------------------------------------------------------

const OF_STR: [&str; 47] = [
    "capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find",
    "format", "format_map", "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit",
    "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper",
    "join", "ljust", "lower", "lstrip", "maketrans", "partition", "removeprefix", "removesuffix",
    "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines",
    "startswith", "strip", "swapcase", "title", "translate", "upper", "zfill",
];
const OF_LIST: [&str; 3] = ["copy", "count", "index"];
const OF_DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];

/// True for the names that are not only keys: `x.items` is a method of a dictionary.
pub fn is_name(name: &str) -> bool {
    OF_STR.contains(&name) || OF_LIST.contains(&name) || OF_DICT.contains(&name)
}

#[derive(Debug)]
struct Method {
    of: Value,
    name: String,
}

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        self.of.call_method(state, &self.name, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<built-in method {} of {} object>", self.name, type_name(&self.of))
    }
}

/// The method of that name as a value.
pub fn bound(value: &Value, name: &str) -> Option<Value> {
    let names: &[&str] = if value.as_str().is_some() {
        &OF_STR
    } else if is_list(value) {
        &OF_LIST
    } else if value.downcast_object_ref::<Dict>().is_some() {
        &OF_DICT
    } else {
        &[]
    };
    names
        .contains(&name)
        .then(|| Value::from_object(Method { of: value.clone(), name: name.to_owned() }))
}

/// What the engine calls for a method that a value of its own does not have.
pub fn unknown(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.as_str() {
        Some(shown) => methods_text::of_str(state, value, shown, method, args),
        None if is_list(value) => of_list(state, &items_of(value), method, args),
        None => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

// ---- dict and list ------------------------------------------------------------------------------

pub fn of_dict(state: &State, dict: &Dict, method: &str, args: &[Value]) -> Result<Value, Error> {
    if method == "get" {
        let [key, default] = bind(args, ["key", "default"], 1)?;
        let found = dict.get(&key.unwrap_or_default()).cloned();
        return Ok(found.or(default).unwrap_or_else(|| Value::from(())));
    }
    if !OF_DICT.contains(&method) {
        return Err(Error::from(ErrorKind::UnknownMethod));
    }
    let [] = bind(args, [], 0)?;
    charge_items(state, dict.pairs.len())?;
    match method {
        "keys" => view(dict.pairs.keys().map(|key| key.0.clone()).collect(), "keys"),
        "values" => view(dict.pairs.values().cloned().collect(), "values"),
        "items" => view(items(dict)?, "items"),
        _ => super::value::dict(dict.pairs.clone()),
    }
}

/// The pairs as tuples.
fn items(dict: &Dict) -> Result<Vec<Value>, Error> {
    dict.pairs.iter().map(|(key, value)| tuple(vec![key.0.clone(), value.clone()])).collect()
}

pub fn of_list(
    state: &State,
    items: &[Value],
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    charge_items(state, items.len())?;
    match method {
        "count" => {
            let [what] = bind(args, ["value"], 1)?;
            let what = what.unwrap_or_default();
            Ok(Value::from(items.iter().filter(|item| equal(item, &what)).count()))
        }
        "index" => {
            let [what] = bind(args, ["value"], 1)?;
            let what = what.unwrap_or_default();
            match items.iter().position(|item| equal(item, &what)) {
                Some(place) => Ok(Value::from(place)),
                None => fail("value is not in list"),
            }
        }
        "copy" => list(items.to_vec()),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}
