//! The kernel side as user space sees it: load, attach, read. The only place that imports aya.
#![expect(clippy::disallowed_methods, reason = "the boundary to the kernel opens files and reads clocks")]

pub mod btf;
mod decode;
pub mod doctor;
mod drain;
mod floor;
mod hidden;
mod host;
mod iterate;
mod kfunc;
mod load;
mod lookup;
mod maps;
mod name;
pub mod offset;
pub mod probe;
mod program;
mod read;
mod sample;
mod support;
mod wait;

pub use floor::{Floor, HOOKS, floor};
pub use read::Kernel;
