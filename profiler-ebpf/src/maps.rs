//! All maps. Each is bounded; what happens when it is full is counted by [`crate::emit::lost`].
//!
//! All but those in local storage are allocated when they are made: at a switch or in an interrupt, an allocator with a few
//! spare elements per CPU fails in a burst, just when it matters.
//!
//! SAFETY: map definitions are placeholders that the loader replaces; nothing dereferences them.

#[cfg(not(feature = "hash-tasks"))]
pub use self::storage::{LocalStorage, SOCKET_STORAGE, TASK_STORAGE};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue, RingBuf};
use profiler_common::disk::{
    DIRTIERS_MAX, Dirtier, DiskKey, DiskRecord, OwnerKey, OwnerRecord, PartitionRecord, Request,
};
use profiler_common::drop::{DropKey, DropRecord, reason::REASONS};
#[cfg(not(feature = "hash-tasks"))]
use profiler_common::exchange::{ExchangeKey, ExchangeRecord, Spent};
use profiler_common::file::{InodeKey, PathKey, PathRecord};
use profiler_common::hist::LINEAR8_SLOTS;
use profiler_common::journal::JournalRecord;
use profiler_common::lost::LOST_COUNT;
use profiler_common::syscall::{CallOwner, CallRecord, CpuCalls, Operation, OperationKey};
use profiler_common::task::TaskRecord;
use profiler_common::tcp::{EVENTS, SocketOwner, pass};
#[cfg(not(feature = "hash-tasks"))]
use profiler_common::tcp::{TimeWaitKey, TimeWaits};

/// Maps that have an element for each key that is asked for.
pub trait Made<K, V> {
    /// The element of a key, made like `empty` if need be; `None` when there is no room. Asks once for what is there already.
    fn get_or_make(&self, key: &K, empty: &V) -> Option<*mut V>;
}

macro_rules! made {
    ($map:ident) => {
        impl<K, V> Made<K, V> for $map<K, V> {
            #[inline(always)]
            fn get_or_make(&self, key: &K, empty: &V) -> Option<*mut V> {
                let there = self.get_ptr_mut(key);
                if there.is_some() {
                    return there;
                }
                // Another CPU may be faster: whoever loses that race finds the winner's.
                let _ = self.insert(key, empty, BPF_NOEXIST.into());
                self.get_ptr_mut(key)
            }
        }
    };
}

made!(HashMap);
made!(LruHashMap);

/// The calls of the thread on each CPU, on their way into its record. One entry.
#[map]
pub static CPU_CALLS: PerCpuArray<CpuCalls> = PerCpuArray::with_max_entries(1, 0);

/// The last record of the thread that ends on each CPU, while it is made: too large for the stack. One entry.
#[map]
pub static LAST_TASK: PerCpuArray<TaskRecord> = PerCpuArray::with_max_entries(1, 0);

/// What the thread on each CPU has spent, on its way to where it is noted. One entry.
#[cfg(not(feature = "hash-tasks"))]
#[map]
pub static SPENT: PerCpuArray<Spent> = PerCpuArray::with_max_entries(1, 0);

/// Calls that found no slot in their thread, per process. 16 384 pairs of process and call.
#[map]
pub static CALLS: HashMap<CallOwner, CallRecord> = HashMap::with_max_entries(16_384, 0);

/// Sampled latencies of calls that did not leave the CPU, per process and call. 4 096 pairs of about 1 KiB each.
#[map]
pub static LATENCIES: HashMap<CallOwner, [u32; LINEAR8_SLOTS]> = HashMap::with_max_entries(4_096, 0);

/// Operations of `io_uring` and libaio under way. 16 384.
#[map]
pub static OPERATIONS: HashMap<OperationKey, Operation> = HashMap::with_max_entries(16_384, 0);

/// What processes do to files: 8 192 pairs, those that were used last. What has to go is the difference to all calls.
#[map]
pub static PATHS: LruHashMap<PathKey, PathRecord> = LruHashMap::with_max_entries(8_192, 0);

/// 256 pairs of device and operation.
#[map]
pub static DISKS: HashMap<DiskKey, DiskRecord> = HashMap::with_max_entries(256, 0);

/// Requests on their way, by address. One that goes no way leaves its entry to the next at its address, of which there are
/// no more than the devices have tags.
#[map]
pub static REQUESTS: HashMap<u64, Request> = HashMap::with_max_entries(16_384, 0);

/// 1 024 pairs of partition and operation.
#[map]
pub static PARTITIONS: HashMap<DiskKey, PartitionRecord> = HashMap::with_max_entries(1_024, 0);

/// 8 192 triples of process, device and operation.
#[map]
pub static DISK_OWNERS: HashMap<OwnerKey, OwnerRecord> = HashMap::with_max_entries(8_192, 0);

/// Who has made pages of a file dirty, of the 8 192 files that were written last.
#[map]
pub static DIRTIERS: LruHashMap<InodeKey, [Dirtier; DIRTIERS_MAX]> = LruHashMap::with_max_entries(8_192, 0);

/// 256 journals, by the device of their file system. They stay: numbers of devices are used again.
#[map]
pub static JOURNALS: HashMap<u32, JournalRecord> = HashMap::with_max_entries(256, 0);

/// Sockets by cookie. They leave when the socket is destroyed.
#[map]
pub static SOCKETS: HashMap<u64, Socket> = HashMap::with_max_entries(SOCKETS_MAX, 0);

/// Bound of [`SOCKETS`] and of [`LISTED`].
const SOCKETS_MAX: u32 = 65_536;

/// What is known of a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Socket {
    pub owner: SocketOwner,
    /// Where it is in the kernel's memory, 0 if that is not known.
    pub address: u64,
    /// What changes when anything happens on it, as it was when it was last told; nothing yet if its state is 0.
    pub told: [u32; 5],
    /// Pass that it was last listed for.
    pub listed: u32,
}

/// Sockets that the next pass looks at, see [`crate::tcp::list`].
#[map]
pub static LISTED: Queue<Listed> = Queue::with_max_entries(SOCKETS_MAX, 0);

/// A socket on the list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Listed {
    pub cookie: u64,
    /// Pass under way when it was listed.
    pub pass: u64,
}

/// The pass over sockets that is under way, [`profiler_common::tcp::pass`].
#[map]
pub static PASS: Array<u64> = Array::with_max_entries(pass::WORDS, 0);

/// Ports that somebody listens on, with the network namespace above: 4 096, those that were seen last.
#[cfg(not(feature = "hash-tasks"))]
#[map]
pub static LISTENING: LruHashMap<u64, u8> = LruHashMap::with_max_entries(4_096, 0);

/// Destinations of connections in TIME-WAIT: 4 096.
#[cfg(not(feature = "hash-tasks"))]
#[map]
pub static TIME_WAITS: HashMap<TimeWaitKey, TimeWaits> = HashMap::with_max_entries(4_096, 0);

/// 2 048 services and peers, as each process uses them, of about 4 KiB each.
#[cfg(not(feature = "hash-tasks"))]
#[map]
pub static EXCHANGES: HashMap<ExchangeKey, ExchangeRecord> = HashMap::with_max_entries(2_048, 0);

/// Packets dropped by reason, all sockets and none. One entry.
#[map]
pub static DROP_REASONS: PerCpuArray<[u64; REASONS]> = PerCpuArray::with_max_entries(1, 0);

/// Packets dropped by socket and reason: 4 096 of both.
#[map]
pub static DROPS: HashMap<DropKey, DropRecord> = HashMap::with_max_entries(4_096, 0);

/// Host-wide TCP events.
#[map]
pub static TCP_EVENTS: Array<u64> = Array::with_max_entries(EVENTS as u32, 0);

/// What could not be recorded, by reason.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_COUNT as u32, 0);

/// Records of sockets on their way from a pass to user space, which reads each time that it is full.
#[map]
pub static NEWS: RingBuf = RingBuf::with_byte_size(NEWS_BYTES, 0);

/// Size of [`NEWS`].
pub const NEWS_BYTES: u32 = 2 << 20;

/// Last records of threads and sockets. User space is woken at half.
#[map]
pub static EXITS: RingBuf = RingBuf::with_byte_size(EXITS_BYTES, 0);

/// Size of [`EXITS`].
pub const EXITS_BYTES: u32 = 2 << 20;

#[cfg(not(feature = "hash-tasks"))]
mod storage {
    //! Maps whose records hang on a kernel object and go with it. aya-ebpf has no type for them.

    use core::ptr::null;

    use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, bpf_map_type};

    /// Records of tasks (5.11, 4cf1bc1f1045).
    pub const TASK_STORAGE: usize = bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize;
    /// Records of sockets (5.2, 6ac99e8f23d4).
    pub const SOCKET_STORAGE: usize = bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize;

    /// The definition that the loader reads out of BTF.
    #[repr(C)]
    pub struct LocalStorage<const TYPE: usize, V> {
        r#type: *const [i32; TYPE],
        key: *const i32,
        value: *const V,
        max_entries: *const [i32; 0],
        map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
    }

    // SAFETY: a placeholder that is never dereferenced.
    unsafe impl<const TYPE: usize, V> Sync for LocalStorage<TYPE, V> {}

    impl<const TYPE: usize, V> LocalStorage<TYPE, V> {
        pub const fn new() -> Self {
            Self { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
        }
    }
}
