//! Everything that is known of a host, derived from batches alone: no clock, no files, no environment.
//!
//! Each subject keeps what happened in the last interval (`now`) and over a window (`sum`).

use std::collections::BTreeMap;

use profiler_common::limit::APPLICATION;

use crate::batch::{
    Batch, DiskRow, DropKey, Endpoint, ExchangeKey, Fact, Hist, HostRow, Machine, ProcessKey, SocketRow, TimeWaitRow,
    Timestamp,
};

pub mod bound;
pub mod connect;
pub mod disk;
pub mod drop;
pub mod exchange;
pub mod file;
#[cfg(test)]
pub(crate) mod fixture;
pub mod host;
pub mod journal;
pub mod limit;
pub mod path;
pub mod process;
pub mod quality;
pub mod state;
pub mod syscall;
pub mod task;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod time;
pub mod wait;

/// How far back sums reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Over all batches: reports. Rates are over all of them too.
    Whole,
    /// Over the last ten to twenty intervals: the live screen. Rates are of the last interval.
    Recent,
}

/// The state of a host as told by the batches so far.
#[derive(Clone, Debug)]
pub struct Model {
    /// The observed host.
    pub machine: Machine,
    /// How far back sums reach.
    pub window: Window,
    /// Where in time we are.
    pub time: time::Time,
    /// Processes that live, or ended within the window.
    pub processes: BTreeMap<ProcessKey, process::Process>,
    /// Files, one by one.
    pub paths: path::Paths,
    /// Block devices, by `major << 20 | minor`.
    pub disks: BTreeMap<u32, disk::Disk>,
    /// Journals of file systems with a commit in the window, by device.
    pub journals: BTreeMap<u32, journal::Journal>,
    /// Partitions by device number and operation, those with requests in the window.
    pub partitions: BTreeMap<(u32, u32), time::Recent<disk::DiskShare>>,
    /// TCP sockets that live, or ended within the window, by cookie.
    pub sockets: BTreeMap<u64, tcp::Socket>,
    /// Connections in TIME-WAIT, by network namespace and destination.
    pub time_waits: Vec<TimeWaitRow>,
    /// Connections that were accepted within the window, by network namespace and local address.
    pub accepts: BTreeMap<(u32, Endpoint), time::Recent<tcp::Accepts>>,
    /// Requests over TCP that were answered in the window, by whom and with whom.
    pub exchanges: BTreeMap<ExchangeKey, time::Recent<exchange::ExchangeUse>>,
    /// Packets that were dropped in the window, by reason and socket.
    pub drops: BTreeMap<DropKey, time::Recent<drop::Drops>>,
    /// Host-wide TCP events.
    pub tcp_events: time::Recent<tcp::Events>,
    /// The kernel's own counters.
    pub host: host::Host,
    /// What is missing, and what we cost.
    pub quality: quality::Quality,
    /// The host's system calls by number.
    pub calls: syscall::CallTable,
    /// Names of network namespaces by inode number.
    pub namespaces: BTreeMap<u32, String>,
    /// Subjects beyond our bounds.
    pub folded: bound::Folded,
}

impl Model {
    /// Knows nothing yet but the machine.
    #[must_use]
    pub fn new(machine: Machine, window: Window) -> Self {
        Self {
            quality: quality::Quality::new(&machine),
            calls: syscall::CallTable::new(&machine),
            machine,
            window,
            time: time::Time::default(),
            processes: BTreeMap::new(),
            paths: path::Paths::default(),
            disks: BTreeMap::new(),
            journals: BTreeMap::new(),
            partitions: BTreeMap::new(),
            sockets: BTreeMap::new(),
            time_waits: Vec::new(),
            accepts: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            drops: BTreeMap::new(),
            tcp_events: time::Recent::default(),
            host: host::Host::default(),
            namespaces: BTreeMap::new(),
            folded: bound::Folded::default(),
        }
    }

    /// Learns what one batch tells.
    pub fn apply(&mut self, batch: &Batch) {
        if self.window == Window::Recent && self.time.batches > 0 && self.time.batches.is_multiple_of(time::GENERATION)
        {
            self.rotate();
        }
        self.begin();
        self.time.advance(batch);
        for fact in &batch.facts {
            self.learn(fact);
        }
        self.apply_processes(batch);
        for row in &batch.paths {
            self.paths.uses.entry((row.file, row.process, row.kind)).or_default().add(row, self.window);
        }
        for row in &batch.disks {
            self.apply_disk(row);
        }
        self.apply_disk_users(batch);
        for row in &batch.partitions {
            let partition = self.partitions.entry((row.key.device, row.key.op)).or_default();
            partition.add(row, self.window);
        }
        for row in batch.journals.iter().filter(|row| row.commits > 0 || row.busy_ns > 0) {
            self.journals.entry(row.device).or_default().add(row, self.window);
        }
        for row in &batch.sockets {
            self.apply_socket(row);
        }
        self.time_waits.clone_from(&batch.time_waits);
        for row in &batch.exchanges {
            self.exchanges.entry(row.key.clone()).or_default().add(row, self.window);
        }
        for row in &batch.drops {
            self.drops.entry(row.key.clone()).or_default().add(row, self.window);
        }
        self.tcp_events.add(&batch.tcp_events, self.window);
        self.apply_host(&batch.host);
        self.quality.apply(&batch.quality, self.time.last_ns, self.window);
        self.forget_untold_ends();
        let quiet = tcp::Quiet(self.time.last_ns);
        for socket in self.sockets.values_mut().filter(|socket| socket.is_quiet(self.time.batches)) {
            socket.usage.add(&quiet, self.window);
        }
        self.bound(bound::KIND_MAX);
    }

    /// The time that rates are over.
    #[must_use]
    pub fn span_ns(&self) -> u64 {
        self.time.span_ns(self.window)
    }

    /// Name and id of a process for sentences.
    #[must_use]
    pub fn label(&self, key: ProcessKey) -> String {
        self.processes.get(&key).map_or_else(|| format!("process {}", key.pid), |process| process.label(key))
    }

    /// How long connections waited in the queue of a listener, or of another one at the same address.
    #[must_use]
    pub fn accept_wait(&self, listener: &SocketRow, of: impl Fn(&time::Recent<tcp::Accepts>) -> &tcp::Accepts) -> Hist {
        let is_its =
            |(netns, local): &(u32, Endpoint)| *netns == listener.netns && tcp::accepts(listener.local, *local);
        let mut wait = Hist::default();
        for (_, accepts) in self.accepts.iter().filter(|(at, _)| is_its(at)) {
            wait.add(&of(accepts).wait);
        }
        wait
    }

    /// Name of a network namespace, else its number.
    #[must_use]
    pub fn namespace(&self, netns: u32) -> String {
        self.namespaces.get(&netns).cloned().unwrap_or_else(|| netns.to_string())
    }

    /// Starts an interval in which nothing has happened yet.
    fn begin(&mut self) {
        self.processes.values_mut().for_each(process::Process::begin);
        self.sockets.values_mut().for_each(|socket| socket.usage.begin());
        self.accepts.values_mut().for_each(time::Recent::begin);
        self.paths.begin();
        for disk in self.disks.values_mut() {
            disk.begin();
        }
        self.journals.values_mut().for_each(journal::Journal::begin);
        self.partitions.values_mut().for_each(time::Recent::begin);
        self.exchanges.values_mut().for_each(time::Recent::begin);
        self.drops.values_mut().for_each(time::Recent::begin);
        self.tcp_events.begin();
        self.host.row.begin();
    }

    /// Forgets the older generation and who was not seen since.
    fn rotate(&mut self) {
        let oldest = self.time.batches - time::GENERATION + 1;
        self.time.rotate();
        self.processes.retain(|_, process| {
            process.rotate(oldest);
            process.seen >= oldest
        });
        self.sockets.retain(|_, socket| {
            socket.usage.rotate();
            socket.seen >= oldest
        });
        self.accepts.retain(|_, accepts| {
            accepts.rotate();
            accepts.sum.wait.count() > 0
        });
        self.paths.rotate();
        for disk in self.disks.values_mut() {
            disk.rotate();
        }
        self.partitions.retain(|_, usage| {
            usage.rotate();
            usage.sum.requests > 0
        });
        self.journals.retain(|_, journal| {
            journal.usage.rotate();
            journal.is_used()
        });
        self.exchanges.retain(|_, usage| {
            usage.rotate();
            usage.sum.count > 0
        });
        self.drops.retain(|_, drops| {
            drops.rotate();
            drops.sum.count > 0
        });
        self.tcp_events.rotate();
        self.host.row.rotate();
    }

    /// Where nobody tells the end of a thread or of a socket, whoever is in a batch no more has ended, and what it did
    /// before that is not known.
    fn forget_untold_ends(&mut self) {
        let now = self.time.batches;
        if self.quality.is_missing("sched_switch") {
            for process in self.processes.values_mut() {
                process.threads.retain(|_, thread| thread.seen == now);
            }
            self.processes.retain(|_, process| !process.threads.is_empty());
        }
        if self.quality.is_missing("tcp_destroy_sock") {
            self.sockets.retain(|_, socket| socket.seen == now);
        }
    }

    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Process(fact) => {
                let process = self.processes.entry(fact.process).or_default();
                process.seen = self.time.batches;
                process.fact = Some(fact.clone());
            }
            Fact::Disk { device, name, backing, below } => {
                let disk = self.disks.entry(*device).or_default();
                disk.name = Some(name.clone());
                disk.backing.clone_from(backing);
                disk.below.clone_from(below);
            }
            Fact::Path { file, path } => self.paths.learn(*file, path),
            Fact::NetNamespace { netns, name } => drop(self.namespaces.insert(*netns, name.clone())),
        }
    }

    fn apply_processes(&mut self, batch: &Batch) {
        let (window, number) = (self.window, self.time.batches);
        for rows in batch.tasks.chunk_by(|a, b| a.process == b.process) {
            self.processes.entry(rows[0].process).or_default().tasks(rows, window, number, batch.until);
        }
        for rows in batch.calls.chunk_by(|a, b| a.process == b.process) {
            self.processes.entry(rows[0].process).or_default().calls(rows, window, number);
        }
    }

    fn apply_disk(&mut self, row: &DiskRow) {
        let disk = self.disks.entry(row.key.device).or_default();
        let operation = row.key.op as usize;
        if let (Some(usage), Some(in_flight)) = (disk.ops.get_mut(operation), disk.in_flight.get_mut(operation)) {
            usage.add(row, self.window);
            *in_flight = row.in_flight;
            disk.error[operation] = row.error.or(disk.error[operation]);
        }
    }

    fn apply_disk_users(&mut self, batch: &Batch) {
        for row in &batch.disk_sizes {
            let disk = self.disks.entry(row.key.device).or_default();
            disk.sizes.entry((row.key.op, row.size)).or_default().add(row, self.window);
        }
        for row in &batch.disk_owners {
            let disk = self.disks.entry(row.key.device).or_default();
            disk.owners.entry((row.key.op, row.process)).or_default().add(row, self.window);
            // It may have ended long before its pages are written.
            if let Some(process) = self.processes.get_mut(&row.process) {
                process.seen = self.time.batches;
            }
        }
    }

    fn apply_socket(&mut self, row: &SocketRow) {
        let socket = self.sockets.entry(row.cookie).or_default();
        let mut row = row.clone();
        if let Some(limits) = &mut row.limits {
            // It was added while nothing happened; or now, if we had not heard of the socket.
            limits[APPLICATION] = limits[APPLICATION].saturating_sub(row.quiet_ns);
            if socket.seen == 0 {
                let window_ns = self.time.window_ns - self.time.last_ns;
                socket.usage.add_before(&tcp::Quiet(row.quiet_ns.min(window_ns)), self.window);
            }
        }
        socket.usage.add(&row, self.window);
        // What is told of one that we have not heard of may have happened before the window.
        let happened = |known: Option<Timestamp>, at: Option<Timestamp>| {
            known.is_none() && at.is_some_and(|at| socket.seen > 0 || at > self.time.begin)
        };
        let opened = happened(socket.row.opened, row.opened);
        let accepted = |row: &SocketRow| Some(Timestamp(row.opened?.0 + row.accept_ns?));
        if let (true, Some(ns)) = (happened(accepted(&socket.row), accepted(&row)), row.accept_ns) {
            let accepts = self.accepts.entry((row.netns, row.local)).or_default();
            accepts.add(&tcp::Accepted(ns), self.window);
        }
        if opened {
            socket.usage.add(&tcp::Opened, self.window);
        }
        // The error stays in its rows until it is closed, or connects again.
        if let Some(errno) = row.connect_errno.filter(|errno| socket.row.connect_errno != Some(*errno)) {
            socket.usage.add(&tcp::ConnectFailed(errno), self.window);
        }
        socket.seen = self.time.batches;
        socket.ended = row.ended.then_some(self.time.until);
        socket.row = row;
    }

    fn apply_host(&mut self, row: &HostRow) {
        self.host.row.add(row, self.window);
        for (device, stat) in &row.disks {
            let disk = self.disks.entry(*device).or_default();
            disk.stat.add(stat, self.window);
            disk.stat_known = true;
        }
    }

    /// Keeps at most `max` subjects of a kind.
    fn bound(&mut self, max: usize) {
        if self.processes.len() > max {
            self.folded.processes += bound::processes(&mut self.processes, max);
        }
        if self.sockets.len() > max {
            self.folded.sockets += bound::sockets(&mut self.sockets, max);
        }
        bound::exchanges(&mut self.exchanges, max);
        bound::accepts(&mut self.accepts, max);
        bound::drops(&mut self.drops, max);
        self.paths.bound(max);
        self.disks.values_mut().for_each(|disk| bound::owners(&mut disk.owners, max));
        self.folded.threads += bound::threads(&mut self.processes, max);
    }
}
