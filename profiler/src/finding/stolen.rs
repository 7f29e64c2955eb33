//! Findings about CPUs that run something else while a thread has them.

use super::task::{SCHEDULER, no_cpu_time};
use super::{Detector, Finding, named, nanos, percent, ratio, severity, victims};
use crate::field::Subject;
use crate::model::Model;

/// From this share of the CPU time on that is not idle, it is no accident.
pub(super) const SHARE_MIN: f64 = 0.05;

pub(super) const STOLEN: Detector = Detector {
    id: "C5",
    title: "CPU time stolen",
    doc: "The hypervisor or interrupts take at least 5 % of the CPU time that is not idle, and a process with a CPU is not run \
          for 5 % of its time. To its threads the CPU is slower than it is; no queue shows it.",
    check: |model| stolen(model).into_iter().collect(),
    needs: SCHEDULER,
    explains: &[],
    blind: no_cpu_time,
};

/// What the hypervisor takes of the CPU time that is not idle, and what interrupts take.
pub(super) fn taken(model: &Model) -> [f64; 2] {
    let [user, system, _, _, interrupts, steal] = model.host.row.sum.cpu_ns;
    [steal, interrupts].map(|part| ratio(part, user + system + interrupts + steal))
}

/// One finding for the host, since the CPUs are shared.
fn stolen(model: &Model) -> Option<Finding> {
    let [steal, interrupts] = taken(model);
    if steal + interrupts < SHARE_MIN {
        return None;
    }
    let losers = victims(model, |_, process| process.usage.sum.stolen_ns());
    let (worst, impact) = *losers.first()?;
    let usage = &model.processes.get(&worst)?.usage.sum;
    let (stolen_ns, queued_ns) = (usage.stolen_ns(), usage.runq_ns());
    let (who, advice) = if steal >= interrupts {
        (
            "the hypervisor",
            "CPUs of its own for this guest (a dedicated instance, no overcommitment), another host, or fewer guests on it; \
             by the host's own tools: who else runs on these CPUs",
        )
    } else {
        (
            "interrupts",
            "other CPUs for these interrupts (`/proc/irq/*/smp_affinity_list`, irqbalance, RPS) or for this process (`taskset`, \
             cpusets); fewer of them (`ethtool -C`)",
        )
    };
    let name = model.label(worst);
    let mut rejected = Vec::new();
    if queued_ns < stolen_ns {
        rejected.push(format!("other processes on the CPUs: {} on the run queue for that", nanos(queued_ns)));
    }
    if usage.throttled_ns < stolen_ns {
        rejected.push(format!("its CPU quota: {} without", nanos(usage.throttled_ns)));
    }
    Some(Finding {
        id: STOLEN.id,
        severity: severity(impact),
        subject: name.clone(),
        at: Subject::Process(worst),
        claim: format!("{who} took CPUs from {name} while it ran"),
        victims: named(model, &losers, "not run on a CPU that it had"),
        impact,
        evidence: vec![format!(
            "not run for {} of the {} for which it had a CPU",
            nanos(stolen_ns),
            nanos(stolen_ns + usage.cpu_ns)
        )],
        witness: Some(format!(
            "/proc/stat: of the CPU time that was not idle, {} stolen by the hypervisor, {} in interrupts",
            percent(steal),
            percent(interrupts)
        )),
        rejected,
        advice,
    })
}

#[cfg(test)]
mod tests {
    use profiler_common::wait;

    use super::super::all;
    use super::*;
    use crate::batch::Batch;
    use crate::model::Window;
    use crate::model::fixture::{MS, SECOND, batch, model, named, process, thread};

    /// A process that had a CPU for a second, of which so much was taken; and what the host says of that.
    fn told(stolen_ns: u64, interrupts_ns: u64, steal_ns: u64) -> Vec<Finding> {
        let mut row = thread(process(7), 7, SECOND - stolen_ns);
        row.waits[wait::STOLEN as usize] = stolen_ns;
        let mut told = Batch { facts: vec![named(process(7), "web")], tasks: vec![row], ..batch(0) };
        told.host.cpu_ns = [SECOND - stolen_ns, 0, SECOND, 0, interrupts_ns, steal_ns];
        all(&model(Window::Recent, &[told]))
    }

    #[test]
    fn what_the_hypervisor_takes_is_found() {
        let findings = told(200 * MS, 10 * MS, 190 * MS);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.id, finding.claim.as_str()), ("C5", "the hypervisor took CPUs from web (7) while it ran"));
        assert_eq!(finding.victims, ["web (7): 20 % of its time not run on a CPU that it had"]);
        assert_eq!(finding.evidence, ["not run for 200 ms of the 1.0 s for which it had a CPU"]);
        let witness =
            "/proc/stat: of the CPU time that was not idle, 19 % stolen by the hypervisor, 1.0 % in interrupts";
        assert_eq!(finding.witness.as_deref(), Some(witness));
    }

    #[test]
    fn interrupts_are_told_from_the_hypervisor() {
        let findings = told(200 * MS, 190 * MS, 0);
        assert!(findings[0].claim.starts_with("interrupts took"), "{findings:?}");
        assert!(findings[0].advice.contains("smp_affinity"), "{findings:?}");
    }

    #[test]
    fn without_a_victim_or_a_witness_there_is_no_claim() {
        assert_eq!(told(200 * MS, 0, 0), [], "the host knows nothing of it");
        assert_eq!(told(30 * MS, 0, 300 * MS), [], "nobody loses by it");
    }
}
