//! Marks on sockets, for those who meet a socket many times per second: what is kept between a send and a receive.
//!
//! SAFETY: the verifier proves that what is marked is a socket; a mark comes from the helper called just before.

#[cfg(not(feature = "hash-tasks"))]
mod storage {
    use core::ptr::null_mut;

    use aya_ebpf::bindings::BPF_LOCAL_STORAGE_GET_F_CREATE;
    use aya_ebpf::helpers::generated as helpers;
    use profiler_common::exchange::{Spent, role};
    use profiler_common::lost::Lost;

    use crate::emit::lost;
    use crate::kernel::{Life, Object};
    use crate::maps::{LocalStorage, SOCKET_STORAGE};
    use crate::tcp::exchange;

    #[unsafe(no_mangle)]
    #[unsafe(link_section = ".maps")]
    static MARKS: LocalStorage<SOCKET_STORAGE, Mark> = LocalStorage::new();

    /// The mark of a socket that lives.
    #[repr(C)]
    pub struct Mark {
        /// When the exchange under way began, see [`crate::tcp::exchange`], or 0.
        pub begun_ns: u64,
        /// One of [`role`].
        pub role: u32,
        /// Pass that it was listed for, see [`crate::tcp::list`].
        pub listed: u32,
        /// When a write was held back that still is, see [`crate::tcp::nagle`], or 0.
        pub held_ns: u64,
        /// Where it ends in the stream.
        pub held_end: u32,
        /// Thread that began the exchange.
        pub begun_by: u32,
        /// How much of that is in doubt, see [`crate::task::spent`].
        pub doubt: u32,
        /// What that had spent by then.
        pub spent: Spent,
    }

    #[inline(always)]
    fn look_up(socket: Object, flags: u32) -> *mut Mark {
        let map = (&raw const MARKS).cast_mut().cast();
        unsafe { helpers::bpf_sk_storage_get(map, socket as *mut _, null_mut(), flags.into()).cast() }
    }

    /// The mark of a socket; null if it has none.
    #[inline(always)]
    pub fn get(socket: Object) -> *mut Mark {
        look_up(socket, 0)
    }

    /// The same, made if it has none; null if there was no memory.
    #[inline(always)]
    pub fn get_or_make(socket: Object) -> *mut Mark {
        let mark = look_up(socket, BPF_LOCAL_STORAGE_GET_F_CREATE);
        if mark.is_null() {
            lost(Lost::Socket);
        }
        mark
    }

    #[inline(always)]
    pub fn set(socket: Object, life: Life) {
        if life == Life::Ends {
            let map = (&raw const MARKS).cast_mut().cast();
            // That it had none is fine.
            unsafe { helpers::bpf_sk_storage_delete(map, socket as *mut _) };
            return;
        }
        let mark = get_or_make(socket);
        if mark.is_null() {
            return;
        }
        unsafe {
            match life {
                Life::Begins(role) => ((*mark).begun_ns, (*mark).held_ns, (*mark).role) = (0, 0, role),
                _ if (*mark).role == role::UNKNOWN => (*mark).role = exchange::role_of(socket),
                _ => {}
            }
        }
    }
}

#[cfg(feature = "hash-tasks")]
mod storage {
    use crate::kernel::{Life, Object};

    #[inline(always)]
    pub fn set(_socket: Object, _life: Life) {}
}

pub use storage::set;
#[cfg(not(feature = "hash-tasks"))]
pub use storage::{Mark, get, get_or_make};
