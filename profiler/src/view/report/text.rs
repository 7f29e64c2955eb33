//! The report for people: plain text, no escapes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use profiler_common::file::PAGE_BYTES;

use super::{cost, gap_ns, missing_because, utc, window_unix_ns};
use crate::field::{Scope, Sheet, Table, Value, top};
use crate::finding::{DETECTORS, Finding, undecided, unexplained};
use crate::model::{Model, Window};

/// Rows of a table; JSON has the rest.
const ROWS_MAX: usize = 15;
/// Columns that a terminal of this width would show.
const WIDTH: u16 = 120;
/// Where what follows a label begins.
const INDENT: usize = 10;

/// The report as text.
#[must_use]
pub fn text(model: &Model, findings: &[Finding]) -> String {
    let mut out = header(model);
    out.push_str(&findings_text(model, findings));
    for table in Table::ALL {
        out.push_str(&table_text(&top(model, table, &Scope::once(), ROWS_MAX)));
    }
    out
}

fn header(model: &Model) -> String {
    let machine = &model.machine;
    let mut out = format!("profiler {} report\n\n", machine.version);
    let memory = Value::Bytes(machine.memory_bytes);
    let host = format!("{}, Linux {}, {} CPUs, {memory:#} of memory", machine.host, machine.kernel, machine.cpus);
    line(&mut out, "Host", &host);
    line(&mut out, "Interval", &interval(model));
    line(&mut out, "Load", &load(model));
    line(&mut out, "Lost", &lost(model));
    line(&mut out, "Own cost", &own_cost(model));
    for probe in machine.probes.iter().filter(|probe| probe.form.is_none()) {
        line(&mut out, "No probe", &format!("{} ({}): {}", probe.name, probe.reason, probe.without));
    }
    for note in &model.quality.notes {
        line(&mut out, "Note", note);
    }
    out.push('\n');
    out
}

fn interval(model: &Model) -> String {
    let (begin, until) = window_unix_ns(model);
    let observed = Value::Nanos(model.time.window_ns);
    let mut text = format!("{} to {} UTC, {observed} observed", utc::date_time(begin), utc::date_time(until));
    if gap_ns(model) > 0 {
        let _ = write!(text, ", {} in between not", Value::Nanos(gap_ns(model)));
    }
    if model.window == Window::Recent {
        let _ = write!(text, "; rates are of the last {}", Value::Nanos(model.time.last_ns));
    }
    text
}

fn load(model: &Model) -> String {
    let cpu_ns = &model.host.row.sum.cpu_ns;
    let all = cpu_ns.iter().sum();
    let parts = ["user", "system", "idle", "iowait", "irq", "steal"].iter().zip(cpu_ns);
    let parts: Vec<String> = parts.map(|(name, ns)| format!("{name} {}", Value::ratio(*ns, all))).collect();
    let mut text = format!("CPU {}", parts.join(", "));
    let pressures = model.host.row.sum.pressure.keys().filter_map(|resource| {
        let ratio = model.host.pressure_ratio(resource, model.time.window_ns)?;
        Some(format!("{resource} {}", Value::Ratio(ratio)))
    });
    let pressures: Vec<String> = pressures.collect();
    let known = if pressures.is_empty() { "unknown".into() } else { pressures.join(", ") };
    let _ = write!(text, "; some task stalled (PSI): {known}");
    if let Some(pages) = model.host.row.sum.refaulted_pages {
        let _ = write!(text, "; {} fetched again soon after eviction", Value::Bytes(pages * PAGE_BYTES));
    }
    text
}

fn lost(model: &Model) -> String {
    let quality = &model.quality;
    let losses = quality.lost.iter().map(|(name, count)| format!("{count} {name} ({})", missing_because(name)));
    let mut parts: Vec<String> = losses.collect();
    if quality.missed_ticks > 0 {
        parts.push(format!("{} ticks (those intervals are longer)", quality.missed_ticks));
    }
    let folded = &model.folded;
    for (count, what) in
        [(folded.processes, "processes"), (folded.threads, "ended threads"), (folded.sockets, "sockets")]
    {
        if count > 0 {
            parts.push(format!("{count} {what} beyond our bounds are summed up only"));
        }
    }
    if parts.is_empty() { "nothing".into() } else { parts.join("; ") }
}

fn own_cost(model: &Model) -> String {
    let (own, programs) = cost(model);
    let programs = programs.map_or(Value::Unknown("no statistics"), Value::Ratio);
    format!(
        "{} of one CPU in user space, {programs:#} in kernel programs; memory {:#}, kernel maps {:#}",
        Value::Ratio(own),
        Value::Bytes(model.quality.self_memory_bytes),
        Value::Bytes(model.quality.map_memory_bytes)
    )
}

fn findings_text(model: &Model, findings: &[Finding]) -> String {
    let mut out = String::new();
    if model.time.batches == 0 {
        out.push_str("Nothing was observed yet.\n");
        return out;
    }
    match unexplained(model, findings) {
        Some(signs) => {
            let _ = writeln!(out, "{signs}, but no rule explains it: see \"{}\".", Table::States.title());
        }
        None if findings.is_empty() => out.push_str("No findings.\n"),
        None => {}
    }
    if !findings.is_empty() {
        let _ = writeln!(out, "Findings: {}\n", findings.len());
    }
    for finding in findings {
        out.push_str(&finding_text(finding));
    }
    let blind = undecided(model);
    let checked = DETECTORS.iter().filter(|detector| !blind.iter().any(|(other, _)| other.id == detector.id));
    let checked: Vec<String> = checked.map(|detector| format!("{} {}", detector.id, detector.title)).collect();
    let checked = if checked.is_empty() { "nothing".into() } else { checked.join("; ") };
    line(&mut out, "Checked", &checked);
    for (detector, why) in blind {
        line(&mut out, "Not told", &format!("{} {}: {why}", detector.id, detector.title));
    }
    out
}

fn finding_text(finding: &Finding) -> String {
    let mut out = format!("{} {}: {}\n", finding.id, finding.severity.name(), finding.claim);
    line(&mut out, "Impact", &Value::Ratio(finding.impact).to_string());
    let parts = [("Victims", &finding.victims), ("Evidence", &finding.evidence)];
    for (label, texts) in parts {
        lines(&mut out, label, texts);
    }
    line(&mut out, "Witness", finding.witness.as_deref().unwrap_or("none: no independent counter covers this"));
    lines(&mut out, "Rejected", &finding.rejected);
    line(&mut out, "Advice", finding.advice);
    out.push('\n');
    out
}

fn lines(out: &mut String, label: &str, texts: &[String]) {
    for (at, text) in texts.iter().enumerate() {
        line(out, if at == 0 { label } else { "" }, text);
    }
}

fn line(out: &mut String, label: &str, text: &str) {
    let _ = writeln!(out, "{label:INDENT$}{text}");
}

fn table_text((sheet, more): &(Sheet, usize)) -> String {
    let mut out = format!("\n{}", sheet.table.title());
    if sheet.rows.is_empty() {
        let _ = writeln!(out, ": {}", sheet.incomplete.map_or("none".into(), |why| format!("unknown, {why}")));
        return out;
    }
    out.push('\n');
    let columns: Vec<usize> = (0..sheet.columns.len()).filter(|at| sheet.columns[*at].hide_below <= WIDTH).collect();
    let mut grid = vec![String::new(); sheet.rows.len() + 1];
    let mut unknown = BTreeMap::<&str, Vec<&str>>::new();
    for &at in &columns {
        let cells: Vec<&Value> = sheet.rows.iter().map(|row| &row.cells[at]).collect();
        let label = sheet.columns[at].label;
        append_column(&mut grid, label, &cells);
        for cell in cells {
            if let Value::Unknown(why) = cell {
                let labels = unknown.entry(why).or_default();
                if labels.last() != Some(&label) {
                    labels.push(label);
                }
            }
        }
    }
    for row in grid {
        let _ = writeln!(out, "{}", row.trim_end());
    }
    if *more > 0 {
        let _ = writeln!(out, "… and {more} more");
    }
    if let Some(why) = sheet.incomplete {
        let _ = writeln!(out, "? rows may be missing: {why}");
    }
    for (why, labels) in unknown {
        let _ = writeln!(out, "? under {}: {why}", labels.join(", "));
    }
    out
}

/// Puts a column to the right of what is there: names flush left, numbers flush right.
fn append_column(grid: &mut [String], label: &str, cells: &[&Value]) {
    let printed: Vec<String> = cells.iter().map(ToString::to_string).collect();
    let texts = || std::iter::once(label).chain(printed.iter().map(String::as_str));
    let width = texts().map(|text| text.chars().count()).max().unwrap_or(0);
    let right = !cells.iter().any(|cell| !cell.is_number());
    for (row, text) in grid.iter_mut().zip(texts()) {
        if !row.is_empty() {
            row.push_str("  ");
        }
        let _ = if right { write!(row, "{text:>width$}") } else { write!(row, "{text:<width$}") };
    }
}
