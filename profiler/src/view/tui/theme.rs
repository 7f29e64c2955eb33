//! What things look like: screens name roles, a theme turns them into styles and glyphs.
//!
//! No meaning rests on color alone: severities are words, bands have glyphs of their own, and the selected row is
//! reversed and marked. So a terminal without color (`NO_COLOR` is honored by the backend) loses nothing.

use ratatui::style::{Color, Modifier, Style};

use crate::finding::Severity;

/// What a piece of the screen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text.
    Text,
    /// Text that matters more.
    Strong,
    /// Text that matters less, and rules.
    Muted,
    /// Title of a section.
    Title,
    /// Heading of a column.
    Heading,
    /// Heading of the column that sorts.
    Sorted,
    /// The row that keys act on.
    Selected,
    /// Name of a key.
    Key,
    /// The tab that is shown.
    Tab,
    /// All is well.
    Good,
    /// Numbers are missing, or something failed.
    Bad,
    /// State: live.
    Live,
    /// State: replay.
    Replay,
    /// State: what is shown stands still.
    Frozen,
    /// How bad a finding is.
    Severity(Severity),
    /// Part of a bar.
    Band(Band),
    /// Line of a chart.
    Chart,
}

/// Part of a bar that splits time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    /// Runs: on a CPU, in user space where that is kept apart.
    Run,
    /// Runs in the kernel.
    Kernel,
    /// Waits for a CPU after a wake-up.
    Queue,
    /// Waits for a CPU after a preemption; as a share of CPUs: stolen by the hypervisor.
    Preempted,
    /// Queued without quota.
    Throttled,
    /// Blocked; as a share of CPUs: idle while I/O was outstanding.
    Blocked,
    /// Serves interrupts; of a thread: not run on its CPU, for them or the hypervisor.
    Interrupt,
    /// No state explains it.
    Unexplained,
    /// Nothing to do.
    Idle,
}

/// Which colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// The sixteen colors of the terminal, so that its own scheme decides.
    #[default]
    Default,
    /// Blue and orange, told apart with any kind of color vision.
    ColorBlind,
    /// No colors, only bold, dim and reversed.
    Mono,
}

/// Which characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Glyphs {
    /// Blocks, rules and arrows.
    #[default]
    Unicode,
    /// For terminals that know no UTF-8.
    Ascii,
}

/// Palette and glyphs in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// Colors.
    pub palette: Palette,
    /// Characters.
    pub glyphs: Glyphs,
}

impl Theme {
    /// The style of a role.
    #[must_use]
    pub fn style(self, role: Role) -> Style {
        let style = Style::default().add_modifier(modifier(role));
        match self.palette {
            Palette::Default => color(style, role, default_color),
            Palette::ColorBlind => color(style, role, color_blind_color),
            Palette::Mono => style,
        }
    }
}

impl Glyphs {
    /// How a share of a bar is filled. No two bands are alike, for terminals without color.
    #[must_use]
    pub const fn band(self, band: Band) -> &'static str {
        match (self, band) {
            (Self::Unicode, Band::Run) => "█",
            (Self::Unicode, Band::Kernel) => "▓",
            (Self::Unicode, Band::Queue) => "▚",
            (Self::Unicode, Band::Preempted) => "▞",
            (Self::Unicode, Band::Throttled) => "▜",
            (Self::Unicode, Band::Blocked) => "░",
            (Self::Unicode, Band::Interrupt) => "▒",
            (Self::Unicode, Band::Idle) => "·",
            (Self::Ascii, Band::Run) => "#",
            (Self::Ascii, Band::Kernel) => "K",
            (Self::Ascii, Band::Queue) => "Q",
            (Self::Ascii, Band::Preempted) => "P",
            (Self::Ascii, Band::Throttled) => "T",
            (Self::Ascii, Band::Blocked) => "B",
            (Self::Ascii, Band::Interrupt) => "I",
            (Self::Ascii, Band::Idle) => ".",
            (_, Band::Unexplained) => "?",
        }
    }

    /// Steps of a chart, from nothing to full.
    #[must_use]
    pub const fn levels(self) -> &'static [&'static str] {
        match self {
            Self::Unicode => &[" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
            Self::Ascii => &[" ", "_", ".", "-", "=", "+", "*", "#"],
        }
    }

    /// Steps of a bar that grows to the right, from an eighth to full.
    #[must_use]
    pub const fn eighths(self) -> &'static [&'static str] {
        match self {
            Self::Unicode => &["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"],
            Self::Ascii => &["#"],
        }
    }

    /// Marks the row that keys act on.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Unicode => "▌",
            Self::Ascii => ">",
        }
    }

    /// Marks the column that sorts, the greatest first.
    #[must_use]
    pub const fn descending(self) -> &'static str {
        match self {
            Self::Unicode => "▾",
            Self::Ascii => "v",
        }
    }

    /// Marks the column that sorts, the least first.
    #[must_use]
    pub const fn ascending(self) -> &'static str {
        match self {
            Self::Unicode => "▴",
            Self::Ascii => "^",
        }
    }

    /// Where in a list we are.
    #[must_use]
    pub const fn thumb(self) -> &'static str {
        match self {
            Self::Unicode => "▐",
            Self::Ascii => "|",
        }
    }

    /// Replaces what the terminal cannot show.
    #[must_use]
    pub fn plain(self, text: &str) -> std::borrow::Cow<'_, str> {
        if self == Self::Unicode || text.is_ascii() {
            return text.into();
        }
        text.chars().map(ascii).collect::<String>().into()
    }
}

/// One character for one character, so that columns stay where they are.
const fn ascii(char: char) -> char {
    match char {
        '≤' | '←' => '<',
        '≥' | '›' => '>',
        'µ' | 'μ' => 'u',
        '–' | '—' | '─' | '→' => '-',
        '×' => 'x',
        '·' | '…' => '.',
        '“' | '”' => '"',
        '‘' | '’' => '\'',
        '┌' | '┐' | '└' | '┘' => '+',
        '│' => '|',
        '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
        other if other.is_ascii() => other,
        _ => '?',
    }
}

const fn modifier(role: Role) -> Modifier {
    match role {
        Role::Strong | Role::Title | Role::Key | Role::Good | Role::Severity(Severity::Medium) => Modifier::BOLD,
        Role::Muted | Role::Band(Band::Idle) => Modifier::DIM,
        Role::Heading => Modifier::UNDERLINED,
        Role::Sorted => Modifier::BOLD.union(Modifier::UNDERLINED),
        Role::Selected | Role::Tab => Modifier::REVERSED,
        Role::Bad | Role::Live | Role::Replay | Role::Frozen | Role::Severity(Severity::High) => {
            Modifier::BOLD.union(Modifier::REVERSED)
        }
        Role::Text | Role::Severity(Severity::Low) | Role::Band(_) | Role::Chart => Modifier::empty(),
    }
}

fn color(style: Style, role: Role, color: fn(Role) -> Option<Color>) -> Style {
    color(role).map_or(style, |color| style.fg(color))
}

const fn default_color(role: Role) -> Option<Color> {
    match role {
        Role::Key | Role::Title | Role::Chart => Some(Color::Cyan),
        Role::Good | Role::Live | Role::Band(Band::Run) => Some(Color::Green),
        Role::Bad | Role::Severity(Severity::High) | Role::Band(Band::Blocked) => Some(Color::Red),
        Role::Frozen | Role::Severity(Severity::Medium) | Role::Band(Band::Queue) => Some(Color::Yellow),
        Role::Replay | Role::Band(Band::Kernel) => Some(Color::Blue),
        Role::Band(Band::Preempted | Band::Throttled | Band::Interrupt) => Some(Color::Magenta),
        _ => None,
    }
}

const fn color_blind_color(role: Role) -> Option<Color> {
    const BLUE: Color = Color::Indexed(33);
    const SKY: Color = Color::Indexed(117);
    const ORANGE: Color = Color::Indexed(208);
    const YELLOW: Color = Color::Indexed(220);
    match role {
        Role::Key | Role::Title | Role::Chart | Role::Replay | Role::Band(Band::Kernel) => Some(SKY),
        Role::Good | Role::Live | Role::Band(Band::Run) => Some(BLUE),
        Role::Bad | Role::Severity(Severity::High) | Role::Band(Band::Blocked) => Some(ORANGE),
        Role::Frozen
        | Role::Severity(Severity::Medium)
        | Role::Band(Band::Queue | Band::Preempted | Band::Throttled) => Some(YELLOW),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANDS: [Band; 9] = [
        Band::Run,
        Band::Kernel,
        Band::Queue,
        Band::Preempted,
        Band::Throttled,
        Band::Blocked,
        Band::Interrupt,
        Band::Unexplained,
        Band::Idle,
    ];

    #[test]
    fn bands_differ_without_color() {
        for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
            let mut seen: Vec<_> = BANDS.iter().map(|band| glyphs.band(*band)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), BANDS.len());
        }
    }

    #[test]
    fn the_mono_palette_has_no_color() {
        let theme = Theme { palette: Palette::Mono, ..Theme::default() };
        for role in [Role::Bad, Role::Live, Role::Severity(Severity::High), Role::Band(Band::Run)] {
            assert_eq!((theme.style(role).fg, theme.style(role).bg), (None, None));
        }
    }

    #[test]
    fn the_color_blind_palette_has_neither_red_nor_green() {
        let theme = Theme { palette: Palette::ColorBlind, ..Theme::default() };
        for role in [Role::Good, Role::Bad, Role::Live, Role::Severity(Severity::High)] {
            assert!(matches!(theme.style(role).fg, Some(Color::Indexed(_))), "{role:?}");
        }
    }

    #[test]
    fn ascii_keeps_the_width() {
        assert_eq!(Glyphs::Ascii.plain("≤ 4.1 µs – 3 × …"), "< 4.1 us - 3 x .");
    }
}
