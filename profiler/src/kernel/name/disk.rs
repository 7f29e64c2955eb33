//! What a block device is called, and what is behind it.

use std::fs;
use std::path::Path;

use profiler_common::disk::device;

use super::{Disk, printable};

/// By its number, `major << 20 | minor`.
pub(super) fn look_up(number: u32) -> Option<Disk> {
    let folder = format!("/sys/dev/block/{}:{}", number >> 20, number & 0xf_ffff);
    let name = device_name(&fs::read_to_string(format!("{folder}/uevent")).ok()?)?;
    // The file of a loop device, the name of a mapped one; a loop device without a file has no such entry.
    let behind = |path: &str| fs::read(format!("{folder}/{path}")).ok();
    let backing = behind("loop/backing_file").or_else(|| behind("dm/name"));
    Some(Disk { name, backing: backing.as_deref().and_then(line), below: below(&folder) })
}

/// The devices that one is stacked on, in order.
fn below(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(format!("{folder}/slaves")).into_iter().flatten().flatten();
    let mut below: Vec<_> = entries.filter_map(|entry| whole(&entry.path())).collect();
    below.sort_unstable();
    below.dedup();
    below
}

/// The number of a device, of a partition that of its device: its folder is in that of the device.
fn whole(link: &Path) -> Option<u32> {
    let folder = link.canonicalize().ok()?;
    let device = if folder.join("partition").exists() { folder.parent()? } else { &folder };
    number(&fs::read_to_string(device.join("dev")).ok()?)
}

/// Of `major:minor`.
fn number(dev: &str) -> Option<u32> {
    let (major, minor) = dev.trim().split_once(':')?;
    Some(device(major.parse().ok()?, minor.parse().ok()?))
}

fn device_name(uevent: &str) -> Option<String> {
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(printable(name.as_bytes()))
}

fn line(text: &[u8]) -> Option<String> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    (!line.is_empty()).then(|| printable(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_a_line_of_the_event() {
        let event = "MAJOR=104\nMINOR=0\nDEVNAME=cciss/c0d0\nDEVTYPE=disk\n";
        assert_eq!(device_name(event).as_deref(), Some("cciss/c0d0"));
        assert_eq!(device_name("MAJOR=104\n"), None);
    }

    #[test]
    fn what_is_behind_is_one_line() {
        assert_eq!(line(b"/srv/a b.img\n").as_deref(), Some("/srv/a b.img"));
        assert_eq!(line(b"\n"), None);
    }

    #[test]
    fn a_number_has_two_parts() {
        assert_eq!(number("253:7\n"), Some(253 << 20 | 7));
        assert_eq!((number("253\n"), number("")), (None, None));
    }

    #[test]
    fn a_number_that_nothing_has_is_unknown() {
        assert_eq!(look_up(u32::MAX), None);
    }
}
