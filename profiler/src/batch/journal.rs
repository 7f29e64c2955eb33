//! Commits of the journals of file systems.

use serde::{Deserialize, Serialize};

use super::Hist;

/// The journal of one file system in one interval. Phases are of the commits that ended in it, as long as these took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRow {
    /// Device of the file system, `major << 20 | minor`.
    pub device: u32,
    /// Commits that ended.
    pub commits: u64,
    /// Those among them that somebody asked for; `None` if that is not known.
    pub requested: Option<u64>,
    /// Sum of their times from the request to the beginning of the commit, each in whole ticks of the kernel's clock.
    pub request_ns: u64,
    /// Sum of times from the beginning of a commit until its transaction was locked.
    pub starting_ns: u64,
    /// … until all changes that were being made were in it.
    pub locked_ns: u64,
    /// … until data of files was handed over that had to be written before.
    pub flushing_ns: u64,
    /// … until the transaction was on disk.
    pub logging_ns: u64,
    /// Time in the interval with a commit under way, also with one that has not ended.
    pub busy_ns: u64,
    /// How long the commit that is under way at the end has lasted; `None` if there is none.
    pub under_way_ns: Option<u64>,
    /// Commits by their time, finest scale.
    pub commit: Hist,
}
