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

    /// Asks for the end: what happened until now still comes, and then the clean end. Where nothing goes on, nothing
    /// has to be done.
    fn end(&mut self) {}

    /// The next interval; `None` is a clean end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Batch>, Error>> + Send;
}
