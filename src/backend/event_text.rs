//! A stream's events as they nearly always are, read without making values of it (event_text.h).
use std::borrow::Cow;
use std::ffi::{c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::slice;

use serde::de::IgnoredAny;
use serde::Deserialize;

use crate::base::json_quick::plain_bytes;
use crate::base::memory;

/// What is not null of these is for remote_answer.c; other fields say nothing to anybody.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    choices: [Choice<'a>; 1],
    usage: Option<Usage>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
    finish_reason: Option<&'a str>,
    logprobs: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Cow<'a, str>,
    reasoning_content: Option<IgnoredAny>,
    reasoning: Option<IgnoredAny>,
    tool_calls: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<usize>,
}

/// event_end
#[repr(C)]
pub struct End {
    is_told: bool,
    is_cut: bool,
    has_usage: bool,
    prompt_tokens: usize,
    reply_tokens: usize,
    cached_tokens: usize,
}

fn end_of(finish: Option<&str>, usage: Option<Usage>) -> End {
    let (is_told, is_cut) = (finish.is_some(), finish == Some("length"));
    let mut end =
        End { is_told, is_cut, has_usage: false, prompt_tokens: 0, reply_tokens: 0, cached_tokens: 0 };
    if let Some(Usage { prompt_tokens, completion_tokens, prompt_tokens_details }) = usage {
        let cached_tokens = prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
        end = End { has_usage: true, prompt_tokens, reply_tokens: completion_tokens, cached_tokens, ..end };
    }
    end
}

fn read(event: &[u8]) -> Option<(Cow<'_, str>, End)> {
    let Event { choices: [choice], usage, error: None } = serde_json::from_slice(event).ok()? else {
        return None;
    };
    let Choice { delta, finish_reason, logprobs: None } = choice else {
        return None;
    };
    match delta {
        Delta { content, reasoning_content: None, reasoning: None, tool_calls: None } => {
            Some((content, end_of(finish_reason, usage)))
        }
        _ => None,
    }
}

/// event_text_sink
type Put = unsafe extern "C" fn(out: *mut c_void, data: *const c_void, length: usize) -> c_int;

/// # Safety
/// See event_text.c; so many bytes are at `data`.
#[no_mangle]
pub unsafe extern "C" fn event_text_read(
    data: *const u8,
    length: usize,
    put: Put,
    out: *mut c_void,
    end: *mut End,
    from: *mut usize,
    to: *mut usize,
) -> bool {
    if !memory::reserve() {
        return false;
    }
    let work = || {
        let Some((text, told)) = read(slice::from_raw_parts(data, length)) else { return false };
        *from = match text {
            Cow::Borrowed(part) if !part.is_empty() => part.as_ptr() as usize - data as usize,
            _ => usize::MAX,
        };
        *to = (*from).saturating_add(text.len());
        *end = told;
        put(out, text.as_ptr().cast(), text.len()) == 0
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(false)
}

/// What stands in the place of the frame's text, if that is all the difference and stands for itself.
fn framed<'a>(event: &'a [u8], before: &[u8], after: &[u8]) -> Option<&'a str> {
    let text = event.strip_prefix(before)?.strip_suffix(after)?;
    let is_plain = plain_bytes(text) == text.len();
    is_plain.then(|| std::str::from_utf8(text).ok())?
}

/// # Safety
/// See event_text.c; so many bytes are at `data` and `frame`, and at <= end <= frame_length.
#[no_mangle]
pub unsafe extern "C" fn event_text_read_framed(
    data: *const u8,
    length: usize,
    frame: *const u8,
    frame_length: usize,
    at: usize,
    end: usize,
    put: Put,
    out: *mut c_void,
) -> bool {
    let frame = slice::from_raw_parts(frame, frame_length);
    let text = framed(slice::from_raw_parts(data, length), &frame[..at], &frame[end..]);
    text.is_some_and(|text| put(out, text.as_ptr().cast(), text.len()) == 0)
}
