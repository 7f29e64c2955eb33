//! Writing a capture.

use std::io::{self, Write};

use bytes::{BufMut, Bytes};

use super::frame::{Frame, kind};
use super::{SIGNATURE, VERSION, payload};
use crate::batch::{Batch, Machine};

/// Writes a capture, a frame at a time: what was written before stays readable, whatever comes after.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Begins a capture.
    pub fn new(output: W, machine: &Machine) -> io::Result<Self> {
        let mut start = Vec::new();
        start.put_slice(&SIGNATURE);
        start.put_u32_le(VERSION);
        frame_of_machine(machine)?.put(&mut start);
        let mut writer = Self { output };
        writer.write_out(&start)?;
        Ok(writer)
    }

    /// Appends a batch.
    pub fn write(&mut self, batch: &Batch) -> io::Result<()> {
        self.write_frame(&frame_of_batch(batch)?)
    }

    /// Ends the capture. Without this, a reader says that the recording was cut.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_frame(&Frame::plain(kind::END, Bytes::new()).ok_or_else(too_long)?)?;
        Ok(self.output)
    }

    fn write_frame(&mut self, frame: &Frame) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame.put(&mut bytes);
        self.write_out(&bytes)
    }

    /// One write and a flush: a killed writer loses at most the frame that it was writing.
    fn write_out(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.output.flush()
    }
}

/// Not compressed, so that any tool shows what host a capture is from.
fn frame_of_machine(machine: &Machine) -> io::Result<Frame> {
    Frame::plain(kind::MACHINE, serde_json::to_vec(machine)?.into()).ok_or_else(too_long)
}

pub(super) fn frame_of_batch(batch: &Batch) -> io::Result<Frame> {
    let interval = (batch.from.0, batch.until.0);
    Frame::packed(kind::BATCH, interval, &payload::encode(batch)).ok_or_else(too_long)
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an interval has more data than a frame may have")
}
