//! Programs that the tests and benchmarks call: workloads, and peers to compare numbers with.

use anyhow::{Result, bail};

use super::debian;
pub use super::debian::install;
use crate::child;

/// A program, and the Debian package that has it.
pub struct Tool {
    pub program: &'static str,
    pub package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { program: "fio", package: "fio" },
    Tool { program: "bpftool", package: "bpftool" },
    Tool { program: "ip", package: "iproute2" },
    Tool { program: "tc", package: "iproute2" },
    Tool { program: "mkfs.ext4", package: "e2fsprogs" },
    Tool { program: "dmsetup", package: "dmsetup" },
    Tool { program: "busybox", package: "busybox-static" },
    Tool { program: "qemu-system-x86_64", package: "qemu-system-x86" },
    Tool { program: "lz4", package: "lz4" },
    Tool { program: "zstd", package: "zstd" },
    Tool { program: "tmux", package: "tmux" },
    Tool { program: "strace", package: "strace" },
    Tool { program: "nginx", package: "nginx-light" },
    Tool { program: "wrk", package: "wrk" },
];

/// Installs what is missing where that is possible, and names what stays missing.
pub fn require() -> Result<()> {
    require_all(TOOLS)
}

/// The same of a list of one's own.
pub fn require_all(tools: &[Tool]) -> Result<()> {
    let mut packages: Vec<_> = missing(tools).map(|tool| tool.package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let installed = debian::install(&packages);
    let still: Vec<_> = missing(tools).map(|tool| tool.program).collect();
    match installed {
        _ if still.is_empty() => Ok(()),
        Ok(()) => bail!("the packages are installed, but these programs are not found: {}", still.join(" ")),
        Err(error) => bail!("these programs are missing: {}: {error:#}", still.join(" ")),
    }
}

/// One line for people.
pub fn summary() -> String {
    let names: Vec<_> = TOOLS.iter().map(|tool| tool.program).collect();
    format!("test tools {}", names.join(", "))
}

fn missing(tools: &[Tool]) -> impl Iterator<Item = &Tool> {
    tools.iter().filter(|tool| child::find_program(tool.program).is_none())
}
