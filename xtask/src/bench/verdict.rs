//! The budgets, and whether they are met. Nothing fails on a missed one: a figure depends on the machine.

use std::fmt::Write as _;

use serde::Serialize;

use super::compare::Comparison;
use super::contender::Id;
use super::cost;

const CALL_NS_MAX: f64 = 50.0;
const SWITCH_NS_MAX: f64 = 100.0;
const FIRST_SCREEN_MS_MAX: f64 = 1000.0;
/// Of one CPU.
const CPU_PERCENT_MAX: f64 = 1.0;
const MEMORY_MIB_MAX: f64 = 64.0;
const MIB: f64 = (1 << 20) as f64;

#[derive(Debug, PartialEq, Serialize)]
pub struct Verdict {
    pub what: String,
    pub unit: &'static str,
    pub budget: f64,
    /// `None` where it was not measured.
    pub value: Option<f64>,
    /// The part of it that any tracer pays on the same hooks.
    pub floor: Option<f64>,
    /// What the cheapest peer adds.
    pub cheapest_peer: Option<f64>,
}

impl Verdict {
    /// One line for people.
    pub fn line(&self) -> String {
        let (what, unit, budget) = (&self.what, self.unit, self.budget);
        let Some(value) = self.value else {
            return format!("not measured   {what}: budget {budget} {unit}");
        };
        let mut line = if value <= budget {
            format!("met            {what}: {value:.1} of {budget} {unit}")
        } else {
            format!("missed         {what}: {value:.1} {unit}, {:.1} over the budget of {budget}", value - budget)
        };
        // Writing to a string cannot fail.
        if let Some(floor) = self.floor {
            let _ = write!(line, "; the floor is {floor:.1}, {:.0} % of it", 100.0 * floor / value);
        }
        if let Some(peer) = self.cheapest_peer.filter(|peer| *peer > 0.0) {
            let _ = write!(line, "; {:.2} × the cheapest peer", value / peer);
        }
        line
    }
}

/// All budgets, measured or not.
pub fn all(comparisons: &[Comparison], costs: &[cost::Cost], first_screen_ms: Option<f64>) -> Vec<Verdict> {
    let mut verdicts = vec![
        added("added per system call (read)", "read", CALL_NS_MAX, comparisons),
        added("added per context switch, net of its calls (pipes)", "switch-net", SWITCH_NS_MAX, comparisons),
        plain("first screen".to_owned(), "ms", FIRST_SCREEN_MS_MAX, first_screen_ms),
    ];
    for (index, host) in ["idle host", "busy host"].into_iter().enumerate() {
        let cost = costs.get(index);
        let cpu = cost.map(|cost| 100.0 * cost.cpu_ratio);
        verdicts.push(plain(format!("CPU of the process, {host}"), "% of one CPU", CPU_PERCENT_MAX, cpu));
        let memory = cost.map(|cost| cost.rss_bytes as f64 / MIB);
        verdicts.push(plain(format!("resident memory, {host}"), "MiB", MEMORY_MIB_MAX, memory));
    }
    verdicts
}

fn plain(what: String, unit: &'static str, budget: f64, value: Option<f64>) -> Verdict {
    Verdict { what, unit, budget, value, floor: None, cheapest_peer: None }
}

fn added(what: &str, table: &str, budget: f64, comparisons: &[Comparison]) -> Verdict {
    let rows =
        comparisons.iter().find(|comparison| comparison.id == table).map(|comparison| comparison.rows.as_slice());
    let rows = rows.unwrap_or_default();
    let value = |row: &super::compare::Row| row.added.map(|added| added.of_minima);
    let of = |id: Id| rows.iter().find(|row| row.id == id).and_then(value);
    let peers = rows.iter().filter(|row| row.id.is_peer()).filter_map(value);
    Verdict {
        what: what.to_owned(),
        unit: "ns",
        budget,
        value: of(Id::Us),
        floor: of(Id::Floor),
        cheapest_peer: peers.min_by(f64::total_cmp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(value: Option<f64>, floor: Option<f64>, cheapest_peer: Option<f64>) -> Verdict {
        Verdict { what: "calls".to_owned(), unit: "ns", budget: 50.0, value, floor, cheapest_peer }
    }

    #[test]
    fn a_verdict_names_the_floor_and_the_peer() {
        let line = verdict(Some(80.0), Some(20.0), Some(160.0)).line();
        let wanted = "missed         calls: 80.0 ns, 30.0 over the budget of 50; \
                      the floor is 20.0, 25 % of it; 0.50 × the cheapest peer";
        assert_eq!(line, wanted);
        assert_eq!(verdict(Some(31.0), None, None).line(), "met            calls: 31.0 of 50 ns");
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        assert_eq!(verdict(None, None, None).line(), "not measured   calls: budget 50 ns");
        assert!(all(&[], &[], None).iter().all(|verdict| verdict.value.is_none()));
    }
}
