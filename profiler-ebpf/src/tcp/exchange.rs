//! Exchanges: how long a server takes to answer, and how long a client waits. The definition is in
//! [`profiler_common::exchange`].
//!
//! Both hooks pass every send and receive on every socket, `io_uring` and `sendfile` included, in the context of whoever makes
//! it, when it is over; only what is spliced out of a socket they do not see. So most of it must be cheap: what is neither TCP
//! nor connected to a name server ends before anything is looked up, the clock is read where an exchange begins or ends, and
//! only the end looks at anything else. Two threads that answer one request at the same moment may both end it.
//!
//! They exist since 6.3 (6e6eda44b939), where all kernels have typed sockets, so there is no twin in `raw_tp`.
//!
//! SAFETY: records are shared between CPUs and only added to; slot indexes are below the number of slots.

#[cfg(not(feature = "hash-tasks"))]
mod typed {
    use core::ffi::c_void;

    use profiler_common::exchange::{
        ExchangeKey, ExchangeRecord, SPENT_DOUBT_SHIFT, SPENT_MAX_NS, SPENT_SHIFT, STALL_MIN_NS, SlowExchange, role,
        slow_mark, spent as why,
    };
    use profiler_common::hist::{LINEAR32_SLOTS, linear32_slot};
    use profiler_common::lost::Lost;
    use profiler_common::tcp::{exit, state};

    use crate::emit::{self, lost};
    use crate::kernel::{
        Counter, Hook, Object, TYPED, Typed, current, now, offset, process_of, read_current, unpreempted,
    };
    use crate::maps::{EXCHANGES, LISTENING, Made as _};
    use crate::task::spent;
    use crate::tcp::mark::{Mark, get, get_or_make};
    use crate::tcp::{IPPROTO_TCP, IPPROTO_UDP, address, list, nagle, namespace};

    /// `MSG_PEEK | MSG_ERRQUEUE`: nothing of the stream is received.
    const NOT_RECEIVED: u32 = 2 | 0x2000;
    const DNS_PORT: u16 = 53;
    /// After so long without an answer, resolvers have given up: what is sent then is another query.
    const GIVEN_UP_NS: u64 = 30_000_000_000;
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
        if hook.arg::<1>() as i32 <= 0 {
            return;
        }
        match hook.read::<u16>(socket, offset!(sock_protocol)) {
            IPPROTO_TCP => {}
            IPPROTO_UDP if hook.read::<u16>(socket, offset!(sock_dport)) == DNS_PORT.to_be() => {
                return queried(hook, socket, begins == role::CLIENT);
            }
            _ => return,
        }
        // Of netlink, protocol 6 is another one, but no such socket is listed.
        let mark = get(socket);
        if mark.is_null() {
            return;
        }
        unsafe {
            let pass = list::pass();
            if (*mark).listed != pass {
                (*mark).listed = pass;
                list::touch(hook.cookie(socket));
            }
            if (*mark).role == begins {
                begin(mark, now());
            } else if (*mark).begun_ns != 0 {
                let begun = (*mark).begun_ns;
                (*mark).begun_ns = 0;
                if let Some(found) = record_of(hook, socket, (*mark).role) {
                    end(hook, socket, mark, begun, found);
                }
            }
            let sends = begins == role::CLIENT;
            if sends || (*mark).held_ns != 0 {
                watch(hook, socket, mark, sends);
            }
        }
    }

    /// Books a write that was held back, once it is sent.
    #[inline(always)]
    unsafe fn watch(hook: Typed, socket: Object, mark: *mut Mark, sends: bool) {
        let tcp = hook.tcp(socket);
        if tcp.is_null() {
            return;
        }
        let held_ns = unsafe { nagle::watch(hook, tcp, mark, sends) };
        if held_ns < STALL_MIN_NS {
            return;
        }
        let Some((_, record)) = record_of(hook, socket, unsafe { (*mark).role }) else { return };
        unsafe {
            u64::add(&raw mut (*record).stalls, 1);
            u64::add(&raw mut (*record).stall_ns, held_ns);
            u64::add(&raw mut (*record).stall_rtt_ns, least_rtt_ns(hook, tcp).unwrap_or(0));
            (*record).stall_socket = hook.cookie(socket);
        }
    }

    /// A datagram went to a name server that the socket is connected to, or came from it. A query that is asked again while there
    /// is no answer is still the first one. Who gives up closes the socket, which nothing tells: so datagrams are counted each way,
    /// and those that are missing were never answered.
    #[inline(always)]
    fn queried(hook: Typed, socket: Object, asks: bool) {
        let mark = if asks { get_or_make(socket) } else { get(socket) };
        if mark.is_null() {
            return;
        }
        let Some(found) = record_of(hook, socket, role::CLIENT) else { return };
        let record = found.1;
        unsafe {
            let begun = (*mark).begun_ns;
            if asks {
                u64::add(&raw mut (*record).asked, 1);
                let at_ns = now();
                if begun == 0 || at_ns.wrapping_sub(begun) > GIVEN_UP_NS {
                    begin(mark, at_ns);
                }
                return;
            }
            u64::add(&raw mut (*record).answered, 1);
            if begun != 0 {
                (*mark).begun_ns = 0;
                end(hook, socket, mark, begun, found);
            }
        }
    }

    /// Where the thread has been until now is noted as well: nobody knows which exchange is going to be the slowest.
    #[inline(always)]
    unsafe fn begin(mark: *mut Mark, at_ns: u64) {
        let task = current();
        unsafe {
            (*mark).begun_ns = at_ns;
            (*mark).doubt = spent::read(&raw mut (*mark).spent, at_ns);
            (*mark).begun_by = read_current(task, offset!(task_pid));
        }
    }

    #[inline(always)]
    fn end(
        hook: Typed,
        socket: Object,
        mark: *mut Mark,
        begun: u64,
        (key, record): (ExchangeKey, *mut ExchangeRecord),
    ) {
        let at_ns = now();
        if at_ns < begun {
            return lost(Lost::ClockSkew);
        }
        let time_ns = at_ns - begun;
        unsafe {
            u64::add(&raw mut (*record).count, 1);
            u64::add(&raw mut (*record).time_ns, time_ns);
            let slot = linear32_slot(time_ns);
            if slot < LINEAR32_SLOTS {
                u32::add((&raw mut (*record).time).cast::<u32>().add(slot), 1);
            }
            if key.role == role::CLIENT {
                compare(hook, socket, record, time_ns);
            }
            let slowness = slow_mark(at_ns, time_ns);
            // Of two CPUs at the same moment, the slower one may leave no mark: both are told.
            if slowness > (*record).slowest {
                (*record).slowest = slowness;
                tell(hook, socket, mark, key, at_ns, time_ns);
            }
        }
    }

    /// What is counted of whoever runs and of a socket.
    #[inline(always)]
    fn record_of(hook: Typed, socket: Object, role: u32) -> Option<(ExchangeKey, *mut ExchangeRecord)> {
        let key = key_of(hook, socket, role);
        let record = EXCHANGES.get_or_make(&key, &EMPTY);
        if record.is_none() {
            lost(Lost::Exchange);
        }
        record.map(|record| (key, record))
    }

    /// Adds the round-trip time that a wait had to last at least.
    #[inline(always)]
    unsafe fn compare(hook: Typed, socket: Object, record: *mut ExchangeRecord, time_ns: u64) {
        let tcp = hook.tcp(socket);
        if tcp.is_null() {
            return;
        }
        let Some(rtt_ns) = least_rtt_ns(hook, tcp) else { return };
        unsafe {
            u64::add(&raw mut (*record).timed, 1);
            u64::add(&raw mut (*record).rtt_ns, rtt_ns);
            if time_ns < rtt_ns {
                u64::add(&raw mut (*record).shorter, 1);
            }
        }
    }

    /// The least round-trip time of a connection, once it has one.
    #[inline(always)]
    fn least_rtt_ns(hook: Typed, tcp: Object) -> Option<u64> {
        // The value of the first sample, as in the export.
        let rtt: u32 = hook.read(tcp, offset!(tcp_min_rtt) + 4);
        (rtt != NO_RTT).then(|| u64::from(rtt) * 1_000)
    }

    /// What is told at once.
    #[repr(C)]
    struct Told {
        tag: u64,
        exchange: SlowExchange,
    }

    #[inline(always)]
    unsafe fn tell(hook: Typed, socket: Object, mark: *mut Mark, key: ExchangeKey, at_ns: u64, time_ns: u64) {
        let Some(mut told) = emit::reserve::<Told>() else { return };
        let to = told.as_ptr();
        let task = current();
        unsafe {
            (*to).tag = exit::EXCHANGE;
            let to = &raw mut (*to).exchange;
            (*to).key = key;
            (*to).cookie = hook.cookie(socket);
            (*to).at_ns = at_ns;
            (*to).time_ns = time_ns;
            (*to).tid = read_current(task, offset!(task_pid));
            (*to).spent = [0; _];
            (*to).told = if (*mark).begun_by != (*to).tid {
                why::OTHER_THREAD
            } else if time_ns > SPENT_MAX_NS {
                why::TOO_LONG
            } else {
                let before = (*mark).doubt;
                let doubt = spent::since(&raw mut (*to).spent, &raw const (*mark).spent, at_ns);
                let doubt_ns = (u64::from(before) + u64::from(doubt)) << SPENT_SHIFT;
                if doubt_ns <= time_ns >> SPENT_DOUBT_SHIFT {
                    why::TOLD
                } else if before == spent::SKEWED || doubt == spent::SKEWED {
                    why::SKEWED
                } else {
                    why::UNSETTLED
                }
            };
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

#[cfg(not(feature = "hash-tasks"))]
pub use typed::role_of;
