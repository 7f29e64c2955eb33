//! Files of `/proc` that are read once per tick.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A file whose text the kernel makes anew whenever it is read from its start.
#[derive(Debug)]
pub(super) struct Reread(Option<File>);

impl Reread {
    pub(super) fn open(path: &str) -> Self {
        Self(File::open(path).ok())
    }

    /// Its text now; the buffer is the caller's, for there are many files and one reader.
    pub(super) fn read<'buffer>(&self, buffer: &'buffer mut Vec<u8>) -> Option<&'buffer str> {
        let length = read_all(self.0.as_ref()?, buffer).ok()?;
        std::str::from_utf8(&buffer[..length]).ok()
    }
}

/// The buffer never shrinks, so the second reading needs no growing; it returns how much of it is text.
fn read_all(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        if buffer.len() - length < 4096 {
            buffer.resize(buffer.len() + 16_384, 0);
        }
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => return Ok(length),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_from_its_start_each_time() {
        let (file, mut buffer) = (Reread::open("/proc/self/status"), Vec::new());
        for _ in 0..2 {
            assert!(file.read(&mut buffer).is_some_and(|text| text.starts_with("Name:")));
        }
        assert_eq!(Reread::open("/proc/no such file").read(&mut buffer), None);
    }
}
