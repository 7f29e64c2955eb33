//! Exchanges: how long a server takes to answer, and how long a client waits. The definition is in
//! [`profiler_common::exchange`].
//!
//! Both hooks pass every send and receive on every socket, `io_uring` and `sendfile` included, in the context of whoever makes
//! it, when it is over; only what is spliced out of a socket they do not see. So most of it must be cheap: what is not TCP
//! ends before anything is looked up, the clock is read where an exchange begins or ends, and only the end looks at anything
//! else. Two threads that answer one request at the same moment may both end it.
//!
//! They exist since 6.3 (6e6eda44b939), where all kernels have typed sockets, so there is no twin in `raw_tp`.
//!
//! SAFETY: records are shared between CPUs and only added to; slot indexes are below the number of slots.

#[cfg(not(feature = "hash-tasks"))]
mod typed {
    use core::ffi::c_void;

    use aya_ebpf::bindings::BPF_NOEXIST;
    use profiler_common::exchange::{ExchangeKey, ExchangeRecord, SlowExchange, role, slow_mark};
    use profiler_common::hist::{LINEAR32_SLOTS, linear32_slot};
    use profiler_common::lost::Lost;
    use profiler_common::tcp::{exit, state};

    use crate::emit::{self, lost};
    use crate::kernel::{
        Counter, Hook, Object, TYPED, Typed, current, now, offset, process_of, read_current, unpreempted,
    };
    use crate::maps::{EXCHANGES, LISTENING};
    use crate::tcp::list::get;
    use crate::tcp::{IPPROTO_TCP, address, namespace};

    /// `MSG_PEEK | MSG_ERRQUEUE`: nothing of the stream is received.
    const NOT_RECEIVED: u32 = 2 | 0x2000;
    /// `tcp_sock.rtt_min` before the first sample.
    const NO_RTT: u32 = u32::MAX;

    /// `sock_send_length(sk, ret, flags)`
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "tp_btf/sock_send_length")]
    extern "C" fn sock_send_length(context: *mut c_void) -> i32 {
        unpreempted(|| moved(Typed(context.cast()), role::CLIENT));
        0
    }

    /// `sock_recv_length(sk, ret, flags)`
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "tp_btf/sock_recv_length")]
    extern "C" fn sock_recv_length(context: *mut c_void) -> i32 {
        let hook = Typed(context.cast());
        if hook.arg::<2>() as u32 & NOT_RECEIVED == 0 {
            unpreempted(|| moved(hook, role::SERVER));
        }
        0
    }

    /// Something was sent or received, with which exchanges begin in the role of `begins`, and end in the other.
    #[inline(always)]
    fn moved(hook: Typed, begins: u32) {
        let socket = hook.object::<0>();
        if hook.arg::<1>() as i32 <= 0 || hook.read::<u16>(socket, offset!(sock_protocol)) != IPPROTO_TCP {
            return;
        }
        // Of netlink, protocol 6 is another one, but no such socket is listed.
        let mark = get(socket);
        if mark.is_null() {
            return;
        }
        unsafe {
            if (*mark).role == u64::from(begins) {
                (*mark).begun_ns = now();
                return;
            }
            let begun = (*mark).begun_ns;
            if begun != 0 {
                (*mark).begun_ns = 0;
                end(hook, socket, (*mark).role as u32, begun);
            }
        }
    }

    #[inline(always)]
    fn end(hook: Typed, socket: Object, role: u32, begun: u64) {
        let at_ns = now();
        if at_ns < begun {
            return lost(Lost::ClockSkew);
        }
        let time_ns = at_ns - begun;
        let key = key_of(hook, socket, role);
        let Some(record) = record_of(&key) else { return lost(Lost::Exchange) };
        unsafe {
            u64::add(&raw mut (*record).count, 1);
            u64::add(&raw mut (*record).time_ns, time_ns);
            let slot = linear32_slot(time_ns);
            if slot < LINEAR32_SLOTS {
                u32::add((&raw mut (*record).time).cast::<u32>().add(slot), 1);
            }
            if role == role::CLIENT {
                compare(hook, socket, record, time_ns);
            }
            let mark = slow_mark(at_ns, time_ns);
            // Of two CPUs at the same moment, the slower one may leave no mark: both are told.
            if mark > (*record).slowest {
                (*record).slowest = mark;
                tell(hook, socket, SlowExchange { key, at_ns, time_ns, ..SlowExchange::default() });
            }
        }
    }

    /// Asks once for what is there already.
    #[inline(always)]
    fn record_of(key: &ExchangeKey) -> Option<*mut ExchangeRecord> {
        let record = EXCHANGES.get_ptr_mut(key);
        if record.is_some() {
            return record;
        }
        let empty: &ExchangeRecord = &EMPTY;
        let _ = EXCHANGES.insert(key, empty, BPF_NOEXIST.into());
        EXCHANGES.get_ptr_mut(key)
    }

    /// Adds the round-trip time that a wait had to last at least.
    #[inline(always)]
    unsafe fn compare(hook: Typed, socket: Object, record: *mut ExchangeRecord, time_ns: u64) {
        let tcp = hook.tcp(socket);
        if tcp.is_null() {
            return;
        }
        // The value of the first sample, as in the export.
        let rtt: u32 = hook.read(tcp, offset!(tcp_min_rtt) + 4);
        if rtt == NO_RTT {
            return;
        }
        let rtt_ns = u64::from(rtt) * 1_000;
        unsafe {
            u64::add(&raw mut (*record).timed, 1);
            u64::add(&raw mut (*record).rtt_ns, rtt_ns);
            if time_ns < rtt_ns {
                u64::add(&raw mut (*record).shorter, 1);
            }
        }
    }

    /// What is told at once.
    #[repr(C)]
    struct Told {
        tag: u64,
        exchange: SlowExchange,
    }

    #[inline(always)]
    unsafe fn tell(hook: Typed, socket: Object, exchange: SlowExchange) {
        let Some(mut told) = emit::reserve::<Told>() else { return };
        let to = told.as_ptr();
        unsafe {
            (*to).tag = exit::EXCHANGE;
            (*to).exchange = exchange;
            (*to).exchange.cookie = hook.cookie(socket);
            (*to).exchange.tid = read_current(current(), offset!(task_pid));
        }
        told.submit();
    }

    #[inline(always)]
    fn key_of(hook: Typed, socket: Object, role: u32) -> ExchangeKey {
        let (process_start_ns, pid) = process_of(current());
        let (address, port) = if role == role::CLIENT {
            let port: u16 = hook.read(socket, offset!(sock_dport));
            (address(hook, socket, offset!(sock_v6_daddr), offset!(sock_daddr)), u16::from_be(port))
        } else {
            let port: u16 = hook.read(socket, offset!(sock_num));
            (address(hook, socket, offset!(sock_v6_saddr), offset!(sock_saddr)), port)
        };
        ExchangeKey { process_start_ns, pid, netns: namespace(hook, socket), address, port: port.into(), role }
    }

    /// The role of a socket that was there before us: who uses a port that somebody listens on has accepted the connection. The
    /// iterator over sockets visits listeners first.
    #[inline(always)]
    pub fn role_of(tcp: Object) -> u32 {
        let port: u16 = TYPED.read(tcp, offset!(sock_num));
        let at = u64::from(namespace(TYPED, tcp)) << 16 | u64::from(port);
        if u32::from(TYPED.read::<u8>(tcp, offset!(sock_state))) == state::LISTEN {
            let _ = LISTENING.insert(at, 0, 0);
            return role::UNKNOWN;
        }
        if LISTENING.get_ptr(at).is_some() { role::SERVER } else { role::CLIENT }
    }

    /// Too large for the stack.
    static EMPTY: ExchangeRecord = ExchangeRecord::EMPTY;
}

#[cfg(feature = "hash-tasks")]
mod typed {
    use profiler_common::exchange::role;

    use crate::kernel::Object;

    #[inline(always)]
    pub fn role_of(_tcp: Object) -> u32 {
        role::UNKNOWN
    }
}

pub use typed::role_of;
