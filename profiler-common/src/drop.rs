//! Row `drop`: packets that the kernel dropped, by reason, and by socket where the kernel tells for which they were.

/// Which socket lost packets, and why.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DropKey {
    /// Socket cookie.
    pub cookie: u64,
    /// Local address, IPv4 mapped into IPv6.
    pub local: [u8; 16],
    /// Local port, host order.
    pub port: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `IPPROTO_`
    pub protocol: u32,
    /// Number of the reason on this kernel (`enum skb_drop_reason`), or one of [`reason`].
    pub reason: u32,
}

const _: () = assert!(size_of::<DropKey>() == 40);

/// How many. Both count each drop that they see, and neither sees a part of those of a key: the greater has them all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropRecord {
    /// As `udp_fail_queue_rcv_skb` tells: of IPv6 only since 6.5 (8139dccd464a).
    pub unqueued: u64,
    /// As `kfree_skb` tells: with the socket only since 6.11 (c53795d48ee8).
    pub freed: u64,
}

const _: () = assert!(size_of::<DropRecord>() == 16);

impl DropRecord {
    /// Packets dropped.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.unqueued.max(self.freed)
    }
}

/// Reasons that need no kernel which tells them (5.17, c504e5c2f964): what `udp_fail_queue_rcv_skb` means.
pub mod reason {
    /// The receive buffer of the socket is full. Where the kernel has a number for that, it is that.
    pub const FULL: u32 = u32::MAX;
    /// Its protocol may use no more memory.
    pub const MEMORY: u32 = u32::MAX - 1;

    /// Reasons that are counted for the whole host, by number; the last stands for all beyond it, which are of modules.
    pub const REASONS: usize = 256;

    /// What the kernel calls the two: how all that tell it here are called.
    pub const NAMES: [(u32, &str); 2] = [(FULL, "SOCKET_RCVBUFF"), (MEMORY, "PROTO_MEM")];

    /// Begins the kernel's name of a reason.
    pub const PREFIX: &str = "SKB_DROP_REASON_";
}
