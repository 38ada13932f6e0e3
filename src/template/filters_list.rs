//! Jinja's filters of lists and dictionaries.
use std::cmp::Ordering;

use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::args::{bind, integer, is_true};
use super::filters::{add, folded, path};
use super::functions::Builtin;
use super::methods;
use super::print::to_str;
use super::value::{
    charge_items, charge_value, compare, equal, fail, generator, iterate, list, tuple, Dict, Key, Pairs,
};

pub fn register(env: &mut Environment<'static>) {
    let filters: [(&'static str, Builtin); 15] = [
        ("batch", batch),
        ("slice", slice),
        ("dictsort", dictsort),
        ("first", |state, args| Ok(iterate(state, &args[0])?.first().cloned().unwrap_or_default())),
        ("last", last),
        ("groupby", groupby),
        ("items", items),
        ("join", join),
        ("list", |state, args| list(iterate(state, &args[0])?)),
        ("max", |state, args| extreme(state, args, Ordering::Greater)),
        ("min", |state, args| extreme(state, args, Ordering::Less)),
        ("reverse", reverse),
        ("sort", sort),
        ("sum", sum),
        ("unique", unique),
    ];
    for (name, filter) in filters {
        add(env, name, filter);
    }
}

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
        let _ = super::print::write_str(&mut out, &item); // a String takes everything
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
