//! Empty programs on the hooks of the hot path: what any tracer pays there. For the benchmark.

use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader};

use crate::error::Error;
use crate::kernel::load::NATIVE;
use crate::kernel::support;

/// Hooks that have an empty program.
pub const HOOKS: [&str; 11] = [
    "sys_enter",
    "sys_exit",
    "sched_switch",
    "sched_waking",
    "mm_filemap_add_to_page_cache",
    "block_rq_issue",
    "block_rq_complete",
    "contention_begin",
    "contention_end",
    "sock_send_length",
    "sock_recv_length",
];

/// Attached empty programs; dropping it detaches them.
pub struct Floor {
    _ebpf: Ebpf,
}

/// Attaches empty programs to hooks.
pub fn floor(hooks: &[&str]) -> Result<Floor, Error> {
    support::check_privileges()?;
    let failed = |why: &dyn std::fmt::Display| Error::Unsupported {
        what: format!("failed to attach empty programs: {why}"),
        hint: format!("the hooks are {}", HOOKS.join(", ")),
    };
    let btf = Btf::from_sys_fs().map_err(|why| failed(&why))?;
    let mut ebpf = EbpfLoader::new().allow_unsupported_maps().load(NATIVE).map_err(|why| failed(&why))?;
    for hook in hooks {
        let program = ebpf.program_mut(&format!("floor_{hook}")).ok_or_else(|| failed(hook))?;
        let program: &mut BtfTracePoint = program.try_into().map_err(|why| failed(&why))?;
        program.load(hook, &btf).map_err(|why| failed(&why))?;
        program.attach().map_err(|why| failed(&why))?;
    }
    Ok(Floor { _ebpf: ebpf })
}
