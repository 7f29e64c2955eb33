//! What we say against what the running kernel, and tools that we did not write, say. Needs root; `cargo xtask test`
//! runs it with one thread. Each test has its own processes, device and network namespaces, and cleans up after itself.
#![expect(clippy::disallowed_methods, reason = "these tests are about the world outside")]
#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

pub(crate) mod kernel {
    pub mod child;
    pub mod clock;
    mod connect;
    pub mod device;
    pub mod network;
    pub mod observe;
    pub mod taskstats;
    mod trace;

    mod counter;
    mod disk;
    mod dns;
    mod doctor;
    pub mod drop;
    pub mod exchange;
    mod file;
    pub mod finding;
    pub mod journal;
    pub mod ladder;
    mod life;
    pub mod nagle;
    mod operation;
    mod owner;
    pub mod page;
    mod path;
    mod sample;
    mod spent;
    mod stolen;
    mod syscall;
    mod task;
    pub mod tcp;
    mod tcp_crowd;
    pub mod tcp_limit;
    mod tcp_owner;
    mod tcp_trouble;
    pub mod waterfall;
}
