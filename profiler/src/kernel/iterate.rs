//! Runs iterators and reads whole maps, in every network namespace where that matters.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;

use aya::Ebpf;
use aya::maps::MapData;
use aya::programs::Program;

use crate::error::Error;
use crate::kernel::decode::Plain;
use crate::kernel::host::parse;
use crate::kernel::name::{self, Namespace};
use crate::kernel::{lookup, maps};

/// Bytes that a buffer keeps between two ticks.
const BUFFER_KEPT: usize = 4 << 20;

/// Runs an iterator over all its objects; an absent one yields nothing.
pub fn read(ebpf: &mut Ebpf, name: &'static str, buffer: &mut Vec<u8>) -> Result<(), Error> {
    buffer.clear();
    buffer.shrink_to(BUFFER_KEPT);
    let Some(mut file) = open(ebpf, name)? else { return Ok(()) };
    file.read_to_end(buffer).map(drop).map_err(|source| failed(name, source))
}

/// An iterator at its begin, in the network namespace of this thread; `None` if it is absent.
pub fn open(ebpf: &mut Ebpf, name: &'static str) -> Result<Option<File>, Error> {
    let Some(Program::Iter(program)) = ebpf.program_mut(name) else { return Ok(None) };
    if program.fd().is_err() {
        return Ok(None);
    }
    let link = program.attach().and_then(|link| program.take_link(link)).map_err(io::Error::other);
    let file = link.and_then(|link| link.into_file().map_err(io::Error::other));
    file.map(Some).map_err(|source| failed(name, source))
}

/// Runs one up to where it stops by itself, or where there is no room any more: the bytes that it said, `None` at its end.
pub fn go_on(file: &mut File, name: &'static str, room: &mut [u8]) -> Result<Option<usize>, Error> {
    match file.read(room) {
        Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(Some(0)),
        read => read.map(|bytes| Some(bytes).filter(|bytes| *bytes > 0)).map_err(|source| failed(name, source)),
    }
}

fn failed(name: &'static str, source: io::Error) -> Error {
    Error::Io { act: format!("run the iterator {name}"), source }
}

/// Every entry of a map.
pub fn map<K: Plain + Default, V: Plain>(
    map: &MapData,
    name: &'static str,
    keys: &mut Vec<K>,
    values: &mut Vec<V>,
) -> Result<(), Error> {
    lookup::all(maps::fd(map), 512, keys, values)
        .map_err(|source| Error::Io { act: format!("read the kernel map {name}"), source })
}

/// Says where we are already, in the place of a namespace's inode number.
pub const HERE: u32 = 0;

/// The network namespaces in which processes live. An iterator over sockets sees only that of the thread that opens it.
pub struct Namespaces {
    /// The way home; `None` without the right to enter any.
    own: Option<File>,
    /// Inode number → a process in it, as of the running pass.
    members: BTreeMap<u32, u32>,
    /// Those of the last look, opened.
    open: Vec<Namespace>,
    opened: Vec<u32>,
    refused: bool,
}

impl Namespaces {
    /// Knows our own.
    pub fn new() -> Self {
        let own = File::open("/proc/thread-self/ns/net").ok().filter(|own| enter(own).is_ok());
        Self { own, members: BTreeMap::new(), open: Vec::new(), opened: Vec::new(), refused: false }
    }

    /// Begins a pass over all processes.
    pub fn begin(&mut self) {
        self.members.clear();
    }

    /// A process is in a namespace.
    pub fn saw(&mut self, netns: u32, pid: u32) {
        if netns != HERE {
            self.members.entry(netns).or_insert(pid);
        }
    }

    /// Namespaces, each with a process in it.
    pub fn members(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.members.iter().map(|(netns, pid)| (*netns, *pid))
    }

    /// All that can be entered, for [`Self::inside`].
    pub fn all(&mut self) -> Vec<u32> {
        let members: Vec<_> = self.members().collect();
        let inodes: Vec<_> = members.iter().map(|(netns, _)| *netns).collect();
        if inodes != self.opened {
            self.open = name::namespaces(&members);
            self.opened = inodes;
        }
        let has_others = self.open.len() > 1;
        self.refused = has_others && self.own.is_none();
        if has_others && !self.refused { self.open.iter().map(|open| open.inode).collect() } else { vec![HERE] }
    }

    /// Does something in one of them, and comes home; `None` if there is no way in any more.
    pub fn inside<T>(
        &mut self,
        netns: u32,
        there: impl FnOnce() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        if netns == HERE {
            return there();
        }
        let (Some(own), Some(namespace)) = (&self.own, self.open.iter().find(|open| open.inode == netns)) else {
            return Ok(None);
        };
        if enter(&namespace.file).is_err() {
            self.refused = true;
            return Ok(None);
        }
        let done = there();
        enter(own).map_err(|source| Error::Io { act: "return to our network namespace".into(), source })?;
        done
    }

    /// Whether some could not be looked at in the last look.
    pub fn are_refused(&self) -> bool {
        self.refused
    }

    /// What could not be looked at.
    pub fn notes(&self) -> impl Iterator<Item = String> + use<> {
        self.refused.then(|| "sockets of other network namespaces (needs CAP_SYS_ADMIN)".to_owned()).into_iter()
    }
}

/// TCP sockets in the tables of this thread's network namespace, by the kernel's own count.
pub fn tcp_sockets() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    // Without IPv6 there is no such file, and no such sockets.
    let others = read("sockstat6").ok().map_or(Some(0), |text| parse::tcp_sockets(&text));
    Some(parse::tcp_sockets(&read("sockstat").ok()?)? + others?)
}

fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; only the calling thread moves.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
