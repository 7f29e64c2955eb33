//! The maps of the programs, taken out of the object once and typed here.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::{fs, io};

use aya::Ebpf;
use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use profiler_common::lost::LOST;
use profiler_common::tcp::EVENTS;

use crate::error::Error;

/// Every map that user space reads.
pub struct Maps {
    /// [`profiler_common::syscall::CallOwner`] → calls without a slot.
    pub calls: MapData,
    /// [`profiler_common::syscall::CallOwner`] → sampled latencies.
    pub latencies: MapData,
    /// What each CPU has counted for the thread that is on it.
    pub cpu_calls: MapData,
    /// CPUs that there may ever be.
    pub cpus: usize,
    /// Files that processes use.
    pub paths: MapData,
    /// Devices.
    pub disks: MapData,
    /// For whom they work.
    pub disk_owners: MapData,
    /// [`profiler_common::disk::PartitionRecord`] by device and operation.
    pub partitions: MapData,
    /// Device of a file system → its journal.
    pub journals: MapData,
    /// Services and peers, where the object has them.
    pub exchanges: Option<MapData>,
    /// What remains of connections, where the object counts it.
    pub time_waits: Option<MapData>,
    /// Packets dropped by reason.
    pub drop_reasons: MapData,
    /// Packets dropped by socket and reason.
    pub drops: MapData,
    pass: Array<MapData, u64>,
    /// Records of sockets, while a pass goes over them.
    pub news: RingBuf<MapData>,
    /// Last records.
    pub exits: RingBuf<MapData>,
    events: Array<MapData, u64>,
    lost: PerCpuArray<MapData, u64>,
    /// All maps, for their memory.
    all: Vec<RawFd>,
}

impl Maps {
    /// Takes the maps out of the object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let all = ebpf.maps().filter_map(|(_, map)| descriptor(map)).collect();
        Ok(Self {
            calls: hash(ebpf, "CALLS")?,
            latencies: hash(ebpf, "LATENCIES")?,
            cpu_calls: per_cpu(ebpf, "CPU_CALLS")?,
            cpus: aya::util::nr_cpus().map_err(|(what, source)| Error::Io { act: format!("read {what}"), source })?,
            paths: hash(ebpf, "PATHS")?,
            disks: hash(ebpf, "DISKS")?,
            disk_owners: hash(ebpf, "DISK_OWNERS")?,
            partitions: hash(ebpf, "PARTITIONS")?,
            journals: hash(ebpf, "JOURNALS")?,
            exchanges: hash(ebpf, "EXCHANGES").ok(),
            time_waits: hash(ebpf, "TIME_WAITS").ok(),
            drop_reasons: per_cpu(ebpf, "DROP_REASONS")?,
            drops: hash(ebpf, "DROPS")?,
            pass: Array::try_from(map(ebpf, "PASS")?).map_err(|why| broken("PASS", &why))?,
            news: ring(ebpf, "NEWS")?,
            exits: ring(ebpf, "EXITS")?,
            events: Array::try_from(map(ebpf, "TCP_EVENTS")?).map_err(|why| broken("TCP_EVENTS", &why))?,
            lost: PerCpuArray::try_from(map(ebpf, "LOST")?).map_err(|why| broken("LOST", &why))?,
            all,
        })
    }

    /// Says one of the words of [`profiler_common::tcp::pass`].
    pub fn say(&mut self, which: u32, word: u64) -> Result<(), Error> {
        let set = self.pass.set(which, word, 0);
        set.map_err(|source| Error::Io { act: "write the kernel map PASS".into(), source: io::Error::other(source) })
    }

    /// Host-wide TCP events so far.
    pub fn events(&self) -> [u64; EVENTS] {
        let mut events = [0; EVENTS];
        for (event, index) in events.iter_mut().zip(0..) {
            *event = self.events.get(&index, 0).unwrap_or_default();
        }
        events
    }

    /// Losses so far by name, none left out.
    pub fn lost(&self) -> BTreeMap<&'static str, u64> {
        LOST.iter()
            .map(|(reason, name, _)| {
                let cpus = self.lost.get(&(*reason as u32), 0);
                (*name, cpus.map_or(0, |cpus| cpus.iter().sum()))
            })
            .collect()
    }

    /// What the kernel charges for all maps, bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.all.iter().filter_map(|fd| charged(*fd)).sum()
    }
}

/// What the kernel charges for a map, bytes: no system call tells it.
fn charged(map: RawFd) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{map}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}

/// The descriptor of a map.
pub fn fd(map: &MapData) -> BorrowedFd<'_> {
    map.fd().as_fd()
}

fn descriptor(map: &Map) -> Option<RawFd> {
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::PerCpuArray(data)
    | Map::PerCpuHashMap(data)
    | Map::RingBuf(data)
    | Map::SkStorage(data)
    | Map::Queue(data)
    | Map::Unsupported(data)) = map
    else {
        return None;
    };
    Some(fd(data).as_raw_fd())
}

fn hash(ebpf: &mut Ebpf, name: &str) -> Result<MapData, Error> {
    match map(ebpf, name)? {
        Map::HashMap(data) | Map::LruHashMap(data) => Ok(data),
        _ => Err(broken(name, &"not a hash map")),
    }
}

fn per_cpu(ebpf: &mut Ebpf, name: &str) -> Result<MapData, Error> {
    match map(ebpf, name)? {
        Map::PerCpuArray(data) => Ok(data),
        _ => Err(broken(name, &"not a per-CPU array")),
    }
}

fn ring(ebpf: &mut Ebpf, name: &str) -> Result<RingBuf<MapData>, Error> {
    RingBuf::try_from(map(ebpf, name)?).map_err(|why| broken(name, &why))
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| broken(name, &"not in the object"))
}

fn broken(name: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Unsupported {
        what: format!("failed to open the kernel map {name}: {why}"),
        hint: "this is a bug: the program and its kernel object do not match; build both with `cargo xtask build`"
            .into(),
    }
}
