//! The running host as a source. A thread of its own keeps time and reads the kernel once per tick; a channel of one
//! batch carries what it read. When the reader is slow, an interval becomes longer, and no count is lost.
#![expect(clippy::disallowed_methods, reason = "the live source owns the clock and its thread")]

use std::io::{self, PipeWriter, Write as _};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::batch::{Batch, Machine};
pub use crate::config::{Options, Types};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::source::Source;

/// The running host.
pub struct Live {
    machine: Machine,
    batches: Receiver<Result<Batch, Error>>,
    /// A byte in it ends the thread.
    stop: PipeWriter,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Loads the programs and starts to read. What this kernel lacks is in [`Machine::probes`].
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let kernel = Kernel::attach(options)?;
        let machine = kernel.machine().clone();
        let (sender, batches) = mpsc::channel(1);
        let io = |act: &str| {
            let act = act.to_owned();
            move |source| Error::Io { act, source }
        };
        let (stopped, stop) = io::pipe().map_err(io("make a pipe"))?;
        let mut pump = Pump { kernel, tick: options.tick, sender, missed_ticks: 0, stopped };
        let thread = thread::Builder::new().name("profiler-read".into()).spawn(move || pump.run());
        let thread = thread.map_err(io("start a thread"))?;
        Ok(Self { machine, batches, stop, thread: Some(thread) })
    }
}

impl Drop for Live {
    /// The programs are out of the kernel when this returns.
    fn drop(&mut self) {
        self.batches.close();
        self.end();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so already.
            drop(thread.join());
        }
    }
}

impl Source for Live {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn end(&mut self) {
        // A thread that is gone has ended already.
        drop(self.stop.write_all(b"."));
    }

    async fn next(&mut self) -> Result<Option<Batch>, Error> {
        self.batches.recv().await.transpose()
    }
}

/// The thread that reads.
struct Pump {
    kernel: Kernel,
    tick: Duration,
    sender: Sender<Result<Batch, Error>>,
    missed_ticks: u64,
    stopped: io::PipeReader,
}

/// What ended a wait.
#[derive(PartialEq, Eq)]
enum Wake {
    Time,
    Stop,
}

impl Pump {
    fn run(&mut self) {
        let mut due = Instant::now() + self.tick;
        while self.tick(due) == Wake::Time {
            if self.sender.is_closed() {
                return;
            }
            if self.sender.capacity() == 0 {
                self.missed_ticks += 1;
            } else if !self.send() {
                return;
            }
            // A late tick does not make the ones after it come early.
            due = (due + self.tick).max(Instant::now());
        }
        // The last batch may have to wait until the one before is taken.
        self.kernel.end();
        let last = self.batch();
        drop(self.sender.blocking_send(last));
    }

    /// Waits for the end of an interval, and samples calls in a window within it.
    fn tick(&mut self, due: Instant) -> Wake {
        let left = due.saturating_duration_since(Instant::now());
        let window = self.kernel.sampler().map(|(sampler, _)| sampler.plan(left));
        if let Some((start, length)) = window {
            let opens = Instant::now() + start;
            if self.wait(opens) == Wake::Stop {
                return Wake::Stop;
            }
            if let Some((sampler, ebpf)) = self.kernel.sampler() {
                sampler.open(ebpf);
            }
            let woken = self.wait((Instant::now() + length).min(due));
            if let Some((sampler, ebpf)) = self.kernel.sampler() {
                sampler.close(ebpf);
            }
            if woken == Wake::Stop {
                return Wake::Stop;
            }
        }
        self.wait(due)
    }

    /// Sleeps until a moment; takes what ended out of the kernel whenever much has.
    fn wait(&mut self, until: Instant) -> Wake {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Wake::Time;
            }
            let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let mut fds = [poll(self.kernel.exits_fd()), poll(self.stopped.as_raw_fd())];
            let timeout = libc::timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            // SAFETY: two initialized descriptors, a valid timeout, no signal mask.
            unsafe { libc::ppoll(fds.as_mut_ptr(), 2, &raw const timeout, std::ptr::null()) };
            if fds[1].revents != 0 {
                return Wake::Stop;
            }
            if fds[0].revents != 0 {
                self.kernel.read_exits();
            }
        }
    }

    fn batch(&mut self) -> Result<Batch, Error> {
        let mut batch = self.kernel.read()?;
        batch.quality.missed_ticks = std::mem::take(&mut self.missed_ticks);
        Ok(batch)
    }

    /// Whether there is a reason to go on.
    fn send(&mut self) -> bool {
        let batch = self.batch();
        let went_well = batch.is_ok();
        self.sender.try_send(batch).is_ok() && went_well
    }
}
