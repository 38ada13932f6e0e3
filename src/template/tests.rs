//! Jinja's tests (`x is mapping`) with Python's meaning.
use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value};

use super::args::integer;
use super::marks::plain;
use super::operators::contains;
use super::value::{charge_bytes, charge_value, compare, equal, fail, is_list, Dict, List};

type Test = fn(&State, &[Value]) -> Result<bool, Error>;

fn add(env: &mut Environment<'static>, name: &'static str, test: Test, operands: usize) {
    env.add_test(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
        let args = args.into_values();
        if args.len() != operands || args.iter().any(Value::is_kwargs) {
            return fail(format!("test {name} takes {} arguments", operands - 1));
        }
        charge_bytes(state, args[0].as_str().map_or(0, str::len))?;
        test(state, &args)
    });
}

pub fn register(env: &mut Environment<'static>) {
    let of_one: [(&'static str, Test); 19] = [
        ("defined", |_, args| Ok(!args[0].is_undefined())),
        ("undefined", |_, args| Ok(args[0].is_undefined())),
        ("none", |_, args| Ok(args[0].is_none())),
        ("boolean", |_, args| Ok(args[0].kind() == ValueKind::Bool)),
        ("true", |_, args| Ok(args[0].kind() == ValueKind::Bool && args[0].is_true())),
        ("false", |_, args| Ok(args[0].kind() == ValueKind::Bool && !args[0].is_true())),
        ("integer", |_, args| Ok(args[0].is_integer())),
        ("float", |_, args| Ok(args[0].is_number() && !args[0].is_integer())),
        ("number", |_, args| Ok(args[0].is_number() || args[0].kind() == ValueKind::Bool)),
        ("string", |_, args| Ok(args[0].kind() == ValueKind::String)),
        ("mapping", |_, args| Ok(args[0].downcast_object_ref::<Dict>().is_some())),
        ("sequence", |_, args| Ok(has_items(&args[0]))),
        ("iterable", |_, args| Ok(has_items(&args[0]) || args[0].kind() == ValueKind::Iterable)),
        ("callable", |_, args| Ok(is_callable(&args[0]))),
        ("odd", |_, args| Ok(remainder(&args[0], 2)? == 1)),
        ("even", |_, args| Ok(remainder(&args[0], 2)? == 0)),
        ("lower", |_, args| has_case(&args[0], char::is_lowercase, char::is_uppercase)),
        ("upper", |_, args| has_case(&args[0], char::is_uppercase, char::is_lowercase)),
        ("escaped", |_, args| Ok(args[0].is_safe())),
    ];
    for (name, test) in of_one {
        add(env, name, test, 1);
    }
    let of_two: [(&[&'static str], Test); 9] = [
        (&["eq", "equalto", "=="], |state, args| {
            charge_value(state, &args[0])?;
            Ok(equal(&args[0], &args[1]))
        }),
        (&["ne", "!="], |state, args| {
            charge_value(state, &args[0])?;
            Ok(!equal(&args[0], &args[1]))
        }),
        (&["lt", "lessthan", "<"], |_, args| Ok(compare(&args[0], &args[1])?.is_lt())),
        (&["le", "<="], |_, args| Ok(compare(&args[0], &args[1])?.is_le())),
        (&["gt", "greaterthan", ">"], |_, args| Ok(compare(&args[0], &args[1])?.is_gt())),
        (&["ge", ">="], |_, args| Ok(compare(&args[0], &args[1])?.is_ge())),
        (&["in"], |state, args| contains(state, &args[1], &args[0])),
        (&["sameas"], |_, args| Ok(is_same(&args[0], &args[1]))),
        (&["divisibleby"], |_, args| match integer(&args[1])? {
            0 => fail("integer modulo by zero"),
            n => Ok(remainder(&args[0], n)? == 0),
        }),
    ];
    for (names, test) in of_two {
        for name in names {
            add(env, name, test, 2);
        }
    }
}

/// len() and [] work: texts, lists, dictionaries; as in Jinja undefined too.
fn has_items(value: &Value) -> bool {
    value.as_str().is_some()
        || is_list(value)
        || value.is_undefined()
        || value.downcast_object_ref::<Dict>().is_some()
}

fn is_callable(value: &Value) -> bool {
    // functions, methods, macros: objects that are none of the data
    value.as_object().is_some() && !has_items(value)
}

fn remainder(value: &Value, n: i64) -> Result<i64, Error> {
    Ok(integer(value)?.wrapping_rem_euclid(n))
}

fn has_case(value: &Value, of: fn(char) -> bool, not: fn(char) -> bool) -> Result<bool, Error> {
    let shown = super::print::to_str(value);
    let text = plain(&shown);
    Ok(text.chars().any(of) && !text.chars().any(not))
}

/// `a is b`: the same object; numbers, truths and texts count as the same when they are equal.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a.as_object(), b.as_object()) {
        (Some(_), Some(_)) => {
            let same = |a: &Dict, b: &Dict| std::ptr::eq(a, b);
            match (a.downcast_object_ref(), b.downcast_object_ref()) {
                (Some(a), Some(b)) => same(a, b),
                _ => matches!((a.downcast_object_ref::<List>(), b.downcast_object_ref::<List>()),
                    (Some(a), Some(b)) if std::ptr::eq(a, b)),
            }
        }
        (None, None) => a.kind() == b.kind() && a.is_integer() == b.is_integer() && equal(a, b),
        _ => false,
    }
}
