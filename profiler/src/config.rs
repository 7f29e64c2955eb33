//! How to observe, as asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

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
