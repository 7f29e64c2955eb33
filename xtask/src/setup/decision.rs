//! The answer that set-up keeps: which programs build the kernel objects.
//!
//! It is valid as long as each file that it rests on has kept its size and time of change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::compiler::Compiler;
use super::linker::Linker;

/// Raised when the meaning of the file changes, so that an old answer is not believed.
const FORMAT: u32 = 1;

/// How this machine builds the kernel programs.
#[derive(Serialize, Deserialize)]
pub struct Decision {
    format: u32,
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    pub linker: PathBuf,
    /// One line for people.
    pub summary: String,
    rests_on: Vec<Stamp>,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    changed_s: i64,
}

impl Decision {
    pub(super) fn new(compiler: &Compiler, linker: &Linker) -> Result<Self> {
        let files = [&compiler.cargo, &compiler.rustc, &compiler.source, &linker.path];
        Ok(Self {
            format: FORMAT,
            cargo: compiler.cargo.clone(),
            rustc: compiler.rustc.clone(),
            linker: linker.path.clone(),
            summary: format!("{compiler}; {linker}"),
            rests_on: files.into_iter().map(|path| Stamp::of(path)).collect::<Result<_>>()?,
        })
    }

    /// The stored answer; `None` when there is none, or when something that it rests on has changed.
    pub(super) fn load(file: &Path) -> Option<Self> {
        let decision: Self = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
        let valid = decision.rests_on.iter().all(|stamp| Stamp::of(&stamp.path).is_ok_and(|now| now == *stamp));
        (decision.format == FORMAT && valid).then_some(decision)
    }

    pub(super) fn store(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("failed to encode the result of the set-up")?;
        fs::write(file, text).with_context(|| format!("failed to write `{}`", file.display()))
    }
}

impl Stamp {
    fn of(path: &Path) -> Result<Self> {
        let meta = fs::metadata(path).with_context(|| format!("failed to inspect `{}`", path.display()))?;
        Ok(Self { path: path.to_path_buf(), bytes: meta.len(), changed_s: meta.mtime() })
    }
}
