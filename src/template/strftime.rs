//! strftime as Python has it in the C locale.
use std::fmt::Write;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr};
use minijinja::Error;

use super::value::fail;

/// A local time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    pub year: i32,
    pub month: i32, // 1 … 12
    pub day: i32,
    pub hour: i32,
    pub minute: i32,
    pub second: i32,
    pub weekday: i32, // 0: Sunday
    pub yearday: i32, // 1 … 366
}

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
];

fn name_of(names: &'static [&'static str], index: i32) -> &'static str {
    usize::try_from(index).ok().and_then(|i| names.get(i)).copied().unwrap_or("???")
}

/// The weeks begun before this day, the first beginning with the first `first` (0: Sunday).
fn week(now: &Moment, first: i32) -> i32 {
    (now.yearday + 6 - (now.weekday - first).rem_euclid(7)) / 7
}

/// ISO 8601: the year of the week's Thursday, and the week of that year.
fn iso_week(now: &Moment) -> (i32, i32) {
    let is_leap = |y: i32| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let thursday = now.yearday + 3 - (now.weekday - 1).rem_euclid(7);
    let days = 365 + i32::from(is_leap(now.year));
    if thursday < 1 {
        (now.year - 1, (thursday + 364 + i32::from(is_leap(now.year - 1))) / 7 + 1)
    } else if thursday > days {
        (now.year + 1, 1)
    } else {
        (now.year, (thursday - 1) / 7 + 1)
    }
}

pub fn format(pattern: &str, now: &Moment) -> Result<String, Error> {
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(mut letter) = chars.next() else {
            out.push('%');
            break;
        };
        let is_bare = letter == '-'; // glibc: no padding
        if is_bare {
            letter = chars.next().unwrap_or('%');
        }
        let mut field = String::new();
        write_field(&mut field, letter, now)?;
        let bare = field.trim_start_matches(['0', ' ']);
        out.push_str(match (is_bare, bare.is_empty()) {
            (false, _) => &field,
            (true, false) => bare,
            (true, true) => "0",
        });
    }
    Ok(out)
}

fn write_field(out: &mut String, letter: char, now: &Moment) -> Result<(), Error> {
    let hour12 = (now.hour + 11) % 12 + 1;
    let month = now.month - 1;
    let _ = match letter {
        'Y' => write!(out, "{}", now.year),
        'G' => write!(out, "{}", iso_week(now).0),
        'C' => write!(out, "{:02}", now.year / 100),
        'y' => write!(out, "{:02}", now.year.rem_euclid(100)),
        'm' => write!(out, "{:02}", now.month),
        'd' => write!(out, "{:02}", now.day),
        'e' => write!(out, "{:2}", now.day),
        'H' => write!(out, "{:02}", now.hour),
        'k' => write!(out, "{:2}", now.hour),
        'I' => write!(out, "{hour12:02}"),
        'l' => write!(out, "{hour12:2}"),
        'M' => write!(out, "{:02}", now.minute),
        'S' => write!(out, "{:02}", now.second),
        'f' => write!(out, "000000"),
        'j' => write!(out, "{:03}", now.yearday),
        'u' => write!(out, "{}", (now.weekday + 6) % 7 + 1),
        'w' => write!(out, "{}", now.weekday),
        'U' => write!(out, "{:02}", week(now, 0)),
        'W' => write!(out, "{:02}", week(now, 1)),
        'V' => write!(out, "{:02}", iso_week(now).1),
        'p' => write!(out, "{}", if now.hour < 12 { "AM" } else { "PM" }),
        'P' => write!(out, "{}", if now.hour < 12 { "am" } else { "pm" }),
        'A' => write!(out, "{}", name_of(&DAYS, now.weekday)),
        'a' => write!(out, "{}", &name_of(&DAYS, now.weekday)[..3]),
        'B' => write!(out, "{}", name_of(&MONTHS, month)),
        'b' | 'h' => write!(out, "{}", &name_of(&MONTHS, month)[..3]),
        'D' | 'x' => return write_all(out, "%m/%d/%y", now),
        'F' => return write_all(out, "%Y-%m-%d", now),
        'T' | 'X' => return write_all(out, "%H:%M:%S", now),
        'R' => return write_all(out, "%H:%M", now),
        'r' => return write_all(out, "%I:%M:%S %p", now),
        'c' => return write_all(out, "%a %b %e %H:%M:%S %Y", now),
        'n' => write!(out, "\n"),
        't' => write!(out, "\t"),
        'z' | 'Z' => Ok(()), // datetime.now() has no zone
        '%' => write!(out, "%"),
        _ => return fail(format!("strftime: %{letter} is not known")),
    };
    Ok(())
}

fn write_all(out: &mut String, pattern: &str, now: &Moment) -> Result<(), Error> {
    out.push_str(&format(pattern, now)?);
    Ok(())
}
