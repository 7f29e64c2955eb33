//! Offsets and switches of the running kernel, from its BTF alone: a version number is never asked.

use profiler_common::config::Config;
use profiler_common::drop::reason;
use profiler_common::offset::{ABSENT, Offsets, PATHS};

use crate::kernel::btf::Btf;
use crate::kernel::probe::Probe;

/// `RQF_FLUSH_SEQ` before it became an enum.
const FLUSH_SEQ_MACRO: u32 = 1 << 4;

const COMPLETE: &str = "io_uring_complete";

/// Where the members are that the programs read.
#[must_use]
pub fn resolve(btf: &Btf) -> Offsets {
    let mut values = [ABSENT; PATHS.len()];
    for (value, (_, structure, path)) in values.iter_mut().zip(PATHS) {
        *value = btf.offset(structure, path).unwrap_or(ABSENT);
    }
    Offsets::from_array(values)
}

/// Names of the offsets that a probe needs and the kernel does not have; see [`crate::kernel::probe::Probe::needs`].
#[must_use]
pub fn missing(offsets: &Offsets, needs: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let absent = |prefix: &str| -> Vec<_> {
        let members = PATHS.iter().zip(offsets.to_array());
        members
            .filter(|((name, ..), at)| *at == ABSENT && name.starts_with(prefix))
            .map(|((name, ..), _)| *name)
            .collect()
    };
    let alternatives = needs.map(|need| need.split('|').map(absent).collect::<Vec<_>>());
    let unmet = alternatives.filter(|alternatives| alternatives.iter().all(|absent| !absent.is_empty()));
    unmet.flatten().flatten().collect()
}

/// What differs between kernels apart from offsets.
#[must_use]
pub fn config(btf: &Btf) -> Config {
    let mask = |name| btf.enumerator(name).map_or(0, |bit| 1 << bit);
    let flag = btf.enumerator("__RQF_FLUSH_SEQ");
    let numbered = |reason: u32| {
        let name = reason::NAMES.iter().find_map(|(code, name)| (*code == reason).then_some(name));
        name.and_then(|name| btf.enumerator(&format!("{}{name}", reason::PREFIX))).unwrap_or(reason)
    };
    let arguments = |names: &[&str]| names.iter().find_map(|name| btf.tracepoint_arity(name)).map_or(0, number);
    Config {
        sample_calls: 1,
        switch_prev_state: u32::from(btf.tracepoint_arity("sched_switch") == Some(4)),
        request_arg: u32::from(btf.tracepoint_argument("block_rq_issue", "request") == Some(1)),
        request_inserted: u32::from(btf.tracepoint_arity("block_io_start").is_none()),
        flush_seq_mask: flag.map_or(FLUSH_SEQ_MACRO, |bit| 1 << bit),
        fua_mask: mask("__REQ_FUA"),
        throttled_mask: mask("BIO_BPS_THROTTLED"),
        page_head_mask: mask("PG_head"),
        log: 0,
        tick_ns: 0,
        kernel_reads: 1,
        uring_submit_args: arguments(&["io_uring_submit_req", "io_uring_submit_sqe"]),
        uring_complete_args: arguments(&[COMPLETE]),
        uring_queue_args: arguments(&["io_uring_queue_async_work"]),
        // The guard was made for tracepoints.
        dirty_pause_arg: arguments(&["balance_dirty_pages"]).saturating_sub(2),
        drop_socket: u32::from(btf.tracepoint_argument("kfree_skb", "sock") == Some(3)),
        drop_full: numbered(reason::FULL),
        drop_memory: numbered(reason::MEMORY),
        preemptible: btf.has_typedef("class_srcu_fast_notrace_t").into(),
        task_type: 0,
        request_type: 0,
        socket_type: 0,
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(0)
}

/// Why this kernel drops packets: its numbers and names for that.
#[must_use]
pub fn drop_reasons(btf: &Btf) -> Vec<(u32, String)> {
    let all = btf.enumerators("skb_drop_reason").into_iter();
    all.filter_map(|(name, number)| Some((number, name.strip_prefix(reason::PREFIX)?.to_owned()))).collect()
}

/// The name of a probe's tracepoint on this kernel; `None` if it has none.
#[must_use]
pub fn tracepoint(btf: &Btf, probe: &Probe) -> Option<&'static str> {
    probe.tracepoints().find(|name| btf.tracepoint_arity(name).is_some())
}

/// Whether a completion of `io_uring` tells its ring as a number, but a request as something with a type.
#[must_use]
pub fn hides_rings(btf: &Btf) -> bool {
    btf.tracepoint_argument(COMPLETE, "io_ring_ctx").is_none() && btf.tracepoint_arity(COMPLETE) != Some(4)
}

/// Task storage is open to tracing programs since 5.13; what the same object needs besides came with 5.15. All are
/// enumerators in the kernel's types.
#[must_use]
pub fn has_task_storage(btf: &Btf) -> bool {
    ["BPF_MAP_TYPE_TASK_STORAGE", "BPF_FUNC_task_pt_regs"].iter().all(|name| btf.enumerator(name).is_some())
}
