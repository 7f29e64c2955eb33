//! Where things lie: the workspace, and what is built from it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Paths of this checkout. All are absolute.
pub struct Layout {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target folder, wherever `CARGO_TARGET_DIR` has moved it.
    pub target: PathBuf,
}

impl Layout {
    /// Reads the layout from what Cargo tells the programs that it runs.
    pub fn find() -> Result<Self> {
        // The compiled-in path is for a copy of xtask that is started without Cargo.
        let package =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = package.parent().context("xtask has no parent folder")?.to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(dir).context("failed to resolve CARGO_TARGET_DIR")?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Tools that set-up built for itself, in the shape that `cargo install --root` gives.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// What set-up found out, so that it need not ask again.
    pub fn decision(&self) -> PathBuf {
        self.target.join("setup.json")
    }

    /// The finished kernel objects; `profiler/build.rs` looks for them here.
    pub fn objects(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// A target folder of its own for the kernel programs, which another compiler builds.
    pub fn ebpf_target(&self) -> PathBuf {
        self.target.join("ebpf")
    }

    /// Kernels, images and logs of virtual machines.
    pub fn vm(&self) -> PathBuf {
        self.target.join("vm")
    }

    /// The release build of the program.
    pub fn program(&self) -> Result<PathBuf> {
        Ok(self.target.join(host()?).join("release/profiler"))
    }
}

/// Cargo puts binaries below the name of the target, because `.cargo/config.toml` names one.
fn host() -> Result<String> {
    let current = env::current_exe().context("failed to find the path of xtask")?;
    let profile = current.parent().and_then(Path::parent);
    let triple = profile.and_then(Path::file_name).context("xtask does not lie in a target folder")?;
    Ok(triple.to_string_lossy().into_owned())
}
