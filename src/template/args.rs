//! Arguments of filters, tests, functions and methods, bound as Python binds them.
use minijinja::{Error, ErrorKind, Value};

/// Positional arguments and those by name, put in the places of `names`; absent ones are None.
pub fn bind<const N: usize>(
    args: &[Value],
    names: [&str; N],
    required: usize,
) -> Result<[Option<Value>; N], Error> {
    let (positional, named) = split(args);
    if positional.len() > N {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut bound: [Option<Value>; N] = std::array::from_fn(|i| positional.get(i).cloned());
    for (name, value) in named {
        match names.iter().position(|x| name.as_str() == Some(x)) {
            Some(i) if bound[i].is_none() => bound[i] = Some(value),
            _ => {
                return Err(Error::new(
                    ErrorKind::TooManyArguments,
                    format!("unexpected argument {name}"),
                ))
            }
        }
    }
    if bound[..required].iter().any(Option::is_none) {
        return Err(Error::from(ErrorKind::MissingArgument));
    }
    Ok(bound)
}

/// Positional arguments, and those by name.
pub fn split(args: &[Value]) -> (&[Value], Vec<(Value, Value)>) {
    match args.split_last() {
        Some((last, rest)) if last.is_kwargs() => {
            let pairs = last.as_object().and_then(|x| x.try_iter_pairs()).into_iter().flatten();
            (rest, pairs.collect())
        }
        _ => (args, Vec::new()),
    }
}

/// An argument that must be a text.
pub fn text<'a>(value: &'a Value) -> Result<&'a str, Error> {
    value.as_str().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("a str is needed, not {}", super::value::type_name(value)),
        )
    })
}

/// An argument that must be a whole number.
pub fn integer(value: &Value) -> Result<i64, Error> {
    match value.as_i64() {
        Some(number) if value.is_integer() || value.kind() == minijinja::value::ValueKind::Bool => {
            Ok(number)
        }
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("an int is needed, not {}", super::value::type_name(value)),
        )),
    }
}

pub fn is_true(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}
