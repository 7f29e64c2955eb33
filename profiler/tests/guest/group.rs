//! Control groups of our own, in the version that the guest was booted with.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// Whether the guest has hierarchies of version 1.
pub fn is_version_1() -> bool {
    env::var("GUEST_CGROUP").is_ok_and(|version| version == "1")
}

/// A group within a group, both removed when dropped; whoever was in it must have ended.
pub struct Group {
    /// Where its hierarchy is mounted.
    mount: PathBuf,
    /// Its path within.
    pub path: String,
}

impl Group {
    /// With a controller, `cpu` or `memory`.
    pub fn new(controller: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let mount = if is_version_1() { root.join(controller) } else { root.into() };
        let outer = format!("/profiler-test-{}-{controller}", process::id());
        let group = Self { path: format!("{outer}/inner"), mount };
        fs::create_dir_all(group.folder()).unwrap();
        if !is_version_1() {
            for parent in [root.to_owned(), group.outer()] {
                fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
            }
        }
        group
    }

    /// Moves the calling process into it.
    pub fn enter(&self) {
        self.set("cgroup.procs", &process::id().to_string());
    }

    /// Writes one of its files.
    pub fn set(&self, name: &str, value: &str) {
        self.try_set(name, value).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Writes one of its files, if the kernel can do what that means.
    pub fn try_set(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.folder().join(name), value)
    }

    /// A number of its `cpu.stat`.
    pub fn cpu_stat(&self, name: &str) -> u64 {
        let text = fs::read_to_string(self.folder().join("cpu.stat")).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    fn folder(&self) -> PathBuf {
        self.mount.join(self.path.trim_start_matches('/'))
    }

    fn outer(&self) -> PathBuf {
        self.folder().parent().unwrap().into()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs::remove_dir(self.folder()));
        drop(fs::remove_dir(self.outer()));
    }
}
