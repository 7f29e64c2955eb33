//! The contract between the kernel programs and user space: plain integers of asserted size, one file per row of the
//! grid. No I/O, and no logic beyond slot arithmetic, so that both sides agree by construction.
#![no_std]

pub mod config;
pub mod disk;
pub mod drop;
pub mod exchange;
pub mod file;
pub mod hist;
pub mod journal;
pub mod kfunc;
pub mod limit;
pub mod lost;
pub mod offset;
pub mod syscall;
pub mod task;
pub mod tcp;
pub mod wait;

/// Bytes of a process name in the kernel (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;
