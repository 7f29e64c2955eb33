//! What user space tells the programs at load time, as one read-only global.
//!
//! The verifier knows read-only globals as constants, so a feature that is off costs nothing at run time.

/// What differs between kernels and between runs, apart from offsets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Sampling of system-call latency is possible: the entry hook is attached for a share of each second.
    pub sample_calls: u32,
    /// `bpf_task_pt_regs` exists (5.15, dd6e10fbd9f7): the call in which a thread blocks is read at the switch itself.
    /// Without it the entry hook has to tell, so it must always be attached.
    pub task_pt_regs: u32,
    /// `sched_switch` passes `prev_state` as a fourth argument (5.18, fa2c3254d7cf; backported to 5.15).
    pub switch_prev_state: u32,
    /// `block_rq_issue` and its kin have the request as argument 0 (5.11, a54895fa057c, with backports) or 1.
    pub request_arg: u32,
    /// `RQF_FLUSH_SEQ` as a mask; an enum since 6.11 (5f89154e8e9e), a macro `1 << 4` before.
    pub flush_seq_mask: u32,
    /// Programs report their own troubles through aya-log.
    pub log: u32,
}

const _: () = assert!(size_of::<Config>() == 24);

impl Config {
    /// The words of the global, in order.
    #[must_use]
    pub const fn words(&self) -> [u32; 6] {
        [self.sample_calls, self.task_pt_regs, self.switch_prev_state, self.request_arg, self.flush_seq_mask, self.log]
    }
}
