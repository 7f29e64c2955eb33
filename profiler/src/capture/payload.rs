//! A [`Batch`] as the payload of a frame, and back.

use std::collections::BTreeMap;

use super::schema::{DiskFact, DiskStatRow, FactKind, NetNamespaceFact, PathFact, PressureRow};
use super::table::{TableReader, TableWriter};
use crate::batch::{Batch, DiskStat, Fact, HostRow, Pressure, ProcessFact, Timestamp};

/// Values of [`FactKind`].
mod fact {
    pub const PROCESS: u32 = 1;
    pub const DISK: u32 = 2;
    pub const NET_NAMESPACE: u32 = 3;
    pub const PATH: u32 = 4;
}

/// The tables of a batch. Its interval is in the frame's header.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let mut tables = TableWriter::default();
    tables.put(&[batch]);
    tables.put(&refs(&batch.tasks));
    tables.put(&refs(&batch.calls));
    tables.put(&refs(&batch.paths));
    tables.put(&refs(&batch.disks));
    tables.put(&refs(&batch.disk_sizes));
    tables.put(&refs(&batch.disk_owners));
    tables.put(&refs(&batch.partitions));
    tables.put(&refs(&batch.journals));
    tables.put(&refs(&batch.sockets));
    tables.put(&refs(&batch.time_waits));
    tables.put(&refs(&batch.exchanges));
    tables.put(&refs(&batch.drops));
    put_host(&mut tables, &batch.host);
    put_facts(&mut tables, &batch.facts);
    tables.finish()
}

fn put_host(tables: &mut TableWriter, host: &HostRow) {
    let pressure: Vec<_> = host
        .pressure
        .iter()
        .map(|(resource, stall)| {
            let Pressure { some_ns, full_ns } = stall.unwrap_or_default();
            PressureRow { resource: resource.clone(), known: stall.is_some(), some_ns, full_ns }
        })
        .collect();
    tables.put(&refs(&pressure));
    let disks: Vec<_> = host.disks.iter().map(|(device, stat)| DiskStatRow { device: *device, stat: *stat }).collect();
    tables.put(&refs(&disks));
}

fn put_facts(tables: &mut TableWriter, facts: &[Fact]) {
    let (mut kinds, mut processes, mut disks) = (Vec::new(), Vec::new(), Vec::new());
    let (mut paths, mut namespaces) = (Vec::new(), Vec::new());
    for fact in facts {
        kinds.push(FactKind {
            kind: match fact {
                Fact::Process(process) => {
                    processes.push(process);
                    fact::PROCESS
                }
                Fact::Disk { device, name, backing, below } => {
                    let (name, backing, below) = (name.clone(), backing.clone(), below.clone());
                    disks.push(DiskFact { device: *device, name, backing, below });
                    fact::DISK
                }
                Fact::Path { file, path } => {
                    paths.push(PathFact { file: *file, path: path.clone() });
                    fact::PATH
                }
                Fact::NetNamespace { netns, name } => {
                    namespaces.push(NetNamespaceFact { netns: *netns, name: name.clone() });
                    fact::NET_NAMESPACE
                }
            },
        });
    }
    tables.put(&refs(&kinds));
    tables.put(&processes);
    tables.put(&refs(&disks));
    tables.put(&refs(&paths));
    tables.put(&refs(&namespaces));
}

fn refs<R>(rows: &[R]) -> Vec<&R> {
    rows.iter().collect()
}

/// The batch of an interval.
pub(super) fn decode(from: u64, until: u64, payload: &[u8]) -> Result<Batch, String> {
    let mut tables = TableReader::new(payload)?;
    let batch: Batch = tables.rows()?.into_iter().next().unwrap_or_default();
    Ok(Batch {
        from: Timestamp(from),
        until: Timestamp(until),
        tasks: tables.rows()?,
        calls: tables.rows()?,
        paths: tables.rows()?,
        disks: tables.rows()?,
        disk_sizes: tables.rows()?,
        disk_owners: tables.rows()?,
        partitions: tables.rows()?,
        journals: tables.rows()?,
        sockets: tables.rows()?,
        time_waits: tables.rows()?,
        exchanges: tables.rows()?,
        drops: tables.rows()?,
        host: HostRow { pressure: pressure(&mut tables)?, disks: disk_stats(&mut tables)?, ..batch.host },
        facts: facts(&mut tables)?,
        ..batch
    })
}

fn pressure(tables: &mut TableReader<'_>) -> Result<BTreeMap<String, Option<Pressure>>, String> {
    let rows = tables.rows::<PressureRow>()?.into_iter();
    Ok(rows
        .map(|PressureRow { resource, known, some_ns, full_ns }| {
            (resource, known.then_some(Pressure { some_ns, full_ns }))
        })
        .collect())
}

fn disk_stats(tables: &mut TableReader<'_>) -> Result<BTreeMap<u32, DiskStat>, String> {
    Ok(tables.rows::<DiskStatRow>()?.into_iter().map(|row| (row.device, row.stat)).collect())
}

/// Facts in their order. A kind that we do not know has its rows in a table that we do not know either.
fn facts(tables: &mut TableReader<'_>) -> Result<Vec<Fact>, String> {
    let mut processes = tables.rows::<ProcessFact>()?.into_iter().map(Fact::Process);
    let disk = |DiskFact { device, name, backing, below }| Fact::Disk { device, name, backing, below };
    let mut disks = tables.rows::<DiskFact>()?.into_iter().map(disk);
    let path = |PathFact { file, path }| Fact::Path { file, path };
    let mut paths = tables.rows::<PathFact>()?.into_iter().map(path);
    let mut namespaces = tables
        .rows::<NetNamespaceFact>()?
        .into_iter()
        .map(|NetNamespaceFact { netns, name }| Fact::NetNamespace { netns, name });
    let mut facts = Vec::new();
    for FactKind { kind } in tables.rows()? {
        let fact = match kind {
            fact::PROCESS => processes.next(),
            fact::DISK => disks.next(),
            fact::NET_NAMESPACE => namespaces.next(),
            fact::PATH => paths.next(),
            _ => continue,
        };
        facts.push(fact.ok_or("a fact is missing")?);
    }
    Ok(facts)
}
