//! `profiler doctor`: what this kernel and these privileges allow, probe by probe.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use clap::builder::styling::{AnsiColor, Effects, Style};
use serde_json::json;

use crate::batch::{Machine, ProbeStatus};
use crate::cli::DoctorArgs;
use crate::error::Error;
use crate::field::Value;
use crate::kernel;
use crate::run::attach::prepare;
use crate::run::{Exit, print};

/// Titles of the columns.
const TITLES: [&str; 4] = ["PROBE", "FORM", "REASON", "UNKNOWN WITHOUT IT"];

pub(super) fn main(args: &DoctorArgs) -> Result<Exit, Error> {
    let machine = kernel::doctor(&prepare(&args.observe)?)?;
    if args.json {
        print(&json(&machine))?;
    } else {
        let plain = !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        print(&text(&machine, if plain { Paint::None } else { Paint::Colors }))?;
    }
    Ok(Exit::Fine)
}

/// Whether there are colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paint {
    Colors,
    None,
}

impl Paint {
    fn on(self, style: Style, text: &str) -> String {
        match self {
            Self::Colors => format!("{style}{text}{style:#}"),
            Self::None => text.to_owned(),
        }
    }
}

fn json(machine: &Machine) -> String {
    let facts = json!({
        "version": machine.version,
        "host": machine.host,
        "kernel": machine.kernel,
        "cpus": machine.cpus,
        "memory_bytes": machine.memory_bytes,
        "probes": machine.probes,
    });
    format!("{facts}\n")
}

fn text(machine: &Machine, paint: Paint) -> String {
    let memory = Value::Bytes(machine.memory_bytes);
    let mut out = format!(
        "profiler {} on {}: Linux {}, {} CPUs, {memory:#} of memory\n\n",
        machine.version, machine.host, machine.kernel, machine.cpus
    );
    let rows: Vec<_> = machine.probes.iter().map(cells).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column]).chain([TITLES[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let title = Style::new().effects(Effects::BOLD);
    let _ = writeln!(out, "{}", paint.on(title, &line(TITLES, widths)));
    for (probe, row) in machine.probes.iter().zip(&rows) {
        let _ = writeln!(out, "{}", paint.on(style(probe), &line(*row, widths)));
    }
    let working = machine.probes.iter().filter(|probe| probe.form.is_some()).count();
    let _ = writeln!(out, "\n{working} of {} probes work here", machine.probes.len());
    out
}

fn cells(probe: &ProbeStatus) -> [&str; 4] {
    let reason = if probe.reason.is_empty() { "-" } else { &probe.reason };
    [&probe.name, probe.form.as_deref().unwrap_or("missing"), reason, &probe.without]
}

fn line([name, form, reason, without]: [&str; 4], [a, b, c]: [usize; 3]) -> String {
    format!("{name:a$}  {form:b$}  {reason:c$}  {without}")
}

/// Green works, yellow works in another way, red is missing; the words say the same.
fn style(probe: &ProbeStatus) -> Style {
    let color = match (&probe.form, probe.reason.as_str()) {
        (None, _) => AnsiColor::Red,
        (Some(_), "") => AnsiColor::Green,
        (Some(_), _) => AnsiColor::Yellow,
    };
    color.on_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let probe = |name: &str, form: Option<&str>, reason: &str| ProbeStatus {
            name: name.to_owned(),
            form: form.map(str::to_owned),
            reason: reason.to_owned(),
            without: format!("what {name} sees"),
        };
        let probes = vec![
            probe("iter_task", Some("iter"), ""),
            probe("sched_switch", Some("raw_tp"), "the kernel has no BTF"),
            probe("tcp_send_reset", None, "no such tracepoint"),
        ];
        Machine {
            version: "0.1.0".to_owned(),
            host: "db1".to_owned(),
            kernel: "6.1.0".to_owned(),
            cpus: 4,
            memory_bytes: 8 << 30,
            probes,
            ..Machine::default()
        }
    }

    #[test]
    fn every_probe_has_a_line() {
        insta::assert_snapshot!(text(&machine(), Paint::None));
    }

    #[test]
    fn colors_are_all_that_a_terminal_adds() {
        let painted = text(&machine(), Paint::Colors);
        assert!(painted.contains("\u{1b}["));
        let mut plain = String::new();
        for (index, part) in painted.split('\u{1b}').enumerate() {
            plain.push_str(if index == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        assert_eq!(plain, text(&machine(), Paint::None));
    }

    #[test]
    fn programs_get_the_same() {
        insta::assert_snapshot!(json(&machine()));
    }
}
