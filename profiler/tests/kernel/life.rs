//! Birth and death: of what was there before us, of what comes and goes, and of ourselves.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use profiler::source::live::{Live, Options};
use profiler_common::file::kind;
use profiler_common::task::state;
use serde_json::Value;

use crate::kernel::child::{end, fork, signal};
use crate::kernel::device::Scratch;
use crate::kernel::observe::{assert_close, every, need_root, observe, once, until};

#[test]
fn a_thread_that_waits_since_before_is_seen_waiting() {
    need_root();
    let mut child = fork(|parent| {
        parent.say([1]);
        parent.hear();
    });
    child.hear::<1>();
    let stat = format!("/proc/{}/syscall", child.pid);
    until("the child waits", || {
        let call = fs::read_to_string(&stat).unwrap();
        if call.starts_with("0 ") { Ok(()) } else { Err(call) }
    });
    let seen = observe(&every(50), || {
        // Something must happen until some intervals are over.
        for _ in 0..300 {
            fork(|_| {}).end();
        }
    });
    let pid = child.pid;
    child.say(0);
    child.end();
    let read = seen.machine.call_names.iter().find(|(_, name)| *name == "read").map(|(number, _)| *number);
    assert!(seen.batches.len() > 1);
    let watched = seen.batches.last().unwrap().until.since(seen.batches[0].from);
    for batch in &seen.batches {
        let rows: Vec<_> = batch.tasks.iter().filter(|row| row.process.pid == pid).collect();
        assert_eq!(rows.len(), 1);
        let row = rows[0];
        assert_eq!((row.state, row.wait_call), (state::SLEEPING, read));
        assert_eq!((row.cpu_ns, row.runq_wakeup_ns + row.runq_preempted_ns, row.switches_voluntary), (0, 0, 0));
        assert!(row.waiting_ns > 0);
        assert_close("share of its time in which it waits", row.blocked_ns, row.wall_ns, 0.005);
    }
    // Seeded while attaching, a little before the first interval.
    let blocked = seen.sum(pid, |row| row.blocked_ns);
    assert_close("waited", blocked, watched, 0.05);
    // It has never returned from a read while we watched.
    assert_eq!(seen.call(pid, "read", kind::PIPE).blocked_ns, blocked);
}

#[test]
fn processes_that_live_between_two_intervals_are_all_there() {
    const PROCESSES: usize = 200;
    let scratch = Scratch::new();
    let name = format!("kt-true-{}", std::process::id() % 100_000);
    let program = scratch.path(&name);
    fs::copy("/bin/true", &program).unwrap();
    // Stopping at once, as `record -- COMMAND` does when its command has ended.
    let seen = observe(&every(100), || {
        for _ in 0..PROCESSES {
            let pid = Command::new(&program).stdin(Stdio::null()).spawn().unwrap().id();
            // Whoever waits for it may be told before its last switch.
            assert_eq!(end(pid).1, 0);
        }
    });
    let rows = seen.batches.iter().flat_map(|batch| &batch.tasks).filter(|row| row.comm == name);
    let ended: Vec<_> = rows.filter(|row| row.state == state::ENDED).map(|row| row.process).collect();
    assert_eq!(ended.len(), PROCESSES);
    assert_eq!(ended.iter().collect::<BTreeSet<_>>().len(), PROCESSES);
    seen.assert_counts_whole();
}

#[test]
fn the_last_process_before_the_stop_is_there() {
    for _ in 0..5 {
        let seen = observe(&once(), || {
            let pid = Command::new("/bin/true").stdin(Stdio::null()).spawn().unwrap().id();
            assert_eq!(end(pid).1, 0);
            pid
        });
        let states: Vec<_> = seen.tasks(seen.said).map(|row| row.state).collect();
        assert_eq!(states, [state::ENDED]);
    }
}

#[test]
fn nothing_stays_in_the_kernel_when_we_are_killed() {
    need_root();
    let mut child = fork(|parent| {
        let live = Live::attach(&Options::default()).unwrap();
        parent.say([1]);
        parent.hear();
        drop(live);
    });
    child.hear::<1>();
    let pid = child.pid;
    let ours = programs_of(pid);
    assert!(ours.programs.len() > 10 && ours.maps.len() > 5 && ours.links.len() > 5, "{ours:?}");
    let before = Ids::loaded();
    assert!(ours.programs.is_subset(&before.programs), "bpftool does not show {ours:?}");
    assert!(ours.maps.is_subset(&before.maps));
    signal(pid, libc::SIGKILL);
    until("nothing of ours is left", || {
        let now = Ids::loaded();
        let left = |ours: &BTreeSet<u64>, now: &BTreeSet<u64>| ours.intersection(now).count();
        match (left(&ours.programs, &now.programs), left(&ours.maps, &now.maps), left(&ours.links, &now.links)) {
            (0, 0, 0) => Ok(()),
            left => Err(format!("programs, maps and links left: {left:?}")),
        }
    });
    drop(child);
}

#[test]
fn nothing_stays_in_the_kernel_when_we_stop() {
    let mut ours = Ids::default();
    observe(&every(50), || ours = programs_of(std::process::id()));
    assert!(ours.programs.len() > 10, "{ours:?}");
    until("nothing of ours is left", || {
        let left = ours.programs.intersection(&Ids::loaded().programs).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} programs")) }
    });
}

/// Ids of objects in the kernel.
#[derive(Debug, Default)]
pub struct Ids {
    pub programs: BTreeSet<u64>,
    pub maps: BTreeSet<u64>,
    pub links: BTreeSet<u64>,
}

impl Ids {
    /// All there are.
    fn loaded() -> Self {
        let ids = |kind: &str| shown(kind).iter().filter_map(|object| object["id"].as_u64()).collect();
        Self { programs: ids("prog"), maps: ids("map"), links: ids("link") }
    }
}

/// What `bpftool` lists. It fails when something goes while it lists.
fn shown(kind: &str) -> Vec<Value> {
    let list = || {
        let output =
            Command::new("bpftool").args(["--json", kind, "show"]).output().map_err(|error| error.to_string())?;
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {output:?}"))
    };
    until("bpftool lists everything", list)
}

/// What a process holds, by its descriptors.
pub fn programs_of(pid: u32) -> Ids {
    let mut ids = Ids::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
        // One may be closed meanwhile.
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let id = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        match (id("link_id:"), id("prog_id:"), id("map_id:")) {
            (Some(link), _, _) => _ = ids.links.insert(link),
            (_, Some(program), _) => _ = ids.programs.insert(program),
            (_, _, Some(map)) => _ = ids.maps.insert(map),
            _ => {}
        }
    }
    ids
}

/// Whether one of these programs has this name and is attached by one of these links.
pub fn linked(ids: &Ids, name: &str) -> bool {
    let named = |program: u64| shown("prog").iter().any(|object| object["id"] == program && object["name"] == name);
    let links = shown("link");
    let ours = links.iter().filter(|link| link["id"].as_u64().is_some_and(|id| ids.links.contains(&id)));
    ours.filter_map(|link| link["prog_id"].as_u64()).any(named)
}
