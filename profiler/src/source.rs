//! The whole boundary between the world and the logic: live, recorded and replayed are the same program.

use std::future::Future;

use crate::batch::{Batch, Machine};
use crate::error::Error;

pub mod live;
pub mod record;
pub mod replay;

/// Where batches come from.
pub trait Source {
    /// The observed host.
    fn machine(&self) -> &Machine;

    /// The next interval; `None` is a clean end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Batch>, Error>> + Send;
}
