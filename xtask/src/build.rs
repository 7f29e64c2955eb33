//! `cargo xtask build`: the kernel objects, then the program that carries them.
//!
//! Two objects come from one crate: the native one, and one for kernels that lack task storage. Needs no root.

use std::env;
use std::fs;
use std::iter;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::child;
use crate::layout::Layout;
use crate::setup::{self, Decision};

/// The target of the kernel programs: little-endian BPF.
const TARGET: &str = "bpfel-unknown-none";

#[derive(clap::Args)]
pub struct Args {
    /// Stop after the kernel objects
    #[arg(long)]
    objects_only: bool,
}

/// One kernel object: its file, and what Cargo is told beyond the usual.
struct Object {
    file: &'static str,
    flags: &'static [&'static str],
}

const OBJECTS: &[Object] = &[
    Object { file: "profiler.bpf.o", flags: &[] },
    // Before 5.11 there is no task storage; a hash map keyed by thread takes its place.
    Object { file: "profiler-hash.bpf.o", flags: &["--features=hash-tasks"] },
];

/// What to do about warnings in the kernel programs.
#[derive(Clone, Copy)]
pub enum Warnings {
    Show,
    Deny,
}

pub fn main(layout: &Layout, args: &Args) -> Result<ExitCode> {
    let decision = setup::ensure(layout)?;
    objects(layout, &decision, Warnings::Show)?;
    if !args.objects_only {
        program(layout)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds both kernel objects into [`Layout::objects`]. A file whose bytes stay the same is not touched.
pub fn objects(layout: &Layout, decision: &Decision, warnings: Warnings) -> Result<()> {
    for object in OBJECTS {
        eprintln!("build: {}", object.file);
        let built = layout.ebpf_target().join(TARGET).join("release/profiler-ebpf");
        child::run(&mut compile(layout, decision, object, "build", warnings))
            .with_context(|| format!("failed to build `{}`", object.file))?;
        copy_if_changed(&built, &layout.objects().join(object.file))?;
    }
    Ok(())
}

/// Builds the release binary with the objects inside.
pub fn program(layout: &Layout) -> Result<()> {
    let mut command = child::cargo();
    command.args(["build", "--release", "--package", "profiler"]).current_dir(&layout.root);
    child::run(&mut command).context("failed to build the program")
}

/// Clippy on the kernel programs; `None` where their compiler has no clippy beside it.
pub fn lint_objects(layout: &Layout, decision: &Decision) -> Option<Result<()>> {
    let folder = decision.cargo.parent()?;
    folder.join("cargo-clippy").is_file().then(|| {
        // Cargo looks for its subcommands on `PATH`; a clippy of another toolchain would not understand this one.
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(iter::once(folder.to_path_buf()).chain(env::split_paths(&path)));
        let path = path.context("failed to extend PATH")?;
        OBJECTS.iter().try_for_each(|object| {
            let mut clippy = compile(layout, decision, object, "clippy", Warnings::Deny);
            child::run(clippy.env("PATH", &path)).with_context(|| format!("failed to lint `{}`", object.file))
        })
    })
}

fn compile(layout: &Layout, decision: &Decision, object: &Object, act: &str, warnings: Warnings) -> Command {
    let linker = decision.linker.display();
    let flags = [
        "-Cdebuginfo=2",
        &format!("-Clinker={linker}"),
        "-Clink-arg=--btf",
        "-Clink-arg=--disable-expand-memcpy-in-order",
        "-Cpanic=abort",
    ]
    .join("\u{1f}");
    let mut command = child::foreign(&decision.cargo);
    command.current_dir(&layout.root);
    command.args([act, "--release", "--package", "profiler-ebpf", "--target", TARGET]);
    command.args(["-Z", "build-std=core"]).args(object.flags);
    // Unlocks `-Z` where the compiler is not a nightly.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", &decision.rustc);
    command.env("CARGO_TARGET_DIR", layout.ebpf_target()).env("CARGO_ENCODED_RUSTFLAGS", flags);
    // The workspace's release profile is for user space. The kernel needs one module, and its types (BTF).
    let profile = [("LTO", "fat"), ("CODEGEN_UNITS", "1"), ("PANIC", "abort"), ("DEBUG", "2"), ("STRIP", "none")];
    command.envs(profile.map(|(key, value)| (format!("CARGO_PROFILE_RELEASE_{key}"), value)));
    if matches!(warnings, Warnings::Deny) {
        // Unlike `-Dwarnings` this changes no fingerprint, so nothing is built twice.
        command.args(["-Z", "warnings"]).env("CARGO_BUILD_WARNINGS", "deny");
    }
    command
}

/// Leaves an equal file alone, so that the program which includes it is not built again.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("failed to read `{}`", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    }
    fs::write(to, bytes).with_context(|| format!("failed to write `{}`", to.display()))?;
    eprintln!("build: wrote {}", to.display());
    Ok(())
}
