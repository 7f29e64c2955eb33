//! BTF with all types left out that the offset resolver does not ask for.
//!
//! What stays, stays in its order: of two types with the same name, the first remains the first.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, bail, ensure};
use profiler_common::offset::PATHS;

use super::{ENUMERATORS, TYPEDEFS, tracepoints};

/// The magic number and version 1.
const MAGIC: u32 = 0x0001_eb9f;
/// Words of the header.
const HEADER: usize = 6;
/// Words that each type has: its name, its kind with the number of its parts, its size or another type.
const COMMON: usize = 3;

const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const RESTRICT: u32 = 11;
const FUNC_PROTO: u32 = 13;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// How a type is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reach {
    /// As a part: its own parts count, what it points to does not.
    Embedded,
    /// As an argument: what it points to counts, but of a struct the name is enough.
    Argument,
}

/// The same types without those that nobody asks for. A pointer to what was left out points to `void`.
pub fn trim(btf: &[u8]) -> Result<Vec<u8>> {
    let types = Types::read(btf)?;
    let mut reached = HashSet::new();
    let mut open = types.roots();
    while let Some((id, reach)) = open.pop() {
        let Some(found) = types.get(id) else { continue };
        let ends = match reach {
            Reach::Embedded => found.kind() == POINTER,
            Reach::Argument => found.is_struct(),
        };
        if reached.insert((id, reach)) && !ends {
            open.extend(found.references().map(|place| (found.0[place], reach)));
        }
    }
    types.write(&reached)
}

/// The words of a type.
#[derive(Clone)]
struct Type(Vec<u32>);

impl Type {
    fn kind(&self) -> u32 {
        kind(self.0[1])
    }

    fn is_struct(&self) -> bool {
        matches!(self.kind(), STRUCT | UNION)
    }

    /// Where its parts start, each with a name.
    fn parts(&self) -> impl Iterator<Item = usize> + use<> {
        let (end, step) = match self.kind() {
            STRUCT | UNION | ENUM64 => (self.0.len(), 3),
            ENUM | FUNC_PROTO => (self.0.len(), 2),
            _ => (COMMON, 1),
        };
        (COMMON..end).step_by(step)
    }

    /// Where it names itself and its parts.
    fn names(&self) -> impl Iterator<Item = usize> + use<> {
        self.parts().chain([0])
    }

    /// Where it refers to other types.
    fn references(&self) -> impl Iterator<Item = usize> + use<> {
        let own = match self.kind() {
            ARRAY => COMMON..COMMON + 2,
            POINTER | TYPEDEF..=RESTRICT | FUNC_PROTO | TYPE_TAG => 2..3,
            _ => 0..0,
        };
        let has_typed_parts = self.is_struct() || self.kind() == FUNC_PROTO;
        self.parts().filter(move |_| has_typed_parts).map(|place| place + 1).chain(own)
    }

    /// The same struct with its name and size alone.
    fn hollow(&self) -> Self {
        Self(vec![self.0[0], self.kind() << 24, self.0[2]])
    }
}

/// All types of a kernel.
struct Types<'a> {
    /// From type 1 on: type 0 is `void`.
    types: Vec<Type>,
    strings: &'a [u8],
}

impl<'a> Types<'a> {
    fn read(btf: &'a [u8]) -> Result<Self> {
        let header = words(btf.get(..HEADER * 4).context("the header is cut")?);
        ensure!(header[0] == MAGIC, "this is no BTF");
        let section = |place: usize| {
            let start = header[1] as usize + header[place] as usize;
            btf.get(start..start + header[place + 1] as usize).context("a section is cut")
        };
        let all = words(section(2)?);
        let mut rest = &all[..];
        let mut types = Vec::new();
        while let Some(info) = rest.get(1) {
            let (first, others) = rest.split_at_checked(size(*info)?).context("the last type is cut")?;
            types.push(Type(first.to_vec()));
            rest = others;
        }
        Ok(Self { types, strings: section(4)? })
    }

    fn get(&self, id: u32) -> Option<&Type> {
        self.types.get((id as usize).checked_sub(1)?)
    }

    fn name(&self, at: u32) -> &'a [u8] {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = (u32, &Type)> {
        (1..).zip(&self.types)
    }

    /// What the resolver asks for by name.
    fn roots(&self) -> Vec<(u32, Reach)> {
        let structs = PATHS.iter().filter_map(|(_, name, _)| self.first(name, Type::is_struct));
        let enums = self.all().filter(|(_, found)| self.is_asked_for(found)).map(|(id, _)| id);
        let hooks = tracepoints().map(|name| format!("btf_trace_{name}"));
        let hooks = hooks
            .chain(TYPEDEFS.map(str::to_owned))
            .filter_map(|name| self.first(&name, |found| found.kind() == TYPEDEF));
        let embedded = structs.chain(enums).map(|id| (id, Reach::Embedded));
        embedded.chain(hooks.map(|id| (id, Reach::Argument))).collect()
    }

    fn first(&self, name: &str, is_wanted: impl Fn(&Type) -> bool) -> Option<u32> {
        let mut named = self.all().filter(|(_, found)| self.name(found.0[0]) == name.as_bytes());
        named.find(|(_, found)| is_wanted(found)).map(|(id, _)| id)
    }

    /// Whether it is an enum with an enumerator that is asked for.
    fn is_asked_for(&self, found: &Type) -> bool {
        let names = || found.parts().map(|place| self.name(found.0[place]));
        found.kind() == ENUM && ENUMERATORS.iter().any(|asked| names().any(|name| name == asked.as_bytes()))
    }

    /// A blob of the types that were reached.
    fn write(&self, reached: &HashSet<(u32, Reach)>) -> Result<Vec<u8>> {
        let kept = self.all().filter_map(|(id, found)| {
            let [embedded, argument] = [Reach::Embedded, Reach::Argument].map(|reach| reached.contains(&(id, reach)));
            let kept = if embedded || !found.is_struct() { found.clone() } else { found.hollow() };
            (embedded || argument).then_some((id, kept))
        });
        let kept: Vec<_> = kept.collect();
        let numbers: HashMap<_, _> = kept.iter().map(|(id, _)| *id).zip(1..).collect();
        let mut strings = Strings::new();
        let mut types = Vec::new();
        for (_, mut found) in kept {
            for place in found.names() {
                found.0[place] = strings.place(self.name(found.0[place]))?;
            }
            for place in found.references() {
                found.0[place] = numbers.get(&found.0[place]).copied().unwrap_or(0);
            }
            types.extend(found.0);
        }
        blob(&types, &strings)
    }
}

/// Strings of a blob, each once.
struct Strings {
    bytes: Vec<u8>,
    places: HashMap<Vec<u8>, u32>,
}

impl Strings {
    /// The first string is empty.
    fn new() -> Self {
        Self { bytes: vec![0], places: HashMap::from([(Vec::new(), 0)]) }
    }

    fn place(&mut self, name: &[u8]) -> Result<u32> {
        if let Some(place) = self.places.get(name) {
            return Ok(*place);
        }
        let place = u32::try_from(self.bytes.len())?;
        self.bytes.extend(name);
        self.bytes.push(0);
        self.places.insert(name.to_vec(), place);
        Ok(place)
    }
}

fn blob(types: &[u32], strings: &Strings) -> Result<Vec<u8>> {
    let (types_length, strings_length) = (u32::try_from(types.len() * 4)?, u32::try_from(strings.bytes.len())?);
    let header: [u32; HEADER] = [MAGIC, 24, 0, types_length, types_length, strings_length];
    let words = header.iter().chain(types).flat_map(|word| word.to_le_bytes());
    Ok(words.chain(strings.bytes.iter().copied()).collect())
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Words of a type.
fn size(info: u32) -> Result<usize> {
    let parts = (info & 0xffff) as usize;
    let more = match kind(info) {
        // Integers, variables and the tags of declarations.
        1 | 14 | 17 => 1,
        ARRAY => 3,
        // Sections as well.
        STRUCT | UNION | 15 | ENUM64 => 3 * parts,
        ENUM | FUNC_PROTO => 2 * parts,
        // Forward declarations, functions and floats as well.
        POINTER | 7 | TYPEDEF..=RESTRICT | 12 | 16 | TYPE_TAG => 0,
        kind => bail!("a type is of the unknown kind {kind}"),
    };
    Ok(COMMON + more)
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks();
    words.iter().copied().map(u32::from_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::reader::Btf;
    use super::*;

    const INT: u32 = 1;
    const CONST: u32 = 10;

    /// Name, kind, size or type; then of each part its name and the words that follow.
    type Sketch<'a> = (&'a str, u32, u32, &'a [(&'a str, &'a [u32])]);

    fn btf(types: &[Sketch]) -> Vec<u8> {
        let mut strings = Strings::new();
        let mut words = Vec::new();
        for (name, kind, third, parts) in types {
            let count = u32::try_from(parts.len()).unwrap();
            words.extend([strings.place(name.as_bytes()).unwrap(), kind << 24 | count, *third]);
            for (name, rest) in *parts {
                words.push(strings.place(name.as_bytes()).unwrap());
                words.extend(*rest);
            }
        }
        blob(&words, &strings).unwrap()
    }

    /// The types by name and kind.
    fn kept(blob: &[u8]) -> Vec<(String, u32)> {
        let types = Types::read(blob).unwrap();
        let name = |found: &Type| String::from_utf8_lossy(types.name(found.0[0])).into_owned();
        types.types.iter().map(|found| (name(found), found.kind())).collect()
    }

    fn names(types: &[(&str, u32)]) -> Vec<(String, u32)> {
        types.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
    }

    const CRED: &[Sketch] = &[
        ("list", STRUCT, 4, &[("next", &[3, 0])]),
        ("int", INT, 4, &[("", &[])]),
        ("", POINTER, 1, &[]),
        ("", STRUCT, 4, &[("val", &[2, 0])]),
        ("kuid_t", TYPEDEF, 4, &[]),
        ("cred", STRUCT, 16, &[("list", &[3, 0]), ("uid", &[5, 64])]),
        ("cred", STRUCT, 8, &[("uid", &[5, 0])]),
    ];

    #[test]
    fn what_is_embedded_stays_and_what_is_pointed_to_goes() {
        let trimmed = trim(&btf(CRED)).unwrap();
        let wanted = [("int", INT), ("", POINTER), ("", STRUCT), ("kuid_t", TYPEDEF), ("cred", STRUCT)];
        assert_eq!(kept(&trimmed), names(&wanted));
        assert_eq!(Types::read(&trimmed).unwrap().get(2).unwrap().0[2], 0, "the pointer has lost its type");
        assert_eq!(Btf::parse(&trimmed).unwrap().offset("cred", "uid.val"), Some(8));
    }

    #[test]
    fn an_argument_keeps_the_name_of_its_struct() {
        let trimmed = trim(&btf(&[
            ("task_group", STRUCT, 8, &[("next", &[4, 0])]),
            ("", CONST, 1, &[]),
            ("", POINTER, 2, &[]),
            ("", POINTER, 1, &[]),
            ("", FUNC_PROTO, 0, &[("", &[0]), ("", &[3])]),
            ("", POINTER, 5, &[]),
            ("btf_trace_tcp_send_reset", TYPEDEF, 6, &[]),
            ("btf_trace_nobody_asks", TYPEDEF, 6, &[]),
        ]));
        let btf = Btf::parse(&trimmed.unwrap()).unwrap();
        assert_eq!(btf.tracepoint_argument("tcp_send_reset", "task_group"), Some(0));
        assert_eq!(btf.offset("task_group", "next"), None);
        assert_eq!(btf.tracepoint_arity("nobody_asks"), None);
    }

    #[test]
    fn an_enum_stays_for_one_enumerator() {
        let trimmed = trim(&btf(&[
            ("", ENUM, 4, &[("OTHER", &[7])]),
            ("", ENUM, 4, &[("__RQF_STARTED", &[0]), ("__RQF_FLUSH_SEQ", &[1])]),
        ]));
        let btf = Btf::parse(&trimmed.unwrap()).unwrap();
        assert_eq!((btf.enumerator("__RQF_FLUSH_SEQ"), btf.enumerator("OTHER")), (Some(1), None));
    }

    #[test]
    fn a_cut_blob_is_refused() {
        let blob = btf(CRED);
        for length in 0..blob.len() {
            assert!(trim(&blob[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_fixtures_are_trimmed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiler/tests/btf");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let fixtures: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "btf")).collect();
        assert!(!fixtures.is_empty());
        for path in fixtures {
            let fixture = fs::read(&path).unwrap();
            assert!(trim(&fixture).unwrap() == fixture, "{}", path.display());
        }
    }
}
