//! What all fuzz targets share: each input goes through one door of `podkey::fuzzing`, within a limit of time and memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use libfuzzer_sys;
pub use podkey::fuzzing;
use rustix::time::{ClockId, clock_gettime};

/// The most processor time for one input: no input of a target is longer than 32 KiB. (Not the time on the wall: libFuzzer's own
/// limit, `-timeout`, would fail where the machine is busy.) The programs here are some four times slower than those that ship.
const MAX_TIME: Duration = Duration::from_secs(2);
/// The most memory for one input: the memory limit of podkey's containers.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Makes the program of a target.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::within_limits(input, $crate::fuzzing::$name));
    };
}

/// Passes the input to the door. Panics if that takes too long or too much memory.
pub fn within_limits(input: &[u8], door: fn(&[u8])) {
    let before = USED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let began = processor_time();
    door(input);
    let took = processor_time().saturating_sub(began);
    let bytes = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(took <= MAX_TIME, "{took:?} of processor time for {} bytes", input.len());
    assert!(bytes <= MAX_BYTES, "{bytes} bytes of memory for {} bytes", input.len());
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// The bytes that are allocated, and the most since the input began. libFuzzer's own limit of one allocation needs a sanitizer.
static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    let used = USED.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(used, Ordering::Relaxed);
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(block, layout, size) }
    }
}
