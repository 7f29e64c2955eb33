//! bpf-linker, at one version, with an LLVM that can read what the compiler writes.
//!
//! Building it needs LLVM's development files, which ordinary machines lack; there the project's own release binary,
//! which carries its LLVM inside, is the way.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::compiler::{Compiler, Version, is_packaged};
use super::{debian, note};
use crate::child;
use crate::layout::Layout;

pub const VERSION: &str = "0.13.0";
/// What the build needs on Debian 12. Other releases offer other versions of LLVM, see [`LLVM_MAJORS`].
pub const DEBIAN_PACKAGES: &[&str] = &["llvm-22-dev", "libzstd-dev", "zlib1g-dev", "libxml2-dev"];
/// The versions of LLVM that this bpf-linker has a feature for, and that our compilers may use.
const LLVM_MAJORS: &[u32] = &[22, 23];
/// The build takes a minute on two cores.
const BUILD_LIMIT: Duration = Duration::from_mins(20);
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(5);

/// A linker of the right version.
pub struct Linker {
    pub path: PathBuf,
    llvm: Version,
}

impl Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf-linker {VERSION} with LLVM {} at {}", self.llvm, self.path.display())
    }
}

/// A linker that is there already: our own, else one on `PATH`.
pub fn found(layout: &Layout, compiler: &Compiler) -> Option<Linker> {
    present(layout).find(|linker| linker.llvm >= compiler.llvm)
}

/// Gets a linker for `compiler`; each failed attempt leaves a line in `tried`.
pub fn install(layout: &Layout, compiler: &Compiler, tried: &mut Vec<String>) -> Option<Linker> {
    eprintln!("setup: no bpf-linker {VERSION} here that reads what LLVM {} writes", compiler.llvm);
    // Where the compiler came from packages, LLVM does too; elsewhere the download is quicker and needs no rights.
    let ways: [Way; 3] = if is_packaged(&compiler.rustc) {
        [from_local_llvm, from_debian_llvm, download]
    } else {
        [from_local_llvm, download, from_debian_llvm]
    };
    for way in ways {
        note(way(layout, compiler), tried);
        if let Some(linker) = found(layout, compiler) {
            return Some(linker);
        }
    }
    // LLVM promises to read what older releases wrote; what a newer patch release wrote it mostly reads, too.
    let near = present(layout).find(|linker| linker.llvm.0 == compiler.llvm.0)?;
    eprintln!("setup: note: {near} is older than the compiler's {}; linking may fail", compiler.llvm);
    Some(near)
}

type Way = fn(&Layout, &Compiler) -> Result<()>;

/// Linkers of the right version, wherever they lie.
fn present(layout: &Layout) -> impl Iterator<Item = Linker> {
    let own = layout.tools().join("bin/bpf-linker");
    let candidates = [Some(own), child::find_program("bpf-linker")];
    candidates.into_iter().flatten().filter_map(|path| Linker::at(path, &layout.tools()))
}

impl Linker {
    fn at(path: PathBuf, scratch: &Path) -> Option<Self> {
        let version = child::answer(Command::new(&path).arg("--version"))?;
        if version.trim() != format!("bpf-linker {VERSION}") {
            return None;
        }
        let llvm = llvm_of(&path, scratch)?;
        Some(Self { path, llvm })
    }
}

/// Asks a linker for its LLVM by letting it write bitcode, which is signed with the version of its writer.
fn llvm_of(linker: &Path, scratch: &Path) -> Option<Version> {
    fs::create_dir_all(scratch).ok()?;
    let (input, output) = (scratch.join("empty.ll"), scratch.join("empty.bc"));
    fs::write(&input, "target triple = \"bpfel\"\n").ok()?;
    child::answer(Command::new(linker).arg("--emit=llvm-bc").arg("-o").arg(&output).arg(&input))?;
    let signature = bitcode_writer(&fs::read(&output).ok()?)?;
    Version::parse(signature.strip_prefix("LLVM")?)
}

/// The writer's name at the head of a bitcode file: a length, then 6 bits a letter, at no byte boundary.
fn bitcode_writer(bitcode: &[u8]) -> Option<String> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";
    /// The name is in the first block, which is tiny.
    const HEAD_BYTES_MAX: usize = 64;
    /// A length with its high bit set would go on in the next six bits; no version is that long.
    const LENGTH_MAX: usize = 31;
    let head = &bitcode[..bitcode.len().min(HEAD_BYTES_MAX)];
    let bit = |at: usize| head.get(at / 8).map_or(0, |byte| usize::from(byte >> (at % 8) & 1));
    let six = |at: usize| (0..6).fold(0, |value, index| value | bit(at + index) << index);
    let name_at =
        |at: usize| (1..=six(at).min(LENGTH_MAX)).map(|index| char::from(LETTERS[six(at + index * 6)])).collect();
    (0..head.len() * 8).map(name_at).find(|name: &String| name.starts_with("LLVM"))
}

fn from_local_llvm(layout: &Layout, compiler: &Compiler) -> Result<()> {
    let majors = LLVM_MAJORS.iter().filter(|major| **major >= compiler.llvm.0);
    let mut prefixes = majors.flat_map(|major| {
        let places =
            [format!("/usr/lib/llvm-{major}"), format!("/usr/lib64/llvm{major}"), format!("/usr/lib/llvm{major}")];
        places.map(|place| (*major, PathBuf::from(place)))
    });
    // The bare name of the library, without a version, is what marks the development files.
    let Some((major, prefix)) = prefixes.find(|(_, prefix)| prefix.join("lib/libLLVM.so").is_file()) else {
        bail!("no development files of LLVM {} or later, so bpf-linker could not be built", compiler.llvm.0);
    };
    cargo_install(layout, compiler, major, &prefix)
}

fn from_debian_llvm(layout: &Layout, compiler: &Compiler) -> Result<()> {
    let mut last = None;
    for major in LLVM_MAJORS.iter().filter(|major| **major >= compiler.llvm.0) {
        let llvm = format!("llvm-{major}-dev");
        let packages: Vec<&str> = [llvm.as_str()].into_iter().chain(DEBIAN_PACKAGES[1..].iter().copied()).collect();
        match debian::install(&packages) {
            Ok(()) => return cargo_install(layout, compiler, *major, Path::new(&format!("/usr/lib/llvm-{major}"))),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("this bpf-linker has no feature for the compiler's LLVM")?)
}

fn cargo_install(layout: &Layout, compiler: &Compiler, major: u32, llvm: &Path) -> Result<()> {
    eprintln!("setup: building bpf-linker {VERSION} with LLVM {major}; this takes a minute, once");
    let mut command = compiler.cargo();
    command.args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--no-default-features"]);
    command.arg(format!("--features=llvm-{major}")).arg("--root").arg(layout.tools()).env("LLVM_PREFIX", llvm);
    // Outside of the repository: its Cargo settings (a static libc) must not reach the linker.
    command.env("CARGO_TARGET_DIR", layout.tools().join("build")).current_dir("/");
    child::run_within(&mut command, BUILD_LIMIT).context("failed to build bpf-linker")
}

/// Fetches the release binary that bpf-linker's own manual recommends.
fn download(layout: &Layout, _: &Compiler) -> Result<()> {
    let tools = layout.tools();
    if let Some(binstall) = child::find_program("cargo-binstall") {
        let mut command = child::foreign(binstall);
        command.args(["--no-confirm", "--force", "--version", VERSION, "--root"]).arg(&tools).arg("bpf-linker");
        return child::run_within(&mut command, DOWNLOAD_LIMIT).context("failed to fetch bpf-linker");
    }
    for program in ["curl", "tar", "zstd"] {
        child::find_program(program).with_context(|| format!("no `{program}` to fetch bpf-linker's binary with"))?;
    }
    let archive = tools.join("bpf-linker.tar.zst");
    let bin = tools.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("failed to create `{}`", bin.display()))?;
    let arch = std::env::consts::ARCH;
    let base = "https://github.com/aya-rs/bpf-linker/releases/download";
    let url = format!("{base}/v{VERSION}/bpf-linker-{arch}-unknown-linux-musl.tar.zst");
    eprintln!("setup: fetching the release binary of bpf-linker {VERSION}");
    let mut curl = Command::new("curl");
    curl.args([
        "--fail",
        "--location",
        "--silent",
        "--show-error",
        "--proto",
        "=https",
        "--connect-timeout",
        "10",
        "-o",
    ]);
    child::run_within(curl.arg(&archive).arg(url), DOWNLOAD_LIMIT).context("failed to fetch bpf-linker")?;
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "-xf"]).arg(&archive).arg("-C").arg(&bin);
    child::run_within(&mut tar, DOWNLOAD_LIMIT).context("failed to unpack bpf-linker")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_of_bitcode_is_read_from_its_head() {
        let head = [
            0x42, 0x43, 0xc0, 0xde, 0x35, 0x14, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x62, 0x0c, 0x30, 0x24, 0x4a, 0x59,
            0xbe, 0xa6, 0x6d, 0xfb, 0xb5, 0xcf, 0x0b, 0x51, 0x80, 0x4c, 0x01, 0x00, 0x00, 0x00,
        ];
        assert_eq!(bitcode_writer(&head).as_deref(), Some("LLVM22.1.8"));
        assert_eq!(bitcode_writer(&[0; 32]), None);
    }
}
