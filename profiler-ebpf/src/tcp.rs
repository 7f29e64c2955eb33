//! Row `tcp`: sockets are exported by an iterator once per tick; hooks only see births, deaths and rare trouble.
//!
//! SAFETY: `bpf_skc_to_tcp_sock` proves the type of a socket before any of its TCP fields is read.

mod exchange;
mod limit;
mod list;
pub mod mark;
#[cfg(not(feature = "hash-tasks"))]
mod nagle;
mod remains;

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::generated as helpers;
use profiler_common::exchange::role;
use profiler_common::file::{kind, kind_of_mode};
use profiler_common::limit::chrono::BUSY;
use profiler_common::lost::Lost;
use profiler_common::tcp::{HolderRecord, SocketOwner, SocketRecord, event, exit, failure, state};

use crate::emit::{self, lost};
use crate::file::file_of;
use crate::kernel::{
    Counter, Hook, Life, Object, Pointer, RAW, TYPED, comm_of, config, current, hook, now, offset, probe, process_of,
};
use crate::maps::{NEWS, SOCKETS, Socket, TCP_EVENTS};

pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;

hook!("inet_sock_set_state", inet_sock_set_state, inet_sock_set_state_raw, set_state);
hook!("tcp_destroy_sock", tcp_destroy_sock, tcp_destroy_sock_raw, destroy);
hook!("tcp_retransmit_skb", tcp_retransmit_skb, tcp_retransmit_skb_raw, retransmit);
hook!("tcp_retransmit_synack", tcp_retransmit_synack, tcp_retransmit_synack_raw, retransmit_synack);
hook!("tcp_send_reset", tcp_send_reset, tcp_send_reset_raw, reset_sent);
hook!("tcp_receive_reset", tcp_receive_reset, tcp_receive_reset_raw, reset_received);

#[inline(always)]
fn count(event: u32) {
    count_all(event, 1);
}

#[inline(always)]
fn count_all(event: u32, times: u64) {
    if let Some(count) = TCP_EVENTS.get_ptr_mut(event) {
        u64::add(count, times);
    }
}

/// `tcp_retransmit_skb(sk, skb)`: a buffer may hold many segments.
#[inline(always)]
fn retransmit<H: Hook>(hook: H) {
    let segments: u16 = hook.read(hook.object::<1>(), offset!(skb_cb) + offset!(skb_tcp_segments));
    count_all(event::RETRANSMIT, segments.into());
}

#[inline(always)]
fn retransmit_synack<H: Hook>(_: H) {
    count(event::RETRANSMIT_SYNACK);
}

#[inline(always)]
fn reset_sent<H: Hook>(_: H) {
    count(event::RESET_SENT);
}

#[inline(always)]
fn reset_received<H: Hook>(_: H) {
    count(event::RESET_RECEIVED);
}

/// `inet_sock_set_state(sk, old, new)`: opens and closes the books of a socket.
#[inline(always)]
fn set_state<H: Hook>(hook: H) {
    let socket = hook.object::<0>();
    let (old, new) = (hook.arg::<1>() as u32, hook.arg::<2>() as u32);
    if hook.read::<u16>(socket, offset!(sock_protocol)) != IPPROTO_TCP {
        return;
    }
    match (old, new) {
        // Both happen in the system call of whoever connects or listens. A listener asks nobody, and nobody asks it.
        (state::CLOSE, state::SYN_SENT) => open(hook, socket, role::CLIENT),
        (state::CLOSE, state::LISTEN) => open(hook, socket, role::UNKNOWN),
        (state::SYN_SENT, state::ESTABLISHED) => connected(hook, socket, event::CONNECTED, 0),
        (state::SYN_SENT, state::CLOSE) => {
            connected(hook, socket, event::CONNECT_FAILED, failure_of(hook, socket));
        }
        // A child of a listener, in the soft interrupt of its peer's packet: nobody's system call.
        (state::SYN_RECV, state::ESTABLISHED) => {
            count(event::ACCEPTED);
            open(hook, socket, role::SERVER);
        }
        // What its process may have nothing to do with.
        (_, state::CLOSE_WAIT | state::FIN_WAIT_1) => list::touch(hook.cookie(socket)),
        _ => {}
    }
}

#[inline(always)]
fn open<H: Hook>(hook: H, socket: Object, role: u32) {
    let mut owner = SocketOwner { opened_ns: now(), ..SocketOwner::default() };
    if role != role::SERVER {
        let task = current();
        (owner.process_start_ns, owner.pid) = process_of(task);
        owner.comm = comm_of(task);
    }
    let cookie = hook.cookie(socket);
    if SOCKETS.insert(cookie, Socket::new(owner, hook.number(socket)), BPF_ANY.into()).is_err() {
        lost(Lost::Socket);
    }
    list::touch(cookie);
    hook.mark(socket, Life::Begins(role));
}

impl Socket {
    #[inline(always)]
    fn new(owner: SocketOwner, address: u64) -> Self {
        Self { owner, address, told: [0; 5], listed: 0 }
    }
}

/// What is known of a socket since its birth.
#[inline(always)]
fn owner_of(cookie: u64) -> Option<*mut SocketOwner> {
    SOCKETS.get_ptr_mut(cookie).map(|socket| unsafe { &raw mut (*socket).owner })
}

#[inline(always)]
fn connected<H: Hook>(hook: H, socket: Object, event: u32, errno: u32) {
    count(event);
    if let Some(owner) = owner_of(hook.cookie(socket)) {
        unsafe {
            (*owner).connect_ns = now().wrapping_sub((*owner).opened_ns);
            (*owner).connect_errno = errno;
        }
    }
}

/// A call of the running process returned a descriptor of a connection that it took from a listener.
#[cfg_attr(not(feature = "hash-tasks"), unsafe(no_mangle), inline(never))]
#[cfg_attr(feature = "hash-tasks", inline(always))]
pub extern "C" fn tcp_accepted(descriptor: u32) -> u32 {
    let task = current();
    let file = file_of(task, descriptor);
    if file.is_null() {
        return 0;
    }
    let Some(socket) = tcp_socket_of(file) else { return 0 };
    let cookie = RAW.cookie(socket);
    let Some(owner) = owner_of(cookie) else { return 0 };
    list::touch(cookie);
    unsafe {
        if (*owner).pid == 0 {
            ((*owner).process_start_ns, (*owner).pid) = process_of(task);
            (*owner).comm = comm_of(task);
            if (*owner).opened_ns != 0 {
                (*owner).accept_ns = now().wrapping_sub((*owner).opened_ns);
            }
        }
    }
    0
}

/// Why a connect failed. Without a local port it was not even tried; with one, and no error, nobody waits for it any more.
#[inline(always)]
fn failure_of<H: Hook>(hook: H, socket: Object) -> u32 {
    let errno = hook.read::<u32>(socket, offset!(sock_err));
    let tcp = hook.tcp(socket);
    if errno != 0 || tcp.is_null() {
        return errno;
    }
    if hook.read::<u16>(tcp, offset!(sock_sport)) == 0 { failure::NO_PORT } else { failure::GIVEN_UP }
}

/// What a socket says for the last time.
#[repr(C)]
struct LastSocket {
    tag: u64,
    socket: SocketRecord,
}

#[inline(always)]
fn destroy<H: Hook>(hook: H) {
    let socket = hook.object::<0>();
    hook.mark(socket, Life::Ends);
    let cookie = hook.cookie(socket);
    let Some(owner) = owner_of(cookie).map(|owner| unsafe { *owner }) else { return };
    let _ = SOCKETS.remove(cookie);
    let tcp = hook.tcp(socket);
    if tcp.is_null() {
        return;
    }
    let Some(mut last) = emit::reserve::<LastSocket>() else { return };
    let to = last.as_ptr();
    unsafe {
        (*to).tag = exit::SOCKET;
        (*to).socket = SocketRecord { ended: 1, owner, cookie, at_ns: now(), ..SocketRecord::default() };
        describe(hook, &mut (*to).socket, tcp);
        describe_tcp(hook, &mut (*to).socket, tcp);
        limit::describe(hook, &mut (*to).socket, tcp, limit::chronos(hook, tcp));
    }
    last.submit();
}

/// What `iter/tcp` hands over.
#[repr(C)]
struct TcpContext {
    meta: Object,
    socket: Object,
}

/// Exports every TCP socket of a network namespace of which there is news. Requests are no full sockets: left out. What remains
/// of connections is counted. The kernel walks a table that is as large as the host's memory, however few sockets there are.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
extern "C" fn iter_tcp(context: *mut TcpContext) -> i32 {
    let socket = unsafe { (*context).socket };
    if socket.is_null() {
        return GO_ON;
    }
    if !list::goes_on() {
        return COME_BACK;
    }
    let Some(tcp) = tcp_of(socket) else {
        remains::count(socket);
        return GO_ON;
    };
    TYPED.mark(tcp, Life::Found);
    let cookie = TYPED.cookie(tcp);
    let told = match SOCKETS.get_ptr_mut(cookie).or_else(|| found(tcp, cookie)) {
        Some(socket) => list::tell(TYPED, tcp, cookie, socket),
        None => export(TYPED, tcp, cookie, SocketOwner::default()),
    };
    if told { GO_ON } else { COME_BACK }
}

/// It was there before us: remembers it, so that its end is reported.
#[inline(always)]
fn found(tcp: Object, cookie: u64) -> Option<*mut Socket> {
    let recovery_from = limit::recovery_from(TYPED, tcp, limit::chronos(TYPED, tcp)[BUSY]);
    let owner = SocketOwner { recovery_from, ..SocketOwner::default() };
    let _ = SOCKETS.insert(cookie, Socket::new(owner, TYPED.number(tcp)), BPF_NOEXIST.into());
    SOCKETS.get_ptr_mut(cookie)
}

/// What an iterator returns: go on, or come back with the same socket once user space says so: it has emptied [`NEWS`], or has
/// time for more.
const GO_ON: i32 = 0;
const COME_BACK: i32 = 1;

/// The TCP half of what an iterator hands over, if it is there and is one.
#[inline(always)]
fn tcp_of(socket: Object) -> Option<Object> {
    if socket.is_null() {
        return None;
    }
    let tcp = TYPED.tcp(socket);
    if tcp.is_null() { None } else { Some(tcp) }
}

/// Whether there was room for it.
#[inline(always)]
fn export<H: Hook>(from: H, tcp: Object, cookie: u64, owner: SocketOwner) -> bool {
    let Some(mut room) = NEWS.reserve::<SocketRecord>(0) else { return false };
    let record = unsafe { &mut *room.as_mut_ptr() };
    *record = SocketRecord { at_ns: now(), cookie, owner, ..SocketRecord::default() };
    describe(from, record, tcp);
    describe_tcp(from, record, tcp);
    limit::describe(from, record, tcp, limit::chronos(from, tcp));
    room.submit(emit::NO_WAKEUP);
    true
}

/// What all sockets have.
#[inline(always)]
fn describe<H: Hook>(from: H, record: &mut SocketRecord, socket: Object) {
    record.local = address(from, socket, offset!(sock_v6_saddr), offset!(sock_saddr));
    record.peer = address(from, socket, offset!(sock_v6_daddr), offset!(sock_daddr));
    record.local_port = from.read(socket, offset!(sock_num));
    if record.local_port == 0 {
        record.local_port = u16::from_be(from.read(socket, offset!(sock_sport)));
    }
    record.peer_port = u16::from_be(from.read(socket, offset!(sock_dport)));
    record.state = u32::from(from.read::<u8>(socket, offset!(sock_state)));
    record.netns = namespace(from, socket);
    record.uid = from.read(socket, offset!(sock_uid));
    record.drops = from.read(socket, offset!(sock_drops));
    record.accept_queue = from.read(socket, offset!(sock_ack_backlog));
    record.accept_limit = from.read(socket, offset!(sock_max_ack_backlog));
}

/// One of a socket's addresses, by where it is in either family.
#[inline(always)]
pub fn address<H: Hook>(from: H, socket: Object, v6: u32, v4: u32) -> [u8; 16] {
    match from.read::<u16>(socket, offset!(sock_family)) {
        AF_INET6 => from.read_16(socket, v6),
        AF_INET => mapped(from.read(socket, v4)),
        _ => [0; 16],
    }
}

/// Inode number of a socket's network namespace.
#[inline(always)]
pub fn namespace<H: Hook>(from: H, socket: Object) -> u32 {
    from.read(from.follow(from.plain(socket, config!(socket_type)), offset!(sock_net)), offset!(net_inum))
}

/// An IPv4 address inside an IPv6 one.
#[inline(always)]
fn mapped(address: u32) -> [u8; 16] {
    let [a, b, c, d] = address.to_ne_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// What TCP adds.
#[inline(always)]
fn describe_tcp<H: Hook>(from: H, record: &mut SocketRecord, tcp: Object) {
    record.bytes_sent = from.read(tcp, offset!(tcp_bytes_sent));
    record.bytes_acked = from.read(tcp, offset!(tcp_bytes_acked));
    record.bytes_retrans = from.read(tcp, offset!(tcp_bytes_retrans));
    record.bytes_received = from.read(tcp, offset!(tcp_bytes_received));
    record.srtt_us = from.read::<u32>(tcp, offset!(tcp_srtt)) >> 3;
    record.rttvar_us = from.read::<u32>(tcp, offset!(tcp_rttvar)) >> 2;
    // `struct minmax` keeps three samples of time and value; the first value is the minimum.
    record.min_rtt_us = from.read(tcp, offset!(tcp_min_rtt) + 4);
    record.cwnd = from.read(tcp, offset!(tcp_cwnd));
    record.ssthresh = from.read(tcp, offset!(tcp_ssthresh));
    record.mss = from.read(tcp, offset!(tcp_mss));
    record.send_window = from.read(tcp, offset!(tcp_snd_wnd));
    record.packets_out = from.read(tcp, offset!(tcp_packets_out));
    record.lost_out = from.read(tcp, offset!(tcp_lost_out));
    record.retransmits = from.read(tcp, offset!(tcp_total_retrans));
    record.segments_out = from.read(tcp, offset!(tcp_segs_out));
    record.segments_in = from.read(tcp, offset!(tcp_segs_in));
    record.receive_queue =
        from.read::<u32>(tcp, offset!(tcp_rcv_nxt)).wrapping_sub(from.read(tcp, offset!(tcp_copied_seq)));
    record.send_queue =
        from.read::<u32>(tcp, offset!(tcp_write_seq)).wrapping_sub(from.read(tcp, offset!(tcp_snd_una)));
}

/// What `iter/task_file` hands over.
#[repr(C)]
struct FileContext {
    meta: Object,
    task: Object,
    descriptor: u32,
    file: Object,
}

/// Exports who holds which TCP or UDP socket. Runs only when a socket without an owner shows up: it looks at every open file.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn iter_task_file(context: *mut FileContext) -> i32 {
    let (meta, task, file) = unsafe { ((*context).meta, (*context).task, (*context).file) };
    if task.is_null() || file.is_null() {
        return GO_ON;
    }
    if !list::goes_on() {
        return COME_BACK;
    }
    let Some(cookie) = cookie_of(file) else { return GO_ON };
    let leader = TYPED.follow(TYPED.plain(task, config!(task_type)), offset!(task_group_leader));
    let record = HolderRecord {
        cookie,
        opened_ns: owner_of(cookie).map_or(0, |owner| unsafe { (*owner).opened_ns }),
        process_start_ns: TYPED.read(leader, offset!(task_start_ns)),
        pid: TYPED.read(task, offset!(task_tgid)),
        fd: unsafe { (*context).descriptor },
        comm: TYPED.read_16(leader, offset!(task_comm)),
    };
    emit::write(meta, &raw const record);
    GO_ON
}

/// The cookie of the TCP or UDP socket behind an open file, if there is one.
#[inline(always)]
fn cookie_of(file: Object) -> Option<u64> {
    if cfg!(feature = "hash-tasks") {
        return untyped_cookie_of(file);
    }
    // 5.11 (4f19cab76136)
    let socket = unsafe { helpers::bpf_sock_from_file(file as *mut _) } as Object;
    if socket.is_null() {
        return None;
    }
    let socket = TYPED.follow(socket, offset!(socket_sk));
    match tcp_of(socket) {
        Some(tcp) => Some(TYPED.cookie(tcp)),
        None if socket.is_null() => None,
        None => is_internet(TYPED, socket, IPPROTO_UDP).then(|| TYPED.cookie(socket)),
    }
}

/// The same where no helper knows sockets: files of this mode cannot be opened by name, so their private data is one.
#[inline(always)]
fn untyped_cookie_of(file: Object) -> Option<u64> {
    let mode: u16 = TYPED.read(TYPED.follow(file, offset!(file_inode)), offset!(inode_mode));
    if kind_of_mode(mode) != kind::SOCKET {
        return None;
    }
    let socket = socket_of(file);
    let is_told = is_internet(RAW, socket, IPPROTO_TCP) || is_internet(RAW, socket, IPPROTO_UDP);
    is_told.then(|| TYPED.cookie(socket))
}

/// The TCP socket behind an open file that is a socket.
#[inline(always)]
pub fn tcp_socket_of(file: Object) -> Option<Object> {
    let socket = socket_of(file);
    is_internet(RAW, socket, IPPROTO_TCP).then_some(socket)
}

/// The kernel's half of the socket behind an open file that is one.
#[inline(always)]
fn socket_of(file: Object) -> Object {
    probe::<Pointer>(probe::<Pointer>(file, offset!(file_private)).0, offset!(socket_sk)).0
}

/// Whether a socket is of this protocol, over IPv4 or IPv6: numbers of protocols of other families mean others.
#[inline(always)]
fn is_internet<H: Hook>(from: H, socket: Object, protocol: u16) -> bool {
    let family: u16 = from.read(socket, offset!(sock_family));
    (family == AF_INET || family == AF_INET6) && from.read::<u16>(socket, offset!(sock_protocol)) == protocol
}
