//! The kernel's own counters: context for our numbers, and their independent witness.
//!
//! Files stay open and are read again from their start, once per tick. A file or a counter that is missing is absent
//! from the row, never zero and never an error; [`Host::notes`] says so once.

pub mod parse;
mod reread;

use std::collections::{BTreeMap, HashMap};
use std::fs;

use profiler_common::file::PAGE_BYTES;

use self::parse::{Memory, Stat, Wanted};
use self::reread::Reread;
use crate::batch::{DiskStat, HostRow, Pressure, TcpMemory};
use crate::kernel::support::clock_tick_ns;

/// Resources of `/proc/pressure`.
const PRESSURES: [&str; 3] = ["cpu", "io", "memory"];
/// The one among the counters of [`NET`] that is a state: established connections now.
const STATE: &str = "CurrEstab";
/// The one of `/proc/vmstat` that is kept: pages of files (5.9, 170b04b7ae49).
const REFAULTS: &str = "workingset_refault_file";
/// Names of devices that are remembered. When full: all are looked up again.
const DEVICES_MAX: usize = 4096;

/// The counters that findings and reconciliation need, and what we call them: the kernel's names, unless these are
/// ambiguous without their protocol.
const NET: &[Wanted] = &[
    Wanted {
        protocol: "Tcp",
        counters: &[
            ("ActiveOpens", "ActiveOpens"),
            ("PassiveOpens", "PassiveOpens"),
            ("AttemptFails", "AttemptFails"),
            ("EstabResets", "EstabResets"),
            (STATE, STATE),
            ("InSegs", "InSegs"),
            ("OutSegs", "OutSegs"),
            ("RetransSegs", "RetransSegs"),
            ("OutRsts", "OutRsts"),
        ],
    },
    Wanted {
        protocol: "TcpExt",
        counters: &[
            ("DelayedACKs", "DelayedACKs"),
            ("ListenOverflows", "ListenOverflows"),
            ("ListenDrops", "ListenDrops"),
            ("TCPDSACKRecv", "TCPDSACKRecv"),
            ("TCPLostRetransmit", "TCPLostRetransmit"),
            ("TCPTimeouts", "TCPTimeouts"),
            ("TCPSynRetrans", "TCPSynRetrans"),
            ("TCPReqQFullDoCookies", "TCPReqQFullDoCookies"),
            ("TCPReqQFullDrop", "TCPReqQFullDrop"),
            ("TCPFromZeroWindowAdv", "TCPFromZeroWindowAdv"),
            ("TCPToZeroWindowAdv", "TCPToZeroWindowAdv"),
            ("TCPWantZeroWindowAdv", "TCPWantZeroWindowAdv"),
            ("TCPWinProbe", "TCPWinProbe"),
            ("TCPMemoryPressures", "TCPMemoryPressures"),
            ("TCPMemoryPressuresChrono", "TCPMemoryPressuresChrono"),
            ("PruneCalled", "PruneCalled"),
            ("TCPRcvQDrop", "TCPRcvQDrop"),
        ],
    },
    Wanted {
        protocol: "Udp",
        counters: &[("InErrors", "UdpInErrors"), ("NoPorts", "UdpNoPorts"), ("RcvbufErrors", "UdpRcvbufErrors")],
    },
];

/// The host's counters, with the previous reading of them.
#[derive(Debug)]
pub struct Host {
    files: Files,
    devices: Devices,
    buffer: Vec<u8>,
    tick_ns: u64,
    before: Reading,
    notes: Vec<String>,
}

impl Host {
    /// Takes the first reading. Network counters are those of the network namespace that we are in now.
    #[must_use]
    pub fn new() -> Self {
        let mut host = Self {
            files: Files::open(),
            devices: Devices::default(),
            buffer: Vec::new(),
            tick_ns: clock_tick_ns(),
            before: Reading::default(),
            notes: Vec::new(),
        };
        host.before = host.reading();
        host.notes = host.before.notes();
        host
    }

    /// What happened since the previous call, or since [`Self::new`]; states as they are.
    pub fn read(&mut self) -> HostRow {
        let now = self.reading();
        let row = now.since(&self.before);
        self.before = now;
        row
    }

    /// What cannot be read on this host, in words.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn reading(&mut self) -> Reading {
        let (files, buffer) = (&self.files, &mut self.buffer);
        let mut reading = Reading {
            stat: files.stat.read(buffer).and_then(|text| parse::stat(text, self.tick_ns)),
            pressure: files.pressure.each_ref().map(|file| file.read(buffer).and_then(parse::pressure)),
            memory: files.memory.read(buffer).and_then(parse::memory),
            refaulted_pages: files.vm.read(buffer).and_then(|text| parse::vm(text, REFAULTS)),
            local_ports: files.ports.read(buffer).and_then(parse::ports),
            tcp_memory: files.tcp_memory(buffer),
            ..Reading::default()
        };
        for file in &files.net {
            if let Some(text) = file.read(buffer) {
                parse::net(text, NET, &mut reading.net);
            }
        }
        reading.disks = files.disks.read(buffer).map(|text| self.devices.used(text));
        reading
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// Totals since boot. `None` and absent: this host does not tell.
#[derive(Debug, Default)]
struct Reading {
    stat: Option<Stat>,
    pressure: [Option<Pressure>; 3],
    net: BTreeMap<&'static str, u64>,
    disks: Option<BTreeMap<u32, DiskStat>>,
    memory: Option<Memory>,
    refaulted_pages: Option<u64>,
    local_ports: Option<u32>,
    tcp_memory: Option<TcpMemory>,
}

impl Reading {
    fn since(&self, before: &Self) -> HostRow {
        let (stat, memory) = (self.stat.unwrap_or_default(), self.memory.unwrap_or_default());
        let pressures = self.pressure.iter().zip(&before.pressure).map(|pair| match pair {
            (Some(now), Some(before)) => Some(stalled(*now, *before)),
            _ => None,
        });
        let moved = |(name, now): (&&'static str, &u64)| match before.net.get(name) {
            _ if *name == STATE => Some(((*name).to_owned(), *now)),
            Some(before) => Some(((*name).to_owned(), now.saturating_sub(*before))),
            None => None,
        };
        HostRow {
            cpu_ns: before.stat.map_or([0; 6], |before| differences(stat.cpu_ns, before.cpu_ns)),
            runnable: stat.runnable,
            uninterruptible: stat.uninterruptible,
            pressure: PRESSURES.iter().map(|name| (*name).to_owned()).zip(pressures).collect(),
            net: self.net.iter().filter_map(moved).collect(),
            disks: self.disks_since(before),
            memory_available_bytes: memory.available_bytes,
            dirty_bytes: memory.dirty_bytes,
            refaulted_pages: self
                .refaulted_pages
                .zip(before.refaulted_pages)
                .map(|(now, before)| now.saturating_sub(before)),
            local_ports: self.local_ports,
            tcp_memory: self.tcp_memory,
        }
    }

    fn disks_since(&self, before: &Self) -> BTreeMap<u32, DiskStat> {
        let (Some(now), Some(before)) = (&self.disks, &before.disks) else {
            return BTreeMap::new();
        };
        // A device that was not there, or had done nothing, has done all that it has done in the interval.
        let moved = |(device, now): (&u32, &DiskStat)| {
            (*device, before.get(device).map_or(*now, |before| disk_since(*now, *before)))
        };
        now.iter().map(moved).collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut missing = |known: bool, what: &str| {
            if !known {
                notes.push(format!("not known here: {what}"));
            }
        };
        missing(self.stat.is_some(), "CPU time of the host (`/proc/stat`)");
        missing(self.pressure.iter().any(Option::is_some), "pressure (`/proc/pressure`; PSI is off in this kernel)");
        missing(self.disks.is_some(), "the kernel's own disk counters (`/proc/diskstats`)");
        missing(self.memory.is_some(), "available and dirty memory (`/proc/meminfo`)");
        missing(self.refaulted_pages.is_some(), "pages fetched again (`/proc/vmstat`)");
        let names = NET.iter().flat_map(|wanted| wanted.counters).map(|(_, name)| *name);
        let absent: Vec<_> = names.filter(|name| !self.net.contains_key(name)).collect();
        missing(absent.is_empty(), &format!("network counters {}", absent.join(", ")));
        notes
    }
}

/// Idle and iowait may step back by a tick, for the kernel reckons them per CPU.
fn differences<const N: usize>(now: [u64; N], before: [u64; N]) -> [u64; N] {
    std::array::from_fn(|i| now[i].saturating_sub(before[i]))
}

fn stalled(now: Pressure, before: Pressure) -> Pressure {
    Pressure {
        some_ns: now.some_ns.saturating_sub(before.some_ns),
        full_ns: now.full_ns.saturating_sub(before.full_ns),
    }
}

fn disk_since(now: DiskStat, before: DiskStat) -> DiskStat {
    // Requests never become fewer: another device has taken the number.
    if now.requests.iter().zip(&before.requests).any(|(now, before)| now < before) {
        return now;
    }
    DiskStat {
        requests: differences(now.requests, before.requests),
        bytes: differences(now.bytes, before.bytes),
        merges: now.merges.zip(before.merges).map(|(now, before)| differences(now, before)),
        request_ns: now.request_ns.zip(before.request_ns).map(times_since),
        busy_ns: time_since(now.busy_ns, before.busy_ns),
        in_flight: now.in_flight,
    }
}

fn times_since((now, before): ([u64; 4], [u64; 4])) -> [u64; 4] {
    std::array::from_fn(|op| time_since(now[op], before[op]))
}

/// The kernel prints 32 bits of milliseconds: they wrap after 49 days of work.
fn time_since(now: u64, before: u64) -> u64 {
    const WRAP_NS: u64 = (1 << 32) * 1_000_000;
    match now.checked_sub(before) {
        Some(moved) => moved,
        None if before - now > WRAP_NS / 2 => (now + WRAP_NS).saturating_sub(before),
        None => 0,
    }
}

/// Which of the devices are whole disks.
#[derive(Debug, Default)]
struct Devices {
    whole: HashMap<u32, (String, bool)>,
}

impl Devices {
    /// Whole disks that have done anything since boot: most hosts have loop devices that nobody uses.
    fn used(&mut self, text: &str) -> BTreeMap<u32, DiskStat> {
        let idle = DiskStat::default();
        let disks = parse::disks(text).filter(|(_, _, stat)| *stat != idle);
        disks.filter(|(device, name, _)| self.is_whole(*device, name)).map(|(device, _, stat)| (device, stat)).collect()
    }

    fn is_whole(&mut self, device: u32, name: &str) -> bool {
        if let Some((known, whole)) = self.whole.get(&device)
            && known == name
        {
            return *whole;
        }
        if self.whole.len() >= DEVICES_MAX {
            self.whole.clear();
        }
        // In sysfs, `cciss/c0d0` is one file.
        let whole = fs::metadata(format!("/sys/block/{}", name.replace('/', "!"))).is_ok();
        self.whole.insert(device, (name.to_owned(), whole));
        whole
    }
}

#[derive(Debug)]
struct Files {
    stat: Reread,
    pressure: [Reread; 3],
    net: [Reread; 2],
    disks: Reread,
    memory: Reread,
    vm: Reread,
    ports: Reread,
    sockets: Reread,
    tcp_limits: Reread,
}

impl Files {
    fn open() -> Self {
        Self {
            stat: Reread::open("/proc/stat"),
            pressure: PRESSURES.map(|name| Reread::open(&format!("/proc/pressure/{name}"))),
            net: ["snmp", "netstat"].map(|name| Reread::open(&format!("/proc/net/{name}"))),
            disks: Reread::open("/proc/diskstats"),
            memory: Reread::open("/proc/meminfo"),
            vm: Reread::open("/proc/vmstat"),
            ports: Reread::open("/proc/sys/net/ipv4/ip_local_port_range"),
            sockets: Reread::open("/proc/net/sockstat"),
            tcp_limits: Reread::open("/proc/sys/net/ipv4/tcp_mem"),
        }
    }

    /// Only the network namespace of the host has the limits.
    fn tcp_memory(&self, buffer: &mut Vec<u8>) -> Option<TcpMemory> {
        let used = self.sockets.read(buffer).and_then(parse::tcp_pages)?;
        let (pressure, most) = self.tcp_limits.read(buffer).and_then(parse::tcp_limits)?;
        let [used_bytes, pressure_bytes, most_bytes] =
            [used, pressure, most].map(|pages| pages.saturating_mul(PAGE_BYTES));
        Some(TcpMemory { used_bytes, pressure_bytes, most_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(net: &[(&'static str, u64)]) -> Reading {
        Reading { net: net.iter().copied().collect(), ..Reading::default() }
    }

    #[test]
    fn counters_are_differences_and_states_are_not() {
        let (before, now) = (
            reading(&[("OutSegs", 10), (STATE, 7)]),
            reading(&[("OutSegs", 15), (STATE, 3), ("RetransSegs", 1_000_000)]),
        );
        let wanted = [("CurrEstab".to_owned(), 3), ("OutSegs".to_owned(), 5)];
        assert_eq!(now.since(&before).net, BTreeMap::from(wanted));
    }

    #[test]
    fn processor_time_that_steps_back_is_none() {
        assert_eq!(differences([5, 9], [7, 4]), [0, 5]);
    }

    #[test]
    fn what_is_absent_stays_absent() {
        let row = Reading::default().since(&Reading::default());
        assert_eq!(row.pressure, PRESSURES.map(|name| (name.to_owned(), None)).into());
        assert!(row.net.is_empty() && row.disks.is_empty());
        let notes = Reading::default().notes();
        assert_eq!(notes.len(), 6, "{notes:?}");
    }

    #[test]
    fn a_device_may_come_be_replaced_or_wrap() {
        let disk = |reads, busy_ns| DiskStat { requests: [reads, 0, 0, 0], busy_ns, ..DiskStat::default() };
        let at =
            |disks: &[(u32, DiskStat)]| Reading { disks: Some(disks.iter().copied().collect()), ..Reading::default() };
        let wrap = ((1_u64 << 32) - 1) * 1_000_000;
        let before = at(&[(1, disk(10, 50)), (2, disk(100, 70)), (3, disk(1, wrap))]);
        let now = at(&[(1, disk(12, 60)), (2, disk(5, 3)), (3, disk(1, 2_000_000)), (4, disk(8, 8))]);
        let wanted = [(1, disk(2, 10)), (2, disk(5, 3)), (3, disk(0, 3_000_000)), (4, disk(8, 8))];
        assert_eq!(now.since(&before).disks, BTreeMap::from(wanted));
        assert!(now.since(&Reading::default()).disks.is_empty(), "without an earlier reading nothing is known");
    }

    #[test]
    fn this_host_can_be_read() {
        let mut host = Host::new();
        let row = host.read();
        assert!(row.runnable > 0 && row.memory_available_bytes > 0, "{row:?}");
        assert!(row.net.contains_key("RetransSegs"), "{:?}", host.notes());
    }
}
