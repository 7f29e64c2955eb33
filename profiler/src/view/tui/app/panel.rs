//! What the panel below a table says about the selected row.

use std::cmp::Reverse;

use crate::batch::ProcessKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::disk::op_name;
use crate::model::state::{Class, spent};
use crate::model::task::Usage;
use crate::view::tui::theme::Band;
use crate::view::tui::widget::bar::Part;
use crate::view::tui::widget::hist::Named;

/// The split of a wall time by what it means; the waits of all kinds are one part.
pub type Parts = [Part; 9];

/// More about one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Whom it is about, and what is shown.
    pub title: String,
    /// The time that it is about, nanoseconds.
    pub span_ns: u64,
    /// The drawing.
    pub body: Body,
}

/// A drawing.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Where wall time went, and the kinds of waits in it, the longest first.
    Bar(Box<Parts>, Vec<(&'static str, u64)>),
    /// Two distributions.
    Hists(Box<[Named; 2]>),
}

/// The panel of a row; `None` where the table says it all.
#[must_use]
pub fn of(model: &Model, subject: &Subject) -> Option<Panel> {
    let missing = |probe| model.quality.is_missing(probe);
    match subject {
        Subject::Process(_) | Subject::Thread(..) if missing("sched_switch") => None,
        Subject::Disk(..) if missing("block_rq_issue") => None,
        Subject::Process(key) => Some(bar(model, subject, &model.label(*key))),
        Subject::Thread(key, tid) => {
            let thread = model.processes.get(key)?.threads.get(tid)?;
            Some(bar(model, subject, &format!("{} ({tid}) of {}", thread.comm, model.label(*key))))
        }
        Subject::Disk(device, op) => disk(model, *device, *op),
        Subject::Syscall(key, call) => syscall(model, *key, *call),
        Subject::State(..)
        | Subject::Wait(..)
        | Subject::Group(..)
        | Subject::DiskOwner(..)
        | Subject::DiskSize(..)
        | Subject::Partition(..)
        | Subject::Journal(_)
        | Subject::File(..)
        | Subject::Path(..)
        | Subject::Socket(_)
        | Subject::Exchange(_)
        | Subject::Peer(..)
        | Subject::Drop(_) => None,
    }
}

fn bar(model: &Model, subject: &Subject, name: &str) -> Panel {
    let waits = usage(model, subject).into_iter().flat_map(spent);
    let mut waits: Vec<_> = waits
        .filter(|(_, state, _)| matches!(state.class, Class::Wait | Class::Idle))
        .map(|(_, state, ns)| (state.label, ns))
        .collect();
    waits.sort_by_key(|(_, ns)| Reverse(*ns));
    Panel {
        title: format!("{name}: where its time went"),
        span_ns: model.span_ns(),
        body: Body::Bar(Box::new(parts(model, subject)), waits),
    }
}

/// The wall time of a process or thread, over the same time as the columns of its row, split; zeros where it is not known.
#[must_use]
pub fn parts(model: &Model, subject: &Subject) -> Parts {
    split_by_class(usage(model, subject).unwrap_or(&Usage::default()))
}

/// A wall time, split by what it means.
#[must_use]
pub fn split_by_class(usage: &Usage) -> Parts {
    let mut parts = [
        (Band::Run, "user"),
        (Band::Kernel, "kernel"),
        (Band::Queue, "run queue"),
        (Band::Preempted, "preempted"),
        (Band::Throttled, "throttled"),
        (Band::Interrupt, "stolen"),
        (Band::Blocked, "waits"),
        (Band::Idle, "idle"),
        (Band::Unexplained, "unexplained"),
    ]
    .map(|(band, name)| Part { band, name, amount: 0 });
    for (_, state, ns) in spent(usage) {
        let index = match (state.id, state.class) {
            ("user", _) => 0,
            ("cpu", _) => {
                // Which of both it was, is not known.
                parts[0].name = "cpu";
                0
            }
            ("system", _) => 1,
            ("runq_preempted", _) => 3,
            ("throttled", _) => 4,
            ("stolen", _) => 5,
            (_, Class::Cpu | Class::Queue) => 2,
            ("unexplained", _) => 8,
            (_, Class::Wait) => 6,
            (_, Class::Idle) => 7,
        };
        parts[index].amount += ns;
    }
    parts
}

fn usage<'a>(model: &'a Model, subject: &Subject) -> Option<&'a Usage> {
    match subject {
        Subject::Process(key) => model.processes.get(key).map(|process| process.usage.of(model.window)),
        Subject::Thread(key, tid) => {
            model.processes.get(key)?.threads.get(tid).map(|thread| thread.usage.of(model.window))
        }
        _ => None,
    }
}

fn disk(model: &Model, device: u32, op: u32) -> Option<Panel> {
    let disk = model.disks.get(&device)?;
    let usage = &disk.ops.get(usize::try_from(op).ok()?)?.sum;
    let pair =
        [Named { name: "queue", hist: usage.queue.clone() }, Named { name: "device", hist: usage.service.clone() }];
    Some(Panel {
        title: format!("{} {}: time in the queue, time in the device", disk.name(device), op_name(op)),
        span_ns: model.time.window_ns,
        body: Body::Hists(Box::new(pair)),
    })
}

fn syscall(model: &Model, key: ProcessKey, call: u32) -> Option<Panel> {
    let usage = &model.processes.get(&key)?.calls.get(&call)?.sum;
    let pair = [
        Named { name: "blocked", hist: usage.blocked.clone() },
        Named { name: "latency", hist: usage.latency.clone() },
    ];
    Some(Panel {
        title: format!("{} of {}: time blocked, sampled latency", model.calls.name(call), model.label(key)),
        span_ns: model.time.window_ns,
        body: Body::Hists(Box::new(pair)),
    })
}
