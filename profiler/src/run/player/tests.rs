//! What a screen gets to see of a capture that is played.

use std::io::Cursor;
use std::path::Path;

use super::*;
use crate::batch::{Fact, Machine, ProcessFact, ProcessKey, TaskRow, Timestamp};
use crate::capture::Writer;
use crate::model::{Model, Window};

const BATCHES: u64 = 45;

fn process(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_ns: 1 }
}

fn named(pid: u32) -> Fact {
    Fact::Process(ProcessFact { process: process(pid), comm: format!("p{pid}"), ..ProcessFact::default() })
}

/// Process 1 lives throughout, process 2 only in the first interval; each is named once.
fn batch(number: u64) -> Batch {
    let task = |pid| TaskRow { process: process(pid), tid: pid, cpu_ns: number, ..TaskRow::default() };
    let (tasks, facts) = match number {
        0 => (vec![task(1), task(2)], vec![named(1), named(2), Fact::NetNamespace { netns: 7, name: "init".into() }]),
        _ => (vec![task(1)], Vec::new()),
    };
    Batch { from: Timestamp(number), until: Timestamp(number + 1), tasks, facts, ..Batch::default() }
}

fn machine() -> Machine {
    Machine { tick_ns: 1, ..Machine::default() }
}

fn capture(batches: u64) -> Timeline<Cursor<Vec<u8>>> {
    let mut writer = Writer::new(Vec::new(), &machine()).unwrap();
    (0..batches).for_each(|number| writer.write(&batch(number)).unwrap());
    Timeline::new(Cursor::new(writer.finish().unwrap()), Path::new("a.cap")).unwrap()
}

/// A screen that sends controls, then reads until the feed says that it has ended or nothing has come for long enough.
struct Screen {
    model: Model,
    rewinds: u32,
    ended: u32,
}

async fn watch(batches: u64, start: usize, play: Play, controls: &[Control]) -> Screen {
    let (sender, mut feed) = mpsc::channel(2);
    let (control, told) = mpsc::unbounded_channel();
    let mut player = Player::new(capture(batches), sender, play);
    let mut screen = Screen { model: Model::new(machine(), Window::Recent), rewinds: 0, ended: 0 };
    for wish in controls {
        control.send(*wish).unwrap();
    }
    let watch = async {
        // A player that waits to be told something has nothing more to say.
        while let Ok(item) = tokio::time::timeout(Duration::from_millis(300), feed.recv()).await {
            match item.unwrap().unwrap() {
                Feed::Batch(batch) => screen.model.apply(&batch),
                Feed::Rewind => {
                    screen.rewinds += 1;
                    screen.model = Model::new(machine(), Window::Recent);
                }
                Feed::Ended => screen.ended += 1,
            }
        }
        drop((control, feed));
    };
    tokio::join!(watch, player.run(start, told));
    screen
}

fn watched(batches: u64, start: usize, play: Play, controls: &[Control]) -> Screen {
    crate::run::block_on(async { Ok(watch(batches, start, play, controls).await) }).unwrap()
}

/// The model after a replay from the beginning up to an interval.
fn straight(last: u64) -> Model {
    let mut model = Model::new(machine(), Window::Recent);
    (0..=last).for_each(|number| model.apply(&batch(number)));
    model
}

#[test]
fn it_plays_to_the_end_and_says_so_once() {
    let screen = watched(BATCHES, 0, Play::Playing, &[]);
    assert_eq!((screen.model.time.batches, screen.rewinds, screen.ended), (BATCHES, 1, 1));
    let screen = watched(0, 0, Play::Playing, &[]);
    assert_eq!((screen.model.time.batches, screen.ended > 0), (0, true));
}

#[test]
fn a_jump_shows_what_a_replay_from_the_beginning_would() {
    for wanted in [0, 9, 10, 19, 20, 25, 31, 44] {
        let screen = watched(BATCHES, usize::try_from(wanted).unwrap(), Play::Paused, &[]);
        let straight = straight(wanted);
        assert_eq!(screen.model.time.until, straight.time.until, "{wanted}");
        assert_eq!(screen.model.time.window_ns, straight.time.window_ns, "{wanted}");
        assert_eq!(screen.model.namespaces, straight.namespaces, "{wanted}");
        let labels = |model: &Model| model.processes.keys().map(|key| model.label(*key)).collect::<Vec<_>>();
        assert_eq!(labels(&screen.model), labels(&straight), "{wanted}");
        let usage = |model: &Model| model.processes[&process(1)].threads[&1].usage.clone();
        assert_eq!(usage(&screen.model), usage(&straight), "{wanted}");
    }
}

#[test]
fn steps_go_both_ways_and_stop_at_the_ends() {
    for (by, until, rewinds) in [(1, 12, 1), (-1, 10, 2), (20, 31, 1), (1_000, 45, 2), (-1_000, 1, 2), (i64::MIN, 1, 2)]
    {
        let screen = watched(BATCHES, 10, Play::Playing, &[Control::Seek(by)]);
        assert_eq!((screen.model.time.until, screen.rewinds), (Timestamp(until), rewinds), "{by}");
    }
}

#[test]
fn steps_that_come_together_are_one_jump() {
    let screen = watched(BATCHES, 30, Play::Paused, &[Control::Seek(-1), Control::Seek(-1), Control::Seek(-1)]);
    assert_eq!((screen.model.time.until, screen.rewinds), (Timestamp(28), 2));
}

#[test]
fn it_goes_on_after_a_seek_if_told_so() {
    let controls = [Control::Seek(-1), Control::Speed(2.0), Control::Play(Play::Playing)];
    let screen = watched(BATCHES, 30, Play::Paused, &controls);
    assert_eq!((screen.model.time.until, screen.ended), (Timestamp(BATCHES), 1));
}
