//! The list of sockets on which something may have happened: a pass costs as much as there are of those, however many others
//! live. Whoever sends or receives puts a socket on it, for the pass that comes, and there it stays until a pass finds that
//! nothing has happened and nothing is waited for. What nobody does on this host (data that nobody reads) waits for
//! [`super::iter_tcp`], which looks at all.
//!
//! SAFETY: records of sockets come from the map. A listed socket may be gone, and its memory another one's: it is read by address,
//! as numbers, and counts only if its cookie is the one that was listed.

use core::ffi::c_void;

use profiler_common::lost::Lost;
use profiler_common::tcp::{SocketRecord, pass, state};

use crate::emit::{AVAILABLE, lost};
use crate::kernel::{Hook, Object, RAW, offset};
use crate::maps::{LISTED, Listed, NEWS, NEWS_BYTES, PASS, SOCKETS, Socket};
use crate::tcp::{export, limit};

/// Number of the pass under way.
#[inline(always)]
pub fn pass() -> u32 {
    word(pass::PASS) as u32
}

/// Number of the look at all sockets that is under way.
#[cfg(not(feature = "hash-tasks"))]
#[inline(always)]
pub fn look() -> u32 {
    word(pass::LOOK) as u32
}

/// Whether the iterator looks at one more before it asks whether to go on.
#[inline(always)]
pub fn goes_on() -> bool {
    let Some(left) = PASS.get_ptr_mut(pass::LEFT) else { return true };
    unsafe {
        let goes_on = *left != 0;
        if goes_on {
            *left -= 1;
        }
        goes_on
    }
}

/// One of the words that user space says.
#[inline(always)]
fn word(which: u32) -> u64 {
    PASS.get_ptr(which).map_or(0, |word| unsafe { *word })
}

/// Something may have happened on a socket.
#[inline(always)]
pub fn touch(cookie: u64) {
    if let Some(socket) = SOCKETS.get_ptr_mut(cookie) {
        put(cookie, socket, pass());
    }
}

/// For the next pass, once.
#[inline(always)]
fn put(cookie: u64, socket: *mut Socket, pass: u32) {
    unsafe {
        if (*socket).listed != pass {
            (*socket).listed = pass;
            if LISTED.push(Listed { cookie, pass: pass.into() }, 0).is_err() {
                lost(Lost::Socket);
            }
        }
    }
}

/// In the state that was told: something had just happened.
const UNSETTLED: u32 = 1 << 31;

/// Exports a socket if there is something to say that was not said before, and lists it for as long as there may be more.
/// Whether there was room.
#[inline(always)]
pub fn tell<H: Hook>(from: H, tcp: Object, cookie: u64, socket: *mut Socket) -> bool {
    let state: u32 = from.read::<u8>(tcp, offset!(sock_state)).into();
    let [segments_in, segments_out] = [offset!(tcp_segs_in), offset!(tcp_segs_out)].map(|at| from.read(tcp, at));
    let [written, read] = [offset!(tcp_write_seq), offset!(tcp_copied_seq)].map(|at| from.read(tcp, at));
    let mut now = [state, segments_in, segments_out, written, read];
    let mut told = unsafe { (*socket).told };
    // Nobody holds it still while it is read: what was under way then is told once more.
    let unsettled = told[0] & UNSETTLED != 0;
    told[0] &= !UNSETTLED;
    let differs = now.iter().zip(&told).fold(0, |differs, (now, told)| differs | (now ^ told));
    // Time goes on for who waits: for a connection, for an answer, or to send.
    let waits = state == state::LISTEN || state == state::SYN_SENT || limit::running(from, tcp) != 0;
    let word = word(pass::PASS);
    let goes_on = differs != 0 || waits;
    if (goes_on || unsettled || word & pass::ALL != 0) && !export(from, tcp, cookie, unsafe { (*socket).owner }) {
        return false;
    }
    if goes_on {
        now[0] |= UNSETTLED;
    }
    unsafe { (*socket).told = now };
    if goes_on || word & pass::KEEP != 0 {
        put(cookie, socket, word as u32);
    }
    true
}

/// Sockets that a run looks at, at most.
const RUN_MAX: u32 = if cfg!(feature = "hash-tasks") { 1 } else { 256 };

/// Looks at listed sockets; what it returns is in [`pass`]. User space runs it, as often as there are more.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/walk_listed")]
extern "C" fn walk_listed(_context: *mut c_void) -> i32 {
    for _ in 0..RUN_MAX {
        let next = visit();
        if next != pass::MORE {
            return next.cast_signed();
        }
    }
    pass::MORE.cast_signed()
}

/// Looks at the first on the list.
#[cfg_attr(not(feature = "hash-tasks"), unsafe(no_mangle), inline(never))]
#[cfg_attr(feature = "hash-tasks", inline(always))]
extern "C" fn visit() -> u32 {
    if NEWS.query(AVAILABLE) > u64::from(NEWS_BYTES) - 2 * size_of::<SocketRecord>() as u64 {
        return pass::FULL;
    }
    let Ok(Some(Listed { cookie, pass: listed })) = LISTED.pop() else { return pass::DONE };
    if listed == u64::from(pass()) {
        // The first that was listed for the next pass.
        return if LISTED.push(Listed { cookie, pass: listed }, 0).is_ok() { pass::DONE } else { pass::MORE };
    }
    // It may have ended. That it is listed anew tells nothing: it may have sent since the pass began.
    let Some(socket) = SOCKETS.get_ptr_mut(cookie) else { return pass::MORE };
    let tcp = unsafe { (*socket).address } as Object;
    if tcp as u64 == cookie || RAW.cookie(tcp) == cookie {
        tell(RAW, tcp, cookie, socket);
    }
    pass::MORE
}
