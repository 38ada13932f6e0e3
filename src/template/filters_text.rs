//! Jinja's filters that make texts of texts.
use minijinja::{Environment, Error, State, Value};

use super::args::{bind, integer, is_true, split, text};
use super::filters::add;
use super::functions::Builtin;
use super::marks::{mark_like, plain, unmark, Text};
use super::methods;
use super::methods_text;
use super::operators::{fill, strip};
use super::print::{escaped, like, to_str};
use super::value::{charge_bytes, charge_value, dict, fail, tuple, Dict, Key};

pub fn register(env: &mut Environment<'static>) {
    let filters: [(&'static str, Builtin); 17] = [
        ("capitalize", |state, args| case(state, args, "capitalize")),
        ("lower", |state, args| case(state, args, "lower")),
        ("upper", |state, args| case(state, args, "upper")),
        ("title", title),
        ("center", center),
        ("e", escape),
        ("escape", escape),
        ("forceescape", forceescape),
        ("format", format),
        ("indent", indent),
        ("replace", replace),
        ("striptags", striptags),
        ("trim", trim),
        ("truncate", truncate),
        ("urlencode", urlencode),
        ("wordcount", wordcount),
        ("wordwrap", wordwrap),
    ];
    for (name, filter) in filters {
        add(env, name, filter);
    }
}

fn case(state: &mut State, args: &[Value], method: &str) -> Result<Value, Error> {
    let [value] = bind(args, ["s"], 1)?;
    let value = value.unwrap_or_default();
    let shown = to_str(&value);
    charge_bytes(state, shown.len())?;
    Ok(like(methods_text::in_case(&shown, method), &value))
}

/// Each word's first letter, words being what stands between white space, dashes and brackets.
fn title(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value] = bind(args, ["s"], 1)?;
    let shown = to_str(&value.unwrap_or_default());
    let mut out = String::new();
    let mut begins = true;
    for shown_char in shown.chars() {
        let c = unmark(shown_char);
        match begins {
            true => out.extend(c.to_uppercase().map(|x| mark_like(x, shown_char))),
            false => out.extend(c.to_lowercase().map(|x| mark_like(x, shown_char))),
        }
        begins = methods::is_space(c) || "-({[<".contains(c);
    }
    Ok(Value::from(out))
}

fn center(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, width] = bind(args, ["value", "width"], 1)?;
    let width = width.unwrap_or_else(|| Value::from(80));
    let value = value.unwrap_or_default();
    like(to_str(&value), &value).call_method(state, "center", &[width])
}

fn escape(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    Ok(Value::from_safe_string(escaped(&args[0])))
}

fn forceescape(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    Ok(Value::from_safe_string(escaped(&Value::from(to_str(&args[0])))))
}

fn format(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let (positional, named) = split(args);
    let pattern = to_str(&args[0]);
    for arg in positional {
        charge_value(state, arg)?;
    }
    let filling = match named.is_empty() {
        true => tuple(positional[1..].to_vec())?,
        false => dict(named.into_iter().map(|(name, value)| (Key(name), value)).collect())?,
    };
    let is_markup = args[0].is_safe();
    fill(&pattern, &filling, is_markup).map(|filled| like(filled, &args[0]))
}

fn indent(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, width, first, blank] = bind(args, ["s", "width", "first", "blank"], 1)?;
    let value = value.unwrap_or_default();
    let shown = text(&value)?;
    let width = width.unwrap_or_else(|| Value::from(4));
    let pad = match width.as_str() {
        Some(pad) => pad.to_owned(),
        None => {
            let n = usize::try_from(integer(&width)?).unwrap_or(0);
            charge_bytes(state, n)?;
            " ".repeat(n)
        }
    };
    let mut out = String::new();
    let whole = Text::new(shown);
    for (i, line) in methods_text::lines(&whole.plain).into_iter().enumerate() {
        charge_bytes(state, pad.len() + 64)?;
        if i > 0 {
            out.push('\n');
        }
        let is_padded = if i == 0 { is_true(&first) } else { is_true(&blank) || !line.is_empty() };
        if is_padded {
            out.push_str(&pad);
        }
        out.push_str(whole.cut(line));
    }
    Ok(like(out, &value))
}

fn replace(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, old, new, count] = bind(args, ["s", "old", "new", "count"], 3)?;
    let shown = to_str(&value.unwrap_or_default());
    let (old, new) = (to_str(&old.unwrap_or_default()), to_str(&new.unwrap_or_default()));
    let count = count.filter(|x| !x.is_none()).as_ref().map_or(Ok(-1), integer)?;
    methods_text::replace(state, &Text::new(&shown), &old, &new, count).map(Value::from)
}

fn trim(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, chars] = bind(args, ["value", "chars"], 1)?;
    let value = value.unwrap_or_default();
    let shown = to_str(&value);
    let chars = chars.filter(|x| !x.is_none());
    let chars = chars.as_ref().map(text).transpose()?;
    Ok(like(strip(&Text::new(&shown), chars, true, true), &value))
}

fn striptags(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let shown = to_str(&args[0]);
    let mut out = String::new();
    let mut depth = false;
    for c in shown.chars() {
        match unmark(c) {
            '<' => depth = true,
            '>' if depth => depth = false,
            _ if !depth => out.push(c),
            _ => {}
        }
    }
    let words: Vec<&str> = out.split_whitespace().collect();
    Ok(Value::from(words.join(" ")))
}

fn truncate(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let names = ["s", "length", "killwords", "end", "leeway"];
    let [value, length, killwords, end, leeway] = bind(args, names, 1)?;
    let shown = to_str(&value.unwrap_or_default());
    let length = length.as_ref().map_or(Ok(255), integer)?;
    let leeway = leeway.as_ref().map_or(Ok(5), integer)?;
    let end = end.map_or_else(|| "...".to_owned(), |x| to_str(&x));
    let chars: Vec<char> = shown.chars().collect();
    let kept = length - end.chars().count() as i64;
    if kept < 0 || leeway < 0 {
        return fail("truncate: length and leeway must leave room for the end");
    }
    if chars.len() as i64 <= length.saturating_add(leeway) {
        return Ok(Value::from(shown));
    }
    let mut kept = &chars[..kept as usize];
    if !is_true(&killwords) {
        if let Some(space) = kept.iter().rposition(|&c| c == ' ') {
            kept = &kept[..space];
        }
    }
    Ok(Value::from(kept.iter().collect::<String>() + &end))
}

fn quote(out: &mut String, plain: &str, is_query: bool) {
    for byte in plain.bytes() {
        match byte {
            b'/' if !is_query => out.push('/'),
            b' ' if is_query => out.push('+'),
            _ if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) => out.push(byte as char),
            _ => {
                let digit = |x: u8| char::from(b"0123456789ABCDEF"[usize::from(x)]);
                out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

fn urlencode(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    charge_value(state, &args[0])?;
    let mut out = String::new();
    let Some(dict) = args[0].downcast_object_ref::<Dict>() else {
        quote(&mut out, &plain(&to_str(&args[0])), false);
        return Ok(Value::from(out));
    };
    for (i, (key, value)) in dict.pairs.iter().enumerate() {
        if i > 0 {
            out.push('&');
        }
        quote(&mut out, &plain(&to_str(&key.0)), true);
        out.push('=');
        quote(&mut out, &plain(&to_str(value)), true);
    }
    Ok(Value::from(out))
}

fn wordcount(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let shown = to_str(&args[0]);
    let whole = plain(&shown);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    Ok(Value::from(whole.split(|c| !is_word(c)).filter(|word| !word.is_empty()).count()))
}

/// Lines of at most `width` characters, broken at spaces; longer words are cut.
fn wordwrap(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, width] = bind(args, ["s", "width"], 1)?;
    let width = width.as_ref().map_or(Ok(79), integer)?.max(1) as usize;
    let shown = to_str(&value.unwrap_or_default());
    charge_bytes(state, shown.len().saturating_mul(64))?;
    let wrapped = shown.split('\n').map(|line| {
        let mut lines = vec![Vec::new()];
        for word in line.split(' ') {
            let word: Vec<char> = word.chars().collect();
            let last = lines.last_mut().expect("never empty");
            if !last.is_empty() && last.len() + 1 + word.len() <= width {
                last.push(' ');
                last.extend(word);
                continue;
            }
            let is_first = last.is_empty();
            for (i, piece) in word.chunks(width).enumerate() {
                match is_first && i == 0 {
                    true => lines[0].extend_from_slice(piece),
                    false => lines.push(piece.to_vec()),
                }
            }
        }
        let lines: Vec<String> = lines.iter().map(|line| line.iter().collect()).collect();
        lines.join("\n")
    });
    Ok(Value::from(wrapped.collect::<Vec<_>>().join("\n")))
}
