//! Nagle's algorithm: as long as a segment that is not full is not acknowledged, no other such is sent. If the peer delays its
//! acknowledgement until it has something to say, and has nothing to say until it has what is held back, both wait for a timer
//! of 40 ms.
//!
//! Whoever has sent looks at what became of it, and remembers on the socket since when it is held back. No hook tells when it goes
//! out, but the kernel notes when that was sent which is in flight alone or was acknowledged last (`first_tx_mstamp`, for its
//! estimates of bandwidth): the next send or receive finds it there.
//!
//! SAFETY: a mark comes from the helper called just before.

use crate::kernel::{Hook, Object, Typed, now, offset};
use crate::tcp::limit::bits;
use crate::tcp::mark::Mark;

/// `nonagle`: `TCP_NODELAY`, `TCP_CORK`, and a push by either of them.
const NONAGLE: u8 = 0b1111;

/// Somebody has sent, or received. For how long that was held back which went out since the last look, if anything; else 0.
#[inline(always)]
pub unsafe fn watch(hook: Typed, tcp: Object, mark: *mut Mark, sends: bool) -> u64 {
    let mut stalled_ns = 0;
    unsafe {
        let held_ns = (*mark).held_ns;
        let next: u32 = hook.read(tcp, offset!(tcp_snd_nxt));
        if held_ns != 0 && !is_before(next, (*mark).held_end) {
            (*mark).held_ns = 0;
            let sent_ns = hook.read::<u64>(tcp, offset!(nagle_sent)) * 1_000;
            // It went out beside other segments, of late: there was enough for a full one.
            let sent_ns = if sent_ns > held_ns { sent_ns } else { now() };
            stalled_ns = sent_ns.saturating_sub(held_ns);
        }
        let written: u32 = hook.read(tcp, offset!(tcp_write_seq));
        if sends && written != next && (*mark).held_ns == 0 && is_held(hook, tcp, next, written) {
            (*mark).held_ns = now();
            (*mark).held_end = written;
        }
    }
    stalled_ns
}

/// Whether it is Nagle's algorithm that holds back what is between these, as the kernel decides (`tcp_nagle_check`), and neither
/// the peer's window nor the congestion window.
#[inline(always)]
fn is_held(hook: Typed, tcp: Object, next: u32, written: u32) -> bool {
    let acknowledged: u32 = hook.read(tcp, offset!(tcp_snd_una));
    let small: u32 = hook.read(tcp, offset!(nagle_small));
    bits(hook, tcp, offset!(nagle_off), NONAGLE) == 0
        && written.wrapping_sub(next) < hook.read(tcp, offset!(tcp_mss))
        && is_before(acknowledged, small)
        && !is_before(next, small)
        && written.wrapping_sub(acknowledged) <= hook.read(tcp, offset!(tcp_snd_wnd))
        && hook.read::<u32>(tcp, offset!(tcp_packets_out)) < hook.read(tcp, offset!(tcp_cwnd))
}

/// Whether a place in a stream is before another.
#[inline(always)]
fn is_before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}
