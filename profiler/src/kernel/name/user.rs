//! User names from `/etc/passwd`: a static program has no other sources of names.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use super::printable;

/// An unknown user may be a new one; the file is not read more often than this.
const READ_AGAIN: Duration = Duration::from_mins(1);

/// Names by user id, with the time of their reading.
#[derive(Debug, Default)]
pub(super) struct Users {
    names: HashMap<u32, String>,
    read: Option<Instant>,
}

impl Users {
    pub(super) fn name(&mut self, uid: u32) -> Option<String> {
        if !self.names.contains_key(&uid) && self.read.is_none_or(|read| read.elapsed() >= READ_AGAIN) {
            self.read = Some(Instant::now());
            self.names = fs::read("/etc/passwd").map(|text| users(&text)).unwrap_or_default();
        }
        self.names.get(&uid).cloned()
    }
}

/// Of several names for one user the first counts, as for everybody else.
fn users(text: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, uid) = (fields.next(), fields.nth(1).and_then(|uid| str::from_utf8(uid).ok()?.parse().ok()));
        if let (Some(name), Some(uid)) = (name, uid) {
            names.entry(uid).or_insert_with(|| printable(name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_lines_of_seven_fields() {
        let text = b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n# note\n\npostgres:x:70:70:::\n+::::::\n";
        let wanted = [(0, "root".to_owned()), (70, "postgres".to_owned())];
        assert_eq!(users(text), wanted.into());
    }
}
