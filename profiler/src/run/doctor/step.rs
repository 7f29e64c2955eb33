//! What to do about what does not work.

use super::ladder::{State, Verdict, ladders, verdict};
use crate::kernel::doctor::{Diagnosis, KernelTypes, Lockdown, OUTSIDE};

/// Something to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub what: String,
    /// In a shell.
    pub command: Option<String>,
}

impl Step {
    fn new(what: &str) -> Self {
        Self { what: what.to_owned(), command: None }
    }

    fn with(what: &str, command: &str) -> Self {
        Self { command: Some(command.to_owned()), ..Self::new(what) }
    }
}

/// What helps most first.
pub(super) fn steps(diagnosis: &Diagnosis) -> Vec<Step> {
    let parts = [privileges(diagnosis), hint(diagnosis), types(diagnosis), lockdown(diagnosis), denied(diagnosis)];
    let mut steps: Vec<_> = parts.into_iter().flatten().collect();
    if steps.is_empty() && verdict(diagnosis) != Verdict::Everything {
        steps.push(Step::new("nothing helps on this kernel; a later one may have the rest"));
    }
    steps
}

fn privileges(diagnosis: &Diagnosis) -> Option<Step> {
    let rights = &diagnosis.rights;
    if rights.confined {
        return Some(Step::new(OUTSIDE));
    }
    let whole = rights.privileges.iter().all(|privilege| privilege.held);
    (!whole).then(|| Step::with("run it with `sudo`, or give it what it lacks once:", &rights.setcap))
}

fn hint(diagnosis: &Diagnosis) -> Option<Step> {
    let limited = is_short_of_memory(diagnosis).then(|| {
        Step::with(
            "lift the limit of locked memory, which kernel maps count as before Linux 5.11:",
            "ulimit -l unlimited",
        )
    });
    diagnosis.hint.as_deref().map(Step::new).or(limited)
}

/// Whether a limit of locked memory may be why nothing was loaded.
pub(super) fn is_short_of_memory(diagnosis: &Diagnosis) -> bool {
    let refused = diagnosis.refusal.is_some() && diagnosis.rights.refusal.is_none() && diagnosis.hint.is_none();
    refused && diagnosis.locked_memory_bytes.is_some()
}

fn types(diagnosis: &Diagnosis) -> Option<Step> {
    let what = match diagnosis.types {
        KernelTypes::Absent => {
            "pass the BTF of this very kernel with `--btf FILE`, made from a distribution's debug package: hooks work \
             with it; iterators take a kernel that is built with CONFIG_DEBUG_INFO_BTF"
        }
        KernelTypes::File { own: false, .. } => "iterators take a kernel that is built with CONFIG_DEBUG_INFO_BTF",
        KernelTypes::Refused => "leave out `--btf none`",
        KernelTypes::Own | KernelTypes::File { .. } => return None,
    };
    Some(Step::new(what))
}

fn lockdown(diagnosis: &Diagnosis) -> Option<Step> {
    match &diagnosis.lockdown {
        Lockdown::Mode(mode) if mode == "confidentiality" => {
            Some(Step::new("boot with `lockdown=integrity`, if the host may do with less than confidentiality"))
        }
        Lockdown::Unknown if diagnosis.machine.probes.iter().any(|probe| probe.reason.contains("verifier")) => {
            let command = "sudo mount -t securityfs securityfs /sys/kernel/security";
            Some(Step::with("find out whether lockdown refuses programs; this shows its mode here:", command))
        }
        _ => None,
    }
}

fn denied(diagnosis: &Diagnosis) -> Option<Step> {
    let ladders = ladders(diagnosis);
    let denied = ladders.iter().filter(|ladder| ladder.state() == State::Missing);
    let denied = denied.filter(|ladder| ladder.status.reason.contains("--deny-probe"));
    let names: Vec<_> = denied.map(|ladder| ladder.probe.name).collect();
    (!names.is_empty()).then(|| Step::new(&format!("leave out `--deny-probe {}`", names.join(","))))
}
