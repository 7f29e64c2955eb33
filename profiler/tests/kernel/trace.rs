//! Events as tracefs tells them: a witness that also has those for which the kernel runs no program.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use profiler::batch::Batch;
use profiler_common::disk::{device, op};

use crate::kernel::device::Scratch;
use crate::kernel::observe::{is_guest, tool};

/// An instance of tracefs that records some events, gone when dropped.
pub struct Trace {
    instance: PathBuf,
    mount: Scratch,
}

/// A block event in the context of a thread.
#[derive(Debug)]
pub struct Event {
    pub tid: u32,
    pub op: u32,
    /// Of a completion; an issue has none.
    pub completed_bytes: Option<u64>,
}

impl Trace {
    /// Requests of one device.
    pub fn of(wanted: u32) -> Option<Self> {
        let filter = format!("dev == {wanted}");
        Self::new(&[("block/block_rq_issue", &filter), ("block/block_rq_complete", &filter)])
    }

    /// What is asked of one device, and when there is a request for it.
    pub fn of_waits(wanted: u32) -> Option<Self> {
        let filter = format!("dev == {wanted}");
        Self::new(&[("block/block_bio_queue", &filter), ("block/block_getrq", &filter)])
    }

    /// What host-wide counts of TCP events are made of, and the state that a timeout leads to (`TCP_CA_Loss`).
    pub fn of_tcp() -> Option<Self> {
        let counted = ["tcp_retransmit_skb", "tcp_retransmit_synack", "tcp_send_reset", "tcp_receive_reset"];
        let counted = counted.map(|event| format!("tcp/{event}"));
        let timeout = ("tcp/tcp_cong_state_set", "cong_state == 4");
        Self::new(&counted.iter().map(|event| (event.as_str(), "0")).chain([timeout]).collect::<Vec<_>>())
    }

    /// Congestion states of connections to a port.
    pub fn of_congestion(port: u16) -> Option<Self> {
        Self::new(&[("tcp/tcp_cong_state_set", &format!("dport == {port}"))])
    }

    /// Operations of `io_uring` that are passed on to worker threads.
    pub fn of_punts() -> Option<Self> {
        Self::new(&[("io_uring/io_uring_queue_async_work", "0")])
    }

    /// Edges of the commits of one journal.
    pub fn of_journal(wanted: u32) -> Option<Self> {
        let filter = format!("dev == {wanted}");
        let edges = ["start_commit", "commit_locking", "commit_flushing", "commit_logging", "end_commit"];
        Self::new(
            &edges.map(|edge| format!("jbd2/jbd2_{edge}")).each_ref().map(|edge| (edge.as_str(), filter.as_str())),
        )
    }

    /// Time between each of one event and the next of another in the same thread, microseconds.
    pub fn between_us(&self, first: &str, then: &str) -> Vec<u64> {
        let mut open = BTreeMap::new();
        let mut times = Vec::new();
        for line in self.lines() {
            let (tid, (at_us, what)) = (tid_of(&line).expect(&line), moment(&line).expect(&line));
            if what == first {
                open.insert(tid, at_us);
            } else if what == then
                && let Some(since_us) = open.remove(&tid)
            {
                times.push(at_us - since_us);
            }
        }
        times
    }

    /// What happened so far: when, in microseconds, and what.
    pub fn moments(&self) -> Vec<(u64, String)> {
        self.lines().iter().map(|line| moment(line).expect(line)).collect()
    }

    /// When something happened, in microseconds, and what it says of itself.
    pub fn words(&self) -> Vec<(u64, String)> {
        let lines = self.lines();
        lines.iter().map(|line| (moment(line).expect(line).0, line.clone())).collect()
    }

    /// Events with a filter each, `0` for none. Nobody watches where nothing is hidden: the kernels of our own guests hide
    /// nothing.
    fn new(events: &[(&str, &str)]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if is_guest() {
            return None;
        }
        let unique = format!("profiler-test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mount = Scratch::new();
        tool("mount", &["-t", "tracefs", "tracefs", &mount.path("")]);
        let instance = PathBuf::from(mount.path(&format!("instances/{unique}")));
        fs::create_dir(&instance).unwrap();
        let trace = Self { instance, mount };
        trace.write("buffer_size_kb", "32768");
        for (event, filter) in events {
            trace.write(&format!("events/{event}/filter"), filter);
            trace.write(&format!("events/{event}/enable"), "1");
        }
        Some(trace)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.instance.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// What happened so far, a line each; panics if the buffer was too small.
    fn lines(&self) -> Vec<String> {
        for cpu in fs::read_dir(self.instance.join("per_cpu")).unwrap() {
            let stats = fs::read_to_string(cpu.unwrap().path().join("stats")).unwrap();
            assert!(stats.contains("\noverrun: 0\n"), "{stats}");
        }
        let text = fs::read_to_string(self.instance.join("trace")).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// Events for which no program runs, a line each: in the context of a thread that no batch has. Idle (0) is not hidden.
    fn hidden_lines(&self, batches: &[Batch]) -> Vec<String> {
        let known = |tid| tid == 0 || batches.iter().any(|batch| batch.tasks.iter().any(|row| row.tid == tid));
        self.lines().into_iter().filter(|line| !known(tid_of(line).expect(line))).collect()
    }

    /// Block events for which no program runs.
    pub fn hidden(&self, batches: &[Batch]) -> Vec<Event> {
        self.hidden_lines(batches).iter().map(|line| event(line).expect(line)).collect()
    }

    /// How often something happened in the context of some threads.
    pub fn count_of(&self, tids: &[u32], event: &str) -> u64 {
        let of_them = |line: &&String| tid_of(line).is_some_and(|tid| tids.contains(&tid));
        let lines = self.lines();
        lines.iter().filter(of_them).filter(|line| line.contains(&format!(": {event}: "))).count() as u64
    }

    /// How often something happened for which no program ran.
    pub fn hidden_count(&self, batches: &[Batch], event: &str) -> u64 {
        self.hidden_lines(batches).iter().filter(|line| line.contains(&format!(": {event}: "))).count() as u64
    }
}

/// `COMM-TID [CPU] FLAGS TIME: EVENT: …`
fn tid_of(line: &str) -> Option<u32> {
    line.split_once(" [")?.0.rsplit('-').next()?.trim().parse().ok()
}

/// When, in microseconds, and what.
fn moment(line: &str) -> Option<(u64, String)> {
    let (_, rest) = line.split_once("] ")?;
    let mut words = rest.split_whitespace().skip(1);
    let (seconds, microseconds) = words.next()?.strip_suffix(':')?.split_once('.')?;
    let at_us = seconds.parse::<u64>().ok()? * 1_000_000 + microseconds.parse::<u64>().ok()?;
    Some((at_us, words.next()?.strip_suffix(':')?.to_owned()))
}

/// … `MAJOR,MINOR RWBS … SECTOR + SECTORS …`
fn event(line: &str) -> Option<Event> {
    let (_, rest) = line.split_once(": block_rq_")?;
    let (name, rest) = rest.split_once(": ")?;
    let rwbs = rest.split(' ').nth(1)?;
    let sectors = rest.split_once(" + ")?.1.split(' ').next()?;
    Some(Event {
        tid: tid_of(line)?,
        op: match rwbs.strip_prefix('F').filter(|op| !op.is_empty()).unwrap_or(rwbs).chars().next()? {
            'R' => op::READ,
            'W' => op::WRITE,
            'F' => op::FLUSH,
            'D' => op::DISCARD,
            _ => return None,
        },
        completed_bytes: if name == "complete" { Some(sectors.parse::<u64>().ok()? * 512) } else { None },
    })
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.write("tracing_on", "0");
        drop(fs::remove_dir(&self.instance));
        drop(process::Command::new("umount").arg(self.mount.path("")).status());
    }
}

#[test]
fn a_line_of_the_trace_is_read() {
    let line = "  kworker/u8:5-10682   [001] ..s.. 13170.032430: block_rq_complete: 7,2 FWS () 90880 + 256 rt,0,4 [0]";
    let event = event(line).unwrap();
    assert_eq!((event.tid, event.op, event.completed_bytes), (10_682, op::WRITE, Some(256 * 512)));
    assert_eq!(moment(line), Some((13_170_032_430, "block_rq_complete".to_owned())));
    assert_eq!(device(7, 2), 7 << 20 | 2, "as in a filter of tracefs");
}
