//! What the doctor says of four hosts, and of what is rarer.

use super::hosts::{locked_down, unprivileged, whole, without_types};
use super::json::json;
use super::ladder::{Verdict, verdict};
use super::page::Paint;
use super::step::steps;
use super::text::text;
use crate::kernel::doctor::{Diagnosis, KernelTypes, Lockdown};

/// Two snapshots; `tests/kernel/doctor.rs` reads the second.
fn check(name: &str, host: &Diagnosis, wanted: Verdict) {
    assert_eq!(verdict(host), wanted);
    let plain = text(host, Paint::None);
    assert!(plain.lines().all(|line| line.chars().count() <= 100), "{plain}");
    insta::assert_snapshot!(name, plain);
    insta::assert_snapshot!(format!("{name}.json"), serde_json::to_string_pretty(&json(host)).unwrap());
}

#[test]
fn a_host_where_everything_works() {
    check("whole", &whole(), Verdict::Everything);
}

#[test]
fn a_host_without_types() {
    check("without_types", &without_types(), Verdict::Part);
}

#[test]
fn a_host_without_privileges() {
    check("unprivileged", &unprivileged(), Verdict::Nothing);
}

#[test]
fn a_host_in_lockdown() {
    check("locked_down", &locked_down(), Verdict::Part);
}

#[test]
fn colors_are_all_that_a_terminal_adds() {
    for host in [whole(), without_types(), unprivileged(), locked_down()] {
        let painted = text(&host, Paint::Colors);
        assert!(painted.contains("\u{1b}["));
        let mut parts = painted.split('\u{1b}');
        let begin = parts.next().unwrap_or_default().to_owned();
        let plain = parts.map(|part| part.split_once('m').unwrap().1).fold(begin, |plain, part| plain + part);
        assert_eq!(plain, text(&host, Paint::None));
    }
}

fn check_steps(host: &Diagnosis, wanted: &[&str]) {
    let steps = steps(host);
    assert_eq!(steps.len(), wanted.len(), "{steps:?}");
    for (step, part) in steps.iter().zip(wanted) {
        assert!(step.what.contains(part), "{steps:?}");
    }
}

/// `whole` with one probe that does not work.
fn lacking(probe: &str, reason: &str) -> Diagnosis {
    let mut host = whole();
    let status = host.machine.probes.iter_mut().find(|status| status.name == probe).unwrap();
    (status.form, status.reason) = (None, reason.to_owned());
    host
}

#[test]
fn every_cause_has_its_step() {
    check_steps(&whole(), &[]);
    check_steps(&lacking("sock_send_length", "needs socket storage"), &["a later one"]);
    check_steps(&lacking("sys_exit", "refused by --deny-probe"), &["leave out `--deny-probe sys_exit`"]);
    let refused = lacking("sys_exit", "refused by the verifier: EPERM");
    check_steps(&Diagnosis { lockdown: Lockdown::Unknown, ..refused }, &["whether lockdown refuses"]);
    check_steps(&Diagnosis { types: KernelTypes::Refused, ..without_types() }, &["leave out `--btf none`"]);
    let mut confined = unprivileged();
    confined.rights.confined = true;
    check_steps(&confined, &["on the host"]);
}

#[test]
fn locked_memory_is_told_where_it_matters() {
    let maps = "failed to create the kernel maps: not permitted".to_owned();
    let refused = Diagnosis { rights: whole().rights, refusal: Some(maps), ..unprivileged() };
    check_steps(&refused, &["the limit of locked memory"]);
    assert!(text(&refused, Paint::None).contains("Locked memory   at most 8.0 MiB"));
    let unlimited = Diagnosis { locked_memory_bytes: None, ..refused };
    assert!(!text(&unlimited, Paint::None).contains("Locked memory"));
}

#[test]
fn what_only_lacks_privileges_is_not_everything() {
    let mut host = whole();
    host.rights.privileges[3].held = false;
    assert_eq!(verdict(&host), Verdict::Part);
    check_steps(&host, &["run it with `sudo`"]);
    let text = text(&host, Paint::None);
    assert!(text.contains("CAP_SYS_PTRACE missing: network namespaces"), "{text}");
}
