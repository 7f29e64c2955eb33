//! The running host as a source: a thread of its own reads the kernel once per tick.
#![expect(clippy::disallowed_methods, reason = "the live source owns the clock")]

use std::path::PathBuf;
use std::time::Duration;

use crate::batch::{Batch, Machine};
use crate::error::Error;
use crate::source::Source;

/// Where the description of the kernel's types comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Types {
    /// `/sys/kernel/btf/vmlinux`
    #[default]
    Running,
    /// A file, for kernels that carry none.
    File(PathBuf),
    /// None: as on a kernel without BTF.
    None,
}

/// How to observe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Length of an interval.
    pub tick: Duration,
    /// The kernel's types.
    pub types: Types,
    /// Probes that are not loaded, by name.
    pub deny: Vec<String>,
    /// The programs tell their troubles through the `log` facade.
    pub log_programs: bool,
    /// Share of each interval in which latencies of calls are sampled, in thousandths.
    pub sample_permille: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            types: Types::Running,
            deny: Vec::new(),
            log_programs: false,
            sample_permille: 50,
        }
    }
}

/// The running host.
pub struct Live {
    machine: Machine,
}

impl Live {
    /// Loads the programs and starts to read. What this kernel lacks is in [`Machine::probes`].
    pub fn attach(_options: &Options) -> Result<Self, Error> {
        unimplemented!()
    }
}

impl Source for Live {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        unimplemented!()
    }
}
