//! Tables: rows of one type, stored column by column. Each column names itself and its length, so that a reader takes
//! the columns that it knows, skips the others, and leaves at their defaults the fields that it does not find.

use bytes::{Buf, BufMut};

use super::column::{Decoder, Encoder, Encoding, Malformed, Shared, Strings};

/// A type of rows that has a table.
pub(super) trait Row: Default + Clone + 'static {
    /// Its table.
    const TABLE: Table<Self>;
}

/// What is stored of a type of rows.
pub(super) struct Table<R: 'static> {
    /// Number in the file, unique, never used again.
    pub id: u16,
    /// Name of the type.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [Column<R>],
}

/// One column of a table.
pub(super) struct Column<R: 'static> {
    /// Number in the file, unique in the table, never used again.
    pub id: u16,
    /// Path of the field.
    pub name: &'static str,
    /// Type of the field, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the documentation"))]
    pub kind: &'static str,
    /// Codec, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the documentation"))]
    pub codec: &'static str,
    /// How it is written.
    pub encoding: Encoding,
    /// Writes it of all rows.
    pub put: fn(&[&R], &mut Encoder<'_>),
    /// Reads it into all rows.
    pub get: fn(&mut [R], &mut Decoder<'_, '_>) -> Result<(), Malformed>,
}

/// Declares the columns of types of rows: `Type = table { id => path.of.field: type as codec, … }`. Writer, reader and
/// documentation follow from it.
macro_rules! columns {
    ($($row:ident = $table:literal { $($id:literal => $($field:ident).+: $kind:ty as $codec:ident,)+ })+) => {$(
        impl $crate::capture::table::Row for $row {
            const TABLE: $crate::capture::table::Table<Self> = $crate::capture::table::Table {
                id: $table,
                name: stringify!($row),
                columns: &[$($crate::capture::table::Column {
                    id: $id,
                    name: stringify!($($field).+),
                    kind: stringify!($kind),
                    codec: stringify!($codec),
                    encoding: <$codec as Codec<$kind>>::ENCODING,
                    put: |rows, to| rows.iter().for_each(|row| <$codec as Codec<$kind>>::put(&row.$($field).+, to)),
                    get: |rows, from| {
                        rows.iter_mut().try_for_each(|row| <$codec as Codec<$kind>>::get(&mut row.$($field).+, from))
                    },
                }),+],
            };
        }
    )+};
}
pub(super) use columns;

/// The table of strings. It has no rows that anything else could use, so it is spelled out below.
const STRINGS: u16 = 0;
/// Lengths of the strings in bytes.
const STRING_LENGTHS: u16 = 1;
/// The strings themselves, one after the other.
const STRING_BYTES: u16 = 2;
/// The encoding of the latter: no integers, but bytes as they are.
const BYTES: u8 = 3;

const CUT: Malformed = "a table is cut";

/// Writes the tables of one frame.
#[derive(Default)]
pub(super) struct TableWriter {
    out: Vec<u8>,
    strings: Strings,
}

impl TableWriter {
    /// Appends a table. One without rows is left out.
    pub fn put<R: Row>(&mut self, rows: &[&R]) {
        if rows.is_empty() {
            return;
        }
        let Self { out, strings } = self;
        put_table(out, R::TABLE.id, rows.len(), |out| {
            for column in R::TABLE.columns {
                put_column(out, column.id, column.encoding.code(), |out| {
                    (column.put)(rows, &mut Encoder::new(column.encoding, out, strings));
                });
            }
        });
    }

    /// Appends the strings that the tables refer to.
    pub fn finish(self) -> Vec<u8> {
        let Self { mut out, strings } = self;
        put_table(&mut out, STRINGS, strings.lengths.len(), |out| {
            put_column(out, STRING_LENGTHS, Encoding::Varint.code(), |out| {
                let mut none = Strings::default();
                let mut encoder = Encoder::new(Encoding::Varint, out, &mut none);
                strings.lengths.iter().for_each(|len| encoder.int(*len));
            });
            put_column(out, STRING_BYTES, BYTES, |out| out.put_slice(&strings.bytes));
        });
        out
    }
}

fn put_table(out: &mut Vec<u8>, id: u16, rows: usize, body: impl FnOnce(&mut Vec<u8>)) {
    out.put_u16_le(id);
    out.put_u32_le(stored_len(rows));
    put_sized(out, body);
}

fn put_column(out: &mut Vec<u8>, id: u16, encoding: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.put_u16_le(id);
    out.put_u8(encoding);
    put_sized(out, body);
}

/// Puts the length of what `body` appends before it.
fn put_sized(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.put_u32_le(0);
    let start = out.len();
    body(out);
    let len = stored_len(out.len() - start);
    out[start - size_of::<u32>()..start].copy_from_slice(&len.to_le_bytes());
}

/// A payload of 4 GiB never reaches a file: a frame refuses it far below that.
fn stored_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Reads the tables of one frame.
pub(super) struct TableReader<'a> {
    sections: Vec<Section<'a>>,
    shared: Shared<'a>,
}

/// A table in a payload.
#[derive(Clone, Copy)]
struct Section<'a> {
    id: u16,
    rows: usize,
    columns: &'a [u8],
}

impl<'a> TableReader<'a> {
    /// Finds the tables and reads the strings.
    pub fn new(mut payload: &'a [u8]) -> Result<Self, Malformed> {
        let (mut sections, mut shared) = (Vec::new(), Shared::default());
        while payload.has_remaining() {
            let id = payload.try_get_u16_le().map_err(|_| CUT)?;
            let rows = payload.try_get_u32_le().map_err(|_| CUT)? as usize;
            shared.spend::<Section<'_>>(1)?;
            sections.push(Section { id, rows, columns: take_sized(&mut payload)? });
        }
        if let Some(section) = sections.iter().find(|section| section.id == STRINGS) {
            shared.strings = strings(*section, &mut shared)?;
        }
        Ok(Self { sections, shared })
    }

    /// The rows of a table; none if it is not there. An error names table and column.
    pub fn rows<R: Row>(&mut self) -> Result<Vec<R>, String> {
        let Some(section) = self.sections.iter().find(|section| section.id == R::TABLE.id).copied() else {
            return Ok(Vec::new());
        };
        let name = R::TABLE.name;
        let mut rows = self.empty_rows(section).map_err(|why| format!("table `{name}`: {why}"))?;
        let mut rest = section.columns;
        while rest.has_remaining() {
            let (id, encoding, data) = take_column(&mut rest).map_err(|why| format!("table `{name}`: {why}"))?;
            let Some(column) = R::TABLE.columns.iter().find(|column| column.id == id) else { continue };
            self.column(column, encoding, data, &mut rows)
                .map_err(|why| format!("column `{}` of table `{name}`: {why}", column.name))?;
        }
        Ok(rows)
    }

    /// Every column has at least a byte for each row, so the rows cannot be more than the bytes.
    fn empty_rows<R: Row>(&mut self, section: Section<'_>) -> Result<Vec<R>, Malformed> {
        if section.rows > section.columns.len() {
            return Err("it has more rows than bytes");
        }
        self.shared.spend::<R>(section.rows)?;
        Ok(vec![R::default(); section.rows])
    }

    fn column<R>(&mut self, column: &Column<R>, encoding: u8, data: &[u8], rows: &mut [R]) -> Result<(), Malformed> {
        let encoding = Encoding::of(encoding).ok_or("its encoding is unknown")?;
        let mut decoder = Decoder::new(encoding, data, &mut self.shared);
        (column.get)(rows, &mut decoder)?;
        decoder.end()
    }
}

fn take_sized<'a>(data: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = data.try_get_u32_le().map_err(|_| CUT)? as usize;
    data.split_off(..len).ok_or(CUT)
}

fn take_column<'a>(data: &mut &'a [u8]) -> Result<(u16, u8, &'a [u8]), Malformed> {
    let id = data.try_get_u16_le().map_err(|_| CUT)?;
    let encoding = data.try_get_u8().map_err(|_| CUT)?;
    Ok((id, encoding, take_sized(data)?))
}

fn strings<'a>(section: Section<'a>, shared: &mut Shared<'a>) -> Result<Vec<&'a str>, Malformed> {
    let (mut lengths, mut bytes, mut rest) = ([].as_slice(), [].as_slice(), section.columns);
    while rest.has_remaining() {
        match take_column(&mut rest)? {
            (STRING_LENGTHS, _, data) => lengths = data,
            (STRING_BYTES, _, data) => bytes = data,
            _ => {}
        }
    }
    if section.rows > lengths.len() {
        return Err("there are more strings than lengths");
    }
    shared.spend::<&str>(section.rows)?;
    let mut lengths = Decoder::new(Encoding::Varint, lengths, shared);
    let mut text = || {
        let len = usize::try_from(lengths.int()?).unwrap_or(usize::MAX);
        let text = bytes.split_off(..len).ok_or("a string is cut")?;
        std::str::from_utf8(text).map_err(|_| "a string is no UTF-8")
    };
    (0..section.rows).map(|_| text()).collect()
}
