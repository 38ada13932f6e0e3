//! What keeps a failed allocation from ending the process.
//!
//! Rust aborts when its allocator has no memory, and a stable compiler offers no other way: the
//! hook is unstable, and an allocator must not unwind. So the allocator never says no while that
//! can be helped. It is the C library's; when that fails, memory comes from a reserve that was set
//! aside (as addresses: pages cost nothing until they are used) before the first template or grammar
//! was compiled, and the failure is noted for the thread. Whoever works looks at the note: the
//! template room at every operation that makes texts or lists, the constraint room after every call
//! of its library, which is bounded by fuel of its own. Between two looks only so much is allocated
//! as one operation may. The reserve is whole again when nothing of it is in use.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Enough for the largest operation of several threads at once.
const RESERVE: usize = 256 << 20;

static BEGIN: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
/// Bytes given out (low 40 bits) and pieces in use (high 24 bits).
static STATE: AtomicUsize = AtomicUsize::new(0);
const PIECE: usize = 1 << 40;

thread_local! {
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

extern "C" {
    fn mmap(at: *mut u8, n: usize, protection: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
    fn munmap(at: *mut u8, n: usize) -> i32;
}

/// Sets the reserve aside, once; false when there is no room for it.
pub fn reserve() -> bool {
    const READ_WRITE: i32 = 1 | 2;
    const PRIVATE_ANONYMOUS_NORESERVE: i32 = 0x02 | 0x20 | 0x4000;
    if !BEGIN.load(Ordering::Acquire).is_null() {
        return true;
    }
    let none = std::ptr::null_mut();
    // SAFETY: a fresh mapping; flags are Linux's, the same on x86-64 and AArch64.
    let at = unsafe { mmap(none, RESERVE, READ_WRITE, PRIVATE_ANONYMOUS_NORESERVE, -1, 0) };
    if at as isize == -1 {
        return false;
    }
    if BEGIN.compare_exchange(none, at, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: nobody has seen this mapping.
        unsafe { munmap(at, RESERVE) };
    }
    true
}

/// Forgets earlier failures of this thread.
pub fn begin() {
    FAILED.set(false);
}

pub fn has_failed() -> bool {
    FAILED.get()
}

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// A piece of the reserve, or null.
fn take(layout: Layout) -> *mut u8 {
    let begin = BEGIN.load(Ordering::Acquire);
    if begin.is_null() {
        return begin;
    }
    let _ = FAILED.try_with(|failed| failed.set(true));
    let mut state = STATE.load(Ordering::Relaxed);
    loop {
        let used = if state < PIECE { 0 } else { state % PIECE };
        let at = used.next_multiple_of(layout.align().max(16));
        let end = at.saturating_add(layout.size());
        if end > RESERVE {
            return std::ptr::null_mut();
        }
        let next = (state / PIECE + 1) * PIECE + end;
        match STATE.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
            // SAFETY: within the mapping, and nobody else has these bytes.
            Ok(_) => return unsafe { begin.add(at) },
            Err(other) => state = other,
        }
    }
}

fn is_of_reserve(at: *mut u8) -> bool {
    let begin = BEGIN.load(Ordering::Relaxed) as usize;
    begin != 0 && (at as usize).wrapping_sub(begin) < RESERVE
}

// SAFETY: both sources give memory that fits the layout and is the caller's alone until it comes
// back; neither unwinds. realloc and alloc_zeroed are put together of these by GlobalAlloc where
// the C library's cannot be used.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let at = System.alloc(layout);
        if at.is_null() { take(layout) } else { at }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if is_of_reserve(at) {
            STATE.fetch_sub(PIECE, Ordering::AcqRel);
        } else {
            System.dealloc(at, layout);
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_of_reserve(at) {
            let moved = System.realloc(at, layout, size);
            if !moved.is_null() {
                return moved;
            }
        }
        let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !moved.is_null() {
            std::ptr::copy_nonoverlapping(at, moved, layout.size().min(size));
            self.dealloc(at, layout);
        }
        moved
    }
}
