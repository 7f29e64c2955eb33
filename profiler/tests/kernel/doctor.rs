//! What the doctor says of the running kernel is what the snapshots of the four hosts say (`src/run/doctor/tests.rs`),
//! probe by probe. Names and sizes of hosts differ.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::kernel::device::Scratch;
use crate::kernel::observe::{absent, need_root};

/// A snapshot of the host with this name.
macro_rules! host {
    ($name:literal) => {
        include_str!(concat!("../../src/run/doctor/snapshots/profiler__run__doctor__tests__", $name, ".json.snap"))
    };
}

/// Nobody, as most systems number them.
const NOBODY: u32 = 65_534;
/// What kernels before 6.5 say of `block_io_start`, those before 6.10 of `tcp_send_reset`, and those before 6.11 of `kfree_skb`.
const FEWER: [&str; 3] =
    ["who asks is told of requests", "only resets that a socket sends", "not for which sockets packets were"];

#[test]
fn whatever_this_kernel_has_works() {
    let said = Said::of(&mut program(), &["--json"]);
    let expected = probes(&snapshot(if is_locked() { host!("locked_down") } else { host!("whole") }));
    for (probe, mut expected) in probes(&said.json()).into_iter().zip(expected) {
        if absent().contains(&probe.name) {
            expected = Probe { form: None, state: "missing".into(), reason: probe.reason.clone(), ..expected };
            assert_ne!(probe.reason, "");
        } else if FEWER.iter().any(|fewer| probe.reason.starts_with(fewer)) {
            expected = Probe { state: "partial".into(), reason: probe.reason.clone(), ..expected };
        }
        assert_eq!(probe, expected);
    }
    said.check_exit();
}

#[test]
fn who_is_seen_is_not_called_hidden() {
    let json = Said::of(&mut program(), &["--json"]).json();
    let notes: Vec<_> = json["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
    let hidden: Vec<u32> =
        notes.iter().flat_map(|note| note.split([' ', ','])).filter_map(|word| word.parse().ok()).collect();
    // Process 2 is the parent of all kernel threads.
    assert!(!hidden.contains(&std::process::id()) && !hidden.contains(&2), "{notes:?}");
}

#[test]
fn without_types_what_needs_none_works() {
    let said = Said::of(&mut program(), &["--json", "--btf", "none"]);
    let json = said.json();
    let (mut ours, mut expected) = (probes(&json), probes(&snapshot(host!("without_types"))));
    if is_locked() {
        // What needs a probe that is missing is refused for itself there, before that is known.
        ours.iter_mut().chain(&mut expected).for_each(|probe| probe.reason.clear());
    }
    assert_eq!(ours, expected);
    assert_eq!(json["thread_records"], "hash_map");
    said.check_exit();
}

#[test]
fn without_privileges_all_is_told_and_nothing_done() {
    need_root();
    let scratch = Scratch::new();
    // Nobody may not enter the folders of whoever builds.
    let copy = scratch.path("profiler");
    fs::copy(executable(), &copy).unwrap();
    let said = Said::of(Command::new(&copy).uid(NOBODY).gid(NOBODY), &["--json"]);
    let (json, expected) = (said.json(), snapshot(host!("unprivileged")));
    assert_eq!(probes(&json), probes(&expected));
    assert_eq!(json["privileges"], expected["privileges"]);
    assert_eq!(json["works"], "nothing");
    said.check_exit();
}

#[test]
fn lockdown_is_told_as_the_kernel_tells_it() {
    let said = Said::of(&mut program(), &["--json"]);
    let told = said.json()["lockdown"].as_str().map(str::to_owned);
    assert_eq!(told.filter(|told| told != "unsupported"), lockdown());
    if let Ok(booted) = std::env::var("GUEST_LOCKDOWN") {
        assert_eq!(lockdown(), Some(booted));
    }
}

#[test]
fn people_read_it_on_any_terminal() {
    for arguments in [&[][..], &["--btf", "none"], &["--deny-probe", "sched_switch"]] {
        let said = Said::of(&mut program(), arguments);
        let text = std::str::from_utf8(&said.0.stdout).unwrap();
        assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let json = Said::of(&mut program(), &[arguments, &["--json"]].concat());
        for probe in probes(&json.json()) {
            assert!(text.contains(&format!("\n  {} ", probe.name)), "{}: {text}", probe.name);
        }
        assert_eq!(said.0.status.code(), json.0.status.code());
    }
}

/// Whether programs may not read the kernel's memory by address.
fn is_locked() -> bool {
    lockdown().as_deref() == Some("confidentiality")
}

/// The mode in brackets, if the kernel tells.
fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (mode, _) = modes.split_once('[')?.1.split_once(']')?;
    Some(mode.to_owned())
}

/// The program that was built with this test; in a virtual machine it has another place.
fn executable() -> &'static Path {
    let built = Path::new(env!("CARGO_BIN_EXE_profiler"));
    if built.exists() { built } else { Path::new("/profiler") }
}

fn program() -> Command {
    need_root();
    Command::new(executable())
}

/// What the doctor said.
struct Said(Output);

impl Said {
    #[track_caller]
    fn of(program: &mut Command, arguments: &[&str]) -> Self {
        let output = program.env_clear().arg("doctor").args(arguments).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        Self(output)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap()
    }

    #[track_caller]
    fn check_exit(&self) {
        let expected = match self.json()["works"].as_str().unwrap() {
            "everything" => 0,
            "part" => 1,
            _ => 2,
        };
        assert_eq!(self.0.status.code(), Some(expected), "{:?}", self.0);
    }
}

/// What is said of a probe.
#[derive(Debug, PartialEq, Eq)]
struct Probe {
    name: String,
    forms: Value,
    form: Option<String>,
    state: String,
    reason: String,
}

fn probes(json: &Value) -> Vec<Probe> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let probe = |probe: &Value| Probe {
        name: text(&probe["name"]).unwrap(),
        forms: probe["forms"].clone(),
        form: text(&probe["form"]),
        state: text(&probe["state"]).unwrap(),
        // The rest is about a setting of the host.
        reason: text(&probe["reason"]).unwrap().split(" (`kernel.").next().unwrap().to_owned(),
    };
    json["probes"].as_array().unwrap().iter().map(probe).collect()
}

/// A snapshot begins with where it is from, between two lines.
fn snapshot(file: &str) -> Value {
    serde_json::from_str(file.splitn(3, "---\n").nth(2).unwrap()).unwrap()
}
