//! `cargo xtask corpus waterfall`: what the kernel tests of the waterfall measured, as a table: workload × state.

use std::fs;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, ensure};
use profiler_common::wait::NAMES;

use crate::layout::Layout;
use crate::section;
use crate::table::{Rows, Table, markdown};
use crate::test::{self, Tally};

const PAGE: &str = "docs/WATERFALL.md";
/// A state with less of the wall time is not told, in percent.
const SHARE_MIN: f64 = 0.05;
const HEAD: [&str; 5] = ["workload", "meant state", "of its class", "unexplained", "all states, of the wall time"];

pub fn main(layout: &Layout) -> Result<ExitCode> {
    let mut tests = test::command(layout)?;
    tests.args(["--show-output", "waterfall::"]);
    let (mut lines, mut tally) = (Vec::new(), Tally::default());
    let ran = tally.count_and(&mut tests, |line| {
        if line.starts_with("test ") {
            eprintln!("{line}");
        }
        lines.push(line.to_owned());
    });
    let rows = rows(&lines);
    print!("{}", text(&rows));
    println!("{tally}");
    if let Err(error) = ran {
        lines.iter().filter(|line| !line.starts_with("test ")).for_each(|line| eprintln!("{line}"));
        return Err(error);
    }
    ensure!(rows.len() as u64 == tally.passed, "a workload told nothing of its states: {PAGE} stays as it was");
    section::write(layout, PAGE, &[("cells", &cells(&rows)?), ("waits", &waits())])?;
    Ok(ExitCode::SUCCESS)
}

/// What one workload spent its time with.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    /// The states that it was made for: `a|b`.
    meant: String,
    /// How much of the time in states of such a class these are, as the test tells it.
    share: String,
    /// All states and their shares of the wall time in percent: those that are meant first, then by size.
    states: Vec<(String, f64)>,
}

impl Row {
    /// From a line such as `states a sleep (sleep): sleep 98.2 %, user 1.8 %`.
    fn parse(line: &str, lines: &[String]) -> Option<Self> {
        let (title, states) = line.strip_prefix("states ")?.split_once(": ")?;
        let (name, meant) = title.strip_suffix(')')?.rsplit_once(" (")?;
        let figure = format!("figure {title}: ");
        let share = lines.iter().find_map(|line| line.strip_prefix(&figure))?;
        let state = |part: &str| {
            let (state, share) = part.strip_suffix(" %")?.split_once(' ')?;
            Some((state.to_owned(), share.parse().ok()?))
        };
        let mut states: Vec<(String, f64)> = states.split(", ").map(state).collect::<Option<_>>()?;
        let is_meant = |state: &str| meant.split('|').any(|id| id == state);
        states.sort_by(|(a, a_share), (b, b_share)| {
            is_meant(b).cmp(&is_meant(a)).then(b_share.total_cmp(a_share)).then(a.cmp(b))
        });
        Some(Self { name: name.to_owned(), meant: meant.to_owned(), share: share.to_owned(), states })
    }

    fn cells(&self) -> Vec<String> {
        let percent = |share: f64| if share < SHARE_MIN { "0 %".to_owned() } else { format!("{share:.1} %") };
        let unexplained = self.states.iter().find(|(state, _)| state == "unexplained").map_or(0.0, |(_, share)| *share);
        let told = self.states.iter().filter(|(_, share)| *share >= SHARE_MIN);
        let told: Vec<_> = told.map(|(state, share)| format!("{state} {}", percent(*share))).collect();
        let meant = self.meant.replace('|', " or ");
        vec![self.name.clone(), meant, self.share.clone(), percent(unexplained), told.join(", ")]
    }
}

/// By state, then by name.
fn rows(lines: &[String]) -> Vec<Row> {
    let mut rows: Vec<_> = lines.iter().filter_map(|line| Row::parse(line, lines)).collect();
    rows.sort_by(|a, b| (&a.meant, &a.name).cmp(&(&b.meant, &b.name)));
    rows
}

fn text(rows: &[Row]) -> String {
    let mut table = Table::new(&HEAD);
    for row in rows {
        table.row(row.cells());
    }
    table.text()
}

fn cells(rows: &[Row]) -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("failed to read the kernel's release")?;
    let cpus = thread::available_parallelism().context("failed to count CPUs")?;
    let head = [HEAD.map(str::to_owned).to_vec()];
    let table: Rows = head.into_iter().chain(rows.iter().map(Row::cells)).collect();
    Ok(format!("Linux {}, {cpus} CPUs:\n\n{}", kernel.trim(), markdown(&table)))
}

/// The kinds of waits, from the table that the kernel programs index.
fn waits() -> String {
    let head = ["state", "in words", "class"].map(str::to_owned).to_vec();
    let row = |wait: &profiler_common::wait::Wait| [wait.id, wait.label, wait.class.name()].map(str::to_owned).to_vec();
    markdown(&[head].into_iter().chain(NAMES.iter().map(row)).collect::<Rows>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_made_of_two_lines_of_a_test() {
        let lines = ["figure syncs (disk_write|journal): 99.8 %", "noise"].map(str::to_owned);
        let line =
            "states syncs (disk_write|journal): user 0.04 %, unexplained 0.10 %, journal 20.00 %, disk_write 79.86 %";
        let row = Row::parse(line, &lines).unwrap();
        let cells = [
            "syncs",
            "disk_write or journal",
            "99.8 %",
            "0.1 %",
            "disk_write 79.9 %, journal 20.0 %, unexplained 0.1 %",
        ];
        assert_eq!(row.cells(), cells);
        assert_eq!(Row::parse("states x (y): z 1.0 %", &lines), None);
        assert_eq!(Row::parse("test x ... ok", &lines), None);
    }

    #[test]
    fn the_page_tells_the_kinds_of_waits() {
        let page = include_str!("../../../docs/WATERFALL.md");
        assert!(page.contains(&waits()), "run `cargo xtask corpus waterfall`, or put this into {PAGE}:\n{}", waits());
    }
}
