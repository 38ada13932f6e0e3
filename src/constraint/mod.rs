//! The C interface (constraint.h) of constrained decoding. No panic and no failed allocation leaves
//! it.
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::base::foreign::{items, write_message, Text};
use crate::base::memory;
use grammar::{Grammar, Kind};
use state::State;
use vocabulary::{Encode, Vocabulary, Word};

mod calls;
mod gbnf;
mod grammar;
mod names;
mod recursion;
mod schema;
mod state;
mod vocabulary;

const MESSAGE_SIZE: usize = 400;

pub enum Failure {
    /// The grammar is malformed, or asks for what is not supported.
    Refused(String),
    /// Needs more than a grammar may have.
    Limit(String),
    Failed(String),
    Memory,
}

/// constraint_word
#[repr(C)]
pub struct ForeignWord {
    text: Text,
    is_special: bool,
}

/// constraint_words
#[repr(C)]
pub struct ForeignWords {
    words: *const ForeignWord,
    n_words: usize,
    ends: *const i32,
    n_ends: usize,
    encode: Encode,
    context: *const std::ffi::c_void,
}

/// constraint_status
fn status(failure: &Failure) -> (i32, &str) {
    match failure {
        Failure::Refused(words) => (1, words),
        Failure::Limit(words) => (2, words),
        Failure::Failed(words) => (3, words),
        Failure::Memory => (4, "no memory"),
    }
}

/// Does the work; its words, or those of its failure, in C's form.
fn guarded(message: &mut [u8], work: impl FnOnce() -> Result<(), Failure>) -> i32 {
    memory::begin();
    let result = match memory::reserve() {
        true => catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Failure::Failed("the grammar engine failed".into()))),
        false => Err(Failure::Memory),
    };
    let result = if memory::has_failed() { Err(Failure::Memory) } else { result };
    match result {
        Ok(()) => 0,
        Err(failure) => {
            let (code, words) = status(&failure);
            write_message(message, words);
            code
        }
    }
}

/// # Safety
/// A pointer that this library made with `Box::into_raw`, or null; nobody uses it any more.
unsafe fn destroy<T>(made: *mut T) {
    if !made.is_null() {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(made))));
    }
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_vocabulary_create(
    out: *mut *mut Vocabulary,
    words: *const ForeignWords,
    message: *mut [u8; MESSAGE_SIZE],
) -> i32 {
    guarded(&mut *message, || {
        let given = &*words;
        let words = items(given.words, given.n_words).iter();
        let words = words.map(|x| Word { text: x.text.bytes().unwrap_or(&[]), is_special: x.is_special });
        let ends = items(given.ends, given.n_ends);
        let made = Vocabulary::new(words.collect(), ends, given.encode, given.context)?;
        *out = Box::into_raw(Box::new(made));
        Ok(())
    })
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_vocabulary_destroy(vocabulary: *mut Vocabulary) {
    destroy(vocabulary);
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_compile(
    out: *mut *mut Grammar,
    vocabulary: *const Vocabulary,
    kind: i32,
    text: Text,
    message: *mut [u8; MESSAGE_SIZE],
) -> i32 {
    guarded(&mut *message, || {
        let Ok(text) = text.get() else {
            return Err(Failure::Refused("it is not UTF-8".into()));
        };
        let kind = Kind::from_number(kind);
        let made = Grammar::compile(&*vocabulary, kind, text.unwrap_or_default())?;
        *out = Box::into_raw(Box::new(made));
        Ok(())
    })
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_grammar_destroy(grammar: *mut Grammar) {
    destroy(grammar);
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_create(
    out: *mut *mut State,
    grammar: *const Grammar,
    message: *mut [u8; MESSAGE_SIZE],
) -> i32 {
    guarded(&mut *message, || {
        *out = Box::into_raw(Box::new(State::new(&*grammar)));
        Ok(())
    })
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_destroy(state: *mut State) {
    destroy(state);
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_mask(
    state: *mut State,
    mask: *mut u32,
    message: *mut [u8; MESSAGE_SIZE],
) -> i32 {
    guarded(&mut *message, || {
        let allowed = (*state).mask()?;
        let words = allowed.as_slice();
        std::ptr::copy_nonoverlapping(words.as_ptr(), mask, allowed.len().div_ceil(32));
        Ok(())
    })
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_accept(
    state: *mut State,
    token: i32,
    message: *mut [u8; MESSAGE_SIZE],
) -> i32 {
    guarded(&mut *message, || (*state).accept(token))
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_rollback(
    state: *mut State,
    n: usize,
    message: *mut [u8; MESSAGE_SIZE],
) -> i32 {
    guarded(&mut *message, || (*state).rollback(n))
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_valid(state: *mut State, tokens: *const i32, n: usize) -> usize {
    let tokens = items(tokens, n);
    catch_unwind(AssertUnwindSafe(|| (*state).count_valid(tokens))).unwrap_or(0)
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_forced(state: *mut State, tokens: *mut i32, most: usize) -> usize {
    let forced = catch_unwind(AssertUnwindSafe(|| (*state).forced())).unwrap_or_default();
    let n = forced.len().min(most);
    for (i, token) in forced[..n].iter().enumerate() {
        *tokens.add(i) = *token as i32;
    }
    n
}

/// # Safety
/// See constraint.h.
#[no_mangle]
pub unsafe extern "C" fn constraint_is_complete(state: *const State) -> bool {
    (*state).is_complete()
}
