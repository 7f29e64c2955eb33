//! All figures of one run, as text and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::compare::{Comparison, Row};
use super::verdict::Verdict;
use super::{cost, programs};
use crate::table::{Table, number, ratio};

/// The machine on which the budgets were set; a slower one pays more for the same program.
const BUDGET_READ_NS: u32 = 119;
const BUDGET_SWITCH_NS: u32 = 1066;
/// Beyond this the quartiles say more about the machine than about the contenders.
const NOISE_MAX: f64 = 0.1;

const HOW_TO_READ: &str = "\
added: ns per operation, fastest repetition of all rounds less the fastest plain one. median, quartiles: the same
within each round; in the plain row, how far its rounds lie above the best of them. × ours: over what we add.
";

const MIB: f64 = (1 << 20) as f64;

#[derive(Debug, Serialize)]
pub struct Report {
    pub kernel: String,
    pub cpus: usize,
    /// Where the workloads ran.
    pub workload_cpu: usize,
    pub rounds: u32,
    pub peers: Vec<String>,
    /// Tracing programs of others that were loaded during the run: the figures may be too high.
    pub foreign_programs: Vec<String>,
    pub comparisons: Vec<Comparison>,
    pub programs: Vec<programs::Cost>,
    pub process: Vec<cost::Cost>,
    pub first_screen_ms: Option<f64>,
    pub verdicts: Vec<Verdict>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

impl Report {
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "Linux {}, {} CPUs, workloads on CPU {}; one interleaved run of {} rounds",
            self.kernel, self.cpus, self.workload_cpu, self.rounds
        );
        if !self.peers.is_empty() {
            let _ = writeln!(text, "peers: {}", self.peers.join(", "));
        }
        if !self.foreign_programs.is_empty() {
            let names = self.foreign_programs.join(", ");
            let _ = writeln!(text, "warning: tracing programs of others were loaded during the run: {names}");
        }
        if let Some(noise) = self.noise().filter(|noise| *noise > NOISE_MAX) {
            let percent = 100.0 * noise;
            let _ =
                writeln!(text, "warning: the machine was not quiet: rounds of the plain run differ by {percent:.0} %");
        }
        text += HOW_TO_READ;
        for comparison in &self.comparisons {
            let _ = write!(text, "\n{}", compared(comparison));
        }
        text += &self.programs_text();
        text += &self.process_text();
        if let Some(ms) = self.first_screen_ms {
            let _ = writeln!(text, "\nfirst screen after {ms:.0} ms");
        }
        text += &self.budgets_head();
        for verdict in &self.verdicts {
            let _ = writeln!(text, "  {}", verdict.line());
        }
        for failure in &self.failures {
            let _ = writeln!(text, "not measured: {failure}");
        }
        text
    }

    /// How much worse than the best round the upper quarter of plain rounds is, in the noisiest workload.
    fn noise(&self) -> Option<f64> {
        let plain = self.comparisons.iter().filter_map(Comparison::plain);
        plain.map(|ns| ns.quartile_high / ns.min - 1.0).max_by(f64::total_cmp)
    }

    fn budgets_head(&self) -> String {
        let plain = |id| {
            let comparison = self.comparisons.iter().find(|comparison| comparison.id == id);
            number(comparison.and_then(Comparison::plain).map(|ns| ns.min))
        };
        let (read, switch) = (plain("read"), plain("switch"));
        format!(
            "\nbudgets (set where a plain read takes {BUDGET_READ_NS} ns and a plain switch {BUDGET_SWITCH_NS} ns; \
             here {read} and {switch})\n"
        )
    }

    fn programs_text(&self) -> String {
        if self.programs.is_empty() {
            return String::new();
        }
        let mut table = Table::new(&["contender: workload: program", "runs", "ns/run"]);
        for cost in &self.programs {
            let load = format!("{:?}", cost.load).to_lowercase();
            let name = format!("{}: {load}: {}", cost.contender, cost.program);
            table.row(vec![name, cost.runs.to_string(), number(Some(cost.ns_per_run))]);
        }
        let text = table.text();
        format!("\nkernel's own statistics, a pass of its own; the clock that measures a run is in it\n{text}")
    }

    fn process_text(&self) -> String {
        if self.process.is_empty() {
            return String::new();
        }
        let head = ["host", "CPU %", "ms/tick", "RSS MiB", "anonymous MiB", "maps MiB (kernel)"];
        let mut table = Table::new(&head);
        for cost in &self.process {
            let mib = |bytes: u64| number(Some(bytes as f64 / MIB));
            let (cpu, tick) = (ratio(Some(100.0 * cost.cpu_ratio)), ratio(Some(cost.ms_per_tick)));
            let memory = [cost.rss_bytes, cost.anonymous_bytes, cost.map_bytes].map(mib);
            table.row([cost.host.clone(), cpu, tick].into_iter().chain(memory).collect());
        }
        format!("\nour own process\n{}", table.text())
    }
}

fn compared(comparison: &Comparison) -> String {
    let head = ["contender", "ns/op", "added", "median", "quartiles", "× plain", "× ours"];
    let mut table = Table::new(&head);
    for row in &comparison.rows {
        match &row.cannot_run {
            Some(reason) if row.ns.is_none() && row.added.is_none() => {
                table.note(&row.contender, &format!("cannot run: {reason}"));
            }
            _ => table.row(cells(row)),
        }
    }
    format!("{} ({:.1} system calls)\n{}", comparison.title, comparison.calls, table.text())
}

fn cells(row: &Row) -> Vec<String> {
    let paired = row.added.map(|added| added.paired);
    let quartiles = paired
        .map_or_else(|| "–".to_owned(), |paired| format!("{:.1} … {:.1}", paired.quartile_low, paired.quartile_high));
    vec![
        row.contender.clone(),
        number(row.ns.map(|ns| ns.min)),
        number(row.added.map(|added| added.of_minima)),
        number(paired.map(|paired| paired.median)),
        quartiles,
        ratio(row.times_plain),
        ratio(row.times_ours),
    ]
}
