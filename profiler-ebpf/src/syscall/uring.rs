//! Operations of `io_uring`, from the request to its completion in the ring: counted when they complete, and apart where
//! a worker thread did them.
//!
//! Until 5.16 a completion does not name its request: ring and `user_data` tell, as they do to the owner. Later the same is
//! true of requests that complete more than once.
//!
//! SAFETY: entries of operations stay where they are until they are removed, which only their last completion does.

use core::ptr::null;

use profiler_common::file::{is_followed, kind};
use profiler_common::syscall::operation::{CODES, URING, WORKER};
use profiler_common::syscall::{OperationKey, call_key, class};

use crate::file::{forget, kind_of_file, path};
use crate::kernel::{Hook, Object, Pointer, address_of, config, current, hook, offset, probe, unpreempted};
use crate::maps::OPERATIONS;
use crate::syscall::{class_of, operation, total};

/// `IOSQE_CQE_SKIP_SUCCESS` (5.17, 04c76b41ca97): nobody wants to hear of its end.
const CQE_SKIP: u32 = 1 << 6;
/// `IORING_CQE_F_MORE`: the same request will complete again.
const CQE_MORE: u32 = 1 << 1;

hook!("io_uring_submit_req", io_uring_submit_req, io_uring_submit_req_raw, submitted);
hook!("io_uring_queue_async_work", io_uring_queue_async_work, io_uring_queue_async_work_raw, queued);
hook!("io_uring_complete", io_uring_complete, io_uring_complete_raw, completed);

/// `io_uring_submit_req(request)` (6.5, 2ad57931db64), `io_uring_submit_sqe` before.
#[inline(always)]
fn submitted<H: Hook>(hook: H) {
    unpreempted(|| submit(hook));
}

#[inline(always)]
fn submit<H: Hook>(hook: H) {
    let (at, code, flags) = match config!(uring_submit_args) {
        5 => (OperationKey { at: hook.arg::<0>(), tag: hook.arg::<2>() }, hook.arg::<1>(), 0),
        7 => (OperationKey { at: hook.arg::<0>(), tag: hook.arg::<3>() }, hook.arg::<2>(), hook.arg::<4>() as u32),
        _ => {
            let request = hook.object::<0>();
            let code: u8 = hook.read(request, offset!(uring_opcode));
            (key_of(hook, request), code.into(), hook.read(request, offset!(uring_flags)))
        }
    };
    if at.at == 0 {
        return;
    }
    let owner = total::owner_of(current(), call_key(URING + (code as u32 & (CODES - 1)), 0));
    if flags & CQE_SKIP != 0 {
        let _ = operation::count(&owner);
        return;
    }
    operation::begin_another(&at, &owner);
}

/// Ring and tag of a request. The ring is 0 where it cannot be told: a completion has it as a number since always, and as
/// something with a type since 6.13 (the verifier makes a number only of the latter).
#[inline(always)]
fn key_of<H: Hook>(hook: H, request: Object) -> OperationKey {
    let at = if config!(uring_complete_args) == 3 {
        address_of(hook.follow(request, offset!(uring_ring)))
    } else if config!(kernel_reads) != 0 {
        probe(request, offset!(uring_ring))
    } else {
        0
    };
    OperationKey { at, tag: hook.read(request, offset!(uring_user_data)) }
}

/// `io_uring_queue_async_work(request, …)`
#[inline(always)]
fn queued<H: Hook>(hook: H) {
    let at = match config!(uring_queue_args) {
        5 if config!(kernel_reads) == 0 => return,
        5 => OperationKey { at: hook.arg::<0>(), tag: probe(hook.object::<2>(), offset!(uring_user_data)) },
        7 => OperationKey { at: hook.arg::<0>(), tag: hook.arg::<2>() },
        _ => key_of(hook, hook.object::<0>()),
    };
    if let Some(open) = OPERATIONS.get_ptr_mut(at) {
        unsafe { (*open).key = WORKER | (*open).key & (CODES - 1) };
    }
}

#[inline(always)]
fn completed<H: Hook>(hook: H) {
    unpreempted(|| complete(hook));
}

/// What a completion says.
struct Completion {
    at: OperationKey,
    /// The request, or null.
    request: Object,
    result: i64,
    flags: u32,
}

#[inline(always)]
fn completion_of<H: Hook>(hook: H) -> Completion {
    match config!(uring_complete_args) {
        // Members of `struct io_uring_cqe` stand where user space expects them.
        3 => {
            let completion = hook.object::<2>();
            let at = OperationKey { at: address_of(hook.object::<0>()), tag: hook.read(completion, 0) };
            let result: i32 = hook.read(completion, 8);
            Completion { at, request: hook.object::<1>(), result: result.into(), flags: hook.read(completion, 12) }
        }
        4 => Completion {
            at: OperationKey { at: hook.arg::<0>(), tag: hook.arg::<1>() },
            request: null(),
            result: (hook.arg::<2>() as i32).into(),
            flags: hook.arg::<3>() as u32,
        },
        _ => Completion {
            at: OperationKey { at: hook.arg::<0>(), tag: hook.arg::<2>() },
            request: hook.object::<1>(),
            result: (hook.arg::<3>() as i32).into(),
            flags: hook.arg::<4>() as u32,
        },
    }
}

#[inline(always)]
fn complete<H: Hook>(hook: H) {
    let Completion { at, request, result, flags } = completion_of(hook);
    // Handed over before we watched.
    let Some(open) = OPERATIONS.get_ptr_mut(at) else { return };
    let (class, mut kind) = (class_of(unsafe { (*open).key }), kind::NONE);
    if matches!(class, class::READ | class::WRITE | class::SYNC) {
        let file = file_of(request);
        kind = if file.is_null() { kind::UNKNOWN } else { kind_of_file(file) };
        if is_followed(kind) {
            let (start, pid) = unsafe { ((*open).process_start_ns, (*open).pid) };
            path::path_operation(file as u64, start, pid, u32::from(class) | kind << 8, result);
        }
    }
    operation::end(&at, open, kind, result, flags & CQE_MORE != 0);
    if class == class::CLOSE {
        forget(current());
    }
}

/// The file that a request is about, which it holds until it has completed; null if it is not known.
#[inline(always)]
fn file_of(request: Object) -> Object {
    if request.is_null() || config!(kernel_reads) == 0 {
        return null();
    }
    probe::<Pointer>(request, offset!(uring_file)).0
}
