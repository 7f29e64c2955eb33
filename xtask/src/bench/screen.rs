//! How long it takes until the first screen is there: `profiler live` in a terminal that tmux provides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::beside;
use crate::child;

const SCREEN_MAX: Duration = Duration::from_secs(15);
const START_MAX: Duration = Duration::from_secs(5);
const QUIT_MAX: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);

/// A tmux server of our own, killed when it goes out of scope, and with it what runs inside.
pub struct Terminal {
    tmux: PathBuf,
    socket: PathBuf,
    server: Child,
}

/// Milliseconds from the start until the header shows the host's name. A few of them are tmux's own. `folder` takes its
/// socket.
pub fn first_screen_ms(program: &Path, folder: &Path) -> Result<f64> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").context("failed to read the host's name")?;
    let terminal = Terminal::start(folder)?;
    let start = Instant::now();
    terminal.open(program, (160, 50))?;
    let mut last = String::new();
    while start.elapsed() < SCREEN_MAX {
        let Some(screen) = terminal.screen() else {
            bail!("it ended before its first screen{}", last_line(&last));
        };
        if screen.contains(host.trim()) {
            return Ok(start.elapsed().as_secs_f64() * 1e3);
        }
        if screen.contains(DEAD) {
            bail!("it ended before its first screen{}", last_line(&screen));
        }
        last = screen;
        thread::sleep(POLL);
    }
    bail!("no header within {} s{}", SCREEN_MAX.as_secs(), last_line(&last));
}

/// What tmux writes into a pane whose program has ended.
const DEAD: &str = "Pane is dead";

impl Terminal {
    /// The server stays in the foreground, as our child: it cannot outlive us. Where it ends, the terminal hangs up.
    pub fn start(folder: &Path) -> Result<Self> {
        let tmux = child::find_program("tmux").context("tmux is not installed")?;
        let socket = folder.join("tmux");
        let mut command = Command::new(&tmux);
        // An empty configuration: the user's own must not take part.
        command.arg("-S").arg(&socket).args(["-f", "/dev/null", "-D"]).env_remove("TMUX");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = beside::spawn(&mut command).context("failed to start tmux")?;
        let terminal = Self { tmux, socket, server };
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            // A dead pane stays, to show why.
            if child::answer(terminal.tmux().args(["set-option", "-g", "remain-on-exit", "on"])).is_some() {
                return Ok(terminal);
            }
            thread::sleep(POLL);
        }
        bail!("tmux did not start within {} s", START_MAX.as_secs());
    }

    /// Starts the live UI in a terminal of so many columns and rows.
    pub fn open(&self, program: &Path, (columns, rows): (u16, u16)) -> Result<()> {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut command = self.tmux();
        command.args(["new-session", "-d", "-x", &columns, "-y", &rows, "--"]).arg(program).arg("live");
        child::answer(&mut command).context("tmux failed to start a session")?;
        Ok(())
    }

    /// Types a key, by the name that tmux has for it, or a text.
    pub fn press(&self, key: &str) -> Result<()> {
        child::answer(self.tmux().args(["send-keys", key])).context("tmux failed to send a key")?;
        Ok(())
    }

    /// `None` once the session is gone.
    pub fn screen(&self) -> Option<String> {
        child::answer(self.tmux().args(["capture-pane", "-p"]))
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new(&self.tmux);
        command.arg("-S").arg(&self.socket).env_remove("TMUX");
        command
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        child::answer(self.tmux().args(["send-keys", "q"]));
        let deadline = Instant::now() + QUIT_MAX;
        while Instant::now() < deadline && self.screen().is_some_and(|screen| !screen.contains(DEAD)) {
            thread::sleep(POLL);
        }
        // Hangs up on a program that did not quit.
        child::answer(self.tmux().arg("kill-server"));
        beside::end(&mut self.server, QUIT_MAX);
    }
}

/// The last line with text before tmux's own, as the tail of a message.
fn last_line(screen: &str) -> String {
    let mut lines = screen.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(DEAD));
    lines.next_back().map(|line| format!(": {line}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_line_of_the_program() {
        assert_eq!(last_line("error: no\n\nPane is dead (status 2, now)\n\n"), ": error: no");
        assert_eq!(last_line("\n"), "");
    }
}
