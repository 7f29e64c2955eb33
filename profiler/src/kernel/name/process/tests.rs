//! The test process is the only one that is sure to exist: it is asked about itself.

use super::*;

fn ourselves() -> Seen<'static> {
    let (_, ticks) = stat_of(&File::open("/proc/self/stat").unwrap()).unwrap();
    Seen {
        process: ProcessKey { pid: std::process::id(), start_ns: ticks * clock_tick_ns() },
        parent_pid: 1,
        comm: "tests",
        uid: 0,
        netns: 9,
        kernel_thread: false,
        exited: false,
    }
}

/// One that ended before it was looked at.
fn ended(pid: u32) -> Seen<'static> {
    Seen { process: ProcessKey { pid, start_ns: 1 }, exited: true, ..ourselves() }
}

#[test]
fn a_process_is_told_once() {
    let mut processes = Processes::default();
    let fact = processes.look(&ourselves()).unwrap();
    assert!(fact.command.unwrap().contains("profiler"));
    assert!(fact.cgroup.unwrap().starts_with('/'));
    assert_eq!(processes.look(&ourselves()), None);
    assert_eq!(processes.look(&ourselves()), None);
}

#[test]
fn a_process_is_told_again_when_it_changed() {
    let mut processes = Processes::default();
    processes.look(&ourselves()).unwrap();
    let renamed = Seen { comm: "other", ..ourselves() };
    assert_eq!(processes.look(&renamed).unwrap().comm, "other");
    assert_eq!(processes.look(&renamed), None);
    let moved = Seen { parent_pid: 77, uid: 5, ..renamed };
    assert_eq!(processes.look(&moved).map(|fact| (fact.parent_pid, fact.uid)), Some((77, 5)));
    // On its way out a process loses its namespace; that is not where it worked.
    assert_eq!(processes.look(&Seen { netns: 0, ..moved }), None);
    assert_eq!(processes.look(&Seen { exited: true, comm: "gone", ..moved }), None);
}

#[test]
fn another_process_with_the_same_number_lends_no_names() {
    let reused = ProcessKey { start_ns: 5, ..ourselves().process };
    let fact = Processes::default().look(&Seen { process: reused, ..ourselves() }).unwrap();
    assert_eq!((fact.command, fact.cgroup), (None, None));
}

#[test]
fn what_was_known_outlives_the_process() {
    let mut processes = Processes::default();
    let fact = processes.look(&ourselves()).unwrap();
    let later = ProcessFact { comm: "other".to_owned(), command: None, cgroup: None, ..fact.clone() };
    let told = processes.remember(later, false).unwrap();
    assert_eq!((told.command, told.cgroup), (fact.command, fact.cgroup));
}

#[test]
fn the_oldest_are_forgotten() {
    let mut processes = Processes { max: 3, ..Processes::default() };
    processes.look(&ended(9)).unwrap();
    processes.forget(ended(9).process);
    assert!(processes.told.is_empty() && processes.order.is_empty());
    assert!((0..4).all(|pid| processes.look(&ended(pid)).is_some()));
    assert_eq!((processes.told.len(), processes.order.len()), (3, 3));
    assert_eq!(processes.look(&ended(1)), None);
    assert!(processes.look(&ended(0)).is_some());
}

#[test]
fn the_start_is_found_behind_any_name() {
    let text = b"812 (a) b) (c) S 1 812 812 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 401007 3133440 394\n";
    assert_eq!(state_and_start(text), Some((b'S', 401_007)));
    assert_eq!(state_and_start(b"812 (a) S 1 812\n"), None);
    assert_eq!(state_and_start(b""), None);
}

#[test]
fn the_start_may_be_rounded() {
    assert!(is_start(4_010_079_999_999, 401_007, 10_000_000));
    assert!(is_start(4_010_080_000_000, 401_007, 10_000_000));
    assert!(!is_start(4_010_090_000_000, 401_007, 10_000_000));
}

#[test]
fn a_command_line_is_one_line() {
    assert_eq!(command_line(b"sh\0-c\0echo\n\0\0x y\0\0\0"), "sh -c echo\\n  x y");
    assert_eq!(command_line(b""), "");
    let long = command_line(&[b'x'; COMMAND_BYTES_MAX + 1]);
    assert!(long.ends_with("x…") && long.chars().count() == COMMAND_BYTES_MAX + 1);
}

#[test]
fn control_groups_of_both_versions() {
    let path = |text: &str| cgroup_path(text.as_bytes());
    assert_eq!(path("0::/system.slice/a:b.service\n").as_deref(), Some("/system.slice/a:b.service"));
    assert_eq!(path("0::/\n").as_deref(), Some("/"));
    assert_eq!(path("4:memory:/docker/12\n1:cpu,cpuacct:/\n").as_deref(), Some("/docker/12"));
    assert_eq!(path("4:memory:/docker/12\n0::/\n").as_deref(), Some("/docker/12"));
    assert_eq!(path("4:memory:/user.slice/long/path\n0::/app.slice\n").as_deref(), Some("/app.slice"));
    assert_eq!(path(""), None);
}
