//! The ladder of fallbacks: without a probe, without the kernel's types or with those in a file, what is told is right, and
//! what is not known is said to be unknown.

mod workload;

use std::fs;

use profiler::field::{Row, Scope, Value, sheet};
use profiler::finding::{DETECTORS, all, undecided};
use profiler::kernel::probe::PROBES;
use profiler::model::Model;
use profiler::source::live::{Live, Options, Types};
use profiler::view::report::text;
use profiler_common::lost::UNSEEN_REQUESTS;

use self::workload::{Claim, Said, Truth, World};
use crate::kernel::device::Scratch;
use crate::kernel::observe::{STALE_NS, Seen, absent, every, is_guest, missing, observe_without};

/// Types of Linux 6.1, stripped to what we read: those of no running kernel.
const OTHER_TYPES: &[u8] = include_bytes!("../btf/6.1.btf");

/// More than ten intervals, so that every slow look at something happens too; half of all calls are sampled. An emulator that has
/// shorter ones does nothing else.
fn options() -> Options {
    Options { sample_permille: 500, ..every(if is_guest() { 200 } else { 40 }) }
}

/// What the product says of a true claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Right,
    /// The cell is `?`.
    Unknown,
    /// There is no row, and the table says that it may lack some.
    Absent,
}

#[test]
fn whatever_one_probe_sees_is_unknown_without_it_and_nothing_else_is_wrong() {
    let mut world = World::new();
    for probe in PROBES {
        let options = Options { deny: vec![probe.name.into()], ..options() };
        let told = told(&mut world, &options, &relying_on(&[probe.name]));
        let worse = told.iter().filter(|told| **told != Told::Right).count();
        println!("without {}: {worse} of {} are not known", probe.name, told.len());
        // Whoever adds a probe adds what it alone knows to the workload.
        if absent().is_empty() {
            assert_eq!(worse == 0, probe.without.starts_with("nothing"), "{}: {}", probe.name, probe.without);
        }
    }
}

#[test]
fn with_all_probes_all_is_told() {
    let told = told(&mut World::new(), &options(), &[]);
    assert!(!absent().is_empty() || told.iter().all(|told| *told == Told::Right), "{told:?}");
}

#[test]
fn types_from_a_file_do_as_well() {
    let scratch = Scratch::new();
    let file = scratch.path("vmlinux.btf");
    fs::copy("/sys/kernel/btf/vmlinux", &file).unwrap();
    let told = told(&mut World::new(), &Options { types: Types::File(file.into()), ..options() }, &[]);
    assert!(!absent().is_empty() || told.iter().all(|told| *told == Told::Right), "{told:?}");
}

#[test]
fn without_types_the_rest_is_told() {
    let need_types: Vec<_> =
        PROBES.iter().filter(|probe| probe.needs().next().is_some()).map(|probe| probe.name).collect();
    let told = told(&mut World::new(), &Options { types: Types::None, ..options() }, &relying_on(&need_types));
    assert!(told.contains(&Told::Right), "what the kernel itself counts: {told:?}");
}

#[test]
fn types_of_another_kernel_are_refused() {
    let scratch = Scratch::new();
    let file = scratch.path("other.btf");
    fs::write(&file, OTHER_TYPES).unwrap();
    let refused = Live::attach(&Options { types: Types::File(file.into()), ..options() }).err().unwrap().to_string();
    assert!(refused.contains("has the types of another kernel") && refused.contains("hint: leave out"), "{refused}");
}

/// These probes, and all that are not loaded because of them.
pub fn relying_on(names: &[&'static str]) -> Vec<&'static str> {
    let mut lacking = names.to_vec();
    for probe in PROBES {
        if probe.after.is_some_and(|after| lacking.contains(&after)) && !lacking.contains(&probe.name) {
            lacking.push(probe.name);
        }
    }
    lacking
}

/// Runs the workload, and looks at everything that a user sees of it.
fn told(world: &mut World, options: &Options, lacking: &[&str]) -> Vec<Told> {
    let seen = observe_without(options, lacking, || world.run());
    assert!(seen.batches.len() > 10, "{} intervals", seen.batches.len());
    println!("lost: {:?}", seen.lost());
    let model = seen.model();
    report_names_what_is_missing(&seen, &model);
    rules_tell_what_they_can(&seen, &model);
    let cells = seen.said.claims.iter().map(|claim| cell(&seen, &model, claim));
    cells.chain(events(&seen, &model)).collect()
}

/// Each missing probe, why, and what is not known.
fn report_names_what_is_missing(seen: &Seen<Said>, model: &Model) {
    let report = text(model, &all(model));
    for probe in seen.machine.probes.iter().filter(|probe| probe.form.is_none()) {
        assert!(!probe.reason.is_empty() && !probe.without.is_empty(), "{probe:?}");
        let line = format!("{} ({}): {}", probe.name, probe.reason, probe.without);
        assert!(report.contains(&line), "{line}\n{report}");
    }
}

/// A rule without its probes neither finds anything nor says that nothing is wrong.
fn rules_tell_what_they_can(seen: &Seen<Said>, model: &Model) {
    let (missing, blind) = (missing(&seen.machine), undecided(model));
    let findings = all(model);
    for detector in DETECTORS.iter().filter(|detector| detector.needs.iter().any(|name| missing.contains(name))) {
        assert!(blind.iter().any(|(other, _)| other.id == detector.id), "{}: {missing:?}", detector.id);
        assert!(findings.iter().all(|finding| finding.id != detector.id), "{findings:?}");
    }
}

fn cell(seen: &Seen<Said>, model: &Model, claim: &Claim) -> Told {
    let explained = |why: &str| missing(&seen.machine).iter().any(|name| why == format!("the probe {name} is missing"));
    let sheet = sheet(model, claim.table, &Scope::default());
    let column = |id: &str| sheet.columns.iter().position(|column| column.id == id).unwrap();
    let is_meant = |row: &&Row| claim.row.iter().all(|(id, text)| row.cells[column(id)].to_string() == *text);
    let rows: Vec<_> = sheet.rows.iter().filter(is_meant).collect();
    let [row] = &rows[..] else {
        assert!(
            rows.is_empty() && sheet.incomplete.is_some_and(explained),
            "{claim:?}, {:?}, lost {:?}: {rows:?} of {:#?}",
            sheet.incomplete,
            seen.lost(),
            sheet.rows
        );
        return Told::Absent;
    };
    let value = &row.cells[column(claim.column)];
    if let Value::Unknown(why) = value {
        assert!(explained(why), "{claim:?}: unknown because {why}");
        return Told::Unknown;
    }
    let number = whole(model, claim.column, value);
    assert!(
        is_true(seen, &claim.truth, number, value),
        "{claim:?}, but we say {value:?} ({number:?} in all) without {:?}, lost {:?}, of {:#?}",
        missing(&seen.machine),
        seen.lost(),
        sheet.rows
    );
    Told::Right
}

/// A cell's number, of rates and shares that which they are of.
fn whole(model: &Model, column: &str, value: &Value) -> Option<f64> {
    let span_ns = model.span_ns() as f64;
    let factor = match column {
        _ if column.ends_with("_s") => span_ns / 1e9,
        _ if column.ends_with("_ratio") => span_ns,
        _ => 1.0,
    };
    value.number().map(|number| number * factor)
}

fn is_true(seen: &Seen<Said>, truth: &Truth, number: Option<f64>, value: &Value) -> bool {
    // As exact as a share of the time can be.
    const ROUNDING: f64 = 1e-3;
    let between =
        |low: f64, high: f64| number.is_some_and(|number| low - ROUNDING <= number && number <= high + ROUNDING);
    // An emulator's clocks.
    let disagreement = if is_guest() { seen.slack_ns() as f64 } else { 0.0 };
    match truth {
        Truth::Between(low, high) => between(*low, *high),
        Truth::Requests { sum, each } => {
            let hidden = seen.lost().get(UNSEEN_REQUESTS).copied().unwrap_or(0);
            between(sum.saturating_sub(hidden * each) as f64, *sum as f64)
        }
        Truth::Waited(low, high) => between(low - disagreement, high + disagreement),
        Truth::Booked(ns) => between(*ns as f64 - 10.0 - disagreement, (ns + STALE_NS + seen.slack_ns()) as f64),
        Truth::Text(text) => matches!(value, Value::Text(value) if value == text),
    }
}

/// Host-wide events: a connection was refused, some were opened and accepted, something was sent again.
fn events(seen: &Seen<Said>, model: &Model) -> Vec<Told> {
    let events: Vec<_> = model.tcp_events.sum.known(&model.quality).collect();
    let lacks = |probe: &str| missing(&seen.machine).contains(&probe);
    let told = events.into_iter().map(|(name, count)| {
        let Some(count) = count else { return Told::Unknown };
        // A handshake is tried again after a second, and resets that no socket sends are not told before 6.10.
        assert!(count > 0 || matches!(name, "synack_retransmits" | "resets_sent"), "{name}");
        Told::Right
    });
    let told: Vec<_> = told.collect();
    let unknown = told.iter().filter(|told| **told == Told::Unknown).count();
    let counted =
        [("tcp_retransmit_skb", 1), ("tcp_retransmit_synack", 1), ("tcp_send_reset", 1), ("tcp_receive_reset", 1)];
    let counted = counted.into_iter().chain([("inet_sock_set_state", 3)]);
    assert_eq!(unknown, counted.filter(|(probe, _)| lacks(probe)).map(|(_, events)| events).sum::<usize>());
    told
}
