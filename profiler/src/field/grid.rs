//! How a table is declared: metrics that know how to take themselves out of a row.

use super::{Column, Scope, Subject, Value};
use crate::batch::ProcessKey;
use crate::model::Model;
use crate::model::process::UNNAMED;
use crate::model::time::{Recent, Reset};

/// What a cell is computed from, beside its row.
pub(super) struct Ctx<'a> {
    pub(super) model: &'a Model,
    /// The time that rates are over: the last interval live, the whole window in a report.
    pub(super) span_ns: u64,
}

impl Ctx<'_> {
    /// The numbers that belong to [`Self::span_ns`].
    pub(super) fn of<'r, T: Reset>(&self, recent: &'r Recent<T>) -> &'r T {
        recent.of(self.model.window)
    }

    fn seconds(&self) -> Option<f64> {
        (self.span_ns > 0).then(|| self.span_ns as f64 / 1e9)
    }

    /// Things per second.
    pub(super) fn per_second(&self, count: u64) -> Value {
        self.seconds().map_or(Value::None, |seconds| Value::PerSecond(count as f64 / seconds))
    }

    /// Bytes per second.
    pub(super) fn bytes_per_second(&self, bytes: u64) -> Value {
        self.seconds().map_or(Value::None, |seconds| Value::BytesPerSecond(bytes as f64 / seconds))
    }

    /// Share of the time of one CPU, or of one thread.
    pub(super) fn share(&self, ns: u64) -> Value {
        Value::ratio(ns, self.span_ns)
    }

    /// Name of a process.
    pub(super) fn comm(&self, key: ProcessKey) -> Value {
        let comm = self.model.processes.get(&key).and_then(|process| process.comm(key));
        comm.map_or_else(|| self.unknown(THREADS, UNNAMED), |comm| Value::Text(comm.to_owned()))
    }

    /// Why something was not found: for want of a probe, else `otherwise`.
    pub(super) fn unknown(&self, need: Need, otherwise: &'static str) -> Value {
        Value::Unknown(if self.model.quality.is_missing(need.probe) { need.why } else { otherwise })
    }
}

/// How a metric is taken out of a row.
pub(super) type Get<G> = for<'a, 'r> fn(&'r <G as Grid>::Row<'a>, &'r Ctx<'a>) -> Value;

/// A metric: declared once, here, for every screen, sort key, report and export.
pub(super) struct Field<G: Grid> {
    pub(super) column: Column,
    pub(super) get: Get<G>,
    pub(super) needs: Option<Need>,
}

impl<G: Grid> Field<G> {
    /// Why the metric is unknown on this host, if it is.
    pub(super) fn missing(&self, model: &Model) -> Option<Value> {
        let need = self.needs.filter(|need| model.quality.is_missing(need.probe))?;
        Some(Value::Unknown(need.why))
    }
}

/// A probe that a metric needs.
#[derive(Clone, Copy)]
pub(super) struct Need {
    pub(super) probe: &'static str,
    pub(super) why: &'static str,
}

pub(super) const THREADS: Need = Need { probe: "iter_task", why: "the probe iter_task is missing" };
pub(super) const SWITCHES: Need = Need { probe: "sched_switch", why: "the probe sched_switch is missing" };
pub(super) const WAKERS: Need = Need { probe: "sched_waking", why: "the probe sched_waking is missing" };
pub(super) const CALLS: Need = Need { probe: "sys_exit", why: "the probe sys_exit is missing" };
pub(super) const OPERATIONS: Need =
    Need { probe: "io_uring_submit_req", why: "the probe io_uring_submit_req is missing" };
pub(super) const LATENCIES: Need = Need { probe: "sys_enter", why: "the probe sys_enter is missing" };
pub(super) const PAGES: Need =
    Need { probe: "mm_filemap_add_to_page_cache", why: "the probe mm_filemap_add_to_page_cache is missing" };
pub(super) const DROPS: Need =
    Need { probe: "mm_filemap_delete_from_page_cache", why: "the probe mm_filemap_delete_from_page_cache is missing" };
pub(super) const ISSUES: Need = Need { probe: "block_rq_issue", why: "the probe block_rq_issue is missing" };
pub(super) const REQUESTS: Need = Need { probe: "block_rq_complete", why: "the probe block_rq_complete is missing" };
pub(super) const BIOS: Need = Need { probe: "block_bio_queue", why: "the probe block_bio_queue is missing" };
pub(super) const REQUEUES: Need = Need { probe: "block_rq_requeue", why: "the probe block_rq_requeue is missing" };
pub(super) const DIRTIERS: Need =
    Need { probe: "writeback_dirty_folio", why: "the probe writeback_dirty_folio is missing" };
pub(super) const JOURNALS: Need = Need { probe: "jbd2_start_commit", why: "the probe jbd2_start_commit is missing" };
pub(super) const SOCKETS: Need = Need { probe: "iter_tcp", why: "the probe iter_tcp is missing" };
pub(super) const HOLDERS: Need = Need { probe: "iter_task_file", why: "the probe iter_task_file is missing" };
pub(super) const OPENS: Need = Need { probe: "inet_sock_set_state", why: "the probe inet_sock_set_state is missing" };
pub(super) const SENDS: Need = Need { probe: "sock_send_length", why: "the probe sock_send_length is missing" };
pub(super) const RECEIVES: Need = Need { probe: "sock_recv_length", why: "the probe sock_recv_length is missing" };
pub(super) const RECOVERIES: Need =
    Need { probe: "tcp_cong_state_set", why: "the probe tcp_cong_state_set is missing" };
pub(super) const FREED: Need = Need { probe: "kfree_skb", why: "the probe kfree_skb is missing" };
pub(super) const UNQUEUED: Need =
    Need { probe: "udp_fail_queue_rcv_skb", why: "the probe udp_fail_queue_rcv_skb is missing" };
pub(super) const ENDS: Need = Need { probe: "tcp_destroy_sock", why: "the probe tcp_destroy_sock is missing" };

/// A table: its metrics, and how its rows are found.
pub(super) trait Grid: Sized + 'static {
    /// What its getters look at.
    type Row<'a>;

    const FIELDS: &'static [Field<Self>];

    /// Without one of these, rows are missing.
    const ROWS: &'static [Need];

    /// Its rows, the most important first.
    fn rows<'a>(ctx: &Ctx<'a>, scope: &Scope) -> Vec<(Subject, Self::Row<'a>)>;
}

/// Declares a metric. Width 0 marks the flexible column of a table.
pub(super) const fn field<G: Grid>(
    id: &'static str,
    label: &'static str,
    width: u16,
    hide_below: u16,
    doc: &'static str,
    get: Get<G>,
) -> Field<G> {
    Field { column: Column { id, label, doc, width, hide_below }, get, needs: None }
}

/// Marks a metric that is unknown, not zero, without a probe.
pub(super) const fn needs<G: Grid>(need: Need, mut field: Field<G>) -> Field<G> {
    field.needs = Some(need);
    field
}

/// Orders rows by weight, the greatest first; equal ones by subject, so that they hold still.
pub(super) fn heaviest_first<R>(rows: &mut [(Subject, R)], weight: impl Fn(&R) -> u64) {
    rows.sort_by_cached_key(|(subject, row)| (std::cmp::Reverse(weight(row)), subject.clone()));
}
