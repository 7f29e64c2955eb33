//! A reader of BTF, the kernel's own description of its types: member offsets, tracepoint arity, enum values.
//!
//! aya resolves names to ids but keeps members private, and the programs need offsets. Every length is checked: a BTF
//! file may come from a user.

use std::collections::HashMap;

/// Why a blob is no BTF.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    /// The magic number or the header is wrong, or the strings do not end.
    #[error("not BTF, or of the other byte order")]
    Header,
    /// It ends inside a type.
    #[error("cut inside type {0}")]
    Cut(u32),
    /// A name of it lies outside of the strings.
    #[error("type {0} has a name that is not there")]
    Name(u32),
    /// A kind of type that is newer than this reader.
    #[error("type {0} is of unknown kind {1}")]
    Kind(u32, u32),
}

/// A blob may be circular. Real types nest less.
const NESTING_MAX: usize = 32;

const INT: u32 = 1;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const TYPE_TAG: u32 = 18;
const POINTER: u32 = 2;

/// Types of one kernel image.
#[derive(Debug)]
pub struct Btf {
    words: Vec<u32>,
    strings: Vec<u8>,
    /// Index into `words` by type id; type 0 is void.
    starts: Vec<usize>,
    /// First definition of each struct or union, and of each typedef.
    structs: HashMap<Vec<u8>, u32>,
    typedefs: HashMap<Vec<u8>, u32>,
}

impl Btf {
    /// Reads a blob such as `/sys/kernel/btf/vmlinux`.
    pub fn parse(blob: &[u8]) -> Result<Self, BtfError> {
        let word = |at: usize| {
            let bytes = blob.get(at..at + 4).ok_or(BtfError::Header)?;
            Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        if word(0)? & 0xffff != 0xeb9f {
            return Err(BtfError::Header);
        }
        let header = word(4)? as usize;
        let section = |offset: usize, length: usize| {
            let start = header.checked_add(word(offset)? as usize).ok_or(BtfError::Header)?;
            let end = start.checked_add(word(length)? as usize).ok_or(BtfError::Header)?;
            blob.get(start..end).ok_or(BtfError::Header)
        };
        let words = section(8, 12)?
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        let strings = section(16, 20)?.to_vec();
        if strings.last() != Some(&0) {
            return Err(BtfError::Header);
        }
        let mut btf =
            Self { words, strings, starts: vec![usize::MAX], structs: HashMap::new(), typedefs: HashMap::new() };
        btf.index()?;
        Ok(btf)
    }

    /// Byte offset of a member, whose path may step into nested structs (`se.sum_exec_runtime`), name alternatives
    /// (`__state|state`), and need not name anonymous ones; of a member that is one bit, or as many bits as the path says
    /// (`chrono_type:2|chrono_type:8`), its offset in bits. `None` for what does not exist, and for other bit fields.
    #[must_use]
    pub fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        self.find(structure, path).map(|(offset, _)| offset)
    }

    /// Bytes of the member that [`Self::offset`] finds. `None` for arrays.
    #[must_use]
    pub fn size(&self, structure: &str, path: &str) -> Option<u32> {
        let (_, member) = self.find(structure, path)?;
        self.bytes(member)
    }

    /// Whether there is a typedef of this name.
    #[must_use]
    pub fn has_typedef(&self, name: &str) -> bool {
        self.typedefs.contains_key(name.as_bytes())
    }

    /// Number of arguments of a tracepoint, from its `btf_trace_NAME` typedef. `None` if there is no such tracepoint.
    #[must_use]
    pub fn tracepoint_arity(&self, name: &str) -> Option<usize> {
        self.prototype(name).map(|proto| self.vlen(proto).saturating_sub(1))
    }

    /// Index of the first argument of a tracepoint that points to a struct.
    #[must_use]
    pub fn tracepoint_argument(&self, name: &str, structure: &str) -> Option<usize> {
        let proto = self.prototype(name)?;
        // Parameter 0 is the hidden data pointer of the tracepoint machinery.
        (1..self.vlen(proto)).find_map(|index| {
            let parameter = *self.words.get(self.starts[proto as usize] + 3 + index * 2 + 1)?;
            let target = self.resolve(self.pointee(self.resolve(parameter)?)?)?;
            (self.kind(target) == STRUCT && self.name(self.word(target, 0)?) == structure.as_bytes())
                .then_some(index - 1)
        })
    }

    /// Id of a struct.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<u32> {
        self.structs.get(name.as_bytes()).copied()
    }

    /// Id of a function.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<u32> {
        let ids = (1..self.starts.len()).filter_map(|id| u32::try_from(id).ok());
        let named = |id: &u32| self.word(*id, 0).is_some_and(|label| self.name(label) == name.as_bytes());
        ids.filter(|id| self.kind(*id) == FUNC).find(named)
    }

    /// Value of an enumerator of any enum.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        let mut all = self.enums().flat_map(|id| self.values(id));
        all.find_map(|(found, value)| (found == name.as_bytes()).then_some(value))
    }

    /// Enumerators of an enum and their values; none if there is no such enum.
    #[must_use]
    pub fn enumerators(&self, name: &str) -> Vec<(String, u32)> {
        let named = |id: &u32| self.word(*id, 0).is_some_and(|label| self.name(label) == name.as_bytes());
        let values = self.enums().find(named).into_iter().flat_map(|id| self.values(id));
        values.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value)).collect()
    }

    fn enums(&self) -> impl Iterator<Item = u32> + '_ {
        let ids = (1..self.starts.len()).filter_map(|id| u32::try_from(id).ok());
        ids.filter(|id| self.kind(*id) == ENUM)
    }

    /// Of an enum.
    fn values(&self, id: u32) -> impl Iterator<Item = (&[u8], u32)> {
        (0..self.vlen(id)).filter_map(move |index| {
            let at = self.starts[id as usize] + 3 + index * 2;
            Some((self.name(*self.words.get(at)?), *self.words.get(at + 1)?))
        })
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.words.len() {
            let id = u32::try_from(self.starts.len()).map_err(|_| BtfError::Header)?;
            let [name, info] = [at, at + 1].map(|at| self.words.get(at).copied());
            let (Some(name), Some(info)) = (name, info) else { return Err(BtfError::Cut(id)) };
            let (kind, vlen) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            // Words that follow, and how many parts they tell of whose first word is a name.
            let (extra, parts) = match kind {
                1 | 14 | 17 => (1, 0),
                POINTER | 7..=12 | 16 | TYPE_TAG => (0, 0),
                3 => (3, 0),
                15 => (vlen * 3, 0),
                STRUCT | UNION | 19 => (vlen * 3, vlen),
                ENUM | FUNC_PROTO => (vlen * 2, vlen),
                _ => return Err(BtfError::Kind(id, kind)),
            };
            self.starts.push(at);
            let inside = self.words.get(at + 3..at + 3 + extra).ok_or(BtfError::Cut(id))?;
            let names = inside.iter().step_by(extra.checked_div(parts).unwrap_or(1)).take(parts);
            if [&name].into_iter().chain(names).any(|name| *name as usize >= self.strings.len()) {
                return Err(BtfError::Name(id));
            }
            at += 3 + extra;
            let index = match kind {
                STRUCT | UNION => &mut self.structs,
                TYPEDEF => &mut self.typedefs,
                _ => continue,
            };
            let name = name_in(&self.strings, name);
            if !name.is_empty() && !index.contains_key(name) {
                index.insert(name.to_vec(), id);
            }
        }
        Ok(())
    }

    fn word(&self, id: u32, index: usize) -> Option<u32> {
        // `void` (0) starts nowhere.
        self.words.get(self.starts.get(id as usize)?.checked_add(index)?).copied()
    }

    fn kind(&self, id: u32) -> u32 {
        self.word(id, 1).map_or(0, |info| info >> 24 & 0x1f)
    }

    fn vlen(&self, id: u32) -> usize {
        self.word(id, 1).map_or(0, |info| (info & 0xffff) as usize)
    }

    fn bytes(&self, member: u32) -> Option<u32> {
        let member = self.resolve(member)?;
        match self.kind(member) {
            POINTER => Some(8),
            INT | STRUCT | UNION | ENUM => self.word(member, 2),
            _ => None,
        }
    }

    fn name(&self, offset: u32) -> &[u8] {
        name_in(&self.strings, offset)
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..NESTING_MAX {
            match self.kind(id) {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = self.word(id, 2)?,
                _ => return Some(id),
            }
        }
        None
    }

    fn pointee(&self, id: u32) -> Option<u32> {
        (self.kind(id) == POINTER).then(|| self.word(id, 2))?
    }

    fn prototype(&self, tracepoint: &str) -> Option<u32> {
        let typedef = *self.typedefs.get(format!("btf_trace_{tracepoint}").as_bytes())?;
        let proto = self.resolve(self.pointee(self.resolve(typedef)?)?)?;
        (self.kind(proto) == FUNC_PROTO).then_some(proto)
    }

    /// Offset and type of a member by its path.
    fn find(&self, structure: &str, path: &str) -> Option<(u32, u32)> {
        let start = self.structure(structure)?;
        path.split('|').find_map(|path| {
            let (path, wanted) = path.split_once(':').map_or((path, None), |(path, width)| (path, width.parse().ok()));
            let (bits, member, width) = path.split('.').try_fold((0u32, start, 0), |(offset, id, _), name| {
                let (bits, member, width) = self.member(self.resolve(id)?, name, NESTING_MAX)?;
                Some((offset.checked_add(bits)?, member, width))
            })?;
            match (width, wanted) {
                (0, None) => (bits % 8 == 0).then_some((bits / 8, member)),
                (1, None) => Some((bits, member)),
                (0, Some(wanted)) => (self.bytes(member)?.checked_mul(8)? == wanted).then_some((bits, member)),
                _ => (wanted == Some(width)).then_some((bits, member)),
            }
        })
    }

    /// Bit offset and type of a member, and its width if it is a bit field; anonymous structs and unions searched through.
    fn member(&self, id: u32, name: &str, nesting: usize) -> Option<(u32, u32, u32)> {
        if nesting == 0 || !matches!(self.kind(id), STRUCT | UNION) {
            return None;
        }
        let bitfields = self.word(id, 1)? >> 31 != 0;
        (0..self.vlen(id)).find_map(|index| {
            let at = self.starts[id as usize] + 3 + index * 3;
            let [label, inner, place] = [at, at + 1, at + 2].map(|at| self.words.get(at).copied());
            let (label, inner, place) = (label?, inner?, place?);
            let offset = if bitfields { place & 0xff_ffff } else { place };
            if self.name(label) == name.as_bytes() {
                let width = if bitfields { place >> 24 } else { 0 };
                return Some((offset, inner, width));
            }
            if label != 0 {
                return None;
            }
            let (within, inner, width) = self.member(self.resolve(inner)?, name, nesting - 1)?;
            Some((offset.checked_add(within)?, inner, width))
        })
    }
}

fn name_in(strings: &[u8], offset: u32) -> &[u8] {
    let rest = strings.get(offset as usize..).unwrap_or_default();
    rest.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct a { union { int x; }; struct b b; int bits : 3 }; struct b { int y; int z }`, and nothing else.
    fn blob() -> Vec<u8> {
        let strings = b"\0a\0x\0b\0y\0z\0int\0bits\0";
        let types: &[u32] = &[
            11,
            1 << 24,
            4,
            32, // 1: int
            0,
            UNION << 24 | 1,
            4,
            3,
            1,
            0, // 2: anonymous union { x }
            5,
            STRUCT << 24 | 2,
            8,
            7,
            1,
            0,
            9,
            1,
            32, // 3: struct b { y, z }
            1,
            1 << 31 | STRUCT << 24 | 3,
            16,
            0,
            2,
            0,
            5,
            3,
            32,
            15,
            1,
            3 << 24 | 0x60, // 4: struct a
        ];
        let size = |length: usize| u32::try_from(length).unwrap();
        let header = [0x0001_eb9f, 24, 0, size(types.len() * 4), size(types.len() * 4), size(strings.len())];
        let words = header.iter().chain(types).flat_map(|word| word.to_le_bytes());
        words.chain(strings.iter().copied()).collect()
    }

    #[test]
    fn members_are_found_through_names_and_anonymous_unions() {
        let btf = Btf::parse(&blob()).unwrap();
        assert_eq!(btf.offset("a", "x"), Some(0));
        assert_eq!(btf.offset("a", "b.z"), Some(8));
        assert_eq!(btf.offset("a", "gone|b.y"), Some(4));
        assert_eq!(btf.offset("a", "bits"), None, "a bit field has no byte offset");
        let of_bits = ["bits:2", "bits:4|bits:3", "b:3", "b.z:32", "b.z:8"];
        assert_eq!(of_bits.map(|path| btf.offset("a", path)), [None, Some(0x60), None, Some(64), None]);
        assert_eq!(btf.offset("a", "b.x"), None);
        assert_eq!(btf.offset("c", "x"), None);
        assert_eq!((btf.size("a", "b"), btf.size("a", "b.z"), btf.size("a", "bits")), (Some(8), Some(4), None));
    }

    #[test]
    fn a_union_that_holds_itself_has_no_members() {
        let mut blob = blob();
        // The label and the type of what was `x`.
        blob[52..60].copy_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0]);
        let btf = Btf::parse(&blob).unwrap();
        assert_eq!((btf.offset("a", "x"), btf.offset("a", "b.y")), (None, Some(4)));
    }

    #[test]
    fn a_name_without_an_end_is_refused() {
        let mut blob = blob();
        blob[20] -= 1;
        assert_eq!(Btf::parse(&blob).unwrap_err(), BtfError::Header);
    }

    #[test]
    fn a_cut_or_garbled_blob_is_refused_without_a_panic() {
        let blob = blob();
        for length in 0..blob.len() {
            assert!(Btf::parse(&blob[..length]).is_err(), "{length} bytes");
        }
        for at in 0..blob.len() {
            let mut bad = blob.clone();
            bad[at] ^= 0xff;
            if let Ok(btf) = Btf::parse(&bad) {
                let _ = (btf.offset("a", "b.z"), btf.tracepoint_arity("x"), btf.enumerator("x"));
            }
        }
    }
}
