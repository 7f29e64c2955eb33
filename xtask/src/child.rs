//! Child processes: what they inherit, where their output goes, and how long they may take.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a child with a deadline is asked whether it is done.
const POLL: Duration = Duration::from_millis(50);

/// Cargo with the toolchain that built xtask.
///
/// Drops what `cargo run` describes xtask with: it would change the fingerprints of build scripts that read it.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("CARGO_PKG_") || shown.starts_with("CARGO_MANIFEST_") || shown == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
    command
}

/// A program that must not inherit our toolchain: another Cargo, another rustc, rustup itself.
///
/// Flags and wrappers chosen for user space would reach the kernel programs and the tools, too.
pub fn foreign(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let shown = name.to_string_lossy();
        let own = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];
        let ours = shown.starts_with("CARGO") && !own.iter().any(|prefix| shown.starts_with(prefix));
        let compiler = shown.starts_with("RUSTC") || shown.starts_with("RUSTUP_TOOLCHAIN");
        let flags = ["RUSTFLAGS", "RUSTDOCFLAGS", "RUST_RECURSION_COUNT", "MAKEFLAGS", "LD_LIBRARY_PATH"];
        if ours || compiler || flags.contains(&&*shown) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs to the end with all output on standard error; failure to start and failure to succeed are errors.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.stdout(io::stderr()).status();
    let status = status.with_context(|| format!("failed to start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Like [`run`], but the child reads no input and is killed when it takes longer than `limit`.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    eprintln!("setup: $ {}", shown(command));
    let child = command.stdin(Stdio::null()).stdout(io::stderr()).spawn();
    let mut child = child.with_context(|| format!("failed to start `{}`", shown(command)))?;
    let deadline = Instant::now() + limit;
    let waiting = || format!("failed to wait for `{}`", shown(command));
    loop {
        match child.try_wait().with_context(waiting)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("`{}` failed: {status}", shown(command)),
            None if Instant::now() >= deadline => break,
            None => thread::sleep(POLL),
        }
    }
    child.kill().and_then(|()| child.wait()).with_context(waiting)?;
    bail!("`{}` took longer than {} s and was stopped", shown(command), limit.as_secs());
}

/// What a short question prints; `None` when it cannot be asked or is answered with a failure.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it, near enough for a message.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for arg in command.get_args() {
        // Writing to a string cannot fail.
        let _ = write!(line, " {}", arg.to_string_lossy());
    }
    line
}

/// Finds a program on `PATH`, or where system tools lie that an ordinary user's `PATH` leaves out.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}
