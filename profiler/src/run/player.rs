//! Plays a capture to the screen at the pace at which it was recorded, and jumps in it.
//!
//! A jump lets the model start over with the intervals before the moment that is wanted: as many as its window has, so
//! that its numbers are those of a replay from the beginning.

use std::io::{Read, Seek};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::capture::{Damage, Timeline};
use crate::error::Error;
use crate::model::time::GENERATION;
use crate::run::player::names::Names;
use crate::view::tui::{Control, Feed, Play};

mod names;

/// Longest wait between two intervals, in intervals: nobody wants to watch a host that was suspended.
const PAUSE_TICKS_MAX: u64 = 3;
/// Length of an interval where a capture does not tell.
const TICK_NS: u64 = 1_000_000_000;
/// As far ahead, the intervals in between are shown; farther, it jumps.
const STEP_MAX: usize = 2 * LOOK_BACK;
/// Intervals that the model forgets at a time.
#[expect(clippy::cast_possible_truncation, reason = "it is 10")]
const LOOK_BACK: usize = GENERATION as usize;

/// A capture that is played.
pub(super) struct Player<R> {
    timeline: Timeline<R>,
    feed: mpsc::Sender<Result<Feed, Error>>,
    names: Names,
    /// The interval that comes next.
    next: usize,
    play: Play,
    speed: f64,
    /// When the last one was shown.
    shown_at: Instant,
}

/// The screen was closed.
struct Closed;

impl<R: Read + Seek> Player<R> {
    /// Plays, or waits.
    pub fn new(timeline: Timeline<R>, feed: mpsc::Sender<Result<Feed, Error>>, play: Play) -> Self {
        Self { timeline, feed, names: Names::default(), next: 0, play, speed: 1.0, shown_at: Instant::now() }
    }

    /// What could not be read so far.
    pub fn damage(&self) -> Option<&Damage> {
        self.timeline.damage()
    }

    /// Shows the interval `start`, then goes on as it is told until the screen is closed.
    pub async fn run(&mut self, start: usize, mut controls: mpsc::UnboundedReceiver<Control>) {
        // Whoever closes the screen ends us, wherever we are.
        let _ = self.follow(start, &mut controls).await;
    }

    async fn follow(&mut self, start: usize, controls: &mut mpsc::UnboundedReceiver<Control>) -> Result<(), Closed> {
        self.jump(start).await?;
        loop {
            tokio::select! {
                control = controls.recv() => self.obey(control.ok_or(Closed)?, controls).await?,
                () = at(self.due()) => self.step().await?,
            }
        }
    }

    /// When the next interval is shown; `None`: not before we are told.
    fn due(&self) -> Option<Instant> {
        (self.play == Play::Playing).then(|| self.shown_at + pause(&self.timeline, self.next).div_f64(self.speed))
    }

    /// Does what we are told, and whatever else is waiting: a key that is held down becomes one jump.
    async fn obey(&mut self, first: Control, controls: &mut mpsc::UnboundedReceiver<Control>) -> Result<(), Closed> {
        let mut control = Some(first);
        let mut by = None;
        while let Some(told) = control {
            match told {
                Control::Play(play) => self.play = play,
                Control::Speed(factor) => self.speed = factor,
                Control::Seek(more) => {
                    by = Some(by.unwrap_or(0_i64).saturating_add(more));
                    self.play = Play::Paused;
                }
            }
            control = controls.try_recv().ok();
        }
        match by {
            Some(by) => self.seek(by).await,
            None => Ok(()),
        }
    }

    async fn seek(&mut self, by: i64) -> Result<(), Closed> {
        let shown = self.next.saturating_sub(1);
        let by = isize::try_from(by).unwrap_or(if by < 0 { isize::MIN } else { isize::MAX });
        let wanted = shown.saturating_add_signed(by);
        if wanted < shown || wanted > shown.saturating_add(STEP_MAX) {
            return self.jump(wanted).await;
        }
        for _ in shown..wanted {
            self.step().await?;
        }
        Ok(())
    }

    /// Shows the next interval; at the end, says so.
    async fn step(&mut self) -> Result<(), Closed> {
        self.shown_at = Instant::now();
        if self.next >= self.timeline.moments().len() {
            self.play = Play::Ended;
            return self.send(Ok(Feed::Ended)).await;
        }
        match self.take().await? {
            Some(batch) => self.send(Ok(Feed::Batch(Box::new(batch)))).await,
            // Damaged: the next one takes its place.
            None => Ok(()),
        }
    }

    /// Shows an interval, or the last one, with as much before it as the model looks back on.
    async fn jump(&mut self, wanted: usize) -> Result<(), Closed> {
        let len = self.timeline.moments().len();
        if len == 0 {
            return self.step().await;
        }
        let wanted = wanted.min(len - 1);
        let first = window_start(wanted);
        // Names are told once, so that what lies between has to be read at least once.
        self.next = self.names.told().min(first);
        while self.next < first {
            self.take().await?;
        }
        let mut batches = Vec::new();
        while self.next <= wanted {
            batches.extend(self.take().await?);
        }
        self.names.put_before(first, &mut batches);
        self.send(Ok(Feed::Rewind)).await?;
        for batch in batches {
            self.send(Ok(Feed::Batch(Box::new(batch)))).await?;
        }
        self.shown_at = Instant::now();
        Ok(())
    }

    /// Reads the next interval; `None`: it is damaged.
    async fn take(&mut self) -> Result<Option<Batch>, Closed> {
        // Reading takes a while, and the screen has but this thread.
        tokio::task::yield_now().await;
        let index = self.next;
        self.next += 1;
        match self.timeline.batch_at(index) {
            Ok(batch) => {
                self.names.learn(index, batch.as_ref().map_or(&[], |batch| &batch.facts));
                Ok(batch)
            }
            Err(error) => {
                self.send(Err(error)).await?;
                Err(Closed)
            }
        }
    }

    async fn send(&mut self, item: Result<Feed, Error>) -> Result<(), Closed> {
        self.feed.send(item).await.map_err(|_| Closed)
    }
}

/// The first interval that has a part in what the model shows of `index`: it forgets a generation at a time.
fn window_start(index: usize) -> usize {
    (index / LOOK_BACK).saturating_sub(1) * LOOK_BACK
}

/// How long after the one before an interval came, at the pace of the recording.
fn pause<R: Read + Seek>(timeline: &Timeline<R>, index: usize) -> Duration {
    let tick_ns = match timeline.machine().tick_ns {
        0 => TICK_NS,
        tick_ns => tick_ns,
    };
    let moments = timeline.moments();
    let (Some(before), Some(next)) = (index.checked_sub(1).and_then(|before| moments.get(before)), moments.get(index))
    else {
        return Duration::ZERO;
    };
    Duration::from_nanos(next.until.since(before.until).min(tick_ns.saturating_mul(PAUSE_TICKS_MAX)))
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
