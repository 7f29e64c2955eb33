//! Old readers of new captures, new readers of old ones, and the documentation of both.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::batch::hist::Scale;
use crate::batch::{
    CallRow, DiskKey, DiskOwnerRow, DiskRow, DiskSizeRow, DiskStat, DropRow, ExchangeRow, Fact, Hist, HostRow,
    JournalRow, PartitionRow, PathRow, Pressure, ProcessFact, ProcessKey, QualityRow, SocketRow, TimeWaitRow,
};
use crate::capture::codec::{Codec, Plain};
use crate::capture::frame::{Frame, kind};
use crate::capture::schema::{DiskFact, DiskStatRow, FactKind, NetNamespaceFact, PathFact, PressureRow};
use crate::capture::table::{Row, TableWriter, columns};

/// A row of a later version: one column more, one gone, and an array that has grown.
#[derive(Clone, Default)]
struct LaterTask {
    tid: u32,
    comm: String,
    cgroup: String,
}

#[derive(Clone, Default)]
struct LaterBatch {
    tcp_events: [u64; 9],
}

/// A table of a later version.
#[derive(Clone, Default)]
struct Query {
    statement: String,
}

columns! {
    LaterTask = 2 {
        3 => tid: u32 as Plain,
        900 => cgroup: String as Plain,
        19 => comm: String as Plain,
    }
    LaterBatch = 1 {
        1 => tcp_events: [u64; 9] as Plain,
    }
    Query = 900 {
        1 => statement: String as Plain,
    }
}

fn later_payload() -> Vec<u8> {
    let mut tables = TableWriter::default();
    tables.put(&[&Query { statement: "select".to_owned() }]);
    tables.put(&[&LaterBatch { tcp_events: [1, 2, 3, 4, 5, 6, 7, 8, 9] }]);
    tables.put(&[&LaterTask { tid: 7, comm: "nginx".to_owned(), cgroup: "/a".to_owned() }]);
    tables.put(&[&FactKind { kind: 900 }]);
    tables.finish()
}

#[test]
fn unknown_columns_and_tables_are_skipped_and_missing_ones_are_default() {
    let batch = payload::decode(1, 2, &later_payload()).unwrap();
    let task = TaskRow { tid: 7, comm: "nginx".to_owned(), ..TaskRow::default() };
    let expected = Batch {
        from: Timestamp(1),
        until: Timestamp(2),
        tasks: vec![task],
        tcp_events: [1, 2, 3, 4, 5, 6, 7],
        ..Batch::default()
    };
    assert_eq!(batch, expected);
}

#[test]
fn unknown_frames_are_skipped() {
    let written = batches(17, 2);
    let bytes = capture(&written);
    let second = start_of_frames(&written)[1];
    let mut later = bytes[..second].to_vec();
    Frame::plain(200, Bytes::from_static(b"from the future")).unwrap().put(&mut later);
    Frame::packed(201, (3, 4), &[9; 1_000]).unwrap().put(&mut later);
    later.extend_from_slice(&bytes[second..]);
    for outcome in [read(&later), read_by_index(&later)] {
        let outcome = outcome.unwrap();
        assert_eq!((outcome.batches, outcome.damage), (written.clone(), None));
    }
}

#[test]
fn a_later_format_is_refused_with_advice() {
    let mut bytes = capture(&[]);
    bytes[SIGNATURE.len()] = 2;
    let message = read(&bytes).err().unwrap().to_string();
    let expected = "`test.cap` has capture format 2, and this program reads no later one than 1\n\
                    hint: use the `profiler` that made it, or a later one";
    assert_eq!(message, expected);
}

#[test]
fn a_host_may_say_more_than_we_know() {
    let mut machine = serde_json::to_value(sample::machine()).unwrap();
    machine["cloud"] = "somewhere".into();
    let mut bytes = [SIGNATURE.as_slice(), &VERSION.to_le_bytes()].concat();
    Frame::plain(kind::MACHINE, serde_json::to_vec(&machine).unwrap().into()).unwrap().put(&mut bytes);
    assert!(read(&bytes).is_ok());
}

#[test]
fn ids_are_unique() {
    let tables: BTreeSet<_> = TABLES.iter().map(|table| table().id).collect();
    assert_eq!(tables.len(), TABLES.len());
    for table in TABLES {
        let Described { name, columns, .. } = table();
        let ids: Vec<_> = columns.iter().map(|column| column.0).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "ids of `{name}` are not in order");
    }
}

/// `docs/CAPTURE.md` is what others write readers from.
#[test]
fn the_documentation_lists_every_column() {
    let documented = include_str!("../../../../docs/CAPTURE.md");
    let tables: Vec<_> = TABLES.iter().map(|table| table().to_string()).collect();
    let (start, end) = ("<!-- tables: begin -->\n", "<!-- tables: end -->");
    let section = documented.split_once(start).and_then(|(_, rest)| rest.split_once(end)).unwrap().0;
    let expected = format!("\n{}\n", tables.join("\n"));
    assert!(section == expected, "docs/CAPTURE.md is stale; its tables are now:\n{expected}");
}

/// What version 1 once wrote stays readable for good. The file is never written again.
#[test]
fn the_first_version_is_read() {
    let bytes = include_bytes!("../../../tests/data/captures/version-1.cap");
    let mut reader = Reader::new(bytes.as_slice(), Path::new("version-1.cap")).unwrap();
    assert_eq!((reader.machine().host.as_str(), reader.machine().anchor), ("db1", Timestamp(12_345)));
    assert_eq!(reader.next_batch().unwrap(), Some(first_version()));
    assert_eq!((reader.next_batch().unwrap(), reader.damage()), (None, None));
}

fn first_version() -> Batch {
    let process = ProcessKey { pid: 812, start_ns: 77_000_000_000 };
    Batch {
        from: Timestamp(1_000),
        until: Timestamp(2_000),
        tasks: vec![TaskRow {
            process,
            tid: 813,
            wait_call: Some(0),
            comm: "postgres".to_owned(),
            ..Default::default()
        }],
        calls: vec![CallRow {
            process,
            errors: [0, 3, 0, 0, 0, 0, 0, 0],
            blocked: Hist { scale: Scale::Log2, slots: vec![(3, 1), (9, 70_000)] },
            latency: Hist { scale: Scale::Linear8, slots: vec![(223, 1)] },
            ..Default::default()
        }],
        disks: vec![DiskRow { key: DiskKey { device: 8 << 20, op: 1 }, bytes: 4_096, ..Default::default() }],
        paths: Vec::new(),
        disk_sizes: Vec::new(),
        disk_owners: Vec::new(),
        partitions: Vec::new(),
        journals: Vec::new(),
        sockets: vec![SocketRow {
            cookie: 9,
            local: "[::1]:5432".parse().unwrap(),
            owner: Some(process),
            ..Default::default()
        }],
        time_waits: Vec::new(),
        exchanges: Vec::new(),
        drops: Vec::new(),
        tcp_events: [0, 0, 0, 0, 1, 0, 0],
        host: HostRow {
            pressure: [("io".to_owned(), Some(Pressure { some_ns: 5, full_ns: 4 })), ("irq".to_owned(), None)].into(),
            net: [("OutSegs".to_owned(), 12)].into(),
            disks: [(8 << 20, DiskStat { requests: [0, 1, 0, 0], ..Default::default() })].into(),
            ..Default::default()
        },
        facts: vec![
            Fact::NetNamespace { netns: 4_026_531_840, name: "host".to_owned() },
            Fact::Process(ProcessFact { process, command: Some("postgres -D /data".to_owned()), ..Default::default() }),
            Fact::Disk { device: 8 << 20, name: "sda".to_owned(), backing: None, below: Vec::new() },
        ],
        quality: QualityRow { notes: vec!["made by hand".to_owned()], programs_ns: Some(0), ..Default::default() },
    }
}

/// A table in the words of the documentation.
struct Described {
    id: u16,
    name: &'static str,
    columns: Vec<(u16, &'static str, &'static str, &'static str)>,
}

fn described<R: Row>() -> Described {
    let table = R::TABLE;
    let columns = table.columns.iter().map(|column| (column.id, column.name, column.kind, column.codec)).collect();
    Described { id: table.id, name: table.name, columns }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#### Table {}: `{}`\n", self.id, self.name)?;
        writeln!(f, "| id | column | type | codec |\n|---|---|---|---|")?;
        for (id, name, kind, codec) in &self.columns {
            writeln!(f, "| {id} | `{name}` | `{kind}` | {codec} |")?;
        }
        Ok(())
    }
}

const TABLES: [fn() -> Described; 20] = [
    described::<Batch>,
    described::<TaskRow>,
    described::<CallRow>,
    described::<DiskRow>,
    described::<DiskSizeRow>,
    described::<DiskOwnerRow>,
    described::<PartitionRow>,
    described::<PathRow>,
    described::<JournalRow>,
    described::<SocketRow>,
    described::<TimeWaitRow>,
    described::<ExchangeRow>,
    described::<DropRow>,
    described::<PressureRow>,
    described::<DiskStatRow>,
    described::<FactKind>,
    described::<ProcessFact>,
    described::<DiskFact>,
    described::<PathFact>,
    described::<NetNamespaceFact>,
];
