//! A device and operation: who waits for it, for whom it works, and what the kernel says about it.

use profiler_common::disk::op;
use profiler_common::wait;

use crate::batch::ProcessKey;
use crate::field::Subject;
use crate::finding::task::reject_run_queue;
use crate::finding::{Finding, named, percent, ratio, severity};
use crate::model::Model;
use crate::model::disk::{Disk, DiskUse, op_name};
use crate::model::file::storage;
use crate::model::process::Process;

/// Processes to name as those for whom a device works.
const OWNERS_MAX: usize = 3;
/// Our count of requests and that of `/proc/diskstats` may differ by those under way at either end of the window.
const COUNT_SLACK: f64 = 0.2;

/// A device, and one of its operations.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub device: u32,
    pub disk: &'a Disk,
    pub operation: u32,
}

/// What is found of each device and operation.
pub fn of_each(model: &Model, operations: &[u32], find: fn(&Model, Place<'_>) -> Option<Finding>) -> Vec<Finding> {
    let places = model.disks.iter().flat_map(|(device, disk)| {
        operations.iter().map(|operation| Place { device: *device, disk, operation: *operation })
    });
    places.filter_map(|place| find(model, place)).collect()
}

impl Place<'_> {
    /// A finding, but for its claim and advice. `share` is of the losers' time, as far as it is lost to what is claimed.
    pub fn found<const N: usize>(
        &self,
        model: &Model,
        id: &'static str,
        losers: &[(ProcessKey, f64)],
        share: f64,
        evidence: [String; N],
        mut rejected: Vec<String>,
    ) -> Option<Finding> {
        let (worst, lost) = *losers.first()?;
        reject_run_queue(model, worst, &mut rejected);
        let impact = lost * share;
        Some(Finding {
            id,
            severity: severity(impact),
            subject: self.disk.name(self.device),
            at: Subject::Disk(self.device, self.operation),
            claim: String::new(),
            victims: named(model, losers, "waiting for storage"),
            impact,
            evidence: evidence.into_iter().chain(self.owners(model)).chain(self.unclear(model)).collect(),
            witness: self.witness(),
            rejected,
            advice: "",
        })
    }

    /// How long a process can have waited for the operation: in calls, as told, and for completions of its own requests.
    pub fn lost_ns(&self, key: ProcessKey, process: &Process, in_calls_ns: u64) -> u64 {
        let own_ns = self.own_ns(key);
        let completions_ns = process.usage.sum.waits[wait::ASYNC as usize].min(own_ns);
        // Without owners they are not known.
        let are_own = self.operation == op::READ && self.disk.owners_of(self.operation).next().is_some();
        (in_calls_ns + completions_ns).min(if are_own { own_ns } else { self.all_ns() })
    }

    /// Time of its own requests.
    pub fn own_ns(&self, process: ProcessKey) -> u64 {
        let mut owners = self.disk.owners_of(self.operation);
        owners.find(|(key, _)| *key == process).map_or(0, |(_, usage)| usage.request_ns())
    }

    /// Blocked time in calls that the operation can hold up.
    pub fn waits_ns(&self, model: &Model, process: &Process) -> u64 {
        let usage = storage([process], &model.calls);
        match self.operation {
            op::READ => usage.read_blocked_ns,
            op::FLUSH => usage.sync_blocked_ns,
            _ => usage.write_blocked_ns + usage.sync_blocked_ns,
        }
    }

    /// The kernel counts the same requests; unless it does, something is wrong with our numbers. True where it cannot say.
    pub fn counts_agree(&self) -> bool {
        let Some((ours, theirs)) = self.counts() else { return true };
        let (ours, theirs) = (ours as f64, theirs as f64);
        (ours - theirs).abs() <= COUNT_SLACK * ours.max(theirs)
    }

    /// What it cannot tell where several devices are in use.
    fn unclear(&self, model: &Model) -> Option<String> {
        let used = |disk: &&Disk| disk.ops.iter().any(|usage| usage.sum.requests > 0);
        let used = model.disks.values().filter(used).count();
        let unclear = || format!("{used} devices had requests; who waits for which is not recorded");
        (used > 1 && self.operation != op::READ).then(unclear)
    }

    /// For whom most of the work is.
    fn owners(&self, model: &Model) -> Option<String> {
        let owners = self.disk.owners_of(self.operation);
        let mut owners: Vec<_> = owners.map(|(key, usage)| (usage.request_ns(), key)).collect();
        owners.sort_unstable_by(|a, b| b.cmp(a));
        let name =
            |(ns, key): &(u64, ProcessKey)| format!("{} {}", model.label(*key), percent(ratio(*ns, self.all_ns())));
        let names: Vec<_> = owners.iter().take(OWNERS_MAX).map(name).collect();
        (!names.is_empty())
            .then(|| format!("time of {} requests by owner: {}", op_name(self.operation), names.join(", ")))
    }

    /// Time of all requests.
    fn all_ns(&self) -> u64 {
        self.disk.done(self.operation).map_or(0, DiskUse::request_ns)
    }

    fn witness(&self) -> Option<String> {
        let (ours, theirs) = self.counts()?;
        Some(format!("/proc/diskstats: {theirs} {} requests, we counted {ours}", op_name(self.operation)))
    }

    /// Requests by our count and by that of `/proc/diskstats`.
    fn counts(&self) -> Option<(u64, u64)> {
        let (ours, theirs) = (self.disk.ops.get(self.operation as usize)?, &self.disk.stat);
        let theirs = theirs.sum.requests.get(self.operation as usize).filter(|_| self.disk.stat_known)?;
        Some((ours.sum.requests, *theirs))
    }
}
