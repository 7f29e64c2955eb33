//! The terminal as a guard: taken when made, given back when dropped, and when something panics.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::Once;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::DisableMouseCapture;
use ratatui::crossterm::execute;
use ratatui::crossterm::style::Print;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::layout::Rect;

use crate::view::tui::app::snapshot::View;
use crate::view::tui::app::{App, Msg};
use crate::view::tui::screen;

/// Clicks and the wheel, with coordinates of any size. `EnableMouseCapture` would report every movement as well, which
/// is a stream of input over a slow line for nothing.
const MOUSE: &str = "\x1b[?1000h\x1b[?1006h";

/// Whether the mouse is ours; if not, it selects text as usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mouse {
    /// It is.
    #[default]
    Captured,
    /// It is the terminal's.
    Free,
}

/// The terminal while it is ours.
pub struct Guard {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    mouse: Mouse,
}

impl Guard {
    /// Takes the terminal.
    pub fn new(mouse: Mouse) -> io::Result<Self> {
        restore_on_panic();
        // From here on, dropping gives back whatever was taken, even if the rest fails.
        let mut guard = Self { terminal: Terminal::new(CrosstermBackend::new(stdout()))?, mouse };
        guard.enter()?;
        Ok(guard)
    }

    /// Columns and rows.
    pub fn size(&self) -> io::Result<Msg> {
        self.terminal.size().map(|size| Msg::Resized(size.width, size.height))
    }

    /// Draws.
    pub fn draw(&mut self, view: &View, app: &App) -> io::Result<()> {
        self.terminal.draw(|frame| screen::draw(frame.buffer_mut(), view, app)).map(|_| ())
    }

    /// Stops this process like Ctrl-Z does to any job, with the terminal given back until we are continued.
    pub fn suspend(&mut self) -> io::Result<()> {
        restore();
        // SAFETY: raising a signal has no preconditions; the default action of this one stops us.
        unsafe { libc::raise(libc::SIGTSTP) };
        self.enter()?;
        // `Terminal::clear` would ask for the cursor, and the answer would be taken for keys by whoever reads them.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    fn enter(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        if self.mouse == Mouse::Captured {
            execute!(stdout(), Print(MOUSE))?;
        }
        self.terminal.hide_cursor()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. Errors cannot be shown anywhere by now.
fn restore() {
    let _ = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// A panic message that is written to the alternate screen would vanish with it.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}
