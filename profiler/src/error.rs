//! Errors that a user sees: what was done to what, why it failed, and the next step.

use std::io;
use std::path::PathBuf;

/// An error with an optional next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel or our privileges do not allow something.
    #[error("{what}\nhint: {hint}")]
    Unsupported {
        /// What cannot be done, and why.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// What was asked for makes no sense here.
    #[error("{what}\nhint: {hint}")]
    Refused {
        /// What is not done, and why.
        what: String,
        /// What to ask for instead.
        hint: String,
    },
    /// A file could not be read or written.
    #[error("failed to {act} `{}`: {source}", path.display())]
    File {
        /// `open`, `create`, `read`, `write`.
        act: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("`{}` is not a capture: {why}\nhint: captures are made by `profiler record -o FILE`", path.display())]
    NotACapture {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A capture of a later version.
    #[error(
        "`{}` has capture format {version}, and this program reads no later one than {known}\nhint: use the `profiler` \
         that made it, or a later one", path.display()
    )]
    NewerCapture {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The latest that we know.
        known: u32,
    },
    /// Anything else that the world refused.
    #[error("failed to {act}: {source}")]
    Io {
        /// What was tried.
        act: String,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// Whether nothing is wrong but that the reader of our output has left.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        let (Self::File { source, .. } | Self::Io { source, .. }) = self else { return false };
        source.kind() == io::ErrorKind::BrokenPipe
    }
}
