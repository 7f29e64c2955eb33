//! Loads the programs that this kernel takes, each in the best form that it takes, and says what is missing.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use profiler_common::config::Config;
use profiler_common::offset::Offsets;
use profiler_common::syscall::{CALLS_MAX, ERRNOS_MAX, errno_class};

use crate::batch::ProbeStatus;
use crate::batch::call::{class_of, operation_name, wait_of};
use crate::config::{Options, Types};
use crate::error::Error;
use crate::kernel::btf::Btf;
use crate::kernel::kfunc;
use crate::kernel::offset;
use crate::kernel::probe::{At, PROBES, Probe};
use crate::kernel::support;

/// Programs with records in task storage.
pub static NATIVE: &[u8] = include_bytes_aligned!(concat!(env!("PROFILER_BPF_DIR"), "/profiler.bpf.o"));
/// The same with records in a hash map, for kernels before 5.11 and kernels without BTF.
static HASH: &[u8] = include_bytes_aligned!(concat!(env!("PROFILER_BPF_DIR"), "/profiler-hash.bpf.o"));

/// The kernel's own types.
pub const OWN_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Programs in the kernel.
pub struct Loaded {
    /// Programs and maps.
    pub ebpf: Ebpf,
    /// What was loaded, and what was not.
    pub probes: Vec<ProbeStatus>,
}

/// What is known of the kernel's types.
#[derive(Default)]
struct Kinds {
    /// Types as we read them.
    ours: Option<Btf>,
    /// Types as aya wants them for typed programs: only those of the running kernel will do.
    running: Option<aya::Btf>,
    /// `ours` are the running kernel's own, ids included.
    of_running: bool,
}

impl Kinds {
    /// Types whose ids are those of the running kernel's functions.
    fn kernel_functions(&self) -> Option<&Btf> {
        self.ours.as_ref().filter(|_| self.of_running)
    }
}

/// Loads and attaches everything that this kernel and the options allow.
pub fn load(options: &Options) -> Result<Loaded, Error> {
    let kinds = kinds(&options.types)?;
    let offsets = kinds.ours.as_ref().map_or(Offsets::NONE, offset::resolve);
    let mut config = kinds.ours.as_ref().map_or_else(Config::default, offset::config);
    let storage = kinds.running.is_some() && kinds.ours.as_ref().is_some_and(offset::has_task_storage);
    config.kernel_reads = u32::from(support::lockdown().as_deref() != Some("confidentiality"));
    config.log = options.log_programs.into();
    config.tick_ns = support::tick_ns();
    config.sample_calls = u32::from(options.sample_permille > 0);
    let mut object = Cow::Borrowed(if storage { NATIVE } else { HASH });
    if config.preemptible != 0 {
        match kinds.kernel_functions().and_then(|btf| kfunc::link(&object, btf)) {
            Some(linked) => object = Cow::Owned(linked),
            None => config.preemptible = 0,
        }
    }
    let mut ebpf = open(&object, &offsets, &config, kinds.running.as_ref())?;
    let mut probes = Vec::with_capacity(PROBES.len());
    for probe in PROBES {
        let installed = permitted(probe, &offsets, &kinds, options)
            .and_then(|()| relied_on(probe, &probes))
            .and_then(|()| install(probe, &mut ebpf, &kinds));
        let attached =
            installed.and_then(|(form, reason)| attach(probe, &mut ebpf, form, &kinds).map(|()| (form, reason)));
        probes.push(match attached {
            Ok((form, reason)) => status(probe, Some(form), reason),
            Err(reason) => status(probe, None, reason),
        });
    }
    Ok(Loaded { ebpf, probes })
}

fn kinds(types: &Types) -> Result<Kinds, Error> {
    let (path, blob) = match types {
        Types::None => return Ok(Kinds::default()),
        Types::Running => match fs::read(OWN_TYPES) {
            Ok(blob) => (Path::new(OWN_TYPES), blob),
            Err(_) => return Ok(Kinds::default()),
        },
        Types::File(path) => {
            (path.as_path(), fs::read(path).map_err(|source| Error::File { act: "read", path: path.into(), source })?)
        }
    };
    let ours = Btf::parse(&blob).map_err(|why| Error::Unsupported {
        what: format!("failed to read kernel types from `{}`: {why}", path.display()),
        hint: "pass the BTF of the running kernel, such as `bpftool btf dump` or a distribution's debug package has it"
            .into(),
    })?;
    let of_running = match types {
        Types::File(_) => fs::read(OWN_TYPES).ok().map(|own| own == blob),
        _ => Some(true),
    };
    if of_running == Some(false) {
        return Err(Error::Unsupported {
            what: format!("`{}` has the types of another kernel: it differs from `{OWN_TYPES}`", path.display()),
            hint: "leave out `--btf`: the running kernel tells its own types".into(),
        });
    }
    Ok(Kinds { ours: Some(ours), running: aya::Btf::from_sys_fs().ok(), of_running: of_running.is_some() })
}

fn open(object: &[u8], offsets: &Offsets, config: &Config, btf: Option<&aya::Btf>) -> Result<Ebpf, Error> {
    let (offsets, config) = (offsets.to_array(), config.words());
    let (classes, waits, errnos) = (of_calls(class_of), of_calls(wait_of), errno_classes());
    EbpfLoader::new()
        .btf(btf)
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .allow_unsupported_maps()
        .override_global("OFFSETS", &offsets, true)
        .override_global("CONFIG", &config, true)
        .override_global("CALL_CLASS", &classes, true)
        .override_global("CALL_WAIT", &waits, true)
        .override_global("ERRNO_CLASS", &errnos, true)
        .load(object)
        .map_err(|why| Error::Unsupported {
            what: format!("failed to create the kernel maps: {}", chain(&why)),
            hint: "run `profiler doctor` to see what this kernel allows".into(),
        })
}

/// A table by the number of a call, from one by its name.
fn of_calls(by_name: fn(&str) -> u8) -> [u8; CALLS_MAX] {
    let mut table = [by_name(""); CALLS_MAX];
    for (entry, number) in table.iter_mut().zip(0..) {
        *entry = call_name(number).map_or(*entry, by_name);
    }
    table
}

/// Name of a system call of this architecture, or of an operation.
#[must_use]
pub fn call_name(number: usize) -> Option<&'static str> {
    syscalls::Sysno::new(number).map(|call| call.name()).or_else(|| operation_name(number))
}

fn errno_classes() -> [u8; ERRNOS_MAX] {
    let mut classes = [0; ERRNOS_MAX];
    for (class, errno) in classes.iter_mut().zip(0..) {
        *class = errno_class(errno);
    }
    classes
}

/// Whether the options allow it, and the kernel's types have what it needs.
fn permitted(probe: &Probe, offsets: &Offsets, kinds: &Kinds, options: &Options) -> Result<(), String> {
    if options.deny.iter().any(|name| name == probe.name) {
        return Err("refused by --deny-probe".into());
    }
    let hooks = !matches!(probe.at, At::Iterator(_));
    if hooks && kinds.ours.is_some() && tracepoint(probe, kinds).is_none() {
        return Err("this kernel does not have the tracepoint".into());
    }
    let missing = offset::missing(offsets, probe.needs());
    if !missing.is_empty() {
        return Err(match kinds.ours {
            Some(_) => format!("the kernel's types lack {}", missing.join(", ")),
            None => "the kernel's types (BTF) are not known".into(),
        });
    }
    Ok(())
}

/// The name of a probe's tracepoint here, if the kernel's types tell.
fn tracepoint(probe: &Probe, kinds: &Kinds) -> Option<&'static str> {
    kinds.ours.as_ref().and_then(|btf| offset::tracepoint(btf, probe))
}

/// Whether the probe works without which this one would tell wrong numbers.
fn relied_on(probe: &Probe, before: &[ProbeStatus]) -> Result<(), String> {
    let works = |name: &str| before.iter().any(|status| status.name == name && status.form.is_some());
    match probe.after.filter(|name| !works(name)) {
        Some(name) => Err(format!("would tell wrong numbers without {name}, which is missing")),
        None => Ok(()),
    }
}

/// The form in which a probe was loaded with why it is not the best, or why it was not loaded.
type Install = Result<(&'static str, String), String>;

fn install(probe: &Probe, ebpf: &mut Ebpf, kinds: &Kinds) -> Install {
    let typed = load_typed(probe, ebpf, kinds);
    match (typed, probe.at) {
        (Ok(form), _) => Ok((form, shortfall(probe, kinds))),
        (Err(why), At::Iterator(_) | At::Typed(_)) => Err(why),
        (Err(why), _) => match load_raw(probe, ebpf) {
            Ok(form) => match shortfall(probe, kinds) {
                less if less.is_empty() => Ok((form, why)),
                less => Ok((form, format!("{why}; {less}"))),
            },
            Err(also) => Err(format!("{why}; as raw_tp: {also}")),
        },
    }
}

/// What a tracepoint does not tell on this kernel.
fn shortfall(probe: &Probe, kinds: &Kinds) -> String {
    let unread = match probe.name {
        "sys_exit" => Some("kinds of files and operations of libaio are not known"),
        "writeback_dirty_folio" => Some("what is written back counts for whoever writes it"),
        "io_uring_complete" => Some("operations of io_uring count for no kind of file"),
        "io_uring_submit_req" if kinds.ours.as_ref().is_some_and(offset::hides_rings) => {
            Some("operations of io_uring are not counted")
        }
        _ => None,
    };
    if let Some(less) = unread.filter(|_| support::lockdown().as_deref() == Some("confidentiality")) {
        return format!("{less}: the kernel in lockdown lets no program read its memory by address");
    }
    let Some((arguments, told)) = probe.fewer else { return String::new() };
    match kinds.ours.as_ref().and_then(|btf| btf.tracepoint_arity(probe.name)) {
        Some(has) if has >= arguments => String::new(),
        Some(_) => told.into(),
        None => format!("perhaps {told}"),
    }
}

fn load_typed(probe: &Probe, ebpf: &mut Ebpf, kinds: &Kinds) -> Result<&'static str, String> {
    let btf = kinds.running.as_ref().ok_or("the running kernel has no BTF")?;
    match (ebpf.program_mut(probe.name), probe.at) {
        (Some(Program::BtfTracePoint(program)), At::Tracepoint(at) | At::Typed(at) | At::Sampled(at)) => {
            let at = tracepoint(probe, kinds).unwrap_or(at);
            program.load(at, btf).map(|()| "tp_btf").map_err(|why| reason(&why))
        }
        (Some(Program::Iter(program)), At::Iterator(over)) => {
            program.load(over, btf).map(|()| "iter").map_err(|why| reason(&why))
        }
        _ => Err("needs task and socket storage, which this kernel does not have".into()),
    }
}

fn load_raw(probe: &Probe, ebpf: &mut Ebpf) -> Result<&'static str, String> {
    match ebpf.program_mut(&raw_name(probe)) {
        Some(Program::RawTracePoint(program)) => program.load().map(|()| "raw_tp").map_err(|why| reason(&why)),
        _ => Err("not in the object".into()),
    }
}

/// Name of the `raw_tp` twin.
#[must_use]
pub fn raw_name(probe: &Probe) -> String {
    format!("{}_raw", probe.name)
}

fn attach(probe: &Probe, ebpf: &mut Ebpf, form: &str, kinds: &Kinds) -> Result<(), String> {
    let (At::Tracepoint(at) | At::Typed(at)) = probe.at else { return Ok(()) };
    let at = tracepoint(probe, kinds).unwrap_or(at);
    let name = if form == "tp_btf" { Cow::Borrowed(probe.name) } else { Cow::Owned(raw_name(probe)) };
    let result = match ebpf.program_mut(&name) {
        Some(Program::BtfTracePoint(program)) => program.attach().map(drop),
        Some(Program::RawTracePoint(program)) => program.attach(at).map(drop),
        _ => Ok(()),
    };
    result.map_err(|why| reason(&why))
}

fn status(probe: &Probe, form: Option<&str>, reason: String) -> ProbeStatus {
    ProbeStatus { name: probe.name.into(), form: form.map(str::to_owned), reason, without: probe.without.into() }
}

/// Why the kernel refused a program: its own words without the verifier's listing.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, .. } => match support::lockdown() {
            Some(mode) => format!("refused by the kernel in lockdown ({mode}): {io_error}"),
            None => format!("refused by the verifier: {io_error}"),
        },
        other => chain(other),
    }
}

/// An error with everything below it on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let line = error.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        below = error.source();
    }
    text.lines().next().unwrap_or_default().into()
}
