//! The kernel tests, and those that need a virtual machine for a ground truth that the development machine cannot have: disks
//! of known latency, delayed packets, a chosen layout of cgroups. `cargo xtask vm` boots them.
#![expect(clippy::disallowed_methods, reason = "these tests are about the world outside")]
#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

#[path = "kernel.rs"]
mod all;

use self::all::kernel;

mod guest {
    mod cgroup;
    pub mod disk;
    mod group;
    mod journal;
    mod network;
    mod swap;
}
