//! Processes: who they are, and everything that they do.

use std::borrow::Cow;
use std::collections::BTreeMap;

use profiler_common::task::state;

use crate::batch::{CallRow, ProcessFact, ProcessKey, TaskRow, Timestamp};
use crate::model::Window;
use crate::model::syscall::{CallTable, CallUse};
use crate::model::task::{Thread, Usage};
use crate::model::time::Recent;
use crate::model::wait::Looks;

/// Why a process has no name.
pub const UNNAMED: &str = "exited before lookup";

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Who it is; `None` until its facts arrive.
    pub fact: Option<ProcessFact>,
    /// End of the interval in which its last thread ended.
    pub ended: Option<Timestamp>,
    /// Where the time of all its threads went.
    pub usage: Recent<Usage>,
    /// What its threads wait on.
    pub looks: Recent<Looks>,
    /// Its threads by id.
    pub threads: BTreeMap<u32, Thread>,
    /// Its calls by [`profiler_common::syscall::call_key`].
    pub calls: BTreeMap<u32, Recent<CallUse>>,
    /// Number of the batch that it was last in.
    pub seen: u64,
}

impl Process {
    /// Its name: by its facts, else that of its first thread. `None` when neither came; [`UNNAMED`] says why.
    #[must_use]
    pub fn comm(&self, key: ProcessKey) -> Option<&str> {
        let leader = || self.threads.get(&key.pid).map(|thread| thread.comm.as_str());
        self.fact.as_ref().map(|fact| fact.comm.as_str()).or_else(leader).filter(|comm| !comm.is_empty())
    }

    /// Name and process id for sentences: `postgres (1234)`.
    #[must_use]
    pub fn label(&self, key: ProcessKey) -> String {
        match self.comm(key) {
            // What was folded together has no process id.
            Some(comm) if key == ProcessKey::default() => comm.to_owned(),
            Some(comm) => format!("{comm} ({})", key.pid),
            None => format!("? ({UNNAMED}) ({})", key.pid),
        }
    }

    /// A kernel thread, as far as is known.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.fact.as_ref().is_some_and(|fact| fact.kernel_thread)
    }

    /// How long it can have existed in the window: what shares of its time are of.
    #[must_use]
    pub fn lifetime_ns(&self, window_ns: u64) -> u64 {
        self.usage.sum.wall_ns.min(window_ns)
    }

    /// Blocked time in calls that do not wait for work to come.
    #[must_use]
    pub fn busy_blocked_ns(&self, table: &CallTable, window: Window) -> u64 {
        self.blocked_ns(window, |key| !table.is_idle(key))
    }

    fn blocked_ns(&self, window: Window, wanted: impl Fn(u32) -> bool) -> u64 {
        self.calls.iter().filter(|(key, _)| wanted(**key)).map(|(_, call)| call.of(window).blocked_ns).sum()
    }

    /// Where most of its blocked time went: a call, or outside of all calls (page faults, kernel threads).
    #[must_use]
    pub fn top_wait<'a>(&self, table: &'a CallTable, window: Window) -> Option<Cow<'a, str>> {
        let in_calls = self.blocked_ns(window, |_| true);
        let outside = self.usage.of(window).blocked_ns.saturating_sub(in_calls);
        let top = self.calls.iter().max_by_key(|(_, call)| call.of(window).blocked_ns);
        match top.map(|(key, call)| (*key, call.of(window).blocked_ns)) {
            Some((key, ns)) if ns > 0 && ns >= outside => Some(table.name(key)),
            _ => (outside > 0).then_some(Cow::Borrowed("outside calls")),
        }
    }

    /// Starts an interval in which nothing has happened yet.
    pub(super) fn begin(&mut self) {
        self.usage.begin();
        self.looks.begin();
        self.threads.values_mut().for_each(|thread| thread.usage.begin());
        self.calls.values_mut().for_each(Recent::begin);
    }

    /// Its threads in one interval.
    pub(super) fn tasks(&mut self, rows: &[TaskRow], window: Window, batch: u64, until: Timestamp) {
        self.seen = batch;
        for row in rows {
            self.usage.add(row, window);
            self.looks.add(row, window);
            let thread = self.threads.entry(row.tid).or_default();
            thread.update(row, batch);
            thread.usage.add(row, window);
        }
        let lives = self.threads.values().any(|thread| thread.state != state::ENDED);
        self.ended = if lives { None } else { self.ended.or(Some(until)) };
    }

    /// Its calls in one interval.
    pub(super) fn calls(&mut self, rows: &[CallRow], window: Window, batch: u64) {
        self.seen = batch;
        for row in rows {
            self.calls.entry(row.key).or_default().add(row, window);
        }
    }

    /// Forgets the older generation, and whatever was in none of the batches from `oldest` on.
    pub(super) fn rotate(&mut self, oldest: u64) {
        self.usage.rotate();
        self.looks.rotate();
        self.threads.retain(|_, thread| {
            thread.usage.rotate();
            thread.seen >= oldest
        });
        self.calls.retain(|_, call| {
            call.rotate();
            call.sum != CallUse::default()
        });
    }

    /// Takes over what another did, without its threads.
    pub(super) fn fold(&mut self, other: &Self) {
        self.seen = self.seen.max(other.seen);
        self.usage.fold(&other.usage);
        self.looks.fold(&other.looks);
        for (key, call) in &other.calls {
            self.calls.entry(*key).or_default().fold(call);
        }
    }
}
