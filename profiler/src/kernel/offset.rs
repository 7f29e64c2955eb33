//! Offsets and switches of the running kernel, from its BTF alone: a version number is never asked.

use profiler_common::config::Config;
use profiler_common::offset::{ABSENT, Offsets, PATHS};

use crate::kernel::btf::Btf;

/// `RQF_FLUSH_SEQ` before it became an enum.
const FLUSH_SEQ_MACRO: u32 = 1 << 4;

/// Where the members are that the programs read.
#[must_use]
pub fn resolve(btf: &Btf) -> Offsets {
    let mut values = [ABSENT; PATHS.len()];
    for (value, (_, structure, path)) in values.iter_mut().zip(PATHS) {
        *value = btf.offset(structure, path).unwrap_or(ABSENT);
    }
    Offsets::from_array(values)
}

/// Names of the offsets that a probe needs and the kernel does not have.
#[must_use]
pub fn missing(offsets: &Offsets, needs: &[&str]) -> Vec<&'static str> {
    PATHS
        .iter()
        .zip(offsets.to_array())
        .filter(|((name, ..), offset)| *offset == ABSENT && needs.iter().any(|need| name.starts_with(need)))
        .map(|((name, ..), _)| *name)
        .collect()
}

/// What differs between kernels apart from offsets.
#[must_use]
pub fn config(btf: &Btf) -> Config {
    // The helper came with the list of BTF ids of the tasks' registers; its prototype is only visible as a function.
    let flag = btf.enumerator("__RQF_FLUSH_SEQ");
    Config {
        sample_calls: 1,
        task_pt_regs: u32::from(btf.enumerator("BPF_FUNC_task_pt_regs").is_some()),
        switch_prev_state: u32::from(btf.tracepoint_arity("sched_switch") == Some(4)),
        request_arg: u32::from(btf.tracepoint_argument("block_rq_issue", "request") == Some(1)),
        flush_seq_mask: flag.map_or(FLUSH_SEQ_MACRO, |bit| 1 << bit),
        log: 0,
    }
}
