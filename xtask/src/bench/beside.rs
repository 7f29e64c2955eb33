//! A process beside the workload: started, waited for until it is attached, and always stopped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::contender::Ready;
use super::{os, procfs};

/// A tool that needs longer to attach is given up. bpftrace compiles first.
const ATTACH_MAX: Duration = Duration::from_secs(30);
/// After an interrupt a tool may still read and print its maps.
const STOP_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// [`Ready::Settled`]: no new program for so many polls, which is 400 ms.
const SETTLED_POLLS: u32 = 20;

/// Interrupted when it goes out of scope, and killed when that is not enough.
pub struct Beside {
    child: Child,
}

impl Beside {
    /// Starts a program that prints into nothing; `folder` takes what it has to say about errors.
    pub fn start(program: &Path, args: &[OsString], ready: Ready, folder: &Path) -> Result<Self> {
        let errors = folder.join("stderr.txt");
        let name = program.display();
        let stderr = File::create(&errors).with_context(|| format!("failed to create `{}`", errors.display()))?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut beside = Self { child: spawn(&mut command).with_context(|| format!("failed to start `{name}`"))? };
        if let Err(error) = beside.wait_until(ready) {
            beside.stop();
            let said = fs::read_to_string(&errors).unwrap_or_default();
            return Err(match complaint(&said) {
                Some(line) => error.context(line.to_owned()),
                None => error,
            });
        }
        Ok(beside)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A contender that ended during the measurement has not been measured.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context("failed to wait")? {
            None => Ok(()),
            Some(status) => bail!("it ended during the measurement ({status})"),
        }
    }

    fn wait_until(&mut self, ready: Ready) -> Result<()> {
        let deadline = Instant::now() + ATTACH_MAX;
        let (mut most, mut unchanged) = (0, 0);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("failed to wait")? {
                bail!("it ended before it was attached ({status})");
            }
            let attached = procfs::attached(self.pid()).len();
            unchanged = if attached > most { 0 } else { unchanged + 1 };
            most = most.max(attached);
            match ready {
                Ready::Programs(wanted) if attached >= wanted => return Ok(()),
                Ready::Settled if most > 0 && unchanged >= SETTLED_POLLS => return Ok(()),
                _ => thread::sleep(POLL),
            }
        }
        bail!("{most} programs attached within {} s", ATTACH_MAX.as_secs());
    }

    fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        os::interrupt(self.pid());
        end(&mut self.child, STOP_MAX);
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs to its end and returns what it printed; killed after `limit`.
pub fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command).with_context(|| format!("failed to start `{name}`"))?;
    if end(&mut child, limit).is_none() {
        bail!("`{name}` took longer than {} s", limit.as_secs());
    }
    // It prints a line or two, which the pipes hold until now.
    let output = child.wait_with_output().with_context(|| format!("failed to read from `{name}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{} ({})", complaint(&said).unwrap_or("it failed"), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A child that the kernel kills when we are killed.
pub fn spawn(command: &mut Command) -> std::io::Result<Child> {
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(os::die_with_parent) };
    command.spawn()
}

/// Waits for the end, and brings it about after `limit`: then `None`.
pub fn end(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let status = wait(child, limit);
    if status.is_none() {
        // The child is ours and not waited for yet, so this cannot hit another process.
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => thread::sleep(POLL),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
    None
}

/// The line that says best why a program failed: its first error, else what it said last.
fn complaint(said: &str) -> Option<&str> {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.starts_with("error"));
    error.or_else(|| lines.next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_the_reason_else_the_last_line() {
        assert_eq!(complaint("x\nerror: no such command\n\nFor help\n"), Some("error: no such command"));
        assert_eq!(complaint("libbpf: one\nfailed to attach\n\n"), Some("failed to attach"));
        assert_eq!(complaint("\n"), None);
    }

    #[test]
    fn output_is_bounded_and_failures_say_why() {
        let limit = Duration::from_secs(10);
        assert_eq!(output(Command::new("echo").arg("1"), limit).unwrap(), "1\n");
        let error = output(Command::new("sh").args(["-c", "echo no >&2; exit 3"]), limit).unwrap_err();
        assert_eq!(error.to_string(), "no (exit status: 3)");
        let error = output(Command::new("sleep").arg("60"), Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.to_string(), "`sleep` took longer than 0 s");
    }
}
