//! JSON: what requests come in, and what `tojson` writes (as Python's json.dumps does).
use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::args::{bind, integer, is_true, text};
use super::marks::unmark;
use super::print::float_repr;
use super::value::{
    charge_bytes, charge_value, compare, dict, fail, is_list, items_of, list, shape, type_name, Dict,
    Key, Pairs,
};

// ---- reading ------------------------------------------------------------------------------------

/// The value of a JSON text; nesting is bounded by serde_json and by value.rs.
pub fn read(json: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let value = Reading.deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

struct Reading;

impl<'de> DeserializeSeed<'de> for Reading {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::from(value), Value::from))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::from(()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Reading)? {
            items.push(item);
        }
        list(items).map_err(serde::de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut pairs = Pairs::new();
        while let Some(key) = from.next_key_seed(Reading)? {
            pairs.insert(Key(key), from.next_value_seed(Reading)?);
        }
        dict(pairs).map_err(serde::de::Error::custom)
    }
}

// ---- writing ------------------------------------------------------------------------------------

struct Style {
    indent: Option<String>,
    item: String, // between items
    key: String,  // between a key and its value
    ascii: bool,
    sorted: bool,
}

pub fn filter(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let names = ["x", "ensure_ascii", "indent", "separators", "sort_keys"];
    let [value, ascii, indent, separators, sorted] = bind(args, names, 1)?;
    let value = value.unwrap_or_default();
    let indent = match indent.filter(|x| !x.is_none()) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(indent) => indent.to_owned(),
            None => " ".repeat(integer(&indent)?.clamp(0, 64) as usize),
        }),
    };
    let (mut item, mut key) = (", ".to_owned(), ": ".to_owned());
    if indent.is_some() {
        item = ",".to_owned();
    }
    if let Some(separators) = separators.filter(|x| !x.is_none()) {
        match items_of(&separators).as_slice() {
            [a, b] => (item, key) = (text(a)?.to_owned(), text(b)?.to_owned()),
            _ => return fail("tojson: separators must be two texts"),
        }
    }
    charge_value(state, &value)?;
    let each = item.len() + key.len() + 8 * indent.as_ref().map_or(0, String::len);
    let items = shape(&value)?.weight as usize;
    charge_bytes(state, items.saturating_mul(each))?;
    let style = Style { indent, item, key, ascii: is_true(&ascii), sorted: is_true(&sorted) };
    let mut out = String::new();
    write(&mut out, &value, &style, 0)?;
    Ok(Value::from(out))
}

fn write(out: &mut String, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        write_text(out, text, style.ascii);
        return Ok(());
    }
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        return write_dict(out, dict, style, depth);
    }
    if is_list(value) {
        let items = items_of(value);
        return write_block(out, ('[', ']'), &items, style, depth, |out, item| {
            write(out, item, style, depth + 1)
        });
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
        ValueKind::Number => out.push_str(&float(f64::try_from(value.clone())?)),
        _ => {
            let name = type_name(value);
            return fail(format!("Object of type {name} is not JSON serializable"));
        }
    }
    Ok(())
}

fn float(number: f64) -> String {
    match float_repr(number).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        digits => digits.into(),
    }
}

fn write_block<T>(
    out: &mut String,
    brackets: (char, char),
    items: &[T],
    style: &Style,
    depth: usize,
    mut write_item: impl FnMut(&mut String, &T) -> Result<(), Error>,
) -> Result<(), Error> {
    let new_line = |out: &mut String, depth: usize| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(brackets.0);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(&style.item);
        }
        new_line(out, depth + 1);
        write_item(out, item)?;
    }
    if !items.is_empty() {
        new_line(out, depth);
    }
    out.push(brackets.1);
    Ok(())
}

fn write_dict(out: &mut String, dict: &Dict, style: &Style, depth: usize) -> Result<(), Error> {
    let mut pairs: Vec<(&Value, &Value)> = dict.pairs.iter().map(|(k, v)| (&k.0, v)).collect();
    if style.sorted {
        let mut failed = None;
        pairs.sort_by(|a, b| compare(a.0, b.0).unwrap_or_else(|error| {
            failed = Some(error);
            std::cmp::Ordering::Equal
        }));
        if let Some(error) = failed {
            return Err(error);
        }
    }
    write_block(out, ('{', '}'), &pairs, style, depth, |out, (key, value)| {
        let mut name = String::new();
        match (key.as_str(), key.kind()) {
            (Some(key), _) => name.push_str(key),
            (None, ValueKind::None | ValueKind::Bool | ValueKind::Number) => {
                write(&mut name, key, style, depth)?;
            }
            _ => return fail("keys must be str, int, float, bool or None"),
        }
        write_text(out, &name, style.ascii);
        out.push_str(&style.key);
        write(out, value, style, depth + 1)
    })
}

fn write_text(out: &mut String, shown: &str, ascii: bool) {
    out.push('"');
    for shown_char in shown.chars() {
        match unmark(shown_char) {
            '"' | '\\' => {
                out.push('\\');
                out.push(shown_char);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if c < ' ' || (ascii && c > '~') => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}"); // a String takes everything
                }
            }
            _ => out.push(shown_char),
        }
    }
    out.push('"');
}
