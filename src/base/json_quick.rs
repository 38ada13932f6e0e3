//! jansson's values by serde_json (json_quick.h): its texts are looked at a word at a time.
use std::borrow::Cow;
use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::io;
use std::mem;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::slice;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};
use serde_json::value::RawValue;

use crate::base::memory;

/// json_t
#[repr(C)]
pub struct Json {
    _opaque: [u8; 0],
}

extern "C" {
    fn json_object() -> *mut Json;
    fn json_array() -> *mut Json;
    fn json_true() -> *mut Json;
    fn json_false() -> *mut Json;
    fn json_null() -> *mut Json;
    fn json_integer(value: i64) -> *mut Json;
    fn json_real(value: f64) -> *mut Json;
    fn json_stringn_nocheck(text: *const c_char, length: usize) -> *mut Json;
    fn json_object_getn(object: *const Json, key: *const c_char, length: usize) -> *mut Json;
    fn json_object_setn_new_nocheck(
        object: *mut Json,
        key: *const c_char,
        length: usize,
        value: *mut Json,
    ) -> c_int;
    fn json_array_append_new(array: *mut Json, value: *mut Json) -> c_int;

    fn json_array_size(array: *const Json) -> usize;
    fn json_array_get(array: *const Json, index: usize) -> *const Json;
    fn json_object_iter(object: *const Json) -> *mut c_void;
    fn json_object_iter_next(object: *const Json, at: *mut c_void) -> *mut c_void;
    fn json_object_iter_key(at: *mut c_void) -> *const c_char;
    fn json_object_iter_key_len(at: *mut c_void) -> usize;
    fn json_object_iter_value(at: *mut c_void) -> *const Json;
    fn json_string_value(value: *const Json) -> *const c_char;
    fn json_string_length(value: *const Json) -> usize;
    fn json_integer_value(value: *const Json) -> i64;

    // json_quick.c
    fn json_foreign_type(value: *const Json) -> c_int;
    fn json_foreign_release(value: *mut Json);
    fn json_foreign_real(value: *const Json, digits: c_int, text: *mut u8, size: usize) -> usize;
}

// ---- reading -------------------------------------------------------------------------------

/// A value that is nobody else's yet.
struct Owned(NonNull<Json>);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: one reference is ours.
        unsafe { json_foreign_release(self.0.as_ptr()) }
    }
}

impl Owned {
    /// Null: jansson had no memory for it.
    fn of<E: serde::de::Error>(made: *mut Json) -> Result<Owned, E> {
        NonNull::new(made).map(Owned).ok_or_else(|| E::custom("no memory"))
    }

    fn text<E: serde::de::Error>(text: &str) -> Result<Owned, E> {
        // SAFETY: makes a copy of so many bytes, which are UTF-8.
        Owned::of(unsafe { json_stringn_nocheck(text.as_ptr().cast(), text.len()) })
    }

    fn give(self) -> *mut Json {
        let value = self.0.as_ptr();
        mem::forget(self);
        value
    }
}

#[derive(Clone, Copy)]
struct Reading {
    allows_nul: bool,
    rejects_duplicates: bool,
}

/// Whatever jansson might read otherwise.
fn left_to_jansson<T, E: serde::de::Error>() -> Result<T, E> {
    Err(E::custom("left to jansson"))
}

impl<'a> DeserializeSeed<'a> for Reading {
    type Value = Owned;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Owned, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Reading {
    type Value = Owned;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Owned, E> {
        // SAFETY: these three are always there.
        Owned::of(unsafe { json_null() })
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Owned, E> {
        // SAFETY: as above.
        Owned::of(unsafe { if value { json_true() } else { json_false() } })
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Owned, E> {
        // SAFETY: makes a value.
        Owned::of(unsafe { json_integer(value) })
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Owned, E> {
        i64::try_from(value).map_or_else(|_| left_to_jansson(), |value| self.visit_i64(value))
    }

    /// Whole numbers that do not fit 64 bits come as this, too, and so does -0.
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Owned, E> {
        const TWO_TO_63: f64 = 9223372036854775808.0;
        if value.abs() >= TWO_TO_63 || (value == 0.0 && value.is_sign_negative()) {
            return left_to_jansson();
        }
        // SAFETY: makes a value; it is finite.
        Owned::of(unsafe { json_real(value) })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Owned, E> {
        if !self.allows_nul && text.as_bytes().contains(&0) {
            return left_to_jansson();
        }
        Owned::text(text)
    }

    /// As it stands in the request, where a NUL cannot be.
    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'a str) -> Result<Owned, E> {
        Owned::text(text)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<Owned, A::Error> {
        // SAFETY: makes a value.
        let list = Owned::of(unsafe { json_array() })?;
        while let Some(item) = items.next_element_seed(self)? {
            // SAFETY: the list is ours; the item is taken over, or released.
            if unsafe { json_array_append_new(list.0.as_ptr(), item.give()) } != 0 {
                return Err(A::Error::custom("no memory"));
            }
        }
        Ok(list)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<Owned, A::Error> {
        // SAFETY: makes a value.
        let object = Owned::of(unsafe { json_object() })?;
        while let Some(Key(key)) = members.next_key_seed(KeyReading)? {
            let (at, n) = (key.as_ptr().cast(), key.len());
            // SAFETY: so many bytes of the key are there; the object is ours.
            let is_there = || unsafe { !json_object_getn(object.0.as_ptr(), at, n).is_null() };
            if key.as_bytes().contains(&0) || (self.rejects_duplicates && is_there()) {
                return left_to_jansson();
            }
            let value = members.next_value_seed(self)?.give();
            // SAFETY: as above; the value is taken over, or released.
            if unsafe { json_object_setn_new_nocheck(object.0.as_ptr(), at, n, value) } != 0 {
                return Err(A::Error::custom("no memory"));
            }
        }
        Ok(object)
    }
}

/// A key stays while its value is read: in the text where it stands there.
struct Key<'a>(Cow<'a, str>);
struct KeyReading;

impl<'a> DeserializeSeed<'a> for KeyReading {
    type Value = Key<'a>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Key<'a>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for KeyReading {
    type Value = Key<'a>;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'a str) -> Result<Key<'a>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'a>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

fn read(text: &[u8], how: Reading) -> Result<Owned, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = how.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// # Safety
/// See json_quick.c; so many bytes are at `text`.
#[no_mangle]
pub unsafe extern "C" fn json_foreign_read(
    text: *const u8,
    length: usize,
    allows_nul: bool,
    rejects_duplicates: bool,
    was_short: *mut bool,
) -> *mut Json {
    let how = Reading { allows_nul, rejects_duplicates };
    if !memory::reserve() {
        return ptr::null_mut();
    }
    memory::begin();
    let work = || read(slice::from_raw_parts(text, length), how).map_or(ptr::null_mut(), Owned::give);
    let value = catch_unwind(AssertUnwindSafe(work)).unwrap_or(ptr::null_mut());
    *was_short = memory::has_failed();
    value
}

// ---- writing -------------------------------------------------------------------------------

/// json_type
const OBJECT: c_int = 0;
const ARRAY: c_int = 1;
const STRING: c_int = 2;
const INTEGER: c_int = 3;
const REAL: c_int = 4;
const TRUE: c_int = 5;
const FALSE: c_int = 6;

/// jansson's longest real: 17 digits, a sign, a point, an exponent.
const REAL_SIZE: usize = 64;

#[derive(Clone, Copy)]
struct Tree {
    value: *const Json,
    digits: c_int,
}

/// # Safety
/// So many bytes are at `text`, and stay.
unsafe fn text_of<'a, E: serde::ser::Error>(text: *const c_char, n: usize) -> Result<&'a str, E> {
    std::str::from_utf8(slice::from_raw_parts(text.cast(), n)).map_err(E::custom)
}

impl Tree {
    fn with(self, value: *const Json) -> Tree {
        Tree { value, ..self }
    }

    fn write_object<S: Serializer>(self, to: S) -> Result<S::Ok, S::Error> {
        let mut members = to.serialize_map(None)?;
        // SAFETY: nothing changes the object meanwhile; keys and values are its own.
        unsafe {
            let mut at = json_object_iter(self.value);
            while !at.is_null() {
                let key = text_of(json_object_iter_key(at), json_object_iter_key_len(at))?;
                members.serialize_entry(key, &self.with(json_object_iter_value(at)))?;
                at = json_object_iter_next(self.value, at);
            }
        }
        members.end()
    }

    fn write_list<S: Serializer>(self, to: S) -> Result<S::Ok, S::Error> {
        let mut items = to.serialize_seq(None)?;
        // SAFETY: nothing changes the list meanwhile.
        let n = unsafe { json_array_size(self.value) };
        for i in 0..n {
            // SAFETY: likewise.
            items.serialize_element(&self.with(unsafe { json_array_get(self.value, i) }))?;
        }
        items.end()
    }

    /// In jansson's own words.
    fn write_real<S: Serializer>(self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; REAL_SIZE];
        // SAFETY: writes at most so many bytes.
        let n = unsafe { json_foreign_real(self.value, self.digits, text.as_mut_ptr(), REAL_SIZE) };
        let words = serde_json::from_slice::<&RawValue>(&text[..n]).map_err(S::Error::custom)?;
        words.serialize(to)
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // SAFETY: the value is of the type that it says, and stays as it is.
        unsafe {
            match json_foreign_type(self.value) {
                OBJECT => self.write_object(to),
                ARRAY => self.write_list(to),
                STRING => {
                    let (text, n) = (json_string_value(self.value), json_string_length(self.value));
                    to.serialize_str(text_of(text, n)?)
                }
                INTEGER => to.serialize_i64(json_integer_value(self.value)),
                REAL => self.write_real(to),
                TRUE => to.serialize_bool(true),
                FALSE => to.serialize_bool(false),
                _ => to.serialize_unit(),
            }
        }
    }
}

/// As jansson, which writes the digits of \u001F large.
struct Manner;

impl Formatter for Manner {
    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(byte) => write!(out, "\\u{byte:04X}"),
            other => CompactFormatter.write_char_escape(out, other),
        }
    }
}

/// buffer
#[repr(C)]
pub struct Buffer {
    data: *mut u8,
    length: usize,
    capacity: usize,
    limit: usize,
}

/// buffer_reserve
type Reserve = unsafe extern "C" fn(out: *mut Buffer, extra: usize) -> c_int;

struct Sink<'a> {
    out: &'a mut Buffer,
    reserve: Reserve,
    code: &'a mut c_int,
}

impl io::Write for Sink<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let Buffer { length, capacity, limit, .. } = *self.out;
        if data.len() >= capacity - length || data.len() > limit.saturating_sub(length) {
            // SAFETY: the buffer is sound.
            *self.code = unsafe { (self.reserve)(self.out, data.len()) };
        }
        if *self.code != 0 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: there is room for so many bytes, and a NUL behind them.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), self.out.data.add(length), data.len()) };
        self.out.length += data.len();
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// OK, or why the buffer took no more; `otherwise` where that is not why.
fn write<F>(out: &mut Buffer, reserve: Reserve, otherwise: c_int, what: F) -> c_int
where
    F: FnOnce(Sink) -> bool,
{
    let mut code = 0;
    let sink = Sink { out, reserve, code: &mut code };
    let work = || what(sink);
    let is_written = memory::reserve() && catch_unwind(AssertUnwindSafe(work)).unwrap_or(false);
    match (is_written, code) {
        (false, 0) => otherwise,
        _ => code,
    }
}

/// How many of the first bytes stand for themselves: 32 at once, of which vectors are made.
pub fn plain_bytes(text: &[u8]) -> usize {
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    let is_all_plain = |chunk: &&[u8]| chunk.iter().fold(true, |all, byte| all & is_plain(byte));
    let n = text.chunks_exact(32).take_while(is_all_plain).count() * 32;
    n + text[n..].iter().take_while(|byte| is_plain(byte)).count()
}

/// As serde_json does it, which looks at each byte: a long text is most of a request.
fn write_text(mut text: &str, mut out: Sink) -> io::Result<()> {
    Manner.begin_string(&mut out)?;
    while !text.is_empty() {
        let (run, rest) = text.split_at(plain_bytes(text.as_bytes()));
        Manner.write_string_fragment(&mut out, run)?;
        let Some(&byte) = rest.as_bytes().first() else { break };
        let escape = match byte {
            b'"' => CharEscape::Quote,
            b'\\' => CharEscape::ReverseSolidus,
            b'\n' => CharEscape::LineFeed,
            b'\r' => CharEscape::CarriageReturn,
            b'\t' => CharEscape::Tab,
            0x08 => CharEscape::Backspace,
            0x0C => CharEscape::FormFeed,
            other => CharEscape::AsciiControl(other),
        };
        Manner.write_char_escape(&mut out, escape)?;
        text = &rest[1..];
    }
    Manner.end_string(&mut out)
}

/// # Safety
/// See json_quick.c. Nobody changes the value meanwhile; the buffer is sound, and ends with a NUL
/// again when the caller has put one there.
#[no_mangle]
pub unsafe extern "C" fn json_foreign_write(
    value: *const Json,
    digits: c_int,
    out: *mut Buffer,
    reserve: Reserve,
    otherwise: c_int,
) -> c_int {
    let tree = Tree { value, digits };
    write(&mut *out, reserve, otherwise, |to| {
        tree.serialize(&mut serde_json::Serializer::with_formatter(to, Manner)).is_ok()
    })
}

/// # Safety
/// As above; so many bytes are at `text`.
#[no_mangle]
pub unsafe extern "C" fn json_foreign_write_text(
    text: *const u8,
    length: usize,
    out: *mut Buffer,
    reserve: Reserve,
    otherwise: c_int,
) -> c_int {
    match std::str::from_utf8(slice::from_raw_parts(text, length)) {
        Ok(text) => write(&mut *out, reserve, otherwise, |to| write_text(text, to).is_ok()),
        Err(_) => otherwise,
    }
}
