//! Operators with Python's meaning. rewrite.rs turns a template's expressions into calls of these,
//! under names that no template can spell: they begin with a space.
use minijinja::formatting::{format, FormatStyle};
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::args::integer;
use super::functions::{add, Builtin};
use super::marks::{plain, Text};
use super::methods;
use super::print::{escaped, like, to_str, write_str};
use super::value::{
    charge_bytes, charge_items, charge_value, compare, dict, equal, fail, is_list, is_tuple, items_of,
    iterate, list, shape, tuple, type_name, Dict, Key, Pairs,
};

pub fn register(env: &mut Environment<'static>) {
    let operators: [(&'static str, Builtin); 21] = [
        (" +", plus),
        (" *", times),
        (" %", modulo),
        (" ~", concatenate),
        (" -", |_, args| super::native::negative(&args[0])),
        (" ==", |state, args| equality(state, args).map(Value::from)),
        (" !=", |state, args| equality(state, args).map(|x| Value::from(!x))),
        (" <", |state, args| Ok(Value::from(order(state, args)?.is_lt()))),
        (" <=", |state, args| Ok(Value::from(order(state, args)?.is_le()))),
        (" >", |state, args| Ok(Value::from(order(state, args)?.is_gt()))),
        (" >=", |state, args| Ok(Value::from(order(state, args)?.is_ge()))),
        (" in", |state, args| contains(state, &args[1], &args[0]).map(Value::from)),
        (" chain", chain),
        (" []", item),
        (" .", attribute),
        (" [:]", slice),
        (" for", |state, args| iterate(state, &args[0]).map(Value::from)),
        (" list", |_, args| list(args.to_vec())),
        (" tuple", |_, args| tuple(args.to_vec())),
        (" dict", dictionary),
        (" set", |_, args| shape(&args[0]).map(|_| args[0].clone())),
    ];
    for (name, function) in operators {
        add(env, name, function);
    }
}

pub fn plus(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let (a, b) = (&args[0], &args[1]);
    if let (Some(left), Some(right)) = (a.as_str(), b.as_str()) {
        charge_bytes(state, left.len() + right.len())?;
        return Ok(match a.is_safe() || b.is_safe() {
            true => Value::from_safe_string(escaped(a) + &escaped(b)),
            false => Value::from([left, right].concat()),
        });
    }
    if is_list(a) && is_list(b) && is_tuple(a) == is_tuple(b) {
        charge_items(state, a.len().unwrap_or(0) + b.len().unwrap_or(0))?;
        let mut items = items_of(a);
        items.extend(items_of(b));
        return if is_tuple(a) { tuple(items) } else { list(items) };
    }
    let is_number = |v: &Value| matches!(v.kind(), ValueKind::Number | ValueKind::Bool);
    if !is_number(a) || !is_number(b) {
        return fail(format!("{} and {} cannot be added", type_name(a), type_name(b)));
    }
    super::native::add(a, b)
}

fn times(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let (a, b) = (&args[0], &args[1]);
    let (repeated, n) = if is_list(a) || a.as_str().is_some() { (a, b) } else { (b, a) };
    if let Some(text) = repeated.as_str() {
        let n = usize::try_from(integer(n)?).unwrap_or(0);
        charge_bytes(state, text.len().saturating_mul(n))?;
        return Ok(like(text.repeat(n), repeated));
    }
    if is_list(repeated) {
        let n = usize::try_from(integer(n)?).unwrap_or(0);
        let items = items_of(repeated);
        charge_items(state, items.len().saturating_mul(n))?;
        let items = items.iter().cycle().take(items.len() * n).cloned().collect();
        return if is_tuple(repeated) { tuple(items) } else { list(items) };
    }
    super::native::multiply(a, b)
}

/// A remainder, or a text with its places filled in.
fn modulo(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = args[0].as_str() else {
        return super::native::remainder(&args[0], &args[1]);
    };
    charge_bytes(state, text.len())?;
    charge_value(state, &args[1])?;
    fill(text, &args[1], args[0].is_safe()).map(|filled| like(filled, &args[0]))
}

/// Fields are at most so wide and precise.
const MAX_WIDTH_DIGITS: usize = 3;

/// An error for a format whose fields would be very wide.
pub fn check_widths(pattern: &str) -> Result<(), Error> {
    let digits = pattern.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    match digits > MAX_WIDTH_DIGITS || pattern.contains('*') && pattern.contains('%') {
        true => fail("a format's width must be given in it, in at most three digits"),
        false => Ok(()),
    }
}

pub fn fill(text: &str, filling: &Value, is_markup: bool) -> Result<String, Error> {
    check_widths(text)?;
    // what is not a number is filled in as its text
    let printed = |v: &Value| match v.kind() {
        ValueKind::Number | ValueKind::Bool => v.clone(),
        _ if is_markup => Value::from(escaped(v)),
        _ => Value::from(to_str(v)),
    };
    let values: Vec<Value> = match filling.downcast_object_ref::<Dict>() {
        Some(_) => vec![filling.clone()],
        None if is_tuple(filling) => items_of(filling).iter().map(printed).collect(),
        None => vec![printed(filling)],
    };
    format(FormatStyle::Printf, text, &values)
}

fn concatenate(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let mut out = String::new();
    for arg in args {
        charge_value(state, arg)?;
        let _ = write_str(&mut out, arg); // a String takes everything
    }
    charge_bytes(state, out.len())?;
    Ok(Value::from(out))
}

fn equality(state: &mut State, args: &[Value]) -> Result<bool, Error> {
    charge_value(state, &args[0])?;
    Ok(equal(&args[0], &args[1]))
}

fn order(state: &mut State, args: &[Value]) -> Result<std::cmp::Ordering, Error> {
    charge_value(state, &args[0])?;
    compare(&args[0], &args[1])
}

pub fn contains(state: &State, container: &Value, value: &Value) -> Result<bool, Error> {
    charge_value(state, container)?;
    if let Some(text) = container.as_str() {
        let Some(part) = value.as_str() else {
            return fail(format!("'in <string>' requires a str, not {}", type_name(value)));
        };
        return Ok(plain(text).contains(&*plain(part)));
    }
    if let Some(dict) = container.downcast_object_ref::<Dict>() {
        return Ok(dict.get(value).is_some());
    }
    if let Some(list) = container.downcast_object_ref::<super::value::List>() {
        return Ok(list.items.iter().any(|item| equal(item, value)));
    }
    Ok(iterate(state, container)?.iter().any(|item| equal(item, value)))
}

/// `a < b <= c`: operands with the operators between them.
fn chain(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    for operand in args {
        charge_value(state, operand)?;
    }
    for link in args.windows(3).step_by(2) {
        let [a, operator, b] = link else { unreachable!("windows of three") };
        let holds = match operator.as_str().unwrap_or_default() {
            "==" => equal(a, b),
            "!=" => !equal(a, b),
            "<" => compare(a, b)?.is_lt(),
            "<=" => compare(a, b)?.is_le(),
            ">" => compare(a, b)?.is_gt(),
            ">=" => compare(a, b)?.is_ge(),
            "in" => contains(state, b, a)?,
            _ => !contains(state, b, a)?,
        };
        if !holds {
            return Ok(Value::from(false));
        }
    }
    Ok(Value::from(true))
}

/// `a[b]`: an item, else an attribute of that name, else undefined.
fn item(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let (value, key) = (&args[0], &args[1]);
    charge_bytes(state, value.as_str().map_or(0, str::len))?;
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if let (Some(text), Some(index)) = (value.as_str(), key.as_i64()) {
        return Ok(character(text, index, value));
    }
    if is_list(value) && !key.is_integer() && key.kind() != ValueKind::Bool {
        return Ok(method_of(value, key));
    }
    let found = value.get_item(key)?;
    Ok(if found.is_undefined() { method_of(value, key) } else { found })
}

fn character(text: &str, index: i64, value: &Value) -> Value {
    let found = if index >= 0 {
        text.chars().nth(index as usize)
    } else {
        text.chars().rev().nth(index.unsigned_abs() as usize - 1)
    };
    found.map_or(Value::UNDEFINED, |c| like(c.to_string(), value))
}

fn method_of(value: &Value, key: &Value) -> Value {
    key.as_str().and_then(|name| methods::bound(value, name)).unwrap_or(Value::UNDEFINED)
}

/// `a.b` where b is the name of a method: that, else a key.
fn attribute(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let (value, name) = (&args[0], args[1].as_str().unwrap_or_default());
    match methods::bound(value, name) {
        Some(method) => Ok(method),
        None => value.get_attr(name),
    }
}

/// The places that `[start:stop:step]` takes of `length`.
fn slice_places(
    length: usize,
    start: Option<i64>,
    stop: Option<i64>,
    step: i64,
) -> impl Iterator<Item = usize> {
    let length = length as i64;
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |place: i64| {
        (if place < 0 { place.saturating_add(length) } else { place }).clamp(low, high)
    };
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let (start, stop) = (start.map_or(first, clamp), stop.map_or(last, clamp));
    std::iter::successors(Some(start), move |place| place.checked_add(step))
        .take_while(move |&place| if step > 0 { place < stop } else { place > stop })
        .map(|place| place as usize)
}

fn slice(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let bound = |v: &Value| if v.is_none() { Ok(None) } else { integer(v).map(Some) };
    let (start, stop) = (bound(&args[1])?, bound(&args[2])?);
    let step = bound(&args[3])?.unwrap_or(1);
    if step == 0 {
        return fail("slice step cannot be zero");
    }
    charge_items(state, args[0].len().unwrap_or(0))?;
    if let Some(text) = args[0].as_str() {
        charge_bytes(state, text.len().saturating_mul(4))?;
        let chars: Vec<char> = text.chars().collect();
        let places = slice_places(chars.len(), start, stop, step);
        return Ok(like(places.map(|i| chars[i]).collect::<String>(), &args[0]));
    }
    if !is_list(&args[0]) {
        return match args[0].kind() {
            ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
            _ => Ok(Value::UNDEFINED), // Jinja: no such item
        };
    }
    let items = items_of(&args[0]);
    let places = slice_places(items.len(), start, stop, step);
    let cut = places.map(|i| items[i].clone()).collect();
    if is_tuple(&args[0]) {
        tuple(cut)
    } else {
        list(cut)
    }
}

/// Keys and values in turn.
fn dictionary(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let mut pairs = Pairs::with_capacity(args.len() / 2);
    for pair in args.chunks_exact(2) {
        pairs.insert(Key(pair[0].clone()), pair[1].clone());
    }
    dict(pairs)
}

/// What a text looks like without white space around it.
pub fn strip<'a>(text: &Text<'a>, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let chars = chars.map(plain);
    let goes = |c: char| match &chars {
        Some(chars) => chars.contains(c),
        None => methods::is_space(c),
    };
    let whole: &str = &text.plain;
    let begin = if left { whole.len() - whole.trim_start_matches(goes).len() } else { 0 };
    let end = if right { begin + whole[begin..].trim_end_matches(goes).len() } else { whole.len() };
    text.cut(begin..end)
}
