//! Runs iterators and reads whole maps, in every network namespace where that matters.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd};

use aya::Ebpf;
use aya::maps::MapData;
use aya::programs::{Iter, Program};

use crate::error::Error;
use crate::kernel::decode::Plain;
use crate::kernel::name::{self, Namespace};
use crate::kernel::{lookup, maps};

/// Bytes that a buffer keeps between two ticks.
const BUFFER_KEPT: usize = 4 << 20;

/// Runs an iterator over all its objects; an absent one yields nothing.
pub fn read(ebpf: &mut Ebpf, name: &'static str, buffer: &mut Vec<u8>) -> Result<(), Error> {
    buffer.clear();
    buffer.shrink_to(BUFFER_KEPT);
    let Some(Program::Iter(program)) = ebpf.program_mut(name) else { return Ok(()) };
    if program.fd().is_err() {
        return Ok(());
    }
    let mut file = open(program).map_err(|source| Error::Io { act: format!("run the iterator {name}"), source })?;
    read_all(&mut file, name, buffer)
}

/// Runs an iterator over the elements of a map; `false` if it is absent.
pub fn read_map(ebpf: &Ebpf, name: &'static str, map: &MapData, buffer: &mut Vec<u8>) -> Result<bool, Error> {
    let Some(Ok(program)) = ebpf.program(name).map(Program::fd) else { return Ok(false) };
    let file = lookup::iterator(program.as_fd(), maps::fd(map));
    let mut file = file.map_err(|source| Error::Io { act: format!("run the iterator {name}"), source })?;
    buffer.clear();
    buffer.shrink_to(BUFFER_KEPT);
    read_all(&mut file, name, buffer)?;
    Ok(true)
}

fn read_all(file: &mut File, name: &str, buffer: &mut Vec<u8>) -> Result<(), Error> {
    let read = file.read_to_end(buffer);
    read.map(drop).map_err(|source| Error::Io { act: format!("read the iterator {name}"), source })
}

fn open(program: &mut Iter) -> io::Result<File> {
    let link = program.attach().map_err(io::Error::other)?;
    let link = program.take_link(link).map_err(io::Error::other)?;
    link.into_file().map_err(io::Error::other)
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

/// The network namespaces in which processes live. An iterator over sockets sees only that of the thread that starts it.
pub struct Namespaces {
    own: Option<File>,
    /// Inode number → a process in it, as of the running pass.
    members: BTreeMap<u32, u32>,
    /// Those of the pass before, opened.
    open: Vec<Namespace>,
    opened: Vec<u32>,
    refused: bool,
}

impl Namespaces {
    /// Knows our own.
    pub fn new() -> Self {
        let own = File::open("/proc/thread-self/ns/net").ok();
        Self { own, members: BTreeMap::new(), open: Vec::new(), opened: Vec::new(), refused: false }
    }

    /// Begins a pass over all processes.
    pub fn begin(&mut self) {
        self.members.clear();
    }

    /// A process is in a namespace.
    pub fn saw(&mut self, netns: u32, pid: u32) {
        if netns != 0 {
            self.members.entry(netns).or_insert(pid);
        }
    }

    /// Namespaces, each with a process in it.
    pub fn members(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.members.iter().map(|(netns, pid)| (*netns, *pid))
    }

    /// Does something in each namespace, and comes home.
    pub fn visit(&mut self, mut there: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
        let members: Vec<_> = self.members().collect();
        let inodes: Vec<_> = members.iter().map(|(netns, _)| *netns).collect();
        if inodes != self.opened {
            self.open = name::namespaces(&members);
            self.opened = inodes;
        }
        let Some(own) = &self.own else { return there() };
        if self.open.len() <= 1 {
            return there();
        }
        self.refused = false;
        for namespace in &self.open {
            if enter(&namespace.file).is_err() {
                self.refused = true;
                continue;
            }
            there()?;
        }
        if self.refused {
            // Without the right to enter others, our own is still there to be seen.
            there()?;
        }
        enter(own).map_err(|source| Error::Io { act: "return to our network namespace".into(), source })
    }

    /// What could not be looked at.
    pub fn notes(&self) -> impl Iterator<Item = String> + use<> {
        self.refused.then(|| "sockets of other network namespaces (needs CAP_SYS_ADMIN)".to_owned()).into_iter()
    }
}

fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; only the calling thread moves.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
