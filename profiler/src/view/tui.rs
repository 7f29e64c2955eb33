//! The terminal user interface: a loop that turns what happens into messages, and effects into what must happen.
//!
//! Batches come through a channel from whoever owns the source; keys come from a thread of their own. The loop owns
//! model and state, and draws after a message, at most [`FRAME`] apart.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::Event;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::batch::Batch;
use crate::error::Error;
use crate::model::Model;
use crate::view::tui::app::session::Session;
use crate::view::tui::app::{App, Effect, Msg, Notice, NoticeKind};
use crate::view::tui::keys::Keys;
use crate::view::tui::terminal::Guard;

pub mod app;
#[cfg(test)]
mod fixture;
pub mod keymap;
mod keys;
pub mod screen;
mod terminal;
pub mod theme;
mod widget;

pub use app::{Mode, Play, Playback};
pub use terminal::Mouse;
pub use theme::{Glyphs, Palette, Theme};

/// Least time between two drawings.
const FRAME: Duration = Duration::from_millis(100);

/// What the source sends.
#[derive(Clone, Debug)]
pub enum Feed {
    /// The next interval.
    Batch(Box<Batch>),
    /// A replay starts over: forget everything; the batches that follow rebuild what is known up to the moment that
    /// was asked for.
    Rewind,
    /// The capture is at its end. The channel stays open, since a replay may go back.
    Ended,
}

/// What a replay is asked to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Control {
    /// Go on, or wait.
    Play(Play),
    /// Show the moment that is this many intervals later (earlier, if negative), then wait.
    Seek(i64),
    /// Go this many times as fast as it happened.
    Speed(f64),
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Live, or a replay.
    pub mode: Mode,
    /// Colors and glyphs.
    pub theme: Theme,
    /// Whose the mouse is.
    pub mouse: Mouse,
    /// Where wishes of a replay go.
    pub control: Option<mpsc::UnboundedSender<Control>>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The model as it was last: for a summary after the screen is gone.
    pub model: Model,
}

/// Runs until the user leaves or a signal ends us. `on_report` writes a report of a model and says where.
pub async fn run(
    model: Model,
    mut feed: mpsc::Receiver<Result<Feed, Error>>,
    options: Options,
    on_report: &mut dyn FnMut(&Model) -> Result<String, Error>,
) -> Result<Outcome, Error> {
    let mut world = World::open(&options).map_err(failed)?;
    let blank = model.clone();
    let mut session = Session::new(model, App::new(options.mode, options.theme));
    session.handle(world.guard.size().map_err(failed)?);
    let mut feeding = true;
    let mut due = Some(Instant::now());
    loop {
        let effects = tokio::select! {
            biased;
            () = at(due) => {
                session.refresh();
                world.guard.draw(&session.view, &session.app).map_err(failed)?;
                world.drawn = Instant::now();
                due = None;
                continue;
            }
            msg = world.next() => session.handle(msg),
            item = feed.recv(), if feeding => match item.transpose()? {
                Some(Feed::Batch(batch)) => {
                    session.learn(&batch);
                    Vec::new()
                }
                Some(Feed::Rewind) => {
                    session.rewind(&blank);
                    Vec::new()
                }
                Some(Feed::Ended) => session.handle(Msg::Ended),
                None => {
                    feeding = false;
                    session.handle(Msg::Ended)
                }
            },
        };
        due = due.or(Some(world.drawn + FRAME));
        for effect in effects {
            match effect {
                Effect::Quit => return Ok(Outcome { model: session.into_model() }),
                Effect::Suspend => world.guard.suspend().map_err(failed)?,
                Effect::WriteReport => {
                    let notice = notice(on_report(session.shown()));
                    session.handle(Msg::Notice(notice));
                }
                // The session has done it.
                Effect::SetFrozen(_) => {}
                Effect::SetPlay(play) => options.send(Control::Play(play)),
                Effect::Seek(by) => options.send(Control::Seek(by)),
                Effect::Speed(factor) => options.send(Control::Speed(factor)),
            }
        }
    }
}

impl Options {
    fn send(&self, control: Control) {
        if let Some(sender) = &self.control {
            // A source that is gone has ended, and that is on the screen already.
            let _ = sender.send(control);
        }
    }
}

/// Everything outside that can interrupt us.
struct World {
    guard: Guard,
    keys: Keys,
    signals: [Signal; 3],
    ticks: Interval,
    drawn: Instant,
}

impl World {
    fn open(options: &Options) -> io::Result<Self> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self {
            signals: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::interrupt())?,
            ],
            guard: Guard::new(options.mouse)?,
            keys: Keys::listen()?,
            ticks,
            drawn: Instant::now(),
        })
    }

    async fn next(&mut self) -> Msg {
        let [terminate, hangup, interrupt] = &mut self.signals;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Msg::Quit,
                _ = hangup.recv() => return Msg::Quit,
                _ = interrupt.recv() => return Msg::Quit,
                _ = self.ticks.tick() => return Msg::Tick,
                event = self.keys.events.recv() => match event {
                    Some(Event::Key(key)) => return Msg::Key(key),
                    Some(Event::Mouse(mouse)) => return Msg::Mouse(mouse),
                    Some(Event::Resize(width, height)) => return Msg::Resized(width, height),
                    Some(_) => {}
                    // The terminal is gone.
                    None => return Msg::Quit,
                },
            }
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn notice(result: Result<String, Error>) -> Notice {
    match result {
        Ok(text) => Notice { text, kind: NoticeKind::Done },
        // One line is all there is; the hint is on the second.
        Err(error) => Notice { text: error.to_string().replace('\n', "; "), kind: NoticeKind::Failed },
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io { act: "use the terminal".into(), source }
}
