//! The methods of Python's str.
use std::ops::Range;

use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat;

use super::args::{bind, integer, is_true, text};
use super::marks::{is_marked, mark_like, plain, unmark, Text};
use super::methods::is_space;
use super::operators::{check_widths, strip};
use super::print::{escaped, like, to_str};
use super::value::{charge_bytes, charge_items, charge_value, fail, is_tuple, items_of, iterate, list, tuple};

pub fn of_str(
    state: &mut State,
    value: &Value,
    shown: &str,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    charge_bytes(state, shown.len())?;
    let s = Text::new(shown);
    match method {
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = bind(args, ["chars"], 0)?;
            let chars = chars.filter(|x| !x.is_none());
            let chars = chars.as_ref().map(text).transpose()?;
            Ok(like(strip(&s, chars, method != "rstrip", method != "lstrip"), value))
        }
        "split" | "rsplit" => {
            let [separator, most] = bind(args, ["sep", "maxsplit"], 0)?;
            let most = most.as_ref().map_or(Ok(-1), integer)?;
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let places = split(state, &s.plain, separator, most, method == "rsplit")?;
            texts(state, &s, places, value)
        }
        "splitlines" => {
            let [keep] = bind(args, ["keepends"], 0)?;
            texts(state, &s, line_places(&s.plain, is_true(&keep)), value)
        }
        "partition" | "rpartition" => {
            let [separator] = bind(args, ["sep"], 1)?;
            let places = partition(&s.plain, text(&separator.unwrap_or_default())?, method)?;
            tuple(places.map(|place| like(s.cut(place), value)).to_vec())
        }
        "replace" => {
            let [old, new, count] = bind(args, ["old", "new", "count"], 2)?;
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            let count = count.as_ref().map_or(Ok(-1), integer)?;
            text(&new)?;
            let new = if value.is_safe() { escaped(&new) } else { to_str(&new) };
            replace(state, &s, text(&old)?, &new, count).map(|replaced| like(replaced, value))
        }
        "startswith" | "endswith" => starts_or_ends(&s.plain, args, method == "startswith"),
        "removeprefix" | "removesuffix" => {
            let [what] = bind(args, ["what"], 1)?;
            let what = what.unwrap_or_default();
            let what = plain(text(&what)?);
            let whole: &str = &s.plain;
            Ok(like(match method {
                "removeprefix" if whole.starts_with(&*what) => s.cut(what.len()..whole.len()),
                "removesuffix" if whole.ends_with(&*what) => s.cut(0..whole.len() - what.len()),
                _ => shown,
            }, value))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => search(&s.plain, method, args),
        "join" => {
            let [items] = bind(args, ["iterable"], 1)?;
            join(state, shown, &items.unwrap_or_default(), value)
        }
        "upper" | "lower" | "casefold" | "title" | "capitalize" | "swapcase" => {
            let [] = bind(args, [], 0)?;
            charge_bytes(state, shown.len())?;
            Ok(like(in_case(shown, method), value))
        }
        "ljust" | "rjust" | "center" | "zfill" => {
            justify(state, shown, method, args).map(|justified| like(justified, value))
        }
        "isdecimal" | "isdigit" | "istitle" | "isprintable" | "isidentifier" => {
            let [] = bind(args, [], 0)?;
            Ok(Value::from(is_kind(&s.plain, method)))
        }
        "expandtabs" | "encode" | "translate" | "maketrans" | "format_map" => {
            fail(format!("str.{method} is not supported"))
        }
        "format" if value.is_safe() => {
            check_widths(shown)?;
            let (positional, _) = super::args::split(args);
            let filling: Vec<Value> = positional.iter().map(|x| Value::from(escaped(x))).collect();
            let plain = Value::from(shown);
            let filled = pycompat::unknown_method_callback(state, &plain, method, &filling)?;
            Ok(like(to_str(&filled), value))
        }
        "format" => {
            check_widths(shown)?;
            for arg in args {
                charge_value(state, arg)?;
            }
            pycompat::unknown_method_callback(state, value, method, args)
        }
        _ => pycompat::unknown_method_callback(state, &plain_value(value, &s), method, args),
    }
}

/// What the engine's own methods look at: they answer with numbers and truths, or (format) fill
/// texts in as they are.
fn plain_value(value: &Value, s: &Text) -> Value {
    match s.plain {
        std::borrow::Cow::Borrowed(_) => value.clone(),
        std::borrow::Cow::Owned(ref text) => Value::from(text.as_str()),
    }
}

fn texts(
    state: &State,
    s: &Text,
    places: impl IntoIterator<Item = Range<usize>>,
    value: &Value,
) -> Result<Value, Error> {
    let mut found = Vec::new();
    for place in places {
        charge_items(state, 2)?;
        found.push(like(s.cut(place), value));
    }
    list(found)
}

fn split(
    state: &State,
    whole: &str,
    separator: Option<Value>,
    most: usize,
    from_right: bool,
) -> Result<Vec<Range<usize>>, Error> {
    charge_bytes(state, whole.len())?;
    let Some(separator) = separator.filter(|x| !x.is_none()) else {
        return Ok(words(whole, most, from_right));
    };
    let separator = plain(text(&separator)?).into_owned();
    if separator.is_empty() {
        return fail("empty separator");
    }
    let mut places = Vec::new();
    let (mut begin, mut end) = (0, whole.len());
    while places.len() < most {
        charge_items(state, 2)?;
        if from_right {
            let Some(at) = whole[..end].rfind(&separator) else { break };
            places.push(at + separator.len()..end);
            end = at;
        } else {
            let Some(at) = whole[begin..].find(&separator) else { break };
            places.push(begin..begin + at);
            begin += at + separator.len();
        }
    }
    places.push(begin..end);
    if from_right {
        places.reverse();
    }
    Ok(places)
}

/// The words between white space; with `most` splits the rest is one piece.
fn words(whole: &str, most: usize, from_right: bool) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let (mut begin, mut end) = (0, whole.len());
    loop {
        begin = end - whole[begin..end].trim_start_matches(is_space).len();
        end = begin + whole[begin..end].trim_end_matches(is_space).len();
        if begin == end {
            break;
        }
        if places.len() == most {
            // the far end keeps the white space that no split has reached
            places.push(if from_right { 0..end } else { begin..whole.len() });
            break;
        }
        let rest = &whole[begin..end];
        if from_right {
            let word = rest.rfind(is_space).map_or(begin, |at| {
                begin + at + rest[at..].chars().next().map_or(0, char::len_utf8)
            });
            places.push(word..end);
            end = word;
        } else {
            let word = rest.find(is_space).map_or(end, |at| begin + at);
            places.push(begin..word);
            begin = word;
        }
    }
    if from_right {
        places.reverse();
    }
    places
}

/// What ends a line for str.splitlines.
const BREAKS: [char; 10] =
    ['\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}'];

fn line_places(whole: &str, keep: bool) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut begin = 0;
    while let Some(at) = whole[begin..].find(BREAKS).map(|at| begin + at) {
        let mut next = at + whole[at..].chars().next().map_or(1, char::len_utf8);
        if whole[at..].starts_with("\r\n") {
            next = at + 2;
        }
        places.push(begin..if keep { next } else { at });
        begin = next;
    }
    if begin < whole.len() {
        places.push(begin..whole.len());
    }
    places
}

/// The lines of a text; a break at its end begins one more, which is empty.
pub fn lines(whole: &str) -> Vec<Range<usize>> {
    let mut places = line_places(whole, false);
    let ended = whole.ends_with(|c: char| BREAKS.contains(&c));
    if ended || places.is_empty() {
        places.push(whole.len()..whole.len());
    }
    places
}

fn partition(whole: &str, separator: &str, method: &str) -> Result<[Range<usize>; 3], Error> {
    let separator = plain(separator);
    let from_right = method == "rpartition";
    if separator.is_empty() {
        return fail("empty separator");
    }
    let at = if from_right { whole.rfind(&*separator) } else { whole.find(&*separator) };
    let n = whole.len();
    let (a, b) = match at {
        Some(at) => (at, at + separator.len()),
        None if from_right => (0, 0),
        None => (n, n),
    };
    Ok([0..a, a..b, b..n])
}

pub fn replace(
    state: &State,
    s: &Text,
    old: &str,
    new: &str,
    count: i64,
) -> Result<String, Error> {
    let (whole, old): (&str, _) = (&s.plain, plain(old));
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    charge_bytes(state, whole.len())?;
    let mut out = String::new();
    let mut begin = 0;
    for (at, found) in whole.match_indices(&*old).take(most) {
        charge_bytes(state, 64 + new.len())?;
        out.push_str(s.cut(begin..at));
        out.push_str(new);
        begin = at + found.len();
    }
    out.push_str(s.cut(begin..whole.len()));
    Ok(out)
}

/// The part of `whole` that the arguments `start` and `end` (characters) leave.
fn part(whole: &str, start: Option<Value>, end: Option<Value>) -> Result<Range<usize>, Error> {
    if start.is_none() && end.is_none() {
        return Ok(0..whole.len());
    }
    let n = whole.chars().count() as i64;
    let place = |value: Option<Value>, default: i64| -> Result<usize, Error> {
        let place = match value.filter(|x| !x.is_none()) {
            Some(value) => integer(&value)?,
            None => default,
        };
        let place = if place < 0 { (place + n).max(0) } else { place.min(n) };
        Ok(whole.char_indices().nth(place as usize).map_or(whole.len(), |x| x.0))
    };
    let (start, end) = (place(start, 0)?, place(end, n)?);
    Ok(start..end.max(start))
}

fn starts_or_ends(whole: &str, args: &[Value], starts: bool) -> Result<Value, Error> {
    let [what, start, end] = bind(args, ["prefix", "start", "end"], 1)?;
    let what = what.unwrap_or_default();
    let whole = &whole[part(whole, start, end)?];
    let holds = |what: &Value| -> Result<bool, Error> {
        let what = plain(text(what)?);
        Ok(if starts { whole.starts_with(&*what) } else { whole.ends_with(&*what) })
    };
    if !is_tuple(&what) {
        return holds(&what).map(Value::from);
    }
    for one in items_of(&what) {
        if holds(&one)? {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

fn search(whole: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let [what, start, end] = bind(args, ["sub", "start", "end"], 1)?;
    let what = what.unwrap_or_default();
    let what = plain(text(&what)?);
    let range = part(whole, start, end)?;
    let begin = range.start;
    let within = &whole[range];
    if method == "count" {
        return Ok(Value::from(within.matches(&*what).count()));
    }
    let at = if method.starts_with('r') { within.rfind(&*what) } else { within.find(&*what) };
    match at {
        Some(at) => Ok(Value::from(whole[..begin + at].chars().count())),
        None if method.ends_with("find") => Ok(Value::from(-1)),
        None => fail("substring not found"),
    }
}

fn join(state: &State, separator: &str, items: &Value, value: &Value) -> Result<Value, Error> {
    let mut out = String::new();
    for (i, item) in iterate(state, items)?.iter().enumerate() {
        let joined = text(item)?;
        charge_bytes(state, separator.len() + joined.len())?;
        if i > 0 {
            out.push_str(separator);
        }
        match value.is_safe() {
            true => out.push_str(&escaped(item)),
            false => out.push_str(joined),
        }
    }
    Ok(like(out, value))
}

/// The text in another case, character by character, so that marks stay where they are.
pub fn in_case(shown: &str, method: &str) -> String {
    if method == "lower" && !shown.chars().any(is_marked) {
        return shown.to_lowercase(); // knows which sigma ends a word
    }
    let mut out = String::new();
    let mut in_word = false;
    for (i, shown_char) in shown.chars().enumerate() {
        let c = unmark(shown_char);
        let upper = match method {
            "upper" => true,
            "lower" | "casefold" => false,
            "capitalize" => i == 0,
            "title" => !in_word,
            _ => c.is_lowercase(),
        };
        in_word = c.is_alphabetic();
        if upper {
            let first_of_word = matches!(method, "capitalize" | "title");
            push_upper(&mut out, c, shown_char, first_of_word);
        } else {
            out.extend(c.to_lowercase().map(|x| mark_like(x, shown_char)));
        }
    }
    out
}

fn push_upper(out: &mut String, c: char, shown: char, first_of_word: bool) {
    for (i, x) in c.to_uppercase().enumerate() {
        // "ß" is "SS", as the first of a word "Ss"
        match first_of_word && i > 0 {
            true => out.extend(x.to_lowercase().map(|x| mark_like(x, shown))),
            false => out.push(mark_like(x, shown)),
        }
    }
}

fn justify(state: &State, shown: &str, method: &str, args: &[Value]) -> Result<String, Error> {
    let [width, fill] = bind(args, ["width", "fillchar"], 1)?;
    let width = usize::try_from(integer(&width.unwrap_or_default())?).unwrap_or(0);
    let missing = width.saturating_sub(shown.chars().count());
    charge_bytes(state, missing.saturating_mul(4))?;
    let fill = fill.map_or(Ok(" ".to_owned()), |x| text(&x).map(str::to_owned))?;
    if fill.chars().count() != 1 {
        return fail("the fill character must be exactly one character long");
    }
    let pad = |n: usize| fill.repeat(n);
    Ok(match method {
        "ljust" => format!("{shown}{}", pad(missing)),
        "rjust" => format!("{}{shown}", pad(missing)),
        "zfill" => {
            let (sign, digits) = shown.split_at(usize::from(shown.starts_with(['+', '-'])));
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
        _ => {
            let left = missing / 2 + (missing & width & 1); // as CPython rounds
            format!("{}{shown}{}", pad(left), pad(missing - left))
        }
    })
}

fn is_kind(s: &str, method: &str) -> bool {
    match method {
        "isprintable" => !s.chars().any(|c| c.is_control()),
        "isidentifier" => {
            let begins = |c: char| c.is_alphabetic() || c == '_';
            s.starts_with(begins) && s.chars().all(|c| c.is_alphanumeric() || c == '_')
        }
        "istitle" => {
            s.chars().any(char::is_alphabetic) && in_case(s, "title") == s
        }
        _ => !s.is_empty() && s.chars().all(|c| c.is_numeric() && c.to_digit(10).is_some()
            || (c.is_numeric() && !c.is_ascii())),
    }
}
