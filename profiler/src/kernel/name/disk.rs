//! What a block device is called, and what is behind it.

use std::fs;

use super::{Disk, printable};

/// By its number, `major << 20 | minor`.
pub(super) fn look_up(device: u32) -> Option<Disk> {
    let folder = format!("/sys/dev/block/{}:{}", device >> 20, device & 0xf_ffff);
    let name = device_name(&fs::read_to_string(format!("{folder}/uevent")).ok()?)?;
    // The file of a loop device, the name of a mapped one; a loop device without a file has no such entry.
    let behind = |path: &str| fs::read(format!("{folder}/{path}")).ok();
    let backing = behind("loop/backing_file").or_else(|| behind("dm/name"));
    Some((name, backing.as_deref().and_then(line)))
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
    fn a_number_that_nothing_has_is_unknown() {
        assert_eq!(look_up(u32::MAX), None);
    }
}
