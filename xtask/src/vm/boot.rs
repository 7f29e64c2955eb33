//! Boots a guest under emulation, and reads what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::matrix::Guest;
use crate::child;

/// How long a guest may take before it is stopped: thrice what one takes with all of its tests. init.sh knows of it.
const LIMIT: Duration = Duration::from_mins(12);
const POLL: Duration = Duration::from_millis(100);

/// A guest that is on its way.
pub struct Booted {
    emulator: Child,
    started: Instant,
    console: PathBuf,
    results: PathBuf,
}

/// Which tests run in a guest.
#[derive(Clone, Copy)]
pub enum Choice<'a> {
    /// All but those that take long.
    Usual,
    /// Of each row what tells most.
    Core,
    /// Those whose names contain one of these.
    Named(&'a [String]),
}

/// Starts a guest.
pub fn boot(
    folder: &Path,
    guest: &Guest,
    choice: Choice<'_>,
    image: &Path,
    initial: &Path,
    disk: &Path,
) -> Result<Booted> {
    let (console, results) = (folder.join("console"), folder.join("results"));
    let qemu = child::find_program("qemu-system-x86_64").context("`qemu-system-x86_64` is not installed")?;
    // Its main thread, with the timers of disks, runs as soon as it is awake; its CPUs, which are threads that it starts, do not.
    let mut command = Command::new("chrt");
    command.args(["--reset-on-fork", "--fifo", "1"]).arg(qemu);
    // With a thread for each CPU the emulator now and then runs code that the kernel is patching, as it does to attach. The more a
    // CPU can do, the more it has to save at each switch: one with all that can be emulated takes a tenth longer. Where it makes
    // no random numbers, whoever wants some waits for seconds: nothing happens there by chance.
    command.args(["-accel", "tcg,thread=single", "-cpu", "Nehalem,+rdrand", "-m", "1536", "-smp", guest.cpus]);
    command.args(["-nodefaults", "-nic", "none", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(image).arg("-initrd").arg(initial);
    let (chosen, slow) = match choice {
        Choice::Usual => (guest.tests.join(","), guest.slow),
        Choice::Core => (guest.core.concat().join(","), guest.slow),
        Choice::Named(tests) => (tests.join(","), &[][..]),
    };
    let impossible = guest.impossible.iter().map(|(name, _)| *name);
    let skipped: Vec<_> = impossible.chain(slow.iter().copied()).collect();
    let orders = [("tests", chosen), ("skipped", skipped.join(",")), ("absent", guest.absent().join(","))];
    let orders = orders.map(|(name, value)| format!("guest.{name}={value}")).join(" ");
    command.args(["-append", &format!("{APPEND} {orders} {}", guest.append)]);
    // Written to for this boot only.
    let system = format!("file={},format=raw,if=none,id=system,snapshot=on", disk.display());
    for (drive, id) in [(system.as_str(), "system"), (NULL_DISK, "slow")] {
        // The CPU that asks hands a request over itself: another thread would wait for its turn with that.
        command.args(["-drive", drive, "-device", &format!("virtio-blk-pci,drive={id},ioeventfd=off")]);
    }
    for line in [&console, &results] {
        fs::write(line, "").with_context(|| format!("failed to write `{}`", line.display()))?;
        command.arg("-serial").arg(format!("file:{}", line.display()));
    }
    command.env("TMPDIR", folder).stdin(Stdio::null()).stdout(Stdio::null());
    let emulator = command.spawn().context("failed to start the emulator")?;
    Ok(Booted { emulator, started: Instant::now(), console, results })
}

/// Words of each kernel's command line. Pages are cleared by whoever needs that, and grace periods end at once: programs are
/// loaded and unloaded for each test.
const APPEND: &str = "console=ttyS0 panic=-1 quiet mitigations=off init_on_alloc=0 rcupdate.rcu_expedited=1";

/// A disk on which each read takes 20 ms, independent of all others.
const NULL_DISK: &str = "driver=null-co,node-name=slow,size=64M,latency-ns=20000000,read-zeroes=on,if=none";

impl Booted {
    /// Waits for its end; what it said, and how long it took. The error tells where its console is.
    pub fn end(mut self) -> Result<(String, Duration)> {
        let console = self.console.display().to_string();
        let status = loop {
            match self.emulator.try_wait().context("failed to wait for the emulator")? {
                Some(status) => break status,
                None if self.started.elapsed() >= LIMIT => {
                    bail!("it took longer than {} s; see `{console}`", LIMIT.as_secs())
                }
                None => thread::sleep(POLL),
            }
        };
        if !status.success() {
            bail!("the emulator ended with {status}; see `{console}`");
        }
        let said = fs::read(&self.results).with_context(|| format!("failed to read `{}`", self.results.display()))?;
        Ok((String::from_utf8_lossy(&said).replace('\r', ""), self.started.elapsed()))
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to stop.
        drop(self.emulator.kill());
        drop(self.emulator.wait());
    }
}
