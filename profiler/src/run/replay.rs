//! `profiler replay`: a capture on the terminal.

use tokio::sync::mpsc;

use crate::batch::Timestamp;
use crate::capture::Timeline;
use crate::cli::ReplayArgs;
use crate::error::Error;
use crate::model::{Model, Window};
use crate::run::live::{FEED_MAX, need_terminal, options, write_report};
use crate::run::player::Player;
use crate::run::report::warn_of_damage;
use crate::run::{Exit, block_on, file, moment};
use crate::view::tui::{self, Mode, Play, Playback};

pub(super) fn main(args: &ReplayArgs) -> Result<Exit, Error> {
    // What is no capture is none with or without a terminal.
    let timeline = Timeline::new(file::open(&args.file)?, &args.file)?;
    need_terminal("`profiler report FILE` prints what was found")?;
    let machine = timeline.machine().clone();
    let starts: Vec<Timestamp> = timeline.moments().iter().map(|moment| moment.from).collect();
    let end = timeline.moments().last().map(|moment| moment.until).unwrap_or_default();
    let start = args.at.as_ref().map_or(0, |at| moment::index_at(at, &machine, &starts, end));
    let play = if args.at.is_some() { Play::Paused } else { Play::Playing };
    let (control, controls) = mpsc::unbounded_channel();
    let (sender, feed) = mpsc::channel(FEED_MAX);
    let options = options(&args.screen, Mode::Replay(Playback { end, speed: 0, play }), Some(control));
    let model = Model::new(machine, Window::Recent);
    let mut player = Player::new(timeline, sender, play);
    let outcome = block_on(async {
        let mut on_report = write_report;
        let screen = tui::run(model, feed, options, &mut on_report);
        let (outcome, ()) = tokio::join!(screen, player.run(start, controls));
        outcome
    });
    if let Some(damage) = player.damage() {
        warn_of_damage(&args.file, damage);
    }
    outcome.map(|_| Exit::Fine)
}
