//! Every probe: where it attaches, what it needs, and what cannot be known without it. The loader, the fallbacks and
//! `doctor` walk this table.

/// A kernel program in its two forms, or an iterator.
#[derive(Debug)]
pub struct Probe {
    /// Name of the program; the `raw_tp` twin of a tracepoint adds `_raw`.
    pub name: &'static str,
    /// Where it attaches.
    pub at: At,
    /// Members of [`profiler_common::offset::Offsets`] without which it would read rubbish, by prefix or name.
    pub needs: &'static [&'static str],
    /// What cannot be known without it.
    pub without: &'static str,
}

/// Where a program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A tracepoint, all the time.
    Tracepoint(&'static str),
    /// A tracepoint, for a share of each second: it samples.
    Sampled(&'static str),
    /// An iterator over kernel objects, run once per tick.
    Iterator(&'static str),
}

/// What identifies a task and tells its kind of wait.
const TASK: &[&str] = &[
    "task_pid",
    "task_tgid",
    "task_comm",
    "task_flags",
    "task_state",
    "task_exec_ns",
    "task_run_delay_ns",
    "task_group_leader",
    "task_start_ns",
    "task_cred",
    "cred_uid",
    "task_nsproxy",
    "nsproxy_net",
    "net_inum",
    "task_cgroups",
    "css_set_cgroup",
    "cgroup_kn",
    "kn_id",
    "task_on_cpu",
    "task_on_rq",
    "task_parent",
    "task_nvcsw",
    "task_nivcsw",
    "task_min_flt",
    "task_maj_flt",
    "regs_call",
];

const CALL: &[&str] = &[
    "task_tgid",
    "task_group_leader",
    "task_start_ns",
    "task_files",
    "files_fdt",
    "fdt_fd",
    "fdt_max",
    "file_inode",
    "inode_mode",
    "regs_call",
    "regs_arg0",
];

const REQUEST: &[&str] = &[
    "request_queue",
    "request_cmd_flags",
    "request_rq_flags",
    "request_data_len",
    "request_start_ns",
    "disk_major",
    "disk_minor",
];

const SOCKET: &[&str] = &["sock_", "net_inum", "tcp_", "task_group_leader", "task_start_ns", "task_tgid"];

/// All probes. The iterators stand first: they seed what existed before the hooks came.
pub const PROBES: &[Probe] = &[
    Probe {
        name: "iter_task",
        at: At::Iterator("task"),
        needs: TASK,
        without: "threads, their CPU, run-queue and blocked time, and the calls that they make",
    },
    Probe { name: "iter_tcp", at: At::Iterator("tcp"), needs: SOCKET, without: "TCP connections and listeners" },
    Probe {
        name: "iter_listed",
        at: At::Iterator("bpf_sk_storage_map"),
        needs: SOCKET,
        without: "nothing; each look at the sockets costs more, in each network namespace",
    },
    Probe {
        name: "iter_task_file",
        at: At::Iterator("task_file"),
        needs: &["socket_sk", "task_group_leader", "task_start_ns", "task_tgid", "task_comm"],
        without: "owners of TCP sockets that were opened before we watched, accepted or handed over",
    },
    Probe {
        name: "sched_process_fork",
        at: At::Tracepoint("sched_process_fork"),
        needs: &["task_pid"],
        without: "nothing in general; when many threads start at once, the first calls of some",
    },
    Probe {
        name: "sched_switch",
        at: At::Tracepoint("sched_switch"),
        needs: TASK,
        without: "blocked time, the calls in which threads block, threads that end between two ticks",
    },
    Probe {
        name: "sys_exit",
        at: At::Tracepoint("sys_exit"),
        needs: CALL,
        without: "system calls, file reads, writes and syncs",
    },
    Probe {
        name: "sys_enter",
        at: At::Sampled("sys_enter"),
        needs: &[],
        without: "latency of calls that do not block; before 5.15 also the calls in which threads block",
    },
    Probe {
        name: "block_rq_issue",
        at: At::Tracepoint("block_rq_issue"),
        needs: REQUEST,
        without: "device time, queue time and requests in flight",
    },
    Probe {
        name: "block_rq_complete",
        at: At::Tracepoint("block_rq_complete"),
        needs: REQUEST,
        without: "block requests and their times",
    },
    Probe {
        name: "inet_sock_set_state",
        at: At::Tracepoint("inet_sock_set_state"),
        needs: SOCKET,
        without: "connect latency, age and opener of connections, failed connects",
    },
    Probe {
        name: "tcp_destroy_sock",
        at: At::Tracepoint("tcp_destroy_sock"),
        needs: SOCKET,
        without: "connections that end between two ticks, and the last interval of all others",
    },
    Probe {
        name: "tcp_retransmit_skb",
        at: At::Tracepoint("tcp_retransmit_skb"),
        needs: &[],
        without: "host-wide retransmits",
    },
    Probe {
        name: "tcp_retransmit_synack",
        at: At::Tracepoint("tcp_retransmit_synack"),
        needs: &[],
        without: "host-wide SYN-ACK retransmits",
    },
    Probe { name: "tcp_send_reset", at: At::Tracepoint("tcp_send_reset"), needs: &[], without: "resets sent" },
    Probe {
        name: "tcp_receive_reset",
        at: At::Tracepoint("tcp_receive_reset"),
        needs: &[],
        without: "resets received",
    },
];

#[cfg(test)]
mod tests {
    use profiler_common::offset::PATHS;

    use super::*;

    #[test]
    fn every_need_names_an_offset() {
        for probe in PROBES {
            for need in probe.needs {
                assert!(PATHS.iter().any(|(name, ..)| name.starts_with(need)), "{}: {need}", probe.name);
            }
        }
    }
}
