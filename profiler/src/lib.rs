//! `profiler`: an eBPF-based, system-level I/O and network profiler. The modules stand in flow order, and an import may
//! only point up this list (`cargo xtask tidy` checks it).

pub mod error;

pub mod cli;
pub mod config;

pub mod batch;
pub mod capture;
pub mod kernel;
pub mod source;

pub mod model;

pub mod field;

pub mod finding;

pub mod view;

pub mod run;
