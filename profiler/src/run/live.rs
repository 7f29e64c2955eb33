//! `profiler live`: this host on the terminal.

use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::batch::Batch;
use crate::cli::{LiveArgs, ScreenArgs, Theme as Colors};
use crate::error::Error;
use crate::finding;
use crate::model::{Model, Window};
use crate::run::attach::attach;
use crate::run::file::{self, Existing, Output};
use crate::run::{Exit, View, Wish, block_on, run};
use crate::source::Source;
use crate::source::record::Recorded;
use crate::view::report::{self, utc};
use crate::view::tui::{self, Feed, Glyphs, Mode, Mouse, Options, Palette, Theme};

/// Batches that wait for the screen. More would only be older when they are seen.
pub(super) const FEED_MAX: usize = 2;
/// Reports of the same second that get a name of their own.
const REPORTS_MAX: u32 = 100;

pub(super) fn main(args: &LiveArgs) -> Result<Exit, Error> {
    need_terminal("`profiler report` prints what was found, `profiler record` keeps it")?;
    if let Some(path) = &args.record {
        Output::check(path, Existing::Keep)?;
    }
    block_on(async {
        let source = attach(&args.observe)?;
        let Some(path) = &args.record else {
            let mut source = source;
            return show(&mut source, &args.screen).await;
        };
        let (output, file) = Output::create(path, Existing::Keep)?;
        let mut source = match Recorded::new(source, file, path) {
            Ok(source) => source,
            Err(error) => {
                output.discard();
                return Err(error);
            }
        };
        let exit = show(&mut source, &args.screen).await?;
        source.finish()?;
        Ok(exit)
    })
}

async fn show<S: Source>(source: &mut S, screen: &ScreenArgs) -> Result<Exit, Error> {
    let (sender, feed) = mpsc::channel(FEED_MAX);
    let model = Model::new(source.machine().clone(), Window::Recent);
    let mut on_report = write_report;
    let screen = tui::run(model, feed, options(screen, Mode::Live, None), &mut on_report);
    let (outcome, ()) = tokio::join!(screen, pump(source, sender));
    outcome.map(|_| Exit::Fine)
}

/// Feeds the screen until it is closed.
async fn pump<S: Source>(source: &mut S, sender: mpsc::Sender<Result<Feed, Error>>) {
    let closed = sender.clone();
    if let Err(error) = run(source, &mut ToScreen(&sender), closed.closed()).await {
        // A screen that is gone has no use for it.
        let _ = sender.send(Err(error)).await;
    }
}

/// A full channel makes the source wait.
struct ToScreen<'a>(&'a mpsc::Sender<Result<Feed, Error>>);

impl View for ToScreen<'_> {
    async fn show(&mut self, batch: Batch) -> Wish {
        match self.0.send(Ok(Feed::Batch(Box::new(batch)))).await {
            Ok(()) => Wish::More,
            Err(_) => Wish::Enough,
        }
    }
}

/// The screen needs a terminal; `instead` says what does not.
pub(super) fn need_terminal(instead: &str) -> Result<(), Error> {
    if io::stdout().is_terminal() {
        return Ok(());
    }
    let what = "the standard output is no terminal".to_owned();
    Err(Error::Refused { what, hint: instead.to_owned() })
}

/// How the screen runs.
pub(super) fn options(args: &ScreenArgs, mode: Mode, control: Option<mpsc::UnboundedSender<tui::Control>>) -> Options {
    let palette = match args.theme {
        Colors::Default => Palette::Default,
        Colors::Colorblind => Palette::ColorBlind,
        Colors::Mono => Palette::Mono,
    };
    let glyphs = if args.ascii { Glyphs::Ascii } else { Glyphs::Unicode };
    let mouse = if args.no_mouse { Mouse::Free } else { Mouse::Captured };
    Options { mode, theme: Theme { palette, glyphs }, mouse, control }
}

/// Writes a report of what is shown into the current folder; says where.
pub(super) fn write_report(model: &Model) -> Result<String, Error> {
    let text = report::text(model, &finding::all(model));
    let unix_ns = report::unix_ns(&model.machine, model.time.until);
    for copy in 1..REPORTS_MAX {
        let name = report_name(&model.machine.host, unix_ns, copy);
        let path = PathBuf::from(&name);
        match file::create_new(&path) {
            Ok(mut file) => {
                let written = file.write_all(text.as_bytes());
                written.map_err(|source| Error::File { act: "write", path, source })?;
                return Ok(format!("report written to {name}"));
            }
            Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let what = format!("there are {REPORTS_MAX} reports of this moment already");
    Err(Error::Refused { what, hint: "remove some".to_owned() })
}

fn report_name(host: &str, unix_ns: u64, copy: u32) -> String {
    // A host name comes from a capture, which may say anything.
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    let host: String = host.chars().map(safe).take(64).collect();
    let time = utc::rfc3339(unix_ns).replace(['-', ':'], "");
    let second = time.split('.').next().unwrap_or_default();
    let copy = if copy == 1 { String::new() } else { format!("-{copy}") };
    format!("profiler-report-{host}-{second}Z{copy}.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_named_after_host_and_moment() {
        let unix_ns = 1_767_225_600_250_000_000;
        assert_eq!(report_name("db-1.example", unix_ns, 1), "profiler-report-db-1.example-20260101T000000Z.txt");
        assert_eq!(report_name("../../etc/x\u{1b}", unix_ns, 2), "profiler-report-.._.._etc_x_-20260101T000000Z-2.txt");
    }
}
