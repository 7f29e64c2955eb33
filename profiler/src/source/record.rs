//! A [`Source`] that writes down what passes through it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::batch::{Batch, Machine};
use crate::capture::Writer;
use crate::error::Error;
use crate::source::Source;

/// Records another source. A batch is in the file before it is seen.
#[derive(Debug)]
pub struct Recorded<S, W> {
    source: S,
    path: PathBuf,
    /// `None`: the recording has ended, or failed. What was written before that stays.
    writer: Option<Writer<W>>,
    /// Came while writing failed; handed out next.
    held: Option<Batch>,
}

impl<S: Source, W: Write> Recorded<S, W> {
    /// Begins a recording of `source`. `path` is for messages: the caller creates the file, with mode 0600.
    pub fn new(source: S, output: W, path: &Path) -> Result<Self, Error> {
        let writer = Writer::new(output, source.machine()).map_err(|source| failure(path, source))?;
        Ok(Self { source, path: path.to_owned(), writer: Some(writer), held: None })
    }

    /// Ends the recording before the source ends. Ending it twice is fine.
    pub fn finish(&mut self) -> Result<(), Error> {
        let finished = self.writer.take().map(Writer::finish).transpose();
        finished.map_err(|source| failure(&self.path, source))?;
        Ok(())
    }

    fn record(&mut self, batch: &Batch) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(batch).map_err(|source| {
            // Half a frame may be in the file. It has to be the last.
            self.writer = None;
            failure(&self.path, source)
        })
    }
}

/// Writing may block the task that polls this; a pump task of its own, with a channel behind it, is meant to.
impl<S: Source + Send, W: Write + Send> Source for Recorded<S, W> {
    fn machine(&self) -> &Machine {
        self.source.machine()
    }

    fn end(&mut self) {
        self.source.end();
    }

    /// An error in writing ends the recording, not the source: whoever goes on loses no batch.
    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        if let Some(batch) = self.held.take() {
            return Ok(Some(batch));
        }
        let Some(batch) = self.source.next().await? else {
            self.finish()?;
            return Ok(None);
        };
        if let Err(error) = self.record(&batch) {
            self.held = Some(batch);
            return Err(error);
        }
        Ok(Some(batch))
    }
}

fn failure(path: &Path, source: io::Error) -> Error {
    Error::File { act: "write", path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Timestamp;
    use crate::source::replay::Replay;

    /// Batches that were there all along.
    struct Canned {
        machine: Machine,
        batches: std::vec::IntoIter<Batch>,
    }

    impl Source for Canned {
        fn machine(&self) -> &Machine {
            &self.machine
        }

        async fn next(&mut self) -> Result<Option<Batch>, Error> {
            Ok(self.batches.next())
        }
    }

    /// A disk that is full after so many bytes.
    struct Disk<'a> {
        file: &'a mut Vec<u8>,
        room: usize,
    }

    impl Write for Disk<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room - self.file.len());
            self.file.extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(io::Error::other("no space left")) } else { Ok(fits) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batches() -> Vec<Batch> {
        (1..5).map(|end| Batch { from: Timestamp(end - 1), until: Timestamp(end), ..Batch::default() }).collect()
    }

    fn recorded(file: &mut Vec<u8>, room: usize) -> Recorded<Canned, Disk<'_>> {
        let machine = Machine { host: "db1".to_owned(), ..Machine::default() };
        let source = Canned { machine, batches: batches().into_iter() };
        Recorded::new(source, Disk { file, room }, Path::new("/tmp/a.cap")).unwrap()
    }

    /// All that a source says until its end, an error included.
    fn drain(source: &mut impl Source) -> Vec<Result<Batch, String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let next = || runtime.block_on(source.next()).map_err(|error| error.to_string()).transpose();
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_replay_is_what_was_seen() {
        let mut file = Vec::new();
        let seen = drain(&mut recorded(&mut file, usize::MAX));
        assert_eq!(seen, batches().into_iter().map(Ok).collect::<Vec<_>>());
        let mut replay = Replay::new(file.as_slice(), Path::new("/tmp/a.cap")).unwrap();
        assert_eq!(replay.machine().host, "db1");
        assert_eq!(drain(&mut replay), seen);
        assert_eq!(replay.damage(), None);
    }

    #[test]
    fn a_recording_may_end_before_its_source() {
        let mut file = Vec::new();
        let mut source = recorded(&mut file, usize::MAX);
        source.finish().unwrap();
        source.finish().unwrap();
        assert_eq!(drain(&mut source).len(), 4);
        let mut replay = Replay::new(file.as_slice(), Path::new("/tmp/a.cap")).unwrap();
        assert_eq!((drain(&mut replay), replay.damage()), (vec![], None));
    }

    #[test]
    fn a_full_disk_ends_the_recording_and_nothing_else() {
        let mut file = Vec::new();
        drain(&mut recorded(&mut file, usize::MAX));
        let room = file.len() - 200;
        let mut file = Vec::new();
        let mut seen = drain(&mut recorded(&mut file, room));
        let errors: Vec<_> = seen.extract_if(.., |result| result.is_err()).collect();
        assert_eq!(errors, [Err("failed to write `/tmp/a.cap`: no space left".to_owned())]);
        assert_eq!(seen.len(), 4, "who goes on loses no batch");
        let mut replay = Replay::new(file.as_slice(), Path::new("/tmp/a.cap")).unwrap();
        let kept = drain(&mut replay);
        assert!(!kept.is_empty());
        assert_eq!(kept, seen[..kept.len()]);
        assert_eq!(replay.damage().unwrap().why, "it ends inside a frame");
    }
}
