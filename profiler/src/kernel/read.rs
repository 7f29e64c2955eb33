//! Reads everything that the kernel has counted, once per tick, and makes a batch of it.

mod disk;
mod socket;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::Log;
use profiler_common::drop::{DropKey, DropRecord, reason};
use profiler_common::exchange::{ExchangeKey, ExchangeRecord, SlowExchange, spent};
use profiler_common::file::{PathKey, PathRecord};
use profiler_common::hist::LINEAR8_SLOTS;
use profiler_common::lost::{LOST, Lost, MISSED, UNSEEN_REQUESTS};
use profiler_common::syscall::{CALLS_MAX, CallOwner, CallRecord, CpuCalls};
use profiler_common::task::TaskRecord;
use profiler_common::tcp::{EVENTS, exit};

use self::socket::{Looks, Walks, socket};
use crate::batch::{
    Batch, DiskOwnerRow, DiskRow, DiskSizeRow, ExchangeRow, Fact, JournalRow, Machine, PartitionRow, PathRow,
    ProcessKey, QualityRow, SocketRow, TaskRow, TimeWaitRow, Timestamp,
};
use crate::config::Options;
use crate::error::Error;
use crate::kernel::decode::take;
use crate::kernel::drain::Interval;
use crate::kernel::drain::disk::Disks;
use crate::kernel::drain::drop::Drops;
use crate::kernel::drain::exchange::Exchanges;
use crate::kernel::drain::journal::Journals;
use crate::kernel::drain::path::Paths;
use crate::kernel::drain::syscall::{self, Calls, Shared};
use crate::kernel::drain::task::{Threads, take_thread};
use crate::kernel::drain::tcp::Sockets;
use crate::kernel::hidden;
use crate::kernel::host::Host;
use crate::kernel::iterate::{self, Namespaces};
use crate::kernel::load::{self, Loaded};
use crate::kernel::lookup;
use crate::kernel::maps::{self, Maps};
use crate::kernel::name::{Names, Seen};
use crate::kernel::program;
use crate::kernel::sample::Sampler;
use crate::kernel::support;
use crate::kernel::wait::Waits;

/// Passes between two looks at what changes slowly: memory of maps, entries of processes that are gone.
const SLOW_PASSES: u64 = 10;

/// The programs in the kernel, and the last reading of everything that they count.
pub struct Kernel {
    ebpf: Ebpf,
    /// What the programs say, on its way into the log.
    programs_log: Option<EbpfLogger<&'static dyn Log>>,
    maps: Maps,
    machine: Machine,
    sampler: Option<Sampler>,
    /// Which sockets are looked at.
    looks: Looks,
    walks: Walks,
    /// Every switch is seen: else a thread that sleeps may have been awake since its sleep was noticed.
    sees_switches: bool,
    /// Every return is seen: else only waits that are in progress at a tick would be booked to calls.
    sees_returns: bool,
    threads: Threads,
    shared: Shared,
    paths: Paths,
    disks: Disks,
    journals: Journals,
    /// Length of the kernel's clock tick, 0 if it is not known.
    tick_ns: u32,
    sockets: Sockets,
    time_waits: Vec<TimeWaitRow>,
    /// Processes whose end was told since the last pass.
    ended: HashSet<ProcessKey>,
    drops: Drops,
    exchanges: Exchanges,
    namespaces: Namespaces,
    host: Host,
    /// What our privileges and this kernel do not show us.
    hidden: Vec<String>,
    names: Names,
    events: [u64; EVENTS],
    lost: BTreeMap<String, u64>,
    /// Requests of the last interval that only `/proc/diskstats` has.
    unseen_requests: u64,
    self_cpu_ns: u64,
    programs_ns: Option<u64>,
    map_memory_bytes: u64,
    /// Processes that lived at the last slow look.
    live: HashSet<ProcessKey>,
    interval: Interval,
    pass: u64,
    pending: Pending,
    buffer: Vec<u8>,
}

/// Loads and attaches the programs, and describes the host with what it took of them.
pub fn load_here(options: &Options) -> Result<(Loaded, Machine), Error> {
    support::check_privileges()?;
    support::raise_memlock();
    let mut loaded = load::load(options)?;
    let machine = Machine {
        tick_ns: u64::try_from(options.tick.as_nanos()).unwrap_or(u64::MAX),
        call_names: (0u32..)
            .zip(0..CALLS_MAX)
            .filter_map(|(number, index)| load::call_name(index).map(|name| (number, name.to_owned())))
            .collect(),
        probes: mem::take(&mut loaded.probes),
        ..support::machine_facts()
    };
    Ok((loaded, machine))
}

/// What was learnt since the last batch.
#[derive(Default)]
struct Pending {
    tasks: Vec<TaskRow>,
    sockets: Vec<SocketRow>,
    exchanges: Vec<ExchangeRow>,
    calls: Calls,
    facts: Vec<Fact>,
    paths: Vec<PathRow>,
    disks: Vec<DiskRow>,
    disk_sizes: Vec<DiskSizeRow>,
    disk_owners: Vec<DiskOwnerRow>,
    partitions: Vec<PartitionRow>,
    journals: Vec<JournalRow>,
}

impl Kernel {
    /// Loads the programs, attaches them, and takes the first reading, which later ones are compared with.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let (Loaded { mut ebpf, drop_reasons, .. }, mut machine) = load_here(options)?;
        // Without its map there is nothing to say, as when the object was built without messages.
        let programs_log = options.log_programs.then(|| EbpfLogger::init(&mut ebpf).ok()).flatten();
        let maps = Maps::take(&mut ebpf)?;
        let sampler = Sampler::new(options, &machine.probes);
        machine.call_sampling = sampler.as_ref().map_or(0.0, Sampler::share);
        let has = |name: &str| machine.probes.iter().any(|probe| probe.name == name && probe.form.is_some());
        let [sees_switches, sees_returns] = ["sched_switch", "sys_exit"].map(has);
        let looks = Looks::new(has);
        let now = support::monotonic();
        let mut kernel = Self {
            ebpf,
            programs_log,
            maps,
            machine,
            sampler,
            looks,
            walks: Walks::whole(),
            sees_switches,
            sees_returns,
            threads: Threads::default(),
            shared: Shared::default(),
            paths: Paths::default(),
            disks: Disks::default(),
            journals: Journals::default(),
            tick_ns: support::tick_ns(),
            sockets: Sockets::default(),
            time_waits: Vec::new(),
            ended: HashSet::new(),
            drops: Drops::new(drop_reasons),
            exchanges: Exchanges::default(),
            namespaces: Namespaces::new(),
            host: Host::new(),
            hidden: support::capability_notes(),
            names: Names::new(),
            events: [0; EVENTS],
            lost: BTreeMap::new(),
            unseen_requests: 0,
            self_cpu_ns: 0,
            programs_ns: None,
            map_memory_bytes: 0,
            live: HashSet::new(),
            interval: Interval { from: now, until: now, watched_since: now, ..Interval::default() },
            pass: 0,
            pending: Pending::default(),
            buffer: Vec::new(),
        };
        let before = hidden::listed();
        let baseline = kernel.read()?;
        let seen: BTreeSet<_> = kernel.threads.processes().map(|process| process.pid).collect();
        // Without the iterator over threads, none is seen.
        kernel.hidden.extend(if seen.is_empty() { None } else { hidden::note(&before, &seen) });
        kernel.pending.facts = baseline.facts;
        kernel.sockets.tell_again();
        Ok(kernel)
    }

    /// The observed host.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Becomes readable when so much has ended that it should be read before the next tick.
    #[must_use]
    pub fn exits_fd(&self) -> RawFd {
        self.maps.exits.as_raw_fd()
    }

    /// The window in which call latencies are sampled, if the entry hook works.
    pub fn sampler(&mut self) -> Option<(&mut Sampler, &mut Ebpf)> {
        self.sampler.as_mut().map(|sampler| (sampler, &mut self.ebpf))
    }

    /// The next reading is the last: whatever is looked at rarely is looked at once more.
    pub fn end(&mut self) {
        self.walks = Walks::whole();
        self.sockets.lose_patience();
        self.drops.lose_patience();
    }

    /// Everything since the last reading.
    pub fn read(&mut self) -> Result<Batch, Error> {
        let begun = support::monotonic();
        self.interval.from = self.interval.until;
        self.interval.boot_offset_ns = support::boot_offset_ns();
        self.pass += 1;
        // Before our own counts: what it has and we have not, we have lost.
        let host = self.host.read();
        self.count_drops()?;
        self.read_exits();
        self.read_tasks()?;
        self.read_shared()?;
        self.read_disks(&host)?;
        self.read_journals()?;
        self.read_drops()?;
        self.read_sockets()?;
        self.read_exchanges()?;
        self.interval.until = support::monotonic();
        self.sockets.end_pass(self.interval.until);
        let events = self.maps.events();
        let tcp_events = std::array::from_fn(|at| events[at].wrapping_sub(self.events[at]));
        self.events = events;
        if let Some(log) = &mut self.programs_log {
            log.flush();
        }
        if self.pass % SLOW_PASSES == 1 {
            self.look_slowly();
        }
        self.unseen_requests = self.disks.unseen();
        let pending = mem::take(&mut self.pending);
        // Rows are large: in the next interval there may be as many.
        self.pending.sockets.reserve(pending.sockets.len());
        let mut batch = Batch {
            from: self.interval.from,
            until: self.interval.until,
            tasks: pending.tasks,
            calls: if self.sees_returns { { pending.calls }.take() } else { Vec::new() },
            paths: pending.paths,
            disks: pending.disks,
            disk_sizes: pending.disk_sizes,
            disk_owners: pending.disk_owners,
            partitions: pending.partitions,
            journals: pending.journals,
            sockets: pending.sockets,
            time_waits: self.time_waits.clone(),
            exchanges: pending.exchanges,
            drops: self.drops.rows(),
            tcp_events,
            host,
            facts: pending.facts,
            quality: self.quality(begun),
        };
        batch.tasks.sort_by_key(|row| (row.process, row.tid, row.start_ns));
        Ok(batch)
    }

    /// Takes what has ended out of the ring.
    pub fn read_exits(&mut self) {
        while let Some(item) = self.maps.exits.next() {
            let mut bytes: &[u8] = &item;
            match take::<u64>(&mut bytes) {
                Some(exit::TASK) => {
                    let mut calls = Vec::new();
                    let Some((record, sums)) = take_thread(&mut bytes, &mut calls) else { continue };
                    let pending = &mut self.pending;
                    let row = self.threads.observe(&record, &sums, &calls, &[], &self.interval, &mut pending.calls);
                    pending.facts.extend(self.names.process(&seen(&record, &row.comm, true)));
                    self.ended.insert(row.process);
                    pending.tasks.push(row);
                }
                Some(exit::SOCKET) => {
                    let Some(record) = socket(&mut bytes) else { continue };
                    self.pending.sockets.extend(self.sockets.last_row(&record, &self.interval, self.tick_ns));
                }
                Some(exit::EXCHANGE) => {
                    let Some(mut told) = take::<SlowExchange>(&mut bytes) else { continue };
                    if !self.sees_switches {
                        told.told = spent::UNSETTLED;
                    }
                    self.exchanges.slow(&told);
                }
                _ => {}
            }
        }
    }

    fn read_tasks(&mut self) -> Result<(), Error> {
        let (mut files, mut uses) = (Vec::<PathKey>::new(), Vec::<PathRecord>::new());
        iterate::map(&self.maps.paths, "paths", &mut files, &mut uses)?;
        iterate::read(&mut self.ebpf, "iter_task", &mut self.buffer)?;
        // Threads and files first, CPUs second: what moves from a CPU to its thread in between is missed, not counted twice.
        let mut cpus = Vec::<CpuCalls>::new();
        lookup::per_cpu(maps::fd(&self.maps.cpu_calls), self.maps.cpus, &mut cpus)
            .map_err(|source| Error::Io { act: "read the kernel map CPU_CALLS".into(), source })?;
        let partials = syscall::partials(&cpus);
        self.threads.begin_pass();
        self.namespaces.begin();
        let mut bytes = self.buffer.as_slice();
        let mut calls: Vec<CallRecord> = Vec::new();
        let mut waits = Waits::default();
        while let Some((mut record, sums)) = take_thread(&mut bytes, &mut calls) {
            if !self.sees_switches {
                // What is open stays open: nobody sees its end.
                (record.off_since_ns, record.preempted_ns, record.throttled_ns, record.excess_ns) = (0, 0, 0, 0);
                (record.open_wait_ns, record.open_queued_ns, record.open_cpu_ns) = (0, 0, 0);
            }
            let pending = &mut self.pending;
            let partial = partials.get(&record.tid).map_or(&[][..], Vec::as_slice);
            for cpu in cpus.iter().filter(|cpu| !partial.is_empty() && cpu.tid == record.tid) {
                self.paths.partial(cpu, record.process_start_ns);
            }
            let mut row = self.threads.observe(&record, &sums, &calls, partial, &self.interval, &mut pending.calls);
            if record.tid == record.pid {
                self.namespaces.saw(record.netns, record.pid);
                pending.facts.extend(self.names.process(&seen(&record, &row.comm, false)));
            }
            waits.see(&record, &mut row, pending.tasks.len(), self.interval.from.0);
            pending.tasks.push(row);
        }
        waits.name_wakers(&mut self.pending.tasks);
        self.threads.end_pass();
        for used in self.paths.observe(&files, &uses) {
            self.pending.facts.extend(self.names.path(&used));
            self.pending.paths.push(used.row);
        }
        Ok(())
    }

    fn read_shared(&mut self) -> Result<(), Error> {
        let (mut owners, mut records) = (Vec::<CallOwner>::new(), Vec::<CallRecord>::new());
        iterate::map(&self.maps.calls, "calls", &mut owners, &mut records)?;
        for (owner, record) in owners.iter().zip(&records) {
            self.shared.calls(*owner, record, &mut self.pending.calls);
        }
        let mut latencies = Vec::<[u32; LINEAR8_SLOTS]>::new();
        iterate::map(&self.maps.latencies, "latencies", &mut owners, &mut latencies)?;
        for (owner, slots) in owners.iter().zip(&latencies) {
            self.shared.latency(*owner, slots, &mut self.pending.calls);
        }
        Ok(())
    }

    fn read_exchanges(&mut self) -> Result<(), Error> {
        let Some(map) = &self.maps.exchanges else { return Ok(()) };
        let (mut keys, mut records) = (Vec::<ExchangeKey>::new(), Vec::<ExchangeRecord>::new());
        iterate::map(map, "exchanges", &mut keys, &mut records)?;
        let pairs = keys.iter().zip(&records);
        let rows = &mut self.pending.exchanges;
        rows.extend(pairs.filter_map(|(key, record)| self.exchanges.observe(key, record)));
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(())
    }

    /// Of all packets. A kernel may tell of the socket after it has freed the packet (6.1): of what was between the two when this is
    /// read, the socket is there when those are.
    fn count_drops(&mut self) -> Result<(), Error> {
        let mut cpus = Vec::<[u64; reason::REASONS]>::new();
        lookup::per_cpu(maps::fd(&self.maps.drop_reasons), self.maps.cpus, &mut cpus)
            .map_err(|source| Error::Io { act: "read the kernel map DROP_REASONS".into(), source })?;
        self.drops.count(&cpus);
        Ok(())
    }

    /// Who holds the sockets is looked for with those of TCP.
    fn read_drops(&mut self) -> Result<(), Error> {
        let (mut keys, mut records) = (Vec::<DropKey>::new(), Vec::<DropRecord>::new());
        iterate::map(&self.maps.drops, "drops", &mut keys, &mut records)?;
        keys.iter().zip(&records).for_each(|(key, record)| self.drops.observe(key, record));
        Ok(())
    }

    /// What changes slowly: memory, and entries of processes that are gone.
    fn look_slowly(&mut self) {
        self.map_memory_bytes = self.maps.memory_bytes();
        let live: HashSet<ProcessKey> = self.threads.processes().collect();
        for gone in self.live.difference(&live) {
            self.names.forget(*gone);
        }
        let (calls, latencies) = self.shared.forget(|process| !live.contains(&process));
        for owner in &calls {
            lookup::remove(maps::fd(&self.maps.calls), owner);
        }
        for owner in &latencies {
            lookup::remove(maps::fd(&self.maps.latencies), owner);
        }
        for owner in &self.disks.forget(|process| !live.contains(&process)) {
            lookup::remove(maps::fd(&self.maps.disk_owners), owner);
        }
        if let Some(map) = &self.maps.exchanges {
            for key in &self.exchanges.forget(|process| !live.contains(&process)) {
                lookup::remove(maps::fd(map), key);
            }
        }
        for key in &self.drops.forget() {
            lookup::remove(maps::fd(&self.maps.drops), key);
        }
        self.live = live;
    }

    fn notes(&self) -> Vec<String> {
        let refused = self.namespaces.notes();
        refused.chain(self.host.notes().iter().cloned()).chain(self.hidden.iter().cloned()).collect()
    }

    fn quality(&mut self, begun: Timestamp) -> QualityRow {
        let (cpu_ns, memory_bytes) = support::self_usage();
        let mut lost: BTreeMap<String, u64> =
            self.maps.lost().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        let programs = program::counts(&self.ebpf);
        lost.extend(programs.iter().map(|(name, counts)| (format!("{MISSED}{name}"), counts.recursion_misses)));
        let grown = lost.iter().map(|(name, count)| (name.clone(), count - self.lost.get(name).unwrap_or(&0)));
        let mut grown: BTreeMap<_, _> = grown.filter(|(_, count)| *count > 0).collect();
        if grown.contains_key(LOST[Lost::ExitRing as usize].1) {
            self.sockets.doubt();
        }
        let skewed = mem::take(&mut self.exchanges.skewed);
        if skewed > 0 {
            *grown.entry(LOST[Lost::ClockSkew as usize].1.to_owned()).or_default() += skewed;
        }
        let programs_ns = program::are_timed().then(|| programs.iter().map(|(_, counts)| counts.run_ns).sum::<u64>());
        let mut row = QualityRow {
            lost: grown,
            missed_ticks: 0,
            self_cpu_ns: cpu_ns.saturating_sub(self.self_cpu_ns),
            self_memory_bytes: memory_bytes,
            map_memory_bytes: self.map_memory_bytes,
            programs_ns: programs_ns.zip(self.programs_ns).map(|(now, before)| now.saturating_sub(before)),
            drain_ns: support::monotonic().since(begun),
            notes: self.notes(),
        };
        row.lost.extend((self.unseen_requests > 0).then(|| (UNSEEN_REQUESTS.to_owned(), self.unseen_requests)));
        (self.lost, self.self_cpu_ns, self.programs_ns) = (lost, cpu_ns, programs_ns);
        row
    }
}

fn seen<'a>(record: &TaskRecord, comm: &'a str, exited: bool) -> Seen<'a> {
    Seen {
        process: ProcessKey { pid: record.pid, start_ns: record.process_start_ns },
        parent_pid: record.parent_pid,
        comm,
        uid: record.uid,
        netns: record.netns,
        kernel_thread: record.kernel_thread != 0,
        exited,
    }
}
