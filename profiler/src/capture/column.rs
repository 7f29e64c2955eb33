//! One column: a run of integers, each a varint, either as it is or as the step from the one before.

use std::collections::HashMap;

use bytes::{Buf, BufMut};

/// What is wrong with bytes that are no column, table or frame.
pub(super) type Malformed = &'static str;

/// Most memory that the rows of one frame may take. A frame of 256 MiB could otherwise ask for a thousand times as much.
const MEMORY_MAX: usize = 1 << 30;

/// How a column's bytes become integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// LEB128: seven bits a byte, low bits first, the high bit on all but the last.
    Varint,
    /// LEB128 of the zigzag of the wrapping difference from the integer before; the first differs from 0.
    Delta,
}

impl Encoding {
    /// Its number in a file.
    pub const fn code(self) -> u8 {
        match self {
            Self::Varint => 1,
            Self::Delta => 2,
        }
    }

    /// The encoding of a number in a file.
    pub fn of(code: u8) -> Option<Self> {
        [Self::Varint, Self::Delta].into_iter().find(|encoding| encoding.code() == code)
    }
}

/// Strings while a frame is written: each is kept once, in order of first use.
#[derive(Default)]
pub(super) struct Strings {
    positions: HashMap<String, u64, foldhash::fast::RandomState>,
    /// Length of each.
    pub lengths: Vec<u64>,
    /// All of them, one after the other.
    pub bytes: Vec<u8>,
}

impl Strings {
    fn position(&mut self, text: &str) -> u64 {
        if let Some(position) = self.positions.get(text) {
            return *position;
        }
        let position = self.lengths.len() as u64;
        self.positions.insert(text.to_owned(), position);
        self.lengths.push(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
        position
    }
}

/// Writes one column.
pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    strings: &'a mut Strings,
    encoding: Encoding,
    before: u64,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`.
    pub fn new(encoding: Encoding, out: &'a mut Vec<u8>, strings: &'a mut Strings) -> Self {
        Self { out, strings, encoding, before: 0 }
    }

    /// One integer.
    pub fn int(&mut self, value: u64) {
        let mut rest = match self.encoding {
            Encoding::Delta => zigzag(value.wrapping_sub(self.before)),
            Encoding::Varint => value,
        };
        self.before = value;
        while rest >= 0x80 {
            self.out.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.out.put_u8(rest.to_le_bytes()[0]);
    }

    /// One string.
    pub fn text(&mut self, text: &str) {
        let position = self.strings.position(text);
        self.int(position);
    }
}

/// What the columns of one frame share while they are read.
pub(super) struct Shared<'a> {
    /// The frame's strings.
    pub strings: Vec<&'a str>,
    memory_left: usize,
}

impl Default for Shared<'_> {
    fn default() -> Self {
        Self { strings: Vec::new(), memory_left: MEMORY_MAX }
    }
}

impl Shared<'_> {
    /// Asks for the memory of `count` items of type `T`.
    pub fn spend<T>(&mut self, count: usize) -> Result<(), Malformed> {
        self.memory_left = count
            .checked_mul(size_of::<T>())
            .and_then(|bytes| self.memory_left.checked_sub(bytes))
            .ok_or("a frame unpacks to more than 1 GiB")?;
        Ok(())
    }
}

/// Reads one column.
pub(super) struct Decoder<'a, 'f> {
    data: &'a [u8],
    encoding: Encoding,
    before: u64,
    shared: &'a mut Shared<'f>,
}

impl<'a, 'f> Decoder<'a, 'f> {
    /// Reads from `data`.
    pub fn new(encoding: Encoding, data: &'a [u8], shared: &'a mut Shared<'f>) -> Self {
        Self { data, encoding, before: 0, shared }
    }

    /// One integer.
    pub fn int(&mut self) -> Result<u64, Malformed> {
        let stored = varint(&mut self.data)?;
        let value = match self.encoding {
            Encoding::Delta => self.before.wrapping_add(unzigzag(stored)),
            Encoding::Varint => stored,
        };
        self.before = value;
        Ok(value)
    }

    /// The number of items of type `T` that follow; each has at least one byte.
    pub fn count<T>(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.int()?).unwrap_or(usize::MAX);
        if count > self.data.len() {
            return Err("it ends inside a list");
        }
        self.spend::<T>(count)?;
        Ok(count)
    }

    /// One string.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let position = usize::try_from(self.int()?).unwrap_or(usize::MAX);
        let text = *self.shared.strings.get(position).ok_or("it names a string that does not exist")?;
        self.spend::<u8>(text.len())?;
        Ok(text.to_owned())
    }

    /// Asks for the memory of `count` items of type `T`.
    pub fn spend<T>(&mut self, count: usize) -> Result<(), Malformed> {
        self.shared.spend::<T>(count)
    }

    /// Checks that nothing is left.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.data.has_remaining() { Err("it has more values than rows") } else { Ok(()) }
    }
}

/// Small steps of either sign become small numbers.
fn zigzag(step: u64) -> u64 {
    (step << 1) ^ (step >> 63).wrapping_neg()
}

fn unzigzag(stored: u64) -> u64 {
    (stored >> 1) ^ (stored & 1).wrapping_neg()
}

/// Takes one LEB128 integer. What does not fit into 64 bits is refused.
fn varint(data: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = data.try_get_u8().map_err(|_| "it ends inside a value")?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a value does not fit into 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTS: [u64; 9] = [0, 1, 127, 128, 16_383, 16_384, u64::MAX / 2, u64::MAX - 1, u64::MAX];

    #[test]
    fn integers_survive() {
        for encoding in [Encoding::Varint, Encoding::Delta] {
            let (mut out, mut strings, mut shared) = (Vec::new(), Strings::default(), Shared::default());
            let mut encoder = Encoder::new(encoding, &mut out, &mut strings);
            let both_ways = || INTS.into_iter().chain(INTS.into_iter().rev());
            both_ways().for_each(|value| encoder.int(value));
            let mut decoder = Decoder::new(encoding, &out, &mut shared);
            both_ways().for_each(|value| assert_eq!(decoder.int(), Ok(value)));
            assert_eq!(decoder.end(), Ok(()));
        }
    }

    #[test]
    fn small_steps_are_short() {
        let (mut out, mut strings) = (Vec::new(), Strings::default());
        let mut encoder = Encoder::new(Encoding::Delta, &mut out, &mut strings);
        for value in [1 << 40, (1 << 40) + 3, (1 << 40) - 60] {
            encoder.int(value);
        }
        assert_eq!(out.len(), 6 + 1 + 1);
    }

    #[test]
    fn a_value_of_more_than_64_bits_is_refused() {
        let most = [[0xff; 9].as_slice(), &[1]].concat();
        assert_eq!(varint(&mut most.as_slice()), Ok(u64::MAX));
        let more = [[0xff; 9].as_slice(), &[2]].concat();
        assert!(varint(&mut more.as_slice()).is_err());
        assert!(varint(&mut [0x80; 11].as_slice()).is_err());
        assert!(varint(&mut [0x80].as_slice()).is_err());
    }
}
