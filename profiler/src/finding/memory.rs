//! Findings about memory: threads that the kernel holds up because too much of it is dirty, in use, or on a disk.
//!
//! How long each thread is in such a state is exact, so the rules differ by little more than the state.

use profiler_common::wait;

use super::task::reject_run_queue;
use super::{
    Detector, Finding, VICTIM_SHARE_MIN, VOLUME_MIN, bytes, losers, named, nanos, per_second, pressure, severity,
    stalls, users,
};
use crate::field::Subject;
use crate::model::Model;
use crate::model::process::Process;
use crate::model::state::{spent, wait_of};

/// The kernel paces each writer a little; from here on the pauses are what the writer does.
const DIRTY_SHARE_MIN: f64 = 0.1;
/// The allocator pays in the middle of a request, so that less hurts than elsewhere.
const RECLAIM_SHARE_MIN: f64 = 0.02;
/// Fewer are a program that starts.
const FAULTS_S_MIN: f64 = 10.0;
/// A stall of one thread is one of "some task": PSI must have seen this share of the time.
const PRESSURE_MIN: f64 = 0.01;

const NEEDS: &[&str] = &["iter_task", "sched_switch"];

pub(super) const DIRTY: Detector = Detector {
    id: "S5",
    title: "dirty throttling",
    doc: "A process is paused for more than 10 % of its time because it writes to files faster than the disk takes it: \
          the kernel limits how much memory may wait to be written.",
    check: |model| stalled(model, &DIRTY_STALL),
    needs: &["iter_task", "sched_switch", "balance_dirty_pages"],
    explains: &["io"],
    blind: |_| None,
};

pub(super) const RECLAIM: Detector = Detector {
    id: "S15",
    title: "direct reclaim",
    doc: "A process frees memory for itself, or is held up for want of it, for more than 2 % of its time: the host or \
          its control group has none left, and whoever allocates pays for it.",
    check: |model| stalled(model, &RECLAIM_STALL),
    needs: NEEDS,
    explains: &["memory", "io"],
    blind: |_| None,
};

pub(super) const FAULTS: Detector = Detector {
    id: "S16",
    title: "major page faults",
    doc: "A process waits for pages of its own memory to come from a disk more than 10 times per second and for more than \
          5 % of its time: they were swapped out, or are of a mapped file that is not in memory.",
    check: |model| stalled(model, &FAULT_STALL),
    needs: NEEDS,
    explains: &["io", "memory"],
    blind: |_| None,
};

/// A kind of wait that is trouble by itself.
struct Stall {
    id: &'static str,
    /// One of [`profiler_common::wait`].
    wait: u32,
    /// Share of a process's time from which on it is trouble.
    share_min: f64,
    /// Of PSI, which counts such waits.
    resource: &'static str,
    /// What the process does, as a claim.
    claim: &'static str,
    /// The same behind a share of time.
    losing: &'static str,
    /// What else is known of the worst; `None` if it is too little for a claim.
    evidence: fn(&Model, &Process) -> Option<Vec<String>>,
    advice: &'static str,
}

const DIRTY_STALL: Stall = Stall {
    id: DIRTY.id,
    wait: wait::DIRTY,
    share_min: DIRTY_SHARE_MIN,
    resource: "io",
    claim: "writes to files faster than the disk takes it, and is paused",
    losing: "paused for dirty memory",
    evidence: |model, _| Some(vec![format!("{} are dirty or being written", bytes(model.host.row.sum.dirty_bytes))]),
    advice: "a lower `vm.dirty_background_bytes`, so that writing begins earlier; a smoother or slower writer; O_DIRECT \
             for bulk data; a faster disk",
};

const RECLAIM_STALL: Stall = Stall {
    id: RECLAIM.id,
    wait: wait::RECLAIM,
    share_min: RECLAIM_SHARE_MIN,
    resource: "memory",
    claim: "has to free memory before it gets any",
    losing: "freeing memory or held up for want of it",
    evidence: |model, process| {
        let (free, all) = (model.host.row.sum.memory_available_bytes, model.machine.memory_bytes);
        let group = process.fact.as_ref().and_then(|fact| fact.cgroup.as_deref()).unwrap_or("?");
        let available = format!("{} of {} of the host's memory are available", bytes(free), bytes(all));
        Some(vec![available, format!("control group of the worst: {group}")])
    },
    advice: "with memory available on the host, raise the limit of the control group (`memory.max`, `memory.high`); \
             else more memory, or less use of it; `vm.watermark_scale_factor` up, so that the kernel frees earlier",
};

const FAULT_STALL: Stall = Stall {
    id: FAULTS.id,
    wait: wait::FAULT,
    share_min: VICTIM_SHARE_MIN,
    resource: "io",
    claim: "waits for pages of its memory to come from a disk",
    losing: "in page faults with I/O",
    evidence: |model, process| {
        let (usage, window_ns) = (&process.usage.sum, model.time.window_ns);
        let faults_s = per_second(usage.major_faults, process.lifetime_ns(window_ns));
        let told = format!("{} major faults of the worst by the kernel's count, {faults_s:.0}/s", usage.major_faults);
        let enough = usage.major_faults >= VOLUME_MIN && faults_s > FAULTS_S_MIN;
        enough.then(|| std::iter::once(told).chain(pressure(model, "memory")).collect())
    },
    advice: "under pressure on memory, more of it or a higher limit, so that pages stay; else read ahead \
             (`MADV_WILLNEED`, `MAP_POPULATE`) or read files instead of mapping them; `mlock` what must not wait",
};

/// One finding for the host, which has one memory: its victims are listed.
fn stalled(model: &Model, stall: &Stall) -> Vec<Finding> {
    stalled_most(model, stall).into_iter().collect()
}

fn stalled_most(model: &Model, stall: &Stall) -> Option<Finding> {
    let state = |process: &Process| spent(&process.usage.sum).find(|(number, ..)| wait_of(*number) == Some(stall.wait));
    let lost_ns = |_, process: &Process| state(process).map_or(0, |(_, _, ns)| ns);
    let losers = losers(model, users(model), stall.share_min, lost_ns);
    let (worst, impact) = *losers.first()?;
    let process = model.processes.get(&worst)?;
    if !stalls(model, stall.resource, PRESSURE_MIN) {
        return None;
    }
    let (number, _, ns) = state(process)?;
    let mut evidence = vec![format!("{} {}", nanos(ns), stall.losing)];
    evidence.extend((stall.evidence)(model, process)?);
    let mut rejected = Vec::new();
    reject_run_queue(model, worst, &mut rejected);
    Some(Finding {
        id: stall.id,
        severity: severity(impact),
        subject: process.label(worst),
        at: Subject::State(worst, number),
        claim: format!("{} {}", process.label(worst), stall.claim),
        victims: named(model, &losers, stall.losing),
        impact,
        evidence,
        witness: pressure(model, stall.resource),
        rejected,
        advice: stall.advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Pressure};
    use crate::model::Window;
    use crate::model::fixture::{MS, batch, model, named, process, thread};

    /// A process in a kind of wait, and how long PSI saw somebody stall.
    fn told(kind: u32, waited_ns: u64, resource: &str, stalled_ns: u64) -> Batch {
        let mut row = thread(process(7), 7, 50 * MS);
        row.waits[wait::POLL as usize] -= waited_ns;
        row.waits[kind as usize] = waited_ns;
        row.major_faults = 200;
        let mut told = Batch { facts: vec![named(process(7), "web")], tasks: vec![row], ..batch(0) };
        let pressure = Pressure { some_ns: stalled_ns, full_ns: 0 };
        told.host.pressure.insert(resource.into(), Some(pressure));
        told
    }

    fn found(told: Batch) -> Vec<(&'static str, String)> {
        let findings = super::super::all(&model(Window::Recent, &[told]));
        findings.into_iter().map(|finding| (finding.id, finding.victims[0].clone())).collect()
    }

    #[test]
    fn each_kind_of_stall_is_found() {
        for (kind, resource, id, losing) in [
            (wait::DIRTY, "io", "S5", "paused for dirty memory"),
            (wait::RECLAIM, "memory", "S15", "freeing memory or held up for want of it"),
            (wait::FAULT, "io", "S16", "in page faults with I/O"),
        ] {
            let victim = format!("web (7): 15 % of its time {losing}");
            assert_eq!(found(told(kind, 150 * MS, resource, 150 * MS)), [(id, victim)]);
            assert_eq!(found(told(kind, 150 * MS, resource, 0)), [], "{id}: no pressure");
            assert_eq!(found(told(kind, 15 * MS, resource, 150 * MS)), [], "{id}: little time");
        }
    }

    #[test]
    fn without_pressure_in_the_kernel_there_is_no_witness() {
        let mut told = told(wait::DIRTY, 150 * MS, "io", 0);
        told.host.pressure.insert("io".into(), None);
        let findings = super::super::all(&model(Window::Recent, &[told]));
        assert_eq!(findings.iter().map(|finding| &finding.witness).collect::<Vec<_>>(), [&None]);
    }

    #[test]
    fn who_lived_for_a_moment_is_no_victim() {
        let mut told = told(wait::DIRTY, 15 * MS, "io", 150 * MS);
        (told.tasks[0].wall_ns, told.tasks[0].waits[wait::POLL as usize]) = (20 * MS, 0);
        assert_eq!(found(told), []);
    }

    #[test]
    fn a_program_that_starts_is_no_trouble() {
        let mut told = told(wait::FAULT, 150 * MS, "io", 150 * MS);
        told.tasks[0].major_faults = 40;
        assert_eq!(found(told), []);
    }
}
