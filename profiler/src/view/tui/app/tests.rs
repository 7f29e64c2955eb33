//! Behavior by sequences of keys, over a host made by hand.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::field::{Subject, Table};
use crate::model::fixture::process;
use crate::model::wait::Object;
use crate::view::tui::app::list::{Direction, List, Mark};
use crate::view::tui::app::session::Session;
use crate::view::tui::app::{Effect, Grain, Mode, Msg, Overlay, Play, Playback};
use crate::view::tui::fixture::{diagnosed, end, learn, model, press, session};
use crate::view::tui::screen::Screen;

const SIZE: (u16, u16) = (80, 24);
const PROCESSES: List = List::Rows(Table::Processes);

fn live() -> Session {
    session(model(3), Mode::Live, SIZE)
}

fn key(code: KeyCode) -> Msg {
    Msg::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn control(letter: char) -> Msg {
    Msg::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
}

fn mouse(kind: MouseEventKind, column: u16, row: u16) -> Msg {
    Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
}

fn click(column: u16, row: u16) -> Msg {
    mouse(MouseEventKind::Down(MouseButton::Left), column, row)
}

fn pid(session: &Session) -> Option<u32> {
    let grid = session.view.grid(Table::Processes)?;
    match grid.sheet.rows.get(grid.selected?)?.subject {
        Subject::Process(key) => Some(key.pid),
        _ => None,
    }
}

#[test]
fn screens_by_number_and_round_about() {
    let mut session = live();
    press(&mut session, "5");
    assert_eq!(session.app.screen, Screen::Tcp);
    press(&mut session, "\t\t");
    assert_eq!(session.app.screen, Screen::Overview);
    session.handle(key(KeyCode::BackTab));
    assert_eq!(session.app.screen, Screen::Syscalls);
}

#[test]
fn only_quitting_quits() {
    let mut session = live();
    assert_eq!(session.handle(key(KeyCode::Char('q'))), [Effect::Quit]);
    assert_eq!(session.handle(control('c')), [Effect::Quit]);
    assert_eq!(session.handle(Msg::Quit), [Effect::Quit]);
    for _ in 0..5 {
        assert_eq!(session.handle(key(KeyCode::Esc)), []);
    }
    press(&mut session, "2/");
    assert_eq!(session.handle(key(KeyCode::Char('q'))), [], "a letter of the filter");
    assert_eq!(session.handle(control('c')), [Effect::Quit]);
}

#[test]
fn the_selection_stays_with_its_process() {
    let mut session = live();
    press(&mut session, "2");
    let top = pid(&session);
    press(&mut session, "j");
    let chosen = pid(&session);
    assert_ne!(chosen, top);
    press(&mut session, ">");
    assert_eq!(session.app.pane(PROCESSES).sort.by, Some("process.pid"));
    assert_eq!(pid(&session), chosen);
    learn(&mut session, 3);
    assert_eq!(pid(&session), chosen);
    press(&mut session, "gg");
    assert_eq!((session.view.selected(PROCESSES), &session.app.pane(PROCESSES).selected), (Some(0), &None));
    press(&mut session, "G");
    assert_eq!(session.view.selected(PROCESSES), Some(2));
}

#[test]
fn a_process_is_drilled_into_and_left() {
    let mut session = live();
    press(&mut session, "2");
    let chosen = pid(&session).map(process);
    press(&mut session, "\n");
    assert_eq!((session.app.grain, session.app.scope().process), (Grain::Threads, chosen));
    press(&mut session, "6");
    let grid = session.view.grid(Table::Syscalls).expect("the table of the screen");
    assert!(grid.sheet.rows.iter().all(|row| matches!(row.subject, Subject::Syscall(key, _) if Some(key) == chosen)));
    press(&mut session, "\u{8}");
    assert_eq!((session.app.screen, session.app.grain), (Screen::Processes, Grain::Processes));
    assert_eq!(session.app.scope().process, None);
}

/// From a state to what is waited on, to that connection; and from a lock to who has it.
#[test]
fn a_state_leads_to_its_cause() {
    let (waits, states) = (List::Rows(Table::Waits), List::Rows(Table::States));
    let mut session = live();
    press(&mut session, "2tt/send\n");
    assert_eq!(session.view.selected(states), Some(0));
    press(&mut session, "\n");
    let socket = Subject::Wait(process(640), profiler_common::wait::SEND, Object::Socket(2));
    assert_eq!(session.app.pane(waits).selected, Some(Mark::Row(socket)));
    assert_eq!(session.app.scope().process, Some(process(640)));
    press(&mut session, "\n");
    assert_eq!(session.app.screen, Screen::Tcp);
    let connections = List::Rows(Table::Connections);
    assert_eq!(session.app.pane(connections).selected, Some(Mark::Row(Subject::Socket(2))));
    press(&mut session, "\u{8}2\u{1b}/lock\n\n\n");
    assert_eq!((session.app.screen, session.app.grain), (Screen::Processes, Grain::Processes));
    assert_eq!(pid(&session), Some(812));
}

#[test]
fn a_connection_leads_to_its_owner_and_back() {
    let mut session = live();
    press(&mut session, "5\n");
    assert_eq!((session.app.screen, session.app.scope().process), (Screen::Processes, Some(process(640))));
    press(&mut session, "\u{1b}");
    assert_eq!(session.app.screen, Screen::Tcp);
}

#[test]
fn a_finding_leads_to_its_row() {
    let mut session = diagnosed(SIZE, 3);
    press(&mut session, "\n");
    assert_eq!(session.app.screen, Screen::Disks);
    let list = List::Rows(Table::Disks);
    let at = session.view.selected(list).and_then(|at| session.view.mark(list, at));
    assert_eq!(at, session.app.pane(list).selected);
    assert!(matches!(at, Some(Mark::Row(Subject::Disk(..)))));
}

#[test]
fn escape_goes_back_one_thing_at_a_time() {
    let mut session = live();
    press(&mut session, "2\n/thr\n?");
    let filter = |session: &Session| session.app.pane(session.app.active()).filter.clone();
    press(&mut session, "\u{1b}");
    assert_eq!((session.app.overlay, filter(&session)), (Overlay::None, "thr".into()));
    press(&mut session, "\u{1b}");
    assert_eq!((filter(&session), session.app.trail.len()), (String::new(), 1));
    press(&mut session, "\u{1b}");
    assert_eq!(session.app.trail.len(), 0);
}

#[test]
fn filters_take_effect_as_they_are_typed() {
    let mut session = live();
    press(&mut session, "2/ngi");
    assert_eq!(session.view.count(PROCESSES), 1);
    press(&mut session, "\u{8}\u{8}\u{8}!ngi");
    assert_eq!(session.view.count(PROCESSES), 2);
    press(&mut session, "\u{1b}");
    assert_eq!((session.view.count(PROCESSES), session.app.overlay), (3, Overlay::None));
}

#[test]
fn the_sort_menu_starts_at_the_column_in_use() {
    let mut session = live();
    press(&mut session, "2sjj\n");
    assert_eq!(session.app.pane(PROCESSES).sort.by, Some("process.comm"));
    press(&mut session, "s");
    assert_eq!(session.app.overlay, Overlay::Sort(2));
    press(&mut session, "\n");
    assert_eq!(session.app.pane(PROCESSES).sort.direction, Direction::Reversed);
    press(&mut session, "r");
    assert_eq!(session.app.pane(PROCESSES).sort.direction, Direction::Usual);
    press(&mut session, "<<");
    assert_eq!(session.app.pane(PROCESSES).sort.by, None);
}

#[test]
fn frozen_every_screen_shows_the_same_moment() {
    let mut session = live();
    press(&mut session, " ");
    let until = session.view.header.until;
    learn(&mut session, 3);
    learn(&mut session, 4);
    press(&mut session, "3");
    assert_eq!(session.view.header.until, until);
    assert_eq!(session.view.header.age_ns, 2_000_000_000);
    press(&mut session, "p");
    assert_eq!((session.app.mode, session.view.header.age_ns), (Mode::Live, 0));
}

#[test]
fn a_replay_is_steered() {
    let playback = Playback { end: end(), speed: 0, play: Play::Playing };
    let mut session = session(model(3), Mode::Replay(playback), SIZE);
    assert_eq!(session.handle(key(KeyCode::Char(' '))), [Effect::SetPlay(Play::Paused)]);
    assert_eq!(session.handle(key(KeyCode::Char(' '))), [Effect::SetPlay(Play::Playing)]);
    assert_eq!(session.handle(key(KeyCode::Left)), [Effect::SetPlay(Play::Paused), Effect::Seek(-1)]);
    assert_eq!(session.handle(key(KeyCode::Char('.'))), [Effect::SetPlay(Play::Paused), Effect::Seek(1)]);
    assert_eq!(session.handle(key(KeyCode::Char('+'))), [Effect::Speed(2.0)]);
    (0..20).for_each(|_| drop(session.handle(key(KeyCode::Char('-')))));
    assert_eq!(session.handle(key(KeyCode::Char('-'))), [Effect::Speed(0.125)]);
    session.handle(Msg::Ended);
    assert!(matches!(session.app.mode, Mode::Replay(Playback { play: Play::Ended, .. })));
}

#[test]
fn live_does_not_know_the_keys_of_a_replay() {
    let mut session = live();
    assert_eq!(session.handle(key(KeyCode::Left)), []);
    assert_eq!(session.handle(key(KeyCode::Char('w'))), [Effect::WriteReport]);
}

#[test]
fn the_mouse_mirrors_keys() {
    let mut session = live();
    session.handle(click(15, 1));
    assert_eq!(session.app.screen, Screen::Processes);
    session.handle(click(10, 5));
    assert_eq!(session.view.selected(PROCESSES), Some(1));
    session.handle(click(4, 3));
    assert_eq!(session.app.pane(PROCESSES).sort.by, Some("process.pid"));
    session.handle(click(4, 3));
    assert_eq!(session.app.pane(PROCESSES).sort.direction, Direction::Reversed);
    session.handle(mouse(MouseEventKind::ScrollUp, 10, 10));
    assert_eq!(session.view.selected(PROCESSES), Some(0));
    session.handle(mouse(MouseEventKind::ScrollDown, 10, 10));
    assert_eq!(session.view.selected(PROCESSES), Some(2));
    for (column, row) in [(0, 0), (79, 23), (79, 22), (500, 500)] {
        session.handle(click(column, row));
    }
}

#[test]
fn clicking_a_list_moves_the_focus_there() {
    let mut session = live();
    press(&mut session, "5");
    assert_eq!(session.app.active(), List::Rows(Table::Connections));
    session.handle(click(10, 4));
    assert_eq!(session.app.active(), List::Rows(Table::Listeners));
    press(&mut session, "]");
    assert_eq!(session.app.active(), List::Rows(Table::Exchanges));
    press(&mut session, "]");
    assert_eq!(session.app.active(), List::Rows(Table::Connections));
}

#[test]
fn any_key_on_any_screen_is_harmless() {
    let letters: String = (' '..='~').filter(|letter| *letter != 'q').collect();
    for screen in "123456".chars() {
        for mode in [Mode::Live, Mode::Replay(Playback { end: end(), speed: 0, play: Play::Ended })] {
            let mut session = session(model(2), mode, SIZE);
            for letter in letters.chars() {
                press(&mut session, &format!("\u{1b}\u{1b}{screen}{letter}jk\n\u{8}"));
                session.handle(control('d'));
                session.handle(key(KeyCode::End));
                learn(&mut session, 2);
            }
        }
    }
}

#[test]
fn silence_is_counted() {
    let mut session = live();
    (0..5).for_each(|_| drop(session.handle(Msg::Tick)));
    assert_eq!(session.app.silent_ticks, 5);
    learn(&mut session, 3);
    assert_eq!(session.app.silent_ticks, 0);
}
