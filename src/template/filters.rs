//! Jinja's filters with Python's meaning.

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::args::{bind, integer, is_true, split, text};
use super::filters_list;
use super::filters_text;
use super::functions::Builtin;
use super::marks::plain;
use super::methods;
use super::methods_text::in_case;
use super::print::{like, to_str};
use super::value::{charge_items, charge_value, fail, generator, is_list, iterate, type_name, Dict};

pub fn add(env: &mut Environment<'static>, name: &'static str, filter: Builtin) {
    env.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
        filter(state, &args.into_values())
    });
}

pub fn register(env: &mut Environment<'static>) {
    let filters: [(&'static str, Builtin); 19] = [
        ("abs", absolute),
        ("attr", attribute),
        ("count", length),
        ("length", length),
        ("d", default),
        ("default", default),
        ("float", float),
        ("int", int),
        ("map", map),
        ("reject", |state, args| choose(state, args, false, false)),
        ("rejectattr", |state, args| choose(state, args, true, false)),
        ("select", |state, args| choose(state, args, false, true)),
        ("selectattr", |state, args| choose(state, args, true, true)),
        ("round", round),
        ("safe", |_, args| Ok(Value::from_safe_string(to_str(&args[0])))),
        ("string", |_, args| Ok(like(to_str(&args[0]), &args[0]))),
        ("tojson", super::json::filter),
        ("pprint", |_, args| Ok(Value::from(super::print::repr(&args[0])))),
        ("random", |_, _| fail("filter random: a prompt is not made by chance")),
    ];
    for (name, filter) in filters {
        add(env, name, filter);
    }
    filters_list::register(env);
    filters_text::register(env);
}

// ---- single values ------------------------------------------------------------------------------

fn length(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value] = bind(args, ["value"], 1)?;
    let value = value.unwrap_or_default();
    match (value.len(), value.is_undefined()) {
        (Some(n), _) => Ok(Value::from(n)),
        (None, true) => Ok(Value::from(0)),
        (None, false) => fail(format!("object of type '{}' has no len()", type_name(&value))),
    }
}

fn default(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, default, boolean] = bind(args, ["value", "default_value", "boolean"], 1)?;
    let value = value.unwrap_or_default();
    if value.is_undefined() || (is_true(&boolean) && !value.is_true()) {
        return Ok(default.unwrap_or_else(|| Value::from("")));
    }
    Ok(value)
}

fn attribute(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, name] = bind(args, ["obj", "name"], 2)?;
    let (value, name) = (value.unwrap_or_default(), name.unwrap_or_default());
    if let Some(method) = methods::bound(&value, text(&name)?) {
        return Ok(method);
    }
    match value.downcast_object_ref::<Dict>() {
        Some(_) => Ok(Value::UNDEFINED), // keys are no attributes
        None => value.get_attr(text(&name)?),
    }
}

fn absolute(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value] = bind(args, ["x"], 1)?;
    let value = value.unwrap_or_default();
    match value.kind() {
        ValueKind::Number if value.is_integer() => Ok(Value::from(integer(&value)?.abs())),
        ValueKind::Number => Ok(Value::from(f64::try_from(value)?.abs())),
        ValueKind::Bool => Ok(Value::from(i64::from(value.is_true()))),
        _ => fail(format!("bad operand type for abs(): '{}'", type_name(&value))),
    }
}

fn int(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, default, base] = bind(args, ["value", "default", "base"], 1)?;
    let value = value.unwrap_or_default();
    let default = default.unwrap_or_else(|| Value::from(0));
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if let Some(number) = value.as_str() {
        let base = base.as_ref().map_or(Ok(10), integer)?;
        let number = plain(number).trim().replace('_', "");
        let digits = match base {
            16 => number.trim_start_matches("0x").trim_start_matches("0X"),
            8 => number.trim_start_matches("0o"),
            2 => number.trim_start_matches("0b"),
            10 => &number,
            _ => return fail("int: the base is 2, 8, 10 or 16"),
        };
        if let Ok(whole) = i64::from_str_radix(digits, base as u32) {
            return Ok(Value::from(whole));
        }
        return Ok(parse_float(&number).map_or(default, |x| Value::from(x.trunc() as i64)));
    }
    match value.kind() {
        ValueKind::Number if value.is_integer() => Ok(value),
        ValueKind::Number => {
            let number = f64::try_from(value)?;
            Ok(if number.is_finite() { Value::from(number.trunc() as i64) } else { default })
        }
        ValueKind::Bool => Ok(Value::from(i64::from(value.is_true()))),
        _ => Ok(default),
    }
}

fn parse_float(number: &str) -> Option<f64> {
    let is_number = number.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    number.parse().ok().filter(|_| is_number)
}

fn float(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, default] = bind(args, ["value", "default"], 1)?;
    let value = value.unwrap_or_default();
    let default = default.unwrap_or_else(|| Value::from(0.0));
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Number => Ok(Value::from(f64::try_from(value)?)),
        ValueKind::Bool => Ok(Value::from(f64::from(u8::from(value.is_true())))),
        ValueKind::String => {
            let number = plain(text(&value)?).trim().to_owned();
            Ok(parse_float(&number).map_or(default, Value::from))
        }
        _ => Ok(default),
    }
}

fn round(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, precision, method] = bind(args, ["value", "precision", "method"], 1)?;
    let value = value.unwrap_or_default();
    if !matches!(value.kind(), ValueKind::Number | ValueKind::Bool) {
        return fail(format!("type {} doesn't define __round__ method", type_name(&value)));
    }
    let number = f64::try_from(value.clone())?;
    let precision = precision.as_ref().map_or(Ok(0), integer)?.clamp(-300, 300) as i32;
    let scale = 10f64.powi(precision);
    let method = method.map_or_else(|| "common".to_owned(), |x| to_str(&x));
    let rounded = match method.as_str() {
        "ceil" => (number * scale).ceil() / scale,
        "floor" => (number * scale).floor() / scale,
        // ties to the even digit of the number as it is stored
        "common" if precision < 0 => (number * scale).round_ties_even() / scale,
        "common" => format!("{number:.*}", precision as usize).parse().unwrap_or(number),
        _ => return fail("method must be common, ceil or floor"),
    };
    let stays_whole = value.is_integer() && method == "common";
    Ok(if stays_whole { Value::from(rounded as i64) } else { Value::from(rounded) })
}

// ---- attributes and tests by name ---------------------------------------------------------------

/// `a.b.0` of a value, as filters that take an attribute look it up.
pub fn path(value: &Value, name: &Value) -> Result<Value, Error> {
    let Some(name) = name.as_str() else {
        return step(value, name);
    };
    let mut found = value.clone();
    for part in name.split('.') {
        let key = part.parse::<i64>().map_or_else(|_| Value::from(part), Value::from);
        found = step(&found, &key)?;
    }
    Ok(found)
}

fn step(value: &Value, key: &Value) -> Result<Value, Error> {
    if value.is_undefined() || (is_list(value) && key.as_i64().is_none()) {
        return Ok(Value::UNDEFINED);
    }
    value.get_item(key)
}

/// What filters compare texts by: without case, unless asked otherwise.
pub fn folded(value: Value, case_sensitive: bool) -> Value {
    match value.as_str() {
        Some(text) if !case_sensitive => Value::from(in_case(text, "lower")),
        _ => value,
    }
}

fn choose(
    state: &mut State,
    args: &[Value],
    by_attribute: bool,
    wanted: bool,
) -> Result<Value, Error> {
    let (positional, named) = split(args);
    let skipped = 1 + usize::from(by_attribute);
    if positional.len() < skipped || !named.is_empty() {
        return Err(Error::from(ErrorKind::MissingArgument));
    }
    let (test, extra) = match positional[skipped..].split_first() {
        Some((test, extra)) => (Some(text(test)?.to_owned()), extra),
        None => (None, &[][..]),
    };
    let mut chosen = Vec::new();
    for item in iterate_true(state, &args[0])? {
        charge_items(state, 2)?;
        let looked_at = match by_attribute {
            true => path(&item, &positional[1])?,
            false => item.clone(),
        };
        let holds = match &test {
            None => looked_at.is_true(),
            Some(name) => {
                let mut with = vec![looked_at];
                with.extend_from_slice(extra);
                state.perform_test(name, &with)?
            }
        };
        if holds == wanted {
            chosen.push(item);
        }
    }
    generator(chosen)
}

/// None and the like have no items here.
fn iterate_true(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    if value.is_true() { iterate(state, value) } else { Ok(Vec::new()) }
}

fn map(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let (positional, named) = split(args);
    let items = iterate_true(state, &args[0])?;
    let mut mapped = Vec::with_capacity(items.len());
    if let [_] = positional {
        let named = |name: &str| named.iter().find(|x| x.0.as_str() == Some(name)).map(|x| &x.1);
        let Some(attribute) = named("attribute") else {
            return fail("map requires a filter argument");
        };
        let default = named("default");
        for item in items {
            let found = path(&item, attribute)?;
            mapped.push(match default {
                Some(default) if found.is_undefined() => default.clone(),
                _ => found,
            });
        }
        return generator(mapped);
    }
    let name = text(&positional[1])?;
    for item in items {
        charge_items(state, 4)?;
        let mut with = vec![item];
        with.extend_from_slice(&args[2..]);
        let value = state.apply_filter(name, &with)?;
        charge_value(state, &value)?;
        mapped.push(value);
    }
    generator(mapped)
}
