//! A busy host: thousands of threads that mostly sleep, and one that calls the kernel at a steady rate.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The steady rate comes in bursts of this length.
const BURST: Duration = Duration::from_millis(10);
/// How often a thread of the crowd wakes.
const NAP: Duration = Duration::from_secs(1);
/// Enough for a thread that does nothing much.
const STACK: usize = 64 << 10;

/// Runs for `time`; returns one line with the calls per second that were reached.
pub fn run(threads: u32, calls_per_second: u64, time: Duration) -> Result<String> {
    let stop = Arc::new(AtomicBool::new(false));
    for index in 0..threads {
        let stop = Arc::clone(&stop);
        let builder = thread::Builder::new().stack_size(STACK);
        let first = NAP.mul_f64(f64::from(index) / f64::from(threads));
        builder.spawn(move || nap(first, &stop)).with_context(|| format!("failed to start thread {index}"))?;
    }
    let mut zero = File::open("/dev/zero").context("failed to open `/dev/zero`")?;
    let start = Instant::now();
    let (mut byte, mut calls) = ([0], 0_u64);
    while start.elapsed() < time {
        let due = start.elapsed().as_secs_f64() * calls_per_second as f64;
        while (calls as f64) < due {
            zero.read_exact(&mut byte).context("failed to read `/dev/zero`")?;
            calls += 1;
        }
        thread::sleep(BURST);
    }
    let rate = calls as f64 / start.elapsed().as_secs_f64();
    // The sleepers notice within a nap, or end with the process.
    stop.store(true, Ordering::Relaxed);
    Ok(format!("{rate:.0}"))
}

fn nap(first: Duration, stop: &AtomicBool) {
    let mut nap = first;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(nap);
        nap = NAP;
        for _ in 0..3 {
            std::hint::black_box(parent_id());
        }
    }
}
