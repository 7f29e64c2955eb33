//! Random access to a capture: all frames' headers in memory, the batches themselves on demand.

use std::io::{Read, Seek};
use std::path::Path;

use super::Damage;
use super::frame::kind;
use super::log::Log;
use crate::batch::{Batch, Machine, Timestamp};
use crate::error::Error;

/// Where a batch is, in the file and in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Offset of its frame.
    pub offset: u64,
    /// Start of its interval.
    pub from: Timestamp,
    /// End of its interval.
    pub until: Timestamp,
    state: State,
}

/// What is known of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its header is sound.
    Listed,
    /// It was read and is damaged. It is counted once, however often somebody scrubs over it.
    Damaged,
}

/// A capture with an index of its batches. Opening it reads the headers of the frames only.
#[derive(Debug)]
pub struct Timeline<R> {
    log: Log<R>,
    machine: Machine,
    moments: Vec<Moment>,
}

impl<R: Read + Seek> Timeline<R> {
    /// Indexes a capture. `path` is for messages; no buffering is needed.
    pub fn new(input: R, path: &Path) -> Result<Self, Error> {
        let (mut log, machine) = Log::open(input, path)?;
        let start = log.offset();
        let len = log.len()?;
        log.go(start)?;
        let mut moments = Vec::new();
        while let Some(found) = log.next_head()? {
            if !log.pass(&found, len)? {
                break;
            }
            match found.head.kind {
                kind::BATCH => moments.push(Moment {
                    offset: found.offset,
                    from: Timestamp(found.head.from),
                    until: Timestamp(found.head.until),
                    state: State::Listed,
                }),
                kind::END => log.end()?,
                _ => {}
            }
        }
        Ok(Self { log, machine, moments })
    }

    /// The observed host.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// All batches, in the order of the file.
    #[must_use]
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// The batch in whose interval a moment lies, or the last before it; `None`: all are later.
    #[must_use]
    pub fn index_at(&self, moment: Timestamp) -> Option<usize> {
        self.moments.partition_point(|batch| batch.from <= moment).checked_sub(1)
    }

    /// The batch at `index` of [`Self::moments`]; `None`: it is damaged, or there is none.
    pub fn batch_at(&mut self, index: usize) -> Result<Option<Batch>, Error> {
        let Some(moment) = self.moments.get_mut(index).filter(|moment| moment.state == State::Listed) else {
            return Ok(None);
        };
        self.log.go(moment.offset)?;
        let batch = match self.log.next_head()? {
            Some(found) if found.offset == moment.offset => self.log.batch(&found)?,
            _ => None,
        };
        if batch.is_none() {
            moment.state = State::Damaged;
        }
        Ok(batch)
    }

    /// What could not be read so far. Damage inside a batch shows when the batch is read.
    #[must_use]
    pub const fn damage(&self) -> Option<&Damage> {
        self.log.damage.as_ref()
    }
}
