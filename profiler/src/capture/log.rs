//! A capture as a run of frames; what is damaged is skipped and counted.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::{HEAD_LEN, Head, MAGIC, kind};
use super::{Damage, SIGNATURE, VERSION, payload};
use crate::batch::{Batch, Machine};
use crate::error::Error;

/// How much is read at once in search of the next frame.
const SEARCH_CHUNK: usize = 64 << 10;
/// Length of signature and version.
const START_LEN: usize = SIGNATURE.len() + size_of::<u32>();

const CUT: &str = "it ends inside a frame";

/// A frame's header and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub offset: u64,
    pub head: Head,
}

/// The frames of an input.
#[derive(Debug)]
pub(super) struct Log<R> {
    input: R,
    path: PathBuf,
    /// What was read and not yet used. It begins at `offset`.
    ahead: BytesMut,
    offset: u64,
    /// No frame comes after this.
    ended: bool,
    /// What could not be read so far.
    pub damage: Option<Damage>,
}

impl<R: Read> Log<R> {
    /// Reads the start of a capture. `path` is for messages.
    pub fn open(input: R, path: &Path) -> Result<(Self, Machine), Error> {
        let ahead = BytesMut::new();
        let mut log = Self { input, path: path.to_owned(), ahead, offset: 0, ended: false, damage: None };
        log.check_start()?;
        let machine = log.machine()?;
        Ok((log, machine))
    }

    fn check_start(&mut self) -> Result<(), Error> {
        self.fill(START_LEN).map_err(|source| self.unreadable(source))?;
        if let Some(why) = not_a_capture(&self.ahead) {
            return Err(self.not_a_capture(why.to_owned()));
        }
        self.skip(SIGNATURE.len());
        match self.ahead.get_u32_le() {
            0 => Err(self.not_a_capture("its version is 0".to_owned())),
            version if version > VERSION => {
                Err(Error::NewerCapture { path: self.path.clone(), version, known: VERSION })
            }
            _ => {
                self.offset = START_LEN as u64;
                Ok(())
            }
        }
    }

    /// The host. Without it no batch can be understood, so that damage in it is not survived.
    fn machine(&mut self) -> Result<Machine, Error> {
        let found = self.next_head()?.filter(|found| found.head.kind == kind::MACHINE);
        let payload = match &found {
            Some(found) if self.damage.is_none() => self.payload(found)?,
            _ => None,
        };
        let why = match (payload, &self.damage) {
            (Some(payload), _) => match serde_json::from_slice(&payload) {
                Ok(machine) => return Ok(machine),
                Err(why) => why.to_string(),
            },
            (None, Some(damage)) => damage.why.clone(),
            (None, None) => "it is not the first frame".to_owned(),
        };
        Err(self.not_a_capture(format!("its description of the host cannot be read: {why}")))
    }

    /// Where the next frame begins, unless it is damaged.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next header of a frame; `None` at the end. Take its payload, or pass it, before the next call.
    pub fn next_head(&mut self) -> Result<Option<Found>, Error> {
        self.find_head().map_err(|source| self.unreadable(source))
    }

    fn find_head(&mut self) -> io::Result<Option<Found>> {
        while !self.ended {
            self.fill(HEAD_LEN)?;
            let Some(bytes) = self.ahead.first_chunk() else {
                self.lose_tail();
                break;
            };
            match Head::parse(bytes) {
                Ok(head) => {
                    let offset = self.offset;
                    self.skip(HEAD_LEN);
                    return Ok(Some(Found { offset, head }));
                }
                Err(why) => self.search(why)?,
            }
        }
        Ok(None)
    }

    /// Skips to the next sound header, or to the end.
    fn search(&mut self, why: &str) -> io::Result<()> {
        let start = self.offset;
        self.skip(1);
        loop {
            if let Some(at) = self.ahead.windows(MAGIC.len()).position(|window| window == MAGIC) {
                self.skip(at);
                self.fill(HEAD_LEN)?;
                if self.ahead.first_chunk().is_none_or(|bytes| Head::parse(bytes).is_ok()) {
                    break;
                }
                self.skip(1);
            } else {
                // The next magic may have begun in the last bytes.
                let kept = self.ahead.len().min(MAGIC.len() - 1);
                self.skip(self.ahead.len() - kept);
                self.fill(SEARCH_CHUNK)?;
                if self.ahead.len() == kept {
                    self.skip(kept);
                    break;
                }
            }
        }
        self.lose(start, why, self.offset - start);
        Ok(())
    }

    /// The input ends where a frame should begin, or in its header.
    fn lose_tail(&mut self) {
        self.ended = true;
        let (offset, len) = (self.offset, self.ahead.len());
        if len > 0 {
            self.skip(len);
            self.lose(offset, CUT, len as u64);
        } else if self.damage.is_none() {
            self.lose(offset, "the recording was not ended, only interrupted", 0);
        }
    }

    /// The payload of the frame whose header was just read, as it is stored; `None`: it is damaged.
    pub fn stored(&mut self, found: &Found) -> Result<Option<Bytes>, Error> {
        let len = found.head.len as usize;
        if !self.fill(len).map_err(|source| self.unreadable(source))? {
            self.lose(found.offset, CUT, HEAD_LEN as u64 + self.ahead.len() as u64);
            self.skip(self.ahead.len());
            self.ended = true;
            return Ok(None);
        }
        let payload = self.ahead.split_to(len).freeze();
        self.offset += len as u64;
        Ok(self.keep(found, found.head.check(&payload)).map(|()| payload))
    }

    /// The payload of the frame whose header was just read, unpacked; `None`: it is damaged.
    pub fn payload(&mut self, found: &Found) -> Result<Option<Bytes>, Error> {
        let stored = self.stored(found)?;
        Ok(stored.and_then(|stored| self.keep(found, found.head.unpack(&stored))))
    }

    /// The batch in the frame whose header was just read; `None`: it is damaged.
    pub fn batch(&mut self, found: &Found) -> Result<Option<Batch>, Error> {
        let payload = self.payload(found)?;
        let (from, until) = (found.head.from, found.head.until);
        Ok(payload.and_then(|payload| self.keep(found, payload::decode(from, until, &payload))))
    }

    /// The recording ended here on purpose. Whatever comes after is no part of it.
    pub fn end(&mut self) -> Result<(), Error> {
        self.ended = true;
        let offset = self.offset;
        let ahead = std::mem::take(&mut self.ahead).len() as u64;
        let behind = io::copy(&mut self.input, &mut io::sink()).map_err(|source| self.unreadable(source))?;
        self.offset += ahead + behind;
        if self.offset > offset {
            self.lose(offset, "something follows the end of the recording", ahead + behind);
        }
        Ok(())
    }

    fn keep<T, W: AsRef<str>>(&mut self, found: &Found, result: Result<T, W>) -> Option<T> {
        result.map_err(|why| self.lose(found.offset, why.as_ref(), found.head.frame_len())).ok()
    }

    fn lose(&mut self, at_offset: u64, why: &str, bytes: u64) {
        let first = || Damage { at_offset, why: why.to_owned(), skipped_bytes: 0 };
        self.damage.get_or_insert_with(first).skipped_bytes += bytes;
    }

    /// Reads until `len` bytes are ahead; whether there are as many. Memory grows with what is really there.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        let missing = len.saturating_sub(self.ahead.len());
        if missing > 0 {
            io::copy(&mut self.input.by_ref().take(missing as u64), &mut (&mut self.ahead).writer())?;
        }
        Ok(self.ahead.len() >= len)
    }

    fn skip(&mut self, len: usize) {
        self.ahead.advance(len);
        self.offset += len as u64;
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::File { act: "read", path: self.path.clone(), source }
    }

    fn not_a_capture(&self, why: String) -> Error {
        Error::NotACapture { path: self.path.clone(), why }
    }
}

impl<R: Read + Seek> Log<R> {
    /// Passes the payload of the frame whose header was just read, unread. Whether it is there, of an input of `len` bytes.
    pub fn pass(&mut self, found: &Found, len: u64) -> Result<bool, Error> {
        let next = found.offset + found.head.frame_len();
        if next > len {
            self.lose(found.offset, CUT, len.saturating_sub(found.offset));
            self.ended = true;
            return Ok(false);
        }
        self.go(next)?;
        Ok(true)
    }

    /// Continues at `offset`, where a frame begins.
    pub fn go(&mut self, offset: u64) -> Result<(), Error> {
        self.ended = false;
        self.ahead.clear();
        self.offset = offset;
        self.input.seek(SeekFrom::Start(offset)).map_err(|source| self.unreadable(source))?;
        Ok(())
    }

    /// Length of the input. Continue with [`Self::go`].
    pub fn len(&mut self) -> Result<u64, Error> {
        self.input.seek(SeekFrom::End(0)).map_err(|source| self.unreadable(source))
    }
}

/// Why this cannot be the start of a capture.
fn not_a_capture(start: &[u8]) -> Option<&'static str> {
    let text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match start.strip_prefix(&SIGNATURE) {
        Some(version) if version.len() == size_of::<u32>() => None,
        _ if start.is_empty() => Some("it is empty"),
        Some(_) => Some("it ends in its first bytes"),
        None if SIGNATURE.starts_with(start) => Some("it ends in its first bytes"),
        None if start.iter().all(text) => Some("it is text"),
        None if start.starts_with(&SIGNATURE[..4]) => Some("its signature is damaged, as by a transfer as text"),
        None => Some("it does not begin like one"),
    }
}
