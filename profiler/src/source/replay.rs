//! A capture as a [`Source`]: as fast as it can, pacing is up to the caller. To step back, see
//! [`Timeline`](crate::capture::Timeline).

use std::io::Read;
use std::path::Path;

use crate::batch::{Batch, Machine};
use crate::capture::{Damage, Reader};
use crate::error::Error;
use crate::source::Source;

/// Replays what was recorded.
#[derive(Debug)]
pub struct Replay<R> {
    reader: Reader<R>,
}

impl<R: Read> Replay<R> {
    /// Begins to read a capture. `path` is for messages; no buffering is needed.
    pub fn new(input: R, path: &Path) -> Result<Self, Error> {
        Ok(Self { reader: Reader::new(input, path)? })
    }

    /// What could not be read so far; complete at the end.
    #[must_use]
    pub const fn damage(&self) -> Option<&Damage> {
        self.reader.damage()
    }
}

impl<R: Read + Send> Source for Replay<R> {
    fn machine(&self) -> &Machine {
        self.reader.machine()
    }

    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        self.reader.next_batch()
    }
}
