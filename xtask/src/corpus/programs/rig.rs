//! What a scenario is made of: a folder, devices, network namespaces, processes. All of it is undone in reverse order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::{beside, os};
use crate::child;

/// Longer than any step of setting up takes.
pub const STEP_MAX: Duration = Duration::from_mins(1);
/// A process that has been asked to end may take so long.
const STOP_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
const THROTTLE: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device";

/// The address of the server's end of a cable.
pub const SERVER: &str = "10.77.0.1";
const CLIENT: &str = "10.77.0.2";

/// How to undo a step.
enum Undo {
    Folder(PathBuf),
    Run(Command),
    Write(&'static str, String),
    Stop(String, Child),
}

/// Everything that a scenario has set up so far.
pub struct Rig {
    /// Scratch, readable by all.
    pub folder: PathBuf,
    undo: Vec<Undo>,
}

impl Rig {
    pub fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("profiler-{name}-{}", process::id()));
        fs::create_dir(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
        let rig = Self { folder: folder.clone(), undo: vec![Undo::Folder(folder.clone())] };
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).context("failed to open the folder to all")?;
        Ok(rig)
    }

    /// The scratch folder as text.
    pub fn path(&self) -> Result<&str> {
        self.folder.to_str().context("the path of the scratch folder is not text")
    }

    /// Starts what goes on until the end. What it says is in a file of this name.
    pub fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let path = self.folder.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
        let errors = log.try_clone().with_context(|| format!("failed to open `{}`", path.display()))?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = beside::spawn(command).with_context(|| format!("failed to start `{}`", child::shown(command)))?;
        self.undo.push(Undo::Stop(name.to_owned(), child));
        Ok(())
    }

    /// Waits, as long as all goes on that has been started.
    pub fn pause(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.check()?;
            thread::sleep(POLL);
        }
        self.check()
    }

    /// Waits until something holds.
    pub fn until(&mut self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + STOP_MAX;
        while !holds() {
            ensure!(Instant::now() < deadline, "{what} took too long");
            self.pause(POLL)?;
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        ensure!(!os::was_interrupted(), "interrupted");
        for undo in &mut self.undo {
            let Undo::Stop(name, child) = undo else { continue };
            if let Some(status) = child.try_wait().context("failed to wait")? {
                let said = fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
                bail!("{name} has ended too early ({status}): {}", said.trim());
            }
        }
        Ok(())
    }

    /// ext4 on a disk of so many MiB: where it is mounted, and what [`Self::slow_down`] takes.
    ///
    /// It is a loop device over a loop device, so that what slows the lower one down is device time of the upper one.
    pub fn disk(&mut self, mebibytes: u64) -> Result<(PathBuf, String)> {
        let (file, mount) = (format!("{}/disk", self.path()?), format!("{}/mount", self.path()?));
        call(&["fallocate", "-l", &format!("{mebibytes}MiB"), &file])?;
        let below = self.attach(&file)?;
        let above = self.attach(&below)?;
        call(&["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", &above])?;
        fs::create_dir(&mount).with_context(|| format!("failed to create `{mount}`"))?;
        call(&["mount", &above, &mount])?;
        self.undo.push(Undo::Run(command(&["umount", &mount])));
        Ok((mount.into(), below))
    }

    fn attach(&mut self, below: &str) -> Result<String> {
        let device = call(&["losetup", "--direct-io=on", "--find", "--show", below])?.trim().to_owned();
        self.undo.push(Undo::Run(command(&["losetup", "--detach", &device])));
        Ok(device)
    }

    /// From now on a device takes so many writes per second.
    pub fn slow_down(&mut self, device: &str, writes: u32) -> Result<()> {
        let name = Path::new(device).file_name().unwrap_or_default().to_string_lossy();
        let file = format!("/sys/class/block/{name}/dev");
        let number = fs::read_to_string(&file).with_context(|| format!("failed to read `{file}`"))?;
        self.undo.push(Undo::Write(THROTTLE, format!("{} 0", number.trim())));
        let set = fs::write(THROTTLE, format!("{} {writes}", number.trim()));
        set.context("failed to slow down the disk, which needs the controller blkio of cgroup 1")
    }

    /// Two network namespaces, the server's and the client's, with a cable between them.
    pub fn cable(&mut self) -> Result<[String; 2]> {
        let names = ["s", "c"].map(|end| format!("profiler{}{end}", process::id()));
        for name in &names {
            call(&["ip", "netns", "add", name])?;
            self.undo.push(Undo::Run(command(&["ip", "netns", "delete", name])));
        }
        let [server, client] = &names;
        let peer = ["peer", "name", "cable", "netns", client];
        call(&[&["ip", "-n", server, "link", "add", "cable", "type", "veth"], &peer[..]].concat())?;
        for (name, address) in [(server, SERVER), (client, CLIENT)] {
            call(&["ip", "-n", name, "address", "add", &format!("{address}/24"), "dev", "cable"])?;
            call(&["ip", "-n", name, "link", "set", "lo", "up"])?;
            call(&["ip", "-n", name, "link", "set", "cable", "up"])?;
        }
        Ok(names)
    }

    /// What has been started and its descendants, with their command lines.
    pub fn processes(&self) -> Result<BTreeMap<u64, String>> {
        let started = self.undo.iter().filter_map(|undo| match undo {
            Undo::Stop(_, child) => Some(u64::from(child.id())),
            _ => None,
        });
        let (mut found, parents): (Vec<_>, _) = (started.collect(), parents()?);
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        // Who has ended meanwhile has no command line.
        let line = |pid: &u64| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = |pid: &u64| String::from_utf8_lossy(&line(pid)).replace('\0', " ");
        Ok(found.iter().map(|pid| (*pid, text(pid))).collect())
    }

    /// Undoes everything; the first failure is told, and what can be undone still is.
    pub fn end(mut self) -> Result<()> {
        self.undo_all()
    }

    fn undo_all(&mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(undo) = self.undo.pop() {
            result = result.and(undo.now());
        }
        result
    }
}

/// Runs a step to its end; what it printed.
pub fn run(command: &mut Command, limit: Duration) -> Result<String> {
    ensure!(!os::was_interrupted(), "interrupted");
    let shown = child::shown(command);
    beside::output(command, limit).with_context(|| format!("`{shown}` failed"))
}

/// The same of words.
pub fn call(words: &[&str]) -> Result<String> {
    run(&mut command(words), STEP_MAX)
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Err(error) = self.undo_all() {
            eprintln!("warning: {error:#}");
        }
    }
}

impl Undo {
    fn now(self) -> Result<()> {
        match self {
            Self::Folder(path) => {
                fs::remove_dir_all(&path).with_context(|| format!("failed to remove `{}`", path.display()))
            }
            Self::Run(mut command) => child::run(&mut command),
            Self::Write(path, text) => fs::write(path, text).with_context(|| format!("failed to write `{path}`")),
            Self::Stop(name, child) => stop(child).then_some(()).with_context(|| format!("{name} had to be killed")),
        }
    }
}

/// Has a process and its group end; whether asking was enough.
fn stop(mut child: Child) -> bool {
    let group = child.id();
    // Its number is ours as long as it has not been waited for, and then as long as somebody of the group is there.
    if matches!(child.try_wait(), Ok(None)) {
        os::signal_group(group, libc::SIGTERM);
    }
    let ended = beside::end(&mut child, STOP_MAX).is_some();
    let deadline = Instant::now() + STOP_MAX;
    while os::signal_group(group, 0) {
        if Instant::now() >= deadline {
            os::signal_group(group, libc::SIGKILL);
            return false;
        }
        thread::sleep(POLL);
    }
    ended
}

fn command(words: &[&str]) -> Command {
    let program = words.first().copied().unwrap_or_default();
    let mut command = Command::new(child::find_program(program).unwrap_or_else(|| program.into()));
    command.args(words.iter().skip(1));
    command
}

/// The parent of each process of this host.
fn parents() -> Result<BTreeMap<u64, u64>> {
    let entries = fs::read_dir("/proc").context("failed to list `/proc`")?.flatten();
    let parent = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        Some((pid, rest.split(' ').nth(1)?.parse().ok()?))
    };
    Ok(entries.filter_map(parent).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_started_is_gone_at_the_end() {
        let mut rig = Rig::new("test").unwrap();
        let folder = rig.folder.clone();
        rig.start("sleeper", Command::new("sh").args(["-c", "sleep 60; true"])).unwrap();
        let processes = rig.processes().unwrap();
        assert!(processes.values().any(|line| line.starts_with("sh -c")), "{processes:?}");
        rig.end().unwrap();
        assert!(!folder.exists());
        assert!(processes.keys().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()), "{processes:?}");
    }

    #[test]
    fn who_ends_too_early_is_told_with_what_it_said() {
        let mut rig = Rig::new("test-early").unwrap();
        rig.start("server", Command::new("sh").args(["-c", "echo no room; exit 3"])).unwrap();
        let error = rig.pause(STOP_MAX).unwrap_err().to_string();
        assert_eq!(error, "server has ended too early (exit status: 3): no room");
    }
}
