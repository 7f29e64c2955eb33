//! Row `file`: commits of journals (jbd2), by phase.

use crate::hist::LINEAR32_SLOTS;

/// Phases of a commit, in order: each begins where the one before ends, and the last ends with the commit.
pub mod phase {
    /// The commit has begun, and waits for whoever writes to the journal past the transaction (fast commits).
    pub const STARTING: usize = 0;
    /// The transaction takes no new changes, and waits for those that are being made.
    pub const LOCKED: usize = 1;
    /// Data of files that has to be on disk before the transaction is written.
    pub const FLUSHING: usize = 2;
    /// The transaction is written to the journal, flushes of the device included.
    pub const LOGGING: usize = 3;
    /// Number of phases.
    pub const PHASES: usize = 4;
}

/// One journal. All but the commit under way only grows, when a commit ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalRecord {
    /// When the commit under way began, or 0.
    pub begun_ns: u64,
    /// When it reached its phase.
    pub edge_ns: u64,
    /// That phase, one of [`phase`].
    pub phase: u64,
    /// How long its phases before that took.
    pub passed: [u64; phase::PHASES],
    /// Commits that have ended.
    pub commits: u64,
    /// Commits among them that somebody asked for; the others were due.
    pub requested: u64,
    /// Sum of their times from the request to the beginning of the commit, each in whole ticks of the clock.
    pub request_ns: u64,
    /// Ticks of the clock between the request for the commit under way and its beginning, plus 1; 0 if nobody asked.
    pub request_ticks: u64,
    /// Sums of times by phase.
    pub phases: [u64; phase::PHASES],
    /// Commits by their time from the beginning to the end.
    pub commit: [u32; LINEAR32_SLOTS],
}

impl JournalRecord {
    /// Nothing happened yet. Too large for a program's stack: copy it from a static.
    pub const EMPTY: Self = Self {
        begun_ns: 0,
        edge_ns: 0,
        phase: 0,
        passed: [0; phase::PHASES],
        commits: 0,
        requested: 0,
        request_ns: 0,
        request_ticks: 0,
        phases: [0; phase::PHASES],
        commit: [0; LINEAR32_SLOTS],
    };
}

const _: () = assert!(size_of::<JournalRecord>() == 56 + 16 * phase::PHASES + 4 * LINEAR32_SLOTS);
