//! The report for programs. Numbers are raw, in the base unit that an id ends with: nanoseconds, bytes, things per
//! second, ratios from 0 to 1. What is unknown is `null`, with the reason among the row's `notes`. `incomplete` says why
//! there may be rows that nobody knows of.

use serde_json::{Map, Value as Json, json};

use super::{cost, gap_ns, missing_because, utc, window_unix_ns};
use crate::field::{Row, Scope, Sheet, Subject, Table, top};
use crate::finding::{DETECTORS, Finding, undecided, unexplained};
use crate::model::wait::Object;
use crate::model::{Model, Window};

/// Version of the format: grows when a key changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// Rows of a table.
const ROWS_MAX: usize = 5_000;

/// The report as one line of JSON.
#[must_use]
pub fn json(model: &Model, findings: &[Finding]) -> String {
    let tables: Map<String, Json> = Table::ALL
        .into_iter()
        .map(|table| (table.id().to_owned(), table_json(&top(model, table, &Scope::default(), ROWS_MAX))))
        .collect();
    let report = json!({
        "schema": SCHEMA,
        "machine": machine(model),
        "interval": interval(model),
        "host": host(model),
        "quality": quality(model),
        "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
        "unexplained": unexplained(model, findings),
        "checks": checks(model, findings),
        "tables": tables,
    });
    format!("{report}\n")
}

fn machine(model: &Model) -> Json {
    let machine = &model.machine;
    json!({
        "version": machine.version,
        "host": machine.host,
        "kernel": machine.kernel,
        "boot_id": machine.boot_id,
        "cpus": machine.cpus,
        "memory_bytes": machine.memory_bytes,
        "call_sampling_ratio": machine.call_sampling,
        "probes": machine.probes,
    })
}

fn interval(model: &Model) -> Json {
    let (from, until) = window_unix_ns(model);
    json!({
        "from": utc::rfc3339(from),
        "until": utc::rfc3339(until),
        "from_unix_ns": from,
        "until_unix_ns": until,
        "observed_ns": model.time.window_ns,
        "gap_ns": gap_ns(model),
        "rates_over_ns": model.span_ns(),
        "batches": model.time.batches,
        "rates": match model.window {
            Window::Whole => "of the whole interval",
            Window::Recent => "of the last tick; percentiles are of the whole interval",
        },
    })
}

fn host(model: &Model) -> Json {
    let row = &model.host.row.sum;
    let cpu: Map<String, Json> = ["user_ns", "system_ns", "idle_ns", "iowait_ns", "irq_ns", "steal_ns"]
        .into_iter()
        .zip(row.cpu_ns)
        .map(|(name, ns)| (name.to_owned(), json!(ns)))
        .collect();
    let events = model.tcp_events.sum.known(&model.quality);
    let events: Map<String, Json> = events.map(|(name, count)| (name.to_owned(), json!(count))).collect();
    json!({
        "cpu": cpu,
        "pressure": row.pressure,
        "net": row.net,
        "tcp_events": events,
        "memory_available_bytes": row.memory_available_bytes,
        "dirty_bytes": row.dirty_bytes,
        "refaulted_pages": row.refaulted_pages,
    })
}

fn quality(model: &Model) -> Json {
    let quality = &model.quality;
    let lost: Map<String, Json> = quality
        .lost
        .iter()
        .map(|(name, count)| (name.clone(), json!({ "count": count, "missing": missing_because(name) })))
        .collect();
    let missing: Vec<Json> =
        quality.missing_probes.iter().map(|(name, without)| json!({ "name": name, "without": without })).collect();
    let (own, programs) = cost(model);
    json!({
        "lost": lost,
        "missed_ticks": quality.missed_ticks,
        "missing_probes": missing,
        "folded": {
            "processes": model.folded.processes,
            "threads": model.folded.threads,
            "sockets": model.folded.sockets,
        },
        "self_cpu_ratio": own,
        "programs_cpu_ratio": programs,
        "self_memory_bytes": quality.self_memory_bytes,
        "map_memory_bytes": quality.map_memory_bytes,
        "notes": quality.notes,
    })
}

fn finding_json(finding: &Finding) -> Json {
    json!({
        "id": finding.id,
        "severity": finding.severity.name(),
        "subject": finding.subject,
        "at": subject_json(&finding.at),
        "claim": finding.claim,
        "victims": finding.victims,
        "impact_ratio": finding.impact,
        "evidence": finding.evidence,
        "witness": finding.witness,
        "rejected": finding.rejected,
        "advice": finding.advice,
    })
}

/// Every rule with its result: silence of one that cannot tell means nothing.
fn checks(model: &Model, findings: &[Finding]) -> Vec<Json> {
    let blind = undecided(model);
    let check = |id: &str| {
        let why = blind.iter().find(|(detector, _)| detector.id == id).map(|(_, why)| why.as_str());
        let found = findings.iter().filter(|finding| finding.id == id).count();
        let result = match (found, why) {
            (1.., _) => "found",
            (0, Some(_)) => "cannot tell",
            (0, None) => "nothing found",
        };
        (result, why)
    };
    let rules = DETECTORS.iter().map(|detector| (detector, check(detector.id)));
    rules
        .map(|(detector, (result, why))| {
            json!({ "id": detector.id, "title": detector.title, "result": result, "reason": why })
        })
        .collect()
}

fn subject_json(subject: &Subject) -> Json {
    match subject {
        Subject::Process(process) => json!({ "table": "processes", "process": process }),
        Subject::Thread(process, tid) => json!({ "table": "threads", "process": process, "tid": tid }),
        Subject::State(process, state) => json!({ "table": "states", "process": process, "state": state }),
        Subject::Wait(process, wait, object) => {
            let (socket, name) = match object {
                Object::Unknown => (None, None),
                Object::Socket(cookie) => (Some(cookie), None),
                Object::Named(name) => (None, Some(name)),
            };
            json!({ "table": "waits", "process": process, "wait": wait, "socket": socket, "object": name })
        }
        Subject::Group(group, state) => json!({ "table": "groups", "group": group, "state": state }),
        Subject::Disk(device, op) => json!({ "table": "disks", "device": device, "op": op }),
        Subject::DiskOwner(device, op, process) => {
            json!({ "table": "disk_owners", "device": device, "op": op, "process": process })
        }
        Subject::DiskSize(device, op, size) => {
            json!({ "table": "disk_sizes", "device": device, "op": op, "size": size })
        }
        Subject::Partition(device, op) => json!({ "table": "partitions", "device": device, "op": op }),
        Subject::Journal(device) => json!({ "table": "journals", "device": device }),
        Subject::File(process, kind) => json!({ "table": "files", "process": process, "kind": kind }),
        Subject::Path(file, process, kind) => {
            json!({ "table": "paths", "file": file, "process": process, "kind": kind })
        }
        Subject::Socket(cookie) => json!({ "table": "sockets", "cookie": cookie }),
        Subject::Exchange(key) => json!({ "table": "exchanges", "exchange": key }),
        Subject::Peer(netns, host) => json!({ "table": "peers", "netns": netns, "host": host.to_string() }),
        Subject::Drop(key) => json!({ "table": "drops", "drop": key }),
        Subject::Syscall(process, key) => json!({ "table": "syscalls", "process": process, "key": key }),
    }
}

fn table_json((sheet, more): &(Sheet, usize)) -> Json {
    let columns: Vec<Json> = sheet
        .columns
        .iter()
        .map(|column| json!({ "id": column.id, "label": column.label, "doc": column.doc }))
        .collect();
    let rows: Vec<Json> = sheet.rows.iter().map(|row| row_json(sheet, row)).collect();
    json!({ "columns": columns, "rows": rows, "omitted": more, "incomplete": sheet.incomplete })
}

fn row_json(sheet: &Sheet, row: &Row) -> Json {
    let (mut cells, mut notes) = (Map::new(), Map::new());
    for (column, cell) in sheet.columns.iter().zip(&row.cells) {
        cells.insert(column.id.to_owned(), cell.json());
        if let Some(note) = cell.note() {
            notes.insert(column.id.to_owned(), json!(note));
        }
    }
    if !notes.is_empty() {
        cells.insert("notes".to_owned(), Json::Object(notes));
    }
    Json::Object(cells)
}
