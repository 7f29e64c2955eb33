//! What decides what can be observed on this host, and what its kernel takes: the facts behind `profiler doctor`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::Map;

use crate::batch::{Machine, ProbeStatus};
use crate::config::{Options, Types};
use crate::error::Error;
use crate::kernel::drain::task::take_thread;
use crate::kernel::host::Host;
use crate::kernel::load::Loaded;
pub use crate::kernel::load::OWN_TYPES;
use crate::kernel::probe::{PROBES, Probe};
use crate::kernel::read::load_here;
pub use crate::kernel::support::Lockdown;
pub use crate::kernel::support::privilege::{OUTSIDE, Privilege, Rights};
use crate::kernel::{hidden, iterate, support};

/// Maps that hold so many of something and no more.
const BOUNDED: [(&str, &str); 4] =
    [("TASKS", "threads"), ("SOCKETS", "sockets"), ("REQUESTS", "requests"), ("DISKS", "disk_operations")];

/// What decides what can be observed here.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// The host, and each probe as its kernel took it.
    pub machine: Machine,
    /// The kernel's types.
    pub types: KernelTypes,
    /// Kernel lockdown.
    pub lockdown: Lockdown,
    /// What we may do.
    pub rights: Rights,
    /// Memory that we may lock, bytes; `None` without a limit. Before 5.11 kernel maps count as such.
    pub locked_memory_bytes: Option<u64>,
    /// Where the records of threads are; `None` if nothing was loaded.
    pub thread_records: Option<Records>,
    /// What is held so many times at most, by name.
    pub bounds: Vec<(&'static str, u32)>,
    /// Why nothing at all could be loaded.
    pub refusal: Option<String>,
    /// What to do about it, where the privileges do not tell.
    pub hint: Option<String>,
    /// What cannot be looked at for other reasons, in words.
    pub notes: Vec<String>,
}

/// Where the description of the kernel's types is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KernelTypes {
    /// The running kernel's own.
    Own,
    /// A file. Iterators and typed programs need the running kernel's own as well.
    File {
        /// Which.
        path: PathBuf,
        /// Whether the running kernel has its own as well.
        own: bool,
    },
    /// The running kernel has none.
    #[default]
    Absent,
    /// They are not to be used.
    Refused,
}

/// Where the records of threads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// On the threads.
    TaskStorage,
    /// In a hash map by thread id.
    HashMap,
}

/// Loads and attaches everything, looks once, and lets go of it again.
pub fn diagnose(options: &Options) -> Result<Diagnosis, Error> {
    let diagnosis = Diagnosis {
        types: kernel_types(&options.types),
        lockdown: support::lockdown_state(),
        rights: support::rights(),
        notes: Host::new().notes().to_vec(),
        ..Diagnosis::default()
    };
    let refused = match diagnosis.rights.refusal.clone() {
        Some(why) => (why, None),
        None => match load_here(options) {
            Ok((loaded, machine)) => return Ok(diagnosis.loaded(loaded, machine)),
            // The hint of some is to call the doctor.
            Err(Error::Unsupported { what, hint }) => (what, Some(hint).filter(|hint| !hint.contains("doctor"))),
            Err(other) => return Err(other),
        },
    };
    Ok(diagnosis.refused(refused))
}

impl Diagnosis {
    fn loaded(mut self, mut loaded: Loaded, machine: Machine) -> Self {
        self.machine = machine;
        self.locked_memory_bytes = support::locked_memory_bytes();
        self.thread_records = records(&loaded.ebpf);
        self.bounds = BOUNDED.iter().filter_map(|(map, what)| Some((*what, bound(&loaded.ebpf, map)?))).collect();
        self.notes.extend(hidden_note(&mut loaded.ebpf));
        self
    }

    fn refused(mut self, (why, hint): (String, Option<String>)) -> Self {
        let missing = |probe: &Probe| ProbeStatus {
            name: probe.name.into(),
            form: None,
            reason: why.clone(),
            without: probe.without.into(),
        };
        self.machine = Machine { probes: PROBES.iter().map(missing).collect(), ..support::machine_facts() };
        self.locked_memory_bytes = support::locked_memory_bytes();
        self.hint = hint;
        self.refusal = Some(why);
        self
    }
}

fn kernel_types(wanted: &Types) -> KernelTypes {
    let own = std::fs::metadata(OWN_TYPES).is_ok();
    match wanted {
        Types::None => KernelTypes::Refused,
        Types::File(path) => KernelTypes::File { path: path.clone(), own },
        Types::Running if own => KernelTypes::Own,
        Types::Running => KernelTypes::Absent,
    }
}

fn records(ebpf: &Ebpf) -> Option<Records> {
    Some(match ebpf.map("TASKS")? {
        Map::HashMap(_) => Records::HashMap,
        _ => Records::TaskStorage,
    })
}

fn bound(ebpf: &Ebpf, map: &str) -> Option<u32> {
    let Map::HashMap(data) = ebpf.map(map)? else { return None };
    Some(data.info().ok()?.max_entries())
}

/// Processes that no program sees, if there are any.
fn hidden_note(ebpf: &mut Ebpf) -> Option<String> {
    let (before, mut buffer) = (hidden::listed(), Vec::new());
    iterate::read(ebpf, "iter_task", &mut buffer).ok()?;
    let (mut bytes, mut calls) = (buffer.as_slice(), Vec::new());
    let threads = std::iter::from_fn(|| take_thread(&mut bytes, &mut calls));
    let seen: BTreeSet<_> = threads.map(|(record, _)| record.pid).collect();
    if seen.is_empty() { None } else { hidden::note(&before, &seen) }
}
