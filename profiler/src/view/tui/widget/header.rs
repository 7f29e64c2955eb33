//! The first line: state, host and interval at the left; what is lost and what we cost at the right. Always.

use ratatui::layout::Rect;

use crate::field::Value;
use crate::view::tui::app::snapshot::Header;
use crate::view::tui::app::{App, Mode, Play, Playback};
use crate::view::tui::theme::Role;
use crate::view::tui::widget::pen::{Pen, cells};

/// Ticks without a batch after which we say so.
const SILENT_TICKS: u32 = 4;

/// A piece of the header.
struct Piece {
    text: String,
    role: Role,
    /// The greatest goes first where room is short; 0 stays. No two pieces share one, but for 0.
    dispensable: u8,
}

const fn piece(text: String, role: Role, dispensable: u8) -> Piece {
    Piece { text, role, dispensable }
}

/// Draws it.
pub fn draw(pen: &mut Pen<'_>, area: Rect, header: &Header, app: &App) {
    let (mut left, mut right) = (state(header, app), cost(header));
    fit(&mut left, &mut right, area.width);
    let mut x = area.x;
    for piece in &left {
        pen.then(&mut x, area.y, area.right(), &piece.text, piece.role);
        x += 2;
    }
    let start = area.right().saturating_sub(width(&right) + 1);
    let mut x = start.max(x);
    for piece in &right {
        pen.then(&mut x, area.y, area.right(), &piece.text, piece.role);
        x += 2;
    }
}

/// Keeps what fits, the indispensable first.
fn fit(left: &mut Vec<Piece>, right: &mut Vec<Piece>, room: u16) {
    let mut order: Vec<_> = left.iter().chain(&*right).map(|piece| (piece.dispensable, cells(&piece.text))).collect();
    order.sort_unstable();
    let (mut kept, mut used) = (Vec::new(), 0);
    for (dispensable, width) in order {
        if dispensable == 0 || used + width + 2 <= room {
            used += width + 2;
            kept.push((dispensable, width));
        }
    }
    let keep = |piece: &Piece| kept.contains(&(piece.dispensable, cells(&piece.text)));
    left.retain(keep);
    right.retain(keep);
}

fn width(pieces: &[Piece]) -> u16 {
    let texts: u16 = pieces.iter().map(|piece| cells(&piece.text)).sum();
    texts + 2 * u16::try_from(pieces.len().saturating_sub(1)).unwrap_or_default()
}

fn state(header: &Header, app: &App) -> Vec<Piece> {
    let mut pieces = vec![match app.mode {
        Mode::Live => piece(" LIVE ".into(), Role::Live, 0),
        Mode::Frozen => piece(format!(" FROZEN {} ago ", span(header.age_ns)), Role::Frozen, 0),
        Mode::Replay(playback) => piece(replay(playback), Role::Replay, 0),
    }];
    pieces.push(piece(header.host.clone(), Role::Strong, 3));
    pieces.push(piece(header.kernel.clone(), Role::Muted, 11));
    if let Mode::Replay(playback) = app.mode {
        let at = header.until.since(header.begin);
        let all = playback.end.since(header.begin);
        pieces.push(piece(format!("{} / {}", clock(at), clock(all)), Role::Strong, 1));
    }
    if header.batches > 0 {
        pieces.push(piece(span(header.interval_ns), Role::Text, 5));
        pieces.push(piece(format!("of {}", span(header.window_ns)), Role::Muted, 7));
        pieces.push(piece(format!("{} UTC", time_of_day(header.until_unix_ns)), Role::Muted, 9));
    }
    if app.mode == Mode::Live && app.silent_ticks >= SILENT_TICKS {
        pieces.push(piece(format!("no data for {} s", app.silent_ticks), Role::Bad, 0));
    }
    pieces
}

fn replay(playback: Playback) -> String {
    match playback.play {
        Play::Playing if playback.speed == 0 => " REPLAY ".into(),
        Play::Playing => format!(" REPLAY ×{} ", playback.factor()),
        Play::Paused => " PAUSED ".into(),
        Play::Ended => " END ".into(),
    }
}

fn cost(header: &Header) -> Vec<Piece> {
    let total: u64 = header.lost.iter().map(|(_, count)| count).sum();
    let mut pieces = Vec::new();
    if total == 0 {
        pieces.push(piece("lost 0".into(), Role::Text, 0));
    } else {
        let names: Vec<_> = header.lost.iter().map(|(name, count)| format!("{name} {count}")).collect();
        pieces.push(piece(format!("lost {total}"), Role::Bad, 0));
        pieces.push(piece(names.join(", "), Role::Text, 6));
    }
    if header.missed_ticks > 0 {
        pieces.push(piece(format!("{} ticks merged", header.missed_ticks), Role::Bad, 12));
    }
    let missing = &header.missing_probes;
    if !missing.is_empty() {
        let probes = if missing.len() == 1 { "probe" } else { "probes" };
        pieces.push(piece(format!("{} {probes} missing", missing.len()), Role::Bad, 4));
        pieces.push(piece(missing.join(", "), Role::Text, 12));
    }
    if header.batches > 0 {
        let (own, programs) = header.self_cpu;
        pieces.push(piece(format!("self {}", Value::Ratio(own + programs.unwrap_or_default())), Role::Text, 2));
        if let Some(programs) = programs {
            pieces.push(piece(format!("programs {}", Value::Ratio(programs)), Role::Muted, 10));
        }
        pieces.push(piece(format!("{:#}", Value::Bytes(header.self_memory_bytes)), Role::Text, 8));
    }
    pieces
}

fn span(ns: u64) -> String {
    Value::Nanos(ns).to_string()
}

/// Minutes and seconds: positions within a capture.
fn clock(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Hours, minutes and seconds of a moment since 1970 UTC.
fn time_of_day(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
