//! Processes that a kernel hides from programs: guests of some virtual machine hosts do so with their supervisor,
//! process 1. No iterator lists it, and no program runs while a thread of it is on the CPU, be it for an interrupt that
//! has nothing to do with it. The kernel counts nothing of that as missed.

use std::collections::BTreeSet;
use std::fs;

/// `PROC_PID_INIT_INO` (`include/linux/proc_ns.h`): the namespace in which programs number processes.
const HOST_NAMESPACE: &str = "pid:[4026531836]";

/// Processes by `/proc`; none where it numbers them differently.
pub fn listed() -> BTreeSet<u32> {
    let here = fs::read_link("/proc/self/ns/pid").is_ok_and(|target| target.as_os_str() == HOST_NAMESPACE);
    let entries = here.then(|| fs::read_dir("/proc").ok()).flatten().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What is not known, given what was listed before programs saw these.
pub fn note(before: &BTreeSet<u32>, seen: &BTreeSet<u32>) -> Option<String> {
    let hidden: Vec<_> = before.difference(seen).copied().filter(|pid| lives(*pid)).collect();
    sentence(&hidden)
}

/// Whether a process has neither ended nor become a zombie, which iterators leave out.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn sentence(hidden: &[u32]) -> Option<String> {
    let (what, them) = match hidden.len() {
        0 => return None,
        1 => ("process", "it"),
        _ => ("processes", "them"),
    };
    let list = hidden.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    Some(format!("{what} {list}, and what interrupts {them}: this kernel hides {them} from programs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_listed() {
        assert_eq!(sentence(&[]), None);
        let one = "process 1, and what interrupts it: this kernel hides it from programs";
        assert_eq!(sentence(&[1]).as_deref(), Some(one));
        let two = "processes 1, 9, and what interrupts them: this kernel hides them from programs";
        assert_eq!(sentence(&[1, 9]).as_deref(), Some(two));
    }

    #[test]
    fn only_what_still_lives_is_hidden() {
        let (here, beyond) = (std::process::id(), 1 << 30);
        assert_eq!(note(&[here, beyond].into(), &[here].into()), None);
        assert!(note(&[here, beyond].into(), &BTreeSet::new()).is_some_and(|note| note.starts_with("process ")));
    }

    #[test]
    fn we_are_listed() {
        let listed = listed();
        assert!(listed.is_empty() || listed.contains(&std::process::id()), "{listed:?}");
    }
}
