//! What is pressed on the terminal.
#![expect(clippy::disallowed_methods, reason = "a terminal is read by blocking, which must not stop the loop")]

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;

/// Keys that may wait; more are not typed in the time of a drawing.
const EVENTS_MAX: usize = 64;
/// How often we look whether keys are still wanted.
const POLL: Duration = Duration::from_millis(100);

/// A thread that reads the terminal, because reading blocks.
pub struct Keys {
    /// What was pressed. Closed when the terminal is gone.
    pub events: mpsc::Receiver<Event>,
    wanted: Arc<AtomicBool>,
    /// Says nothing, and is closed when the thread ends.
    ended: blocking::Receiver<()>,
}

impl Keys {
    /// Begins to read.
    pub fn listen() -> io::Result<Self> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (ends, ended) = blocking::channel();
        let wanted = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&wanted);
        let terminal = Readable::new()?;
        std::thread::spawn(move || {
            let _ends: blocking::Sender<()> = ends;
            while still.load(Ordering::Relaxed) && terminal.wait(POLL) {
                match event::poll(Duration::ZERO).and_then(|ready| ready.then(event::read).transpose()) {
                    Ok(None) => {}
                    Ok(Some(event)) => match sender.blocking_send(event) {
                        Ok(()) => {}
                        Err(_) => return,
                    },
                    Err(_) => return,
                }
            }
        });
        Ok(Self { events, wanted, ended })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        self.events.close();
        // Whoever runs next may want the keys, so wait until we no longer take them; but not for one who reads a terminal that
        // is gone.
        let _ = self.ended.recv_timeout(4 * POLL);
    }
}

/// The terminal that keys are read from. Of one that hangs up, `event::poll` would read nothing for ever, as fast as it can.
struct Readable(Option<File>);

impl Readable {
    /// As `event::poll` chooses it.
    fn new() -> io::Result<Self> {
        if io::stdin().is_terminal() { Ok(Self(None)) } else { File::open("/dev/tty").map(|file| Self(Some(file))) }
    }

    /// Waits until there may be something to read; whether the terminal is still there.
    fn wait(&self, most: Duration) -> bool {
        let descriptor = self.0.as_ref().map_or(libc::STDIN_FILENO, AsRawFd::as_raw_fd);
        let mut terminal = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid structure. That a signal interrupts it is fine.
        unsafe { libc::poll(&raw mut terminal, 1, most.as_millis().try_into().unwrap_or(0)) };
        terminal.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) == 0
    }
}
