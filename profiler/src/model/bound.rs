//! Bounds: how many subjects the model keeps, and what becomes of the rest.

use std::collections::BTreeMap;

use profiler_common::task::state;

use crate::batch::{DropKey, Endpoint, ExchangeKey, ProcessFact, ProcessKey, SocketRow, Timestamp};
use crate::model::disk::DiskShare;
use crate::model::drop::Drops;
use crate::model::exchange::ExchangeUse;
use crate::model::process::Process;
use crate::model::tcp::{Accepts, Socket};
use crate::model::time::Recent;

/// Subjects of a kind. At a few kilobytes each, this is what a report of a busy build host needs and memory allows.
pub const KIND_MAX: usize = 20_000;

/// The process that stands for all that were folded. No real one has this key: process id 0 is the idle task.
pub const OTHER_PROCESS: ProcessKey = ProcessKey { pid: 0, start_ns: 0 };

/// The socket that stands for all that were folded. Cookies start at 1.
pub const OTHER_SOCKET: u64 = 0;

/// Name of what was folded.
pub const OTHER: &str = "(other)";

/// Subjects that are no longer kept by themselves: their numbers are in [`OTHER`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Processes.
    pub processes: u64,
    /// Threads that had ended: their process keeps the numbers.
    pub threads: u64,
    /// Sockets.
    pub sockets: u64,
}

/// Folds the least of the ended processes until half of the room is free again, so that the search is rare. Only when
/// all live are living ones folded.
pub(super) fn processes(map: &mut BTreeMap<ProcessKey, Process>, max: usize) -> u64 {
    // The time that a process got or wanted: what waits for work is the first to go.
    let weight = |process: &Process| process.usage.sum.cpu_ns + process.usage.sum.runq_ns();
    let rank = |(key, process): (&ProcessKey, &Process)| (process.ended.is_none(), weight(process), *key);
    let ranked = map.iter().filter(|(key, _)| **key != OTHER_PROCESS).map(rank);
    let gone = surplus(ranked.collect(), max, |rank| rank.0);
    let mut other = map.remove(&OTHER_PROCESS).unwrap_or_else(other_process);
    for (_, _, key) in &gone {
        if let Some(process) = map.remove(key) {
            other.fold(&process);
        }
    }
    map.insert(OTHER_PROCESS, other);
    gone.len() as u64
}

/// The same for sockets, by bytes moved.
pub(super) fn sockets(map: &mut BTreeMap<u64, Socket>, max: usize) -> u64 {
    let weight = |socket: &Socket| socket.usage.sum.sent_bytes + socket.usage.sum.received_bytes;
    let rank = |(cookie, socket): (&u64, &Socket)| (socket.ended.is_none(), weight(socket), *cookie);
    let ranked = map.iter().filter(|(cookie, _)| **cookie != OTHER_SOCKET).map(rank);
    let gone = surplus(ranked.collect(), max, |rank| rank.0);
    let mut other = map.remove(&OTHER_SOCKET).unwrap_or_else(other_socket);
    for (_, _, cookie) in &gone {
        if let Some(socket) = map.remove(cookie) {
            other.usage.fold(&socket.usage);
        }
    }
    map.insert(OTHER_SOCKET, other);
    gone.len() as u64
}

/// The same for the processes that a device works for, by bytes.
pub(super) fn owners(map: &mut BTreeMap<(u32, ProcessKey), Recent<DiskShare>>, max: usize) {
    if map.len() <= max {
        return;
    }
    let mut ranked: Vec<_> = map.iter().map(|(key, usage)| (usage.sum.bytes, *key)).collect();
    ranked.sort_unstable();
    for (_, (op, process)) in ranked.into_iter().filter(|(_, (_, process))| *process != OTHER_PROCESS).take(max / 2) {
        if let Some(usage) = map.remove(&(op, process)) {
            map.entry((op, OTHER_PROCESS)).or_default().fold(&usage);
        }
    }
}

/// The same for addresses at which connections are accepted, by their number.
pub(super) fn accepts(map: &mut BTreeMap<(u32, Endpoint), Recent<Accepts>>, max: usize) {
    if map.len() <= max {
        return;
    }
    let mut ranked: Vec<_> = map.iter().map(|(key, accepts)| (accepts.sum.wait.count(), *key)).collect();
    ranked.sort_unstable();
    for (_, key) in ranked.into_iter().take(max / 2) {
        if let Some(accepts) = map.remove(&key) {
            map.entry((0, Endpoint::OTHER)).or_default().fold(&accepts);
        }
    }
}

/// The same for sockets that lose packets, by their number: they count by reason.
pub(super) fn drops(map: &mut BTreeMap<DropKey, Recent<Drops>>, max: usize) {
    if map.len() <= max {
        return;
    }
    let mut ranked: Vec<_> = map.iter().map(|(key, drops)| (drops.sum.count, key.clone())).collect();
    ranked.sort_unstable();
    for (_, key) in ranked.into_iter().filter(|(_, key)| key.cookie.is_some()).take(max / 2) {
        if let Some(drops) = map.remove(&key) {
            let reason = DropKey { reason: key.reason, ..DropKey::default() };
            map.entry(reason).or_default().fold(&drops);
        }
    }
}

/// The same for exchanges, by their number.
pub(super) fn exchanges(map: &mut BTreeMap<ExchangeKey, Recent<ExchangeUse>>, max: usize) {
    if map.len() <= max {
        return;
    }
    let mut ranked: Vec<_> = map.iter().map(|(key, usage)| (usage.sum.count, key.clone())).collect();
    ranked.sort_unstable();
    for (_, key) in ranked.into_iter().filter(|(_, key)| key.process != OTHER_PROCESS).take(max / 2) {
        if let Some(usage) = map.remove(&key) {
            let other = ExchangeKey { process: OTHER_PROCESS, endpoint: OTHER.into(), netns: 0, ..key };
            map.entry(other).or_default().fold(&usage);
        }
    }
}

/// Drops threads that have ended, the process of each keeps its numbers.
pub(super) fn threads(map: &mut BTreeMap<ProcessKey, Process>, max: usize) -> u64 {
    let count = |map: &BTreeMap<ProcessKey, Process>| map.values().map(|process| process.threads.len()).sum::<usize>();
    let before = count(map);
    if before <= max {
        return 0;
    }
    for (key, process) in map.iter_mut() {
        // The first thread stays, because it may be the only one that knows the name.
        process.threads.retain(|tid, thread| thread.state != state::ENDED || *tid == key.pid);
    }
    (before - count(map)) as u64
}

/// Of all ranked (ended before living, small before great), those that go.
fn surplus<T: Ord>(mut ranked: Vec<T>, max: usize, lives: impl Fn(&T) -> bool) -> Vec<T> {
    ranked.sort_unstable();
    let ended = ranked.iter().filter(|rank| !lives(rank)).count();
    let (must, may) = (ranked.len().saturating_sub(max), ranked.len().saturating_sub(max / 2));
    ranked.truncate(may.min(ended).max(must));
    ranked
}

fn other_process() -> Process {
    let fact = ProcessFact { process: OTHER_PROCESS, comm: OTHER.into(), ..ProcessFact::default() };
    Process { fact: Some(fact), ended: Some(Timestamp(0)), ..Process::default() }
}

fn other_socket() -> Socket {
    let row = SocketRow { local: Endpoint::OTHER, peer: Endpoint::OTHER, ..SocketRow::default() };
    Socket { row, ..Socket::default() }
}
