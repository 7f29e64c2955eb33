//! Findings about system calls themselves.

use super::{Detector, Finding, VOLUME_MIN, named, nanos, per_second, percent, ratio, real, severity};
use crate::batch::ProcessKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::process::Process;

/// Calls that look up a path.
const LOOKUPS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "unlink",
    "unlinkat",
    "execve",
    "execveat",
];
/// A build or a package manager makes thousands per second for good reason; this many take a good part of a CPU.
const LOOKUPS_S_MIN: f64 = 5_000.0;
/// Below this, most lookups find what they look for.
const MISSES_MIN: f64 = 0.3;
/// Position of `not_found` among the errno classes.
const NOT_FOUND: usize = 1;

pub(super) const LOOKUP_STORM: Detector = Detector {
    id: "S21",
    title: "metadata storm",
    doc: "A process looks up more than 5 000 paths per second, and more than 30 % of them do not exist: it searches \
          along a list of folders instead of remembering where things are.",
    check: lookup_storm,
    needs: &["sys_exit"],
    explains: &["cpu"],
    blind: |_| None,
};

fn lookup_storm(model: &Model) -> Vec<Finding> {
    real(model).filter_map(|(key, process)| storm_of(model, key, process)).collect()
}

/// Path lookups of a process in the window.
#[derive(Default)]
struct Lookups {
    calls: u64,
    misses: u64,
    /// The call that misses most often, by its key.
    worst: Option<(u64, u32)>,
}

fn storm_of(model: &Model, key: ProcessKey, process: &Process) -> Option<Finding> {
    let lookups = lookups_of(model, process);
    let all: u64 = process.calls.values().map(|call| call.sum.count).sum();
    let lifetime_ns = process.lifetime_ns(model.time.window_ns);
    let (rate, misses) = (per_second(lookups.calls, model.time.window_ns), ratio(lookups.misses, lookups.calls));
    if lookups.misses < VOLUME_MIN || rate < LOOKUPS_S_MIN || misses < MISSES_MIN {
        return None;
    }
    let (_, worst) = lookups.worst?;
    let name = model.calls.name(worst);
    // Lookups cost about alike, so their part of all calls is taken as their part of the CPU time.
    let share = ratio(process.usage.sum.cpu_ns, lifetime_ns).min(1.0) * ratio(lookups.calls, all);
    Some(Finding {
        id: LOOKUP_STORM.id,
        severity: severity(share),
        subject: process.label(key),
        at: Subject::Syscall(key, worst),
        claim: format!(
            "{} looks up {rate:.0} paths per second, and {} do not exist",
            process.label(key),
            percent(misses)
        ),
        victims: named(model, &[(key, share)], "looking up paths (estimate by calls)"),
        impact: share,
        evidence: vec![
            format!(
                "{} lookups, {rate:.0}/s, {} failed with ENOENT and its kin, most in {name}",
                lookups.calls, lookups.misses
            ),
            format!("{} on a CPU in the window", nanos(process.usage.sum.cpu_ns)),
        ],
        witness: None,
        rejected: vec![format!("useful lookups: only {} found something", percent(1.0 - misses))],
        advice: "shorten the search path; remember where things were found; keep descriptors open instead of opening again",
    })
}

fn lookups_of(model: &Model, process: &Process) -> Lookups {
    let mut lookups = Lookups::default();
    for (key, call) in &process.calls {
        if !LOOKUPS.contains(&model.calls.name(*key).as_ref()) {
            continue;
        }
        let missed = call.sum.errors[NOT_FOUND];
        lookups.calls += call.sum.count;
        lookups.misses += missed;
        lookups.worst = lookups.worst.max(Some((missed, *key)));
    }
    lookups
}

#[cfg(test)]
mod tests {
    use profiler_common::syscall::{ERRNO_CLASSES, call_key};

    use super::*;
    use crate::batch::{Batch, CallRow};
    use crate::model::Window;
    use crate::model::fixture::{MS, OPENAT, batch, model, named, process, thread};

    fn told(count: u64, missed: u64) -> Vec<Finding> {
        let mut row = CallRow { process: process(7), key: call_key(OPENAT, 0), count, ..CallRow::default() };
        row.errors[NOT_FOUND] = missed;
        let told = Batch {
            facts: vec![named(process(7), "python3")],
            tasks: vec![thread(process(7), 7, 500 * MS)],
            calls: vec![row],
            ..batch(0)
        };
        lookup_storm(&model(Window::Recent, &[told]))
    }

    #[test]
    fn the_class_is_where_we_look() {
        assert_eq!(ERRNO_CLASSES[NOT_FOUND], "not_found");
    }

    #[test]
    fn many_lookups_in_vain_are_a_storm() {
        let findings = told(20_000, 9_000);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.claim, "python3 (7) looks up 20000 paths per second, and 45 % do not exist");
    }

    #[test]
    fn few_or_useful_lookups_are_none() {
        assert!(told(4_000, 3_000).is_empty(), "few");
        assert!(told(20_000, 100).is_empty(), "useful");
    }
}
