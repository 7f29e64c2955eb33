//! `profiler record`: a host into a capture, for a while, until Ctrl-C, or as long as a command runs.

use std::io::{self, IsTerminal, Write};

use crate::cli::RecordArgs;
use crate::error::Error;
use crate::run::attach::attach;
use crate::run::file::{Existing, Output};
use crate::run::progress::{Progress, Watched};
use crate::run::signals::Signals;
use crate::run::{End, Exit, View, block_on, child, run};
use crate::source::Source;
use crate::source::record::Recorded;

pub(super) fn main(args: &RecordArgs) -> Result<Exit, Error> {
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    Output::check(&args.output, existing)?;
    block_on(async {
        // Until we are attached there is nothing to end cleanly, and no file to leave behind.
        let source = attach(&args.observe)?;
        let mut signals = Signals::listen()?;
        let (output, file) = Output::create(&args.output, existing)?;
        // The terminal of a command is its own.
        let is_watched = io::stderr().is_terminal() && args.command.is_empty();
        let watched = if is_watched { Watched::Yes } else { Watched::No };
        let progress = Progress::new(output, watched, args.duration);
        let source = match Recorded::new(source, file, &args.output) {
            Ok(source) => source,
            Err(error) => {
                progress.discard();
                return Err(error);
            }
        };
        if args.command.is_empty() {
            until_told(source, progress, &mut signals).await
        } else {
            along(args, source, progress, &mut signals).await
        }
    })
}

async fn until_told<S: Source + Send, W: Write + Send>(
    mut source: Recorded<S, W>,
    mut progress: Progress,
    signals: &mut Signals,
) -> Result<Exit, Error> {
    if let End::Stopped(_) = run(&mut source, &mut progress, signals.next()).await? {
        remains(&mut source, &mut progress).await?;
    }
    source.finish()?;
    progress.finish();
    Ok(Exit::Fine)
}

/// Whatever becomes of the recording, the command runs to its end: its work is worth more than our numbers.
async fn along<S: Source + Send, W: Write + Send>(
    args: &RecordArgs,
    mut source: Recorded<S, W>,
    mut progress: Progress,
    signals: &mut Signals,
) -> Result<Exit, Error> {
    let mut child = match child::start(&args.command) {
        Ok(child) => child,
        Err(error) => {
            progress.discard();
            return Err(error);
        }
    };
    let recorded = run(&mut source, &mut progress, child::ended(&mut child, signals)).await;
    let exit = match recorded {
        Ok(End::Stopped(exit)) => exit?,
        Ok(End::Source | End::View) => child::ended(&mut child, signals).await?,
        Err(error) => {
            child::ended(&mut child, signals).await?;
            return Err(error);
        }
    };
    // What the command did last is in the interval that goes on.
    remains(&mut source, &mut progress).await?;
    source.finish()?;
    progress.finish();
    Ok(exit)
}

/// Ends the source, and takes the interval that it was in.
async fn remains<S: Source + Send>(source: &mut S, progress: &mut Progress) -> Result<(), Error> {
    source.end();
    while let Some(batch) = source.next().await? {
        progress.show(batch).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::batch::{Batch, Machine, Timestamp};
    use crate::cli::{Cli, Command};
    use crate::source::replay::Replay;

    /// A host that is looked at every few milliseconds, or cannot be looked at any more.
    struct Host {
        machine: Machine,
        now: u64,
        fails_at: u64,
        ends_at: u64,
    }

    impl Source for Host {
        fn machine(&self) -> &Machine {
            &self.machine
        }

        fn end(&mut self) {
            self.ends_at = self.now + 1;
        }

        async fn next(&mut self) -> Result<Option<Batch>, Error> {
            if self.now >= self.ends_at {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.now += 1;
            if self.now == self.fails_at {
                return Err(Error::Io { act: "look".to_owned(), source: io::ErrorKind::Other.into() });
            }
            Ok(Some(Batch { from: Timestamp(self.now - 1), until: Timestamp(self.now), ..Batch::default() }))
        }
    }

    /// Records into a file of this name as long as a command runs. How it ended, and how many batches the file has.
    fn recorded(name: &str, fails_at: u64, command: &[&str]) -> (Result<Exit, String>, Option<usize>) {
        let path = std::env::temp_dir().join(format!("profiler-record-{}-{name}.cap", std::process::id()));
        let line =
            ["profiler", "record", "-o", path.to_str().unwrap(), "--"].into_iter().chain(command.iter().copied());
        let Some(Command::Record(args)) = Cli::try_parse_from(line).unwrap().command else { panic!("not record") };
        let exit = block_on(async {
            let mut signals = Signals::listen()?;
            let (output, file) = Output::create(&path, Existing::Keep)?;
            let source =
                Recorded::new(Host { machine: Machine::default(), now: 0, fails_at, ends_at: u64::MAX }, file, &path)?;
            along(&args, source, Progress::new(output, Watched::No, None), &mut signals).await
        });
        let batches = path.exists().then(|| batches(&path));
        let _ = std::fs::remove_file(&path);
        (exit.map_err(|error| error.to_string()), batches)
    }

    fn batches(path: &PathBuf) -> usize {
        let mut replay = Replay::new(std::fs::File::open(path).unwrap(), path).unwrap();
        let next = || block_on(replay.next()).unwrap();
        std::iter::from_fn(next).count()
    }

    #[test]
    fn the_interval_in_which_a_command_ends_is_recorded() {
        let (exit, batches) = recorded("quick", u64::MAX, &["true"]);
        assert_eq!(exit, Ok(Exit::Child(0)));
        assert!(batches.is_some_and(|batches| batches > 0));
    }

    #[test]
    fn it_exits_as_its_command() {
        assert_eq!(recorded("exit", u64::MAX, &["sh", "-c", "exit 7"]).0, Ok(Exit::Child(7)));
        assert_eq!(recorded("kill", u64::MAX, &["sh", "-c", "kill -9 $$"]).0, Ok(Exit::Child(137)));
    }

    #[test]
    fn a_command_that_cannot_start_leaves_nothing_behind() {
        let (exit, batches) = recorded("missing", u64::MAX, &["/no/such/command"]);
        assert!(exit.is_err_and(|error| error.starts_with("failed to start `/no/such/command`: ")));
        assert_eq!(batches, None);
    }

    #[test]
    fn a_failed_recording_lets_its_command_end() {
        let path = std::env::temp_dir().join(format!("profiler-record-{}-done", std::process::id()));
        let script = format!("sleep 0.2; : > '{}'", path.display());
        let (exit, batches) = recorded("failed", 3, &["sh", "-c", &script]);
        assert!(exit.is_err_and(|error| error.starts_with("failed to look")));
        assert_eq!(batches, Some(2));
        std::fs::remove_file(&path).unwrap();
    }
}
