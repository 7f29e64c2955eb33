//! What the host is, and what it lets us do: facts for the header of a capture, clocks, privileges, our own cost.

pub mod privilege;

use std::ffi::{CStr, c_char};
use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;

pub use self::privilege::{capability_notes, check_privileges, rights};
use crate::batch::{Machine, Timestamp};
use crate::kernel::host::parse;

/// Two clocks are read this often, and the closest pair is kept: an interrupt in between makes one pair bad, not all.
const PAIRS: u32 = 5;

/// The header of a capture, as far as the host alone tells it. How it is observed (`tick_ns`, `call_sampling`,
/// `call_names`, `probes`) is the caller's to say.
#[must_use]
pub fn machine_facts() -> Machine {
    let (host, kernel) = system_names();
    let (anchor, anchor_unix_ns) = pair(libc::CLOCK_REALTIME);
    let memory = text("/proc/meminfo").and_then(|text| parse::memory(&text)).unwrap_or_default();
    Machine {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host,
        kernel,
        boot_id: text("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        cpus: u32::try_from(constant(libc::_SC_NPROCESSORS_ONLN)).unwrap_or(1),
        memory_bytes: memory.total_bytes,
        anchor: Timestamp(anchor),
        anchor_unix_ns,
        ..Machine::default()
    }
}

/// Now.
#[must_use]
pub fn monotonic() -> Timestamp {
    Timestamp(clock(libc::CLOCK_MONOTONIC))
}

/// Time that the host was suspended since boot: what to add to a [`Timestamp`] to get nanoseconds since boot, in which
/// [`crate::batch::ProcessKey::start_ns`] counts.
#[must_use]
pub fn boot_offset_ns() -> u64 {
    let (monotonic, since_boot) = pair(libc::CLOCK_BOOTTIME);
    since_boot.saturating_sub(monotonic)
}

/// Kernel lockdown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Lockdown {
    /// `none`, `integrity`, or `confidentiality`, which keeps programs from reading memory.
    Mode(String),
    /// This kernel has none.
    Unsupported,
    /// securityfs is not mounted.
    #[default]
    Unknown,
}

/// The mode of kernel lockdown; `None` when nothing is locked, as far as can be told.
#[must_use]
pub fn lockdown() -> Option<String> {
    match lockdown_state() {
        Lockdown::Mode(mode) if mode != "none" => Some(mode),
        _ => None,
    }
}

/// Kernel lockdown, as far as can be told.
#[must_use]
pub fn lockdown_state() -> Lockdown {
    let folder = Path::new("/sys/kernel/security");
    match text(folder.join("lockdown")).as_deref().and_then(present) {
        Some(mode) => Lockdown::Mode(mode),
        // It lists the security modules, wherever there is a securityfs.
        None if folder.join("lsm").exists() => Lockdown::Unsupported,
        None => Lockdown::Unknown,
    }
}

/// Whether programs are run as instructions of the CPU; if not, the kernel takes none that call its functions.
#[must_use]
pub fn has_jit() -> bool {
    text("/proc/sys/net/core/bpf_jit_enable").is_none_or(|mode| mode.trim() != "0")
}

/// The modes are listed, the present one in brackets.
fn present(modes: &str) -> Option<String> {
    let (mode, _) = modes.split_once('[')?.1.split_once(']')?;
    Some(mode.to_owned())
}

/// What we cost: CPU time since our start, nanoseconds, and resident memory, bytes.
#[must_use]
pub fn self_usage() -> (u64, u64) {
    let pages = text("/proc/self/statm").and_then(|text| resident_pages(&text)).unwrap_or(0);
    (cpu_ns(), pages.saturating_mul(u64::try_from(constant(libc::_SC_PAGESIZE)).unwrap_or(4096)))
}

fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn cpu_ns() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for writing one `rusage`, all of whose bit patterns, zeros included, are valid.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ns = |time: libc::timeval| number(time.tv_sec) * 1_000_000_000 + number(time.tv_usec) * 1000;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}

/// Before 5.11 maps count as locked memory, of which users have little. That it cannot be raised shows when maps are made.
pub fn raise_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is valid for reading one `rlimit`.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

/// Memory that we may lock, bytes; `None` without a limit.
#[must_use]
pub fn locked_memory_bytes() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is valid for writing one `rlimit`.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Length of the clock tick in which `/proc` counts CPU time and start times.
#[must_use]
pub fn clock_tick_ns() -> u64 {
    1_000_000_000 / u64::try_from(constant(libc::_SC_CLK_TCK)).unwrap_or(100).max(1)
}

/// Time between two ticks of the clock that the kernel counts in (jiffies), which is also how coarse its coarse clocks are;
/// 0 if it is not known.
#[must_use]
pub fn tick_ns() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for writing one `timespec`.
    let result = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    if result == 0 && time.tv_sec == 0 { u32::try_from(time.tv_nsec).unwrap_or(0) } else { 0 }
}

fn constant(name: i32) -> i64 {
    // SAFETY: sysconf takes any number; it writes nothing.
    unsafe { libc::sysconf(name) }
}

/// `CLOCK_MONOTONIC` and another clock at the same moment.
fn pair(other: libc::clockid_t) -> (u64, u64) {
    let read = |_| {
        let before = clock(libc::CLOCK_MONOTONIC);
        let other = clock(other);
        (clock(libc::CLOCK_MONOTONIC).saturating_sub(before), before, other)
    };
    let (width, before, other) = (0..PAIRS).map(read).min().unwrap_or_default();
    (before + width / 2, other)
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for writing one `timespec`.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    number(time.tv_sec) * 1_000_000_000 + number(time.tv_nsec)
}

fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Host name and kernel release.
fn system_names() -> (String, String) {
    let mut names = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the pointer is valid for writing one `utsname`, all of whose bit patterns, zeros included, are valid.
    let names = unsafe {
        libc::uname(names.as_mut_ptr());
        names.assume_init()
    };
    (string(&names.nodename), string(&names.release))
}

fn string(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|byte| byte.cast_unsigned()).collect();
    CStr::from_bytes_until_nul(&bytes).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_is_the_mode_in_brackets() {
        assert_eq!(present("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(present("[none] integrity confidentiality\n").as_deref(), Some("none"));
        assert_eq!(present(""), None);
    }

    #[test]
    fn resident_memory_is_the_second_number() {
        assert_eq!(resident_pages("765 512 340 5 0 100 0\n"), Some(512));
        assert_eq!(resident_pages(""), None);
    }

    #[test]
    fn this_host_has_facts() {
        let machine = machine_facts();
        assert!(!machine.host.is_empty() && !machine.boot_id.is_empty(), "{machine:?}");
        assert!(machine.kernel.starts_with(|first: char| first.is_ascii_digit()), "{}", machine.kernel);
        assert!(machine.cpus > 0 && machine.memory_bytes > 0, "{machine:?}");
        assert!(machine.anchor <= monotonic() && machine.anchor_unix_ns > 1_700_000_000_000_000_000);
    }

    #[test]
    fn clocks_are_read_together() {
        let (monotonic, same) = pair(libc::CLOCK_MONOTONIC);
        assert!(monotonic.abs_diff(same) < 1_000_000, "{monotonic} {same}");
        assert!(boot_offset_ns() < 1 << 60);
    }

    #[test]
    fn we_cost_something() {
        raise_memlock();
        let (_, memory_bytes) = self_usage();
        assert!(memory_bytes > 1 << 16);
    }
}
