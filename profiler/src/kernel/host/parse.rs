//! The text of the kernel's own counters. Pure: text in, totals since boot out; what a kernel does not tell is absent.

use std::collections::BTreeMap;

use profiler_common::disk::device;

use crate::batch::{DiskStat, Pressure};

/// `/proc/diskstats` counts in these, whatever the device's own sectors are.
const SECTOR_BYTES: u64 = 512;
const MS: u64 = 1_000_000;

/// What `/proc/stat` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// As [`crate::batch::HostRow::cpu_ns`].
    pub cpu_ns: [u64; 6],
    /// `procs_running`
    pub runnable: u64,
    /// `procs_blocked`
    pub uninterruptible: u64,
}

/// What `/proc/meminfo` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "units stand last in names")]
pub struct Memory {
    /// `MemTotal`, bytes.
    pub total_bytes: u64,
    /// `MemAvailable`, bytes.
    pub available_bytes: u64,
    /// `Dirty` and `Writeback`, bytes.
    pub dirty_bytes: u64,
}

/// The counters of one protocol that are kept.
pub struct Wanted {
    /// Start of its lines, such as `TcpExt`.
    pub protocol: &'static str,
    /// The kernel's name and ours.
    pub counters: &'static [(&'static str, &'static str)],
}

/// `/proc/stat`, with the length of a clock tick.
#[must_use]
pub fn stat(text: &str, tick_ns: u64) -> Option<Stat> {
    let mut found = None;
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(' ') else { continue };
        match key {
            "cpu" => found = Some(Stat { cpu_ns: cpu(rest, tick_ns), ..Stat::default() }),
            "procs_running" => found.as_mut()?.runnable = rest.trim().parse().ok()?,
            "procs_blocked" => found.as_mut()?.uninterruptible = rest.trim().parse().ok()?,
            _ => {}
        }
    }
    found
}

/// Guest time is part of user time already.
fn cpu(rest: &str, tick_ns: u64) -> [u64; 6] {
    let mut ticks = [0_u64; 8];
    for (tick, word) in ticks.iter_mut().zip(rest.split_ascii_whitespace()) {
        *tick = word.parse().unwrap_or(0);
    }
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks;
    [user + nice, system, idle, iowait, irq + softirq, steal].map(|ticks| ticks.saturating_mul(tick_ns))
}

/// One file of `/proc/pressure`. Before 5.13 the CPU has no line `full`: nobody waits while all wait for a CPU.
#[must_use]
pub fn pressure(text: &str) -> Option<Pressure> {
    let total = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        let us: u64 = line.split_once("total=")?.1.trim().parse().ok()?;
        Some(us.saturating_mul(1000))
    };
    Some(Pressure { some_ns: total("some ")?, full_ns: total("full ").unwrap_or(0) })
}

/// `/proc/net/snmp` or `netstat`: pairs of lines, names and values.
pub fn net(text: &str, wanted: &[Wanted], into: &mut BTreeMap<&'static str, u64>) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((_, values))) = (names.split_once(':'), values.split_once(':')) else {
            continue;
        };
        let Some(wanted) = wanted.iter().find(|wanted| wanted.protocol == protocol) else { continue };
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            let ours = wanted.counters.iter().find(|(theirs, _)| *theirs == name);
            if let (Some((_, ours)), Ok(value)) = (ours, value.parse()) {
                into.insert(ours, value);
            }
        }
    }
}

/// `/proc/diskstats`: number, name and totals of every device and partition. Since 4.18 lines end with discards, since
/// 5.5 with flushes.
pub fn disks(text: &str) -> impl Iterator<Item = (u32, &str, DiskStat)> {
    text.lines().filter_map(disk)
}

fn disk(line: &str) -> Option<(u32, &str, DiskStat)> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor, name) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    let mut values = [0_u64; 17];
    let mut count = 0;
    for (value, word) in values.iter_mut().zip(words) {
        *value = word.parse().ok()?;
        count += 1;
    }
    // Fewer is the short line of a partition of long ago.
    if count < 11 {
        return None;
    }
    let bytes = |sectors: u64| sectors.saturating_mul(SECTOR_BYTES);
    let stat = DiskStat {
        requests: [values[0], values[4], values[15], values[11]],
        bytes: [bytes(values[2]), bytes(values[6]), 0, bytes(values[13])],
        merges: Some([values[1], values[5], 0, values[12]]),
        request_ns: Some([3, 7, 16, 14].map(|place: usize| values[place].saturating_mul(MS))),
        busy_ns: values[9].saturating_mul(MS),
        in_flight: values[8],
    };
    Some((device(major, minor), name, stat))
}

/// A counter of `/proc/vmstat`.
#[must_use]
pub fn vm(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// How many ports are in `ip_local_port_range`: the first and the last.
#[must_use]
pub fn ports(text: &str) -> Option<u32> {
    let mut words = text.split_whitespace().map(str::parse::<u32>);
    let (Ok(first), Ok(last)) = (words.next()?, words.next()?) else { return None };
    (last + 1).checked_sub(first)
}

/// Pages that TCP uses for its queues, in `/proc/net/sockstat`.
#[must_use]
pub fn tcp_pages(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    line.split_once(" mem ")?.1.split_whitespace().next()?.parse().ok()
}

/// TCP sockets that a namespace's tables have, those in TIME-WAIT among them: in `/proc/net/sockstat` all of these and the others
/// of IPv4, in `/proc/net/sockstat6` the others of IPv6.
#[must_use]
pub fn tcp_sockets(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:").or_else(|| line.strip_prefix("TCP6:")))?;
    let words: Vec<_> = line.split_whitespace().collect();
    let counts = words.chunks_exact(2).filter(|pair| ["inuse", "tw"].contains(&pair[0]));
    counts.map(|pair| pair[1].parse::<u64>().ok()).sum()
}

/// The second and third number of `tcp_mem`, pages.
#[must_use]
pub fn tcp_limits(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_whitespace().skip(1).map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// `/proc/meminfo`.
#[must_use]
pub fn memory(text: &str) -> Option<Memory> {
    let (mut memory, mut found) = (Memory::default(), false);
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        let bytes = || {
            let kib: Option<u64> = rest.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
            kib.unwrap_or(0).saturating_mul(1024)
        };
        match key {
            "MemTotal" => memory.total_bytes = bytes(),
            "MemAvailable" => (memory.available_bytes, found) = (bytes(), true),
            "Dirty" | "Writeback" => memory.dirty_bytes = memory.dirty_bytes.saturating_add(bytes()),
            _ => {}
        }
    }
    found.then_some(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_has_processor_times_and_thread_counts() {
        let text = "cpu  10 5 20 400 7 1 2 3 9 9\ncpu0 10 5 20 400 7 1 2 3 9 9\nintr 500 0 0 1\nctxt 99\nbtime 1\n\
                    processes 9\nprocs_running 4\nprocs_blocked 2\nsoftirq 1 2 3\n";
        let wanted = Stat { cpu_ns: [150, 200, 4000, 70, 30, 30], runnable: 4, uninterruptible: 2 };
        assert_eq!(stat(text, 10), Some(wanted));
        assert_eq!(stat("", 10), None);
        assert_eq!(stat("procs_running 4\n", 10), None);
    }

    #[test]
    fn pressure_may_lack_its_second_line() {
        let text =
            "some avg10=0.00 avg60=0.12 avg300=0.03 total=1500\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=20\n";
        assert_eq!(pressure(text), Some(Pressure { some_ns: 1_500_000, full_ns: 20_000 }));
        let old = "some avg10=1.23 avg60=0.12 avg300=0.03 total=7\n";
        assert_eq!(pressure(old), Some(Pressure { some_ns: 7000, full_ns: 0 }));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn sockets_in_time_wait_are_in_the_tables_as_well() {
        let text = "sockets: used 106\nTCP: inuse 5 orphan 9 tw 2 alloc 7 mem 31\nUDP: inuse 4 mem 2\n";
        assert_eq!([text, "TCP6: inuse 3\n", "UDP: inuse 4 mem 2\n"].map(tcp_sockets), [Some(7), Some(3), None]);
    }

    #[test]
    fn memory_of_tcp_is_told_in_pages() {
        let text = "sockets: used 106\nTCP: inuse 5 orphan 0 tw 0 alloc 7 mem 31\nUDP: inuse 0 mem 2\n";
        assert_eq!((tcp_pages(text), tcp_pages("UDP: inuse 0 mem 2\n")), (Some(31), None));
        assert_eq!((tcp_limits("283431\t377909\t566862\n"), tcp_limits("1 2\n")), (Some((377_909, 566_862)), None));
    }

    #[test]
    fn net_counters_are_found_by_the_names_above_them() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: MaxConn CurrEstab OutSegs\nTcp: -1 3 21068\n\
                    Udp: InErrors NoPorts\nUdp: 5 6\n";
        let wanted = [
            Wanted { protocol: "Tcp", counters: &[("OutSegs", "OutSegs"), ("MaxConn", "MaxConn")] },
            Wanted { protocol: "Udp", counters: &[("InErrors", "UdpInErrors"), ("RcvbufErrors", "UdpRcvbufErrors")] },
        ];
        let mut found = BTreeMap::new();
        net(text, &wanted, &mut found);
        assert_eq!(found, BTreeMap::from([("OutSegs", 21_068), ("UdpInErrors", 5)]));
        net("Tcp: OutSegs\n", &wanted, &mut found);
        net("nonsense", &wanted, &mut found);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn disk_lines_grew_with_the_kernel() {
        let text = "   8       0 sda 1 9 4 11 2 9 6 12 3 70 99\n\
                    \x20  8      16 sdb 1 9 4 11 2 9 6 12 3 70 99 5 9 8 13\n\
                    \x20254       0 cciss/c0d0 1 9 4 11 2 9 6 12 3 70 99 5 9 8 13 7 14\n\
                    \x20  8       1 sda1 1 2 3 4\n   8 what\n";
        let read: Vec<_> = disks(text).collect();
        let ms = |times: [u64; 4]| Some(times.map(|ms| ms * MS));
        let plain = DiskStat {
            requests: [1, 2, 0, 0],
            bytes: [4 * 512, 6 * 512, 0, 0],
            merges: Some([9, 9, 0, 0]),
            request_ns: ms([11, 12, 0, 0]),
            busy_ns: 70 * MS,
            in_flight: 3,
        };
        let (bytes, request_ns) = ([4 * 512, 6 * 512, 0, 8 * 512], ms([11, 12, 0, 13]));
        let merges = Some([9, 9, 0, 9]);
        let discards = DiskStat { requests: [1, 2, 0, 5], bytes, merges, request_ns, ..plain };
        let flushes = DiskStat { requests: [1, 2, 7, 5], request_ns: ms([11, 12, 14, 13]), ..discards };
        assert_eq!(
            read,
            [(8 << 20, "sda", plain), (8 << 20 | 16, "sdb", discards), (254 << 20, "cciss/c0d0", flushes)]
        );
    }

    #[test]
    fn a_counter_has_all_of_its_name() {
        let text = "workingset_refault_anon 3\nworkingset_refault_file 7\nworkingset_refault 9\n";
        assert_eq!(vm(text, "workingset_refault_file"), Some(7));
        assert_eq!(vm(text, "workingset_refault"), Some(9));
        assert_eq!(vm(text, "workingset"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let text = "MemTotal:       2048 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\nDirty:  4 kB\nWriteback:  8 kB\n\
                    WritebackTmp: 99 kB\n";
        let wanted = Memory { total_bytes: 2048 << 10, available_bytes: 1 << 20, dirty_bytes: 12 << 10 };
        assert_eq!(memory(text), Some(wanted));
        assert_eq!(memory("MemTotal: 2048 kB\n"), None);
    }
}
