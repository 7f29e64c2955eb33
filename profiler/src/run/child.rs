//! The command that a recording lasts as long as.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::process::{Child, Command};

use crate::error::Error;
use crate::run::signals::Signals;
use crate::run::{Exit, file};

/// What a shell adds to the number of the signal that ended a command.
const SIGNALED: i32 = 128;

/// Starts it. It has our terminal, and our standard streams.
pub(super) fn start(command: &[OsString]) -> Result<Child, Error> {
    let (program, arguments) = command.split_first().unwrap_or((const { &OsString::new() }, &[]));
    Command::new(program)
        .args(arguments)
        .spawn()
        .map_err(|source| Error::Io { act: format!("start `{}`", program.display()), source })
}

/// Waits until it ends, and passes on the signals that come meanwhile.
pub(super) async fn ended(child: &mut Child, signals: &mut Signals) -> Result<Exit, Error> {
    loop {
        tokio::select! {
            status = child.wait() => return status.map(exit).map_err(lost),
            signal = signals.next() => pass_on(child, signal),
        }
    }
}

fn pass_on(child: &Child, signal: libc::c_int) {
    // The terminal sends its own signals to all of its foreground: to us and to the command. Many programs take a
    // second Ctrl-C for "at once, without cleaning up".
    if signal != libc::SIGTERM && is_foreground() {
        return;
    }
    if let Some(pid) = child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
        // SAFETY: it has no preconditions, and the process is not yet reaped, so that its id is no one else's.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Whether our process group is the one that the terminal's keys interrupt.
fn is_foreground() -> bool {
    use std::os::fd::AsRawFd;
    let Ok(terminal) = file::open("/dev/tty".as_ref()) else { return false };
    // SAFETY: neither has preconditions; the descriptor is open.
    unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) == libc::getpgrp() }
}

fn exit(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| Some(SIGNALED + status.signal()?));
    Exit::Child(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

fn lost(source: io::Error) -> Error {
    Error::Io { act: "wait for the command".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_the_code_that_a_shell_would_give() {
        let wait_status = |raw| exit(ExitStatus::from_raw(raw));
        assert_eq!(wait_status(0), Exit::Child(0));
        assert_eq!(wait_status(3 << 8), Exit::Child(3));
        assert_eq!(wait_status(libc::SIGKILL), Exit::Child(137));
    }
}
