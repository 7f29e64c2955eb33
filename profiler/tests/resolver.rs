//! The offset resolver on the types of other kernels, none of which has to run. `cargo xtask vm` cuts `btf/KERNEL.btf`
//! out of each; `btf/sources.txt` says which they are. They hold what the resolver asks for and nothing else: whoever
//! lets it ask for more cuts them anew.
#![expect(clippy::disallowed_methods, reason = "the types of a kernel are a file")]
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::fmt::Display;
use std::path::Path;

use profiler::kernel::btf::Btf;
use profiler::kernel::offset::{config, has_task_storage, missing, resolve};
use profiler::kernel::probe::{PROBES, Probe};
use profiler_common::config::Config;
use profiler_common::offset::{ABSENT, PATHS};

/// Bytes of the header of BTF, and where the lengths of the types and of the strings stand in it.
const HEADER: usize = 24;
const TYPES: usize = 12;
const STRINGS: usize = 20;

/// Bytes from one place where a fixture is cut to the next. A prime, so that all kinds of places are hit.
const STEP: usize = 97;

/// The types of one kernel.
struct Fixture {
    kernel: String,
    blob: Vec<u8>,
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let kernel = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self { kernel, blob: std::fs::read(path).unwrap() }
    }

    fn btf(&self) -> Btf {
        Btf::parse(&self.blob).unwrap()
    }

    fn length(&self, section: usize) -> usize {
        let bytes = self.blob[section..section + 4].try_into().unwrap();
        u32::from_le_bytes(bytes) as usize
    }

    /// Sound BTF, but with the first bytes of its types and of its strings only.
    fn shortened(&self, types: usize, strings: usize) -> Vec<u8> {
        let (header, rest) = self.blob.split_at(HEADER);
        let mut blob = header.to_vec();
        for (place, length) in [(TYPES, types), (TYPES + 4, types), (STRINGS, strings)] {
            blob[place..place + 4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        }
        blob.extend(&rest[..types]);
        blob.extend(&rest[self.length(TYPES)..][..strings]);
        blob
    }
}

/// All fixtures, in the order of their names.
fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/btf");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "btf"));
    let mut fixtures: Vec<_> = paths.map(|path| Fixture::read(&path)).collect();
    fixtures.sort_by(|one, other| one.kernel.cmp(&other.kernel));
    assert!(!fixtures.is_empty());
    fixtures
}

/// What differs between kernels, with a column for each.
fn table(fixtures: &[Fixture]) -> String {
    let kernels: Vec<_> = fixtures.iter().map(Fixture::btf).collect();
    let mut lines = vec![line("offset", fixtures.iter().map(|fixture| &fixture.kernel))];
    let offsets: Vec<_> = kernels.iter().map(|btf| resolve(btf).to_array()).collect();
    for (at, (name, ..)) in PATHS.iter().enumerate() {
        lines.push(line(name, offsets.iter().map(|offsets| or_dash((offsets[at] != ABSENT).then_some(offsets[at])))));
    }
    lines.push("\nbytes, where kernels differ".to_owned());
    for (name, structure, path) in PATHS {
        let sizes: Vec<_> = kernels.iter().map(|btf| btf.size(structure, path)).collect();
        let known: Vec<_> = sizes.iter().flatten().collect();
        if known.windows(2).any(|pair| pair[0] != pair[1]) {
            lines.push(line(name, sizes.iter().map(|size| or_dash(*size))));
        }
    }
    lines.push("\nswitch".to_owned());
    let switches: Vec<_> = kernels.iter().map(switches).collect();
    for (at, (name, _)) in switches[0].iter().enumerate() {
        lines.push(line(name, switches.iter().map(|switches| switches[at].1)));
    }
    lines.push("\narguments of a tracepoint".to_owned());
    for probe in PROBES {
        for name in probe.tracepoints() {
            lines.push(line(name, kernels.iter().map(|btf| or_dash(btf.tracepoint_arity(name)))));
        }
    }
    lines.push("\nneeds of a probe that are not met".to_owned());
    for probe in PROBES {
        lines.push(line(probe.name, kernels.iter().map(|btf| or_dash(unmet(btf, probe)))));
    }
    lines.join("\n")
}

fn line(name: &str, cells: impl Iterator<Item = impl Display>) -> String {
    cells.fold(format!("{name:23}"), |line, cell| format!("{line} {cell:>12}"))
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// What the programs are told apart from offsets, as far as the kernel decides it.
fn switches(btf: &Btf) -> [(&'static str, u32); 16] {
    let Config {
        sample_calls: _,
        switch_prev_state,
        request_arg,
        request_inserted,
        flush_seq_mask,
        log: _,
        kernel_reads: _,
        preemptible,
        fua_mask,
        throttled_mask,
        page_head_mask,
        dirty_pause_arg,
        uring_submit_args,
        uring_complete_args,
        uring_queue_args,
        tick_ns: _,
        drop_socket,
        drop_full,
        drop_memory,
        task_type: _,
        request_type: _,
        socket_type: _,
    } = config(btf);
    [
        ("switch_prev_state", switch_prev_state),
        ("request_arg", request_arg),
        ("request_inserted", request_inserted),
        ("flush_seq_mask", flush_seq_mask),
        ("preemptible", preemptible),
        ("fua_mask", fua_mask),
        ("throttled_mask", throttled_mask),
        ("page_head_mask", page_head_mask),
        ("dirty_pause_arg", dirty_pause_arg),
        ("uring_submit_args", uring_submit_args),
        ("uring_complete_args", uring_complete_args),
        ("uring_queue_args", uring_queue_args),
        ("drop_socket", drop_socket),
        ("drop_full", drop_full),
        ("drop_memory", drop_memory),
        ("task storage", has_task_storage(btf).into()),
    ]
}

fn unmet(btf: &Btf, probe: &Probe) -> Option<String> {
    let missing = missing(&resolve(btf), probe.needs());
    (!missing.is_empty()).then(|| missing.join(" "))
}

/// How many places were tried at which a shortened fixture can be read; what it tells must be true.
fn tried(fixture: &Fixture, lengths: impl Iterator<Item = (usize, usize)>) -> usize {
    let whole = resolve(&fixture.btf()).to_array();
    let readable = lengths.filter_map(|(types, strings)| Btf::parse(&fixture.shortened(types, strings)).ok());
    let check = |part: Btf| {
        for ((part, whole), (name, ..)) in resolve(&part).to_array().iter().zip(whole).zip(PATHS) {
            assert!(*part == ABSENT || *part == whole, "{} of {}: {part}, not {whole}", name, fixture.kernel);
        }
    };
    readable.map(check).count()
}

#[test]
fn what_differs_between_kernels() {
    insta::assert_snapshot!("kernels", table(&fixtures()));
}

#[test]
fn a_disk_hangs_on_the_request_or_on_its_queue() {
    for fixture in fixtures() {
        let offsets = resolve(&fixture.btf());
        let places = [offsets.request_disk, offsets.queue_disk];
        assert_eq!(places.iter().filter(|place| **place != ABSENT).count(), 1, "{}", fixture.kernel);
    }
}

#[test]
fn a_cut_file_is_refused() {
    for fixture in fixtures() {
        for length in (0..fixture.blob.len()).step_by(STEP) {
            assert!(Btf::parse(&fixture.blob[..length]).is_err(), "{length} bytes of {}", fixture.kernel);
        }
    }
}

#[test]
fn a_part_of_the_types_tells_no_wrong_offset() {
    for fixture in fixtures() {
        let [types, strings] = [TYPES, STRINGS].map(|section| fixture.length(section));
        assert_eq!(tried(&fixture, [(types, strings)].into_iter()), 1);
        assert!(tried(&fixture, (0..types).step_by(STEP).map(|types| (types, strings))) > 0);
    }
}

/// Else what bears one of the names that are gone would be looked for under its other name, and be found.
#[test]
fn types_without_their_names_are_refused() {
    for fixture in fixtures() {
        let [types, strings] = [TYPES, STRINGS].map(|section| fixture.length(section));
        for strings in (0..strings).step_by(STEP) {
            assert!(Btf::parse(&fixture.shortened(types, strings)).is_err(), "{strings} bytes of {}", fixture.kernel);
        }
    }
}
