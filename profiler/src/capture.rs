//! The capture format: a recording as a log of checksummed frames, over any `Read` or `Write`. `docs/CAPTURE.md` has every byte.
//!
//! A frame stands alone (its own strings, its own checksums), so that a killed writer loses the frame that it was
//! writing and a flipped bit costs the frame that it is in. Whatever is lost, [`Damage`] says so; a batch that is handed
//! out is the batch that was written. No input makes the reader panic or ask for unbounded memory.

use std::fmt;

mod codec;
mod column;
mod frame;
mod log;
mod payload;
mod read;
mod schema;
mod table;
mod timeline;
mod write;

pub use read::Reader;
pub use timeline::{Moment, Timeline};
pub use write::Writer;

/// First bytes of a capture. The high bit says that it is no text, the line ends show a transfer that rewrote them.
pub const SIGNATURE: [u8; 8] = *b"\x8acap\r\n\x1a\n";

/// Version of the format. It grows only when old readers must refuse; new columns, tables and frame types do not need it.
pub const VERSION: u32 = 1;

/// What could not be read of a capture. Everything else in it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the first damage begins.
    pub at_offset: u64,
    /// What is wrong there.
    pub why: String,
    /// Bytes that were skipped, here and at all later places.
    pub skipped_bytes: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_offset, why, skipped_bytes } = self;
        write!(f, "capture is damaged at byte {at_offset}: {why}")?;
        match skipped_bytes {
            0 => Ok(()),
            1 => write!(f, "; 1 byte skipped"),
            bytes => write!(f, "; {bytes} bytes skipped"),
        }
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
