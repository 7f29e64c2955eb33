//! The log: lines in a file, and only if they are asked for. It never goes to the standard output.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{LevelFilter, Log, Metadata, Record};

use crate::cli::LogLevel;
use crate::error::Error;
use crate::run::file;
use crate::view::report::utc;

/// Logs from now on, to `path` or where programs keep their state.
pub(super) fn start(level: LogLevel, path: Option<&Path>) -> Result<(), Error> {
    let path = path.map_or_else(default_path, |path| Ok(path.to_owned()))?;
    let file = file::append(&path)?;
    // Fails if there is a log already, which then goes on.
    if log::set_boxed_logger(Box::new(Lines { file })).is_ok() {
        log::set_max_level(filter(level));
    }
    Ok(())
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    }
}

fn default_path() -> Result<PathBuf, Error> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let folder = state.ok_or_else(|| Error::Refused {
        what: "there is no place for the log: neither XDG_STATE_HOME nor HOME is set".to_owned(),
        hint: "name a file with `--log-file`".to_owned(),
    })?;
    let folder = folder.join("profiler");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|source| Error::File { act: "create", path: folder.clone(), source })?;
    Ok(folder.join("profiler.log"))
}

/// Writes each record as a line, in one piece: the file is opened to append, so lines of several threads stay whole.
struct Lines {
    file: File,
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let now = utc::rfc3339(u64::try_from(now).unwrap_or(u64::MAX));
        let line = format!("{now} {:5} {}: {}\n", record.level(), record.target(), record.args());
        // A log that cannot be written cannot say so.
        let _ = (&self.file).write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
