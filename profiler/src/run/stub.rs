//! Stands in for what the kernel module will provide.

use crate::batch::Machine;
use crate::error::Error;
use crate::source::live::Options;

/// Stands in for `kernel::doctor`.
pub(super) fn doctor(_options: &Options) -> Result<Machine, Error> {
    unimplemented!()
}

/// Stands in for what `kernel::floor` returns: detaches when dropped.
pub(super) struct Floor;

/// Stands in for `kernel::floor`.
pub(super) fn floor(_hooks: &[&str]) -> Result<Floor, Error> {
    unimplemented!()
}
