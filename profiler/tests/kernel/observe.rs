//! Observes the host while a workload runs, and finds rows in what was seen.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use profiler::batch::{Batch, CallRow, Machine, SocketRow, TaskRow};
use profiler::kernel::probe::PROBES;
use profiler::model::{Model, Window};
use profiler::source::Source;
use profiler::source::live::{Live, Options};
use profiler_common::lost::UNSEEN_REQUESTS;
use profiler_common::syscall::call_key;
use tokio::sync::oneshot;

/// One observation at a time, whatever the number of test threads: their calls would not mix, but their cost would.
static ONE: Mutex<()> = Mutex::new(());

/// What was seen, and what the workload said.
pub struct Seen<T> {
    pub machine: Machine,
    pub batches: Vec<Batch>,
    pub said: T,
}

/// How much longer a wait on the run queue may be told than it is in the scheduler's book. That is closed by a clock which the wake-up
/// had read, if the switch followed from it: it may be a tick old, of up to 10 ms. What one of our ticks saw of the wait by then
/// cannot be taken back.
pub const STALE_NS: u64 = 10_000_000;

/// Options with an interval of so many milliseconds, and nothing sampled.
pub fn every(milliseconds: u64) -> Options {
    Options { tick: Duration::from_millis(milliseconds), sample_permille: 0, ..Options::default() }
}

/// Options with one interval for the whole observation: what ends is still seen, when it stops.
pub fn once() -> Options {
    every(600_000)
}

/// Attaches, runs the workload, stops, and returns all batches.
pub fn observe<T>(options: &Options, workload: impl FnOnce() -> T) -> Seen<T> {
    observe_without(options, &[], workload)
}

/// The same where these probes are missing, beside those that this kernel does not have.
pub fn observe_without<T>(options: &Options, lacking: &[&str], workload: impl FnOnce() -> T) -> Seen<T> {
    observe_each(options, lacking, |_| (), workload)
}

/// The same; what is taken out of a batch as it comes, is not kept.
pub fn observe_each<T>(
    options: &Options,
    lacking: &[&str],
    each: impl FnMut(&mut Batch) + Send,
    workload: impl FnOnce() -> T,
) -> Seen<T> {
    need_root();
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let live = Live::attach(options).unwrap();
    let machine = live.machine().clone();
    let expected = |name: &&str| lacking.contains(name) || absent().iter().any(|absent| absent == name);
    let expected: Vec<_> = PROBES.iter().map(|probe| probe.name).filter(expected).collect();
    assert_eq!(missing(&machine), expected, "probes that should be there, or should not: {:?}", machine.probes);
    let (workload_runs, workload_ended) = oneshot::channel::<()>();
    thread::scope(|scope| {
        let collector = scope.spawn(move || collect(live, workload_ended, each));
        // Dropped when the workload panics, too: else nobody would end the collector.
        let workload_runs = workload_runs;
        let said = workload();
        drop(workload_runs);
        let batches = collector.join().unwrap();
        assert!(!batches.is_empty(), "stopping delivers a last batch");
        Seen { machine, batches, said }
    })
}

/// Names of the probes that are missing.
pub fn missing(machine: &Machine) -> Vec<&str> {
    machine.probes.iter().filter(|probe| probe.form.is_none()).map(|probe| probe.name.as_str()).collect()
}

/// Names of the probes that this kernel is known not to have: a virtual machine is told.
pub fn absent() -> Vec<String> {
    let names = std::env::var("GUEST_ABSENT").unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Whether this is one of our virtual machines, whose CPUs are emulated.
pub fn is_guest() -> bool {
    std::env::var_os("GUEST_ABSENT").is_some()
}

/// Whether the scheduler may book time on the run queue that was none: threads that sleep may stay on it (6.12).
pub fn may_overbook() -> bool {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    types.windows(15).any(|name| name == b"\0sched_delayed\0")
}

/// All batches, until the workload has ended and the last interval has come.
fn collect(mut live: Live, mut workload_ended: oneshot::Receiver<()>, mut each: impl FnMut(&mut Batch)) -> Vec<Batch> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut batches, mut ended) = (Vec::new(), false);
    runtime.block_on(async {
        loop {
            tokio::select! {
                batch = live.next() => match batch.unwrap() {
                    Some(mut batch) => {
                        each(&mut batch);
                        batches.push(batch);
                    }
                    None => return batches,
                },
                _ = &mut workload_ended, if !ended => {
                    ended = true;
                    live.end();
                }
            }
        }
    })
}

/// A test that cannot run has failed.
pub fn need_root() {
    // SAFETY: no arguments, cannot fail.
    assert_eq!(unsafe { libc::geteuid() }, 0, "these tests need root: run `cargo xtask test`");
}

impl<T> Seen<T> {
    /// All that was seen, as a report has it.
    pub fn model(&self) -> Model {
        let mut model = Model::new(self.machine.clone(), Window::Whole);
        self.batches.iter().for_each(|batch| model.apply(batch));
        model
    }

    /// The last row of each socket that was there to the end.
    pub fn sockets(&self) -> Vec<&SocketRow> {
        let all = self.batches.iter().flat_map(|batch| &batch.sockets);
        let last: BTreeMap<_, _> = all.map(|row| (row.cookie, row)).collect();
        last.into_values().filter(|row| !row.ended).collect()
    }

    /// Call rows of a process, summed over all intervals, by call name; kinds as [`profiler_common::file::kind`].
    pub fn call(&self, pid: u32, name: &str, kind: u32) -> CallRow {
        let number = self.machine.call_names.iter().find_map(|(number, known)| (known == name).then_some(*number));
        let key = call_key(number.unwrap_or_else(|| panic!("no call {name}")), kind);
        let mut sum = CallRow { key, ..CallRow::default() };
        for row in self.calls(pid).filter(|row| row.key == key) {
            sum.process = row.process;
            sum.count += row.count;
            sum.bytes += row.bytes;
            sum.blocked_ns += row.blocked_ns;
            sum.blocked.add(&row.blocked);
            sum.latency.add(&row.latency);
            for (sum, errors) in sum.errors.iter_mut().zip(row.errors) {
                *sum += errors;
            }
        }
        sum
    }

    /// All call rows of a process.
    pub fn calls(&self, pid: u32) -> impl Iterator<Item = &CallRow> {
        self.batches.iter().flat_map(|batch| &batch.calls).filter(move |row| row.process.pid == pid)
    }

    /// Kinds of file on which a process made a call.
    pub fn kinds(&self, pid: u32, name: &str) -> Vec<u32> {
        let mut kinds: Vec<_> = self
            .calls(pid)
            .filter(|row| self.machine.call_names.get(&(row.key & 0xffff)).is_some_and(|known| known == name))
            .map(|row| row.key >> 16)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// All rows of the threads of a process.
    pub fn tasks(&self, pid: u32) -> impl Iterator<Item = &TaskRow> {
        self.batches.iter().flat_map(|batch| &batch.tasks).filter(move |row| row.process.pid == pid)
    }

    /// Sum over all rows of a process.
    pub fn sum(&self, pid: u32, value: impl Fn(&TaskRow) -> u64) -> u64 {
        self.tasks(pid).map(value).sum()
    }

    /// Pages that a process moved in some way, one of [`profiler_common::file::page`].
    pub fn pages(&self, pid: u32, way: usize) -> u64 {
        self.tasks(pid).map(|row| row.pages.unwrap()[way]).sum()
    }

    /// No count is missing. Clocks that disagreed for some thread of the host say nothing about ours, nor does one that had
    /// to wait for its record while memory was short: of ours, the numbers that are compared would be too small. Requests of
    /// whatever disk neither: tests of disks look at those. Where programs can be preempted, the kernel runs none for others
    /// meanwhile: whose numbers are smaller for that looks at [`Self::missed`].
    pub fn assert_counts_whole(&self) {
        let mut lost = self.lost();
        lost.remove("clock_skew");
        lost.remove("task_record");
        lost.remove(UNSEEN_REQUESTS);
        lost.retain(|name, _| !name.starts_with("missed_block_"));
        if std::env::var_os("GUEST_PREEMPTIBLE").is_some() {
            lost.retain(|name, _| !name.starts_with("missed_"));
        }
        assert!(lost.is_empty(), "{lost:?}");
    }

    /// What is told of a time is all of it, and no more.
    #[track_caller]
    pub fn assert_adds_up(&self, told_ns: u64, wall_ns: u64) {
        let slack_ns = wall_ns / 1_000 + self.slack_ns();
        let (least_ns, most_ns) = (wall_ns.saturating_sub(slack_ns), wall_ns + slack_ns + STALE_NS);
        assert!((least_ns..=most_ns).contains(&told_ns), "{told_ns} told of {wall_ns}, of which {slack_ns} is slack");
    }

    /// By how much clocks may disagree. An emulator that stands still between two looks at them has them disagree by as much,
    /// and so has a host whose CPU was given to another for a while: in ticks of 10 ms.
    pub fn slack_ns(&self) -> u64 {
        match self.stolen_ns() {
            _ if is_guest() => 20_000_000,
            0 => 1_000_000,
            stolen_ns => stolen_ns + 10_000_000,
        }
    }

    /// Time for which CPUs were given to others by the host of this machine: no clock of a thread has it.
    pub fn stolen_ns(&self) -> u64 {
        self.batches.iter().map(|batch| batch.host.cpu_ns[5]).sum()
    }

    /// How often the kernel did not run programs whose names begin so.
    pub fn missed(&self, programs: &str) -> u64 {
        let named = |name: &str| name.strip_prefix("missed_").is_some_and(|name| name.starts_with(programs));
        self.lost().iter().filter(|(name, _)| named(name)).map(|(_, count)| count).sum()
    }

    /// What was lost, by name.
    pub fn lost(&self) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        for (name, count) in self.batches.iter().flat_map(|batch| &batch.quality.lost) {
            *sum.entry(name.clone()).or_insert(0) += count;
        }
        sum
    }
}

/// Says what was measured: `cargo xtask vm` shows it, kernel by kernel.
pub fn figure(what: &str, value: impl Display) {
    println!("figure {what}: {value}");
}

/// Says it of the test that asks.
pub fn figure_of_test(what: &str, value: impl Display) {
    figure(&format!("{} ({what})", name_of_test()), value);
}

/// The test that asks, in words.
pub fn name_of_test() -> String {
    let thread = thread::current();
    thread.name().and_then(|path| path.rsplit("::").next()).unwrap_or_default().replace('_', " ")
}

/// Nanoseconds in words.
pub fn ms(ns: u64) -> String {
    format!("{:.2} ms", ns as f64 / 1e6)
}

/// Whether `ours` is within a share of `truth`.
#[track_caller]
pub fn assert_close(what: &str, ours: u64, truth: u64, share: f64) {
    let off = ours.abs_diff(truth) as f64 / truth.max(1) as f64;
    assert!(off <= share, "{what}: {ours}, but in truth {truth}: off by {:.3} %", off * 100.0);
    println!("{what}: {ours}, in truth {truth}, off by {:.4} %", off * 100.0);
}

/// Standard output of a tool that has to be there and to succeed.
#[track_caller]
pub fn tool(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("these tests need `{program}`: {error}"));
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program} {} failed with {status}: {said}", arguments.join(" "));
    String::from_utf8(stdout).unwrap()
}

/// Asks the kernel until it says what has to become true; panics with what it says instead after some seconds.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(state) => assert!(Instant::now() < deadline, "still waiting until {what}: {state}"),
        }
        thread::park_timeout(Duration::from_millis(2));
    }
}
