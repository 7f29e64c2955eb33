//! An eBPF-based, system-level I/O and network profiler.
