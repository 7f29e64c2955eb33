//! Names of what rows tell by number.

use serde::{Deserialize, Serialize};

use super::{FileKey, ProcessKey};

/// Something that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// A process, when first seen and whenever one of these changes.
    Process(ProcessFact),
    /// A block device.
    Disk {
        /// `major << 20 | minor`.
        device: u32,
        /// Kernel name, such as `nvme0n1`.
        name: String,
        /// What is behind it (the file of a loop device), if known.
        backing: Option<String>,
        /// Whole devices that it is stacked on.
        below: Vec<u32>,
    },
    /// A file.
    Path {
        /// Which.
        file: FileKey,
        /// Where it is; the last two names with an ellipsis before them, if no more is known.
        path: String,
    },
    /// A network namespace.
    NetNamespace {
        /// Inode number.
        netns: u32,
        /// Name under `/run/netns`, or the name of its first process.
        name: String,
    },
}

/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFact {
    /// Which.
    pub process: ProcessKey,
    /// Parent's process id.
    pub parent_pid: u32,
    /// Name.
    pub comm: String,
    /// Arguments; `None` when it had exited before they could be read.
    pub command: Option<String>,
    /// User id.
    pub uid: u32,
    /// User name, if the host knows one.
    pub user: Option<String>,
    /// Control group path; `None` when it had exited before it could be read.
    pub cgroup: Option<String>,
    /// A kernel thread.
    pub kernel_thread: bool,
    /// Network namespace, inode number.
    pub netns: u32,
}
