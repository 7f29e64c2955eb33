//! Files one by one: what a process was told to do to each, and many more files than we have room for.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};

use profiler::batch::{FileKey, ProcessKey};
use profiler::model::Model;
use profiler::model::path::PathUse;
use profiler_common::disk::device;
use profiler_common::file::kind;
use profiler_common::syscall::operation;

use crate::kernel::child::{Child, fork};
use crate::kernel::device::{Mount, Page, Scratch};
use crate::kernel::observe::{Seen, every, figure_of_test, observe};
use crate::kernel::operation::{DEPTH, fio, operations};

/// What was told of a file as a process used it, by the kind that it was to it.
fn told(model: &Model, path: &str, pid: u32) -> Vec<(u32, PathUse)> {
    let file = std::fs::metadata(path).unwrap();
    let on = device(libc::major(file.dev()), libc::minor(file.dev()));
    let meant = |file: &FileKey, number| file.number == number && file.device == on;
    let uses = model.paths.uses.iter().filter(|((key, process, _), _)| process.pid == pid && meant(key, file.ino()));
    uses.map(|((key, _, kind), usage)| {
        // Whoever has ended before anybody asked left no more than two names.
        assert!(path.ends_with(model.paths.name(*key).trim_start_matches('…')), "{}", model.paths.name(*key));
        (*kind, usage.sum.clone())
    })
    .collect()
}

#[test]
fn what_is_done_to_each_file_is_told() {
    let mount = Mount::ext4(16);
    let [log, data] = ["log", "data"].map(|name| mount.path(name));
    let seen = observe(&every(100), || {
        let mut child = fork(|parent| {
            use_files(&log, &data);
            // Names are asked for while it has them open, or lives.
            parent.say([0]);
            parent.hear();
        });
        child.hear::<1>();
        child
    });
    let (model, pid) = (seen.model(), seen.said.pid);
    assert!(model.paths.uses.keys().any(|(file, ..)| model.paths.name(*file) == log), "{:?}", model.paths);
    let [(kind::REGULAR, log)] = &told(&model, &log, pid)[..] else { panic!("{:?}", model.paths) };
    assert_eq!((log.writes, log.written_bytes, log.syncs), (150, 150 * 300, 50));
    let syncs = seen.call(pid, "fdatasync", kind::REGULAR);
    assert_eq!((log.sync_blocked_ns, &log.sync_blocked), (syncs.blocked_ns, &syncs.blocked));
    let data = told(&model, &data, pid);
    let [(kind::REGULAR, cached), (kind::DIRECT, direct)] = &data[..] else { panic!("{data:?}") };
    assert_eq!((cached.reads, cached.read_bytes, cached.writes, cached.written_bytes), (70, 70 * 9, 1, 1 << 13));
    assert_eq!((direct.reads, direct.read_bytes, direct.writes), (2, 2 << 12, 0));
    seen.assert_counts_whole();
}

/// What the test expects; both files stay open.
fn use_files(log: &str, data: &str) {
    let mut log = File::create(log).unwrap();
    for turn in 0..150 {
        assert_eq!(log.write(&[1; 300]).unwrap(), 300);
        if turn % 3 == 2 {
            log.sync_data().unwrap();
        }
    }
    let mut cached = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(data).unwrap();
    assert_eq!(cached.write(&[2; 1 << 13]).unwrap(), 1 << 13);
    for _ in 0..70 {
        assert_eq!(cached.read_at(&mut [0; 9], 5).unwrap(), 9);
    }
    let mut direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(data).unwrap();
    let mut page = Page([0; 4096]);
    for _ in 0..2 {
        assert_eq!(direct.read(&mut page.0).unwrap(), 4096);
    }
    std::mem::forget((log, cached, direct));
}

#[test]
fn direct_calls_that_are_not_aligned_are_told() {
    let mount = Mount::ext4(64);
    let path = mount.path("file");
    std::fs::write(&path, vec![1; 1 << 16]).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().blksize(),
        1_024,
        "of a small file system; those of its device have 512"
    );
    let seen = observe(&every(100), || {
        let child = fork(|_| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).custom_flags(libc::O_DIRECT).open(&path).unwrap();
            let mut page = Page([0; 4096]);
            for place in [0, 4_096, 1_024] {
                file.read_exact_at(&mut page.0, place).unwrap();
            }
            file.read_exact_at(&mut page.0[..1_024], 4_096).unwrap();
            file.read_exact_at(&mut page.0, 512).unwrap();
            file.write_all_at(&page.0[..512], 8_192).unwrap();
            assert_eq!(file.read_at(&mut page.0, 1).unwrap_err().raw_os_error(), Some(libc::EINVAL));
            // By its own position: aligned, not so, and then not aligned to the device either.
            let mut by_position = &file;
            assert_eq!(by_position.read(&mut page.0).unwrap(), 4_096);
            assert_eq!(by_position.read(&mut page.0[..512]).unwrap(), 512);
            assert_eq!(by_position.read(&mut page.0).unwrap(), 4_096);
        });
        child.ended()
    });
    let told = told(&seen.model(), &path, seen.said);
    let [(kind::DIRECT, file)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((file.reads, file.writes, file.misaligned, file.unrecorded), (9, 1, 5, 0));
    seen.assert_counts_whole();
}

#[test]
fn the_hit_ratio_of_a_file_is_what_was_not_fetched_for_its_reads() {
    let mount = Mount::ext4(64);
    let path = mount.path("file");
    std::fs::write(&path, vec![1; 64 << 12]).unwrap();
    let file = File::open(&path).unwrap();
    file.sync_all().unwrap();
    for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_RANDOM] {
        // SAFETY: an open descriptor.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }, 0);
    }
    let seen = observe(&every(100), || {
        let child = fork(|_| {
            for _ in 0..4 {
                for place in 0..64 {
                    file.read_exact_at(&mut [0; 4096], place * 4096).unwrap();
                }
            }
        });
        child.ended()
    });
    let told = told(&seen.model(), &path, seen.said);
    let [(kind::REGULAR, usage)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((usage.read_missed_pages, usage.missed_pages, usage.read_bytes), (64, 64, 4 * 64 * 4096));
}

#[test]
fn operations_on_a_file_are_told() {
    let mount = Mount::ext4(64);
    let path = mount.path("file");
    for (engine, codes) in [("io_uring", operation::URING), ("libaio", operation::AIO)] {
        let seen = observe(&every(100), || fio(&path, &[&format!("--ioengine={engine}"), "--direct=1"]));
        let (pid, said) = &seen.said;
        let (all, _) = operations(&seen, *pid, codes, "");
        let told = told(&seen.model(), &path, *pid);
        let file = told.into_iter().find(|(kind, _)| *kind == kind::DIRECT);
        if engine == "io_uring" && seen.machine.kernel.starts_with("5.10.") {
            assert_eq!(file, None, "a completion does not tell its request, nor that its file");
            continue;
        }
        let (_, file) = file.unwrap();
        // A call may collect as many as there are under way.
        let hidden = seen.missed("sys_exit") * DEPTH;
        for (what, ours) in [("read", file.reads), ("write", file.writes)] {
            let truth = said[what]["total_ios"].as_u64().unwrap();
            assert!((truth.saturating_sub(hidden)..=truth).contains(&ours), "{engine}, {what}: {ours} of {truth}");
        }
        assert_eq!(file.read_bytes + file.written_bytes, all.bytes, "{engine}");
    }
}

const PROCESSES: usize = 200;
const FILES: usize = 250;

/// All files of many processes: what is not told one by one is in the rest, to the call and to the byte. Where the kernel does
/// not run programs for some calls, it says for how many.
#[test]
fn many_files_of_many_processes_are_bounded_and_whole() {
    let scratch = Scratch::new();
    let seen = observe(&every(500), || {
        let children: Vec<_> = (0..PROCESSES).map(|process| touch(&scratch, process)).collect();
        children.into_iter().map(Child::ended).collect::<Vec<_>>()
    });
    let model = seen.model();
    let (mut one_by_one, mut rest) = (0, 0);
    for key in model.processes.keys().filter(|key| seen.said.contains(&key.pid)) {
        let (told, other) = of_process(&model, *key);
        let writes = told.writes + other.writes;
        assert_eq!(told.written_bytes + other.written_bytes, writes * 100);
        one_by_one += told.writes;
        rest += other.writes;
    }
    let (whole, missed) = ((2 * PROCESSES * FILES) as u64, seen.missed("sys_exit"));
    figure_of_test(
        "100 000 writes to 50 000 files: told by file, the rest, not seen",
        format!("{one_by_one}, {rest}, {}", whole - one_by_one - rest),
    );
    assert!(rest > 0, "there is no room for so many");
    assert!((whole.saturating_sub(missed)..=whole).contains(&(one_by_one + rest)), "the kernel hid {missed} calls");
    bounded(&seen);
}

/// What a process did to files that are told, and to the others.
fn of_process(model: &Model, key: ProcessKey) -> (PathUse, PathUse) {
    let uses = model.paths.uses.iter().filter(|((_, process, _), _)| *process == key);
    let mut told = PathUse::default();
    for (_, usage) in uses {
        told.writes += usage.sum.writes;
        told.written_bytes += usage.sum.written_bytes;
    }
    let process = model.processes.get_key_value(&key).map(|(key, of)| (*key, of));
    (told, model.paths.rest(process, &model.calls, Some(key)).sum)
}

/// The memory of the maps does not grow with the files, nor does an interval.
fn bounded<T>(seen: &Seen<T>) {
    let memory: Vec<_> =
        seen.batches.iter().map(|batch| batch.quality.map_memory_bytes).filter(|bytes| *bytes > 0).collect();
    let (least, most) = (memory.iter().min().unwrap(), memory.iter().max().unwrap());
    let files = seen.batches.iter().map(|batch| batch.paths.len()).max().unwrap();
    figure_of_test("bytes of maps; files of an interval at most", format!("{least} to {most}; {files}"));
    assert!(files <= 1_024 && most - least <= 1 << 20);
}

/// A process that makes its own files, writes twice to each and reads once.
fn touch(scratch: &Scratch, process: usize) -> Child {
    let folder = scratch.path(&process.to_string());
    fork(|_| {
        std::fs::create_dir(&folder).unwrap();
        for number in 0..FILES {
            let path = format!("{folder}/{number}");
            let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
            for _ in 0..2 {
                assert_eq!(file.write(&[3; 100]).unwrap(), 100);
            }
            assert_eq!(file.read_at(&mut [0; 50], 0).unwrap(), 50);
        }
    })
}
