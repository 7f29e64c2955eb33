//! What the kernel says of our programs.

use std::io;
use std::os::fd::AsFd as _;

use aya::Ebpf;
use aya::programs::Program;

use crate::error::Error;
use crate::kernel::lookup::{self, ProgramCounts};

/// What the kernel counts of our programs, iterators apart, by name.
pub fn counts(ebpf: &Ebpf) -> Vec<(String, ProgramCounts)> {
    let programs = ebpf.programs().filter(|(_, program)| !matches!(program, Program::Iter(_)));
    let counts = programs.filter_map(|(name, program)| {
        let name = name.strip_suffix("_raw").unwrap_or(name);
        Some((name.to_owned(), lookup::program_counts(program.fd().ok()?.as_fd()).ok()?))
    });
    counts.collect()
}

/// Runs one that is attached nowhere; what it returns.
pub fn run(ebpf: &Ebpf, name: &str) -> Result<u32, Error> {
    let failed = |source| Error::Io { act: format!("run the program {name}"), source };
    let program = ebpf.program(name).ok_or(io::ErrorKind::NotFound.into()).map_err(failed)?;
    let program = program.fd().map_err(io::Error::other).map_err(failed)?;
    lookup::run(program.as_fd()).map_err(failed)
}

/// Whether the kernel measures how long programs run.
pub fn are_timed() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|enabled| enabled.trim() == "1")
}
