//! Time as the model sees it: the last interval and the window.

use std::collections::VecDeque;

use crate::batch::Timestamp;

/// What happened in the last interval and over the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent<T> {
    /// In the last interval.
    pub now: T,
    /// Over the window.
    pub sum: T,
}

/// Where in time the model is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Time {
    /// Start of the first interval.
    pub begin: Timestamp,
    /// End of the last interval.
    pub until: Timestamp,
    /// Length of the last interval, nanoseconds.
    pub last_ns: u64,
    /// Length of the window, nanoseconds: all intervals that are in the sums.
    pub window_ns: u64,
    /// Batches so far.
    pub batches: u64,
    /// One point per interval, the newest last, at most 600.
    pub history: VecDeque<Point>,
}

/// One interval on the timeline. Ratios are of all CPUs' time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// End of the interval.
    pub until: Timestamp,
    /// Share of the CPUs that was busy, 0 to 1, by `/proc/stat`.
    pub cpu_ratio: f64,
    /// Threads that waited for a CPU, on average.
    pub runq_threads: f64,
    /// Block requests per second.
    pub disk_ops_s: f64,
    /// Bytes per second to and from block devices.
    pub disk_bytes_s: f64,
    /// TCP bytes per second, sent and received.
    pub tcp_bytes_s: f64,
    /// TCP segments sent again per second.
    pub retransmits_s: f64,
    /// System calls per second.
    pub calls_s: f64,
}
