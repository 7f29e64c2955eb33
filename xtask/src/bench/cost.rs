//! What our own process costs, on an idle host and on a busy one.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::beside::{self, Beside};
use super::contender::{Contender, How};
use super::procfs;
use super::rounds::Plan;

/// The busy host.
const THREADS: u32 = 2000;
const CALLS_PER_SECOND: u64 = 500_000;
/// `record` looks once per second unless it is told otherwise.
const TICK: Duration = Duration::from_secs(1);
const CROWD_START_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// CPU time and memory of the process over one interval.
#[derive(Debug, PartialEq, Serialize)]
pub struct Cost {
    pub host: String,
    pub seconds: f64,
    /// Share of one CPU: user space, and the kernel on its behalf.
    pub cpu_ratio: f64,
    pub ms_per_tick: f64,
    pub rss_bytes: u64,
    /// Of it, what is no file: heap and stacks.
    pub anonymous_bytes: u64,
    /// Kernel memory of its maps, which no process is charged for.
    pub map_bytes: u64,
}

/// Measures for `time` on each host.
pub fn measure(contender: &Contender, plan: Plan, time: Duration) -> Result<Vec<Cost>> {
    let How::Beside { program, args, ready } = &contender.how else {
        return Ok(Vec::new());
    };
    let mut beside = Beside::start(program, args, *ready, plan.folder)?;
    eprintln!("bench: own cost, idle, {} s", time.as_secs());
    let idle = watch(&mut beside, "idle".to_owned(), time)?;
    eprintln!("bench: own cost, busy, {} s", time.as_secs());
    let others = threads_of_host().context("`/proc/loadavg` does not count the threads")?;
    let busy = thread::scope(|scope| {
        let crowd = scope.spawn(|| crowd(plan.cpu, time + CROWD_START_MAX / 2));
        let watched = wait_for_crowd(others).and_then(|()| watch(&mut beside, String::new(), time));
        let rate = crowd.join().ok().context("the thread of the crowd failed")??;
        watched.map(|cost| Cost { host: format!("{THREADS} threads, {rate} calls/s"), ..cost })
    })?;
    Ok(vec![idle, busy])
}

fn watch(beside: &mut Beside, host: String, time: Duration) -> Result<Cost> {
    let pid = beside.pid();
    let gone = "failed to read the CPU time of the profiler";
    let (start, before) = (Instant::now(), procfs::cpu_seconds(pid).context(gone)?);
    thread::sleep(time);
    let (seconds, after) = (start.elapsed().as_secs_f64(), procfs::cpu_seconds(pid).context(gone)?);
    beside.check()?;
    let cpu_ratio = (after - before) / seconds;
    let memory = |key| procfs::memory(pid, key).with_context(|| format!("`/proc/{pid}/status` has no {key}"));
    Ok(Cost {
        host,
        seconds,
        cpu_ratio,
        ms_per_tick: cpu_ratio * TICK.as_secs_f64() * 1e3,
        rss_bytes: memory("VmRSS")?,
        anonymous_bytes: memory("RssAnon")?,
        map_bytes: procfs::map_bytes(pid),
    })
}

/// Runs the crowd; returns the calls per second that it reached.
fn crowd(cpu: usize, time: Duration) -> Result<String> {
    let mut command = Command::new(super::own_program()?);
    command.args(["bench-load", "crowd", "--cpu", &cpu.to_string(), "--threads", &THREADS.to_string()]);
    command.args(["--iterations", &CALLS_PER_SECOND.to_string(), "--seconds", &time.as_secs().to_string()]);
    let rate = beside::output(&mut command, time + CROWD_START_MAX).context("failed to run the crowd")?;
    Ok(rate.trim().to_owned())
}

/// `others` are the threads that were there before; some of them may end meanwhile.
fn wait_for_crowd(others: u64) -> Result<()> {
    let deadline = Instant::now() + CROWD_START_MAX;
    while Instant::now() < deadline {
        if threads_of_host().is_some_and(|threads| threads >= others + u64::from(THREADS) * 9 / 10) {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    bail!("{THREADS} threads did not start within {} s", CROWD_START_MAX.as_secs());
}

fn threads_of_host() -> Option<u64> {
    threads_of_loadavg(&fs::read_to_string("/proc/loadavg").ok()?)
}

/// The fourth field counts the threads: running, a slash, all.
fn threads_of_loadavg(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_counts_its_threads() {
        assert_eq!(threads_of_loadavg("1.01 1.67 1.76 2/2114 31053\n"), Some(2114));
        assert_eq!(threads_of_loadavg(""), None);
    }
}
