//! Who takes part: nothing at all, empty programs, the profiler, and the tools that people use today.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::load::Load;
use crate::child;

/// One that runs beside the workloads, or around them.
#[derive(Clone, Debug)]
pub struct Contender {
    pub id: Id,
    /// As one would type it.
    pub label: String,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    Plain,
    Floor,
    Us,
    Syscount,
    BpftraceCalls,
    Strace,
    Runqlat,
    BpftraceSwitches,
}

impl Id {
    /// Whether it is a tool of others.
    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Plain | Self::Floor | Self::Us)
    }
}

#[derive(Clone, Debug)]
pub enum How {
    /// Nothing runs but the workload.
    Alone,
    /// A process of its own, which traces the whole host.
    Beside { program: PathBuf, args: Vec<OsString>, ready: Ready },
    /// A program that starts the workload and traces it.
    Around { program: PathBuf, args: Vec<OsString> },
    /// It takes no part, and why.
    Absent(String),
}

/// When a contender counts as attached.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// As soon as this many programs are attached.
    Programs(usize),
    /// When programs are attached and no more have come for a while.
    Settled,
}

/// The hooks that the workloads meet, each with an empty twin.
pub const FLOOR_HOOKS: &str = "sys_exit,sched_switch,sched_waking,block_rq_issue,block_rq_complete,contention_begin,\
     contention_end,sock_send_length,sock_recv_length";

const CALL_HISTOGRAM: &str = "tracepoint:raw_syscalls:sys_enter { @start[tid] = nsecs; } \
     tracepoint:raw_syscalls:sys_exit /@start[tid]/ \
     { @ns[pid, args->id] = hist(nsecs - @start[tid]); delete(@start[tid]); }";

const OFF_CPU_HISTOGRAM: &str = "tracepoint:sched:sched_switch { @off[args->prev_pid] = nsecs; \
     $off = @off[args->next_pid]; \
     if ($off) { @ns[args->next_comm] = hist(nsecs - $off); delete(@off[args->next_pid]); } }";

/// A tool of others: its program, its arguments, and how many programs it attaches.
struct Peer {
    id: Id,
    label: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    programs: usize,
}

const PEERS: &[Peer] = &[
    Peer { id: Id::Syscount, label: "syscount -L -P", program: "syscount", args: &["-L", "-P"], programs: 2 },
    Peer {
        id: Id::BpftraceCalls,
        label: "bpftrace, calls by process",
        program: "bpftrace",
        args: &["-e", CALL_HISTOGRAM],
        programs: 2,
    },
    Peer { id: Id::Runqlat, label: "runqlat", program: "runqlat", args: &[], programs: 3 },
    Peer {
        id: Id::BpftraceSwitches,
        label: "bpftrace, off-CPU",
        program: "bpftrace",
        args: &["-e", OFF_CPU_HISTOGRAM],
        programs: 1,
    },
];

impl Contender {
    /// What is compared in this workload: tracers of calls in calls, tracers of switches in switches.
    pub fn joins(&self, load: Load) -> bool {
        let calls = matches!(load, Load::Read | Load::File | Load::Getppid);
        let switches = matches!(load, Load::Switch | Load::Yield);
        match self.id {
            Id::Plain | Id::Floor | Id::Us => true,
            Id::Syscount | Id::BpftraceCalls | Id::Strace => calls,
            Id::Runqlat | Id::BpftraceSwitches => switches,
        }
    }

    /// Whether its figures are of interest for what its workload costs beyond the switch: it hooks calls, too.
    pub fn hooks_calls(&self) -> bool {
        matches!(self.id, Id::Floor | Id::Us)
    }
}

/// All contenders. `ours` is the built program, or why there is none; `folder` takes what they write.
pub fn all(ours: &Result<PathBuf, String>, folder: &Path) -> Vec<Contender> {
    let capture = folder.join("bench.cap").into_os_string();
    let hooks = FLOOR_HOOKS.split(',').count();
    let floor = vec!["floor".into(), "--hooks".into(), FLOOR_HOOKS.into()];
    let record = vec!["record".into(), "--force".into(), "-o".into(), capture];
    let mut all = vec![
        Contender { id: Id::Plain, label: "plain".to_owned(), how: How::Alone },
        own(Id::Floor, "floor", ours, floor, Ready::Programs(hooks)),
        own(Id::Us, "profiler record", ours, record, Ready::Settled),
    ];
    all.extend(PEERS.iter().map(peer));
    let strace = child::find_program("strace").map(|program| How::Around {
        program,
        args: vec!["-c".into(), "-o".into(), folder.join("strace.txt").into_os_string()],
    });
    let how = strace.unwrap_or_else(|| How::Absent("not installed".to_owned()));
    all.push(Contender { id: Id::Strace, label: "strace -c".to_owned(), how });
    all
}

fn own(id: Id, label: &str, ours: &Result<PathBuf, String>, args: Vec<OsString>, ready: Ready) -> Contender {
    let how = match ours {
        Ok(program) => How::Beside { program: program.clone(), args, ready },
        Err(reason) => How::Absent(reason.clone()),
    };
    Contender { id, label: label.to_owned(), how }
}

fn peer(peer: &Peer) -> Contender {
    let args: Vec<OsString> = peer.args.iter().map(OsString::from).collect();
    let ready = Ready::Programs(peer.programs);
    let how = match child::find_program(peer.program) {
        None => How::Absent("not installed".to_owned()),
        Some(program) if tracefs_is_mounted() => How::Beside { program, args, ready },
        Some(program) => with_tracefs(program, args, ready),
    };
    Contender { id: peer.id, label: peer.label.to_owned(), how }
}

/// Both tools look for tracepoints below one of these.
fn tracefs_is_mounted() -> bool {
    ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].iter().any(|root| Path::new(root).join("events").exists())
}

/// Mounts it for the tool alone: a namespace of its own, gone with it. Each step replaces the last: one process.
fn with_tracefs(program: PathBuf, args: Vec<OsString>, ready: Ready) -> How {
    const SCRIPT: &str = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$@\"";
    let Some(unshare) = child::find_program("unshare") else {
        return How::Absent("needs tracefs, which is not mounted".to_owned());
    };
    let start: [OsString; 6] =
        ["--mount".into(), "sh".into(), "-c".into(), SCRIPT.into(), "sh".into(), program.into_os_string()];
    How::Beside { program: unshare, args: start.into_iter().chain(args).collect(), ready }
}

/// Versions of the peers' packages, where the machine can tell.
pub fn peer_versions() -> Vec<String> {
    let version = |package: &str| {
        let answer = child::answer(Command::new("dpkg-query").args(["-W", "-f=${Package} ${Version}", package]));
        answer.filter(|line| !line.trim().is_empty())
    };
    ["libbpf-tools", "bpftrace", "strace"].into_iter().filter_map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_build_only_our_own_are_absent() {
        let all = all(&Err("failed to build".to_owned()), Path::new("/tmp"));
        let reason = |id| match &all.iter().find(|contender| contender.id == id).unwrap().how {
            How::Absent(reason) => Some(reason.clone()),
            _ => None,
        };
        assert_eq!(reason(Id::Us).as_deref(), Some("failed to build"));
        assert_eq!(reason(Id::Floor).as_deref(), Some("failed to build"));
        assert_eq!(reason(Id::Plain), None);
    }

    #[test]
    fn each_peer_has_its_workloads() {
        let peer = |id| Contender { id, label: String::new(), how: How::Alone };
        assert!(peer(Id::Syscount).joins(Load::Read) && !peer(Id::Syscount).joins(Load::Switch));
        assert!(peer(Id::Runqlat).joins(Load::Yield) && !peer(Id::Runqlat).joins(Load::Getppid));
        assert!(peer(Id::Us).joins(Load::Read) && peer(Id::Us).joins(Load::Switch));
    }
}
