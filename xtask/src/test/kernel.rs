//! Tests against the running kernel: built by Cargo as ourselves, started as root, one at a time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::KERNEL_TESTS;
use super::tally::Tally;
use crate::child;
use crate::layout::Layout;
use crate::setup::is_root;

/// Under CI a test that cannot run has failed; elsewhere it is said loudly.
pub fn run(layout: &Layout, tally: &mut Tally) -> Result<()> {
    match command(layout) {
        Ok(mut tests) => tally.count(&mut tests),
        Err(error) if super::is_ci() => Err(error.context("kernel tests NOT run")),
        Err(error) => {
            println!("warning: kernel tests NOT run: {error:#}");
            Ok(())
        }
    }
}

/// Builds them; the command that runs them all as root.
pub fn command(layout: &Layout) -> Result<Command> {
    as_root(&executable(layout, KERNEL_TESTS, "test")?, &layout.root.join("profiler"))
}

/// Builds one of the profiler's test targets; where it is.
pub fn executable(layout: &Layout, target: &str, profile: &str) -> Result<PathBuf> {
    let mut build = child::cargo();
    build.args(["test", "--package", "profiler", "--test", target, "--no-run", "--profile", profile]);
    build.arg("--message-format=json-render-diagnostics").current_dir(&layout.root);
    let output = build.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("failed to start `{}`", child::shown(&build)))?;
    if !output.status.success() {
        bail!("they do not compile");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages.lines().find_map(|message| built_test(message, target)).context("cargo named no executable for them")
}

/// The path in Cargo's message about a test target; `None` for every other message.
fn built_test(message: &str, target: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message["target"]["name"] == target && message["target"]["kind"][0] == "test";
    ours.then(|| message["executable"].as_str().map(PathBuf::from))?
}

/// Starts as Cargo would start it, in the package's folder, which the tests' own paths rely on.
fn as_root(file: &Path, package: &Path) -> Result<Command> {
    let mut command = if is_root() {
        Command::new("env")
    } else {
        if child::answer(Command::new("sudo").args(["-n", "true"])).is_none() {
            bail!("they need root, and `sudo -n` is refused; run `cargo xtask test` as root");
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    let mut folder = std::ffi::OsString::from("CARGO_MANIFEST_DIR=");
    folder.push(package);
    command.arg(folder).arg(file).arg("--test-threads=1").current_dir(package);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargo_messages() {
        let ours = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"kernel"},"executable":"/t/k-1"}"#;
        let other = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"kernel"},"executable":null}"#;
        assert_eq!(built_test(ours, "kernel"), Some(PathBuf::from("/t/k-1")));
        assert_eq!(built_test(other, "kernel"), None);
        assert_eq!(built_test("not json", "kernel"), None);
    }
}
