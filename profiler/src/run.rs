//! What each command does. One loop drives every source, live, recorded or replayed, into every view.
//!
//! The commands below own the outside: files, signals, the terminal, standard output. Everything runs on one thread;
//! the sources that read the kernel have their own.
#![expect(clippy::disallowed_methods, reason = "commands open and create the files that they are asked for")]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::batch::Batch;
use crate::cli::{Cli, Command};
use crate::error::Error;
use crate::source::Source;

mod attach;
mod child;
mod doctor;
mod explain;
mod file;
mod floor;
mod live;
mod logger;
mod moment;
mod player;
mod progress;
mod record;
mod replay;
mod report;
mod signals;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// All is well.
    Fine,
    /// Something bad enough was found.
    Findings,
    /// It failed, and said why.
    Failed,
    /// Nothing was found, but not everything could be looked at.
    Inconclusive,
    /// As the command that was recorded.
    Child(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Findings => 1,
            Exit::Failed => 2,
            Exit::Inconclusive => 3,
            Exit::Child(code) => code,
        })
    }
}

/// The program: does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_run(&error),
    };
    let exit = dispatch(cli).unwrap_or_else(|error| {
        if error.is_broken_pipe() {
            return Exit::Fine;
        }
        say(&format!("error: {error}"));
        Exit::Failed
    });
    exit.into()
}

fn dispatch(cli: Cli) -> Result<Exit, Error> {
    match cli.command.unwrap_or(Command::Live(cli.live)) {
        Command::Live(args) => live::main(&args),
        Command::Record(args) => record::main(&args),
        Command::Replay(args) => replay::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Doctor(args) => doctor::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::Floor(args) => floor::main(&args),
    }
}

/// Help, the version, or what is wrong with the command line. Who reads it may be gone; that is fine.
fn not_run(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Fine.into(),
        _ => Exit::Failed.into(),
    }
}

/// What takes batches.
trait View {
    /// Takes the next one.
    async fn show(&mut self, batch: Batch) -> Wish;

    /// Another second has passed.
    fn second(&mut self) {}
}

/// What a view thinks of another batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Go on.
    More,
    /// It has all that it wants.
    Enough,
}

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
enum End<T> {
    /// There is no more to come.
    Source,
    /// The view has all that it wants.
    View,
    /// It was stopped from outside.
    Stopped(T),
}

/// Carries batches from a source to a view, until one of them has enough or `stop` is there. A slow view makes the
/// source wait, and the next interval longer; nothing is dropped.
async fn run<S: Source, T>(
    source: &mut S,
    view: &mut impl View,
    stop: impl Future<Output = T>,
) -> Result<End<T>, Error> {
    let mut stop = std::pin::pin!(stop);
    let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        // A batch that is there is taken before we stop: it is the interval that was asked for last.
        let batch = tokio::select! {
            biased;
            batch = source.next() => batch?,
            stopped = &mut stop => return Ok(End::Stopped(stopped)),
            _ = seconds.tick() => {
                view.second();
                continue;
            }
        };
        let Some(batch) = batch else { return Ok(End::Source) };
        if view.show(batch).await == Wish::Enough {
            return Ok(End::View);
        }
    }
}

/// Runs a command on this thread.
fn block_on<T>(task: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Io { act: "start".to_owned(), source })?;
    runtime.block_on(task)
}

/// Writes to standard output, for programs and people that read it.
fn print(text: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(|source| Error::Io { act: "write to the standard output".to_owned(), source })
}

/// Writes a line to standard error. If that is gone, there is nobody left to tell.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::batch::{Machine, Timestamp};

    /// So many batches, then the end.
    struct Some(u64);

    impl Source for Some {
        fn machine(&self) -> &Machine {
            unreachable!("nobody asks")
        }

        async fn next(&mut self) -> Result<Option<Batch>, Error> {
            let Self(left) = self;
            let batch = Batch { until: Timestamp(*left), ..Batch::default() };
            Ok(left.checked_sub(1).map(|less| {
                *left = less;
                batch
            }))
        }
    }

    /// Wants so many, and has seen so many.
    struct Counter(u64, u64);

    impl View for Counter {
        async fn show(&mut self, _batch: Batch) -> Wish {
            self.1 += 1;
            if self.1 < self.0 { Wish::More } else { Wish::Enough }
        }
    }

    fn check(batches: u64, wanted: u64, stop: impl Future<Output = ()>, end: &End<()>, seen: u64) {
        let mut view = Counter(wanted, 0);
        let found = block_on(run(&mut Some(batches), &mut view, stop)).unwrap();
        assert_eq!((&found, view.1), (end, seen));
    }

    #[test]
    fn the_loop_ends_with_whoever_ends_first() {
        check(3, 9, pending(), &End::Source, 3);
        check(9, 3, pending(), &End::View, 3);
        check(0, 9, ready(()), &End::Source, 0);
    }

    #[test]
    fn batches_that_are_there_come_before_the_stop() {
        check(3, 9, ready(()), &End::Source, 3);
    }
}
