//! What a thread waits on, told by the iterator of those that sleep.
//!
//! SAFETY: typed loads of the kernel's own structs; a thread's record is only read.

use profiler_common::task::{NO_CALL, TaskRecord};
use profiler_common::wait;

use super::call_of;
use super::thread::Thread;
use crate::file::file_of;
use crate::kernel::{Hook, Object, RAW, offset, read_current, registers_of};
use crate::tcp::tcp_socket_of;

/// The first argument of the call that a sleeping thread is in; for some kinds of waits that names a TCP socket, or there is a
/// lock besides.
#[inline(always)]
pub fn describe(record: &mut TaskRecord, thread: *mut Thread, task: Object) {
    record.wait_lock = unsafe { (*thread).lock };
    let registers = registers_of(task);
    if call_of(task) == NO_CALL || registers.is_null() {
        return;
    }
    record.wait_argument = read_current(registers, offset!(regs_arg0));
    if matches!(record.wait, wait::RECEIVE | wait::SEND | wait::CONNECT) {
        let file = file_of(task, record.wait_argument as u32);
        if !file.is_null()
            && let Some(socket) = tcp_socket_of(file)
        {
            record.wait_socket = RAW.cookie(socket);
        }
    }
}
