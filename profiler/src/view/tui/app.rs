//! The state of the screen, and how messages change it. Pure: what must happen outside is returned as effects.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent};
use ratatui::layout::Size;

use crate::batch::ProcessKey;
use crate::field::{self, Table};
use crate::model::Model;
use crate::view::tui::app::list::{List, Pane};
use crate::view::tui::app::snapshot::View;
use crate::view::tui::keymap::{self, Scope};
use crate::view::tui::screen::{self, Screen};
use crate::view::tui::theme::Theme;

mod act;
pub mod arrange;
pub mod list;
pub mod mode;
mod mouse;
pub mod panel;
pub mod session;
pub mod snapshot;
#[cfg(test)]
mod tests;

pub use mode::{Frozen, Grain, Mode, Overlay, Play, Playback};

/// Ticks after which a notice goes away.
const NOTICE_TICKS: u32 = 8;
/// Longest filter that is taken.
const FILTER_MAX: usize = 64;

/// Everything that happens to the screen, but for batches: these the session learns by itself.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// Something was done with the mouse.
    Mouse(MouseEvent),
    /// The terminal has this many columns and rows.
    Resized(u16, u16),
    /// A second has passed.
    Tick,
    /// There will be no more batches.
    Ended,
    /// An effect has this to say.
    Notice(Notice),
    /// Somebody wants us gone.
    Quit,
}

/// What must happen outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Give the terminal back to the shell until we are continued.
    Suspend,
    /// Write a report of the model that is shown.
    WriteReport,
    /// Keep showing the model as it is now, or the latest again.
    SetFrozen(Frozen),
    /// Replay: go on, or wait.
    SetPlay(Play),
    /// Replay: go this many intervals on.
    Seek(i64),
    /// Replay: this many intervals' worth of time per interval.
    Speed(f64),
}

/// A process that was drilled down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crumb {
    /// Which.
    pub process: ProcessKey,
    /// Its name.
    pub name: String,
    /// Where we came from.
    pub from: (Screen, Grain),
}

/// Something to tell, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The text.
    pub text: String,
    /// How it ended.
    pub kind: NoticeKind,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Well.
    Done,
    /// It failed.
    Failed,
}

/// The state of the screen.
#[derive(Clone, Debug)]
pub struct App {
    /// Live or replay.
    pub mode: Mode,
    /// Colors and glyphs.
    pub theme: Theme,
    /// Size of the terminal.
    pub size: Size,
    /// Which screen is shown.
    pub screen: Screen,
    /// What the processes screen shows.
    pub grain: Grain,
    /// Which of several lists keys act on.
    pub focus: usize,
    /// What tables are narrowed to, the innermost last.
    pub trail: Vec<Crumb>,
    /// What covers the screen.
    pub overlay: Overlay,
    /// Something to tell.
    pub notice: Option<Notice>,
    /// Ticks since the last batch.
    pub silent_ticks: u32,
    panes: [Pane; List::COUNT],
    notice_ticks: u32,
    pending: Option<char>,
}

impl App {
    /// The overview of a terminal of unknown size.
    #[must_use]
    pub fn new(mode: Mode, theme: Theme) -> Self {
        Self {
            mode,
            theme,
            size: Size::new(80, 24),
            screen: Screen::Overview,
            grain: Grain::default(),
            focus: 0,
            trail: Vec::new(),
            overlay: Overlay::None,
            notice: None,
            silent_ticks: 0,
            panes: Default::default(),
            notice_ticks: 0,
            pending: None,
        }
    }

    /// The state of a list.
    #[must_use]
    pub const fn pane(&self, list: List) -> &Pane {
        &self.panes[list.index()]
    }

    /// The state of a list, to change it.
    pub const fn pane_mut(&mut self, list: List) -> &mut Pane {
        &mut self.panes[list.index()]
    }

    /// Lists of the screen, from the top.
    #[must_use]
    pub fn lists(&self) -> Vec<List> {
        match self.screen {
            Screen::Overview => vec![List::Findings],
            Screen::Processes => vec![List::Rows(self.grain.table())],
            Screen::Disks => [Table::Disks, Table::DiskOwners, Table::DiskSizes, Table::Partitions, Table::Journals]
                .map(List::Rows)
                .into(),
            Screen::Files => vec![List::Rows(Table::Files), List::Rows(Table::Paths)],
            // Connections first: they are what keys act on unless asked otherwise.
            Screen::Tcp => {
                let tables = [Table::Connections, Table::Peers, Table::Listeners, Table::Exchanges, Table::Drops];
                tables.map(List::Rows).into()
            }
            Screen::Syscalls => vec![List::Rows(Table::Syscalls)],
        }
    }

    /// The list that keys act on.
    #[must_use]
    pub fn active(&self) -> List {
        let lists = self.lists();
        lists[self.focus.min(lists.len() - 1)]
    }

    /// What tables are narrowed to.
    #[must_use]
    pub fn scope(&self) -> field::Scope {
        let process = self.trail.last().map(|crumb| crumb.process);
        field::Scope { process, once: process.is_none() }
    }

    /// Which bindings count now.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        match self.overlay {
            Overlay::Filter => vec![Scope::Typing],
            Overlay::Help(_) | Overlay::Explain(_) => vec![Scope::Everywhere, Scope::Movement, Scope::Text],
            Overlay::Sort(_) => vec![Scope::Everywhere, Scope::Movement, Scope::Menu],
            Overlay::None => {
                let mut scopes = vec![Scope::Everywhere, Scope::Movement, Scope::Lists];
                scopes.extend((self.screen == Screen::Processes).then_some(Scope::Processes));
                scopes.extend((self.lists().len() > 1).then_some(Scope::Several));
                scopes.push(if matches!(self.mode, Mode::Replay(_)) { Scope::Replay } else { Scope::Live });
                scopes
            }
        }
    }

    /// Brings cursors and scrolling in line with what is shown now.
    pub fn settle(&mut self, view: &View) {
        if self.focus > 0 && view.count(self.active()) == 0 {
            self.focus = 0;
        }
        let places = screen::places(self, view);
        for (list, area) in places.lists {
            let Some(at) = view.selected(list) else { continue };
            self.pane_mut(list).at = at;
            match list {
                List::Findings => screen::overview::reveal(self, view, area),
                List::Rows(_) => {
                    let lines = area.height.saturating_sub(screen::TABLE_HEAD);
                    self.pane_mut(list).reveal(view.count(list), lines.into());
                }
            }
        }
    }

    fn tell(&mut self, notice: Notice) {
        self.notice = Some(notice);
        self.notice_ticks = NOTICE_TICKS;
    }

    fn tick(&mut self) {
        self.silent_ticks = self.silent_ticks.saturating_add(1);
        self.notice_ticks = self.notice_ticks.saturating_sub(1);
        if self.notice_ticks == 0 {
            self.notice = None;
        }
    }

    fn type_filter(&mut self, key: KeyEvent) {
        let list = self.active();
        let filter = &mut self.pane_mut(list).filter;
        match key.code {
            KeyCode::Backspace => {
                filter.pop();
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => filter.clear(),
            KeyCode::Char(letter)
                if filter.len() < FILTER_MAX
                    && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) =>
            {
                filter.push(letter);
            }
            _ => {}
        }
    }
}

/// Changes the state by a message; `view` and `model` are what is shown.
pub fn update(app: &mut App, view: &View, model: &Model, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Quit => return vec![Effect::Quit],
        Msg::Tick => app.tick(),
        Msg::Notice(notice) => app.tell(notice),
        Msg::Resized(width, height) => app.size = Size::new(width, height),
        Msg::Ended => ended(app),
        Msg::Mouse(event) => mouse::update(app, view, event),
        Msg::Key(key) if key.kind != KeyEventKind::Release => return pressed(app, view, model, key),
        Msg::Key(_) => {}
    }
    Vec::new()
}

fn pressed(app: &mut App, view: &View, model: &Model, key: KeyEvent) -> Vec<Effect> {
    let pending = app.pending.take();
    if let Some(action) = keymap::action(&app.scopes(), key, pending) {
        return act::act(app, view, model, action);
    }
    if app.overlay == Overlay::Filter {
        app.type_filter(key);
    } else if let KeyCode::Char(letter) = key.code {
        app.pending = Some(letter);
    }
    Vec::new()
}

fn ended(app: &mut App) {
    match &mut app.mode {
        Mode::Replay(playback) => playback.play = Play::Ended,
        Mode::Live | Mode::Frozen => {
            app.tell(Notice { text: "the source has ended".into(), kind: NoticeKind::Failed });
        }
    }
}
