//! A frame: a header of fixed size, then a payload, each under its own checksum.
//!
//! The header has a checksum of its own so that its length can be believed before the payload is read: an index of a
//! capture needs the headers only, and skipping a damaged payload needs no search.

use bytes::{Buf, BufMut, Bytes};

use super::column::Malformed;

/// Starts each frame. No byte of it is valid UTF-8, so no text within a frame looks like one.
pub(super) const MAGIC: [u8; 4] = [0xf5, 0xf6, 0xf7, 0xf8];
/// Length of a frame's header.
pub(super) const HEAD_LEN: usize = 40;
/// Longest payload, stored or unpacked. A batch of a busy host has about 1 MB.
pub(super) const PAYLOAD_MAX: u32 = 256 << 20;
/// The only flag: the payload is a zstd frame.
const ZSTD: u8 = 1;
/// The fastest level. On captures it is also smaller than level 3.
const ZSTD_LEVEL: i32 = 1;
/// The header without its own checksum.
const HEAD_BODY_LEN: usize = HEAD_LEN - 4;

/// What a frame carries. Readers skip all others.
pub(super) mod kind {
    /// The observed host, as JSON. The first frame, and only there.
    pub const MACHINE: u8 = 1;
    /// One interval.
    pub const BATCH: u8 = 2;
    /// The recording ended here on purpose.
    pub const END: u8 = 3;
}

/// A frame's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// One of [`kind`].
    pub kind: u8,
    flags: u8,
    /// Length of the payload as stored.
    pub len: u32,
    raw_len: u32,
    /// Start of a batch, else 0.
    pub from: u64,
    /// End of a batch, else 0.
    pub until: u64,
    payload_crc: u32,
}

impl Head {
    /// Reads a header.
    pub fn parse(bytes: &[u8; HEAD_LEN]) -> Result<Self, Malformed> {
        let mut fields = bytes.as_slice();
        if fields.split_off(..MAGIC.len()) != Some(&MAGIC) {
            return Err("no frame starts here");
        }
        let (kind, flags, _reserved) = (fields.get_u8(), fields.get_u8(), fields.get_u16_le());
        let head = Self {
            kind,
            flags,
            len: fields.get_u32_le(),
            raw_len: fields.get_u32_le(),
            from: fields.get_u64_le(),
            until: fields.get_u64_le(),
            payload_crc: fields.get_u32_le(),
        };
        if fields.get_u32_le() != crc32fast::hash(&bytes[..HEAD_BODY_LEN]) {
            return Err("the checksum of a frame's header does not match");
        }
        if head.len > PAYLOAD_MAX || head.raw_len > PAYLOAD_MAX {
            return Err("a frame is longer than any may be");
        }
        Ok(head)
    }

    /// The frame from its header to the next.
    pub fn frame_len(&self) -> u64 {
        HEAD_LEN as u64 + u64::from(self.len)
    }

    /// Whether a payload is as it was written.
    pub fn check(&self, payload: &[u8]) -> Result<(), Malformed> {
        if crc32fast::hash(payload) == self.payload_crc {
            Ok(())
        } else {
            Err("the checksum of a frame does not match")
        }
    }

    /// Unpacks a checked payload.
    pub fn unpack(&self, payload: &Bytes) -> Result<Bytes, Malformed> {
        let raw_len = self.raw_len as usize;
        let raw = match self.flags {
            0 => payload.clone(),
            ZSTD => zstd::bulk::decompress(payload, raw_len).map_err(|_| "a frame cannot be decompressed")?.into(),
            _ => return Err("a frame is packed in a way that this program does not know"),
        };
        if raw.len() == raw_len { Ok(raw) } else { Err("a frame has not the length that it claims") }
    }
}

/// A frame as it is stored.
pub(super) struct Frame {
    head: Head,
    payload: Bytes,
}

impl Frame {
    /// A frame that is stored as it is. `None`: it is too long.
    pub fn plain(kind: u8, payload: Bytes) -> Option<Self> {
        let raw_len = payload_len(&payload)?;
        Some(Self::new(Head { kind, len: raw_len, raw_len, ..Head::default() }, payload))
    }

    /// A frame that is compressed. `None`: it is too long.
    pub fn packed(kind: u8, (from, until): (u64, u64), raw: &[u8]) -> Option<Self> {
        let raw_len = payload_len(raw)?;
        let payload = Bytes::from(zstd::bulk::compress(raw, ZSTD_LEVEL).ok()?);
        let head = Head { kind, flags: ZSTD, len: payload_len(&payload)?, raw_len, from, until, payload_crc: 0 };
        Some(Self::new(head, payload))
    }

    fn new(head: Head, payload: Bytes) -> Self {
        Self { head: Head { payload_crc: crc32fast::hash(&payload), ..head }, payload }
    }

    /// Appends the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        let Self { head, payload } = self;
        let start = out.len();
        out.put_slice(&MAGIC);
        out.put_u8(head.kind);
        out.put_u8(head.flags);
        out.put_u16_le(0);
        out.put_u32_le(head.len);
        out.put_u32_le(head.raw_len);
        out.put_u64_le(head.from);
        out.put_u64_le(head.until);
        out.put_u32_le(head.payload_crc);
        let crc = crc32fast::hash(&out[start..]);
        out.put_u32_le(crc);
        out.put_slice(payload);
    }
}

fn payload_len(payload: &[u8]) -> Option<u32> {
    u32::try_from(payload.len()).ok().filter(|len| *len <= PAYLOAD_MAX)
}
