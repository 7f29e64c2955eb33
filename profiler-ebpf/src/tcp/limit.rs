//! What limits a connection: the clocks that the kernel keeps itself, edges of recovery from loss, and what holds it back now.
//!
//! SAFETY: the only pointers that are written to come from a map.

use aya_ebpf::helpers::generated as helpers;
use profiler_common::limit::chrono::{BUSY, CHRONOS};
use profiler_common::tcp::SocketRecord;

use crate::kernel::{Hook, Object, hook, offset};
use crate::tcp::owner_of;

hook!("tcp_cong_state_set", tcp_cong_state_set, tcp_cong_state_set_raw, set_congestion_state);

/// `TCP_CA_Recovery`
const RECOVERY: u8 = 3;
/// `TCP_CA_Loss`, the last.
const LOSS: u8 = 4;
/// `TSQ_THROTTLED` is bit 0.
const THROTTLED: u64 = 1;
/// `SK_PACING_FQ`
const PACED_BY_QUEUE: u32 = 2;

/// `tcp_cong_state_set(sk, state)`, before it is set: a recovery begins or ends. Its time is told by the clock that runs while
/// the connection is busy, so that it is a part of that.
#[inline(always)]
fn set_congestion_state<H: Hook>(hook: H) {
    let socket = hook.object::<0>();
    let state = hook.arg::<1>() as u8;
    let recovers = state >= RECOVERY;
    let Some(owner) = owner_of(hook.cookie(socket)) else { return };
    let from = unsafe {
        (*owner).timeouts += u32::from(state == LOSS);
        (*owner).recoveries += u32::from(state == RECOVERY);
        (*owner).recovery_from
    };
    if recovers == (from != 0) {
        return;
    }
    let tcp = hook.tcp(socket);
    if tcp.is_null() {
        return;
    }
    let busy = chronos(hook, tcp)[BUSY];
    unsafe {
        // In this order, whoever reads meanwhile misses some, and has it the next time.
        (&raw mut (*owner).recovery_from).write_volatile(if recovers { busy + 1 } else { 0 });
        if !recovers {
            (*owner).recovery += busy - (from - 1);
        }
    }
}

/// The clocks of a connection as of now: one of them may be running.
#[inline(always)]
pub fn chronos<H: Hook>(from: H, tcp: Object) -> [u32; CHRONOS] {
    let mut chronos = [0, 4, 8].map(|at| from.read::<u32>(tcp, offset!(tcp_chrono_stat) + at));
    let runs = running(from, tcp);
    let ran = (unsafe { helpers::bpf_jiffies64() } as u32).wrapping_sub(from.read(tcp, offset!(tcp_chrono_start)));
    for (chrono, number) in chronos.iter_mut().zip(1..) {
        if runs == number {
            *chrono = chrono.wrapping_add(ran);
        }
    }
    chronos
}

/// Which of the clocks runs, from 1; 0 if nothing is to be sent or acknowledged.
#[inline(always)]
pub fn running<H: Hook>(from: H, tcp: Object) -> u8 {
    bits(from, tcp, offset!(tcp_chrono_type), 0b11)
}

/// [`profiler_common::tcp::SocketOwner::recovery_from`] of a connection that was there before us.
#[inline(always)]
pub fn recovery_from<H: Hook>(from: H, tcp: Object, busy: u32) -> u32 {
    if bits(from, tcp, offset!(tcp_ca_state), 0b1_1111) >= RECOVERY { busy + 1 } else { 0 }
}

/// All that is known of what limits it.
#[inline(always)]
pub fn describe<H: Hook>(from: H, record: &mut SocketRecord, tcp: Object, chronos: [u32; CHRONOS]) {
    record.chrono = chronos;
    if record.owner.recovery_from != 0 {
        record.owner.recovery += chronos[BUSY] - (record.owner.recovery_from - 1);
    }
    record.send_buffer = from.read(tcp, offset!(sock_sndbuf));
    record.unsent = from.read::<u32>(tcp, offset!(tcp_write_seq)).wrapping_sub(from.read(tcp, offset!(tcp_snd_nxt)));
    record.cwnd_limited = bits(from, tcp, offset!(tcp_cwnd_limited), 1);
    record.throttled = (from.read::<u64>(tcp, offset!(sock_tsq_flags)) & THROTTLED) as u8;
    record.paced = (record.unsent > 0 && from.read::<u64>(tcp, offset!(tcp_wstamp)) > record.at_ns).into();
    record.queue_paces = (from.read::<u32>(tcp, offset!(sock_pacing_status)) == PACED_BY_QUEUE).into();
}

/// A bit field within one byte, at an offset in bits.
#[inline(always)]
pub fn bits<H: Hook>(from: H, object: Object, offset: u32, mask: u8) -> u8 {
    from.read::<u8>(object, offset / 8) >> (offset % 8) & mask
}
