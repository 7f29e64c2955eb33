//! What remains of connections (TIME-WAIT), by where they went: it keeps local ports from others for a minute.

#[cfg(not(feature = "hash-tasks"))]
mod counted {
    use profiler_common::exchange::role;
    use profiler_common::lost::Lost;
    use profiler_common::tcp::{TimeWaitKey, TimeWaits, state};

    use crate::emit::lost;
    use crate::kernel::{Hook, Object, TYPED, offset};
    use crate::maps::TIME_WAITS;
    use crate::tcp::{address, exchange, list, namespace};

    /// Counts it, if it is one of a connection that this host opened: a listener has as many ports as it has peers.
    ///
    /// SAFETY: records come from the map; only the iterator writes them.
    #[inline(always)]
    pub fn count(socket: Object) {
        if u32::from(TYPED.read::<u8>(socket, offset!(sock_state))) != state::TIME_WAIT
            || exchange::role_of(socket) != role::CLIENT
        {
            return;
        }
        let key = TimeWaitKey {
            address: address(TYPED, socket, offset!(sock_v6_daddr), offset!(sock_daddr)),
            port: u16::from_be(TYPED.read(socket, offset!(sock_dport))).into(),
            netns: namespace(TYPED, socket),
        };
        let look = list::look();
        match TIME_WAITS.get_ptr_mut(key) {
            Some(waits) => unsafe {
                if (*waits).look != look {
                    *waits = TimeWaits { count: 0, look };
                }
                (*waits).count += 1;
            },
            None => {
                if TIME_WAITS.insert(key, TimeWaits { count: 1, look }, 0).is_err() {
                    lost(Lost::TimeWait);
                }
            }
        }
    }
}

#[cfg(feature = "hash-tasks")]
mod counted {
    use crate::kernel::Object;

    #[inline(always)]
    pub fn count(_socket: Object) {}
}

pub use counted::count;
