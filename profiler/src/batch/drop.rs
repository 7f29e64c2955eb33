//! Packets that the kernel dropped.

use serde::{Deserialize, Serialize};

use super::{Endpoint, ProcessKey};

/// Why packets were dropped, and for which socket they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DropKey {
    /// The kernel's own name, such as `SOCKET_RCVBUFF`: `enum skb_drop_reason` without its prefix.
    pub reason: String,
    /// Cookie of the socket; `None` where the kernel told none, for then the rest means nothing.
    pub cookie: Option<u64>,
    /// Network namespace of the socket, inode number.
    pub netns: u32,
    /// `IPPROTO_` of the socket.
    pub protocol: u32,
    /// Local address and port of the socket.
    pub local: Endpoint,
}

impl DropKey {
    /// The socket in words.
    #[must_use]
    pub fn socket(&self) -> String {
        let names = [(6, "tcp"), (17, "udp")];
        match names.iter().find(|(number, _)| *number == self.protocol) {
            Some((_, name)) => format!("{name} {}", self.local),
            None => format!("protocol {} {}", self.protocol, self.local),
        }
    }
}

/// Packets that were dropped for one reason and socket in one interval. Each is in one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRow {
    /// Why, and for which socket.
    pub key: DropKey,
    /// Who holds the socket; `None` if that is not known.
    pub owner: Option<ProcessKey>,
    /// Packets.
    pub count: u64,
}
