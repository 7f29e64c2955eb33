//! Everything that is known of a host, derived from batches alone: no clock, no files, no environment.
//!
//! Each subject keeps what happened in the last interval (`now`) and over a window (`sum`).

use std::collections::BTreeMap;

use crate::batch::{Batch, Machine, ProcessKey};

pub mod disk;
pub mod file;
pub mod host;
pub mod process;
pub mod quality;
pub mod syscall;
pub mod task;
pub mod tcp;
pub mod time;

/// How far back sums reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Over all batches: reports.
    Whole,
    /// Over the last ten to twenty seconds: the live screen.
    Recent,
}

/// The state of a host as told by the batches so far.
#[derive(Clone, Debug)]
pub struct Model {
    /// The observed host.
    pub machine: Machine,
    /// Where in time we are.
    pub time: time::Time,
    /// Processes that live, or ended within the window.
    pub processes: BTreeMap<ProcessKey, process::Process>,
    /// Block devices, by `major << 20 | minor`.
    pub disks: BTreeMap<u32, disk::Disk>,
    /// TCP sockets that live, or ended within the window, by cookie.
    pub sockets: BTreeMap<u64, tcp::Socket>,
    /// Host-wide TCP events.
    pub tcp_events: time::Recent<tcp::Events>,
    /// The kernel's own counters.
    pub host: host::Host,
    /// What is missing, and what we cost.
    pub quality: quality::Quality,
}

impl Model {
    /// Knows nothing yet but the machine.
    #[must_use]
    pub fn new(_machine: Machine, _window: Window) -> Self {
        unimplemented!("the model")
    }

    /// Learns what one batch tells.
    pub fn apply(&mut self, _batch: &Batch) {
        unimplemented!("the model")
    }
}
