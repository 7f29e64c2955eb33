//! What user space tells the programs at load time, as one read-only global.
//!
//! The verifier knows read-only globals as constants, so a feature that is off costs nothing at run time.

/// What differs between kernels and between runs, apart from offsets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Latencies of system calls are sampled: the entry hook is attached for a share of each second.
    pub sample_calls: u32,
    /// `sched_switch` passes `prev_state` as a fourth argument (5.18, fa2c3254d7cf; backported to 5.15).
    pub switch_prev_state: u32,
    /// `block_rq_issue` and its kin have the request as argument 0 (5.11, a54895fa057c, with backports) or 1.
    pub request_arg: u32,
    /// Programs on `block_io_start` run at `block_rq_insert`, which comes again for a request that was put back on its queue.
    pub request_inserted: u32,
    /// `RQF_FLUSH_SEQ` as a mask; an enum since 6.11 (5f89154e8e9e), a macro `1 << 4` before.
    pub flush_seq_mask: u32,
    /// Programs report their own troubles through aya-log.
    pub log: u32,
    /// Programs may read kernel memory by address: not so under confidentiality lockdown. Without it, the kinds of files are
    /// not known.
    pub kernel_reads: u32,
    /// Programs on system calls can be preempted (7.0, a46023d5616e: tracepoints are guarded by SRCU). They ask the kernel
    /// to wait until a call is counted. Whoever runs on the CPU between that and their return is not counted, and the
    /// kernel tells how often.
    pub preemptible: u32,
    /// `REQ_FUA` as a mask.
    pub fua_mask: u32,
    /// What `bio.bi_flags` has of whatever a limit of a control group applies to (`BIO_BPS_THROTTLED`), as a mask, or 0.
    pub throttled_mask: u32,
    /// `PG_head` as a mask: the page begins several. Its number moved often.
    pub page_head_mask: u32,
    /// Index of the pause among the arguments of `balance_dirty_pages`, the one before the last.
    pub dirty_pause_arg: u32,
    /// Number of arguments of `io_uring_submit_req`: 1 or 2 with the request first, 5 or 7 with a code before `user_data`.
    pub uring_submit_args: u32,
    /// Number of arguments of `io_uring_complete`: 3 with the completion last, else with `user_data` before result and flags,
    /// second of 4, or third after the request.
    pub uring_complete_args: u32,
    /// Number of arguments of `io_uring_queue_async_work`: 2 with the request first, 5 with it third, 7 with `user_data` third.
    pub uring_queue_args: u32,
    /// Nanoseconds between two ticks of the clock that the kernel counts in, or 0.
    pub tick_ns: u32,
    /// `kfree_skb` passes the socket that a packet was for, or null, as argument 3 (6.11, c53795d48ee8).
    pub drop_socket: u32,
    /// Number of `SKB_DROP_REASON_SOCKET_RCVBUFF`, else [`crate::drop::reason::FULL`].
    pub drop_full: u32,
    /// Number of `SKB_DROP_REASON_PROTO_MEM`, else [`crate::drop::reason::MEMORY`].
    pub drop_memory: u32,
    /// Id of `struct task_struct` among the kernel's types, or 0 where programs cannot cast pointers to it.
    pub task_type: u32,
    /// The same of `struct request`.
    pub request_type: u32,
    /// The same of `struct sock`.
    pub socket_type: u32,
}

const _: () = assert!(size_of::<Config>() == 88);

impl Config {
    /// The words of the global, in order.
    #[must_use]
    pub const fn words(&self) -> [u32; 22] {
        [
            self.sample_calls,
            self.switch_prev_state,
            self.request_arg,
            self.request_inserted,
            self.flush_seq_mask,
            self.log,
            self.kernel_reads,
            self.preemptible,
            self.fua_mask,
            self.throttled_mask,
            self.page_head_mask,
            self.dirty_pause_arg,
            self.uring_submit_args,
            self.uring_complete_args,
            self.uring_queue_args,
            self.tick_ns,
            self.drop_socket,
            self.drop_full,
            self.drop_memory,
            self.task_type,
            self.request_type,
            self.socket_type,
        ]
    }
}
