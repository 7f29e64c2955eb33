//! Kernel functions that programs call like helpers, and how user space finds the calls.

/// `bpf_preempt_disable` (6.10, fc7566ad0a82).
pub const PREEMPT_DISABLE: u32 = 0x7fff_0001;
/// `bpf_preempt_enable`.
pub const PREEMPT_ENABLE: u32 = 0x7fff_0002;

/// Name of each function, and the number of a helper that does not exist in whose place user space puts it.
pub const KFUNCS: [(&str, u32); 2] = [("bpf_preempt_disable", PREEMPT_DISABLE), ("bpf_preempt_enable", PREEMPT_ENABLE)];
