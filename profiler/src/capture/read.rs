//! Reading a capture from start to end.

use std::io::Read;
use std::path::Path;

use super::Damage;
use super::frame::kind;
use super::log::Log;
use crate::batch::{Batch, Machine};
use crate::error::Error;

/// Reads a capture, a batch at a time.
#[derive(Debug)]
pub struct Reader<R> {
    log: Log<R>,
    machine: Machine,
}

impl<R: Read> Reader<R> {
    /// Begins to read. `path` is for messages; no buffering is needed.
    pub fn new(input: R, path: &Path) -> Result<Self, Error> {
        let (log, machine) = Log::open(input, path)?;
        Ok(Self { log, machine })
    }

    /// The observed host.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The next batch; `None` at the end. Damaged frames are skipped: see [`Self::damage`].
    pub fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        while let Some(found) = self.log.next_head()? {
            match found.head.kind {
                kind::BATCH => {
                    if let Some(batch) = self.log.batch(&found)? {
                        return Ok(Some(batch));
                    }
                }
                kind::END => {
                    if self.log.stored(&found)?.is_some() {
                        self.log.end()?;
                    }
                }
                // Of a later version, which says by not raising `VERSION` that it does without.
                _ => drop(self.log.stored(&found)?),
            }
        }
        Ok(None)
    }

    /// What could not be read so far; complete once [`Self::next_batch`] has answered `None`.
    #[must_use]
    pub const fn damage(&self) -> Option<&Damage> {
        self.log.damage.as_ref()
    }
}
