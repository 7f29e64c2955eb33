//! Empty programs on the hooks of the hot path: what any tracer pays there. Only the benchmark loads them.

/// An empty twin of a hook.
macro_rules! floor {
    ($tracepoint:literal, $name:ident) => {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = concat!("tp_btf/", $tracepoint))]
        extern "C" fn $name(_: *mut core::ffi::c_void) -> i32 {
            0
        }
    };
}

floor!("sys_enter", floor_sys_enter);
floor!("sys_exit", floor_sys_exit);
floor!("sched_switch", floor_sched_switch);
floor!("sched_waking", floor_sched_waking);
floor!("mm_filemap_add_to_page_cache", floor_mm_filemap_add_to_page_cache);
floor!("block_rq_issue", floor_block_rq_issue);
floor!("block_rq_complete", floor_block_rq_complete);
floor!("contention_begin", floor_contention_begin);
floor!("contention_end", floor_contention_end);
floor!("sock_send_length", floor_sock_send_length);
floor!("sock_recv_length", floor_sock_recv_length);
