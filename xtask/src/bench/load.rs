//! The workloads: `xtask bench-load`, hidden, started by the benchmark as a fresh process per measurement.
//!
//! Each does one thing in a loop on one CPU and prints one line of JSON. `read` and `write` below are the bare system
//! calls: `File` has no buffer.

use std::fs::File;
use std::hint;
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::parent_id;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use io_uring::{IoUring, opcode};
use serde::{Deserialize, Serialize};

use super::{crowd, os, storage};

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// Reading one byte of /dev/zero
    Read,
    /// Reading one byte of a file that is in memory
    File,
    /// The cheapest operation of `io_uring`, handed over alone and waited for
    Ring,
    /// A byte over a TCP connection to oneself, and one back
    Exchange,
    /// The cheapest system call
    Getppid,
    /// One switch between two processes that pass a byte through pipes
    Switch,
    /// One switch between two threads that yield
    Yield,
    /// The other end of `switch`
    Echo,
    /// Reading a page of a file that is not in the page cache, and no other
    Miss,
    /// The same past the page cache
    Request,
    /// Asking where a file stands, which two threads do on two CPUs, and its lock lets only one do at a time
    Contend,
    /// Thousands of mostly sleeping threads beside calls at a steady rate
    Crowd,
}

#[derive(clap::Args)]
pub struct Args {
    load: Load,
    /// Bind the workload to this CPU
    #[arg(long)]
    cpu: usize,
    /// Operations per repetition; for `crowd`, calls per second
    #[arg(long, default_value_t = 1000)]
    iterations: u64,
    #[arg(long, default_value_t = 1)]
    repetitions: u32,
    /// Only for `crowd`
    #[arg(long, default_value_t = 2000)]
    threads: u32,
    /// Only for `crowd`
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// What a workload prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The fastest repetition, per operation.
    pub best_ns: f64,
    /// The median repetition, per operation.
    pub median_ns: f64,
    /// System calls per operation.
    pub calls: f64,
}

pub fn main(args: &Args) -> Result<ExitCode> {
    os::die_with_parent().context("failed to bind the life of the workload to its parent")?;
    os::pin(args.cpu).with_context(|| format!("failed to bind the workload to CPU {}", args.cpu))?;
    if args.load != Load::Crowd {
        os::go_first();
    }
    let outcome = match args.load {
        Load::Read => read(args)?,
        Load::File => read_file(args)?,
        Load::Ring => ring(args)?,
        Load::Exchange => exchange(args)?,
        Load::Getppid => repeat(args, 1.0, |count| Ok(getppid(count)))?,
        Load::Switch => switch(args)?,
        Load::Yield => yielding(args)?,
        Load::Echo => return echo(),
        Load::Miss => storage::misses(args)?,
        Load::Request => storage::requests(args)?,
        Load::Contend => contend(args)?,
        Load::Crowd => {
            println!("{}", crowd::run(args.threads, args.iterations, Duration::from_secs(args.seconds))?);
            return Ok(ExitCode::SUCCESS);
        }
    };
    println!("{}", serde_json::to_string(&outcome).context("failed to write the outcome")?);
    Ok(ExitCode::SUCCESS)
}

/// Times each repetition of `work`, which returns how many operations it did.
pub fn repeat(args: &Args, calls: f64, mut work: impl FnMut(u64) -> Result<u64>) -> Result<Outcome> {
    // The first repetition pays for faults and cold caches.
    work(args.iterations / 10 + 1)?;
    let mut times = Vec::new();
    for _ in 0..args.repetitions.max(1) {
        let start = Instant::now();
        let done = work(args.iterations)?;
        times.push(start.elapsed().as_secs_f64() * 1e9 / done.max(1) as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(Outcome { best_ns: times[0], median_ns: times[times.len() / 2], calls })
}

fn read(args: &Args) -> Result<Outcome> {
    let mut zero = File::open("/dev/zero").context("failed to open `/dev/zero`")?;
    repeat(args, 1.0, |count| {
        let (mut byte, mut left) = ([0], count);
        while left > 0 {
            zero.read_exact(&mut byte).context("failed to read `/dev/zero`")?;
            left -= 1;
        }
        Ok(count)
    })
}

fn read_file(args: &Args) -> Result<Outcome> {
    let file = File::open(super::own_program()?).context("failed to open a file")?;
    repeat(args, 1.0, |count| {
        let (mut byte, mut left) = ([0], count);
        while left > 0 {
            file.read_exact_at(&mut byte, 0).context("failed to read a file")?;
            left -= 1;
        }
        Ok(count)
    })
}

fn ring(args: &Args) -> Result<Outcome> {
    let mut ring = IoUring::new(1).context("failed to make a ring")?;
    repeat(args, 1.0, |count| {
        let mut left = count;
        while left > 0 {
            // SAFETY: it is about no memory.
            unsafe { ring.submission().push(&opcode::Nop::new().build()).context("the ring is full")? };
            ring.submit_and_wait(1).context("failed to hand over an operation")?;
            ring.completion().next().context("an operation has not ended")?;
            left -= 1;
        }
        Ok(count)
    })
}

/// One exchange to who asks, and one to who answers: two sends and two receives.
fn exchange(args: &Args) -> Result<Outcome> {
    let connect = || -> io::Result<[TcpStream; 2]> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let asks = TcpStream::connect(listener.local_addr()?)?;
        let (answers, _) = listener.accept()?;
        asks.set_nodelay(true).and_then(|()| answers.set_nodelay(true))?;
        Ok([asks, answers])
    };
    let [mut asks, mut answers] = connect().context("failed to connect to ourselves")?;
    let pass = |from: &mut TcpStream, to: &mut TcpStream| from.write_all(&[1]).and_then(|()| to.read_exact(&mut [0]));
    repeat(args, 4.0, |count| {
        let mut left = count;
        while left > 0 {
            let passed = pass(&mut asks, &mut answers).and_then(|()| pass(&mut answers, &mut asks));
            passed.context("failed to pass a byte")?;
            left -= 1;
        }
        Ok(count)
    })
}

fn getppid(count: u64) -> u64 {
    let mut left = count;
    while left > 0 {
        hint::black_box(parent_id());
        left -= 1;
    }
    count
}

/// A byte goes to the other process and back: two switches, and four system calls.
fn switch(args: &Args) -> Result<Outcome> {
    let program = super::own_program()?;
    let mut command = Command::new(program);
    command.args(["bench-load", "echo", "--cpu", &args.cpu.to_string()]);
    let mut other = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("failed to start `echo`")?;
    let outcome = ping(args, &mut other);
    // The end of its input ends it.
    drop(other.stdin.take());
    other.wait().context("failed to wait for `echo`")?;
    outcome
}

fn ping(args: &Args, other: &mut Child) -> Result<Outcome> {
    let (mut to, mut from) = other.stdin.take().zip(other.stdout.take()).context("`echo` has no pipes")?;
    repeat(args, 2.0, |count| {
        let (mut byte, mut left) = ([0], count / 2);
        while left > 0 {
            to.write_all(&byte).context("failed to write to `echo`")?;
            from.read_exact(&mut byte).context("failed to read from `echo`")?;
            left -= 1;
        }
        Ok(count)
    })
}

fn echo() -> Result<ExitCode> {
    let owned = |end: io::Result<_>| end.map(File::from).context("failed to open a pipe");
    let mut from = owned(io::stdin().as_fd().try_clone_to_owned())?;
    let mut to = owned(io::stdout().as_fd().try_clone_to_owned())?;
    let mut byte = [0];
    while from.read(&mut byte).context("failed to read from the pipe")? == 1 {
        to.write_all(&byte).context("failed to write to the pipe")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Two threads share a file, whose place has a lock.
fn contend(args: &Args) -> Result<Outcome> {
    let file = File::open(super::own_program()?).context("failed to open a file")?;
    beside(
        if args.cpu == 0 { 1 } else { args.cpu - 1 },
        || (&file).stream_position().is_ok(),
        || {
            repeat(args, 1.0, |count| {
                for _ in 0..count {
                    (&file).stream_position().context("failed to ask where a file stands")?;
                }
                Ok(count)
            })
        },
    )
}

/// Does one thing in another thread on a CPU, again and again, for as long as `work` takes; it says whether it could.
fn beside<T>(cpu: usize, again: impl Fn() -> bool + Sync, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut goes_well = os::pin(cpu).is_ok();
            while goes_well && !stop.load(Ordering::Relaxed) {
                goes_well = again();
            }
            goes_well
        });
        let outcome = work();
        stop.store(true, Ordering::Relaxed);
        let went_well = other.join().is_ok_and(|went_well| went_well);
        outcome.and_then(|outcome| {
            anyhow::ensure!(went_well, "the other thread failed");
            Ok(outcome)
        })
    })
}

/// Two threads yield to each other. Not every yield switches, so the switches are counted.
fn yielding(args: &Args) -> Result<Outcome> {
    let yields = || {
        thread::yield_now();
        true
    };
    beside(args.cpu, yields, || {
        let mut per_switch = Vec::new();
        let outcome = repeat(args, 1.0, |count| {
            let before = switches()?;
            for _ in 0..count {
                thread::yield_now();
            }
            // Each switch away from this thread comes with one back to it.
            let switched = 2 * switches()?.saturating_sub(before);
            per_switch.push(2.0 * count as f64 / switched.max(1) as f64);
            Ok(switched)
        })?;
        per_switch.sort_by(f64::total_cmp);
        Ok(Outcome { calls: per_switch[per_switch.len() / 2], ..outcome })
    })
}

/// How often the calling thread has left the CPU.
fn switches() -> Result<u64> {
    let path = "/proc/thread-self/status";
    let status = std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
    Ok(count_switches(&status))
}

fn count_switches(status: &str) -> u64 {
    let count = |line: &str| line.split_once("ctxt_switches:").and_then(|(_, count)| count.trim().parse::<u64>().ok());
    status.lines().filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_of_both_kinds_count() {
        let status = "Threads:\t2\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t40\n";
        assert_eq!(count_switches(status), 43);
        assert_eq!(count_switches(""), 0);
    }

    #[test]
    fn an_outcome_survives_its_line() {
        let outcome = Outcome { best_ns: 119.25, median_ns: 120.5, calls: 1.0 };
        let line = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&line).unwrap(), outcome);
    }
}
