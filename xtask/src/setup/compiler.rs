//! Compilers that can build `core` for the kernel's target: those that have its source beside them.
//!
//! A nightly from rustup is the ordinary way. Any other compiler does as well once `RUSTC_BOOTSTRAP=1` unlocks
//! `-Z build-std`; Debian packages one together with its source.

use std::env;
use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::debian;
use crate::child;

/// The compiler of Debian 12 that is new enough, its Cargo, and its source.
pub const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
/// The lints of that compiler.
pub const DEBIAN_CLIPPY: &str = "rust-web-clippy";
/// The workspace's `rust-version`.
const RELEASE_MIN: Version = Version(1, 95, 0);
/// A toolchain is some 200 MB; whoever needs longer than this has no network.
const RUSTUP_LIMIT: Duration = Duration::from_mins(10);
/// The file that tells whether the source is there.
const SOURCE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// A compiler with the source of `core`.
pub struct Compiler {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    /// A file of the source, to notice when it goes away.
    pub source: PathBuf,
    pub llvm: Version,
    release: String,
}

/// Three numbers, as in 22.1.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// All usable compilers of this machine: nightlies first, then rustup's others, then the system's.
pub fn installed() -> Vec<Compiler> {
    let mut names = rustup_toolchains();
    names.sort_by_key(|path| (!is_nightly(path), path.clone()));
    names.push("/usr".into());
    names.iter().filter_map(|sysroot| Compiler::at(sysroot)).collect()
}

/// Lets rustup fetch the source for the nightly that is here, else a nightly with source.
pub fn install_nightly() -> Result<Compiler> {
    let rustup = child::find_program("rustup").context("rustup is not here, so it could not fetch a nightly")?;
    eprintln!("setup: asking rustup for a nightly with the source of `core`");
    // Somebody may rely on the nightly as it is, so it is updated only when that cannot be helped.
    if rustup_toolchains().iter().any(|path| is_nightly(path)) {
        let mut command = child::foreign(&rustup);
        command.args(["component", "add", "rust-src", "--toolchain", "nightly"]);
        let added = child::run_within(&mut command, RUSTUP_LIMIT).is_ok();
        if let Some(compiler) = installed().into_iter().next().filter(|_| added) {
            return Ok(compiler);
        }
    }
    let mut command = child::foreign(rustup);
    command.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
    child::run_within(command.arg("--no-self-update"), RUSTUP_LIMIT)?;
    let found = installed().into_iter().find(|compiler| compiler.release.contains("nightly"));
    found.context("rustup reported success, but its nightly has no source of `core`")
}

/// Lets apt install Debian's compiler with its source.
pub fn install_debian() -> Result<Compiler> {
    debian::install(DEBIAN_PACKAGES)?;
    Compiler::at(Path::new("/usr")).context("the Debian packages are installed, but hold no usable compiler")
}

impl Compiler {
    /// `None` when there is no compiler, it is too old, or it lacks the source.
    fn at(sysroot: &Path) -> Option<Self> {
        let source = sysroot.join(SOURCE);
        // Looking for a file is cheaper than starting a compiler.
        if !source.is_file() || !sysroot.join("bin/cargo").is_file() {
            return None;
        }
        let (cargo, rustc) = (sysroot.join("bin/cargo"), sysroot.join("bin/rustc"));
        let about = child::answer(child::foreign(&rustc).arg("-vV"))?;
        let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let release = field("release:")?.to_owned();
        let llvm = Version::parse(field("LLVM version:")?)?;
        (Version::parse(&release)? >= RELEASE_MIN).then_some(Self { cargo, rustc, source, llvm, release })
    }

    /// Cargo of this compiler, and nothing of the one that runs us.
    pub fn cargo(&self) -> Command {
        let mut command = child::foreign(&self.cargo);
        command.env("RUSTC", &self.rustc);
        command
    }
}

/// Whether the system's packages brought a program.
pub fn is_packaged(program: &Path) -> bool {
    program.starts_with("/usr")
}

impl Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustc {} with LLVM {} at {}", self.release, self.llvm, self.rustc.display())
    }
}

impl Version {
    /// Reads `22.1.8`, `1.97.0-nightly`, `22.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        Some(Self(parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Lists the folders themselves: starting rustup only to list them costs more, and may make it download.
fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let Some(home) = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup"))) else {
        return Vec::new();
    };
    let entries = fs::read_dir(home.join("toolchains")).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn is_nightly(toolchain: &Path) -> bool {
    toolchain.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_have_a_suffix_or_lack_its_last_number() {
        assert_eq!(Version::parse("1.97.0-nightly"), Some(Version(1, 97, 0)));
        assert_eq!(Version::parse("22.1"), Some(Version(22, 1, 0)));
        assert_eq!(Version::parse("unknown"), None);
        assert!(Version(22, 1, 8) > Version(22, 1, 2));
    }
}
