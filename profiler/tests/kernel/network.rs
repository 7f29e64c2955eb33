//! Two network namespaces with a cable between them, and what `ss` and `nstat` say there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use profiler::batch::Endpoint;

use crate::kernel::observe::{need_root, tool};

/// Address of the server's end.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Address of the client's end.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// A hardware address that nobody has: what is sent to it is lost.
const NOBODY: &str = "02:00:00:00:00:99";

/// A network namespace with one end of a cable, deleted when dropped.
pub struct Namespace {
    pub name: String,
    address: Ipv4Addr,
}

/// A server's and a client's namespace, joined.
pub struct Cable {
    pub server: Namespace,
    pub client: Namespace,
}

/// A namespace of its own name, and what ends it.
fn namespace(end: &str, address: Ipv4Addr) -> Namespace {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    need_root();
    let name = format!("kt{}-{}{end}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    tool("ip", &["netns", "add", &name]);
    Namespace { name, address }
}

impl Cable {
    pub fn new() -> Self {
        let [server, client] = [namespace("s", SERVER), namespace("c", CLIENT)];
        // Born inside: its ends have the same name in both places, and die with them.
        let peer = ["peer", "name", "cable", "netns", &client.name];
        server.ip(&[&["link", "add", "cable", "type", "veth"], &peer[..]].concat());
        for end in [&server, &client] {
            end.ip(&["address", "add", &format!("{}/24", end.address), "dev", "cable"]);
            end.ip(&["link", "set", "lo", "up"]);
            end.ip(&["link", "set", "cable", "up"]);
        }
        let cable = Self { server, client };
        cable.mend();
        cable
    }

    /// The same over a router, to which both have a cable. What has left an end no longer counts as its own. The router passes
    /// on to the server no more than the token bucket lets it.
    pub fn routed(bucket: &[&str]) -> (Self, Namespace) {
        let cable = Self { server: namespace("s", SERVER), client: namespace("c", CLIENT) };
        let router = namespace("r", Ipv4Addr::UNSPECIFIED);
        for (end, name) in [(&cable.server, "server"), (&cable.client, "client")] {
            let peer = ["peer", "name", name, "netns", &router.name];
            end.ip(&[&["link", "add", "cable", "type", "veth"], &peer[..]].concat());
            end.ip(&["address", "add", &format!("{}/24", end.address), "dev", "cable"]);
            end.ip(&["link", "set", "cable", "up"]);
            router.ip(&["link", "set", name, "up"]);
            router.ip(&["route", "add", &end.address.to_string(), "dev", name]);
            router.neighbor(name, end.address, &end.hardware("cable"));
        }
        cable.server.neighbor("cable", CLIENT, &router.hardware("server"));
        cable.client.neighbor("cable", SERVER, &router.hardware("client"));
        router.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        router.run(&[&["tc", "qdisc", "replace", "dev", "server", "root", "tbf"], bucket].concat());
        (cable, router)
    }

    /// Everything that the end at `from` sends is lost.
    pub fn cut(from: &Namespace) {
        let to = if from.address == SERVER { CLIENT } else { SERVER };
        from.neighbor("cable", to, NOBODY);
    }

    /// Everything arrives. Ends know each other without asking, so that no packet waits for an answer.
    pub fn mend(&self) {
        self.server.neighbor("cable", CLIENT, &self.client.hardware("cable"));
        self.client.neighbor("cable", SERVER, &self.server.hardware("cable"));
    }
}

impl Namespace {
    /// Runs `ip` in it.
    pub fn ip(&self, arguments: &[&str]) -> String {
        tool("ip", &[&["-n", &self.name], arguments].concat())
    }

    /// Runs a program in it.
    pub fn run(&self, arguments: &[&str]) -> String {
        tool("ip", &[&["netns", "exec", &self.name], arguments].concat())
    }

    fn neighbor(&self, device: &str, address: Ipv4Addr, hardware: &str) {
        let what = ["neighbor", "replace", &address.to_string(), "lladdr", hardware, "dev", device, "nud", "permanent"];
        self.ip(&what);
    }

    fn hardware(&self, device: &str) -> String {
        let text = self.ip(&["-o", "link", "show", device]);
        text.split_once("link/ether ").and_then(|(_, rest)| rest.split(' ').next()).unwrap().to_owned()
    }

    /// Moves the calling thread there.
    pub fn enter(&self) {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        // SAFETY: the descriptor is open; only the calling thread moves.
        let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "setns: {}", io::Error::last_os_error());
    }

    /// Its inode number.
    pub fn inode(&self) -> u32 {
        u32::try_from(fs::metadata(format!("/run/netns/{}", self.name)).unwrap().ino()).unwrap()
    }

    /// Counters of the kernel in it, since it exists: all of `nstat`.
    pub fn counters(&self) -> HashMap<String, u64> {
        counters(&self.run(&["nstat", "-asz"]))
    }

    /// Fast recoveries of its connections, since it exists.
    pub fn recoveries(&self) -> u64 {
        let counters = self.counters();
        counters["TcpExtTCPSackRecovery"] + counters["TcpExtTCPRenoRecovery"]
    }

    /// The sockets of this namespace, without listeners, as `ss -tinm` tells them.
    pub fn connections(&self) -> Vec<Told> {
        self.run(&["ss", "-tinmHO"]).lines().map(Told::new).collect()
    }

    /// The only connection to a port of the other end.
    pub fn connection_to(&self, port: u16) -> Told {
        let mut found = self.connections();
        found.retain(|told| told.peer.port == port);
        assert_eq!(found.len(), 1, "connections to {port}: {found:?}");
        found.remove(0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "delete", &self.name]).status());
    }
}

/// Counters of the namespace that we are in.
pub fn own_counters() -> HashMap<String, u64> {
    counters(&tool("nstat", &["-asz"]))
}

fn counters(text: &str) -> HashMap<String, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    pairs.collect()
}

/// A line of `ss -tinmHO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub state: String,
    pub receive_queue: u64,
    pub send_queue: u64,
    pub local: Endpoint,
    pub peer: Endpoint,
    /// `name:value`
    values: HashMap<String, String>,
}

impl Told {
    fn new(line: &str) -> Self {
        let words: Vec<_> = line.split_whitespace().collect();
        let [state, receive, send, local, peer, rest @ ..] = &words[..] else { panic!("ss says: {line}") };
        // How long ago something was changes while nothing happens.
        let values = rest.iter().filter_map(|word| word.split_once(':')).filter(|(name, _)| !name.starts_with("last"));
        Self {
            state: (*state).to_owned(),
            receive_queue: receive.parse().unwrap(),
            send_queue: send.parse().unwrap(),
            local: local.parse().unwrap(),
            peer: peer.parse().unwrap(),
            values: values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    /// A number; `ss` leaves out what is zero.
    pub fn number(&self, name: &str) -> u64 {
        self.values.get(name).map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{name}:{value}")))
    }

    /// Whole milliseconds, as in `busy:12ms` and `rwnd_limited:8ms(66.7%)`; `ss` leaves out what is zero.
    pub fn milliseconds(&self, name: &str) -> u64 {
        self.values.get(name).map_or(0, |value| value.split_once("ms").unwrap().0.parse().unwrap())
    }

    /// A number of `skmem:(r0,rb131072,t0,tb87040,…)`, by its letters.
    pub fn memory(&self, name: &str) -> u64 {
        let parts = self.values["skmem"].trim_matches(['(', ')']).split(',');
        parts.filter_map(|part| part.strip_prefix(name)).find_map(|number| number.parse().ok()).unwrap()
    }

    /// The parts of `a/b`.
    pub fn pair(&self, name: &str) -> (String, String) {
        let value = self.values.get(name).map_or("0/0", String::as_str);
        let (left, right) = value.split_once('/').unwrap();
        (left.to_owned(), right.to_owned())
    }

    /// Milliseconds with up to three decimals, as microseconds.
    pub fn microseconds(milliseconds: &str) -> u32 {
        let (whole, part) = milliseconds.split_once('.').unwrap_or((milliseconds, ""));
        format!("{whole}{part:0<3}").parse().unwrap()
    }

    /// A time in milliseconds, as microseconds.
    pub fn time(&self, name: &str) -> u32 {
        Self::microseconds(&self.values[name])
    }
}
