//! How long a rendering may compute.
//!
//! Fuel bounds instructions and bytes, but a byte can cost more or less. So the processor time of
//! the thread is looked at too, now and then: not the time of day, which passes for a thread that
//! has to wait for its turn.
use std::cell::Cell;

use minijinja::{Error, ErrorKind};

/// Milliseconds, for any rendering, and nanoseconds more for each byte of the conversation.
const LIMIT_MS: u64 = 60;
const LIMIT_NS_FOR_BYTE: u64 = 1000;
/// Bytes of work between two looks.
const STEP: usize = 16 << 10;

thread_local! {
    static END: Cell<u64> = const { Cell::new(u64::MAX) };
    static SINCE: Cell<usize> = const { Cell::new(0) };
}

#[repr(C)]
struct Time {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut Time) -> i32;
}

fn now() -> u64 {
    const THREAD_CPU_TIME: i32 = 3;
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: writes the struct, which is laid out as C's on 64-bit Linux.
    unsafe { clock_gettime(THREAD_CPU_TIME, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
}

pub fn begin(bytes: usize) {
    END.set(now() + LIMIT_MS * 1_000_000 + LIMIT_NS_FOR_BYTE * bytes as u64);
    SINCE.set(0);
}

/// Counts work on `n` bytes; an error when the time is over.
pub fn count(n: usize) -> Result<(), Error> {
    let since = SINCE.get().saturating_add(n).saturating_add(64);
    if since < STEP {
        SINCE.set(since);
        return Ok(());
    }
    SINCE.set(0);
    match now() > END.get() {
        true => Err(Error::from(ErrorKind::OutOfFuel)),
        false => Ok(()),
    }
}
