//! What `/proc` tells about a process: its kernel programs, its CPU time, its memory.

use std::collections::BTreeSet;
use std::fs;

use super::{bpf, os};

/// Numbers of the programs that the process has attached, by a link or through a perf event.
pub fn attached(pid: u32) -> BTreeSet<u32> {
    let mut programs = BTreeSet::new();
    for descriptor in descriptors(pid) {
        let Ok(target) = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")) else {
            continue;
        };
        match target.to_string_lossy().as_ref() {
            "anon_inode:bpf_link" | "anon_inode:bpf-link" => {
                programs.extend(value::<u32>(&fdinfo(pid, descriptor), "prog_id"));
            }
            "anon_inode:[perf_event]" => programs.extend(bpf::program_of_event(pid, descriptor)),
            _ => {}
        }
    }
    programs
}

/// Numbers of all programs that the process holds, attached or not.
pub fn programs(pid: u32) -> BTreeSet<u32> {
    descriptors(pid).into_iter().filter_map(|descriptor| value::<u32>(&fdinfo(pid, descriptor), "prog_id")).collect()
}

/// Kernel memory of the maps that the process holds, in bytes.
pub fn map_bytes(pid: u32) -> u64 {
    let mut seen = BTreeSet::new();
    let infos = descriptors(pid).into_iter().map(|descriptor| fdinfo(pid, descriptor));
    // Two descriptors may lead to one map.
    let maps = infos.filter(|info| value::<u32>(info, "map_id").is_some_and(|id| seen.insert(id)));
    maps.filter_map(|info| value::<u64>(&info, "memlock")).sum()
}

/// Time on the CPU so far, in user space and in the kernel, in seconds.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(cpu_ticks(&stat)? as f64 / os::ticks_per_second())
}

/// A line of `/proc/PID/status` in kB, as bytes.
pub fn memory(pid: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    memory_line(&status, key)
}

fn descriptors(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn fdinfo(pid: u32, descriptor: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap_or_default()
}

/// The number in a line such as `prog_id: 450`.
fn value<T: std::str::FromStr>(text: &str, key: &str) -> Option<T> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok())
}

/// Fields 14 and 15. The name, field 2, may hold blanks and parentheses, so the fields count from its end.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

fn memory_line(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_fdinfo() {
        let info = "pos:\t0\nlink_type:\traw_tracepoint\nlink_id:\t216\nprog_id:\t450\n";
        assert_eq!(value(info, "prog_id"), Some(450));
        assert_eq!(value::<u32>(info, "prog"), None);
        assert_eq!(value::<u32>(info, "map_id"), None);
    }

    #[test]
    fn cpu_time_with_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn memory_in_bytes() {
        let status = "VmHWM:\t  900 kB\nVmRSS:\t    2 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(memory_line(status, "VmRSS"), Some(2048));
        assert_eq!(memory_line(status, "RssAnon"), Some(1024));
        assert_eq!(memory_line(status, "Rss"), None);
    }
}
