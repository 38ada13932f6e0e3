//! The functions a template can call.
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::args::{bind, integer, split, text};
use super::strftime::{self, Moment};
use super::print::to_str;
use super::value::{charge_bytes, charge_items, dict, fail, items_of, iterate, list, shape, Dict};
use super::value::{Key, Pairs};

pub type Builtin = fn(&mut State, &[Value]) -> Result<Value, Error>;

/// The variable that holds the time of the rendering; no template can spell it.
pub const NOW: &str = "now()";

struct Function(Builtin);

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<function>")
    }
}

impl Object for Function {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        (self.0)(state, args)
    }
}

pub fn add(env: &mut Environment<'static>, name: &'static str, function: Builtin) {
    env.add_global(name, Value::from_object(Function(function)));
}

pub fn register(env: &mut Environment<'static>) {
    add(env, "raise_exception", |_, args| {
        let [message] = bind(args, ["message"], 1)?;
        let words = super::marks::plain(&to_str(&message.unwrap_or_default())).into_owned();
        Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(words)))
    });
    add(env, "strftime_now", strftime_now);
    add(env, "namespace", namespace);
    add(env, "dict", dictionary);
    add(env, "range", range);
    add(env, "joiner", joiner);
    add(env, "cycler", cycler);
}

/// A template's own refusal.
#[derive(Debug)]
pub struct Raised(pub String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn strftime_now(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [format] = bind(args, ["format"], 1)?;
    let now = state.lookup(NOW);
    let Some(now) = now.as_ref().and_then(|x| x.downcast_object_ref::<Moment>()) else {
        return fail("the time is not known");
    };
    let format = format.unwrap_or_default();
    if text(&format)?.len() > 256 {
        return fail("strftime_now: the format is too long");
    }
    charge_bytes(state, 4096)?;
    strftime::format(text(&format)?, now).map(Value::from)
}

fn namespace(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    for (name, value) in dictionary_pairs(state, args)? {
        if name.0.as_str().is_some_and(|name| name.starts_with('_')) {
            return fail("an attribute of a namespace cannot begin with an underscore");
        }
        shape(&value)?;
        pairs.push((name.0, value));
    }
    minijinja::functions::namespace(Some(Value::from_pairs(pairs).into()))
}

/// The pairs of `dict(mapping or list of pairs, name=value …)`.
fn dictionary_pairs(state: &State, args: &[Value]) -> Result<Pairs, Error> {
    let (positional, named) = split(args);
    let mut pairs = match positional {
        [] => Pairs::new(),
        [first] => match first.downcast_object_ref::<Dict>() {
            Some(first) => {
                charge_items(state, first.pairs.len())?;
                first.pairs.clone()
            }
            None => listed_pairs(state, first)?,
        },
        _ => return Err(Error::from(ErrorKind::TooManyArguments)),
    };
    pairs.extend(named.into_iter().map(|(name, value)| (Key(name), value)));
    Ok(pairs)
}

fn listed_pairs(state: &State, value: &Value) -> Result<Pairs, Error> {
    let mut pairs = Pairs::new();
    for item in iterate(state, value)? {
        let mut parts = items_of(&item);
        match (parts.pop(), parts.pop(), parts.is_empty()) {
            (Some(second), Some(first), true) => pairs.insert(Key(first), second),
            _ => return fail("a dictionary is made of pairs"),
        };
    }
    Ok(pairs)
}

fn dictionary(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    dict(dictionary_pairs(state, args)?)
}

/// As in Jinja's sandbox.
const MAX_RANGE: i64 = 100_000;

fn range(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [first, second, step] = bind(args, ["start", "stop", "step"], 1)?;
    let first = integer(&first.unwrap_or_default())?;
    let (start, stop) = match second {
        Some(stop) => (first, integer(&stop)?),
        None => (0, first),
    };
    let step = step.as_ref().map_or(Ok(1), integer)?;
    if step == 0 {
        return fail("range() arg 3 must not be zero");
    }
    let distance = if step > 0 { i128::from(stop) - i128::from(start) }
                   else { i128::from(start) - i128::from(stop) };
    let width = i128::from(step.unsigned_abs());
    let n = (distance.max(0) + width - 1) / width;
    if n > i128::from(MAX_RANGE) {
        return fail(format!("a range has at most {MAX_RANGE} items"));
    }
    charge_items(state, n as usize)?;
    list((0..n as i64).map(|i| Value::from(start + i * step)).collect())
}

// ---- joiner and cycler --------------------------------------------------------------------------

/// Gives the next of its items at every call (and, not a cycle, stays with the last).
#[derive(Debug)]
struct Turns {
    items: Vec<Value>,
    is_cycle: bool,
    next: std::sync::atomic::AtomicUsize,
}

impl Turns {
    fn take(&self, step: usize) -> Value {
        let turn = self.next.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
        let last = self.items.len() - 1;
        self.items[if self.is_cycle { turn % (last + 1) } else { turn.min(last) }].clone()
    }
}

impl Object for Turns {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        (self.is_cycle && key == "current").then(|| self.take(0))
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Value]) -> Result<Value, Error> {
        match self.is_cycle {
            false => Ok(self.take(1)),
            true => fail("a cycler is not called"),
        }
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        _: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "next" if self.is_cycle => Ok(self.take(1)),
            "reset" if self.is_cycle => {
                self.next.store(0, std::sync::atomic::Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

fn turns(items: Vec<Value>, is_cycle: bool) -> Result<Value, Error> {
    for item in &items {
        shape(item)?;
    }
    Ok(Value::from_object(Turns { items, is_cycle, next: 0.into() }))
}

fn joiner(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [separator] = bind(args, ["sep"], 0)?;
    turns(vec![Value::from(""), separator.unwrap_or_else(|| Value::from(", "))], false)
}

fn cycler(_: &mut State, args: &[Value]) -> Result<Value, Error> {
    match args {
        [] => fail("at least one item has to be provided"),
        _ => turns(args.to_vec(), true),
    }
}
