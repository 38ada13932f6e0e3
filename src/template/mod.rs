//! The C interface (template.h) of the Jinja library. No panic and no failed allocation leaves it.
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::base::foreign::{items, write_message, NotUtf8, Text};
use crate::base::memory;
use render::{Failure, Messages, Rendered, Request, Template};
use strftime::Moment;

mod args;
mod clock;
mod filters;
mod filters_list;
mod filters_text;
mod functions;
mod json;
mod marks;
mod methods;
mod methods_text;
mod native;
mod operators;
mod print;
mod render;
mod rewrite;
mod source;
mod strftime;
mod tests;
mod value;

/// template_message
#[repr(C)]
pub struct Message {
    role: Text,
    content: Text,
}

/// template_input
#[repr(C)]
pub struct Input {
    messages: *const Message,
    n_messages: usize,
    messages_json: Text,
    tools_json: Text,
    documents_json: Text,
    variables_json: Text,
    tokens: [Text; 4], // bos, eos, unk, pad
    generation_prompt: bool,
    now: Moment,
}

/// template_output
#[repr(C)]
pub struct Output {
    text: *const u8,
    length: usize,
    foreign: *const [usize; 2],
    n_foreign: usize,
    message: [u8; 400],
    owner: *mut Rendered,
}

const TOKENS: [&str; 4] = ["bos_token", "eos_token", "unk_token", "pad_token"];

impl From<NotUtf8> for Failure {
    fn from(_: NotUtf8) -> Failure {
        Failure::Request("a text is not UTF-8".into())
    }
}

/// # Safety
/// As `Text::get` for all texts of the input.
unsafe fn request<'a>(input: &Input) -> Result<Request<'a>, Failure> {
    let messages = match input.messages_json.get()? {
        Some(json) => Messages::Json(json),
        None => {
            let mut plain = Vec::with_capacity(input.n_messages);
            for message in items(input.messages, input.n_messages) {
                let role = message.role.get()?.unwrap_or_default();
                plain.push((role, message.content.get()?.unwrap_or_default()));
            }
            Messages::Plain(plain)
        }
    };
    let mut tokens = Vec::new();
    for (name, token) in TOKENS.into_iter().zip(input.tokens) {
        if let Ok(Some(text)) = token.get() {
            tokens.push((name, text)); // one that is not UTF-8 is as good as none
        }
    }
    Ok(Request {
        messages,
        tools: input.tools_json.get()?,
        documents: input.documents_json.get()?,
        variables: input.variables_json.get()?,
        tokens,
        generation_prompt: input.generation_prompt,
        now: input.now,
    })
}

/// template_status
fn status(failure: &Failure) -> (i32, &str) {
    match failure {
        Failure::Syntax(words) => (1, words),
        Failure::Raised(words) => (2, words),
        Failure::Failed(words) => (3, words),
        Failure::Limit(words) => (4, words),
        Failure::Request(words) => (5, words),
        Failure::Memory => (6, "no memory"),
    }
}

fn guarded<T>(message: &mut [u8], work: impl FnOnce() -> Result<T, Failure>) -> Result<T, i32> {
    let result = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Failure::Failed("the template engine failed".into())));
    result.map_err(|failure| {
        let (code, words) = status(&failure);
        write_message(message, words);
        code
    })
}

/// # Safety
/// See template.h.
#[no_mangle]
pub unsafe extern "C" fn template_compile(
    out: *mut *mut Template,
    text: Text,
    specials: *const Text,
    n_specials: usize,
    message: *mut [u8; 400],
) -> i32 {
    let result = guarded(&mut *message, || {
        if !memory::reserve() {
            return Err(Failure::Memory);
        }
        memory::begin();
        let texts = items(specials, n_specials).iter();
        // a token that is no text cannot be written by anybody
        let specials: Vec<&str> = texts.filter_map(|x| x.get().ok().flatten()).collect();
        let text = text.get().map_err(|_| Failure::Syntax("it is not UTF-8".into()))?;
        let template = Template::compile(text.unwrap_or_default(), &specials)?;
        Ok(Box::into_raw(Box::new(template)))
    });
    match result {
        Ok(template) => {
            *out = template;
            0
        }
        Err(code) => code,
    }
}

/// # Safety
/// See template.h.
#[no_mangle]
pub unsafe extern "C" fn template_destroy(template: *mut Template) {
    if !template.is_null() {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(template))));
    }
}

/// # Safety
/// See template.h.
#[no_mangle]
pub unsafe extern "C" fn template_render(
    template: *const Template,
    input: *const Input,
    out: *mut Output,
) -> i32 {
    let out = &mut *out;
    let result = guarded(&mut out.message, || {
        let rendered = (*template).render(&request(&*input)?)?;
        Ok(Box::into_raw(Box::new(rendered)))
    });
    match result {
        Ok(rendered) => {
            out.owner = rendered;
            let rendered = &*rendered;
            (out.text, out.length) = (rendered.text.as_ptr(), rendered.text.len());
            (out.foreign, out.n_foreign) = (rendered.foreign.as_ptr(), rendered.foreign.len());
            0
        }
        Err(code) => code,
    }
}

/// # Safety
/// See template.h.
#[no_mangle]
pub unsafe extern "C" fn template_output_free(out: *mut Output) {
    let owner = std::mem::replace(&mut (*out).owner, std::ptr::null_mut());
    if !owner.is_null() {
        drop(Box::from_raw(owner));
    }
}
