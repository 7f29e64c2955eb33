//! Processes: who they are, and everything that they do.

use std::collections::BTreeMap;

use crate::batch::{ProcessFact, Timestamp};
use crate::model::syscall::CallUse;
use crate::model::task::{Thread, Usage};
use crate::model::time::Recent;

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Who it is; `None` until its facts arrive.
    pub fact: Option<ProcessFact>,
    /// End of the interval in which its last thread ended.
    pub ended: Option<Timestamp>,
    /// Where the time of all its threads went.
    pub usage: Recent<Usage>,
    /// Its threads by id.
    pub threads: BTreeMap<u32, Thread>,
    /// Its calls by [`profiler_common::syscall::call_key`].
    pub calls: BTreeMap<u32, Recent<CallUse>>,
}
