//! Files that we read and make. What we make is for its owner only: a capture holds command lines and addresses.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Stands for the standard input or output.
pub(super) const DASH: &str = "-";

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// It stays.
    Keep,
    /// It is replaced.
    Replace,
}

/// Opens a file to read.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| failure("open", path, source))
}

/// Opens a file to append to, and makes it if it is not there.
pub(super) fn append(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map_err(|source| failure("open", path, source))
}

/// Makes a file that was not there.
pub(super) fn create_new(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(
        |source| if source.kind() == ErrorKind::AlreadyExists { exists(path) } else { failure("create", path, source) },
    )
}

/// Where a recording goes.
pub(super) struct Output {
    path: PathBuf,
    /// It was not there before.
    is_new: bool,
    /// Bytes written so far.
    written: Arc<AtomicU64>,
}

impl Output {
    /// Whether a recording could go there. Asked early, because attaching takes a while.
    pub fn check(path: &Path, existing: Existing) -> Result<(), Error> {
        if path.as_os_str() == DASH {
            return if io::stdout().is_terminal() { Err(terminal()) } else { Ok(()) };
        }
        let is_there = path.symlink_metadata().is_ok();
        if is_there && existing == Existing::Keep { Err(exists(path)) } else { Ok(()) }
    }

    /// Makes the file. Hands out what counts, and what is written to.
    pub fn create(path: &Path, existing: Existing) -> Result<(Self, impl Write + Send + use<>), Error> {
        Self::check(path, existing)?;
        let (file, is_new): (Box<dyn Write + Send>, bool) = match existing {
            _ if path.as_os_str() == DASH => (Box::new(io::stdout()), false),
            Existing::Keep => (Box::new(create_new(path)?), true),
            Existing::Replace => (Box::new(replace(path)?), false),
        };
        let output = Self { path: path.to_owned(), is_new, written: Arc::default() };
        let counted = Counted { file, written: Arc::clone(&output.written) };
        Ok((output, counted))
    }

    /// What it is called in messages.
    pub fn name(&self) -> String {
        if self.path.as_os_str() == DASH { "the standard output".to_owned() } else { self.path.display().to_string() }
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Nothing was recorded: leaves nothing behind.
    pub fn discard(&self) {
        if self.is_new {
            // There is an error to tell already.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn replace(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.map_err(|source| failure("create", path, source))?;
    // A file that was there keeps its mode. A device or a pipe is none of ours.
    let kind = file.metadata().map_err(|source| failure("create", path, source))?;
    if kind.is_file() {
        let private = file.set_permissions(Permissions::from_mode(0o600));
        private.map_err(|source| failure("protect", path, source))?;
    }
    Ok(file)
}

/// A writer that counts.
struct Counted {
    file: Box<dyn Write + Send>,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.written.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn failure(act: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { act, path: path.to_owned(), source }
}

fn exists(path: &Path) -> Error {
    Error::Refused {
        what: format!("`{}` exists already", path.display()),
        hint: "choose another name; `profiler record --force` replaces a file".to_owned(),
    }
}

fn terminal() -> Error {
    Error::Refused {
        what: "a capture is no text for a terminal".to_owned(),
        hint: "name a file, or redirect the standard output".to_owned(),
    }
}
