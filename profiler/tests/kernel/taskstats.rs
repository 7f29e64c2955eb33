//! What the kernel's delay accounting says of a thread: a client of the generic netlink family `TASKSTATS`
//! (`include/uapi/linux/taskstats.h` and `genetlink.h`).

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// A setting of the kernel, as it was when dropped. Kernels before 5.14 do not have it: they always account.
pub struct Accounting(Option<String>);

const SETTING: &str = "/proc/sys/kernel/task_delayacct";

impl Accounting {
    /// Of threads that are born from now on.
    pub fn on() -> Self {
        let before = fs::read_to_string(SETTING).ok();
        if before.is_some() {
            fs::write(SETTING, "1").unwrap();
        }
        Self(before)
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            drop(fs::write(SETTING, before));
        }
    }
}

/// Members of `struct taskstats` by place: nanoseconds since a thread was born. On a CPU …
pub const CPU: usize = 72;
/// … runnable and not on a CPU, …
pub const QUEUED: usize = 24;
/// … asleep until I/O has ended.
pub const IO: usize = 40;

const NLM_F_REQUEST: u16 = 1;
const CMD_GET: u8 = 1;
const ATTRIBUTE_PID: u16 = 1;
const TYPE_STATS: u16 = 3;
const TYPE_AGGREGATE: u16 = 4;
const GENL_ID_CTRL: u16 = 16;
const CTRL_GETFAMILY: u8 = 3;
const CTRL_FAMILY_ID: u16 = 1;
const CTRL_FAMILY_NAME: u16 = 2;

/// All that is known of a thread.
#[derive(Debug)]
pub struct Stats(Vec<u8>);

impl Stats {
    pub fn of(tid: u32) -> Self {
        let socket = Socket::new();
        let answer = socket.ask(GENL_ID_CTRL, CTRL_GETFAMILY, CTRL_FAMILY_NAME, b"TASKSTATS\0");
        let family = attribute(&answer, CTRL_FAMILY_ID);
        let family = u16::from_ne_bytes(family[..2].try_into().unwrap());
        let answer = socket.ask(family, CMD_GET, ATTRIBUTE_PID, &tid.to_ne_bytes());
        let stats = Self(attribute(attribute(&answer, TYPE_AGGREGATE), TYPE_STATS).to_owned());
        // Version 15 (6.14) has other members in between, which version 16 has moved to the end.
        assert_ne!(stats.version(), 15, "no test knows this version's layout");
        stats
    }

    /// Of the struct: each has all members of those before.
    pub fn version(&self) -> u16 {
        u16::from_ne_bytes([self.0[0], self.0[1]])
    }

    /// A member.
    pub fn number(&self, member: usize) -> u64 {
        u64::from_ne_bytes(self.0[member..member + 8].try_into().unwrap())
    }
}

struct Socket(OwnedFd);

impl Socket {
    fn new() -> Self {
        // SAFETY: plain numbers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_GENERIC) };
        assert!(fd >= 0, "netlink: {}", io::Error::last_os_error());
        // SAFETY: nobody else knows it.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Sends a command with one attribute; the attributes of the answer.
    fn ask(&self, family: u16, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
        const HEADERS: usize = 20;
        let length = HEADERS + 4 + value.len();
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).unwrap().to_ne_bytes());
        message.extend(family.to_ne_bytes());
        message.extend((NLM_F_REQUEST).to_ne_bytes());
        message.extend([0; 8]);
        message.extend([command, 1, 0, 0]);
        message.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(value);
        let mut answer = vec![0; 4096];
        // SAFETY: both buffers live and are as long as is said.
        let length = unsafe {
            assert!(libc::send(self.0.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) > 0);
            libc::recv(self.0.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        answer.truncate(usize::try_from(length).unwrap());
        let kind = u16::from_ne_bytes([answer[4], answer[5]]);
        assert_eq!(kind, family, "netlink: an error, or none of ours: {answer:?}");
        answer.split_off(HEADERS)
    }
}

/// The value of an attribute among others.
fn attribute(mut attributes: &[u8], kind: u16) -> &[u8] {
    while let [low, high, kind_low, kind_high, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        if u16::from_ne_bytes([kind_low, kind_high]) == kind {
            return &attributes[4..length];
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    panic!("no attribute {kind}");
}
