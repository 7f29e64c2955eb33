//! Reading the kernel: typed loads or helper loads, and every difference between kernel versions.
//!
//! SAFETY: offsets come from the running kernel's BTF, and a program whose offsets are missing is not loaded. Typed
//! loads are checked by the verifier and fault softly; helper loads return an error instead of faulting.

use core::arch::asm;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::generated as helpers;
use profiler_common::COMM_LEN;
use profiler_common::config::Config;
use profiler_common::file::InodeKey;
use profiler_common::kfunc;
use profiler_common::lost::Lost;
use profiler_common::offset::{ABSENT, Offsets};

use crate::emit::lost;

#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::NONE;

#[unsafe(no_mangle)]
pub static CONFIG: Config = Config {
    sample_calls: 0,
    switch_prev_state: 0,
    request_arg: 0,
    request_inserted: 0,
    flush_seq_mask: 0,
    log: 0,
    kernel_reads: 0,
    preemptible: 0,
    fua_mask: 0,
    throttled_mask: 0,
    page_head_mask: 0,
    dirty_pause_arg: 0,
    uring_submit_args: 0,
    uring_complete_args: 0,
    uring_queue_args: 0,
    tick_ns: 0,
    drop_socket: 0,
    drop_full: 0,
    drop_memory: 0,
    task_type: 0,
    request_type: 0,
    socket_type: 0,
};

/// An offset, known to the verifier as a constant.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::constant(&raw const $crate::kernel::OFFSETS.$field)
    };
}
pub(crate) use offset;

/// A switch, known to the verifier as a constant: what it turns off is not even in the loaded program.
macro_rules! config {
    ($field:ident) => {
        $crate::kernel::constant(&raw const $crate::kernel::CONFIG.$field)
    };
}
pub(crate) use config;

/// Reads a global that user space sets before the program is loaded.
#[inline(always)]
pub fn constant<T>(at: *const T) -> T {
    unsafe { read_volatile(at) }
}

/// A kernel object: only ever read through a [`Hook`].
pub type Object = *const u8;

/// How a program got its arguments, and thereby how it may read what they point to.
pub trait Hook: Copy {
    /// The tracepoint's argument `N`.
    fn arg<const N: usize>(self) -> u64;

    /// Reads a member of a kernel object; zero, and counted, if that fails.
    fn read<T: Copy + Default>(self, object: Object, offset: u32) -> T;

    /// Reads sixteen bytes, in words: of anything larger the verifier does not know the type.
    #[inline(always)]
    fn read_16(self, object: Object, offset: u32) -> [u8; 16] {
        let words: [u64; 2] = [self.read(object, offset), self.read(object, offset + 8)];
        unsafe { core::mem::transmute(words) }
    }

    /// The same object, of a type by its id, or of its own where that is 0; the verifier does not trust it any more. Of whatever a
    /// pointer in a trusted object leads to, it asks four times whether that is trusted as well (6.4, 6fcd486b3a0a), each time by
    /// a walk over the names of all types: that was half of all that a start takes. The cast is a move between registers.
    fn plain(self, object: Object, id: u32) -> Object;

    /// The cookie of a socket.
    fn cookie(self, socket: Object) -> u64;

    /// The TCP half of a socket that may not be one; null if it is not.
    fn tcp(self, socket: Object) -> Object;

    /// Its address as a number; 0 where programs may not read the kernel's memory by address.
    fn number(self, object: Object) -> u64;

    /// Keeps a mark on a socket, or takes it away.
    fn mark(self, socket: Object, life: Life);

    /// The tracepoint's argument `N` as an object.
    #[inline(always)]
    fn object<const N: usize>(self) -> Object {
        self.arg::<N>() as Object
    }

    /// Follows a pointer.
    #[inline(always)]
    fn follow(self, object: Object, offset: u32) -> Object {
        self.read::<Pointer>(object, offset).0
    }
}

/// What becomes of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It begins to live, in one of [`profiler_common::exchange::role`].
    Begins(u32),
    /// It lives, and may have begun before we came.
    Found,
    Ends,
}

/// A pointer that has a default.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Pointer(pub Object);

impl Default for Pointer {
    #[inline(always)]
    fn default() -> Self {
        Self(core::ptr::null())
    }
}

/// Context of a `tp_btf` program or an iterator: pointers are typed, loads are direct.
#[derive(Clone, Copy)]
pub struct Typed(pub *const u64);

/// Reads typed pointers where there is no context to take arguments from.
pub const TYPED: Typed = Typed(core::ptr::null());

/// Reads numbers that point into the kernel.
pub const RAW: Raw = Raw(core::ptr::null());

/// Context of a `raw_tp` program: pointers are numbers, loads go through a helper.
#[derive(Clone, Copy)]
pub struct Raw(pub *const u64);

impl Hook for Typed {
    #[inline(always)]
    fn arg<const N: usize>(self) -> u64 {
        argument::<N>(self.0)
    }

    #[inline(always)]
    fn read<T: Copy + Default>(self, object: Object, offset: u32) -> T {
        unsafe { read_volatile(object.add(offset as usize).cast::<T>()) }
    }

    #[inline(always)]
    fn plain(self, object: Object, id: u32) -> Object {
        if id == 0 {
            return object;
        }
        let cast: extern "C" fn(Object, u64) -> Object = unsafe { core::mem::transmute(kfunc::READONLY_CAST as usize) };
        cast(object, id.into())
    }

    /// Tracing programs may make a cookie since 5.12 (c5dbb89fc2ac).
    #[inline(always)]
    fn cookie(self, socket: Object) -> u64 {
        if cfg!(feature = "hash-tasks") {
            return Raw(self.0).cookie(socket);
        }
        unsafe { helpers::bpf_get_socket_cookie(socket as *mut c_void) }
    }

    #[inline(always)]
    fn tcp(self, socket: Object) -> Object {
        unsafe { helpers::bpf_skc_to_tcp_sock(socket as *mut c_void) as Object }
    }

    /// The verifier makes no number of a typed pointer, but it lets a helper copy the stack.
    #[inline(always)]
    fn number(self, object: Object) -> u64 {
        if config!(kernel_reads) == 0 {
            return 0;
        }
        let mut spilled = Pointer::default();
        unsafe { write_volatile(&raw mut spilled.0, object) };
        probe((&raw const spilled).cast(), 0)
    }

    #[inline(always)]
    fn mark(self, socket: Object, life: Life) {
        crate::tcp::mark::set(socket, life);
    }
}

impl Hook for Raw {
    #[inline(always)]
    fn arg<const N: usize>(self) -> u64 {
        argument::<N>(self.0)
    }

    #[inline(always)]
    fn read<T: Copy + Default>(self, object: Object, offset: u32) -> T {
        probe(object, offset)
    }

    #[inline(always)]
    fn plain(self, object: Object, _id: u32) -> Object {
        object
    }

    /// A cookie is there only if somebody asked for it; else the address has to do. Where programs cannot ask, it always
    /// does: somebody else may ask while the socket lives.
    #[inline(always)]
    fn cookie(self, socket: Object) -> u64 {
        let cookie: u64 = if cfg!(feature = "hash-tasks") { 0 } else { probe(socket, offset!(sock_cookie)) };
        if cookie == 0 { socket as u64 } else { cookie }
    }

    /// The tracepoints that need this pass TCP sockets only.
    #[inline(always)]
    fn tcp(self, socket: Object) -> Object {
        socket
    }

    #[inline(always)]
    fn number(self, object: Object) -> u64 {
        object as u64
    }

    /// Marks need typed sockets, as do those who look at them.
    #[inline(always)]
    fn mark(self, _socket: Object, _life: Life) {}
}

/// An argument of a tracepoint. In assembler, because the compiler makes one load with a computed address of two arguments of
/// which the kernel has one or the other, and the verifier allows no arithmetic with this pointer.
#[inline(always)]
fn argument<const N: usize>(context: *const u64) -> u64 {
    let value;
    unsafe {
        asm!(
            "{value} = *(u64 *)({context} + {offset})",
            value = lateout(reg) value,
            context = in(reg) context,
            offset = const N * 8,
            options(pure, readonly, nostack),
        );
    }
    value
}

/// Reads kernel memory by helper, for pointers whose type the verifier has lost.
#[inline(always)]
pub fn probe<T: Copy + Default>(object: Object, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let from = object.wrapping_add(offset as usize);
    // What cannot be read, the helper fills with zeros. One value for both ends: with two, old verifiers walk everything
    // that follows twice.
    unsafe {
        if helpers::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from.cast()) != 0 {
            lost(Lost::Read);
        }
        value.assume_init()
    }
}

/// The same of what may not be what it seems to be: zero, and nobody's fault, if it cannot be read.
#[inline(always)]
pub fn peek<T: Copy + Default>(object: Object, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let from = object.wrapping_add(offset as usize);
    unsafe {
        helpers::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from.cast());
        value.assume_init()
    }
}

/// Copies a string of the kernel, cut to the room that there is.
#[inline(always)]
pub fn copy_string<const N: usize>(to: *mut [u8; N], from: Object) {
    unsafe { helpers::bpf_probe_read_kernel_str(to.cast(), N as u32, from.cast()) };
}

/// Reads memory of the running process; `None` if it is not there.
#[inline(always)]
pub fn read_user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let to = value.as_mut_ptr().cast();
    unsafe {
        let failed = helpers::bpf_probe_read_user(to, size_of::<T>() as u32, address as *const c_void) != 0;
        if failed { None } else { Some(value.assume_init()) }
    }
}

/// Defines both twins of a hook: `fn body<H: Hook>(hook: H)` becomes `tp_btf/NAME` and `raw_tp/NAME`.
macro_rules! hook {
    ($tracepoint:literal, $typed:ident, $raw:ident, $body:path) => {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = concat!("tp_btf/", $tracepoint))]
        extern "C" fn $typed(context: *mut core::ffi::c_void) -> i32 {
            $body($crate::kernel::Typed(context.cast()));
            0
        }

        #[unsafe(no_mangle)]
        #[unsafe(link_section = concat!("raw_tp/", $tracepoint))]
        extern "C" fn $raw(context: *mut core::ffi::c_void) -> i32 {
            $body($crate::kernel::Raw(context.cast()));
            0
        }
    };
}
pub(crate) use hook;

/// An object as a number: its address, relative to something of ours, because the verifier allows no arithmetic with typed
/// pointers but their difference, and keeps none of them in a map.
#[inline(always)]
pub fn address_of(object: Object) -> u64 {
    let base = if cfg!(feature = "hash-tasks") { 0 } else { &raw const OFFSETS as u64 };
    (object as u64).wrapping_sub(base)
}

/// The running task. Typed from 5.11 on (3ca1032ab7ab, `bpf_get_current_task_btf`); before, a bare address.
#[inline(always)]
pub fn current() -> Object {
    if cfg!(feature = "hash-tasks") {
        unsafe { helpers::bpf_get_current_task() as Object }
    } else {
        unsafe { helpers::bpf_get_current_task_btf().cast() }
    }
}

/// Reads a member of [`current`].
#[inline(always)]
pub fn read_current<T: Copy + Default>(task: Object, offset: u32) -> T {
    if cfg!(feature = "hash-tasks") { probe(task, offset) } else { TYPED.read(task, offset) }
}

/// The registers with which a task, [`current`] or of an iterator, entered the kernel. Null for some tasks that never did.
#[inline(always)]
pub fn registers_of(task: Object) -> Object {
    if cfg!(feature = "hash-tasks") {
        // Before the helper (5.15, dd6e10fbd9f7): x86-64 keeps them at the top of a stack of 16 KiB.
        const AT: usize = (16 << 10) - 168;
        let stack = follow_task(task, offset!(task_stack));
        // Whoever ends while an iterator looks at it has none any more.
        return if stack.is_null() { stack } else { stack.wrapping_add(AT) };
    }
    unsafe { helpers::bpf_task_pt_regs(task as *mut _) as Object }
}

/// The process of [`current`]: when its first thread started, and its id.
#[inline(always)]
pub fn process_of(task: Object) -> (u64, u32) {
    let leader = follow_task(task, offset!(task_group_leader));
    (read_current(leader, offset!(task_start_ns)), read_current(task, offset!(task_tgid)))
}

/// Name of [`current`].
#[inline(always)]
pub fn comm_of(task: Object) -> [u8; COMM_LEN] {
    let at = offset!(task_comm);
    if cfg!(feature = "hash-tasks") { probe(task, at) } else { TYPED.read_16(task, at) }
}

/// Follows a pointer of a task.
#[inline(always)]
pub fn follow_task(task: Object, offset: u32) -> Object {
    let task = if cfg!(feature = "hash-tasks") { task } else { TYPED.plain(task, config!(task_type)) };
    follow_current(task, offset)
}

/// Follows a pointer of what [`current`] leads to.
#[inline(always)]
pub fn follow_current(object: Object, offset: u32) -> Object {
    read_current::<Pointer>(object, offset).0
}

/// `CLOCK_MONOTONIC`. Costs as much as a small program: only where it decides something.
#[inline(always)]
pub fn now() -> u64 {
    unsafe { helpers::bpf_ktime_get_ns() }
}

/// `CLOCK_BOOTTIME` (5.8, 71d19214776e), on which tasks are born.
#[inline(always)]
pub fn since_boot() -> u64 {
    unsafe { helpers::bpf_ktime_get_boot_ns() }
}

/// Runs something that no switch may come into, where the kernel lets programs ask for that.
#[inline(always)]
pub fn unpreempted(work: impl FnOnce()) {
    if config!(preemptible) == 0 {
        return work();
    }
    call(kfunc::PREEMPT_DISABLE);
    work();
    call(kfunc::PREEMPT_ENABLE);
}

/// Calls a kernel function that takes nothing and returns nothing.
#[inline(always)]
fn call(number: u32) {
    let function: extern "C" fn() = unsafe { core::mem::transmute(number as usize) };
    function();
}

/// The disk of a request: since 5.16 (f3fa33acca9f) it hangs on the queue.
#[inline(always)]
pub fn disk_of<H: Hook>(hook: H, request: Object) -> Object {
    if offset!(request_disk) == ABSENT {
        hook.follow(hook.follow(request, offset!(request_queue)), offset!(queue_disk))
    } else {
        hook.follow(request, offset!(request_disk))
    }
}

/// An inode as a key.
#[inline(always)]
pub fn inode_key<H: Hook>(from: H, inode: Object) -> InodeKey {
    InodeKey {
        number: from.read(inode, offset!(inode_number)),
        device: from.read(from.follow(inode, offset!(inode_super)), offset!(super_device)),
        generation: from.read(inode, offset!(inode_generation)),
    }
}

/// Pages of a folio, or of a page. Folios tell their own number since 6.1; before, the second page of
/// a compound page has it (5.9, 1378a5ee451a).
#[inline(always)]
pub fn pages_of<H: Hook>(hook: H, folio: Object) -> u64 {
    const PAGE_STRUCT: u32 = 64;
    if hook.read::<u64>(folio, offset!(page_flags)) & u64::from(config!(page_head_mask)) == 0 {
        return 1;
    }
    if offset!(folio_pages) != ABSENT {
        return hook.read::<u32>(folio, offset!(folio_pages)).into();
    }
    if offset!(page_pages) == ABSENT || config!(kernel_reads) == 0 {
        return 1;
    }
    probe::<u32>(folio, PAGE_STRUCT + offset!(page_pages)).into()
}

/// Adds to a counter that other CPUs add to as well. The old value is not to be had on the oldest kernels.
pub trait Counter: Copy {
    /// Adds atomically, unordered.
    fn add(at: *mut Self, value: Self);
}

impl Counter for u64 {
    #[inline(always)]
    fn add(at: *mut Self, value: Self) {
        unsafe {
            core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(at, value);
        }
    }
}

impl Counter for u32 {
    #[inline(always)]
    fn add(at: *mut Self, value: Self) {
        unsafe {
            core::intrinsics::atomic_xadd::<u32, u32, { core::intrinsics::AtomicOrdering::Relaxed }>(at, value);
        }
    }
}
