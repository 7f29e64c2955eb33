//! Whole screens as text, at three sizes and in every state. Colors have tests of their own.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use crate::batch::ProbeStatus;
use crate::finding::DETECTORS;
use crate::model::fixture::batch;
use crate::model::{Model, Window};
use crate::view::tui::app::session::Session;
use crate::view::tui::app::{Mode, Msg, Notice, NoticeKind, Play, Playback};
use crate::view::tui::fixture::{diagnosed, drawn, end, learn, lossy, model, press, session};
use crate::view::tui::screen::draw;
use crate::view::tui::theme::{Glyphs, Palette, Theme};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (120, 40);
const HOSTILE: (u16, u16) = (40, 10);

fn shot(name: &str, session: &Session) {
    insta::assert_snapshot!(name, drawn(session).backend());
}

fn live(size: (u16, u16)) -> Session {
    session(model(14), Mode::Live, size)
}

fn replay(play: Play) -> Mode {
    Mode::Replay(Playback { end: end(), speed: 2, play })
}

#[test]
fn every_screen_at_every_size() {
    for (size, label) in [(SMALL, "80x24"), (LARGE, "120x40"), (HOSTILE, "40x10")] {
        shot(&format!("overview_{label}"), &diagnosed(size, 14));
        for (key, name) in [("2", "processes"), ("3", "disks"), ("4", "files"), ("5", "tcp"), ("6", "syscalls")] {
            let mut session = live(size);
            press(&mut session, key);
            shot(&format!("{name}_{label}"), &session);
        }
    }
}

#[test]
fn a_wide_terminal_shows_every_column() {
    let mut session = live((200, 24));
    press(&mut session, "2>>r");
    shot("processes_200x24", &session);
}

#[test]
fn partitions_below_the_disks() {
    let mut session = live((180, 30));
    press(&mut session, "3]]]");
    shot("partitions", &session);
}

#[test]
fn journals_below_the_disks() {
    let mut session = live((140, 30));
    press(&mut session, "3]]]]");
    shot("journals", &session);
}

#[test]
fn requests_in_the_place_of_connections() {
    let mut session = live((200, 30));
    press(&mut session, "5]]]");
    shot("requests", &session);
}

#[test]
fn connections_by_peer_where_those_one_by_one_were() {
    let mut session = live((250, 20));
    press(&mut session, "5]");
    shot("peers", &session);
}

#[test]
fn a_healthy_host_has_no_findings() {
    let batches: Vec<_> = (0..14).map(batch).collect();
    let idle = crate::model::fixture::model(Window::Recent, &batches);
    shot("overview_healthy", &session(idle, Mode::Live, SMALL));
}

#[test]
fn what_cannot_be_told_is_a_result() {
    let mut machine = crate::model::fixture::machine();
    machine.probes =
        DETECTORS[0].needs.iter().map(|name| ProbeStatus { name: (*name).into(), ..ProbeStatus::default() }).collect();
    let mut model = Model::new(machine, Window::Recent);
    (0..14).for_each(|number| model.apply(&batch(number)));
    shot("overview_undecided", &session(model, Mode::Live, SMALL));
}

#[test]
fn before_the_first_batch() {
    let mut session = session(Model::new(crate::model::fixture::machine(), Window::Recent), Mode::Live, SMALL);
    shot("loading_overview", &session);
    press(&mut session, "2");
    shot("loading_processes", &session);
}

#[test]
fn an_empty_table() {
    let mut session = live(SMALL);
    press(&mut session, "2/nobody\n");
    shot("empty_filtered", &session);
}

#[test]
fn typing_a_filter() {
    let mut session = live(SMALL);
    press(&mut session, "6/post");
    shot("filter", &session);
}

#[test]
fn losses_are_named() {
    shot("lost_120x40", &session(lossy(), Mode::Live, LARGE));
    shot("lost_40x10", &session(lossy(), Mode::Live, HOSTILE));
}

#[test]
fn frozen_shows_its_age_and_stands_still() {
    let mut session = live(SMALL);
    press(&mut session, "2 ");
    (14..19).for_each(|number| learn(&mut session, number));
    shot("frozen", &session);
}

#[test]
fn threads_of_a_process() {
    let mut session = live(SMALL);
    press(&mut session, "2/postgres\n\n");
    shot("drilled_down", &session);
}

#[test]
fn states_waits_and_groups() {
    let mut session = live(LARGE);
    press(&mut session, "2tt");
    shot("states_120x40", &session);
    press(&mut session, "t");
    shot("waits_120x40", &session);
    press(&mut session, "t");
    shot("groups_120x40", &session);
}

#[test]
fn overlays() {
    let mut session = live(SMALL);
    press(&mut session, "?");
    shot("help", &session);
    press(&mut session, "\u{1b}2s");
    shot("sort_menu", &session);
    press(&mut session, "j\ne");
    shot("explain_row", &session);
    let mut session = diagnosed(SMALL, 14);
    session.app.overlay = crate::view::tui::app::Overlay::Explain(0);
    shot("explain_finding", &session);
}

#[test]
fn replay_states() {
    shot("replay_playing", &session(model(14), replay(Play::Playing), SMALL));
    let mut session = session(model(14), replay(Play::Playing), SMALL);
    session.handle(Msg::Ended);
    shot("replay_ended", &session);
}

#[test]
fn too_small() {
    shot("too_small", &live((30, 8)));
}

#[test]
fn without_unicode() {
    let mut session = diagnosed(SMALL, 14);
    session.app.theme = Theme { glyphs: Glyphs::Ascii, palette: Palette::Mono };
    let text = format!("{}", drawn(&session).backend());
    assert!(text.is_ascii(), "{text}");
    shot("ascii", &session);
}

#[test]
fn no_size_is_an_error() {
    for screen in ["1", "2", "3", "5", "6"] {
        for overlay in ["", "?", "e", "s", "/x"] {
            let mut session = diagnosed(SMALL, 3);
            press(&mut session, screen);
            press(&mut session, overlay);
            for size in [(0, 0), (1, 1), (5, 3), (40, 10), (41, 11), (79, 13), (300, 12), (45, 90)] {
                session.handle(Msg::Resized(size.0, size.1));
                drawn(&session);
            }
        }
    }
}

#[test]
fn a_terminal_that_shrinks_before_we_know_is_no_error() {
    for screen in ["1", "2", "3", "5", "6?", "2s", "1e"] {
        let mut session = live(LARGE);
        press(&mut session, screen);
        draw(&mut Buffer::empty(Rect::new(0, 0, 50, 12)), &session.view, &session.app);
    }
}

#[test]
fn colors_follow_roles() {
    let mut session = session(lossy(), Mode::Live, LARGE);
    press(&mut session, "2");
    let terminal = drawn(&session);
    let buffer = terminal.backend().buffer();
    let find = |text: &str| {
        let row: String = (0..LARGE.0).map(|x| buffer[(x, 0)].symbol()).collect();
        let at = row.find(text).unwrap_or_else(|| panic!("{text} in {row}"));
        &buffer[(u16::try_from(at).expect("a column"), 0)]
    };
    assert_eq!(find("lost 15").fg, Color::Red);
    assert!(find("lost 15").modifier.contains(Modifier::REVERSED));
    assert_eq!(find("LIVE").fg, Color::Green);
    let selected = &buffer[(4, 4)];
    assert!(selected.modifier.contains(Modifier::REVERSED), "{selected:?}");
}

#[test]
fn a_failure_is_told() {
    let mut session = live(SMALL);
    let text = "failed to create `report.txt`: permission denied".into();
    session.handle(Msg::Notice(Notice { text, kind: NoticeKind::Failed }));
    shot("notice", &session);
    (0..9).for_each(|_| drop(session.handle(Msg::Tick)));
    assert!(session.app.notice.is_none());
}
