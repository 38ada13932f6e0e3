//! Values as Python prints them, and texts that are markup.
use std::fmt;
use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::Value;

use super::marks;
use super::value::{Dict, List};

pub fn write_sequence<'a>(
    out: &mut dyn Write,
    items: impl Iterator<Item = &'a Value>,
    is_tuple: bool,
) -> fmt::Result {
    out.write_char(if is_tuple { '(' } else { '[' })?;
    let mut n = 0;
    for item in items {
        if n > 0 {
            out.write_str(", ")?;
        }
        write_repr(out, item)?;
        n += 1;
    }
    if is_tuple && n == 1 {
        out.write_char(',')?;
    }
    out.write_char(if is_tuple { ')' } else { ']' })
}

pub fn write_mapping<'a>(
    out: &mut dyn Write,
    pairs: impl Iterator<Item = (&'a Value, &'a Value)>,
) -> fmt::Result {
    out.write_char('{')?;
    for (i, (key, value)) in pairs.enumerate() {
        if i > 0 {
            out.write_str(", ")?;
        }
        write_repr(out, key)?;
        out.write_str(": ")?;
        write_repr(out, value)?;
    }
    out.write_char('}')
}

/// str(value); undefined is nothing.
pub fn write_str(out: &mut dyn Write, value: &Value) -> fmt::Result {
    match (value.as_str(), value.is_undefined()) {
        (Some(text), _) => out.write_str(text),
        (None, true) => Ok(()),
        (None, false) => write_repr(out, value),
    }
}

pub fn to_str(value: &Value) -> String {
    let mut out = String::new();
    let _ = write_str(&mut out, value); // a String takes everything
    out
}

pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    let _ = write_repr(&mut out, value); // a String takes everything
    out
}

/// repr(value).
pub fn write_repr(out: &mut dyn Write, value: &Value) -> fmt::Result {
    if let Some(text) = value.as_str() {
        return write_quoted(out, text);
    }
    if let Some(list) = value.downcast_object_ref::<List>() {
        return write_sequence(out, list.items.iter(), list.is_tuple);
    }
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        return write_mapping(out, dict.pairs.iter().map(|(key, value)| (&key.0, value)));
    }
    match value.kind() {
        ValueKind::Undefined => out.write_str("Undefined"),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => out.write_str(&float_repr(number)),
            Err(_) => write!(out, "{value}"),
        },
        ValueKind::Seq => {
            let items: Vec<Value> = value.try_iter().map(Iterator::collect).unwrap_or_default();
            write_sequence(out, items.iter(), value.is_tuple())
        }
        _ => write!(out, "{value}"),
    }
}

/// The shortest digits that are read back as the same number.
pub fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let text = format!("{number:?}"); // Python's thresholds, but "1e16" for "1e+16"
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let exponent: i32 = exponent.parse().unwrap_or_default();
            format!("{}e{exponent:+03}", digits.strip_suffix(".0").unwrap_or(digits))
        }
        None => text,
    }
}

fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    if c.is_control() || c == '\u{a0}' {
        return false;
    }
    // Rust escapes what Unicode calls not printable, as Python's repr does; besides, marks that
    // combine with a character before them, when there is none.
    let mut text = [b'a'; 5];
    let n = 1 + c.encode_utf8(&mut text[1..]).len();
    let text = std::str::from_utf8(&text[..n]).unwrap_or_default();
    !text.escape_debug().any(|x| x == '\\')
}

fn write_quoted(out: &mut dyn Write, shown: &str) -> fmt::Result {
    let plain = marks::plain(shown);
    let quote = if plain.contains('\'') && !plain.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for shown_char in shown.chars() {
        let c = marks::unmark(shown_char);
        match c {
            '\\' => write!(out, "\\{shown_char}")?,
            _ if c == quote => write!(out, "\\{shown_char}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            _ if is_printable(c) => out.write_char(shown_char)?,
            '\0'..='\u{ff}' => write!(out, "\\x{:02x}", c as u32)?,
            '\u{100}'..='\u{ffff}' => write!(out, "\\u{:04x}", c as u32)?,
            _ => write!(out, "\\U{:08x}", c as u32)?,
        }
    }
    out.write_char(quote)
}

// ---- markup -------------------------------------------------------------------------------------

/// A text that is markup where `model` is: the filters `safe` and `escape` make such texts, and what
/// is joined to them with `+` is escaped.
pub fn like(text: impl Into<String> + AsRef<str>, model: &Value) -> Value {
    match model.is_safe() {
        true => Value::from_safe_string(text.into()),
        false => Value::from(text.as_ref()),
    }
}

/// The text of a value within markup.
pub fn escaped(value: &Value) -> String {
    let shown = to_str(value);
    if value.is_safe() {
        return shown;
    }
    let mut out = String::with_capacity(shown.len());
    for c in shown.chars() {
        match marks::unmark(c) {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}
