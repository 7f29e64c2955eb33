//! Signals that ask us to end.

use std::mem::MaybeUninit;
use std::ptr;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// Ctrl-C, `kill`, and the terminal that goes away. From when this is made, they no longer end us by themselves.
pub(super) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Signals {
    /// Listens to those that were not ignored when we were started, as by `nohup`.
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind: SignalKind| (!is_ignored(kind.as_raw_value())).then(|| signal(kind)).transpose();
        let listen = |kind| listen(kind).map_err(|source| Error::Io { act: "listen to signals".to_owned(), source });
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one, by number.
    pub async fn next(&mut self) -> libc::c_int {
        tokio::select! {
            () = received(&mut self.interrupt) => libc::SIGINT,
            () = received(&mut self.terminate) => libc::SIGTERM,
            () = received(&mut self.hangup) => libc::SIGHUP,
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action this only writes the present one into memory that is ours and large enough.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros are a valid `sigaction`, and the call above has written nothing else.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
