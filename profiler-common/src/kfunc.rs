//! Kernel functions that programs call like helpers, and how user space finds the calls.

/// `bpf_preempt_disable` (6.10, fc7566ad0a82).
pub const PREEMPT_DISABLE: u32 = 0x7fff_0001;
/// `bpf_preempt_enable`.
pub const PREEMPT_ENABLE: u32 = 0x7fff_0002;
/// `bpf_rdonly_cast` (6.2, a35b9af4ec2c).
pub const READONLY_CAST: u32 = 0x7fff_0003;

/// Name of a function, and the number of a helper that does not exist in whose place user space puts it.
pub type Function = (&'static str, u32);

/// What [`crate::config::Config::preemptible`] needs.
pub const PREEMPTION: &[Function] = &[("bpf_preempt_disable", PREEMPT_DISABLE), ("bpf_preempt_enable", PREEMPT_ENABLE)];
/// What [`crate::config::Config::task_type`] and its kin need.
pub const CAST: &[Function] = &[("bpf_rdonly_cast", READONLY_CAST)];
