//! The kernel's own counters.

use crate::batch::HostRow;
use crate::model::time::Recent;

/// The kernel's own counters over the last interval and the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Counters; the fields that are states hold the latest.
    pub row: Recent<HostRow>,
}
