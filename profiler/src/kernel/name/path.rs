//! Where a file is: by a descriptor of whoever uses it, as far as it still names that file, else by what the kernel has noted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use profiler_common::disk::device;
use profiler_common::file::PathRecord;

use super::printable;
use crate::batch::PathRow;

/// Descriptors of a process to look at: operations of `io_uring` do not tell theirs.
const DESCRIPTORS_MAX: usize = 256;

/// The path of a file; `None` if nothing tells.
pub(super) fn look_up(row: &PathRow, record: &PathRecord) -> Option<String> {
    let folder = format!("/proc/{}/fd", row.process.pid);
    let known = by_descriptor(row, &Path::new(&folder).join(record.descriptor.to_string()));
    let searched = || {
        let mut entries = fs::read_dir(&folder).into_iter().flatten().flatten().take(DESCRIPTORS_MAX);
        entries.find_map(|entry| by_descriptor(row, &entry.path()))
    };
    known.or_else(searched).or_else(|| by_name(record))
}

fn by_descriptor(row: &PathRow, link: &Path) -> Option<String> {
    let file = fs::metadata(link).ok()?;
    let on = device(libc::major(file.dev()), libc::minor(file.dev()));
    let same = file.ino() == row.file.number && on == row.file.device;
    let path = fs::read_link(link).ok().filter(|_| same)?;
    Some(printable(path.as_os_str().as_encoded_bytes()))
}

/// The last two names. One that is cut ends with an ellipsis.
fn by_name(record: &PathRecord) -> Option<String> {
    let text = |bytes: &[u8]| {
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let cut = if len + 1 >= bytes.len() { "…" } else { "" };
        format!("{}{cut}", printable(&bytes[..len]))
    };
    match (text(&record.folder), text(&record.name)) {
        (_, name) if name.is_empty() => None,
        (folder, name) if folder.is_empty() => Some(name),
        (folder, name) if folder == "/" => Some(format!("…/{name}")),
        (folder, name) => Some(format!("…/{folder}/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(folder: &str, name: &str) -> PathRecord {
        let mut record = PathRecord::EMPTY;
        record.folder[..folder.len()].copy_from_slice(folder.as_bytes());
        record.name[..name.len()].copy_from_slice(name.as_bytes());
        record
    }

    #[test]
    fn the_last_two_names_are_told() {
        assert_eq!(by_name(&record("lib", "libc.so.6")).as_deref(), Some("…/lib/libc.so.6"));
        assert_eq!(by_name(&record("/", "a\x1b")).as_deref(), Some("…/a\\u{1b}"));
        assert_eq!(by_name(&record("", "")), None);
        let long = "x".repeat(47);
        assert_eq!(by_name(&record("d", &long)), Some(format!("…/d/{long}…")));
    }
}
