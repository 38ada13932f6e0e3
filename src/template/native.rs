//! Arithmetic on numbers: whole ones exact, others as doubles.
use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::value::{fail, type_name};

enum Pair {
    Whole(i128, i128),
    Real(f64, f64),
}

fn pair(operator: &str, a: &Value, b: &Value) -> Result<Pair, Error> {
    let is_number = |v: &Value| matches!(v.kind(), ValueKind::Number | ValueKind::Bool);
    if !is_number(a) || !is_number(b) {
        let (a, b) = (type_name(a), type_name(b));
        return fail(format!("unsupported operands for {operator}: {a} and {b}"));
    }
    let is_real = |v: &Value| v.kind() == ValueKind::Number && !v.is_integer();
    if is_real(a) || is_real(b) {
        return Ok(Pair::Real(f64::try_from(a.clone())?, f64::try_from(b.clone())?));
    }
    Ok(Pair::Whole(i128::try_from(a.clone())?, i128::try_from(b.clone())?))
}

fn whole(number: Option<i128>) -> Result<Value, Error> {
    match number {
        Some(number) => Ok(i64::try_from(number).map_or(Value::from(number), Value::from)),
        None => fail("a number is too large"),
    }
}

pub fn add(a: &Value, b: &Value) -> Result<Value, Error> {
    match pair("+", a, b)? {
        Pair::Whole(a, b) => whole(a.checked_add(b)),
        Pair::Real(a, b) => Ok(Value::from(a + b)),
    }
}

pub fn multiply(a: &Value, b: &Value) -> Result<Value, Error> {
    match pair("*", a, b)? {
        Pair::Whole(a, b) => whole(a.checked_mul(b)),
        Pair::Real(a, b) => Ok(Value::from(a * b)),
    }
}

pub fn negative(a: &Value) -> Result<Value, Error> {
    multiply(a, &Value::from(-1))
}

/// With the sign of the divisor.
pub fn remainder(a: &Value, b: &Value) -> Result<Value, Error> {
    match pair("%", a, b)? {
        Pair::Whole(_, 0) => fail("modulo by zero"),
        Pair::Real(_, 0.0) => fail("modulo by zero"),
        Pair::Whole(a, b) => {
            let rest = a.wrapping_rem(b);
            whole(Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
        }
        Pair::Real(a, b) => {
            let rest = a % b;
            Ok(Value::from(if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }))
        }
    }
}
