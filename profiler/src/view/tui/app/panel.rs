//! What the panel below a table says about the selected row.

use crate::batch::ProcessKey;
use crate::field::Subject;
use crate::model::Model;
use crate::model::task::Usage;
use crate::view::tui::app::snapshot::process_name;
use crate::view::tui::theme::Band;
use crate::view::tui::widget::bar::Part;
use crate::view::tui::widget::hist::Named;

/// Names of block operations, in the order of their codes.
const OPERATIONS: [&str; profiler_common::disk::OPS] = ["read", "write", "flush", "discard", "other"];

/// More about one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Whom it is about, and what is shown.
    pub title: String,
    /// The drawing.
    pub body: Body,
}

/// A drawing.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Where wall time went.
    Bar([Part; 5]),
    /// Two distributions.
    Hists(Box<[Named; 2]>),
}

/// The panel of a row; `None` where the table says it all.
#[must_use]
pub fn of(model: &Model, subject: &Subject) -> Option<Panel> {
    match subject {
        Subject::Process(_) | Subject::Thread(..) => Some(Panel {
            title: format!("{}: where its time went", name(model, subject)),
            body: Body::Bar(parts(model, subject)),
        }),
        Subject::Disk(device, op) => disk(model, *device, *op),
        Subject::Syscall(key, call) => syscall(model, *key, *call),
        Subject::File(..) | Subject::Socket(_) => None,
    }
}

/// The wall time of a process or thread over the window, split; zeros where it is not known.
#[must_use]
pub fn parts(model: &Model, subject: &Subject) -> [Part; 5] {
    let empty = Usage::default();
    let usage = usage(model, subject).unwrap_or(&empty);
    [
        (Band::Run, "cpu", usage.cpu_ns),
        (Band::Queue, "run queue", usage.runq_wakeup_ns),
        (Band::Preempted, "preempted", usage.runq_preempted_ns),
        (Band::Blocked, "blocked", usage.blocked_ns),
        (Band::Unexplained, "unexplained", usage.unexplained_ns()),
    ]
    .map(|(band, name, amount)| Part { band, name, amount })
}

/// What a row is called.
#[must_use]
pub fn name(model: &Model, subject: &Subject) -> String {
    match subject {
        Subject::Process(key) | Subject::File(key, _) => process_name(model, *key),
        Subject::Thread(key, tid) => {
            let thread = model.processes.get(key).and_then(|process| process.threads.get(tid));
            format!("{}[{tid}]", thread.map_or("?", |thread| &thread.comm))
        }
        Subject::Disk(device, op) => {
            let disk = model.disks.get(device).and_then(|disk| disk.name.as_deref());
            let op = usize::try_from(*op).ok().and_then(|op| OPERATIONS.get(op));
            format!("{} {}", disk.unwrap_or("?"), op.unwrap_or(&"?"))
        }
        Subject::Socket(cookie) => {
            let socket = model.sockets.get(cookie).map(|socket| &socket.row);
            socket.map_or_else(|| "?".into(), |row| format!("{} → {}", row.local, row.peer))
        }
        Subject::Syscall(key, call) => format!("{} of {}", call_name(model, *call), process_name(model, *key)),
    }
}

fn call_name(model: &Model, call: u32) -> &str {
    model.machine.call_names.get(&(call & 0xffff)).map_or("?", String::as_str)
}

fn usage<'a>(model: &'a Model, subject: &Subject) -> Option<&'a Usage> {
    match subject {
        Subject::Process(key) => model.processes.get(key).map(|process| &process.usage.sum),
        Subject::Thread(key, tid) => model.processes.get(key)?.threads.get(tid).map(|thread| &thread.usage.sum),
        _ => None,
    }
}

fn disk(model: &Model, device: u32, op: u32) -> Option<Panel> {
    let usage = &model.disks.get(&device)?.ops.get(usize::try_from(op).ok()?)?.sum;
    let pair =
        [Named { name: "queue", hist: usage.queue.clone() }, Named { name: "device", hist: usage.service.clone() }];
    let title = format!("{}: time in the queue, time in the device", name(model, &Subject::Disk(device, op)));
    Some(Panel { title, body: Body::Hists(Box::new(pair)) })
}

fn syscall(model: &Model, key: ProcessKey, call: u32) -> Option<Panel> {
    let usage = &model.processes.get(&key)?.calls.get(&call)?.sum;
    let pair = [
        Named { name: "blocked", hist: usage.blocked.clone() },
        Named { name: "latency", hist: usage.latency.clone() },
    ];
    let title = format!("{}: time blocked, sampled latency", name(model, &Subject::Syscall(key, call)));
    Some(Panel { title, body: Body::Hists(Box::new(pair)) })
}
