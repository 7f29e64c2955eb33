//! A diagnosis for programs.

use serde_json::{Map, Value as Json, json};

use super::ladder::{Ladder, ladders, verdict};
use super::step::steps;
use crate::kernel::doctor::{Diagnosis, KernelTypes, Lockdown, OWN_TYPES, Records};
use crate::kernel::probe::At;

/// The diagnosis; what is not known is `null`.
pub(super) fn json(diagnosis: &Diagnosis) -> Json {
    let machine = &diagnosis.machine;
    let bounds: Map<_, _> = diagnosis.bounds.iter().map(|(what, most)| (format!("{what}_max"), json!(most))).collect();
    let privileges = diagnosis.rights.privileges.iter();
    let steps = steps(diagnosis);
    json!({
        "version": machine.version,
        "host": machine.host,
        "kernel": machine.kernel,
        "cpus": machine.cpus,
        "memory_bytes": machine.memory_bytes,
        "works": verdict(diagnosis).name(),
        "refusal": diagnosis.refusal,
        "kernel_types": types(&diagnosis.types),
        "lockdown": lockdown(&diagnosis.lockdown),
        "privileges": privileges
            .map(|privilege| json!({"name": privilege.name, "held": privilege.held, "without": privilege.without}))
            .collect::<Vec<_>>(),
        "user_namespace": diagnosis.rights.confined,
        "locked_memory_max_bytes": diagnosis.locked_memory_bytes,
        "thread_records": diagnosis.thread_records.map(|records| match records {
            Records::TaskStorage => "task_storage",
            Records::HashMap => "hash_map",
        }),
        "bounds": bounds,
        "notes": diagnosis.notes,
        "probes": ladders(diagnosis).iter().map(probe).collect::<Vec<_>>(),
        "next_steps": steps.iter().map(|step| json!({"what": step.what, "command": step.command})).collect::<Vec<_>>(),
    })
}

fn types(types: &KernelTypes) -> Json {
    let (source, path, own) = match types {
        KernelTypes::Own => ("kernel", Some(json!(OWN_TYPES)), true),
        KernelTypes::File { path, own } => ("file", Some(json!(path)), *own),
        KernelTypes::Absent => ("absent", None, false),
        KernelTypes::Refused => ("refused", None, false),
    };
    json!({"source": source, "path": path, "own": own})
}

fn lockdown(lockdown: &Lockdown) -> Json {
    match lockdown {
        Lockdown::Mode(mode) => json!(mode),
        Lockdown::Unsupported => json!("unsupported"),
        Lockdown::Unknown => Json::Null,
    }
}

fn probe(ladder: &Ladder) -> Json {
    json!({
        "name": ladder.probe.name,
        "attaches_to": ladder.attaches_to(),
        "forms": ladder.forms(),
        "form": ladder.status.form,
        "state": ladder.state().name(),
        "reason": ladder.status.reason,
        "needs": {
            "capabilities": ["CAP_BPF", "CAP_PERFMON"],
            "own_types_for": ladder.forms()[0],
            "offsets": ladder.offsets(),
            "probe": ladder.probe.after,
        },
        "sampled": matches!(ladder.probe.at, At::Sampled(_)),
        "without": ladder.probe.without,
    })
}
