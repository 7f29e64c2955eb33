//! Four hosts. `tests/kernel/doctor.rs` compares what is said here of their probes with what kernels say.

use crate::batch::{Machine, ProbeStatus};
use crate::kernel::doctor::{Diagnosis, KernelTypes, Lockdown, Privilege, Records, Rights};
use crate::kernel::probe::{At, PROBES, Probe};

/// Everything works.
pub(super) fn whole() -> Diagnosis {
    Diagnosis {
        machine: machine(|probe| {
            let form = match probe.at {
                At::Iterator(_) => "iter",
                At::Run => "run",
                At::Tracepoint(_) | At::Typed(_) | At::Sampled(_) => "tp_btf",
            };
            (Some(form), "")
        }),
        types: KernelTypes::Own,
        lockdown: Lockdown::Mode("none".to_owned()),
        rights: rights(true),
        locked_memory_bytes: None,
        thread_records: Some(Records::TaskStorage),
        bounds: vec![("sockets", 65_536), ("requests", 16_384), ("disk_operations", 256)],
        ..Diagnosis::default()
    }
}

/// The kernel carries no BTF.
pub(super) fn without_types() -> Diagnosis {
    let mut host = Diagnosis {
        machine: machine(|probe| match (probe.after, probe.needs().next()) {
            (_, Some(_)) => (None, "the kernel's types (BTF) are not known"),
            (Some(_), None) => (None, "would tell wrong numbers without {after}, which is missing"),
            (None, None) if probe.fewer.is_some() => (
                Some("raw_tp"),
                "the running kernel has no BTF; perhaps only resets that a socket sends are seen, not those that refuse a \
                 connection",
            ),
            (None, None) => (Some("raw_tp"), "the running kernel has no BTF"),
        }),
        types: KernelTypes::Absent,
        thread_records: Some(Records::HashMap),
        ..whole()
    };
    host.bounds.insert(0, ("threads", 16_384));
    host
}

/// Nobody in particular runs it.
pub(super) fn unprivileged() -> Diagnosis {
    let why = "CAP_BPF and CAP_PERFMON missing";
    Diagnosis {
        machine: machine(|_| (None, why)),
        rights: Rights { refusal: Some(why.to_owned()), ..rights(false) },
        locked_memory_bytes: Some(8 << 20),
        thread_records: None,
        bounds: Vec::new(),
        refusal: Some(why.to_owned()),
        ..whole()
    }
}

/// Under confidentiality lockdown.
pub(super) fn locked_down() -> Diagnosis {
    let mut host = Diagnosis { lockdown: Lockdown::Mode("confidentiality".to_owned()), ..whole() };
    let blind = "the kernel in lockdown lets no program read its memory by address";
    for probe in &mut host.machine.probes {
        let less = match probe.name.as_str() {
            "walk_listed" => {
                (probe.form, probe.reason) = (None, blind.to_owned());
                continue;
            }
            "sys_exit" => "kinds of files and operations of libaio are not known",
            "io_uring_complete" => "operations of io_uring count for no kind of file",
            "io_uring_submit_req" => "operations of io_uring are not counted",
            "kfree_skb" => "not for which sockets packets were, but for datagrams that found no room",
            "writeback_dirty_folio" => "what is written back counts for whoever writes it",
            _ => continue,
        };
        probe.reason = format!("{less}: {blind}");
    }
    host
}

fn machine(took: impl Fn(&Probe) -> (Option<&'static str>, &'static str)) -> Machine {
    let status = |probe: &Probe| {
        let (form, reason) = took(probe);
        ProbeStatus {
            name: probe.name.to_owned(),
            form: form.map(str::to_owned),
            reason: reason.replace("{after}", probe.after.unwrap_or_default()),
            without: probe.without.to_owned(),
        }
    };
    Machine {
        version: "0.1.0".to_owned(),
        host: "db1".to_owned(),
        kernel: "6.12.48".to_owned(),
        cpus: 8,
        memory_bytes: 32 << 30,
        probes: PROBES.iter().map(status).collect(),
        ..Machine::default()
    }
}

fn rights(held: bool) -> Rights {
    let privileges: [(_, &'static [&'static str]); 4] = [
        ("CAP_BPF", &["no program can be loaded"]),
        ("CAP_PERFMON", &["no program may look into the kernel"]),
        (
            "CAP_SYS_ADMIN",
            &[
                "other network namespaces cannot be looked at",
                "the time that the kernel spends in our programs is not known",
            ],
        ),
        (
            "CAP_SYS_PTRACE",
            &[
                "network namespaces of other users' processes cannot be opened",
                "other users' command lines are hidden where `/proc` has `hidepid`",
            ],
        ),
    ];
    Rights {
        privileges: privileges.map(|(name, without)| Privilege { name, held, without }).to_vec(),
        setcap: "sudo setcap cap_bpf,cap_perfmon,cap_sys_admin,cap_sys_ptrace,cap_sys_resource,cap_dac_read_search+ep \
                 /usr/bin/profiler"
            .to_owned(),
        ..Rights::default()
    }
}
