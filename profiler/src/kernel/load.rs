//! Loads the programs that this kernel takes, each in the best form that it takes, and says what is missing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::Path;
use std::{fs, io, thread};

use aya::programs::{Program, ProgramError, RawTracePoint};
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
use crate::kernel::lookup;
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
    /// Why this kernel drops packets, by number.
    pub drop_reasons: Vec<(u32, String)>,
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
    /// Types whose ids are those of the running kernel's functions, if programs may call these.
    fn kernel_functions(&self) -> Option<&Btf> {
        self.ours.as_ref().filter(|_| self.of_running && support::has_jit())
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
    let mut object = if storage { NATIVE } else { HASH }.to_vec();
    if let Some(btf) = kinds.kernel_functions() {
        let asks = config.preemptible != 0 && kfunc::link(&mut object, btf, kfunc::PREEMPTION);
        config.preemptible = asks.into();
        if kfunc::link(&mut object, btf, kfunc::CAST) {
            let id = |name| btf.structure(name).unwrap_or_default();
            config.task_type = id("task_struct");
            config.request_type = id("request");
            config.socket_type = id("sock");
        }
    } else {
        config.preemptible = 0;
    }
    let mut ebpf = open(&object, &offsets, &config, kinds.running.as_ref())?;
    let permitted = PROBES.iter().map(|probe| permitted(probe, &offsets, &kinds, options)).collect();
    let mut probes = Vec::with_capacity(PROBES.len());
    for (probe, installed) in PROBES.iter().zip(install_all(permitted, &mut ebpf, &kinds)) {
        let attached = installed.and_then(|(form, reason)| {
            relied_on(probe, &probes, &kinds)?;
            attach(probe, &mut ebpf, form, &kinds)?;
            Ok((form, reason))
        });
        probes.push(match attached {
            Ok((form, reason)) => status(probe, Some(form), reason),
            Err(reason) => {
                unload(probe, &mut ebpf);
                status(probe, None, reason)
            }
        });
    }
    let drop_reasons = kinds.ours.as_ref().map(offset::drop_reasons).unwrap_or_default();
    Ok(Loaded { ebpf, probes, drop_reasons })
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
    let hooks = !matches!(probe.at, At::Iterator(_) | At::Run);
    if let (true, Some(btf)) = (hooks, &kinds.ours) {
        let Some(name) = offset::tracepoint(btf, probe) else {
            return Err("this kernel does not have the tracepoint".into());
        };
        if btf.tracepoint_arity(name) < Some(probe.arguments) {
            return Err("this kernel's tracepoint does not tell it".into());
        }
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

/// What a probe tells less where it attaches to the former tracepoint.
fn lesser(probe: &Probe, kinds: &Kinds) -> Option<&'static str> {
    let former = probe.former.as_ref()?;
    former.less.filter(|_| tracepoint(probe, kinds) == Some(former.name))
}

/// Whether the probe works, at its own tracepoint, without which this one would tell wrong numbers.
fn relied_on(probe: &Probe, before: &[ProbeStatus], kinds: &Kinds) -> Result<(), String> {
    let whole = |name: &str| PROBES.iter().any(|probe| probe.name == name && lesser(probe, kinds).is_none());
    let works = |name: &str| before.iter().any(|status| status.name == name && status.form.is_some()) && whole(name);
    match probe.after.filter(|name| !works(name)) {
        Some(name) => Err(format!("would tell wrong numbers without {name}, which is missing")),
        None => Ok(()),
    }
}

/// The form in which a probe was loaded with why it is not the best, or why it was not loaded.
type Install = Result<(&'static str, String), String>;

/// The programs of a probe: of which the object has one, or both.
struct Pair<'a> {
    /// By the probe's name.
    best: Option<&'a mut Program>,
    /// The `raw_tp` twin.
    raw: Option<&'a mut Program>,
}

/// So many programs are loaded at a time at most: the two largest take half of the time.
const LOADERS: usize = 4;

/// Loads what is permitted, a program per CPU at a time: it is the verifier that takes long.
fn install_all(permitted: Vec<Result<(), String>>, ebpf: &mut Ebpf, kinds: &Kinds) -> Vec<Install> {
    let mut programs: HashMap<_, _> = ebpf.programs_mut().collect();
    let mut take = |probe: &Probe| Pair { best: programs.remove(probe.name), raw: programs.remove(&*raw_name(probe)) };
    let loaders = thread::available_parallelism().map_or(1, usize::from).min(LOADERS);
    let mut hands: Vec<_> = (0..loaders).map(|_| Vec::new()).collect();
    let mut installed = BTreeMap::new();
    for (at, (probe, permitted)) in PROBES.iter().zip(permitted).enumerate() {
        match permitted {
            Ok(()) => hands[at % loaders].push((at, probe, take(probe))),
            Err(why) => _ = installed.insert(at, Err(why)),
        }
    }
    let load = |hand: Vec<(_, _, _)>| hand.into_iter().map(|(at, probe, pair)| (at, install(probe, pair, kinds)));
    thread::scope(|scope| {
        let running: Vec<_> = hands.into_iter().map(|hand| scope.spawn(|| load(hand).collect::<Vec<_>>())).collect();
        for thread in running {
            installed.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    installed.into_values().collect()
}

fn install(probe: &Probe, pair: Pair<'_>, kinds: &Kinds) -> Install {
    let typed = load_best(probe, pair.best, kinds);
    match (typed, probe.at) {
        (Ok(form), _) => Ok((form, shortfall(probe, kinds))),
        (Err(why), At::Iterator(_) | At::Typed(_) | At::Run) => Err(why),
        (Err(why), _) => match load_raw(pair.raw) {
            Ok(form) => match shortfall(probe, kinds) {
                less if less.is_empty() => Ok((form, why)),
                less => Ok((form, format!("{why}; {less}"))),
            },
            Err(also) => Err(format!("{why}; as raw_tp: {also}")),
        },
    }
}

/// Why programs cannot follow addresses.
const BLIND: &str = "the kernel in lockdown lets no program read its memory by address";

fn is_blind() -> bool {
    support::lockdown().as_deref() == Some("confidentiality")
}

/// What a tracepoint does not tell on this kernel.
fn shortfall(probe: &Probe, kinds: &Kinds) -> String {
    let unread = match probe.name {
        "sys_exit" => Some("kinds of files and operations of libaio are not known"),
        "writeback_dirty_folio" => Some("what is written back counts for whoever writes it"),
        "kfree_skb" => probe.fewer.map(|(_, told)| told),
        "io_uring_complete" => Some("operations of io_uring count for no kind of file"),
        "io_uring_submit_req" if kinds.ours.as_ref().is_some_and(offset::hides_rings) => {
            Some("operations of io_uring are not counted")
        }
        _ => None,
    };
    if let Some(less) = unread.filter(|_| is_blind()) {
        return format!("{less}: {BLIND}");
    }
    if let Some(less) = lesser(probe, kinds) {
        return less.into();
    }
    let Some((arguments, told)) = probe.fewer else { return String::new() };
    match kinds.ours.as_ref().and_then(|btf| btf.tracepoint_arity(probe.name)) {
        Some(has) if has >= arguments => String::new(),
        Some(_) => told.into(),
        None => format!("perhaps {told}"),
    }
}

fn load_best(probe: &Probe, program: Option<&mut Program>, kinds: &Kinds) -> Result<&'static str, String> {
    let types = || kinds.running.as_ref().ok_or("the running kernel has no BTF");
    match (program, probe.at) {
        (Some(Program::RawTracePoint(_)), At::Run) if is_blind() => Err(BLIND.into()),
        (Some(Program::RawTracePoint(program)), At::Run) => {
            program.load().map_err(|why| reason(&why))?;
            let run = program.fd().map_err(io::Error::other).and_then(|program| lookup::run(program.as_fd()));
            run.map(|_| "run").map_err(|why| format!("refused to run: {why}"))
        }
        (Some(Program::BtfTracePoint(program)), At::Tracepoint(at) | At::Typed(at) | At::Sampled(at)) => {
            let at = tracepoint(probe, kinds).unwrap_or(at);
            program.load(at, types()?).map(|()| "tp_btf").map_err(|why| reason(&why))
        }
        (Some(Program::Iter(program)), At::Iterator(over)) => {
            program.load(over, types()?).map(|()| "iter").map_err(|why| reason(&why))
        }
        _ => {
            types()?;
            Err("needs task and socket storage, which this kernel does not have".into())
        }
    }
}

fn load_raw(program: Option<&mut Program>) -> Result<&'static str, String> {
    let program: Option<&mut RawTracePoint> = program.and_then(|program| program.try_into().ok());
    let program = program.ok_or("not in the object")?;
    program.load().map(|()| "raw_tp").map_err(|why| reason(&why))
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

/// A program that is missing is not in the kernel either.
fn unload(probe: &Probe, ebpf: &mut Ebpf) {
    for name in [probe.name, &raw_name(probe)] {
        // Most likely it was never loaded.
        let _ = match ebpf.program_mut(name) {
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::RawTracePoint(program)) => program.unload(),
            Some(Program::Iter(program)) => program.unload(),
            _ => Ok(()),
        };
    }
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
