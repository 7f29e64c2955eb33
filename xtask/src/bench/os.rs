//! Calls of the operating system that the standard library lacks.

use std::fs;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Binds the calling thread, and what it starts from now on, to one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: the set is plain bits, for which zero is a valid value; `CPU_SET` checks the number against its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: the kernel reads as many bytes as the set has; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets nothing of ordinary priority take the CPU from the calling process for long. Only root may.
pub fn go_first() {
    // SAFETY: setting a priority touches no memory. Without the right to it the measurement is noisier, no more.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

/// Has the kernel kill this process when the thread that started it ends, so that nothing outlives the benchmark.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: this option takes a signal number and touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks a process that we started, and have not waited for yet, to stop.
pub fn interrupt(pid: u32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return;
    };
    // SAFETY: sending a signal touches no memory of ours. A process that is gone is an error, which changes nothing.
    unsafe { libc::kill(pid, libc::SIGINT) };
}

/// Signals a process group whose leader we started; whether there was anybody. Signal 0 only asks.
pub fn signal_group(leader: u32, signal: libc::c_int) -> bool {
    // SAFETY: sending a signal touches no memory of ours. A group that is gone is an error, which changes nothing.
    libc::pid_t::try_from(leader).is_ok_and(|leader| unsafe { libc::kill(-leader, signal) } == 0)
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on interrupts and requests to end are only noted, so that there is time to clean up.
pub fn note_signals() {
    extern "C" fn note(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores into an atomic.
        unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
    }
}

/// Whether such a signal has come.
pub fn was_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// How many units of `/proc/PID/stat` make a second.
pub fn ticks_per_second() -> f64 {
    // SAFETY: `sysconf` reads a constant.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// The CPU for the workloads: the last one that we may use. CPU 0 serves most interrupts, so it is the last choice.
pub fn workload_cpu() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status").context("failed to read `/proc/self/status`")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(last_cpu).context("`/proc/self/status` names no CPU that we may use")
}

/// The last number of a list such as `0-3,8`.
fn last_cpu(list: &str) -> Option<usize> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cpu_of_a_list() {
        assert_eq!(last_cpu("\t0-1\n"), Some(1));
        assert_eq!(last_cpu("0"), Some(0));
        assert_eq!(last_cpu("0-3,8,10"), Some(10));
        assert_eq!(last_cpu(""), None);
    }
}
