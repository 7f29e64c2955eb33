//! Network namespaces: what they are called, and ways into them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{head, printable};

/// Where `ip netns` keeps namespaces alive that no process needs to be in.
const NAMED: &str = "/run/netns";
/// `NS_GET_NSTYPE`, since 4.11.
const NS_GET_NSTYPE: u64 = 0xb703;
/// Each takes a descriptor, of which a process has 1024 by default. When full: the rest is not looked at.
const NAMESPACES_MAX: usize = 512;

/// A network namespace that can be entered.
#[derive(Debug)]
pub struct Namespace {
    /// Inode number.
    pub inode: u32,
    /// For `setns`; closing it leaves nothing behind.
    pub file: File,
}

/// Opens each namespace once: by the processes in it (inode, process id), of which the first that still is there counts,
/// and those under `/run/netns`.
#[must_use]
pub fn namespaces(pids: &[(u32, u32)]) -> Vec<Namespace> {
    let mut known = HashSet::new();
    let mut found = Vec::new();
    let by_process = pids.iter().map(|(inode, pid)| (Some(*inode), format!("/proc/{pid}/ns/net")));
    let by_name = named().into_iter().map(|path| (None, path));
    for (wanted, path) in by_process.chain(by_name) {
        if found.len() >= NAMESPACES_MAX {
            break;
        }
        if wanted.is_some_and(|inode| known.contains(&inode)) {
            continue;
        }
        if let Some(namespace) = open(&path)
            // The process may have moved, or be another one by now.
            && wanted.is_none_or(|inode| inode == namespace.inode)
            && known.insert(namespace.inode)
        {
            found.push(namespace);
        }
    }
    found
}

/// The name that people use: `host` for that of process 1, the one given to `ip netns`, or that of a process in it.
pub(super) fn look_up(netns: u32, pid: u32) -> Option<String> {
    // Without the right to look at process 1, we are most likely in the same one.
    let host = inode("/proc/1/ns/net").or_else(|| inode("/proc/self/ns/net"));
    if host == Some(netns) {
        return Some("host".to_owned());
    }
    let named = named().into_iter().find(|path| inode(path) == Some(netns));
    if let Some(name) = named.as_deref().and_then(|path| Path::new(path).file_name()) {
        return Some(printable(name.as_encoded_bytes()));
    }
    // Both are read from the same process: it is there, and in this namespace.
    let comm = head(&File::open(format!("/proc/{pid}/comm")).ok()?, 64).ok()?;
    let inside = inode(&format!("/proc/{pid}/ns/net")) == Some(netns);
    inside.then(|| printable(comm.strip_suffix(b"\n").unwrap_or(&comm)))
}

/// Paths under [`NAMED`], in order.
fn named() -> Vec<String> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.path().into_os_string().into_string().ok()).collect();
    paths.sort();
    paths
}

fn inode(path: &str) -> Option<u32> {
    u32::try_from(fs::metadata(path).ok()?.ino()).ok()
}

fn open(path: &str) -> Option<Namespace> {
    let file = File::open(path).ok()?;
    if !is_network_namespace(&file) {
        return None;
    }
    let inode = u32::try_from(file.metadata().ok()?.ino()).ok()?;
    Some(Namespace { inode, file })
}

/// A crash leaves plain files under [`NAMED`].
fn is_network_namespace(file: &File) -> bool {
    // SAFETY: the descriptor is open, and this request takes no argument.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) };
    kind == libc::CLONE_NEWNET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_namespace_is_opened_once() {
        let (ours, pid) = (inode("/proc/self/ns/net").unwrap(), std::process::id());
        let found = namespaces(&[(ours, pid), (ours, pid), (ours + 1, pid), (7, u32::MAX)]);
        assert_eq!(found.iter().filter(|namespace| namespace.inode == ours).count(), 1);
        assert!(found.iter().all(|namespace| namespace.inode != 7));
    }

    #[test]
    fn other_files_are_no_network_namespaces() {
        assert!(open("/proc/self/ns/mnt").is_none());
        assert!(open("/proc/self/stat").is_none());
    }

    #[test]
    fn a_name_needs_a_process_in_it() {
        assert_eq!(look_up(7, std::process::id()), None);
        assert_eq!(look_up(7, u32::MAX), None);
    }
}
