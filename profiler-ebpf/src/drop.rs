//! Row `drop`: packets that the kernel drops. Both hooks are rare where nothing is lost: a closed TCP connection frees one
//! buffer with a reason, and what is sent and received none.
//!
//! SAFETY: counters come from the maps, and all that share them only add.

use profiler_common::drop::{DropKey, DropRecord, reason::REASONS};
use profiler_common::lost::Lost;
use profiler_common::tcp::state;

use crate::emit::lost;
use crate::kernel::{Counter, Hook, Object, config, hook, offset};
use crate::maps::{DROP_REASONS, DROPS, Made as _};
use crate::tcp::{AF_INET, AF_INET6, address, namespace};

/// What `rc` is when the receive buffer is full, as opposed to the protocol's memory.
const ENOMEM: i32 = -12;

hook!("udp_fail_queue_rcv_skb", udp_fail_queue_rcv_skb, udp_fail_queue_rcv_skb_raw, unqueued);
hook!("kfree_skb", kfree_skb, kfree_skb_raw, freed);

/// `udp_fail_queue_rcv_skb(rc, sk)`: a datagram that found no room. In a soft interrupt: whoever runs has nothing to do with it.
#[inline(always)]
fn unqueued<H: Hook>(hook: H) {
    let reason = if hook.arg::<0>() as i32 == ENOMEM { config!(drop_full) } else { config!(drop_memory) };
    if let Some(record) = record_of(hook, hook.object::<1>(), reason) {
        u64::add(unsafe { &raw mut (*record).unqueued }, 1);
    }
}

/// `kfree_skb(skb, location, reason, rx_sk)`: a packet is freed that did not arrive.
#[inline(always)]
fn freed<H: Hook>(hook: H) {
    let reason = hook.arg::<2>() as u32;
    let index = if (reason as usize) < REASONS { reason as usize } else { REASONS - 1 };
    if let Some(counts) = DROP_REASONS.get_ptr_mut(0) {
        u64::add(unsafe { counts.cast::<u64>().add(index) }, 1);
    }
    if config!(drop_socket) == 0 {
        return;
    }
    let socket = hook.object::<3>();
    // Before 6.14 (5da7e15fb5a1) verifiers take it for a socket that is there, and leave out a comparison with null.
    if hook.number(socket) == 0 || socket.is_null() {
        return;
    }
    // What remains of a connection is no full socket.
    let state = u32::from(hook.read::<u8>(socket, offset!(sock_state)));
    if state == state::TIME_WAIT || state == state::NEW_SYN_RECV {
        return;
    }
    if let Some(record) = record_of(hook, socket, reason) {
        u64::add(unsafe { &raw mut (*record).freed }, 1);
    }
}

/// The counters of a socket of IPv4 or IPv6.
#[inline(always)]
fn record_of<H: Hook>(hook: H, socket: Object, reason: u32) -> Option<*mut DropRecord> {
    let family = hook.read::<u16>(socket, offset!(sock_family));
    if family != AF_INET && family != AF_INET6 {
        return None;
    }
    let key = DropKey {
        cookie: hook.cookie(socket),
        local: address(hook, socket, offset!(sock_v6_saddr), offset!(sock_saddr)),
        port: hook.read::<u16>(socket, offset!(sock_num)).into(),
        netns: namespace(hook, socket),
        protocol: hook.read::<u16>(socket, offset!(sock_protocol)).into(),
        reason,
    };
    let record = DROPS.get_or_make(&key, &DropRecord::default());
    if record.is_none() {
        lost(Lost::Drop);
    }
    record
}
