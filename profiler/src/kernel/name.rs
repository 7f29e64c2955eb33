//! Names of what the kernel tells by number. A name is told once, and again when it changes.
//!
//! Ignorance is remembered as well, so that what cannot be looked up costs little.

mod disk;
mod namespace;
mod path;
mod process;
mod user;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};

pub use self::namespace::{Namespace, namespaces};
use self::process::Processes;
pub use self::process::Seen;
use crate::batch::{Fact, FileKey, ProcessKey};
use crate::kernel::drain::path::Used;

/// A name that may change, or that could not be found, is looked up again after so many questions.
const LOOK_AGAIN: u32 = 10;
/// Devices that are remembered, and as many namespaces. When full: all are told again.
const THINGS_MAX: usize = 4096;
/// The same of files.
const FILES_MAX: usize = 16_384;

/// What was told already.
#[derive(Debug, Default)]
pub struct Names {
    processes: Processes,
    disks: Told<Disk>,
    namespaces: Told<String>,
    files: HashSet<FileKey>,
}

/// What is told of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Disk {
    name: String,
    backing: Option<String>,
    below: Vec<u32>,
}

impl Names {
    /// Nothing is told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who a process is: on first sight, and when its name, user, parent or network namespace changed.
    pub fn process(&mut self, seen: &Seen) -> Option<Fact> {
        self.processes.look(seen).map(Fact::Process)
    }

    /// Its number will not come again.
    pub fn forget(&mut self, process: ProcessKey) {
        self.processes.forget(process);
    }

    /// What a device is called: on first sight, and when a loop, mapped or RAID device lies on something else.
    pub fn disk(&mut self, device: u32) -> Option<Fact> {
        let changes = |disk: &Disk| ["loop", "dm-", "md"].iter().any(|kind| disk.name.starts_with(kind));
        let Disk { name, backing, below } = self.disks.look(device, changes, || disk::look_up(device))?;
        Some(Fact::Disk { device, name, backing, below })
    }

    /// Where a file is, on first sight.
    pub fn path(&mut self, used: &Used) -> Option<Fact> {
        let file = used.row.file;
        if self.files.contains(&file) {
            return None;
        }
        let path = path::look_up(&used.row, &used.record)?;
        if self.files.len() >= FILES_MAX {
            self.files.clear();
        }
        self.files.insert(file);
        Some(Fact::Path { file, path })
    }

    /// What a network namespace is called, on first sight. `pid` is a process in it.
    pub fn netns(&mut self, netns: u32, pid: u32) -> Option<Fact> {
        // A process that has ended is in none.
        if netns == 0 {
            return None;
        }
        let name = self.namespaces.look(netns, |_| false, || namespace::look_up(netns, pid))?;
        Some(Fact::NetNamespace { netns, name })
    }
}

/// Names by number. `None`: could not be found.
#[derive(Debug)]
struct Told<T>(HashMap<u32, (Option<T>, u32)>);

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone + Eq> Told<T> {
    /// The name, if it is another one than was told.
    fn look(&mut self, number: u32, changes: impl Fn(&T) -> bool, look_up: impl Fn() -> Option<T>) -> Option<T> {
        if let Some((known, questions)) = self.0.get_mut(&number) {
            *questions += 1;
            if !known.as_ref().is_none_or(changes) || *questions < LOOK_AGAIN {
                return None;
            }
            *questions = 0;
            let now = look_up().filter(|now| known.as_ref() != Some(now))?;
            *known = Some(now.clone());
            return Some(now);
        }
        if self.0.len() >= THINGS_MAX {
            self.0.clear();
        }
        let now = look_up();
        self.0.insert(number, (now.clone(), 0));
        now
    }
}

/// The start of a file.
fn head(file: &File, bytes: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(bytes).read_to_end(&mut text)?;
    Ok(text)
}

/// For a terminal: whoever chose a name does not get to move the cursor.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for letter in String::from_utf8_lossy(bytes).chars() {
        if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_once() {
        let mut told = Told::default();
        let name = || Some("sda".to_owned());
        assert_eq!(told.look(1, |_| false, name), name());
        assert!((0..100).all(|_| told.look(1, |_| false, || Some("sdb".to_owned())).is_none()));
    }

    #[test]
    fn a_name_that_may_change_is_looked_up_again_now_and_then() {
        let mut told = Told::default();
        let (first, second) = (|| Some("a".to_owned()), || Some("b".to_owned()));
        assert_eq!(told.look(1, |_| true, first), first());
        assert_eq!((0..LOOK_AGAIN * 2).filter(|_| told.look(1, |_| true, first).is_some()).count(), 0);
        assert_eq!((0..LOOK_AGAIN * 2).filter(|_| told.look(1, |_| true, second).is_some()).count(), 1);
        assert_eq!((0..LOOK_AGAIN).filter(|_| told.look(1, |_| true, || None).is_some()).count(), 0);
        assert_eq!(told.look(2, |_| false, || None::<String>), None);
        assert_eq!((0..LOOK_AGAIN).filter(|_| told.look(2, |_| false, first).is_some()).count(), 1);
    }

    #[test]
    fn memory_of_names_is_bounded() {
        let mut told = Told::default();
        for number in 0..=u32::try_from(THINGS_MAX).unwrap() * 2 {
            told.look(number, |_| false, || Some(number));
        }
        assert_eq!(told.0.len(), 1);
    }

    #[test]
    fn control_characters_do_nothing() {
        assert_eq!(printable(b"a\x1b[2J\nb\xff"), "a\\u{1b}[2J\\nb\u{fffd}");
        assert_eq!(printable("\u{9b}ü".as_bytes()), "\\u{9b}ü");
    }

    #[test]
    fn a_namespace_of_nobody_has_no_name() {
        assert_eq!(Names::new().netns(0, 1), None);
    }
}
