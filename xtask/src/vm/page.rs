//! The matrix kernel × probe × test: on the terminal, and in docs/KERNELS.md.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Outcomes;
use super::btf::probe::{At, PROBES, Probe};
use super::scale::Scale;
use crate::layout::Layout;
use crate::section;
use crate::table::{Rows, Table, markdown};

/// Everything as aligned columns.
pub fn text(outcomes: &Outcomes) -> String {
    let grids = grids(outcomes).map(|(rows, reasons)| {
        let mut table = Table::default();
        for row in rows {
            table.row(row);
        }
        format!("\n{}\n{}", table.text(), reasons.list("  "))
    });
    grids.concat()
}

/// Writes what is generated in docs/KERNELS.md.
pub fn write(layout: &Layout, outcomes: &Outcomes) -> Result<()> {
    section::write(layout, "docs/KERNELS.md", &[("matrix", &matrix(outcomes)), ("probes", &ladder())])
}

/// The last run.
fn matrix(outcomes: &Outcomes) -> String {
    let guests = outcomes.iter().fold(String::new(), |text, (guest, outcome)| {
        let command = if guest.append.is_empty() { String::new() } else { format!(", `{}`", guest.append) };
        format!("{text}- {}: Linux {}, `-smp {}`{command}\n", guest.name, outcome.host.kernel, guest.cpus)
    });
    let grids = grids(outcomes).map(|(rows, reasons)| format!("\n{}\n{}", markdown(&rows), reasons.list("- ")));
    let scale = Scale::of(outcomes).map_or_else(String::new, |scale| scale.text());
    format!("{guests}{}\n{scale}", grids.concat().trim_end_matches('\n').to_owned() + "\n")
}

/// What each probe does without, from the table that the loader walks.
fn ladder() -> String {
    let head = ["probe", "attaches to", "forms, the best first", "lost without it"].map(str::to_owned);
    let rows = PROBES.iter().map(|probe| {
        let (at, forms) = match probe.at {
            At::Iterator(over) => (format!("iterator `{over}`"), "`iter`"),
            At::Run => ("nothing: it is run once per tick, and reads by address".to_owned(), "`run`"),
            At::Tracepoint(_) => (format!("tracepoint {}", names(probe)), "`tp_btf`, `raw_tp`"),
            At::Typed(_) => (format!("tracepoint {}", names(probe)), "`tp_btf`"),
            At::Sampled(at) => (format!("tracepoint `{at}`, for a share of each interval"), "`tp_btf`, `raw_tp`"),
        };
        vec![format!("`{}`", probe.name), at, forms.to_owned(), probe.without.to_owned()]
    });
    markdown(&[head.to_vec()].into_iter().chain(rows).collect::<Rows>())
}

/// What its tracepoint is called, on some kernels or on others.
fn names(probe: &Probe) -> String {
    probe.tracepoints().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

/// Why cells are not what one would like, each reason once.
#[derive(Default)]
struct Reasons(Vec<String>);

impl Reasons {
    /// A cell that leads to its reason.
    fn cell(&mut self, cell: &str, reason: String) -> String {
        let place = self.0.iter().position(|known| *known == reason).unwrap_or_else(|| {
            self.0.push(reason);
            self.0.len() - 1
        });
        format!("{cell} [{}]", place + 1)
    }

    /// All reasons by number, each on a line that begins alike.
    fn list(&self, begin: &str) -> String {
        let reasons = self.0.iter().zip(1..);
        reasons.fold(String::new(), |text, (reason, number)| format!("{text}{begin}[{number}] {reason}\n"))
    }
}

fn grids(outcomes: &Outcomes) -> [(Rows, Reasons); 3] {
    [probes(outcomes), tests(outcomes), figures(outcomes)]
}

/// Probe × guest.
fn probes(outcomes: &Outcomes) -> (Rows, Reasons) {
    let (mut rows, mut reasons) = (vec![head("probe", outcomes)], Reasons::default());
    for Probe { name, .. } in PROBES {
        let cells = outcomes.iter().map(|(_, outcome)| {
            let Some(probe) = outcome.host.probes.iter().find(|probe| probe.name == *name) else { return "?".into() };
            let form = probe.form.as_deref().unwrap_or("-");
            if probe.reason.is_empty() { form.into() } else { reasons.cell(form, format!("{name}: {}", probe.reason)) }
        });
        rows.push([(*name).to_owned()].into_iter().chain(cells).collect());
    }
    (rows, reasons)
}

/// Test × guest; empty where nobody asked for it.
fn tests(outcomes: &Outcomes) -> (Rows, Reasons) {
    let (mut rows, mut reasons) = (vec![head("test", outcomes)], Reasons::default());
    let names: BTreeSet<_> = outcomes.iter().flat_map(|(_, outcome)| outcome.tests.keys()).collect();
    for name in names {
        let cells = outcomes.iter().map(|(guest, outcome)| match (outcome.tests.get(name), guest.why_not(name)) {
            (Some(true), _) => "ok".to_owned(),
            (Some(false), _) => "FAILED".to_owned(),
            (None, Some(why)) => reasons.cell("-", why.to_owned()),
            (None, None) => String::new(),
        });
        rows.push([name.clone()].into_iter().chain(cells).collect());
    }
    (rows, reasons)
}

/// What the tests have measured × guest.
fn figures(outcomes: &Outcomes) -> (Rows, Reasons) {
    let names: BTreeSet<_> = outcomes.iter().flat_map(|(_, outcome)| outcome.figures.keys()).collect();
    let rows = names.into_iter().map(|name| {
        let cells = outcomes.iter().map(|(_, outcome)| outcome.figures.get(name).cloned().unwrap_or_default());
        [name.clone()].into_iter().chain(cells).collect()
    });
    ([head("measured", outcomes)].into_iter().chain(rows).collect(), Reasons::default())
}

fn head(title: &str, outcomes: &Outcomes) -> Vec<String> {
    [title].into_iter().chain(outcomes.iter().map(|(guest, _)| guest.name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_what_the_loader_knows() {
        let page = include_str!("../../../docs/KERNELS.md");
        let section = format!("<!-- probes -->\n{}<!-- /probes -->", ladder());
        assert!(page.contains(&section), "run `cargo xtask vm --all`, or put this into docs/KERNELS.md:\n{section}");
        assert!(page.contains("<!-- matrix -->\n") && page.contains("<!-- /matrix -->"), "where the last run goes");
    }
}
