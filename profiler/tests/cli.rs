//! The program as a shell sees it: exit codes, what goes where, and what is left behind.
#![expect(clippy::disallowed_methods, reason = "a test of a program starts it")]
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::ptr::null_mut;

use profiler::batch::{Batch, Machine, Timestamp};
use profiler::capture::Writer;

/// Nobody, as most systems number them.
const NOBODY: u32 = 65_534;

/// A folder that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("profiler-cli-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn program() -> Command {
    program_at(Path::new(env!("CARGO_BIN_EXE_profiler")))
}

/// The program without anything that the environment could tell it.
fn program_at(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().stdin(Stdio::null());
    command
}

fn run<const N: usize>(arguments: [&str; N]) -> Output {
    program().args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// How many lines of standard error begin like this.
fn lines(output: &Output, start: &str) -> usize {
    stderr(output).lines().filter(|line| line.starts_with(start)).count()
}

fn check_refusal(output: &Output, says: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(lines(output, "error: "), 1, "{output:?}");
    assert!(stderr(output).contains(says), "{output:?}");
    assert_eq!(stdout(output), "");
}

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures/version-1.cap")
}

/// A report that is longer than any pipe holds.
fn long_capture() -> Vec<u8> {
    let calls = (0..20_000).map(|number| (number, "call".repeat(10))).collect();
    let mut writer = Writer::new(Vec::new(), &Machine { call_names: calls, ..Machine::default() }).unwrap();
    let tasks = (0..5_000).map(|tid| profiler::batch::TaskRow { tid, ..Default::default() }).collect();
    writer.write(&Batch { until: Timestamp(1), tasks, ..Batch::default() }).unwrap();
    writer.finish().unwrap()
}

#[test]
fn usage_errors() {
    check_refusal(&run(["frobnicate"]), "frobnicate");
    check_refusal(&run(["record"]), "--output");
    check_refusal(&run(["report", "--for", "5"]), "the unit is missing");
    check_refusal(&run(["report", "--tick", "5ms"]), "100ms to 60s");
    check_refusal(&run(["report", "--sample", "101"]), "0 to 100");
    check_refusal(&run(["report", "--deny-probe", "no_such"]), "there is no probe `no_such`");
    check_refusal(&run(["replay", "a.cap", "--at", "noon"]), "15:04:05");
}

#[test]
fn what_is_no_capture() {
    let scratch = Scratch::new("no-capture");
    let text = scratch.path("notes.txt");
    fs::write(&text, "dear diary").unwrap();
    for command in ["report", "replay"] {
        let output = program().arg(command).arg(&text).output().unwrap();
        check_refusal(&output, "is not a capture: it is text\nhint: ");
        let output = program().arg(command).arg(scratch.path("missing.cap")).output().unwrap();
        check_refusal(&output, "failed to open");
        let output = program().arg(command).arg(&scratch.0).output().unwrap();
        check_refusal(&output, "failed to read");
    }
}

#[test]
fn the_screen_needs_a_terminal() {
    check_refusal(&run([]), "hint: `profiler report`");
    check_refusal(&run(["live"]), "hint: `profiler report`");
    check_refusal(&program().arg("replay").arg(stored()).output().unwrap(), "hint: `profiler report FILE`");
}

#[test]
fn a_recording_replaces_nothing_unasked() {
    let scratch = Scratch::new("replace");
    let path = scratch.path("a.cap");
    fs::write(&path, "precious").unwrap();
    check_refusal(&program().args(["record", "-o"]).arg(&path).output().unwrap(), "exists already\nhint: ");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn reports_are_the_same_each_time_and_plain() {
    for format in ["text", "json"] {
        let report = || program().arg("report").arg(stored()).args(["--format", format]).output().unwrap();
        let (first, second) = (report(), report());
        assert_eq!(first.status.code(), Some(0), "{first:?}");
        assert_eq!(first, second);
        assert!(!stdout(&first).is_empty() && !stdout(&first).contains('\u{1b}'));
        assert_eq!(stderr(&first), "");
    }
}

#[test]
fn a_report_may_come_from_standard_input() {
    let piped = program().args(["report", "-"]).stdin(File::open(stored()).unwrap()).output().unwrap();
    let named = program().arg("report").arg(stored()).output().unwrap();
    assert_eq!(piped, named);
}

#[test]
fn a_cut_capture_is_read_as_far_as_it_goes() {
    let scratch = Scratch::new("cut");
    let path = scratch.path("cut.cap");
    let whole = fs::read(stored()).unwrap();
    fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let output = program().arg("report").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(lines(&output, "warning: "), 1, "{output:?}");
    assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    assert!(stderr(&output).contains("it ends inside a frame"), "{output:?}");
    assert!(stdout(&output).contains("report"));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let scratch = Scratch::new("pipe");
    let path = scratch.path("long.cap");
    fs::write(&path, long_capture()).unwrap();
    for arguments in [&["report", "--format", "json"][..], &["--help"]] {
        let mut command = program();
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        if arguments.len() > 1 {
            command.arg(&path);
        }
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_gate_needs_something_that_was_observed() {
    let scratch = Scratch::new("gate");
    let path = scratch.path("empty.cap");
    let empty = Writer::new(Vec::new(), &Machine::default()).unwrap().finish().unwrap();
    File::create(&path).unwrap().write_all(&empty).unwrap();
    let report = |gate: &[&str]| program().arg("report").arg(&path).args(gate).output().unwrap().status.code();
    assert_eq!(report(&[]), Some(0));
    assert_eq!(report(&["--fail-on", "low"]), Some(3));
}

#[test]
fn help() {
    let commands = [&[][..], &["live"], &["record"], &["replay"], &["report"], &["doctor"], &["explain"]];
    for command in commands {
        let output = program().args(command).arg("--help").output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
        let name = command.first().unwrap_or(&"profiler");
        insta::assert_snapshot!(format!("help_{name}"), stdout(&output));
    }
    let version = format!("profiler {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&run(["--version"])), version);
}

#[test]
fn findings_are_explained() {
    assert!(stdout(&run(["explain"])).contains("\nC5   CPU time stolen\n"));
    assert!(stdout(&run(["explain", "c5"])).starts_with("C5 CPU time stolen\n"));
    check_refusal(&run(["explain", "C0"]), "`profiler explain` lists all");
}

#[test]
fn the_environment_sets_options() {
    let output = program().args(["report", "--for", "1s"]).env("PROFILER_TICK", "1ms").output().unwrap();
    check_refusal(&output, "100ms to 60s");
    let output = program().arg("report").arg(stored()).env("PROFILER_FORMAT", "json").output().unwrap();
    assert!(stdout(&output).starts_with('{'), "{output:?}");
    // It is no option of the program without a command, which would contradict a command.
    let output = program().arg("report").arg(stored()).env("PROFILER_TICK", "2s").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn without_privileges_nothing_is_left_behind() {
    let scratch = Scratch::new("unprivileged");
    // Nobody may neither enter the folders of whoever builds, nor write here without this.
    let copy = scratch.path("profiler");
    // By another process: if we held it open to write, a child of another test would for a moment, and it could not be run.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_profiler")).arg(&copy).status().unwrap().success());
    fs::set_permissions(&scratch.0, Permissions::from_mode(0o777)).unwrap();
    let path = scratch.path("a.cap");
    let mut command = program_at(&copy);
    command.args(["record", "--for", "1s", "-o"]).arg(&path);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    check_refusal(&output, "CAP_BPF");
    assert!(!path.exists());
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The screen on a terminal of its own, which hangs up as soon as something was drawn; how the program ends.
fn hung_up(is_session: bool) -> ExitStatus {
    let (mut master, mut slave) = (0, 0);
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: places for two descriptors, and a size that lives until the call returns.
    let opened = unsafe { libc::openpty(&raw mut master, &raw mut slave, null_mut(), null_mut(), &raw const size) };
    assert_eq!(opened, 0);
    // SAFETY: both were just opened, and are nobody else's.
    let (master, slave) = unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) };
    // A copy, which the child does not inherit.
    let mut terminal = master.try_clone().unwrap();
    drop(master);
    let mut command = program();
    command.args(["replay", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/captures/version-1.cap")]);
    command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
    let prepare = move || {
        // Who spins is ended by that, and fails the test.
        let limit = libc::rlimit { rlim_cur: 5, rlim_max: 5 };
        // SAFETY: calls of a child before it becomes the program, with a structure that lives until they return.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CPU, &raw const limit);
            if is_session {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
            }
        }
        Ok(())
    };
    // SAFETY: it makes system calls and nothing else.
    let mut child = unsafe { command.pre_exec(prepare) }.spawn().unwrap();
    drop(command);
    assert!(terminal.read(&mut [0; 64]).unwrap() > 0);
    drop(terminal);
    child.wait().unwrap()
}

#[test]
fn a_terminal_that_hangs_up_ends_the_screen() {
    for is_session in [true, false] {
        let status = hung_up(is_session);
        assert_eq!(status.signal(), None, "with a session: {is_session}");
    }
}
