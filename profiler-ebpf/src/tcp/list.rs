//! The sockets that live, of all network namespaces: a mark on each, and an iterator over the marks. It costs as much as
//! there are sockets, where `iter/tcp` costs as much as the table has room for, in each namespace anew.
//!
//! SAFETY: the verifier proves that what is marked is a socket; a mark comes from the helper called just before.

#[cfg(not(feature = "hash-tasks"))]
mod marks {
    use core::ptr::null_mut;

    use aya_ebpf::bindings::BPF_LOCAL_STORAGE_GET_F_CREATE;
    use aya_ebpf::helpers::generated as helpers;
    use profiler_common::exchange::role;
    use profiler_common::lost::Lost;
    use profiler_common::tcp::{QUIET_PASSES, state};

    use crate::emit::lost;
    use crate::kernel::{Hook, Listed, Object, TYPED, offset};
    use crate::maps::{LocalStorage, SOCKET_STORAGE};
    use crate::tcp::{export, limit, tcp_of};

    #[unsafe(no_mangle)]
    #[unsafe(link_section = ".maps")]
    static LISTED: LocalStorage<SOCKET_STORAGE, Mark> = LocalStorage::new();

    /// That a socket lives, and what is kept of it between a send and a receive.
    #[repr(C)]
    pub struct Mark {
        /// When the exchange under way began, see [`crate::tcp::exchange`], or 0.
        pub begun_ns: u64,
        /// One of [`role`].
        pub role: u64,
        /// What changes when anything happens, as it was when the socket was exported.
        told: [u32; 5],
        /// Passes for which it is not exported if nothing happens.
        quiet: u32,
    }

    #[inline(always)]
    fn look_up(socket: Object, flags: u32) -> *mut Mark {
        let map = (&raw const LISTED).cast_mut().cast();
        unsafe { helpers::bpf_sk_storage_get(map, socket as *mut _, null_mut(), flags.into()).cast() }
    }

    /// The mark of a socket; null if it is not listed.
    #[inline(always)]
    pub fn get(socket: Object) -> *mut Mark {
        look_up(socket, 0)
    }

    #[inline(always)]
    pub fn set(socket: Object, listed: Listed) {
        let (role, anew) = match listed {
            Listed::Opened(role) => (role, true),
            Listed::Found(role) => (role, false),
            Listed::No => {
                let map = (&raw const LISTED).cast_mut().cast();
                // That it was not listed is fine.
                unsafe { helpers::bpf_sk_storage_delete(map, socket as *mut _) };
                return;
            }
        };
        let mark = look_up(socket, BPF_LOCAL_STORAGE_GET_F_CREATE);
        if mark.is_null() {
            return lost(Lost::Socket);
        }
        unsafe {
            if anew || (*mark).role == u64::from(role::UNKNOWN) {
                (*mark).begun_ns = 0;
                (*mark).role = role.into();
            }
        }
    }

    /// Exports a socket if there is something to say that was not said before. Of a connection on which nothing happens there is
    /// not, but at times, so that it is not forgotten: not of all of them at once.
    #[inline(always)]
    pub fn export_news(meta: Object, tcp: Object) {
        let mark = get(tcp);
        if mark.is_null() {
            export(meta, tcp);
            return;
        }
        let state = TYPED.read::<u8>(tcp, offset!(sock_state)).into();
        let [segments_in, segments_out] = [offset!(tcp_segs_in), offset!(tcp_segs_out)].map(|at| TYPED.read(tcp, at));
        let [written, read] = [offset!(tcp_write_seq), offset!(tcp_copied_seq)].map(|at| TYPED.read(tcp, at));
        let now = [state, segments_in, segments_out, written, read];
        // Time goes on for who waits: for a connection, for an answer, or to send.
        let waits = state == state::LISTEN || state == state::SYN_SENT || limit::running(TYPED, tcp) != 0;
        unsafe {
            let same = (*mark).told == now;
            if same && !waits && (*mark).quiet > 0 {
                (*mark).quiet -= 1;
                return;
            }
            // When its file is full, the kernel asks for the same socket again.
            if export(meta, tcp) {
                (*mark).told = now;
                (*mark).quiet = if same { QUIET_PASSES } else { helpers::bpf_get_prandom_u32() % QUIET_PASSES };
            }
        }
    }

    /// What `iter/bpf_sk_storage_map` hands over.
    #[repr(C)]
    struct MarkContext {
        meta: Object,
        map: Object,
        socket: Object,
        mark: Object,
    }

    /// Exports every listed socket of which there is news.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "iter/bpf_sk_storage_map")]
    extern "C" fn iter_listed(context: *mut MarkContext) -> i32 {
        let (meta, socket) = unsafe { ((*context).meta, (*context).socket) };
        if let Some(tcp) = tcp_of(socket) {
            export_news(meta, tcp);
        }
        0
    }
}

#[cfg(feature = "hash-tasks")]
mod marks {
    use crate::kernel::{Listed, Object};

    #[inline(always)]
    pub fn set(_socket: Object, _listed: Listed) {}

    #[inline(always)]
    pub fn export_news(meta: Object, tcp: Object) {
        crate::tcp::export(meta, tcp);
    }
}

#[cfg(not(feature = "hash-tasks"))]
pub use marks::get;
pub use marks::{export_news, set};
