//! Row `tcp`: sockets as exported once per tick by an iterator, and once more when they are destroyed.

use crate::COMM_LEN;
use crate::limit::chrono::CHRONOS;

/// Host-wide TCP events, as indexes into the kernel's counter array.
pub mod event {
    /// Segments sent again (those of each buffer of `tcp_retransmit_skb`).
    pub const RETRANSMIT: u32 = 0;
    /// SYN-ACKs sent again (`tcp_retransmit_synack`). With the former = SNMP `RetransSegs`.
    pub const RETRANSMIT_SYNACK: u32 = 1;
    /// Resets sent.
    pub const RESET_SENT: u32 = 2;
    /// Resets received.
    pub const RESET_RECEIVED: u32 = 3;
    /// Connections that we opened and that were answered.
    pub const CONNECTED: u32 = 4;
    /// Connections that we tried to open in vain.
    pub const CONNECT_FAILED: u32 = 5;
    /// Connections that peers opened.
    pub const ACCEPTED: u32 = 6;
}

/// Number of events.
pub const EVENTS: usize = 7;

/// Names of the events in reports, in order.
pub const EVENT_NAMES: [&str; EVENTS] =
    ["retransmits", "synack_retransmits", "resets_sent", "resets_received", "connects", "connect_failures", "accepts"];

/// What user space says before each pass over sockets, and what it hears.
pub mod pass {
    /// Where it says the number of the pass, in the low half, with [`ALL`] and [`KEEP`].
    pub const PASS: u32 = 0;
    /// Where it says the number of the look at all sockets, which may take several passes.
    pub const LOOK: u32 = 1;
    /// Where it says at how many sockets the iterator looks before it asks whether to go on.
    pub const LEFT: u32 = 2;
    /// How many numbers these are.
    pub const WORDS: u32 = 3;

    /// All that are looked at are exported, whether anything has happened on them or not.
    pub const ALL: u64 = 1 << 32;
    /// All that are looked at stay on the list: nobody says that something happens on them.
    pub const KEEP: u64 = 1 << 33;

    /// What a run over the list returns: there are more.
    pub const MORE: u32 = 0;
    /// All were looked at.
    pub const DONE: u32 = 1;
    /// There may be more, once the records of these are read.
    pub const FULL: u32 = 2;
}

/// States of `sock_common.skc_state` that we tell apart by name.
pub mod state {
    /// Open in both directions.
    pub const ESTABLISHED: u32 = 1;
    /// Its own process has closed it.
    pub const FIN_WAIT_1: u32 = 4;
    /// What remains of a connection that was closed here first.
    pub const TIME_WAIT: u32 = 6;
    /// Its peer has closed, its own process has not.
    pub const CLOSE_WAIT: u32 = 8;
    /// We sent a SYN.
    pub const SYN_SENT: u32 = 2;
    /// No connection.
    pub const CLOSE: u32 = 7;
    /// Waits for connections.
    pub const LISTEN: u32 = 10;
    /// A connection that was asked for, and for which there is no socket yet.
    pub const NEW_SYN_RECV: u32 = 12;
    /// A connection that is not yet accepted (child of a listener).
    pub const SYN_RECV: u32 = 3;
}

/// Why connects fail, by the error that the process is told.
pub mod failure {
    /// No local port was left for the peer (`EADDRNOTAVAIL`); the socket itself keeps no error.
    pub const NO_PORT: u32 = 99;
    /// Its process gave up before there was an answer (`ECANCELED`); the socket keeps no error.
    pub const GIVEN_UP: u32 = 125;

    /// Kinds of failures, with the errors that are one.
    pub const FAILURES: [(&str, &[u32]); 6] = [
        // ECONNREFUSED
        ("refused", &[111]),
        // ETIMEDOUT
        ("timed out", &[110]),
        // ENETUNREACH, EHOSTUNREACH
        ("unreachable", &[101, 113]),
        ("no port", &[NO_PORT]),
        ("given up", &[GIVEN_UP]),
        ("other", &[]),
    ];

    /// Index of a kind.
    #[must_use]
    pub fn kind(errno: u32) -> usize {
        FAILURES.iter().position(|(_, errnos)| errnos.contains(&errno)).unwrap_or(FAILURES.len() - 1)
    }
}

/// What is known of a socket since its birth, because we saw it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOwner {
    /// Start of the process that connected, accepted or listens, 0 if nobody was seen.
    pub process_start_ns: u64,
    /// When it left `CLOSE`: SYN sent, or listening, or established by a peer.
    pub opened_ns: u64,
    /// SYN sent → established or given up; 0 while unknown.
    pub connect_ns: u64,
    /// Established → accepted; 0 while unknown.
    pub accept_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Error with which the connect failed (`sk_err`, or one of [`failure`]), else 0.
    pub connect_errno: u32,
    /// Name of the thread.
    pub comm: [u8; COMM_LEN],
    /// Jiffies of [`crate::limit::chrono::BUSY`] in which it recovered from loss. In a map, those of the recovery under way are
    /// missing.
    pub recovery: u32,
    /// What that clock said when the recovery under way began, plus 1; 0 if there is none.
    pub recovery_from: u32,
    /// How often a segment was not acknowledged in time, and the state became Loss.
    pub timeouts: u32,
    /// How often loss was told by acknowledgements, and the state became Recovery.
    pub recoveries: u32,
}

const _: () = assert!(size_of::<SocketOwner>() == 72);

/// One socket. Byte and segment counts only grow; the rest is its state at [`Self::at_ns`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketRecord {
    /// `CLOCK_MONOTONIC` of this export.
    pub at_ns: u64,
    /// Socket cookie: unique while the host is up.
    pub cookie: u64,
    /// Bytes sent, repeats included (`tcp_sock.bytes_sent`).
    pub bytes_sent: u64,
    /// Bytes that the peer acknowledged.
    pub bytes_acked: u64,
    /// Bytes sent again.
    pub bytes_retrans: u64,
    /// Bytes received in order.
    pub bytes_received: u64,
    /// What is known since its birth.
    pub owner: SocketOwner,
    /// Local address, IPv4 mapped into IPv6.
    pub local: [u8; 16],
    /// Peer's address.
    pub peer: [u8; 16],
    /// Local port, host order.
    pub local_port: u16,
    /// Peer's port, host order.
    pub peer_port: u16,
    /// Inode number of its network namespace.
    pub netns: u32,
    /// User that made it.
    pub uid: u32,
    /// `skc_state`.
    pub state: u32,
    /// 1 in the record that is written when the socket is destroyed.
    pub ended: u32,
    /// Smoothed round-trip time, µs (the kernel's value / 8); 0 before the first sample.
    pub srtt_us: u32,
    /// Its mean deviation, µs (the kernel's value / 4).
    pub rttvar_us: u32,
    /// Least round-trip time seen in the kernel's window, µs; `u32::MAX` before the first sample.
    pub min_rtt_us: u32,
    /// Congestion window, segments.
    pub cwnd: u32,
    /// Slow-start threshold, segments.
    pub ssthresh: u32,
    /// Segment size, bytes.
    pub mss: u32,
    /// Peer's receive window, bytes.
    pub send_window: u32,
    /// Segments in flight.
    pub packets_out: u32,
    /// Segments thought lost.
    pub lost_out: u32,
    /// Segments sent again since its birth.
    pub retransmits: u32,
    /// Segments sent.
    pub segments_out: u32,
    /// Segments received.
    pub segments_in: u32,
    /// Bytes received and not yet read by the application.
    pub receive_queue: u32,
    /// Bytes written by the application and not yet acknowledged.
    pub send_queue: u32,
    /// Listener: connections that wait for `accept`.
    pub accept_queue: u32,
    /// Listener: limit of the former.
    pub accept_limit: u32,
    /// Packets dropped at this socket; of a listener, SYNs and handshakes refused.
    pub drops: u32,
    /// Jiffies since its birth by [`crate::limit::chrono`], up to now (`tcp_sock.chrono_stat`).
    pub chrono: [u32; CHRONOS],
    /// Room for what is sent and not acknowledged, and for what is not sent, bytes (`sk_sndbuf`; `tb` of `ss -m`).
    pub send_buffer: u32,
    /// Bytes written by the application and not yet sent.
    pub unsent: u32,
    /// 1 if the last window that was sent used up the congestion window (`is_cwnd_limited`).
    pub cwnd_limited: u8,
    /// 1 if it may send no more until something of it has left this host (`TSQ_THROTTLED`).
    pub throttled: u8,
    /// 1 if what is not sent has to wait for its turn (`tcp_wstamp_ns` is to come).
    pub paced: u8,
    /// 1 if the queue of the device paces it (`fq`): what waits there, waits for its turn as well.
    pub queue_paces: u8,
}

const _: () = assert!(size_of::<SocketRecord>() == 264);

/// Where connections went whose remains (TIME-WAIT, for a minute) keep local ports of the same name from each other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeWaitKey {
    /// Address of the peer, IPv4 mapped into IPv6.
    pub address: [u8; 16],
    /// Its port, host order.
    pub port: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
}

const _: () = assert!(size_of::<TimeWaitKey>() == 24);

/// How many there are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeWaits {
    /// Remains of connections.
    pub count: u32,
    /// Look at all sockets in which they were counted, see [`pass`].
    pub look: u32,
}

const _: () = assert!(size_of::<TimeWaits>() == 8);

/// Who holds a TCP socket, one per descriptor, from the iterator over open files.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HolderRecord {
    /// Socket cookie.
    pub cookie: u64,
    /// When the socket was opened, as in [`SocketOwner`].
    pub opened_ns: u64,
    /// Start of the process.
    pub process_start_ns: u64,
    /// Process id.
    pub pid: u32,
    /// File descriptor.
    pub fd: u32,
    /// Name of the process.
    pub comm: [u8; COMM_LEN],
}

const _: () = assert!(size_of::<HolderRecord>() == 48);

/// What user space knows a socket by: its cookie. An address in the place of a cookie is soon that of another socket, which is
/// told by when it was opened.
#[must_use]
pub const fn identity(cookie: u64, opened_ns: u64) -> u64 {
    let is_address = cookie >> 63 != 0;
    if is_address { cookie ^ opened_ns.rotate_left(16) } else { cookie }
}

/// First word of a record in the exit ring.
pub mod exit {
    /// A [`crate::task::TaskRecord`] with its calls.
    pub const TASK: u64 = 1;
    /// A [`SocketRecord`].
    pub const SOCKET: u64 = 2;
    /// A [`crate::exchange::SlowExchange`].
    pub const EXCHANGE: u64 = 3;
}
