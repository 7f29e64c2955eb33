//! Row `tcp`: what limits a connection. The time of its life is divided among these.

/// It is not established yet: a SYN waits for its answer.
pub const HANDSHAKE: usize = 0;
/// The application has nothing to send.
pub const APPLICATION: usize = 1;
/// The peer's receive window is used up, or nearly.
pub const RECEIVE_WINDOW: usize = 2;
/// Everything is sent, and the application waits for room in the send buffer to write more.
pub const SEND_BUFFER: usize = 3;
/// Segments were lost and are sent again: between the edges of the states Recovery and Loss.
pub const RECOVERY: usize = 4;
/// The congestion window is used up.
pub const CONGESTION_WINDOW: usize = 5;
/// It is its turn later: pacing.
pub const PACING: usize = 6;
/// As much of it as may wait in queues of this host does so (TCP small queues).
pub const QUEUE: usize = 7;
/// Nothing: all is sent, and waits to be acknowledged.
pub const FLIGHT: usize = 8;

/// Number of limits.
pub const LIMITS: usize = 9;

/// Names of the limits in reports, in order.
pub const LIMIT_NAMES: [&str; LIMITS] =
    ["connect", "app", "rwnd", "sndbuf", "recovery", "cwnd", "pacing", "queue", "flight"];

/// The clocks that the kernel keeps of a connection that is busy, of which one runs at a time: `enum tcp_chrono` − 1.
pub mod chrono {
    /// None of the others.
    pub const BUSY: usize = 0;
    /// [`super::RECEIVE_WINDOW`]
    pub const RECEIVE_WINDOW: usize = 1;
    /// [`super::SEND_BUFFER`]
    pub const SEND_BUFFER: usize = 2;
    /// Number of clocks.
    pub const CHRONOS: usize = 3;
}
