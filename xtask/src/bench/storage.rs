//! Workloads that read a file of their own, page by page, from its disk.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::load::{Args, Outcome, repeat};

/// Memory that the kernel may read into past its cache.
#[repr(align(4096))]
struct Page([u8; 4096]);

const PAGE: usize = size_of::<Page>();
/// More than operations in a repetition, so that none finds its page again.
const PAGES: usize = 1024;

/// Each repetition begins with none of the file in memory.
pub fn misses(args: &Args) -> Result<Outcome> {
    let file = data(0)?;
    advise(&file, libc::POSIX_FADV_RANDOM)?;
    repeat(args, 1.0, |count| {
        advise(&file, libc::POSIX_FADV_DONTNEED)?;
        read(&file, count)
    })
}

pub fn requests(args: &Args) -> Result<Outcome> {
    let file = data(libc::O_DIRECT)?;
    repeat(args, 1.0, |count| read(&file, count))
}

fn read(file: &File, count: u64) -> Result<u64> {
    ensure!(count < PAGES as u64, "at most {PAGES} operations in a repetition");
    let mut page = Page([0; _]);
    for index in 0..count {
        file.read_exact_at(&mut page.0, index * PAGE as u64).context("failed to read the file")?;
    }
    Ok(count)
}

/// A file without a name, on the disk; `flags` are for who reads it.
fn data(flags: i32) -> Result<File> {
    let folder = env::temp_dir();
    let nameless = OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(&folder);
    let mut file = nameless.with_context(|| format!("failed to make a file in `{}`", folder.display()))?;
    file.write_all(&vec![1; PAGES * PAGE]).and_then(|()| file.sync_all()).context("failed to write the file")?;
    let again = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
    OpenOptions::new().read(true).custom_flags(flags).open(again).context("failed to open the file again")
}

fn advise(file: &File, advice: i32) -> Result<()> {
    // SAFETY: advice touches no memory of ours.
    let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) };
    ensure!(error == 0, "failed to advise: error {error}");
    Ok(())
}
