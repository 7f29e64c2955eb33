//! The kernel side as user space sees it: load, attach, read. The only place that imports aya.
#![expect(clippy::disallowed_methods, reason = "the boundary to the kernel opens files and reads clocks")]

pub mod btf;
pub mod offset;
pub mod probe;
