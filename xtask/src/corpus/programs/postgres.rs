//! `PostgreSQL` on a slow disk: eight clients that commit all the time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Scenario;
use super::rig::{Rig, STEP_MAX, call, run};
use super::role::{Expected, NOT_LISTED, Role};
use super::shot::Shot;
use crate::setup::tools;

/// A commit is two writes and a flush: 30 ms.
const WRITES_PER_SECOND: u32 = 100;
const DISK_MIB: u64 = 600;
const VERSIONS: &str = "/usr/lib/postgresql";
const USER: &str = "postgres";

pub const SCENARIO: Scenario = Scenario {
    name: "postgres",
    what: "pgbench -N with 8 clients, on a disk that takes 100 writes per second",
    start,
    roles: &[
        // One of them writes the log, the others wait for it: who waits for whom is theirs to know.
        Role {
            label: "backends",
            name: "postgres",
            line: Some("[local]"),
            expected: &[
                Expected { states: &["disk write or flush", "journal commit", "futex"], share_min: 0.8 },
                Expected { states: &["disk write or flush", "journal commit"], share_min: 0.05 },
                Expected { states: &["futex"], share_min: 0.3 },
            ],
        },
        Role {
            label: "pgbench",
            name: "pgbench",
            line: Some(""),
            expected: &[Expected { states: &["poll, select, epoll", "futex", NOT_LISTED], share_min: 0.9 }],
        },
    ],
    also: None,
    shots: &[
        Shot { section: "screen: postgres overview", keys: &[] },
        Shot { section: "screen: postgres states", keys: &["2", "t", "t", "/", "postgres", "Enter"] },
        Shot { section: "screen: postgres waits", keys: &["Escape", "t", "/", "postgres", "Enter"] },
        Shot { section: "screen: postgres disks", keys: &["Escape", "3"] },
        Shot { section: "screen: postgres files", keys: &["4", "/", "postgres", "Enter"] },
    ],
};

fn start(rig: &mut Rig) -> Result<()> {
    let programs = programs()?;
    let (mount, below) = rig.disk(DISK_MIB)?;
    let text = |name: &str| mount.join(name).to_str().map(str::to_owned).context("the scratch folder is not text");
    let server = Server { programs, data: text("data")?, socket: text("socket")? };
    for folder in [&server.data, &server.socket] {
        fs::create_dir(folder).with_context(|| format!("failed to create `{folder}`"))?;
        call(&["chown", USER, folder])?;
    }
    run(&mut server.command("initdb", &["-D", &server.data, "-A", "trust", "--no-sync"]), STEP_MAX)?;
    let options = ["-D", &server.data, "-k", &server.socket, "-c", "listen_addresses="];
    rig.start("postgres", &mut server.command("postgres", &options))?;
    let is_ready = || server.client("pg_isready", &[]).output().is_ok_and(|output| output.status.success());
    rig.until("the start of PostgreSQL", is_ready)?;
    run(&mut server.client("pgbench", &["-q", "-i", "-s", "10", "postgres"]), STEP_MAX)?;
    call(&["sync", "-f", &server.data])?;
    rig.slow_down(&below, WRITES_PER_SECOND)?;
    rig.start("pgbench", &mut server.client("pgbench", &["-N", "-c", "8", "-j", "2", "-T", "60", "postgres"]))
}

struct Server {
    programs: PathBuf,
    data: String,
    socket: String,
}

impl Server {
    /// It refuses to run as root. That it is to end with us, it would forget on its way to another user.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--pdeathsig", "TERM"]);
        command.arg(self.programs.join(program)).args(arguments).current_dir("/");
        command
    }

    fn client(&self, program: &str, arguments: &[&str]) -> Command {
        self.command(program, &[&["-h", &self.socket, "-U", USER], arguments].concat())
    }
}

/// Where the newest version's programs are, which Debian keeps off the path.
fn programs() -> Result<PathBuf> {
    let newest = || {
        let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
        versions.filter(|folder| folder.join("postgres").is_file()).max_by_key(|folder| version(folder))
    };
    if newest().is_none() {
        tools::install(&["postgresql"])?;
    }
    let folder = newest().with_context(|| format!("there is no PostgreSQL below {VERSIONS}"))?;
    ensure!(folder.join("pgbench").is_file(), "there is no pgbench in `{}`", folder.display());
    Ok(folder)
}

fn version(folder: &Path) -> Option<u32> {
    folder.parent()?.file_name()?.to_str()?.parse().ok()
}
