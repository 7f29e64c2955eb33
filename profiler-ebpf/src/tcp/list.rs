//! The sockets that live, of all network namespaces: a mark on each, and an iterator over the marks. It costs as much as
//! there are sockets, where `iter/tcp` costs as much as the table has room for, in each namespace anew.
//!
//! SAFETY: the verifier proves that what is marked is a socket; of a mark only matters whether it is there.

#[cfg(not(feature = "hash-tasks"))]
mod marks {
    use core::ptr::null_mut;

    use aya_ebpf::bindings::BPF_LOCAL_STORAGE_GET_F_CREATE;
    use aya_ebpf::helpers::generated as helpers;
    use profiler_common::lost::Lost;

    use crate::emit::lost;
    use crate::kernel::{Listed, Object};
    use crate::maps::{LocalStorage, SOCKET_STORAGE};
    use crate::tcp::{export, tcp_of};

    #[unsafe(no_mangle)]
    #[unsafe(link_section = ".maps")]
    static LISTED: LocalStorage<SOCKET_STORAGE, u64> = LocalStorage::new();

    #[inline(always)]
    pub fn set(socket: Object, listed: Listed) {
        let map = (&raw const LISTED).cast_mut().cast();
        let socket = socket as *mut _;
        match listed {
            Listed::Yes => {
                let create = BPF_LOCAL_STORAGE_GET_F_CREATE.into();
                if unsafe { helpers::bpf_sk_storage_get(map, socket, null_mut(), create) }.is_null() {
                    lost(Lost::Socket);
                }
            }
            // That it was not listed is fine.
            Listed::No => drop(unsafe { helpers::bpf_sk_storage_delete(map, socket) }),
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

    /// Exports every listed socket.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "iter/bpf_sk_storage_map")]
    extern "C" fn iter_listed(context: *mut MarkContext) -> i32 {
        let (meta, socket) = unsafe { ((*context).meta, (*context).socket) };
        if let Some(tcp) = tcp_of(socket) {
            export(meta, tcp);
        }
        0
    }
}

#[cfg(feature = "hash-tasks")]
mod marks {
    use crate::kernel::{Listed, Object};

    #[inline(always)]
    pub fn set(_socket: Object, _listed: Listed) {}
}

pub use marks::set;
