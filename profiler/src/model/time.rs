//! Time as the model sees it: the last interval and the window.

use std::collections::VecDeque;
use std::mem;

use profiler_common::tcp::event;

use crate::batch::{Batch, Timestamp};
use crate::model::Window;

/// Batches in a generation. A recent sum holds the generation before and the one that grows: 10 to 20 intervals.
pub const GENERATION: u64 = 10;

/// Points on the timeline: ten minutes of one-second intervals.
const HISTORY_MAX: usize = 600;

/// A count that rows of one kind add to.
pub trait Tally<R> {
    /// Adds one row.
    fn absorb(&mut self, row: &R);
}

/// A count that can start over. Implementations keep the memory that they hold.
pub trait Reset: Default {
    /// Back to nothing.
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What happened in the last interval and over the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent<T> {
    /// In the last interval.
    pub now: T,
    /// Over the window.
    pub sum: T,
    /// The growing generation alone: the sum once the older one is dropped. Unused when sums reach back to the start.
    young: T,
    /// `now` holds something, so that emptying idle subjects is one comparison.
    touched: bool,
}

impl<T: Reset> Recent<T> {
    /// With given numbers, as if they had been added.
    #[must_use]
    pub fn new(now: T, sum: T) -> Self {
        Self { now, sum, young: T::default(), touched: true }
    }

    /// Starts an interval in which nothing has happened yet.
    pub(super) fn begin(&mut self) {
        if mem::take(&mut self.touched) {
            self.now.reset();
        }
    }

    /// Adds a row of the interval.
    pub(super) fn add<R>(&mut self, row: &R, window: Window)
    where
        T: Tally<R>,
    {
        self.touched = true;
        self.now.absorb(row);
        self.add_before(row, window);
    }

    /// Adds a row of intervals of the window before the last one.
    pub(super) fn add_before<R>(&mut self, row: &R, window: Window)
    where
        T: Tally<R>,
    {
        self.sum.absorb(row);
        if window == Window::Recent {
            self.young.absorb(row);
        }
    }

    /// Takes over what a subject did that is no longer kept by itself.
    pub(super) fn fold(&mut self, other: &Self)
    where
        T: Tally<T>,
    {
        self.touched = true;
        self.now.absorb(&other.now);
        self.sum.absorb(&other.sum);
        self.young.absorb(&other.young);
    }

    /// Forgets the older generation.
    pub(super) fn rotate(&mut self) {
        mem::swap(&mut self.sum, &mut self.young);
        self.young.reset();
    }

    /// The numbers that rates are made of: over the whole window in a report, else of the last interval.
    #[must_use]
    pub fn of(&self, window: Window) -> &T {
        match window {
            Window::Whole => &self.sum,
            Window::Recent => &self.now,
        }
    }
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
    /// The growing generation's part of the window.
    pub young_ns: u64,
    /// Batches so far.
    pub batches: u64,
    /// One point per interval, the newest last, at most 600.
    pub history: VecDeque<Point>,
}

impl Time {
    pub(super) fn advance(&mut self, batch: &Batch) {
        if self.batches == 0 {
            self.begin = batch.from;
        }
        self.batches += 1;
        self.until = batch.until;
        self.last_ns = batch.until.since(batch.from);
        self.window_ns += self.last_ns;
        self.young_ns += self.last_ns;
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(Point::of(batch));
    }

    pub(super) fn rotate(&mut self) {
        self.window_ns = mem::take(&mut self.young_ns);
    }

    /// The time that rates are over; see [`Recent::of`].
    #[must_use]
    pub fn span_ns(&self, window: Window) -> u64 {
        match window {
            Window::Whole => self.window_ns,
            Window::Recent => self.last_ns,
        }
    }
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

impl Point {
    fn of(batch: &Batch) -> Self {
        let ns = batch.until.since(batch.from);
        let rate = |count: u64| if ns == 0 { 0.0 } else { count as f64 * 1e9 / ns as f64 };
        let waited = batch.tasks.iter().map(|row| row.runq_wakeup_ns + row.runq_preempted_ns).sum::<u64>();
        Self {
            until: batch.until,
            cpu_ratio: super::host::busy_ratio(&batch.host.cpu_ns).unwrap_or_default(),
            runq_threads: rate(waited) / 1e9,
            disk_ops_s: rate(batch.disks.iter().map(|row| row.requests).sum()),
            disk_bytes_s: rate(batch.disks.iter().map(|row| row.bytes).sum()),
            tcp_bytes_s: rate(batch.sockets.iter().map(|row| row.sent_bytes + row.received_bytes).sum()),
            retransmits_s: rate(batch.tcp_events[event::RETRANSMIT as usize]),
            calls_s: rate(batch.calls.iter().map(|row| row.count).sum()),
        }
    }
}
