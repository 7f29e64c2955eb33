//! The host as a whole: what its CPUs did, what it stalled on, and how that came about.

use ratatui::layout::Rect;

use crate::batch::Pressure;
use crate::field::Value;
use crate::model::time::Point;
use crate::view::tui::app::snapshot::View;
use crate::view::tui::screen::inset;
use crate::view::tui::theme::{Band, Role};
use crate::view::tui::widget::bar::{self, Part};
use crate::view::tui::widget::chart::{self, Series};
use crate::view::tui::widget::pen::{Pen, split_top};

/// From this width on, the timeline has two columns.
const COLUMNS_MIN: u16 = 76;
/// Tallest chart.
const CHART_MAX: u16 = 4;
/// Cells of the pressure of a resource.
const PRESSURE: u16 = 25;

/// Lines that it takes without the past, and with all of it.
pub(super) fn heights(view: &View, width: u16) -> (u16, u16) {
    let series = u16::try_from(series(&[], &[]).len()).unwrap_or_default();
    let lines = if width < COLUMNS_MIN { series } else { series.div_ceil(2) };
    let now = bar_height(&cpu_parts(view), width) + threads_height(view, width) + pressure_height(view, width);
    (now, now + 1 + lines)
}

/// Draws as much of it as there is room for, the most important first.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, view: &View) {
    if area.is_empty() {
        return;
    }
    let parts = cpu_parts(view);
    let (top, rest) = split_top(area, bar_height(&parts, area.width));
    bar_of(pen, top, "CPU time", &span(view), &parts);
    let (top, rest) = split_top(rest, threads_height(view, area.width));
    bar_of(pen, top, "Threads that are not idle", &span(view), &view.host.threads);
    let (top, rest) = split_top(rest, pressure_height(view, area.width));
    pressure(pen, top, view);
    timeline(pen, rest, &view.host.history, &view.header.missing_probes);
}

fn bar_height(parts: &[Part], width: u16) -> u16 {
    2 + bar::legend_height(parts, width.saturating_sub(2))
}

fn threads_height(view: &View, width: u16) -> u16 {
    if view.host.threads.is_empty() { 0 } else { bar_height(&view.host.threads, width) }
}

fn pressure_height(view: &View, width: u16) -> u16 {
    let count = u16::try_from(view.host.pressure.len()).unwrap_or_default();
    let per_line = (width / PRESSURE).max(1);
    if count == 0 { 0 } else { 1 + count.div_ceil(per_line) }
}

fn bar_of(pen: &mut Pen<'_>, area: Rect, title: &str, span: &str, parts: &[Part]) {
    if area.is_empty() {
        return;
    }
    let (head, body) = split_top(area, 1);
    pen.title(head, title, span);
    let body = inset(body);
    bar::draw(pen, body, parts);
    bar::legend(pen, split_top(body, 1).1, parts);
}

fn cpu_parts(view: &View) -> [Part; 6] {
    let [user, system, idle, iowait, interrupts, stolen] = view.host.cpu_ns;
    [
        (Band::Run, "user", user),
        (Band::Kernel, "system", system),
        (Band::Interrupt, "irq", interrupts),
        (Band::Preempted, "steal", stolen),
        (Band::Blocked, "iowait", iowait),
        (Band::Idle, "idle", idle),
    ]
    .map(|(band, name, amount)| Part { band, name, amount })
}

fn pressure(pen: &mut Pen<'_>, area: Rect, view: &View) {
    if area.is_empty() {
        return;
    }
    let (title, body) = split_top(area, 1);
    pen.title(title, "Pressure", "some / all tasks stalled");
    let body = inset(body);
    let per_line = (area.width / PRESSURE).max(1);
    for (index, (name, pressure)) in (0u16..).zip(&view.host.pressure) {
        let (x, y) = (body.x + index % per_line * PRESSURE, body.y + index / per_line);
        if y >= body.bottom() {
            return;
        }
        pen.put(x, y, 8, name, Role::Text);
        pen.put_right(x + 7, y, 15, &shares(*pressure, view.header.window_ns), Role::Strong);
    }
}

fn shares(pressure: Option<Pressure>, window_ns: u64) -> String {
    let Some(pressure) = pressure else { return "? (no PSI)".into() };
    format!("{} / {}", Value::ratio(pressure.some_ns, window_ns), Value::ratio(pressure.full_ns, window_ns))
}

fn timeline(pen: &mut Pen<'_>, area: Rect, history: &[Point], missing: &[String]) {
    if area.height < 2 {
        return;
    }
    let (title, body) = split_top(area, 1);
    let (body, all) = (inset(body), series(history, missing));
    let columns = if area.width < COLUMNS_MIN { 1 } else { 2 };
    pen.title(title, "Timeline", "latest at the right");
    let width = (body.width - 2 * (columns - 1)) / columns;
    let count = u16::try_from(all.len()).unwrap_or(u16::MAX);
    let height = (body.height / count.div_ceil(columns)).clamp(1, CHART_MAX);
    for (index, Line { name, values, floor, latest }) in (0u16..).zip(all) {
        let (x, y) = (body.x + index % columns * (width + 2), body.y + index / columns * height);
        if y + height > body.bottom() {
            return;
        }
        let latest = latest.unwrap_or(Value::None);
        let latest = format!("{latest:#}");
        chart::draw(pen, Rect { x, y, width, height }, &Series { name, values: &values, floor, latest });
    }
}

/// A series with all that it takes to draw it.
struct Line {
    name: &'static str,
    values: Vec<f64>,
    floor: f64,
    latest: Option<Value>,
}

/// Probes without which bytes of some connections are missing.
const SOCKETS: &[&str] = &["iter_tcp", "iter_task", "inet_sock_set_state", "tcp_destroy_sock"];

/// Every series of the timeline, the most important first. Without one of its probes, a series is unknown.
fn series(history: &[Point], missing: &[String]) -> [Line; 7] {
    let line = |name, needs: &[&str], get: fn(&Point) -> f64, value: fn(f64) -> Value, floor| {
        if missing.iter().any(|probe| needs.contains(&probe.as_str())) {
            return Line { name, values: Vec::new(), floor, latest: Some(Value::Text("?".into())) };
        }
        let values: Vec<_> = history.iter().map(get).collect();
        let latest = values.last().copied().map(value);
        Line { name, values, floor, latest }
    };
    [
        line("cpu", &[], |point| point.cpu_ratio, Value::Ratio, 1.0),
        line("run queue", &["sched_switch"], |point| point.runq_threads, threads, 2.0),
        line("disk ops", &["block_rq_complete"], |point| point.disk_ops_s, Value::PerSecond, 100.0),
        line("disk bytes", &["block_rq_complete"], |point| point.disk_bytes_s, Value::BytesPerSecond, 1e6),
        line("tcp bytes", SOCKETS, |point| point.tcp_bytes_s, Value::BytesPerSecond, 1e6),
        line("retransmits", &["tcp_retransmit_skb"], |point| point.retransmits_s, Value::PerSecond, 10.0),
        line("calls", &["sys_exit"], |point| point.calls_s, Value::PerSecond, 1e3),
    ]
}

/// An average of threads has a fraction, unlike a count.
fn threads(value: f64) -> Value {
    Value::Text(format!("{value:.1}"))
}

fn span(view: &View) -> String {
    if view.header.window_ns == 0 {
        return String::new();
    }
    format!("last {}", Value::Nanos(view.header.window_ns))
}
