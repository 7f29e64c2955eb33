//! System calls per process.

use profiler_common::syscall::ERRNO_CLASSES;

use crate::batch::Hist;

/// What one call of one process did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallUse {
    /// Calls that returned.
    pub count: u64,
    /// Bytes read or written.
    pub bytes: u64,
    /// Failed calls by [`ERRNO_CLASSES`].
    pub errors: [u64; ERRNO_CLASSES.len()],
    /// Blocked time.
    pub blocked_ns: u64,
    /// Calls that blocked, by blocked time. Exact, coarse scale.
    pub blocked: Hist,
    /// Sampled latencies, fine scale.
    pub latency: Hist,
}
