//! Places of our own: a folder for files, and loop devices over them.

use std::ffi::{CStr, CString, c_void};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::observe::{need_root, tool, until};

/// A folder that is removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("profiler-test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Where a file of this name would be.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A file of so many zeros, all of them allocated.
    pub fn file(&self, name: &str, length: usize) -> String {
        let path = self.path(name);
        fs::write(&path, vec![0; length]).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Memory as direct I/O wants it.
#[repr(align(4096))]
pub struct Page(pub [u8; 4096]);

/// A loop device, detached when dropped.
pub struct LoopDevice {
    /// Such as `/dev/loop3`.
    pub path: String,
    /// Where the file is that it lies on.
    _scratch: Option<Scratch>,
}

impl LoopDevice {
    /// Over a file of so many MiB, whose pages are cached.
    pub fn new(mebibytes: usize) -> Self {
        Self::over_file("--direct-io=off", mebibytes)
    }

    /// Over a file of so many MiB; each request goes to the disk on which the file is.
    pub fn uncached(mebibytes: usize) -> Self {
        Self::over_file("--direct-io=on", mebibytes)
    }

    fn over_file(mode: &str, mebibytes: usize) -> Self {
        let scratch = Scratch::new();
        let file = scratch.file("disk", mebibytes << 20);
        Self::over(mode, &file, Some(scratch))
    }

    /// Over another device, or over a file, with what that is in.
    pub fn over(mode: &str, path: &str, scratch: Option<Scratch>) -> Self {
        need_root();
        let path = tool("losetup", &[mode, "--find", "--show", path]).trim().to_owned();
        Self { path, _scratch: scratch }
    }

    /// Over a file that has so many MiB and room for no more than one.
    pub fn without_room(mebibytes: usize) -> Self {
        need_root();
        let scratch = Scratch::new();
        tool("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", &scratch.path("")]);
        let file = scratch.path("disk");
        File::create(&file).unwrap().set_len((mebibytes << 20) as u64).unwrap();
        let device = Self::over("--direct-io=off", &file, None);
        // The device keeps it.
        unmount(&scratch);
        device
    }

    /// A part of it from a sector on, so many sectors long.
    pub fn partition(&self, number: u32, first: u64, sectors: u64) -> Partition {
        let partition =
            Partition { name: format!("{}p{number}", self.name()), number, disk: File::open(&self.path).unwrap() };
        let bytes = |sectors: u64| i64::try_from(sectors * 512).unwrap();
        partition.change(Partition::ADD, bytes(first), bytes(sectors)).unwrap();
        partition
    }

    /// The name in `/proc/diskstats`.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    /// The device number as batches have it.
    pub fn device(&self) -> u32 {
        device(self.name())
    }

    /// Its [`settled`] numbers.
    pub fn diskstats(&self) -> Vec<u64> {
        settled(self.name())
    }
}

/// A part of a device, removed when dropped: it would outlive the device.
pub struct Partition {
    /// Its name in `/proc/diskstats`.
    pub name: String,
    number: u32,
    disk: File,
}

impl Partition {
    /// `BLKPG_ADD_PARTITION` and `BLKPG_DEL_PARTITION`, `include/uapi/linux/blkpg.h`.
    const ADD: libc::c_int = 1;
    const DELETE: libc::c_int = 2;

    fn change(&self, operation: libc::c_int, start_bytes: i64, length_bytes: i64) -> io::Result<()> {
        const BLKPG: libc::Ioctl = 0x1269;
        #[repr(C)]
        struct Description {
            start_bytes: i64,
            length_bytes: i64,
            number: libc::c_int,
            names: [u8; 128],
        }
        #[repr(C)]
        struct Argument {
            operation: libc::c_int,
            flags: libc::c_int,
            length: libc::c_int,
            data: *const Description,
        }
        let description =
            Description { start_bytes, length_bytes, number: self.number.try_into().unwrap(), names: [0; 128] };
        let length = size_of::<Description>().try_into().unwrap();
        let argument = Argument { operation, flags: 0, length, data: &raw const description };
        // SAFETY: an open device, and structs that live until the call returns.
        match unsafe { libc::ioctl(self.disk.as_raw_fd(), BLKPG, &raw const argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        if let Err(error) = self.change(Self::DELETE, 0, 0) {
            eprintln!("{}: {error}", self.name);
        }
    }
}

/// A small limit to memory, as it was when dropped.
pub struct Limit(Vec<(String, String)>);

impl Limit {
    /// To what of one device may be dirty; where that cannot be (before 6.2), of the host, which is a guest of ours.
    pub fn of_dirty_memory(disk: &LoopDevice) -> Self {
        let mut limit = Self(Vec::new());
        let device = fs::read_to_string(format!("/sys/class/block/{}/dev", disk.name())).unwrap();
        let bdi = format!("/sys/class/bdi/{}", device.trim());
        if fs::exists(format!("{bdi}/strict_limit")).unwrap() {
            // Without a limit, these are the bytes of the host's, and as many are refused once that has shrunk.
            let ratio = fs::read_to_string(format!("{bdi}/max_ratio")).unwrap();
            limit.set(format!("{bdi}/max_ratio"), ratio.trim());
            limit.set(format!("{bdi}/max_bytes"), "8388608");
            limit.set(format!("{bdi}/strict_limit"), "1");
        } else {
            limit.set("/proc/sys/vm/dirty_background_bytes".to_owned(), "1048576");
            limit.set("/proc/sys/vm/dirty_bytes".to_owned(), "2097152");
        }
        limit
    }

    /// Pages of all TCP sockets, below which there is no pressure any more, and above which there is.
    pub fn of_tcp_memory(least: u64, pressure: u64) -> Self {
        let (mut limit, path) = (Self(Vec::new()), "/proc/sys/net/ipv4/tcp_mem");
        let before = fs::read_to_string(path).unwrap();
        limit.set(path.to_owned(), &format!("{least} {pressure} {}", before.split_whitespace().last().unwrap()));
        limit
    }

    fn set(&mut self, path: String, value: &str) {
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        self.0.push((path, before));
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        for (path, before) in self.0.iter().rev() {
            drop(fs::write(path, before));
        }
    }
}

/// The number of a device as batches have it.
pub fn device(name: &str) -> u32 {
    let text = fs::read_to_string(format!("/sys/class/block/{name}/dev")).unwrap();
    let (major, minor) = text.trim().split_once(':').unwrap();
    profiler_common::disk::device(major.parse().unwrap(), minor.parse().unwrap())
}

/// The numbers of a device's line in `/proc/diskstats` that follow its name.
pub fn diskstats(name: &str) -> Vec<u64> {
    let text = fs::read_to_string("/proc/diskstats").unwrap();
    let mut lines = text.lines().map(|line| line.split_whitespace().skip(2));
    let mut line = lines.find(|line| line.clone().next() == Some(name)).unwrap();
    line.next();
    line.map(|word| word.parse().unwrap()).collect()
}

/// The same of a device that nobody asks for anything any more: a request is counted after whoever waits for it was woken.
pub fn settled(name: &str) -> Vec<u64> {
    until("nothing is under way", || {
        let stats = diskstats(name);
        if stats[8] == 0 { Ok(stats) } else { Err(format!("{} are", stats[8])) }
    })
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        drop(process::Command::new("losetup").args(["--detach", &self.path]).status());
    }
}

/// ext4 with a journal, unmounted when dropped.
pub struct FileSystem(Scratch);

impl FileSystem {
    /// Made on a device, and mounted with these options.
    pub fn ext4(device: &str, options: &CStr) -> Self {
        let folder = Scratch::new();
        // Without lazy initialization nobody but the test writes.
        tool("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", device]);
        let (from, to) = (CString::new(device).unwrap(), CString::new(folder.path("")).unwrap());
        // SAFETY: strings that live until the call returns.
        let result =
            unsafe { libc::mount(from.as_ptr(), to.as_ptr(), c"ext4".as_ptr(), 0, options.as_ptr().cast::<c_void>()) };
        assert_eq!(result, 0, "mount: {}", io::Error::last_os_error());
        Self(folder)
    }

    /// Where a file of this name would be.
    pub fn path(&self, name: &str) -> String {
        self.0.path(name)
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Takes away what is mounted on a folder; whoever uses it keeps it.
fn unmount(folder: &Scratch) {
    let path = CString::new(folder.path("")).unwrap();
    // SAFETY: a string that lives until the call returns.
    if unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } != 0 {
        eprintln!("umount: {}", io::Error::last_os_error());
    }
}

/// A file system on a loop device.
pub struct Mount {
    // Fields are dropped in this order: unmounted before the device goes.
    pub files: FileSystem,
    pub device: LoopDevice,
}

impl Mount {
    /// On a device of so many MiB.
    pub fn ext4(mebibytes: usize) -> Self {
        Self::on(LoopDevice::new(mebibytes), c"")
    }

    /// The same with options, each of whose requests goes to a disk.
    pub fn slow_ext4(mebibytes: usize, options: &CStr) -> Self {
        Self::on(LoopDevice::uncached(mebibytes), options)
    }

    fn on(device: LoopDevice, options: &CStr) -> Self {
        Self { files: FileSystem::ext4(&device.path, options), device }
    }

    /// Where a file of this name would be.
    pub fn path(&self, name: &str) -> String {
        self.files.path(name)
    }
}
