//! Jinja's filters with Python's meaning.
use std::cmp::Ordering;

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::args::{bind, integer, is_true, split, text};
use super::filters_text;
use super::functions::Builtin;
use super::marks::plain;
use super::methods::{self, in_case};
use super::value::{
    charge_items, charge_value, compare, equal, fail, generator, is_list,
    iterate, like, list, to_str, tuple,
    type_name, Dict, Key, Pairs,
};

pub fn add(env: &mut Environment<'static>, name: &'static str, filter: Builtin) {
    env.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
        filter(state, &args.into_values())
    });
}

pub fn register(env: &mut Environment<'static>) {
    let filters: [(&'static str, Builtin); 34] = [
        ("abs", absolute),
        ("attr", attribute),
        ("batch", batch),
        ("slice", slice),
        ("count", length),
        ("length", length),
        ("d", default),
        ("default", default),
        ("dictsort", dictsort),
        ("first", |state, args| Ok(iterate(state, &args[0])?.first().cloned().unwrap_or_default())),
        ("last", last),
        ("float", float),
        ("int", int),
        ("groupby", groupby),
        ("items", items),
        ("join", join),
        ("list", |state, args| list(iterate(state, &args[0])?)),
        ("map", map),
        ("max", |state, args| extreme(state, args, Ordering::Greater)),
        ("min", |state, args| extreme(state, args, Ordering::Less)),
        ("reject", |state, args| choose(state, args, false, false)),
        ("rejectattr", |state, args| choose(state, args, true, false)),
        ("select", |state, args| choose(state, args, false, true)),
        ("selectattr", |state, args| choose(state, args, true, true)),
        ("reverse", reverse),
        ("round", round),
        ("safe", |_, args| Ok(Value::from_safe_string(to_str(&args[0])))),
        ("string", |_, args| Ok(like(to_str(&args[0]), &args[0]))),
        ("sort", sort),
        ("sum", sum),
        ("tojson", super::json::filter),
        ("unique", unique),
        ("pprint", |_, args| Ok(Value::from(super::value::repr(&args[0])))),
        ("random", |_, _| fail("filter random: a prompt is not made by chance")),
    ];
    for (name, filter) in filters {
        add(env, name, filter);
    }
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
fn path(value: &Value, name: &Value) -> Result<Value, Error> {
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
fn folded(value: Value, case_sensitive: bool) -> Value {
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

// ---- lists --------------------------------------------------------------------------------------

fn last(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    Ok(iterate(state, &args[0])?.last().cloned().unwrap_or_default())
}

fn items(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    if args[0].is_undefined() {
        return generator(Vec::new());
    }
    match args[0].downcast_object_ref::<Dict>() {
        Some(dict) => {
            let pairs = methods::of_dict(state, dict, "items", &[])?;
            generator(iterate(state, &pairs)?)
        }
        None => fail("Can only get item pairs from a mapping."),
    }
}

fn join(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, separator, attribute] = bind(args, ["value", "d", "attribute"], 1)?;
    let separator = to_str(&separator.unwrap_or_else(|| Value::from("")));
    let mut out = String::new();
    for (i, item) in iterate(state, &value.unwrap_or_default())?.into_iter().enumerate() {
        let item = match &attribute {
            Some(name) if !name.is_none() => path(&item, name)?,
            _ => item,
        };
        charge_value(state, &item)?;
        super::value::charge_bytes(state, separator.len() + 64)?;
        if i > 0 {
            out.push_str(&separator);
        }
        let _ = super::value::write_str(&mut out, &item); // a String takes everything
    }
    Ok(Value::from(out))
}

fn reverse(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = args[0].as_str() {
        return Ok(Value::from(text.chars().rev().collect::<String>()));
    }
    if args[0].is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let mut items = iterate(state, &args[0])?;
    items.reverse();
    generator(items)
}

/// Sorts what `key` gives for each item; stable; an error where there is no order.
fn sort_by(
    state: &State,
    items: Vec<Value>,
    reverse: bool,
    key: impl Fn(&Value) -> Result<Value, Error>,
) -> Result<Vec<Value>, Error> {
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        keyed.push((key(&item)?, item));
    }
    let rounds = usize::BITS - keyed.len().leading_zeros();
    charge_items(state, keyed.len() * (2 * rounds as usize))?;
    let mut failed = None;
    keyed.sort_by(|a, b| {
        let order = compare(&a.0, &b.0).unwrap_or_else(|error| {
            failed = Some(error);
            Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(keyed.into_iter().map(|x| x.1).collect()),
    }
}

fn sort(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let names = ["value", "reverse", "case_sensitive", "attribute"];
    let [value, reverse, case_sensitive, attribute] = bind(args, names, 1)?;
    let case_sensitive = is_true(&case_sensitive);
    let items = iterate(state, &value.unwrap_or_default())?;
    let paths: Vec<Value> = match attribute.filter(|x| !x.is_none()) {
        Some(names) => match names.as_str() {
            Some(names) => names.split(',').map(Value::from).collect(),
            None => vec![names],
        },
        None => Vec::new(),
    };
    let sorted = sort_by(state, items, is_true(&reverse), |item| match paths.as_slice() {
        [] => Ok(folded(item.clone(), case_sensitive)),
        paths => list(
            paths
                .iter()
                .map(|name| path(item, name).map(|x| folded(x, case_sensitive)))
                .collect::<Result<_, _>>()?,
        ),
    })?;
    list(sorted)
}

fn dictsort(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let names = ["value", "case_sensitive", "by", "reverse"];
    let [value, case_sensitive, by, reverse] = bind(args, names, 1)?;
    let case_sensitive = is_true(&case_sensitive);
    let place = match by.as_ref().and_then(Value::as_str) {
        None | Some("key") => 0,
        Some("value") => 1,
        _ => return fail("You can only sort by either \"key\" or \"value\""),
    };
    let value = value.unwrap_or_default();
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let pairs = items(state, &[value])?;
    let pairs = iterate(state, &pairs)?;
    list(sort_by(state, pairs, is_true(&reverse), |pair| {
        Ok(folded(pair.get_item_by_index(place)?, case_sensitive))
    })?)
}

fn unique(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let names = ["value", "case_sensitive", "attribute"];
    let [value, case_sensitive, attribute] = bind(args, names, 1)?;
    let mut seen = Pairs::new();
    let mut kept = Vec::new();
    for item in iterate(state, &value.unwrap_or_default())? {
        let looked_at = match &attribute {
            Some(name) if !name.is_none() => path(&item, name)?,
            _ => item.clone(),
        };
        let key = Key(folded(looked_at, is_true(&case_sensitive)));
        if seen.insert(key, Value::from(())).is_none() {
            kept.push(item);
        }
    }
    generator(kept)
}

fn extreme(state: &mut State, args: &[Value], wanted: Ordering) -> Result<Value, Error> {
    let names = ["value", "case_sensitive", "attribute"];
    let [value, case_sensitive, attribute] = bind(args, names, 1)?;
    let mut best: Option<(Value, Value)> = None;
    for item in iterate(state, &value.unwrap_or_default())? {
        let looked_at = match &attribute {
            Some(name) if !name.is_none() => path(&item, name)?,
            _ => item.clone(),
        };
        let key = folded(looked_at, is_true(&case_sensitive));
        let is_better = match &best {
            Some((best, _)) => compare(&key, best)? == wanted,
            None => true,
        };
        if is_better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |x| x.1))
}

fn sum(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, attribute, start] = bind(args, ["iterable", "attribute", "start"], 1)?;
    let mut total = start.unwrap_or_else(|| Value::from(0));
    for item in iterate(state, &value.unwrap_or_default())? {
        let item = match &attribute {
            Some(name) if !name.is_none() => path(&item, name)?,
            _ => item,
        };
        total = super::operators::plus(state, &[total, item])?;
    }
    Ok(total)
}

fn groupby(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let names = ["value", "attribute", "default", "case_sensitive"];
    let [value, attribute, default, case_sensitive] = bind(args, names, 2)?;
    let attribute = attribute.unwrap_or_default();
    let key = |item: &Value| -> Result<Value, Error> {
        let found = path(item, &attribute)?;
        Ok(match &default {
            Some(default) if found.is_undefined() => default.clone(),
            _ => found,
        })
    };
    let fold = |key: Value| folded(key, is_true(&case_sensitive));
    let items = iterate(state, &value.unwrap_or_default())?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in sort_by(state, items, false, |item| key(item).map(fold))? {
        let name = key(&item)?;
        match groups.last_mut() {
            Some((last, group)) if equal(&fold(last.clone()), &fold(name.clone())) => {
                group.push(item);
            }
            _ => groups.push((name, vec![item])),
        }
    }
    let groups = groups.into_iter().map(|(name, group)| tuple(vec![name, list(group)?]));
    list(groups.collect::<Result<_, _>>()?)
}

/// The items in rows of n, the last filled up.
fn batch(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, n, fill] = bind(args, ["value", "linecount", "fill_with"], 2)?;
    let n = usize::try_from(integer(&n.unwrap_or_default())?).unwrap_or(0).max(1);
    let items = iterate(state, &value.unwrap_or_default())?;
    let mut rows = Vec::new();
    for row in items.chunks(n) {
        let mut row = row.to_vec();
        if let Some(fill) = fill.as_ref().filter(|x| !x.is_none()) {
            charge_items(state, n)?;
            row.resize(n, fill.clone());
        }
        rows.push(list(row)?);
    }
    generator(rows)
}

/// The items in n columns.
fn slice(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [value, n, fill] = bind(args, ["value", "slices", "fill_with"], 2)?;
    let n = usize::try_from(integer(&n.unwrap_or_default())?).unwrap_or(0);
    if n == 0 {
        return fail("slice: integer division by zero");
    }
    charge_items(state, n)?;
    let items = iterate(state, &value.unwrap_or_default())?;
    let (least, longer) = (items.len() / n, items.len() % n);
    let mut rest = items.as_slice();
    let mut columns = Vec::new();
    for column in 0..n {
        let (part, after) = rest.split_at(least + usize::from(column < longer));
        rest = after;
        let mut part = part.to_vec();
        if let Some(fill) = fill.as_ref().filter(|x| !x.is_none() && column >= longer) {
            part.push(fill.clone());
        }
        columns.push(list(part)?);
    }
    generator(columns)
}
