//! The matrix kernel × probe × test: on the terminal, and in docs/KERNELS.md.

use std::fs;

use anyhow::{Context, Result};

use super::btf::probe::{At, PROBES, Probe};
use super::matrix::Guest;
use super::outcome::Outcome;
use crate::layout::Layout;
use crate::table::Table;

type Outcomes = [(&'static Guest, Outcome)];
type Rows = Vec<Vec<String>>;

/// Everything as aligned columns.
pub fn text(outcomes: &Outcomes) -> String {
    let (probes, reasons) = probes(outcomes);
    let aligned = |rows: Rows| {
        let mut table = Table::default();
        for row in rows {
            table.row(row);
        }
        table.text()
    };
    let reasons = reasons.iter().fold(String::new(), |text, reason| format!("{text}  {reason}\n"));
    format!("\n{}\n{reasons}\n{}", aligned(probes), aligned(tests(outcomes)))
}

/// Writes what is generated in docs/KERNELS.md.
pub fn write(layout: &Layout, outcomes: &Outcomes) -> Result<()> {
    let path = layout.root.join("docs/KERNELS.md");
    let page = fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let page = replace(&page, "matrix", &matrix(outcomes)).context("docs/KERNELS.md has no section `matrix`")?;
    let page = replace(&page, "probes", &ladder()).context("docs/KERNELS.md has no section `probes`")?;
    fs::write(&path, page).with_context(|| format!("failed to write `{}`", path.display()))
}

/// The last run.
fn matrix(outcomes: &Outcomes) -> String {
    let (probes, reasons) = probes(outcomes);
    let reasons = reasons.iter().fold(String::new(), |text, reason| format!("{text}- {reason}\n"));
    let guests = outcomes.iter().fold(String::new(), |text, (guest, outcome)| {
        let command = if guest.append.is_empty() { String::new() } else { format!(", `{}`", guest.append) };
        format!("{text}- {}: Linux {}, `-smp {}`{command}\n", guest.name, outcome.host.kernel, guest.cpus)
    });
    format!("{guests}\n{}\n{reasons}\n{}", markdown(&probes), markdown(&tests(outcomes)))
}

/// What each probe does without, from the table that the loader walks.
fn ladder() -> String {
    let head = ["probe", "attaches to", "forms, the best first", "lost without it"].map(str::to_owned);
    let rows = PROBES.iter().map(|probe| {
        let (at, forms) = match probe.at {
            At::Iterator(over) => (format!("iterator `{over}`"), "`iter`"),
            At::Tracepoint(at) => (format!("tracepoint `{at}`"), "`tp_btf`, `raw_tp`"),
            At::Sampled(at) => (format!("tracepoint `{at}`, for a share of each interval"), "`tp_btf`, `raw_tp`"),
        };
        vec![format!("`{}`", probe.name), at, forms.to_owned(), probe.without.to_owned()]
    });
    markdown(&[head.to_vec()].into_iter().chain(rows).collect::<Rows>())
}

/// Probe × guest, and the reasons for what is not in its best form.
fn probes(outcomes: &Outcomes) -> (Rows, Vec<String>) {
    let mut reasons = Vec::new();
    let mut rows = vec![head("probe", outcomes)];
    for Probe { name, .. } in PROBES {
        let cells = outcomes.iter().map(|(_, outcome)| {
            let Some(probe) = outcome.host.probes.iter().find(|probe| probe.name == *name) else { return "?".into() };
            let form = probe.form.as_deref().unwrap_or("-");
            if probe.reason.is_empty() {
                return form.to_owned();
            }
            let reason = format!("{name}: {}", probe.reason);
            let place = reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            });
            format!("{form} [{}]", place + 1)
        });
        rows.push([(*name).to_owned()].into_iter().chain(cells).collect());
    }
    let numbered = reasons.iter().zip(1..).map(|(reason, number)| format!("[{number}] {reason}"));
    (rows, numbered.collect())
}

/// Test × guest.
fn tests(outcomes: &Outcomes) -> Rows {
    let mut names: Vec<_> = outcomes.iter().flat_map(|(_, outcome)| outcome.tests.keys()).collect();
    names.sort();
    names.dedup();
    let cell = |outcome: &Outcome, name: &String| match outcome.tests.get(name) {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "-",
    };
    let row = |name: &String| {
        let cells = outcomes.iter().map(|(_, outcome)| cell(outcome, name).to_owned());
        [name.clone()].into_iter().chain(cells).collect()
    };
    [head("test", outcomes)].into_iter().chain(names.into_iter().map(row)).collect()
}

fn head(title: &str, outcomes: &Outcomes) -> Vec<String> {
    [title].into_iter().chain(outcomes.iter().map(|(guest, _)| guest.name)).map(str::to_owned).collect()
}

fn markdown(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
    let [head, rest @ ..] = rows else { return String::new() };
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    [line(head), rule].into_iter().chain(rest.iter().map(line)).collect()
}

/// Puts text between the two marks of a section.
fn replace(page: &str, section: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- {section} -->\n"))?;
    let (_, after) = rest.split_once(&format!("<!-- /{section} -->"))?;
    Some(format!("{before}<!-- {section} -->\n{text}<!-- /{section} -->{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_what_the_loader_knows() {
        let page = include_str!("../../../docs/KERNELS.md");
        assert!(
            page.contains(&ladder()),
            "run `cargo xtask vm --all`, or put this into docs/KERNELS.md:\n{}",
            ladder()
        );
    }

    #[test]
    fn only_the_section_changes() {
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb";
        assert_eq!(replace(page, "x", "new\n").as_deref(), Some("a\n<!-- x -->\nnew\n<!-- /x -->\nb"));
        assert_eq!(replace(page, "y", "new\n"), None);
    }
}
