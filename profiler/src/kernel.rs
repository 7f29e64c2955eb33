//! The kernel side as user space sees it: load, attach, read. The only place that imports aya.
#![expect(clippy::disallowed_methods, reason = "the boundary to the kernel opens files and reads clocks")]

mod btf;
mod decode;
mod drain;
mod floor;
mod hidden;
mod host;
mod iterate;
mod load;
mod lookup;
mod maps;
mod name;
mod offset;
pub mod probe;
mod read;
mod sample;
mod support;

pub use floor::{Floor, HOOKS, floor};
pub use read::{Kernel, doctor};
