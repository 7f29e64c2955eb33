//! What threads wait on, and who wakes them, as far as numbers in their records tell.

use std::collections::HashMap;
use std::fs;

use profiler_common::task::{NO_CALL, TaskRecord};
use profiler_common::wait::{Class, FUTEX, NAMES};

use crate::batch::call::{takes_descriptor, wakes};
use crate::batch::{ProcessKey, TaskRow};
use crate::kernel::load::call_name;
use crate::kernel::name::printable;

/// Files that are looked up per interval: the rest has no name in it.
const LINKS_MAX: usize = 256;

/// The waits of one pass over all threads.
#[derive(Default)]
pub struct Waits {
    links: usize,
    /// Who runs, by process id; and whether that is a thread of the kernel with work of its own.
    processes: HashMap<u32, (ProcessKey, bool)>,
    /// Rows of threads that were woken: their number, by which process, in which call.
    woken: Vec<(usize, u32, u32)>,
}

impl Waits {
    /// Notes a thread whose row is the next of `rows`; `from` is the begin of the interval.
    pub fn see(&mut self, record: &TaskRecord, row: &mut TaskRow, index: usize, from: u64) {
        if record.pid == record.tid {
            // What this one does are interrupts that were put off.
            let kernel = record.kernel_thread != 0 && !row.comm.starts_with("ksoftirqd");
            self.processes.insert(record.pid, (row.process, kernel));
        }
        if row.wait.is_some() {
            row.wait_object = self.object(record);
        }
        if record.woke_ns > from {
            row.woke_wait = Some(record.woke_wait);
            self.woken.push((index, record.waker_pid, record.waker_call));
        }
    }

    /// Says who woke them, now that all are known.
    pub fn name_wakers(&self, rows: &mut [TaskRow]) {
        for (index, pid, call) in &self.woken {
            let (Some(row), Some((waker, kernel))) = (rows.get_mut(*index), self.processes.get(pid)) else { continue };
            let name = if *call == NO_CALL { None } else { call_name(*call as usize) };
            if row.woke_wait.is_some_and(|wait| wakes(wait, name, *kernel)) {
                (row.waker_pid, row.waker_start_ns) = (Some(waker.pid), Some(waker.start_ns));
            }
        }
    }

    fn object(&mut self, record: &TaskRecord) -> Option<String> {
        if NAMES.get(record.wait as usize)?.class != Class::Wait || record.wait_socket != 0 {
            return None;
        }
        if record.wait_lock != 0 {
            // Enough to tell one from another, and not where the kernel keeps it.
            let folded = record.wait_lock.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
            return Some(format!("kernel lock {folded:04x}"));
        }
        let call = call_name(record.wait_call as usize)?;
        if record.wait == FUTEX {
            return Some(format!("futex {:#x}", record.wait_argument));
        }
        if !takes_descriptor(call) || self.links >= LINKS_MAX {
            return None;
        }
        self.links += 1;
        let descriptor = record.wait_argument & u64::from(u32::MAX);
        let file = fs::read_link(format!("/proc/{}/fd/{descriptor}", record.pid)).ok()?;
        Some(printable(file.as_os_str().as_encoded_bytes()))
    }
}
