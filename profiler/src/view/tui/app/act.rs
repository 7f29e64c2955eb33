//! What actions do to the state.

use crate::field::{Subject, Table};
use crate::model::Model;
use crate::model::state;
use crate::model::tcp::Socket;
use crate::model::wait::Object;
use crate::view::tui::app::list::{List, Mark, Sort};
use crate::view::tui::app::snapshot::View;
use crate::view::tui::app::{App, Crumb, Effect, Frozen, Grain, Mode, Overlay, Play};
use crate::view::tui::keymap::Action;
use crate::view::tui::screen::{self, Screen};
use crate::view::tui::widget::{overlay, table};

/// Slowest and fastest replay, as powers of two.
const SPEEDS: std::ops::RangeInclusive<i8> = -3..=6;

/// Does it.
pub(super) fn act(app: &mut App, view: &View, model: &Model, action: Action) -> Vec<Effect> {
    match action {
        Action::Quit => return vec![Effect::Quit],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Report => return vec![Effect::WriteReport],
        Action::Hold | Action::StepBack | Action::StepOn | Action::Slower | Action::Faster => return play(app, action),
        Action::Help => {
            app.overlay = if matches!(app.overlay, Overlay::Help(_)) { Overlay::None } else { Overlay::Help(0) };
        }
        Action::Explain => {
            if view.selected(app.active()).is_some() {
                app.overlay = Overlay::Explain(0);
            }
        }
        Action::Back => back(app),
        Action::Out => out(app),
        Action::Open => open(app, view, model),
        Action::Screen(number) => show(app, Screen::ALL[usize::from(number.clamp(1, 6)) - 1]),
        Action::ScreenNext => show(app, app.screen.next()),
        Action::ScreenPrevious => show(app, app.screen.previous()),
        Action::Filter => app.overlay = Overlay::Filter,
        Action::Keep => app.overlay = Overlay::None,
        Action::Sort => sort_menu(app, view),
        Action::SortLeft => sort_aside(app, view, Aside::Left),
        Action::SortRight => sort_aside(app, view, Aside::Right),
        Action::Reverse => {
            let list = app.active();
            let sort = &mut app.pane_mut(list).sort;
            sort.direction = sort.direction.turned();
        }
        Action::Choose => choose(app, view),
        Action::Grain => app.grain = app.grain.next(),
        Action::ListNext => app.focus = (app.focus + 1) % app.lists().len(),
        Action::Up
        | Action::Down
        | Action::HalfUp
        | Action::HalfDown
        | Action::PageUp
        | Action::PageDown
        | Action::First
        | Action::Last => travel(app, view, action),
    }
    Vec::new()
}

/// Shows a screen; what was typed or opened on the last one is closed.
pub(super) fn show(app: &mut App, screen: Screen) {
    app.overlay = Overlay::None;
    app.focus = 0;
    app.screen = screen;
}

/// Moves the selection of the active list, or whatever covers it, by some entries.
pub(super) fn step(app: &mut App, view: &View, by: isize) {
    match app.overlay {
        Overlay::Help(scroll) => app.overlay = Overlay::Help(bounded(scroll, by, overlay::scroll_max(app, view))),
        Overlay::Explain(scroll) => app.overlay = Overlay::Explain(bounded(scroll, by, overlay::scroll_max(app, view))),
        Overlay::Sort(choice) => app.overlay = Overlay::Sort(bounded(choice, by, sortable(app, view).len())),
        Overlay::None | Overlay::Filter => {
            let list = app.active();
            if let Some(at) = view.selected(list) {
                select(app, view, list, bounded(at, by, view.count(list).saturating_sub(1)));
            }
        }
    }
}

/// Selects an entry.
pub(super) fn select(app: &mut App, view: &View, list: List, index: usize) {
    let mark = view.mark(list, index);
    let pane = app.pane_mut(list);
    pane.at = index;
    pane.selected = mark;
}

fn bounded(from: usize, by: isize, max: usize) -> usize {
    from.saturating_add_signed(by).min(max)
}

fn travel(app: &mut App, view: &View, action: Action) {
    let page = isize::try_from(page(app, view)).unwrap_or(isize::MAX).max(1);
    let by = match action {
        Action::Up => -1,
        Action::Down => 1,
        Action::HalfUp => -(page / 2).max(1),
        Action::HalfDown => (page / 2).max(1),
        Action::PageUp => -page,
        Action::PageDown => page,
        Action::First => isize::MIN,
        _ => isize::MAX,
    };
    step(app, view, by);
    // Going to the top means to follow whatever is there.
    if action == Action::First && app.overlay == Overlay::None {
        let list = app.active();
        app.pane_mut(list).selected = None;
    }
}

fn page(app: &App, view: &View) -> u16 {
    if app.overlay != Overlay::None {
        return overlay::page(app.size);
    }
    let places = screen::places(app, view);
    let area = places.lists.iter().find(|(list, _)| *list == app.active()).map(|(_, area)| *area);
    area.map_or(1, |area| area.height.saturating_sub(screen::TABLE_HEAD))
}

fn back(app: &mut App) {
    let list = app.active();
    match app.overlay {
        Overlay::Filter => {
            app.overlay = Overlay::None;
            app.pane_mut(list).filter.clear();
        }
        Overlay::Help(_) | Overlay::Explain(_) | Overlay::Sort(_) => app.overlay = Overlay::None,
        Overlay::None if app.notice.is_some() => app.notice = None,
        Overlay::None if !app.pane(list).filter.is_empty() => app.pane_mut(list).filter.clear(),
        Overlay::None => out(app),
    }
}

fn out(app: &mut App) {
    if let Some(crumb) = app.trail.pop() {
        (app.screen, app.grain) = crumb.from;
        app.focus = 0;
    }
}

fn open(app: &mut App, view: &View, model: &Model) {
    let list = app.active();
    let Some(mark) = view.selected(list).and_then(|at| view.mark(list, at)) else { return };
    match mark {
        Mark::Finding(_, subject) => go_to(app, model, subject),
        Mark::Row(subject) => match subject.process(model) {
            Some(_) if matches!(subject, Subject::Thread(..)) => app.overlay = Overlay::Explain(0),
            _ if matches!(subject, Subject::State(..) | Subject::Wait(..)) => match cause(model, &subject) {
                Some(cause) => go_to(app, model, cause),
                None => app.overlay = Overlay::Explain(0),
            },
            Some(process) if app.scope().process != Some(process) => {
                enter(app, model, &subject);
                (app.screen, app.grain, app.focus) = (Screen::Processes, Grain::Threads, 0);
            }
            _ => app.overlay = Overlay::Explain(0),
        },
    }
}

/// What leads on from a state or a wait: to what the process waits on, then to that connection, or to who ends the wait.
fn cause(model: &Model, subject: &Subject) -> Option<Subject> {
    match subject {
        Subject::State(process, number) => {
            let (wait, of) = (state::wait_of(*number)?, model.processes.get(process)?);
            let seen = of.looks.sum.of(wait).max_by_key(|(_, looks)| *looks);
            let object = seen.map_or(Object::Unknown, |(object, _)| object.clone());
            Some(Subject::Wait(*process, wait, object))
        }
        Subject::Wait(_, _, Object::Socket(cookie)) => Some(Subject::Socket(*cookie)),
        Subject::Wait(process, wait, _) => {
            let (waker, _) = model.processes.get(process)?.looks.sum.waker(*wait)?;
            Some(Subject::Process(waker))
        }
        _ => None,
    }
}

/// Narrows everything to the process of a subject.
fn enter(app: &mut App, model: &Model, subject: &Subject) {
    let Some(process) = subject.process(model) else { return };
    if app.scope().process != Some(process) {
        app.trail.push(Crumb { process, name: model.label(process), from: (app.screen, app.grain) });
    }
}

/// Shows the row that a finding is about.
fn go_to(app: &mut App, model: &Model, subject: Subject) {
    let (screen, table) = match &subject {
        Subject::Process(_) => (Screen::Processes, Table::Processes),
        Subject::Thread(..) => (Screen::Processes, Table::Threads),
        Subject::State(..) => (Screen::Processes, Table::States),
        Subject::Wait(..) => (Screen::Processes, Table::Waits),
        Subject::Group(..) => (Screen::Processes, Table::Groups),
        Subject::Disk(..) => (Screen::Disks, Table::Disks),
        Subject::DiskOwner(..) => (Screen::Disks, Table::DiskOwners),
        Subject::DiskSize(..) => (Screen::Disks, Table::DiskSizes),
        Subject::Partition(..) => (Screen::Disks, Table::Partitions),
        Subject::Journal(_) => (Screen::Disks, Table::Journals),
        Subject::File(..) => (Screen::Files, Table::Files),
        Subject::Path(..) => (Screen::Files, Table::Paths),
        Subject::Socket(cookie) if is_listener(model, *cookie) => (Screen::Tcp, Table::Listeners),
        Subject::Socket(_) => (Screen::Tcp, Table::Connections),
        Subject::Exchange(_) => (Screen::Tcp, Table::Exchanges),
        Subject::Peer(..) => (Screen::Tcp, Table::Peers),
        Subject::Drop(_) => (Screen::Tcp, Table::Drops),
        Subject::Syscall(..) => (Screen::Syscalls, Table::Syscalls),
    };
    if matches!(subject, Subject::Thread(..) | Subject::Wait(..)) {
        enter(app, model, &subject);
    }
    show(app, screen);
    app.grain = Grain::of(table).unwrap_or_default();
    app.focus = app.lists().iter().position(|list| *list == List::Rows(table)).unwrap_or_default();
    let pane = app.pane_mut(List::Rows(table));
    pane.filter.clear();
    pane.selected = Some(Mark::Row(subject));
}

fn is_listener(model: &Model, cookie: u64) -> bool {
    model.sockets.get(&cookie).is_some_and(Socket::is_listener)
}

/// Identifiers of the columns that are shown, from the left.
fn sortable(app: &App, view: &View) -> Vec<&'static str> {
    let List::Rows(table) = app.active() else { return Vec::new() };
    view.grid(table).map_or_else(Vec::new, |grid| table::ids(&grid.sheet.columns))
}

fn sort_menu(app: &mut App, view: &View) {
    let columns = sortable(app, view);
    if !columns.is_empty() {
        let by = app.pane(app.active()).sort.by;
        let at = by.and_then(|by| columns.iter().position(|id| *id == by)).map_or(0, |at| at + 1);
        app.overlay = Overlay::Sort(at);
    }
}

fn choose(app: &mut App, view: &View) {
    if let Overlay::Sort(choice) = app.overlay {
        let by = choice.checked_sub(1).and_then(|index| sortable(app, view).get(index).copied());
        let list = app.active();
        app.pane_mut(list).sort.choose(by);
    }
    app.overlay = Overlay::None;
}

enum Aside {
    Left,
    Right,
}

fn sort_aside(app: &mut App, view: &View, aside: Aside) {
    let List::Rows(table) = app.active() else { return };
    let Some(grid) = view.grid(table) else { return };
    let columns = table::shown_ids(&grid.sheet.columns, app.size.width);
    let by = app.pane(app.active()).sort.by;
    let at = by.and_then(|by| columns.iter().position(|id| *id == by));
    let next = match (aside, at) {
        (Aside::Left, None) => columns.len().checked_sub(1),
        (Aside::Left, Some(at)) => at.checked_sub(1),
        (Aside::Right, None) => Some(0),
        (Aside::Right, Some(at)) => Some(at + 1),
    };
    let by = next.and_then(|index| columns.get(index).copied());
    app.pane_mut(List::Rows(table)).sort = Sort { by, ..Sort::default() };
}

fn play(app: &mut App, action: Action) -> Vec<Effect> {
    let Mode::Replay(playback) = &mut app.mode else { return hold(app) };
    match action {
        Action::Hold => {
            playback.play = if playback.play == Play::Playing { Play::Paused } else { Play::Playing };
            vec![Effect::SetPlay(playback.play)]
        }
        Action::StepBack | Action::StepOn => {
            playback.play = Play::Paused;
            vec![Effect::SetPlay(Play::Paused), Effect::Seek(if action == Action::StepOn { 1 } else { -1 })]
        }
        _ => {
            let step = if action == Action::Faster { 1 } else { -1 };
            playback.speed = (playback.speed + step).clamp(*SPEEDS.start(), *SPEEDS.end());
            vec![Effect::Speed(playback.factor())]
        }
    }
}

fn hold(app: &mut App) -> Vec<Effect> {
    let frozen = if app.mode == Mode::Frozen { Frozen::No } else { Frozen::Yes };
    app.mode = if frozen == Frozen::Yes { Mode::Frozen } else { Mode::Live };
    vec![Effect::SetFrozen(frozen)]
}
