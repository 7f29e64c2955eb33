//! Logic does not touch the outside: time, names and files come to it as data.

use super::{Source, Violation, rust};

/// Something of the outside, and the modules that may name it.
struct Outside {
    name: &'static str,
    /// Paths below `profiler/src`; a module stands for all that lies below it, too.
    may_name: &'static [&'static str],
}

/// The only modules that touch the outside (invariant a). `capture` and `source/replay` are handed readers and writers.
const EDGE: &[&str] = &["kernel", "source/live", "run", "main", "view/tui", "view/tui/keys", "view/tui/terminal"];

const OUTSIDE: &[Outside] = &[
    Outside { name: "aya", may_name: &["kernel"] },
    Outside { name: "libc", may_name: EDGE },
    Outside { name: "tokio", may_name: EDGE },
    Outside { name: "std::env", may_name: EDGE },
    Outside { name: "std::fs", may_name: EDGE },
    Outside { name: "std::net", may_name: EDGE },
    Outside { name: "std::process", may_name: EDGE },
    Outside { name: "std::thread", may_name: EDGE },
    Outside { name: "std::time::Instant", may_name: EDGE },
    Outside { name: "std::time::SystemTime", may_name: EDGE },
];

/// Plain values that happen to live in a module of the outside.
const VALUES: &[&str] = &["std::process::ExitCode", "std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr"];

/// Each of these names belongs to the edge.
pub fn names(source: &Source) -> Vec<Violation> {
    let Some(module) = source.module() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for named in rust::paths(&source.code) {
        let outside = OUTSIDE.iter().find(|outside| within(&named.path, outside.name, "::"));
        let Some(outside) = outside.filter(|outside| !may_name(module, outside)) else {
            continue;
        };
        if source.is_test(named.at) || VALUES.iter().any(|value| within(&named.path, value, "::")) {
            continue;
        }
        let message = format!("names {}; the {} must stay pure", outside.name, subject(module, outside));
        found.push(Violation::new(source, source.line(named.at), message));
    }
    found.dedup();
    found
}

/// No lock between the threads of the program: a channel carries batches, one loop owns the model (invariant e).
pub fn locks(source: &Source) -> Vec<Violation> {
    if source.module().is_none() {
        return Vec::new();
    }
    let places = rust::words(&source.code, "Mutex").filter(|at| !source.is_test(*at));
    let message = "names Mutex; send batches through the channel, one loop owns the model";
    places.map(|at| Violation::new(source, source.line(at), message.to_owned())).collect()
}

fn may_name(module: &str, outside: &Outside) -> bool {
    outside.may_name.iter().any(|edge| match *edge {
        // The screen's own file runs its loop; what lies below it draws.
        "view/tui" => module == "view/tui",
        edge => within(module, edge, "/"),
    })
}

/// Whether `path` is `root`, or lies below it.
fn within(path: &str, root: &str, separator: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}

/// What the message calls the module: its layer, or its whole path where a part of the layer may name the thing.
fn subject<'a>(module: &'a str, outside: &Outside) -> &'a str {
    let top = module.split('/').next().unwrap_or(module);
    let partly = outside.may_name.iter().any(|edge| within(edge, top, "/"));
    if partly { module } else { top }
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, shown};
    use super::*;

    fn check(rule: Rule, path: &str, text: &str, wanted: &[&str]) {
        assert_eq!(shown(rule, path, text), wanted, "for {path}: {text}");
    }

    #[test]
    fn logic_names_nothing_of_the_outside() {
        let model = "profiler/src/model/disk.rs";
        let message = "error: profiler/src/model/disk.rs:3: names tokio; the model must stay pure";
        check(names, model, "\n\nuse tokio::sync::mpsc;\n", &[message]);
        let message = "error: profiler/src/model/disk.rs:1: names std::time::Instant; the model must stay pure";
        check(names, model, "use std::time::{Duration, Instant};\n", &[message]);
        let message = "error: profiler/src/model/disk.rs:1: names std::fs; the model must stay pure";
        check(names, model, "fn f() { std::fs::read(p) }\n", &[message]);
        let message = "error: profiler/src/source/replay.rs:1: names std::fs; the source/replay must stay pure";
        check(names, "profiler/src/source/replay.rs", "use std::{fs, io};\n", &[message]);
        let message = "error: profiler/src/run.rs:1: names aya; the run must stay pure";
        check(names, "profiler/src/run.rs", "use aya::Ebpf;\n", &[message]);
    }

    #[test]
    fn the_edge_values_and_tests_may() {
        check(names, "profiler/src/source/live.rs", "use std::{fs, time::Instant};\n", &[]);
        check(names, "profiler/src/kernel/probe.rs", "use aya::Ebpf;\n", &[]);
        check(names, "profiler/src/view/tui/terminal.rs", "use std::env;\n", &[]);
        check(names, "profiler/src/model/tcp.rs", "use std::net::IpAddr;\n// std::fs\n", &[]);
        check(names, "profiler/src/model/tcp.rs", "#[cfg(test)]\nmod tests { use std::fs; }\n", &[]);
        check(names, "profiler/tests/kernel.rs", "use std::fs;\n", &[]);
    }

    #[test]
    fn below_the_screen_only_the_terminal_may() {
        let message = "error: profiler/src/view/tui/app.rs:1: names tokio; the view/tui/app must stay pure";
        check(names, "profiler/src/view/tui/app.rs", "use tokio::time;\n", &[message]);
        check(names, "profiler/src/view/tui.rs", "use tokio::time;\n", &[]);
    }

    #[test]
    fn no_lock() {
        let message = "error: profiler/src/run.rs:1: names Mutex; send batches through the channel, \
                       one loop owns the model";
        check(locks, "profiler/src/run.rs", "use std::sync::Mutex;\n", &[message]);
        check(locks, "profiler/src/run.rs", "// a Mutex\n", &[]);
    }
}
