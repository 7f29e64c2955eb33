//! Tells the crate where the kernel objects lie.
//!
//! `cargo xtask build` makes them: they need another compiler, which a build script had better not start.
#![expect(clippy::disallowed_methods, reason = "a build script talks to Cargo through the environment")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const OBJECTS: [&str; 2] = ["profiler.bpf.o", "profiler-hash.bpf.o"];

fn main() -> ExitCode {
    let folder = objects_folder();
    println!("cargo::rerun-if-env-changed=PROFILER_BPF_DIR");
    for object in OBJECTS {
        println!("cargo::rerun-if-changed={}", folder.join(object).display());
    }
    if let Some(missing) = OBJECTS.iter().find(|object| !folder.join(object).is_file()) {
        println!("cargo::error=no kernel object `{missing}` in `{}`: run `cargo xtask build`", folder.display());
        return ExitCode::FAILURE;
    }
    println!("cargo::rustc-env=PROFILER_BPF_DIR={}", folder.display());
    ExitCode::SUCCESS
}

/// Where `cargo xtask build` puts the objects, unless the environment names a folder.
fn objects_folder() -> PathBuf {
    if let Some(folder) = env::var_os("PROFILER_BPF_DIR") {
        return folder.into();
    }
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let workspace = package.parent().unwrap_or(Path::new("."));
    // An absolute CARGO_TARGET_DIR replaces the workspace's path, a relative one is added to it.
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace.join(target).join("bpf")
}
