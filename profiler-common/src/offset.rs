//! Offsets of kernel struct members, found in BTF at load time and passed as one read-only global.
//!
//! One table: the struct that the programs read and the paths that user space resolves come from the same lines.

/// An offset that BTF does not have. A program that needs it is not loaded; an optional one is checked before use.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($name:ident = $structure:literal . $member:literal,)*) => {
        /// Byte offsets into kernel structs, of bit fields bit offsets, or [`ABSENT`].
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets { $(
            #[doc = concat!("`", $structure, ".", $member, "`")]
            pub $name: u32,
        )* }

        /// `(field, struct, member path)` in the order of [`Offsets`].
        pub const PATHS: &[(&str, &str, &str)] = &[$((stringify!($name), $structure, $member),)*];

        impl Offsets {
            /// No offset known: no program that reads kernel memory may be loaded.
            pub const NONE: Self = Self { $($name: ABSENT,)* };

            /// The offsets in the order of [`PATHS`].
            #[must_use]
            pub const fn from_array(values: [u32; PATHS.len()]) -> Self {
                let mut at = 0;
                $(let $name = values[at]; at += 1;)*
                let _ = at;
                Self { $($name,)* }
            }

            /// The offsets in the order of [`PATHS`].
            #[must_use]
            pub const fn to_array(&self) -> [u32; PATHS.len()] {
                [$(self.$name,)*]
            }
        }
    };
}

// A member path names each step; anonymous structs and unions are searched through. `a|b` reads whichever exists. `a:2` is a
// bit field of 2 bits, and `a:8` also a byte.
offsets! {
    task_pid = "task_struct"."pid",
    task_tgid = "task_struct"."tgid",
    task_stack = "task_struct"."stack",
    task_comm = "task_struct"."comm",
    task_flags = "task_struct"."flags",
    // 5.14 (2f064a59a11f) renamed `state`.
    task_state = "task_struct"."__state|state",
    task_on_cpu = "task_struct"."on_cpu",
    task_on_rq = "task_struct"."on_rq",
    task_exec_ns = "task_struct"."se.sum_exec_runtime",
    task_run_delay_ns = "task_struct"."sched_info.run_delay",
    task_cfs_rq = "task_struct"."se.cfs_rq",
    task_sched_delayed = "task_struct"."se.sched_delayed",
    // Until 6.6 by another clock, until 5.19 under another name.
    cfs_throttled_ns = "cfs_rq"."throttled_clock_self_time|throttled_clock_pelt_time|throttled_clock_task_time",
    cfs_throttle_count = "cfs_rq"."throttle_count",
    cfs_group = "cfs_rq"."tg",
    task_sched_group = "task_struct"."sched_task_group",
    task_in_iowait = "task_struct"."in_iowait",
    // 5.12 (1066d1b6974e); before, a flag.
    task_in_memstall = "task_struct"."in_memstall",
    task_utime = "task_struct"."utime",
    task_stime = "task_struct"."stime",
    task_nvcsw = "task_struct"."nvcsw",
    task_nivcsw = "task_struct"."nivcsw",
    task_min_flt = "task_struct"."min_flt",
    task_maj_flt = "task_struct"."maj_flt",
    task_group_leader = "task_struct"."group_leader",
    task_parent = "task_struct"."real_parent",
    // 5.5 (cf25e24db61c) renamed `real_start_time`.
    task_start_ns = "task_struct"."start_boottime|real_start_time",
    task_cred = "task_struct"."cred",
    task_files = "task_struct"."files",
    task_nsproxy = "task_struct"."nsproxy",
    task_read_bytes = "task_struct"."ioac.read_bytes",
    task_write_bytes = "task_struct"."ioac.write_bytes",
    // x86 only: tells 32-bit calls, whose numbers differ.
    task_status = "task_struct"."thread_info.status",
    cred_uid = "cred"."uid",
    nsproxy_net = "nsproxy"."net_ns",
    net_inum = "net"."ns.inum",
    regs_call = "pt_regs"."orig_ax",
    regs_arg0 = "pt_regs"."di",
    regs_arg2 = "pt_regs"."dx",
    regs_arg3 = "pt_regs"."r10",
    files_fdt = "files_struct"."fdt",
    fdt_fd = "fdtable"."fd",
    fdt_max = "fdtable"."max_fds",
    file_inode = "file"."f_inode",
    file_private = "file"."private_data",
    file_flags = "file"."f_flags",
    file_position = "file"."f_pos",
    inode_mode = "inode"."i_mode",
    inode_block_bits = "inode"."i_blkbits",
    inode_number = "inode"."i_ino",
    inode_super = "inode"."i_sb",
    inode_generation = "inode"."i_generation",
    inode_mapping = "inode"."i_mapping",
    // The first of its names, by a member of that.
    inode_alias = "inode"."i_dentry.first",
    // 7.0 dropped the name of the union.
    dentry_alias = "dentry"."d_u.d_alias|d_alias",
    dentry_name = "dentry"."d_name.name",
    dentry_parent = "dentry"."d_parent",
    super_magic = "super_block"."s_magic",
    super_device = "super_block"."s_dev",
    // Who holds it alone, and thus writes. On PREEMPT_RT it is another lock.
    inode_owner = "inode"."i_rwsem.owner|i_rwsem.rwbase.rtmutex.owner",
    mapping_inode = "address_space"."host",
    // The beginning of a folio, too.
    page_flags = "page"."flags",
    page_mapping = "page"."mapping",
    // Of other than the first page of several: where that is, plus 1.
    page_head = "page"."compound_head|compound_info",
    // Of a large folio; before, in the second page of a compound page.
    folio_pages = "folio"."_nr_pages|_folio_nr_pages",
    page_pages = "page"."compound_nr",
    request_bio = "request"."bio",
    bio_vector = "bio"."bi_io_vec",
    bio_flags = "bio"."bi_flags",
    bio_sector = "bio"."bi_iter.bi_sector",
    bio_bytes = "bio"."bi_iter.bi_size",
    vector_page = "bio_vec"."bv_page",
    request_queue = "request"."q",
    request_cmd_flags = "request"."cmd_flags",
    request_rq_flags = "request"."rq_flags",
    request_data_len = "request"."__data_len",
    request_sector = "request"."__sector",
    request_start_ns = "request"."start_time_ns",
    request_part = "request"."part",
    // Until 5.11 (0d02129e76ed) that is another struct.
    part_number = "hd_struct"."__dev.devt",
    // Until 5.16 (f3fa33acca9f) the disk hangs on the request, then on its queue.
    request_disk = "request"."rq_disk",
    queue_disk = "request_queue"."disk",
    disk_major = "gendisk"."major",
    disk_minor = "gendisk"."first_minor",
    journal_device = "journal_s"."j_fs_dev",
    device_number = "block_device"."bd_dev",
    transaction_requested = "transaction_s"."t_requested",
    uring_file = "io_kiocb"."file",
    uring_opcode = "io_kiocb"."opcode",
    uring_flags = "io_kiocb"."flags",
    uring_ring = "io_kiocb"."ctx",
    // 5.16 (d81499bfcd47) put it into a completion of the request's own.
    uring_user_data = "io_kiocb"."cqe.user_data|user_data",
    sock_family = "sock_common"."skc_family",
    sock_state = "sock_common"."skc_state",
    sock_dport = "sock_common"."skc_dport",
    sock_num = "sock_common"."skc_num",
    // What is left of the local port once a closing socket has given it back.
    sock_sport = "inet_sock"."inet_sport",
    sock_daddr = "sock_common"."skc_daddr",
    sock_saddr = "sock_common"."skc_rcv_saddr",
    sock_v6_daddr = "sock_common"."skc_v6_daddr",
    sock_v6_saddr = "sock_common"."skc_v6_rcv_saddr",
    sock_net = "sock_common"."skc_net.net",
    sock_cookie = "sock_common"."skc_cookie",
    sock_uid = "sock"."sk_uid",
    sock_err = "sock"."sk_err",
    sock_drops = "sock"."sk_drops",
    sock_ack_backlog = "sock"."sk_ack_backlog",
    sock_max_ack_backlog = "sock"."sk_max_ack_backlog",
    sock_protocol = "sock"."sk_protocol",
    socket_sk = "socket"."sk",
    tcp_srtt = "tcp_sock"."srtt_us",
    tcp_rttvar = "tcp_sock"."mdev_us",
    tcp_min_rtt = "tcp_sock"."rtt_min",
    tcp_cwnd = "tcp_sock"."snd_cwnd",
    tcp_ssthresh = "tcp_sock"."snd_ssthresh",
    tcp_mss = "tcp_sock"."mss_cache",
    tcp_snd_wnd = "tcp_sock"."snd_wnd",
    tcp_packets_out = "tcp_sock"."packets_out",
    tcp_lost_out = "tcp_sock"."lost_out",
    tcp_total_retrans = "tcp_sock"."total_retrans",
    tcp_bytes_sent = "tcp_sock"."bytes_sent",
    tcp_bytes_acked = "tcp_sock"."bytes_acked",
    tcp_bytes_retrans = "tcp_sock"."bytes_retrans",
    tcp_bytes_received = "tcp_sock"."bytes_received",
    tcp_segs_out = "tcp_sock"."segs_out",
    tcp_segs_in = "tcp_sock"."segs_in",
    tcp_rcv_nxt = "tcp_sock"."rcv_nxt",
    tcp_copied_seq = "tcp_sock"."copied_seq",
    tcp_write_seq = "tcp_sock"."write_seq",
    tcp_snd_una = "tcp_sock"."snd_una",
    tcp_snd_nxt = "tcp_sock"."snd_nxt",
    // End of the last segment sent that was not full.
    nagle_small = "tcp_sock"."snd_sml",
    nagle_off = "tcp_sock"."nonagle:4",
    // When that was sent which is in flight alone, or which was acknowledged last.
    nagle_sent = "tcp_sock"."first_tx_mstamp",
    tcp_chrono_start = "tcp_sock"."chrono_start",
    tcp_chrono_stat = "tcp_sock"."chrono_stat",
    // A bit field until 6.12, a byte in 6.18.
    tcp_chrono_type = "tcp_sock"."chrono_type:2|chrono_type:8",
    tcp_wstamp = "tcp_sock"."tcp_wstamp_ns",
    tcp_cwnd_limited = "tcp_sock"."is_cwnd_limited",
    tcp_ca_state = "inet_connection_sock"."icsk_ca_state:5",
    sock_sndbuf = "sock"."sk_sndbuf",
    sock_tsq_flags = "sock"."sk_tsq_flags",
    sock_pacing_status = "sock"."sk_pacing_status",
    skb_cb = "sk_buff"."cb",
    skb_tcp_segments = "tcp_skb_cb"."tcp_gso_segs",
}
