//! The last line: the keys that count now, a filter being typed, or something to tell.

use ratatui::layout::Rect;

use crate::view::tui::app::{App, NoticeKind, Overlay};
use crate::view::tui::keymap::{self, Binding, Scope};
use crate::view::tui::theme::Role;
use crate::view::tui::widget::pen::{Pen, cells};

/// Draws it.
pub fn draw(pen: &mut Pen<'_>, area: Rect, app: &App) {
    let mut x = area.x + 1;
    let end = area.right();
    if app.overlay == Overlay::Filter {
        pen.then(&mut x, area.y, end, "/", Role::Key);
        pen.then(&mut x, area.y, end, &app.pane(app.active()).filter, Role::Strong);
        pen.fill(x, area.y, 1, " ", Role::Tab);
        x += 3;
    } else if let Some(notice) = &app.notice {
        let role = if notice.kind == NoticeKind::Failed { Role::Bad } else { Role::Good };
        pen.put(x, area.y, end.saturating_sub(x), &notice.text, role);
        return;
    }
    keys(pen, Rect { x, width: end.saturating_sub(x), ..area }, &app.scopes());
}

/// Keys in the order of the keymap; help and quit always have their place.
fn keys(pen: &mut Pen<'_>, area: Rect, scopes: &[Scope]) {
    let bindings: Vec<_> = keymap::of(scopes).filter(|binding| !binding.short.is_empty()).collect();
    let (last, first): (Vec<&Binding>, Vec<&Binding>) =
        bindings.into_iter().partition(|binding| binding.scope == Scope::Everywhere);
    let kept: u16 = last.iter().map(|binding| width(binding)).sum();
    let mut x = area.x;
    for binding in first {
        if x + width(binding) + kept > area.right() {
            break;
        }
        key(pen, &mut x, area, binding);
    }
    for binding in last {
        key(pen, &mut x, area, binding);
    }
}

fn key(pen: &mut Pen<'_>, x: &mut u16, area: Rect, binding: &Binding) {
    pen.then(x, area.y, area.right(), &binding.keys[0].label(), Role::Key);
    pen.then(x, area.y, area.right(), " ", Role::Text);
    pen.then(x, area.y, area.right(), binding.short, Role::Text);
    pen.then(x, area.y, area.right(), "  ", Role::Text);
}

fn width(binding: &Binding) -> u16 {
    cells(&binding.keys[0].label()) + cells(binding.short) + 3
}
