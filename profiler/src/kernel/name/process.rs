//! Who a process is: what the kernel record lacks is read from `/proc`, and only if the process still is the same.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::user::Users;
use super::{head, printable};
use crate::batch::{ProcessFact, ProcessKey};
use crate::kernel::support::{boot_offset_ns, clock_tick_ns, monotonic};

/// Processes that are remembered. When full: the oldest are forgotten, and told again if they live.
const PROCESSES_MAX: usize = 65_536;
/// Of a command line; the rest is cut off.
const COMMAND_BYTES_MAX: usize = 4096;
/// Of all lines of `/proc/PID/cgroup`; each path is shorter than 4 KiB.
const CGROUP_BYTES_MAX: u64 = 64 * 1024;
/// A process this young may still be about to become another program in another control group.
const YOUNG_NS: u64 = 2_000_000_000;

/// What the kernel record of a process's main thread tells.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'record> {
    /// Which.
    pub process: ProcessKey,
    /// Parent's process id.
    pub parent_pid: u32,
    /// Name of the main thread.
    pub comm: &'record str,
    /// User id.
    pub uid: u32,
    /// Network namespace, inode number.
    pub netns: u32,
    /// A kernel thread.
    pub kernel_thread: bool,
    /// The main thread has ended.
    pub exited: bool,
}

/// Processes that were told.
#[derive(Debug)]
pub(super) struct Processes {
    told: HashMap<ProcessKey, Told>,
    /// In the order of their first sight.
    order: BTreeMap<u64, ProcessKey>,
    sights: u64,
    max: usize,
    users: Users,
}

impl Default for Processes {
    fn default() -> Self {
        Self { told: HashMap::new(), order: BTreeMap::new(), sights: 0, max: PROCESSES_MAX, users: Users::default() }
    }
}

#[derive(Debug)]
struct Told {
    order: u64,
    fact: ProcessFact,
    /// The next sight looks again, for a reason that has nothing to do with what the record tells.
    again: bool,
}

impl Processes {
    pub(super) fn look(&mut self, seen: &Seen) -> Option<ProcessFact> {
        let told = self.told.get(&seen.process);
        if told.is_some_and(|told| seen.exited || !told.again && !told.differs(seen)) {
            return None;
        }
        let first = told.is_none();
        let found = look_up(seen);
        let fact = ProcessFact {
            process: seen.process,
            parent_pid: seen.parent_pid,
            comm: seen.comm.to_owned(),
            uid: seen.uid,
            user: self.users.name(seen.uid),
            kernel_thread: seen.kernel_thread,
            netns: seen.netns,
            command: found.command,
            cgroup: found.cgroup,
        };
        self.remember(fact, found.blocked || first && is_young(seen.process))
    }

    pub(super) fn forget(&mut self, process: ProcessKey) {
        if let Some(told) = self.told.remove(&process) {
            self.order.remove(&told.order);
        }
    }

    /// The fact, if it is news.
    fn remember(&mut self, mut fact: ProcessFact, again: bool) -> Option<ProcessFact> {
        if let Some(told) = self.told.get_mut(&fact.process) {
            told.again = again;
            // It may have ended meanwhile: what was known of it stays true.
            fact.command = fact.command.or_else(|| told.fact.command.clone());
            fact.cgroup = fact.cgroup.or_else(|| told.fact.cgroup.clone());
            return (told.fact != fact).then(|| {
                told.fact = fact.clone();
                fact
            });
        }
        if self.told.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.told.remove(&oldest);
        }
        self.sights += 1;
        self.order.insert(self.sights, fact.process);
        self.told.insert(fact.process, Told { order: self.sights, fact: fact.clone(), again });
        Some(fact)
    }
}

impl Told {
    fn differs(&self, seen: &Seen) -> bool {
        let (fact, left) = (&self.fact, seen.netns == 0);
        fact.comm != seen.comm
            || fact.uid != seen.uid
            || fact.parent_pid != seen.parent_pid
            || fact.netns != seen.netns && !left
    }
}

/// What `/proc` tells.
#[derive(Debug, Default)]
struct Found {
    command: Option<String>,
    cgroup: Option<String>,
    /// The command line was not asked for, because that might have blocked us too.
    blocked: bool,
}

fn look_up(seen: &Seen) -> Found {
    // Short-lived processes are many, and nothing is left of one that ended.
    if seen.exited { Found::default() } else { read(seen).unwrap_or_default() }
}

/// `None`: it has ended, or the number belongs to another process.
fn read(seen: &Seen) -> Option<Found> {
    let pid = seen.process.pid;
    let stat = File::open(format!("/proc/{pid}/stat")).ok()?;
    let (state, start_ticks) = stat_of(&stat)?;
    if !is_start(seen.process.start_ns, start_ticks, clock_tick_ns()) {
        return None;
    }
    // Reading the arguments takes the lock of its memory, which a process in such a sleep may hold.
    let blocked = state == b'D' && !seen.kernel_thread;
    // One that ended and waits for its parent has lost its arguments; none at all would be a wrong answer.
    let command = if blocked || state == b'Z' { None } else { bytes(pid, "cmdline", COMMAND_BYTES_MAX as u64 + 1) };
    let found = Found {
        command: command.as_deref().map(command_line),
        cgroup: bytes(pid, "cgroup", CGROUP_BYTES_MAX).as_deref().and_then(cgroup_path),
        blocked,
    };
    // An open file belongs to one process for ever: if it still answers, so did the others for the same one.
    stat_of(&stat).map(|_| found)
}

fn bytes(pid: u32, file: &str, max: u64) -> Option<Vec<u8>> {
    head(&File::open(format!("/proc/{pid}/{file}")).ok()?, max).ok()
}

fn stat_of(stat: &File) -> Option<(u8, u64)> {
    let mut text = [0; 1024];
    let length = stat.read_at(&mut text, 0).ok()?;
    state_and_start(&text[..length])
}

/// State and start in clock ticks. The name before them, in brackets, may hold anything.
fn state_and_start(stat: &[u8]) -> Option<(u8, u64)> {
    let bracket = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat[bracket + 1..].split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    // The state is field 3, the start is field 22.
    Some((state, str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?))
}

fn is_start(start_ns: u64, ticks: u64, tick_ns: u64) -> bool {
    (start_ns / tick_ns).abs_diff(ticks) <= 1
}

fn is_young(process: ProcessKey) -> bool {
    (monotonic().0 + boot_offset_ns()).saturating_sub(process.start_ns) < YOUNG_NS
}

/// Arguments end with NUL; a process that renamed itself leaves more than one at the end.
fn command_line(text: &[u8]) -> String {
    let cut = text.len() > COMMAND_BYTES_MAX;
    let text = &text[..text.len().min(COMMAND_BYTES_MAX)];
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let words: Vec<_> = text[..end].split(|byte| *byte == 0).map(printable).collect();
    words.join(" ") + if cut { "…" } else { "" }
}

/// The path in the one hierarchy of version 2. Where that is not in use, the longest among the others.
fn cgroup_path(text: &[u8]) -> Option<String> {
    let lines = || text.split(|byte| *byte == b'\n').filter_map(hierarchy);
    let unified = lines().find(|(id, _)| *id == b"0").map(|(_, path)| path);
    let longest = || lines().map(|(_, path)| path).max_by_key(|path| path.len());
    unified.filter(|path| *path != b"/").or_else(longest).map(printable)
}

/// Number and path of `ID:CONTROLLERS:PATH`.
fn hierarchy(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    Some((fields.next()?, fields.nth(1)?))
}

#[cfg(test)]
mod tests;
