//! Work on a stack of its own (own_stack.h), for parsers that recurse.
//!
//! Not by std::thread: the standard library takes the memory of its handles past the global
//! allocator and ends the process where there is none.
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread;

extern "C" {
    fn own_stack_run(
        bytes: usize,
        work: extern "C" fn(*mut c_void),
        context: *mut c_void,
    ) -> bool;
}

struct Job<F, T> {
    work: Option<F>,
    result: Option<thread::Result<T>>,
}

extern "C" fn begin<F: FnOnce() -> T, T>(context: *mut c_void) {
    // SAFETY: what `run` passes, which waits meanwhile.
    let job = unsafe { &mut *context.cast::<Job<F, T>>() };
    job.result = job.work.take().map(|work| catch_unwind(AssertUnwindSafe(work)));
}

/// None: the thread could not be begun. An error: the work panicked.
pub fn run<F: FnOnce() -> T + Send, T: Send>(bytes: usize, work: F) -> Option<thread::Result<T>> {
    let mut job = Job { work: Some(work), result: None };
    // SAFETY: the job outlives the thread, which alone has it meanwhile.
    unsafe { own_stack_run(bytes, begin::<F, T>, (&raw mut job).cast()) };
    job.result
}
