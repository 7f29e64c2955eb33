//! What a guest boots with: one disk with programs and tests, the same for all, and per kernel an initial file system
//! with its modules.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::fetch::Fetched;
use crate::child;

/// Programs that the tests call, and the shell that runs them.
const PROGRAMS: &[&str] = &[
    "bash",
    "blkdiscard",
    "bpftool",
    "busybox",
    "chrt",
    "dd",
    "dmsetup",
    "fio",
    "ip",
    "losetup",
    "ls",
    "mkfs.ext4",
    "mount",
    "nstat",
    "ss",
    "strace",
    "tc",
    "true",
];

/// Modules that the guest's disks and the tests need, wherever the kernel does not have them built in.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "loop",
    "null_blk",
    "mq_deadline",
    "dm_mod",
    "dm_delay",
    "veth",
    "dummy",
    "sch_netem",
    "sch_tbf",
    "tcp_diag",
    "inet_diag",
    "unix_diag",
];

/// Parameters of modules. Each request to `/dev/nullb0` takes 10 ms, by a timer, independent of all others.
const PARAMETERS: &[(&str, &str)] = &[("null_blk", "nr_devices=1 queue_mode=2 irqmode=2 completion_nsec=10000000")];

/// Room on the disk beyond what it is filled with; sparse.
const DISK_BYTES: u64 = 2 << 30;

/// First steps in a guest: its modules, its disk.
const FIRST: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    /bin/busybox insmod $module $(/bin/busybox cat ${module%.ko}) || echo \"insmod $module failed\"
done
/bin/busybox mount -t ext4 /dev/vda /disk
exec /bin/busybox switch_root /disk /init
";

/// All later steps. What is said on the second serial line, the host reads.
const INIT: &str = include_str!("init.sh");

/// Makes the disk. `tests` and `program` are ours, and static.
pub fn disk(folder: &Path, tests: &Path, program: &Path) -> Result<PathBuf> {
    let root = empty(&folder.join("root"))?;
    for place in ["proc", "sys", "dev", "run", "tmp", "etc", "root", "bin"] {
        let place = root.join(place);
        fs::create_dir_all(&place).with_context(|| format!("failed to create `{}`", place.display()))?;
    }
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let program = child::find_program(name).with_context(|| format!("`{name}` is not installed"))?;
        copy(&program, &root)?;
        libraries.extend(libraries_of(&program));
    }
    for library in libraries {
        copy(&library, &root)?;
    }
    symlink("/usr/bin/busybox", root.join("bin/busybox")).or_else(exists).context("failed to link busybox")?;
    symlink("/usr/bin/bash", root.join("bin/sh")).or_else(exists).context("failed to link the shell")?;
    symlink("/usr/bin/true", root.join("bin/true")).or_else(exists).context("failed to link `true`")?;
    for (from, name) in [(tests, "tests"), (program, "profiler")] {
        let to = root.join(name);
        child::run(Command::new("strip").arg("--strip-debug").arg("-o").arg(to).arg(from))?;
    }
    script(&root.join("init"), INIT)?;
    let disk = folder.join("disk");
    let file = fs::File::create(&disk).with_context(|| format!("failed to create `{}`", disk.display()))?;
    file.set_len(DISK_BYTES).with_context(|| format!("failed to size `{}`", disk.display()))?;
    let mkfs = child::find_program("mkfs.ext4").context("`mkfs.ext4` is not installed")?;
    // Without what ext4 does later on its own, the disk is still when nobody uses it.
    let still = "lazy_itable_init=0,lazy_journal_init=0";
    child::run(Command::new(mkfs).args(["-q", "-F", "-E", still, "-d"]).arg(&root).arg(&disk))?;
    Ok(disk)
}

/// Makes the initial file system of a kernel.
pub fn initial(folder: &Path, kernel: &Fetched) -> Result<PathBuf> {
    let root = empty(&folder.join("initial"))?;
    for place in ["proc", "dev", "disk", "modules", "bin"] {
        let place = root.join(place);
        fs::create_dir_all(&place).with_context(|| format!("failed to create `{}`", place.display()))?;
    }
    let busybox = child::find_program("busybox").context("`busybox` is not installed")?;
    fs::copy(&busybox, root.join("bin/busybox")).context("failed to copy busybox")?;
    for (place, (name, module)) in modules(&kernel.modules)?.into_iter().enumerate() {
        let to = root.join("modules").join(format!("{place:02}-{name}.ko"));
        let parameters = PARAMETERS.iter().find(|(known, _)| *known == name).map_or("", |(_, parameters)| parameters);
        fs::write(&to, module)
            .and_then(|()| fs::write(to.with_extension(""), format!("{parameters}\n")))
            .with_context(|| format!("failed to write `{}`", to.display()))?;
    }
    script(&root.join("init"), FIRST)?;
    let archive = folder.join("initial.cpio");
    let to = fs::File::create(&archive).with_context(|| format!("failed to create `{}`", archive.display()))?;
    let pack = "/bin/busybox find . | /bin/busybox cpio -o -H newc";
    let pack = pack.replace("/bin/busybox", &busybox.to_string_lossy());
    let mut packer = Command::new(&busybox);
    packer.args(["sh", "-c", &pack]).current_dir(&root).stdout(to).stderr(Stdio::null());
    let status = packer.status().context("failed to start busybox")?;
    if !status.success() {
        bail!("failed to pack `{}`: {status}", root.display());
    }
    Ok(archive)
}

fn exists(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn empty(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to empty `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    Ok(folder.into())
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("failed to write `{}`", path.display()))
}

/// Copies a file to the same path below another root.
fn copy(from: &Path, root: &Path) -> Result<()> {
    let to = root.join(from.strip_prefix("/").unwrap_or(from));
    let folder = to.parent().context("a file has no folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(from, &to))
        .with_context(|| format!("failed to copy `{}`", from.display()))?;
    Ok(())
}

/// What a program is linked with; nothing if it is static.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let said = child::answer(Command::new("ldd").arg(program)).unwrap_or_default();
    let words = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

/// The modules that are there, each after those that it depends on.
fn modules(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    find_modules(folder, &mut found)?;
    let mut ordered = Vec::new();
    for name in MODULES {
        add_module(name, &found, &mut ordered)?;
    }
    Ok(ordered)
}

fn find_modules(folder: &Path, found: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("failed to list `{}`", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            find_modules(&path, found)?;
        } else if let Some((name, "" | ".xz")) = name.split_once(".ko") {
            found.push((name.replace('-', "_"), path));
        }
    }
    Ok(())
}

/// A module that is not there is built in, or the kernel has none: then a test will say so.
fn add_module(name: &str, found: &[(String, PathBuf)], ordered: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let there = found.iter().find(|(known, _)| known == name);
    let Some((_, path)) = there.filter(|_| ordered.iter().all(|(known, _)| known != name)) else { return Ok(()) };
    let module = if path.extension().is_some_and(|end| end == "xz") {
        let unpacked = Command::new("busybox").arg("xzcat").arg(path).output();
        unpacked.context("failed to start `busybox`")?.stdout
    } else {
        fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?
    };
    for needed in depends(&module) {
        add_module(&needed.replace('-', "_"), found, ordered)?;
    }
    ordered.push((name.to_owned(), module));
    Ok(())
}

/// The names after `depends=` in a module's own description.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let at = module.windows(KEY.len()).position(|window| window == KEY);
    let value = at.and_then(|at| module[at + KEY.len()..].split(|byte| *byte == 0).next()).unwrap_or_default();
    let names = value.split(|byte| *byte == b',').filter(|name| !name.is_empty());
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_depends_on() {
        assert_eq!(depends(b"license=GPL\0depends=dm-mod,jbd2\0name=x\0"), ["dm-mod", "jbd2"]);
        assert!(depends(b"\0depends=\0").is_empty());
        assert!(depends(b"no such thing").is_empty());
    }
}
