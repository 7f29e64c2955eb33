//! How long it takes until the first screen is there: `profiler live` in a terminal that tmux provides.

use std::fs;
use std::path::Path;
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child;

const SCREEN_MAX: Duration = Duration::from_secs(15);
const QUIT_MAX: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);

/// A tmux server of our own, killed when it goes out of scope, and with it what runs inside.
struct Terminal {
    tmux: std::path::PathBuf,
    socket: String,
}

/// Milliseconds from the start until the header shows the host's name. The start of tmux, some 10 ms, is in it.
pub fn first_screen_ms(program: &Path) -> Result<f64> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").context("failed to read the host's name")?;
    let tmux = child::find_program("tmux").context("tmux is not installed")?;
    let terminal = Terminal { tmux, socket: format!("profiler-bench-{}", process::id()) };
    let start = Instant::now();
    terminal.open(program)?;
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
    fn open(&self, program: &Path) -> Result<()> {
        let mut command = self.tmux();
        // An empty configuration: the user's own must not take part. A dead pane stays, to show why.
        command.args(["-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "50", "--"]).arg(program).arg("live");
        command.args([";", "set-option", "remain-on-exit", "on"]);
        child::answer(&mut command).context("tmux failed to start a session")?;
        Ok(())
    }

    /// `None` once the session is gone.
    fn screen(&self) -> Option<String> {
        child::answer(self.tmux().args(["capture-pane", "-p"]))
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new(&self.tmux);
        command.args(["-L", &self.socket]).env_remove("TMUX");
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
