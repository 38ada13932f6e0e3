//! Lists, tuples and dictionaries as Python has them.
//!
//! They are objects of our own because of what they promise: they print as Python prints them (print.rs),
//! their methods win over keys of the same name in calls, and they know how deep they are nested,
//! so that no template can build a value whose traversal (or release) overflows the stack.
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use crate::base::memory;
use super::clock;
use super::marks;
use super::methods;
use super::print::{write_mapping, write_sequence};

/// How deep lists and dictionaries may be nested, in requests and while rendering.
pub const MAX_NESTING: u16 = 100;

pub fn fail<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, text.into()))
}

/// What going through a value costs: how deep it is nested, and its fuel. A list that holds another
/// one twice has the weight of both, however little memory it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    pub nesting: u16,
    pub weight: u64,
}

/// No value is heavier: what it prints stays below 64 MB.
const MAX_WEIGHT: u64 = 1 << 20;

impl Shape {
    fn add(&mut self, inner: Shape) {
        self.nesting = self.nesting.max(inner.nesting);
        self.weight = self.weight.saturating_add(inner.weight);
    }

    fn holder(mut self) -> Result<Shape, Error> {
        self.nesting += 1;
        self.weight = self.weight.saturating_add(1);
        if self.nesting > MAX_NESTING {
            return fail("a value is nested too deep");
        }
        if self.weight > MAX_WEIGHT {
            return fail("a value is too large");
        }
        Ok(self)
    }
}

/// The shape; an error for what must not be held by another value: objects that can be changed
/// later (namespaces, loops) could otherwise come to hold themselves.
pub fn shape(value: &Value) -> Result<Shape, Error> {
    let flat = |weight| Ok(Shape { nesting: 0, weight });
    let Some(object) = value.as_object() else {
        return flat(1 + value.as_str().map_or(0, |text| text.len() as u64 / 64));
    };
    if let Some(list) = object.downcast_ref::<List>() {
        return Ok(list.shape);
    }
    if let Some(dict) = object.downcast_ref::<Dict>() {
        return Ok(dict.shape);
    }
    if let Some(stream) = object.downcast_ref::<Stream>() {
        return Ok(stream.shape);
    }
    match object.repr() {
        // of the engine's own: constants of the template, which hold plain values only
        ObjectRepr::Seq => {
            let mut sum = Shape::default();
            for item in value.try_iter()? {
                sum.add(shape(&item)?);
            }
            sum.holder()
        }
        ObjectRepr::Plain => flat(1),
        _ if is_macro(object) => flat(1),
        _ => fail("a namespace or loop cannot be held by another value"),
    }
}

/// Pays for going through the whole value.
pub fn charge_value(state: &State, value: &Value) -> Result<(), Error> {
    match value.as_object() {
        Some(_) => {
            let weight = shape(value).map_or(1, |shape| shape.weight);
            charge_bytes(state, weight.saturating_mul(64) as usize)
        }
        None => charge_bytes(state, value.as_str().map_or(0, str::len)),
    }
}

/// Macros are objects with exactly these keys.
fn is_macro(object: &DynObject) -> bool {
    object.get_value_by_str("arguments").is_some() && object.get_value_by_str("caller").is_some()
}

// ---- lists and tuples ---------------------------------------------------------------------------

#[derive(Debug)]
pub struct List {
    pub items: Vec<Value>,
    pub is_tuple: bool,
    shape: Shape,
}

impl List {
    fn make(items: Vec<Value>, is_tuple: bool) -> Result<Value, Error> {
        let mut sum = Shape::default();
        for item in &items {
            sum.add(shape(item)?);
        }
        let shape = sum.holder()?;
        Ok(Value::from_object(List { items, is_tuple, shape }))
    }
}

pub fn list(items: Vec<Value>) -> Result<Value, Error> {
    List::make(items, false)
}

pub fn tuple(items: Vec<Value>) -> Result<Value, Error> {
    List::make(items, true)
}

pub fn is_tuple(value: &Value) -> bool {
    value.is_tuple() || value.downcast_object_ref::<List>().is_some_and(|l| l.is_tuple)
}

/// True for lists and tuples, ours and the engine's constants.
pub fn is_list(value: &Value) -> bool {
    value.kind() == ValueKind::Seq
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get(key.as_usize()?).cloned()
    }

    /// The names of what groupby gives.
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match (self.is_tuple && self.items.len() == 2, key) {
            (true, "grouper") => Some(self.items[0].clone()),
            (true, "list") => Some(self.items[1].clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.items.len())
    }

    fn call_method(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        methods::of_list(state, &self.items, method, args)
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<List>()?;
        Some(self.is_tuple.cmp(&other.is_tuple).then_with(|| self.items.cmp(&other.items)))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_sequence(f, self.items.iter(), self.is_tuple)
    }
}

// ---- generators and views -----------------------------------------------------------------------

/// What Python hands out one by one: `map`, `select` … give generators, which can be gone through
/// once and have neither length nor places; a dictionary's keys, values and items are views.
#[derive(Debug)]
pub struct Stream {
    items: Mutex<Vec<Value>>,
    view_of: Option<&'static str>, // None: a generator
    shape: Shape,
}

pub fn generator(items: Vec<Value>) -> Result<Value, Error> {
    stream(items, None)
}

pub fn view(items: Vec<Value>, of: &'static str) -> Result<Value, Error> {
    stream(items, Some(of))
}

fn stream(items: Vec<Value>, view_of: Option<&'static str>) -> Result<Value, Error> {
    let mut sum = Shape::default();
    for item in &items {
        sum.add(shape(item)?);
    }
    let shape = sum.holder()?;
    Ok(Value::from_object(Stream { items: Mutex::new(items), view_of, shape }))
}

impl Stream {
    fn take(&self) -> Vec<Value> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        match self.view_of {
            Some(_) => items.clone(),
            None => std::mem::take(&mut items),
        }
    }
}

impl Object for Stream {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.take())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        self.view_of.map(|_| items.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(of) = self.view_of else {
            return f.write_str("<generator object>");
        };
        write!(f, "dict_{of}(")?;
        write_sequence(f, self.take().iter(), false)?;
        f.write_str(")")
    }
}

// ---- dictionaries -------------------------------------------------------------------------------

/// A key, equal to another when the plain texts are.
#[derive(Clone, Debug)]
pub struct Key(pub Value);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0.as_str() {
            Some(text) => marks::plain(text).hash(state),
            None => self.0.hash(state),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        match (self.0.as_str(), other.0.as_str()) {
            (Some(a), Some(b)) => a == b || marks::plain(a) == marks::plain(b),
            _ => self.0 == other.0,
        }
    }
}

impl Eq for Key {}

/// Finds a key by its text without making a value of it.
struct TextKey<'a>(&'a str);

impl Hash for TextKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        marks::plain(self.0).hash(state);
    }
}

impl indexmap::Equivalent<Key> for TextKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        key.0.as_str().is_some_and(|text| marks::plain(text) == marks::plain(self.0))
    }
}

pub type Pairs = IndexMap<Key, Value>;

#[derive(Debug)]
pub struct Dict {
    pub pairs: Pairs,
    shape: Shape,
}

pub fn dict(pairs: Pairs) -> Result<Value, Error> {
    let mut sum = Shape::default();
    for (key, value) in &pairs {
        if key.0.is_undefined() || (key.0.as_object().is_some() && !is_tuple(&key.0)) {
            return fail("unhashable key of a dictionary");
        }
        sum.add(shape(&key.0)?);
        sum.add(shape(value)?);
    }
    let shape = sum.holder()?;
    Ok(Value::from_object(Dict { pairs, shape }))
}

impl Dict {
    pub fn get(&self, key: &Value) -> Option<&Value> {
        match key.as_str() {
            Some(text) => self.pairs.get(&TextKey(text)),
            None => self.pairs.get(&Key(key.clone())),
        }
    }
}

impl Object for Dict {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get(key).cloned()
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.pairs.get(&TextKey(key)).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.pairs.keys().map(|key| key.0.clone()).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.pairs.len())
    }

    fn call_method(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        methods::of_dict(state, self, method, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_mapping(f, self.pairs.iter().map(|(key, value)| (&key.0, value)))
    }
}

// ---- questions ----------------------------------------------------------------------------------

/// `a == b`.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_str(), b.as_str()) {
        (Some(a), Some(b)) => return a == b || marks::plain(a) == marks::plain(b),
        (None, None) => {}
        _ => return false,
    }
    if is_list(a) && is_list(b) {
        return is_tuple(a) == is_tuple(b)
            && a.len() == b.len()
            && items_of(a).iter().zip(items_of(b).iter()).all(|(a, b)| equal(a, b));
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Dict>(), b.downcast_object_ref::<Dict>()) {
        return a.pairs.len() == b.pairs.len()
            && a.pairs.iter().all(|(key, value)| b.pairs.get(key).is_some_and(|x| equal(x, value)));
    }
    a == b
}

/// The items of a list or tuple.
pub fn items_of(value: &Value) -> Vec<Value> {
    match value.downcast_object_ref::<List>() {
        Some(list) => list.items.clone(),
        None => value.try_iter().map(Iterator::collect).unwrap_or_default(),
    }
}

/// The order of two values, or an error where Python knows none.
pub fn compare(a: &Value, b: &Value) -> Result<Ordering, Error> {
    let is_number = |v: &Value| matches!(v.kind(), ValueKind::Number | ValueKind::Bool);
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(marks::plain(a).cmp(&marks::plain(b)));
    }
    if is_number(a) && is_number(b) {
        return Ok(a.cmp(b));
    }
    if is_list(a) && is_list(b) && is_tuple(a) == is_tuple(b) {
        let (a, b) = (items_of(a), items_of(b));
        for (a, b) in a.iter().zip(b.iter()) {
            if !equal(a, b) {
                return compare(a, b);
            }
        }
        return Ok(a.len().cmp(&b.len()));
    }
    fail(format!("no order between {} and {}", type_name(a), type_name(b)))
}

/// The name of the type, as Python's messages have it.
pub fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Seq if is_tuple(value) => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Map => "dict",
        _ => "object",
    }
}

/// What Python's iter() gives, charged: the items of a list, the keys of a dictionary, the
/// characters of a text; nothing of undefined; an error for anything else.
pub fn iterate(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    if value.is_none() || matches!(value.kind(), ValueKind::Number | ValueKind::Bool) {
        return fail(format!("'{}' object is not iterable", type_name(value)));
    }
    charge_items(state, value.len().unwrap_or(0))?;
    if let Some(list) = value.downcast_object_ref::<List>() {
        return Ok(list.items.clone());
    }
    if let Some(stream) = value.downcast_object_ref::<Stream>() {
        return Ok(stream.take());
    }
    Ok(value.try_iter()?.collect())
}

/// An error when memory has been short in this rendering.
pub fn check_memory() -> Result<(), Error> {
    match memory::has_failed() {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::InvalidOperation, "no memory")),
    }
}

/// Pays for work on this many bytes before it is done; the engine's rate.
pub fn charge_bytes(state: &State, n: usize) -> Result<(), Error> {
    check_memory()?;
    clock::count(n)?;
    state.consume_fuel(n as u64 / 64)
}

/// Pays for this many items of a list.
pub fn charge_items(state: &State, n: usize) -> Result<(), Error> {
    check_memory()?;
    clock::count(n.saturating_mul(32))?;
    state.consume_fuel(n as u64 / 2)
}
