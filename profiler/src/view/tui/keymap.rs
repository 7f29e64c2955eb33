//! What keys do, as data: the footer, the help screen and the reference page are generated from [`BINDINGS`].

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave the program.
    Quit,
    /// Stop like any job of a shell.
    Suspend,
    /// Show or hide the keys.
    Help,
    /// Close what is open, else clear the filter, else leave the scope. Never quits.
    Back,
    /// Leave the scope.
    Out,
    /// Drill down into the selected row.
    Open,
    /// Show everything about the selected row.
    Explain,
    /// Show the screen with this number.
    Screen(u8),
    /// Next screen.
    ScreenNext,
    /// Previous screen.
    ScreenPrevious,
    /// Up one row.
    Up,
    /// Down one row.
    Down,
    /// Up half a page.
    HalfUp,
    /// Down half a page.
    HalfDown,
    /// Up a page.
    PageUp,
    /// Down a page.
    PageDown,
    /// First row.
    First,
    /// Last row.
    Last,
    /// Ask for a filter.
    Filter,
    /// Choose what to sort by.
    Sort,
    /// Sort by the column to the left.
    SortLeft,
    /// Sort by the column to the right.
    SortRight,
    /// Turn the order around.
    Reverse,
    /// Take the choice of a menu.
    Choose,
    /// Keep the filter as typed.
    Keep,
    /// One row per process, per thread, or per state of a process.
    Grain,
    /// The other list of the screen.
    ListNext,
    /// Freeze what is shown, or go on; of a replay: pause.
    Hold,
    /// Write a report of what is shown.
    Report,
    /// One interval back.
    StepBack,
    /// One interval on.
    StepOn,
    /// Slower replay.
    Slower,
    /// Faster replay.
    Faster,
}

/// When a binding counts. Several scopes are active at a time, and none of these binds a key twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Whenever no text is typed.
    Everywhere,
    /// Whenever something can be scrolled.
    Movement,
    /// On a screen.
    Lists,
    /// On the processes screen.
    Processes,
    /// On a screen of more than one list.
    Several,
    /// Watching a host.
    Live,
    /// Watching a capture.
    Replay,
    /// In a text that covers the screen.
    Text,
    /// In a menu.
    Menu,
    /// While text is typed.
    Typing,
}

impl Scope {
    /// All of them, in the order of the help screen.
    pub const ALL: [Self; 10] = [
        Self::Everywhere,
        Self::Movement,
        Self::Lists,
        Self::Processes,
        Self::Several,
        Self::Live,
        Self::Replay,
        Self::Text,
        Self::Menu,
        Self::Typing,
    ];

    /// Its heading on the help screen.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "Everywhere",
            Self::Movement => "Move",
            Self::Lists => "Lists",
            Self::Processes => "Processes",
            Self::Several => "Two lists",
            Self::Live => "Live",
            Self::Replay => "Replay",
            Self::Text => "Help and details",
            Self::Menu => "Menu",
            Self::Typing => "Filter",
        }
    }
}

/// One or two presses of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A key.
    Key(KeyCode),
    /// A letter with Control.
    Control(char),
    /// The same letter twice.
    Twice(char),
}

impl Stroke {
    /// Its name for readers.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Control(letter) => format!("Ctrl-{letter}"),
            Self::Twice(letter) => format!("{letter}{letter}"),
            Self::Key(KeyCode::Char(' ')) => "Space".into(),
            Self::Key(KeyCode::Char(letter)) => letter.into(),
            Self::Key(KeyCode::F(number)) => format!("F{number}"),
            Self::Key(KeyCode::BackTab) => "Shift-Tab".into(),
            Self::Key(KeyCode::PageUp) => "PgUp".into(),
            Self::Key(KeyCode::PageDown) => "PgDn".into(),
            Self::Key(KeyCode::Left) => "←".into(),
            Self::Key(KeyCode::Right) => "→".into(),
            Self::Key(code) => format!("{code:?}"),
        }
    }

    fn is(self, key: KeyEvent, pending: Option<char>) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match self {
            Self::Key(code) => !control && key.code == code,
            Self::Control(letter) => control && key.code == KeyCode::Char(letter),
            Self::Twice(letter) => !control && key.code == KeyCode::Char(letter) && pending == Some(letter),
        }
    }
}

/// Keys, what they do, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Any of these; the first one stands in the footer.
    pub keys: &'static [Stroke],
    /// What they do.
    pub action: Action,
    /// The same in words.
    pub help: &'static str,
    /// The same in one word for the footer; empty keeps it out.
    pub short: &'static str,
    /// When.
    pub scope: Scope,
}

const fn bind(
    scope: Scope,
    keys: &'static [Stroke],
    action: Action,
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding { keys, action, help, short, scope }
}

const fn char(letter: char) -> Stroke {
    Stroke::Key(KeyCode::Char(letter))
}

/// All keys. Within the footer, the order here is the order there.
pub const BINDINGS: &[Binding] = &[
    bind(Scope::Replay, &[char(' '), char('p')], Action::Hold, "pause", "pause, or go on"),
    bind(
        Scope::Replay,
        &[Stroke::Key(KeyCode::Left), char(',')],
        Action::StepBack,
        "back",
        "one interval back, and pause",
    ),
    bind(Scope::Replay, &[Stroke::Key(KeyCode::Right), char('.')], Action::StepOn, "on", "one interval on, and pause"),
    bind(Scope::Replay, &[char('+'), char('=')], Action::Faster, "faster", "twice as fast"),
    bind(Scope::Replay, &[char('-')], Action::Slower, "", "half as fast"),
    bind(
        Scope::Lists,
        &[Stroke::Key(KeyCode::Enter)],
        Action::Open,
        "open",
        "drill down: the row's process, then its threads",
    ),
    bind(Scope::Lists, &[Stroke::Key(KeyCode::Backspace)], Action::Out, "", "out of the process again"),
    bind(Scope::Lists, &[char('/')], Action::Filter, "filter", "keep rows that contain a text; !text: that do not"),
    bind(Scope::Lists, &[char('s')], Action::Sort, "sort", "choose the column to sort by"),
    bind(Scope::Lists, &[char('<')], Action::SortLeft, "", "sort by the column to the left"),
    bind(Scope::Lists, &[char('>')], Action::SortRight, "", "sort by the column to the right"),
    bind(Scope::Lists, &[char('r')], Action::Reverse, "", "turn the order around"),
    bind(
        Scope::Processes,
        &[char('t')],
        Action::Grain,
        "rows",
        "one row per process, per thread, or per state of a process",
    ),
    bind(Scope::Several, &[char(']'), char('[')], Action::ListNext, "list", "the other list of the screen"),
    bind(Scope::Live, &[char(' '), char('p')], Action::Hold, "freeze", "freeze what is shown, or go on"),
    bind(Scope::Lists, &[char('e')], Action::Explain, "explain", "everything about the row, and what it means"),
    bind(Scope::Lists, &[char('w')], Action::Report, "report", "write a report of what is shown"),
    bind(Scope::Everywhere, &[char('1')], Action::Screen(1), "", "Overview"),
    bind(Scope::Everywhere, &[char('2')], Action::Screen(2), "", "Processes"),
    bind(Scope::Everywhere, &[char('3')], Action::Screen(3), "", "Disks"),
    bind(Scope::Everywhere, &[char('4')], Action::Screen(4), "", "Files"),
    bind(Scope::Everywhere, &[char('5')], Action::Screen(5), "", "TCP"),
    bind(Scope::Everywhere, &[char('6')], Action::Screen(6), "", "Syscalls"),
    bind(Scope::Everywhere, &[Stroke::Key(KeyCode::Tab)], Action::ScreenNext, "", "next screen"),
    bind(Scope::Everywhere, &[Stroke::Key(KeyCode::BackTab)], Action::ScreenPrevious, "", "previous screen"),
    bind(Scope::Movement, &[Stroke::Key(KeyCode::Up), char('k')], Action::Up, "", "up"),
    bind(Scope::Movement, &[Stroke::Key(KeyCode::Down), char('j')], Action::Down, "", "down"),
    bind(Scope::Movement, &[Stroke::Control('u')], Action::HalfUp, "", "half a page up"),
    bind(Scope::Movement, &[Stroke::Control('d')], Action::HalfDown, "", "half a page down"),
    bind(Scope::Movement, &[Stroke::Key(KeyCode::PageUp), Stroke::Control('b')], Action::PageUp, "", "a page up"),
    bind(Scope::Movement, &[Stroke::Key(KeyCode::PageDown), Stroke::Control('f')], Action::PageDown, "", "a page down"),
    bind(Scope::Movement, &[Stroke::Key(KeyCode::Home), Stroke::Twice('g')], Action::First, "", "first"),
    bind(Scope::Movement, &[Stroke::Key(KeyCode::End), char('G')], Action::Last, "", "last"),
    bind(Scope::Menu, &[Stroke::Key(KeyCode::Enter)], Action::Choose, "choose", "take this one; again: turn it around"),
    bind(Scope::Menu, &[char('s')], Action::Back, "", "close"),
    bind(Scope::Text, &[Stroke::Key(KeyCode::Enter), char('e')], Action::Back, "", "close"),
    bind(Scope::Typing, &[Stroke::Key(KeyCode::Enter)], Action::Keep, "keep", "keep the filter"),
    bind(Scope::Typing, &[Stroke::Key(KeyCode::Esc)], Action::Back, "clear", "clear the filter"),
    bind(Scope::Typing, &[Stroke::Control('c')], Action::Quit, "", "quit"),
    bind(Scope::Everywhere, &[Stroke::Key(KeyCode::Esc)], Action::Back, "", "close, clear the filter, go back"),
    bind(
        Scope::Everywhere,
        &[char('?'), Stroke::Key(KeyCode::F(1)), char('h')],
        Action::Help,
        "help",
        "show or hide this page",
    ),
    bind(Scope::Everywhere, &[Stroke::Control('z')], Action::Suspend, "", "stop, like any job of a shell"),
    bind(Scope::Everywhere, &[char('q'), Stroke::Control('c')], Action::Quit, "quit", "quit"),
];

/// The bindings of some scopes, in order.
pub fn of(scopes: &[Scope]) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| scopes.contains(&binding.scope))
}

/// What a key means in some scopes; `pending` is the letter pressed just before.
#[must_use]
pub fn action(scopes: &[Scope], key: KeyEvent, pending: Option<char>) -> Option<Action> {
    of(scopes).find(|binding| binding.keys.iter().any(|stroke| stroke.is(key, pending))).map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set of scopes that is ever active at once.
    const ACTIVE: [&[Scope]; 5] = [
        &[Scope::Everywhere, Scope::Movement, Scope::Lists, Scope::Processes, Scope::Several, Scope::Live],
        &[Scope::Everywhere, Scope::Movement, Scope::Lists, Scope::Processes, Scope::Several, Scope::Replay],
        &[Scope::Everywhere, Scope::Movement, Scope::Text],
        &[Scope::Everywhere, Scope::Movement, Scope::Menu],
        &[Scope::Typing],
    ];

    #[test]
    fn no_key_is_bound_twice_in_a_set_of_scopes() {
        for scopes in ACTIVE {
            let mut labels: Vec<_> = of(scopes).flat_map(|binding| binding.keys).map(|stroke| stroke.label()).collect();
            labels.sort();
            let count = labels.len();
            labels.dedup();
            assert_eq!(labels.len(), count, "{scopes:?}");
        }
    }

    #[test]
    fn every_binding_has_a_key_and_help() {
        for binding in BINDINGS {
            assert!(!binding.keys.is_empty() && !binding.help.is_empty(), "{binding:?}");
        }
    }

    #[test]
    fn every_action_has_a_key() {
        let actions = [
            Action::Quit,
            Action::Suspend,
            Action::Help,
            Action::Back,
            Action::Out,
            Action::Open,
            Action::Explain,
            Action::ScreenNext,
            Action::ScreenPrevious,
            Action::Up,
            Action::Down,
            Action::HalfUp,
            Action::HalfDown,
            Action::PageUp,
            Action::PageDown,
            Action::First,
            Action::Last,
            Action::Filter,
            Action::Sort,
            Action::SortLeft,
            Action::SortRight,
            Action::Reverse,
            Action::Choose,
            Action::Keep,
            Action::Grain,
            Action::ListNext,
            Action::Hold,
            Action::Report,
            Action::StepBack,
            Action::StepOn,
            Action::Slower,
            Action::Faster,
        ];
        let screens = (1..=6).map(Action::Screen);
        for action in actions.into_iter().chain(screens) {
            assert!(BINDINGS.iter().any(|binding| binding.action == action), "{action:?}");
        }
    }

    #[test]
    fn every_scope_is_in_the_help() {
        for binding in BINDINGS {
            assert!(Scope::ALL.contains(&binding.scope));
        }
        assert!(Scope::ALL.iter().all(|scope| of(&[*scope]).next().is_some()));
    }

    #[test]
    fn a_letter_twice_needs_the_first() {
        let g = KeyEvent::from(KeyCode::Char('g'));
        assert_eq!(action(&[Scope::Movement], g, None), None);
        assert_eq!(action(&[Scope::Movement], g, Some('g')), Some(Action::First));
    }

    #[test]
    fn escape_never_quits() {
        for scopes in ACTIVE {
            assert_eq!(action(scopes, KeyEvent::from(KeyCode::Esc), None), Some(Action::Back));
        }
    }
}
