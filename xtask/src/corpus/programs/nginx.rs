//! nginx behind a link that is too slow: a load generator, and a client that reads with plain calls.

use std::fs::{self, File};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Scenario;
use super::rig::{Rig, SERVER, call};
use super::role::{Expected, NOT_LISTED, Report, Role};
use super::shot::Shot;
use crate::setup::tools::{self, Tool};

const TOOLS: &[Tool] = &[Tool { program: "nginx", package: "nginx-light" }, Tool { program: "wrk", package: "wrk" }];
const PORT: u16 = 8080;
const PAGE_BYTES: usize = 1 << 20;
/// More than passes the link in a minute.
const DOWNLOAD_BYTES: u64 = 512 << 20;
/// The workers need a moment until they listen.
const START: Duration = Duration::from_millis(500);

pub const SCENARIO: Scenario = Scenario {
    name: "nginx",
    what: "nginx, pages of 1 MiB for 16 connections of wrk and one download, through 40 Mbit/s",
    start,
    roles: &[
        // Its sockets never block: that it cannot send looks like having nothing to do.
        Role {
            label: "workers",
            name: "nginx",
            line: Some("worker process"),
            expected: &[Expected { states: &["poll, select, epoll", "TCP send buffer", NOT_LISTED], share_min: 0.9 }],
        },
        Role {
            label: "wrk",
            name: "wrk",
            line: Some(""),
            expected: &[Expected { states: &["poll, select, epoll", "sleep asked for", NOT_LISTED], share_min: 0.8 }],
        },
        Role {
            label: "download",
            name: "cat",
            line: Some(""),
            expected: &[Expected { states: &["TCP receive"], share_min: 0.8 }],
        },
    ],
    also: Some(full_link),
    shots: &[
        Shot { section: "screen: nginx states", keys: &["2", "t", "t", "/", "nginx", "Enter"] },
        Shot { section: "screen: nginx tcp", keys: &["Escape", "5", "/", "nginx", "Enter"] },
        Shot { section: "screen: nginx explain", keys: &["e"] },
    ],
};

fn start(rig: &mut Rig) -> Result<()> {
    tools::require_all(TOOLS)?;
    let [server, client] = rig.cable()?;
    let shape = ["tc", "-n", &server, "qdisc", "add", "dev", "cable", "root", "tbf"];
    call(&[&shape[..], &["rate", "40mbit", "burst", "32kb", "latency", "50ms"]].concat())?;
    let folder = rig.path()?.to_owned();
    let write = |name: &str, bytes: &[u8]| fs::write(rig.folder.join(name), bytes);
    let written =
        write("page", &vec![b'x'; PAGE_BYTES]).and_then(|()| write("nginx.conf", configuration(&folder).as_bytes()));
    written.context("failed to write the page")?;
    let download = File::create(rig.folder.join("download")).and_then(|file| file.set_len(DOWNLOAD_BYTES));
    download.context("failed to create the download")?;
    rig.start("nginx", &mut inside(&server, &["nginx", "-p", &folder, "-c", &format!("{folder}/nginx.conf")]))?;
    rig.pause(START)?;
    let script = format!(
        "exec 3<>/dev/tcp/{SERVER}/{PORT}; printf 'GET /download HTTP/1.0\\r\\n\\r\\n' >&3; exec cat <&3 >/dev/null"
    );
    rig.start("download", &mut inside(&client, &["bash", "-c", &script]))?;
    let page = format!("http://{SERVER}:{PORT}/page");
    rig.start("wrk", &mut inside(&client, &["wrk", "-t2", "-c16", "-d60s", "--timeout", "30s", &page]))
}

/// A program in a network namespace.
fn inside(name: &str, words: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name]).args(words);
    command
}

fn configuration(folder: &str) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {folder}/{name}; ")).concat();
    format!(
        "daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; sendfile on; {temporary}\n\
         server {{ listen {SERVER}:{PORT}; root {folder}; }} }}\n"
    )
}

/// What an expert sees in `ss -ti`: data waits on each connection, and queues are most of the round-trip time.
fn full_link(report: &Report) -> Result<String> {
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or(0.0);
    let is_busy = |row: &&Value| row["net.owner"] == "nginx" && number(row, "net.sent_bytes_s") > 0.0;
    let ours: Vec<_> = report.rows("connections").filter(is_busy).collect();
    let queued = ours.iter().filter(|row| number(row, "net.send_queue_bytes") > 0.0).count();
    let sum = |key: &str| ours.iter().map(|row| number(row, key)).sum::<f64>();
    let (rtt, least, count) = (sum("net.srtt_ns"), sum("net.min_rtt_ns"), ours.len().max(1) as f64);
    let told = format!(
        "connections of nginx: {}, {queued} with data to send; {:.1} Mbit/s; mean round-trip time {:.1} ms, least {:.1} ms",
        ours.len(),
        sum("net.sent_bytes_s") * 8e-6,
        rtt / count * 1e-6,
        least / count * 1e-6
    );
    ensure!(ours.len() >= 16 && queued * 10 >= ours.len() * 8 && rtt > 1.5 * least, "not a full link: {told}");
    Ok(told)
}
