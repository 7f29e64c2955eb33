//! Reads sockets.

use std::fs::File;
use std::mem;

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use profiler_common::tcp::{HolderRecord, SocketRecord, TimeWaitKey, TimeWaits, identity, pass, state};

use super::Kernel;
use crate::batch::{Endpoint, TimeWaitRow};
use crate::error::Error;
use crate::kernel::decode::take;
use crate::kernel::iterate::Namespaces;
use crate::kernel::maps::{self, Maps};
use crate::kernel::{iterate, lookup, program, support};

/// Nanoseconds per pass that looking at all sockets may take, unless it has to be done in one. To the next of a namespace that has
/// few, the kernel goes through those of all others: that may take several times as long.
const LOOK_NS: u64 = 1_000_000;
/// The same of looking at all open files, which is done rarely. What a look has taken too much comes off it.
const SEARCH_NS: u64 = 2_000_000;
/// Sockets, or files, between two looks at the clock.
const STEP: u64 = 256;
/// Passes between two looks: the kernel's table takes its time even if it is empty.
const REST_PASSES: u64 = 4;

/// Which sockets are looked at.
#[derive(Clone, Copy)]
pub(super) struct Looks {
    /// The end of each is told: else those that are in a batch no more have ended.
    sees_ends: bool,
    /// Those are listed on which something may have happened: else all are looked at.
    lists_sockets: bool,
    /// So are those that send or receive, and the others are looked at sometimes: else those that were listed stay.
    lists_moves: bool,
}

impl Looks {
    /// By the probes that work.
    pub fn new(has: impl Fn(&str) -> bool) -> Self {
        Self {
            sees_ends: has("tcp_destroy_sock"),
            lists_sockets: has("walk_listed") && has("inet_sock_set_state"),
            // What nobody does on this host is seen by who looks at all, in all namespaces.
            lists_moves: ["sock_send_length", "sock_recv_length", "iter_task"].into_iter().all(has),
        }
    }
}

/// Walks over all there is, which may take several passes.
pub(super) struct Walks {
    /// Whether they have to be over in one.
    is_whole: bool,
    /// Pass in which the next look begins.
    at: u64,
    look: Option<Look>,
    search: Option<Search>,
}

impl Walks {
    /// All is looked at in the next pass.
    pub const fn whole() -> Self {
        Self { is_whole: true, at: 0, look: None, search: None }
    }
}

/// A look at all sockets. Where all that a namespace has are listed, there is nothing to look for: the kernel would go through the
/// sockets of all namespaces for them.
struct Look {
    /// Pass in which it began.
    number: u64,
    /// Whether each is exported.
    shows_all: bool,
    /// Network namespaces that are still to be looked into.
    left: Vec<u32>,
    /// The iterator inside the one under way.
    walk: Option<File>,
}

impl Look {
    /// Looks at more of them, up to some moment; whether that was all.
    fn go_on(
        &mut self,
        (namespaces, ebpf, maps): (&mut Namespaces, &mut Ebpf, &mut Maps),
        until_ns: u64,
        records: &mut Vec<SocketRecord>,
    ) -> Result<bool, Error> {
        loop {
            if self.walk.is_none() {
                let Some(netns) = self.left.pop() else { return Ok(true) };
                let told = records.iter().filter(|record| netns == iterate::HERE || record.netns == netns);
                let told = told.filter(|record| record.state != state::CLOSE).count() as u64;
                self.walk = namespaces.inside(netns, || {
                    if iterate::tcp_sockets().is_some_and(|all| all <= told) {
                        return Ok(None);
                    }
                    iterate::open(ebpf, ITER_TCP)
                })?;
            }
            if let Some(walk) = &mut self.walk {
                maps.say(pass::LEFT, STEP)?;
                let read = iterate::go_on(walk, ITER_TCP, &mut [0])?;
                take_news(&mut maps.news, records);
                if read.is_none() {
                    self.walk = None;
                }
            }
            if support::monotonic().0 >= until_ns {
                return Ok(self.walk.is_none() && self.left.is_empty());
            }
        }
    }
}

/// A look at all open files, for who holds sockets.
struct Search {
    /// Pass in which it began.
    number: u64,
    walk: File,
    /// What it said, up to where the next record begins.
    said: Vec<u8>,
}

impl Search {
    /// Looks at more of them, up to some moment; whether that was all.
    fn go_on(&mut self, maps: &mut Maps, until_ns: u64, holders: &mut Vec<HolderRecord>) -> Result<bool, Error> {
        let mut room = vec![0; ROOM];
        loop {
            maps.say(pass::LEFT, STEP)?;
            let Some(read) = iterate::go_on(&mut self.walk, ITER_TASK_FILE, &mut room)? else { return Ok(true) };
            self.said.extend(&room[..read]);
            let mut rest = self.said.as_slice();
            holders.extend(std::iter::from_fn(|| take::<HolderRecord>(&mut rest)));
            self.said = rest.to_vec();
            if support::monotonic().0 >= until_ns {
                return Ok(false);
            }
        }
    }
}

const ITER_TASK_FILE: &str = "iter_task_file";
/// Bytes that are read at once.
const ROOM: usize = 1 << 16;

const ITER_TCP: &str = "iter_tcp";

impl Kernel {
    /// Sockets that are listed; at times also all that are in a network namespace with a process.
    pub(super) fn read_sockets(&mut self) -> Result<(), Error> {
        let Looks { sees_ends, lists_sockets, lists_moves } = self.looks;
        let is_whole = self.walks.is_whole;
        let mut look = self.walks.look.take();
        if look.is_none() && (!lists_sockets || self.pass >= self.walks.at) {
            let shows_all = !sees_ends || self.sockets.is_in_doubt();
            look = Some(Look { number: self.pass, shows_all, left: self.namespaces.all(), walk: None });
            self.maps.say(pass::LOOK, self.pass)?;
        }
        let shows_all = look.as_ref().is_some_and(|look| look.shows_all);
        let keeps = !lists_moves || self.namespaces.are_refused();
        let flags = if shows_all { pass::ALL } else { 0 } | if keeps { pass::KEEP } else { 0 };
        self.maps.say(pass::PASS, self.pass & u64::from(u32::MAX) | flags)?;
        let mut records: Vec<SocketRecord> = Vec::new();
        if lists_sockets {
            while program::run(&self.ebpf, "walk_listed")? != pass::DONE {
                take_news(&mut self.maps.news, &mut records);
            }
            take_news(&mut self.maps.news, &mut records);
        }
        let mut looked = None;
        let look_ns = support::monotonic().0;
        if let Some(mut look) = look {
            let until_ns = if is_whole || !lists_sockets { u64::MAX } else { look_ns + LOOK_NS };
            let kernel = (&mut self.namespaces, &mut self.ebpf, &mut self.maps);
            if look.go_on(kernel, until_ns, &mut records)? {
                self.read_time_waits(look.number)?;
                self.walks.at = self.pass + 1 + REST_PASSES;
                looked = Some(look);
            } else {
                self.walks.look = Some(look);
            }
        }
        let left_ns = SEARCH_NS.saturating_sub((support::monotonic().0 - look_ns).saturating_sub(LOOK_NS));
        // Listed ones, and one that moved between two hash chains, may have been seen twice: the later counts.
        let mut latest: Vec<_> = records.iter().collect();
        latest.sort_by_key(|record| record.cookie);
        latest.dedup_by(|later, earlier| {
            let is_same = later.cookie == earlier.cookie;
            if is_same {
                *earlier = *later;
            }
            is_same
        });
        for record in &latest {
            self.sockets.observe(record, &self.interval);
        }
        let mut ended = mem::take(&mut self.ended);
        if !ended.is_empty() {
            self.threads.processes().for_each(|process| _ = ended.remove(&process));
            self.sockets.leave(&ended);
            self.drops.leave(&ended);
        }
        self.read_holders(if is_whole { u64::MAX } else { left_ns })?;
        self.walks.is_whole = false;
        let now_ns = support::monotonic().0;
        self.sockets.rows(&latest, !sees_ends, now_ns, self.tick_ns, &mut self.pending.sockets);
        if let Some(look) = looked.filter(|look| look.shows_all) {
            self.sockets.seen_all(self.pass - look.number);
        }
        let namespaces: Vec<_> = self.namespaces.members().collect();
        for (netns, pid) in namespaces {
            self.pending.facts.extend(self.names.netns(netns, pid));
        }
        Ok(())
    }

    /// What the look at all has counted. Destinations that it has not met are not kept.
    fn read_time_waits(&mut self, look: u64) -> Result<(), Error> {
        let Some(map) = &self.maps.time_waits else { return Ok(()) };
        let (mut keys, mut counts) = (Vec::<TimeWaitKey>::new(), Vec::<TimeWaits>::new());
        iterate::map(map, "time_waits", &mut keys, &mut counts)?;
        self.time_waits.clear();
        for (key, waits) in keys.iter().zip(&counts) {
            if u64::from(waits.look) == look & u64::from(u32::MAX) {
                let peer = Endpoint::new(key.address, u16::try_from(key.port).unwrap_or_default());
                self.time_waits.push(TimeWaitRow { netns: key.netns, peer, count: waits.count.into() });
            } else {
                lookup::remove(maps::fd(map), key);
            }
        }
        self.time_waits.sort_unstable();
        Ok(())
    }

    /// Looks for who holds sockets, if somebody has to, for so long.
    fn read_holders(&mut self, left_ns: u64) -> Result<(), Error> {
        // A socket may lose packets only once: its row cannot wait.
        let at_once = self.drops.wants_holders();
        let until_ns = if at_once { u64::MAX } else { support::monotonic().0.saturating_add(left_ns) };
        let begins = at_once || self.walks.search.is_none() && self.sockets.wants_holders();
        if begins && let Some(walk) = iterate::open(&mut self.ebpf, ITER_TASK_FILE)? {
            self.walks.search = Some(Search { number: self.pass, walk, said: Vec::new() });
        }
        let Some(mut search) = self.walks.search.take() else { return Ok(()) };
        let mut holders = Vec::new();
        let ended = search.go_on(&mut self.maps, until_ns, &mut holders)?;
        self.sockets.learn_holders(&holders);
        self.drops.learn_holders(&holders);
        if ended {
            self.sockets.searched(self.pass - search.number);
            self.drops.searched(self.pass - search.number);
        } else {
            self.walks.search = Some(search);
        }
        Ok(())
    }
}

/// Takes what was exported.
fn take_news(news: &mut RingBuf<MapData>, records: &mut Vec<SocketRecord>) {
    while let Some(item) = news.next() {
        records.extend(socket(&mut &item[..]));
    }
}

/// The next socket, by what tells it from its predecessors.
pub(super) fn socket(bytes: &mut &[u8]) -> Option<SocketRecord> {
    let mut record = take::<SocketRecord>(bytes)?;
    record.cookie = identity(record.cookie, record.owner.opened_ns);
    Some(record)
}
