//! The rooms that are written in Rust, as one static library behind their C headers.
#![warn(clippy::undocumented_unsafe_blocks)]

mod base {
    pub mod foreign;
    pub mod json_quick;
    pub mod memory;
    pub mod own_stack;
}
mod backend {
    pub mod event_text;
}
mod constraint;
mod template;
