//! The fixtures of `profiler/tests/resolver.rs`: of each kernel the types that the offset resolver can ask for.

mod cut;
mod trim;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use profiler_common::offset::PATHS;

use self::reader::Btf;
use super::fetch;
use super::matrix::KERNELS;
use crate::layout::Layout;

/// The tracepoints that are asked for.
#[path = "../../../profiler/src/kernel/probe.rs"]
#[expect(dead_code, reason = "what a probe needs is for the loader to know")]
pub mod probe;

/// What the profiler reads BTF with.
#[path = "../../../profiler/src/kernel/btf.rs"]
#[expect(dead_code, reason = "a function's id is for the loader to know")]
mod reader;

/// The enumerators that `profiler/src/kernel/offset.rs` asks for. What is not listed is in no fixture.
const ENUMERATORS: &[&str] = &[
    "__REQ_FUA",
    "BIO_BPS_THROTTLED",
    "__RQF_FLUSH_SEQ",
    "BPF_FUNC_task_pt_regs",
    "BPF_MAP_TYPE_TASK_STORAGE",
    "PG_head",
    "SKB_DROP_REASON_PROTO_MEM",
    "SKB_DROP_REASON_SOCKET_RCVBUFF",
];

/// The typedefs that it asks for, apart from those of tracepoints.
const TYPEDEFS: [&str; 1] = ["class_srcu_fast_notrace_t"];

/// The development machine's kernel, which the archive does not have.
const RUNNING: &str = "6.18";

/// Cuts the fixtures of all kernels anew, and says in `sources.txt` what each was cut from.
pub fn refresh(layout: &Layout) -> Result<()> {
    let folder = layout.root.join("profiler/tests/btf");
    fs::create_dir_all(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    let list = folder.join("sources.txt");
    let old = fs::read_to_string(&list).unwrap_or_default();
    let mut sources: BTreeMap<_, _> = old.lines().filter_map(|line| line.split_once(' ')).collect();
    let fetched = KERNELS.iter().map(|kernel| Ok((kernel.name, fetch::fetch(layout, kernel)?)));
    let fetched = fetched.collect::<Result<Vec<_>>>()?;
    for (name, kernel) in &fetched {
        let types = read(&kernel.image).and_then(|image| cut::cut(&image));
        store(&folder, name, &types.with_context(|| format!("failed to cut BTF out of {}", kernel.packages))?)?;
        sources.insert(name, &kernel.packages);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("failed to ask for the kernel's release")?;
    let release = release.trim();
    if release.starts_with(&format!("{RUNNING}.")) {
        store(&folder, RUNNING, &read(Path::new("/sys/kernel/btf/vmlinux"))?)?;
        sources.insert(RUNNING, release);
    } else {
        println!("{RUNNING} stays as it is: this kernel is {release}");
    }
    let text = sources.iter().fold(String::new(), |text, (name, source)| format!("{text}{name} {source}\n"));
    fs::write(&list, text).with_context(|| format!("failed to write `{}`", list.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))
}

fn store(folder: &Path, name: &str, types: &[u8]) -> Result<()> {
    let trimmed = trim::trim(types).with_context(|| format!("failed to trim the BTF of {name}"))?;
    ensure!(answers(types)? == answers(&trimmed)?, "the trimmed BTF of {name} answers differently");
    println!("{name}: {} KiB of {} KiB", trimmed.len() >> 10, types.len() >> 10);
    let path = folder.join(name).with_added_extension("btf");
    fs::write(&path, trimmed).with_context(|| format!("failed to write `{}`", path.display()))
}

/// All that the profiler asks, and the sizes of members, which its tests ask.
#[derive(PartialEq)]
struct Answers {
    values: Vec<Option<u32>>,
    arguments: Vec<Option<usize>>,
}

fn answers(types: &[u8]) -> Result<Answers> {
    let btf = Btf::parse(types)?;
    let members =
        PATHS.iter().flat_map(|(_, structure, path)| [btf.offset(structure, path), btf.size(structure, path)]);
    let values = members.chain(ENUMERATORS.iter().map(|name| btf.enumerator(name)));
    let values = values.chain(TYPEDEFS.iter().map(|name| Some(btf.has_typedef(name).into())));
    let arguments = tracepoints().flat_map(|tracepoint| {
        let places = PATHS.iter().map(|(_, structure, _)| btf.tracepoint_argument(tracepoint, structure));
        places.chain([btf.tracepoint_arity(tracepoint)]).collect::<Vec<_>>()
    });
    Ok(Answers { values: values.collect(), arguments: arguments.collect() })
}

/// The tracepoints that programs attach to.
fn tracepoints() -> impl Iterator<Item = &'static str> {
    probe::PROBES.iter().flat_map(probe::Probe::tracepoints)
}
