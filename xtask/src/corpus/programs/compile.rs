//! A compile job: more compilers than CPUs.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::Scenario;
use super::rig::Rig;
use super::role::{Expected, NOT_LISTED, Role};
use super::shot::Shot;
use crate::setup::tools::{self, Tool};

const TOOLS: &[Tool] = &[Tool { program: "g++", package: "g++" }, Tool { program: "make", package: "make" }];
/// More than are compiled in a minute.
const UNITS: usize = 400;
/// What takes the compiler a second or two.
const SOURCE: &str = "#include <map>\n#include <regex>\n#include <string>\n\
    int unit(const std::string &text) {\n\
    std::map<std::string, int> seen;\n\
    return seen[text] + std::regex_match(text, std::regex(\"(a|b)*\"));\n}\n";

pub const SCENARIO: Scenario = Scenario {
    name: "compile",
    what: "make -j4 of C++ sources",
    start,
    roles: &[
        // How much they get of the CPUs is up to who else is there.
        Role {
            label: "compilers",
            name: "cc1plus",
            line: None,
            expected: &[
                Expected { states: &["CPU, user"], share_min: 0.05 },
                Expected {
                    states: &["CPU, user", "CPU, kernel", "run queue after preemption", "run queue after wake-up"],
                    share_min: 0.9,
                },
            ],
        },
        Role {
            label: "drivers",
            name: "g++",
            line: None,
            expected: &[Expected { states: &["child process", NOT_LISTED], share_min: 0.9 }],
        },
        Role {
            label: "make",
            name: "make",
            line: Some(""),
            expected: &[Expected { states: &["child process", "poll, select, epoll", NOT_LISTED], share_min: 0.9 }],
        },
    ],
    also: None,
    shots: &[
        Shot { section: "screen: compile overview", keys: &[] },
        Shot { section: "screen: compile states", keys: &["2", "t", "t", "/", "cc1plus", "Enter"] },
    ],
};

fn start(rig: &mut Rig) -> Result<()> {
    tools::require_all(TOOLS)?;
    let units: Vec<_> = (0..UNITS).map(|unit| format!("unit{unit}.o")).collect();
    let mut makefile = format!("all: {}\n", units.join(" "));
    for unit in units {
        // Writing to a string cannot fail.
        let _ = write!(makefile, "{unit}: unit.cc\n\tg++ -O2 -c -o $@ $<\n");
    }
    let write = |name: &str, text: &str| fs::write(rig.folder.join(name), text);
    write("unit.cc", SOURCE).and_then(|()| write("Makefile", &makefile)).context("failed to write the sources")?;
    let mut make = Command::new("make");
    make.args(["--silent", "-j4"]).current_dir(&rig.folder).env_remove("MAKEFLAGS");
    rig.start("make", &mut make)
}
