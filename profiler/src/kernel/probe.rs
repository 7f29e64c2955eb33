//! Every probe: where it attaches, what it needs, and what cannot be known without it. The loader, the fallbacks and
//! `doctor` walk this table.

/// A kernel program in its two forms, or an iterator.
#[derive(Debug)]
pub struct Probe {
    /// Name of the program; the `raw_tp` twin of a tracepoint adds `_raw`.
    pub name: &'static str,
    /// Where it attaches.
    pub at: At,
    needs: Needs,
    /// The probe that stands before it and without which it would tell wrong numbers: it is not loaded then.
    pub after: Option<&'static str>,
    /// What cannot be known without it.
    pub without: &'static str,
    /// Where the tracepoint has fewer arguments than this, it tells nothing of that.
    pub arguments: usize,
    /// Where the tracepoint has fewer arguments than this, it tells less: what.
    pub fewer: Option<(usize, &'static str)>,
    /// The tracepoint that it attaches to where there is none of that name.
    pub former: Option<Former>,
}

/// A tracepoint of older kernels.
#[derive(Debug)]
pub struct Former {
    /// Its name.
    pub name: &'static str,
    /// What it tells less, if it is not the same by another name.
    pub less: Option<&'static str>,
}

/// Members of [`profiler_common::offset::Offsets`], in groups.
type Needs = &'static [&'static [&'static str]];

impl Probe {
    /// Members of [`profiler_common::offset::Offsets`] without which it would read rubbish, by prefix or name; `a|b`
    /// where one of two is enough.
    pub fn needs(&self) -> impl Iterator<Item = &'static str> {
        self.needs.iter().flat_map(|group| group.iter().copied())
    }

    /// The tracepoint that it attaches to, by its latest name first.
    pub fn tracepoints(&self) -> impl Iterator<Item = &'static str> {
        let latest = match self.at {
            At::Tracepoint(name) | At::Typed(name) | At::Sampled(name) => Some(name),
            At::Iterator(_) | At::Run => None,
        };
        latest.into_iter().chain(self.former.as_ref().map(|former| former.name))
    }
}

/// Where a program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A tracepoint, all the time.
    Tracepoint(&'static str),
    /// The same, with typed pointers or not at all.
    Typed(&'static str),
    /// A tracepoint, for a share of each second: it samples.
    Sampled(&'static str),
    /// An iterator over kernel objects, run once per tick.
    Iterator(&'static str),
    /// Nowhere: it is run once per tick, and reads the kernel by address.
    Run,
}

/// Who a process is.
const PROCESS: &[&str] = &["task_group_leader", "task_start_ns", "task_tgid"];

/// What a descriptor of a call names.
const DESCRIPTOR: &[&str] =
    &["task_files", "files_fdt", "fdt_fd", "fdt_max", "regs_call", "regs_arg0", "regs_arg2", "regs_arg3"];

/// Which file an inode is.
const INODE: &[&str] = &["inode_number", "inode_super", "inode_generation", "super_device"];

/// The kind of an open file, and which it is.
const FILE: &[&str] = &[
    "file_inode",
    "file_private",
    "file_flags",
    "file_position",
    "inode_mode",
    "inode_block_bits",
    "super_magic",
    "socket_sk",
    "sock_family",
    "sock_protocol",
    "sock_cookie",
];

/// What identifies a task, and tells its kind of wait.
const TASK: &[&str] = &[
    "task_pid",
    "task_comm",
    "task_flags",
    "task_state",
    "task_exec_ns",
    "task_run_delay_ns",
    "task_cred",
    "cred_uid",
    "task_nsproxy",
    "nsproxy_net",
    "net_inum",
    "task_on_cpu",
    "task_on_rq",
    "task_parent",
    "task_nvcsw",
    "task_nivcsw",
    "task_min_flt",
    "task_maj_flt",
    "task_stack",
    "task_in_iowait",
    "task_utime",
    "task_stime",
];

const PAGE: &[&str] = &[
    "page_flags",
    "page_mapping",
    "folio_pages|page_pages",
    "mapping_inode",
    "inode_mode",
    "super_magic",
    "inode_owner",
    "task_pid",
    "task_flags",
    "task_stack",
    "regs_call",
];

const REQUEST: &[&str] = &[
    "request_queue",
    "request_cmd_flags",
    "request_rq_flags",
    "request_data_len",
    "request_sector",
    "request_start_ns",
    "request_part",
    "part_number|device_number",
    "request_disk|queue_disk",
    "disk_major",
    "disk_minor",
    "request_bio",
    "bio_vector",
    "vector_page",
    "page_head",
    "page_mapping",
    "mapping_inode",
    "inode_mode",
    "inode_mapping",
];

const SOCKET: &[&str] = &["sock_", "net_inum", "tcp_"];

/// Which socket, of any protocol.
const ANY_SOCKET: Needs = &[&[
    "sock_family",
    "sock_state",
    "sock_protocol",
    "sock_num",
    "sock_saddr",
    "sock_v6_saddr",
    "sock_net",
    "sock_cookie",
    "net_inum",
]];

const JOURNAL: Needs = &[&["journal_device", "device_number", "transaction_requested"]];

const OF_TASK: Needs = &[TASK, PROCESS, DESCRIPTOR, FILE, INODE];
const OF_CALL: Needs = &[PROCESS, DESCRIPTOR, FILE, INODE];
const OF_OPERATION: Needs = &[&["uring_", "task_files"], PROCESS, FILE, INODE];
const OF_PAGE: Needs = &[PAGE, PROCESS, INODE];
const OF_REQUEST: Needs = &[REQUEST, PROCESS, INODE];
const OF_SOCKET: Needs = &[SOCKET, PROCESS];
const OF_EXCHANGE: Needs = &[SOCKET, PROCESS, &["nagle_", "task_pid"]];

/// All probes. The iterators stand first: they seed what existed before the hooks came.
pub const PROBES: &[Probe] = &[
    iterator(
        "iter_task",
        "task",
        OF_TASK,
        "threads and processes, their names and times, the calls that they make; in other network namespaces, sockets \
         that were opened before we watched",
    ),
    iterator("iter_tcp", "tcp", OF_SOCKET, "TCP connections and listeners that were opened before we watched"),
    iterator(
        "iter_task_file",
        "task_file",
        &[&["socket_sk", "file_", "inode_mode", "sock_family", "sock_protocol", "task_comm"], PROCESS],
        "owners of TCP sockets that were opened before we watched, handed over, or accepted by an operation of io_uring, and of \
         UDP sockets",
    ),
    hook(
        "sched_process_fork",
        &[&["task_pid", "task_start_ns"]],
        "nothing in general; when many threads start at once, the first calls of some",
    ),
    // A thread that ends tells its whole life at once: only the iterator knows which part belongs to which interval.
    Probe {
        after: Some("iter_task"),
        ..hook(
            "sched_switch",
            OF_TASK,
            "blocked time, what threads wait for and in which calls, threads that have ended, sums over the threads of a process",
        )
    },
    Probe {
        after: Some("sched_switch"),
        ..hook("sched_waking", OF_TASK, "who ends waits; of waits that are under way, their end until the next switch")
    },
    // Each makes waits of one kind another, at the switch.
    Probe {
        after: Some("sched_switch"),
        ..hook("balance_dirty_pages", &[], "nothing; pauses of dirty throttling count as writes to disk")
    },
    Probe {
        after: Some("sched_switch"),
        ..hook("contention_end", &[], "nothing; waits for kernel locks count as waits of the call that they are in")
    },
    // Who never hears of the end would wait for a lock for ever.
    Probe {
        after: Some("contention_end"),
        ..hook("contention_begin", &[], "nothing; waits for kernel locks count as waits of the call that they are in")
    },
    // Who never hears of the end would reclaim for ever.
    reclaim("mm_vmscan_direct_reclaim_end", None),
    reclaim("mm_vmscan_direct_reclaim_begin", Some("mm_vmscan_direct_reclaim_end")),
    reclaim("mm_vmscan_memcg_reclaim_end", None),
    reclaim("mm_vmscan_memcg_reclaim_begin", Some("mm_vmscan_memcg_reclaim_end")),
    // What a CPU has counted becomes the thread's at the switch away from it.
    Probe {
        after: Some("sched_switch"),
        ..hook(
            "sys_exit",
            OF_CALL,
            "system calls, file reads, writes and syncs, and which of them block; how long connections wait to be accepted",
        )
    },
    Probe { after: Some("sys_exit"), ..sampled("sys_enter", &[], "latency of calls that do not block") },
    hook("io_uring_complete", OF_OPERATION, "operations of io_uring"),
    // What nobody sees complete would stay for ever.
    Probe {
        after: Some("io_uring_complete"),
        former: Some(Former { name: "io_uring_submit_sqe", less: None }),
        ..hook("io_uring_submit_req", OF_OPERATION, "operations of io_uring")
    },
    Probe {
        after: Some("io_uring_submit_req"),
        ..hook(
            "io_uring_queue_async_work",
            OF_OPERATION,
            "nothing; operations of io_uring that worker threads do look like all others",
        )
    },
    hook("mm_filemap_add_to_page_cache", OF_PAGE, "which reads miss the page cache"),
    hook("mm_filemap_delete_from_page_cache", OF_PAGE, "what leaves the page cache, and who takes it out"),
    hook("block_rq_complete", OF_REQUEST, "block requests and their times, but for what /proc/diskstats counts"),
    // A request that nobody sees complete would be in flight for ever.
    Probe {
        after: Some("block_rq_complete"),
        ..hook("block_rq_issue", OF_REQUEST, "device time, queue time, requests in flight, and for whom they are")
    },
    Probe {
        after: Some("block_rq_issue"),
        former: Some(Former {
            name: "block_rq_insert",
            less: Some(
                "who asks is told of requests that wait in a scheduler; others count for whoever gives them to the driver",
            ),
        }),
        ..hook(
            "block_io_start",
            &[&["request_cmd_flags", "request_sector", "request_bio", "bio_flags", "task_flags"], PROCESS],
            "how long requests are waited for; they count for whoever gives them to the driver, most times the same",
        )
    },
    Probe {
        after: Some("block_io_start"),
        ..hook(
            "block_bio_queue",
            &[&["bio_sector", "bio_bytes"]],
            "how long is waited for requests: tags, limits of the device",
        )
    },
    Probe {
        after: Some("block_rq_complete"),
        ..hook(
            "writeback_dirty_folio",
            &[&["mapping_inode", "page_flags"], PROCESS, INODE],
            "who made the pages dirty that are written back: they are for nobody, or whoever writes them",
        )
    },
    Probe {
        after: Some("block_rq_complete"),
        ..hook("block_rq_requeue", OF_REQUEST, "requests that were issued twice")
    },
    // The beginning stands last: no commit counts of which an edge is not seen.
    commit("jbd2_end_commit", None),
    commit("jbd2_commit_logging", Some("jbd2_end_commit")),
    commit("jbd2_commit_flushing", Some("jbd2_commit_logging")),
    commit("jbd2_commit_locking", Some("jbd2_commit_flushing")),
    commit("jbd2_start_commit", Some("jbd2_commit_locking")),
    hook(
        "inet_sock_set_state",
        OF_SOCKET,
        "rates of connections, their connect latency, age and opener, those that come and go between two ticks, connects",
    ),
    // As with threads: who ends tells its whole life at once.
    Probe { after: Some("iter_tcp"), ..hook("tcp_destroy_sock", OF_SOCKET, "connections that have ended") },
    // Without their ends, those that have ended would stay on the list.
    Probe {
        after: Some("tcp_destroy_sock"),
        at: At::Run,
        ..hook("walk_listed", OF_SOCKET, "nothing; each look at the sockets costs more, in each network namespace")
    },
    exchange("sock_send_length", None),
    exchange("sock_recv_length", Some("sock_send_length")),
    hook(
        "tcp_cong_state_set",
        OF_SOCKET,
        "timeouts and fast recoveries of connections; time in them counts as other limits",
    ),
    hook("tcp_retransmit_skb", &[&["skb_"]], "host-wide retransmits"),
    hook("tcp_retransmit_synack", &[], "host-wide SYN-ACK retransmits"),
    Probe {
        fewer: Some((3, "only resets that a socket sends are seen, not those that refuse a connection")),
        ..hook("tcp_send_reset", &[], "resets sent")
    },
    hook("tcp_receive_reset", &[], "resets received"),
    hook(
        "udp_fail_queue_rcv_skb",
        ANY_SOCKET,
        "nothing where packets are freed with their socket (6.11); before, for which sockets datagrams were that found no room",
    ),
    Probe {
        arguments: 3,
        fewer: Some((4, "not for which sockets packets were, but for datagrams that found no room")),
        ..hook(
            "kfree_skb",
            ANY_SOCKET,
            "packets that the kernel drops, by reason, but for datagrams that found no room",
        )
    },
];

const fn hook(name: &'static str, needs: Needs, without: &'static str) -> Probe {
    Probe { name, at: At::Tracepoint(name), needs, after: None, without, arguments: 0, fewer: None, former: None }
}

const fn reclaim(name: &'static str, end: Option<&'static str>) -> Probe {
    let after = if end.is_some() { end } else { Some("sched_switch") };
    Probe { after, ..hook(name, &[], "nothing; freeing memory counts as time in the kernel") }
}

const fn commit(name: &'static str, after: Option<&'static str>) -> Probe {
    Probe { after, ..hook(name, JOURNAL, "commits of journals (ext4) and their phases") }
}

const fn exchange(name: &'static str, after: Option<&'static str>) -> Probe {
    let without =
        "requests over TCP and queries to name servers, how long they take to be answered; small writes held back";
    Probe { after, at: At::Typed(name), ..hook(name, OF_EXCHANGE, without) }
}

const fn sampled(name: &'static str, needs: Needs, without: &'static str) -> Probe {
    Probe { at: At::Sampled(name), ..hook(name, needs, without) }
}

const fn iterator(name: &'static str, over: &'static str, needs: Needs, without: &'static str) -> Probe {
    Probe { at: At::Iterator(over), ..hook(name, needs, without) }
}

#[cfg(test)]
mod tests {
    use profiler_common::offset::PATHS;

    use super::*;

    #[test]
    fn a_probe_stands_after_the_one_that_it_relies_on() {
        for (index, probe) in PROBES.iter().enumerate() {
            let stands = |after| PROBES[..index].iter().any(|before| before.name == after);
            assert!(probe.after.is_none_or(stands), "{}", probe.name);
        }
    }

    #[test]
    fn every_need_names_an_offset() {
        for probe in PROBES {
            for need in probe.needs() {
                for name in need.split('|') {
                    assert!(PATHS.iter().any(|(known, ..)| known.starts_with(name)), "{}: {name}", probe.name);
                }
            }
        }
    }
}
