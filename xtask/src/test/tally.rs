//! Counts tests from what they print, while it passes by.

use std::fmt::{self, Display};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::child;

/// The sum of all test runs so far.
#[derive(Default)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    /// What those that failed said.
    pub panics: Panics,
}

/// More of a line is only in the full output.
const LINE_MAX: usize = 400;

/// What failing tests said when they panicked, line by line.
#[derive(Debug, Default)]
pub struct Panics {
    pub said: Vec<String>,
    is_open: bool,
}

impl Panics {
    /// Takes a line of what a harness prints, if it belongs to a panic: its place, and its message up to the backtrace or the
    /// harness's note.
    pub fn add(&mut self, line: &str) {
        let begins = line.starts_with("thread '") && line.contains("panicked at");
        let ends = line.is_empty() || line.starts_with("note: ") || line == "stack backtrace:";
        self.is_open = begins || (self.is_open && !ends);
        if self.is_open {
            self.said.push(line.chars().take(LINE_MAX).collect());
        }
    }
}

impl Tally {
    /// Runs tests to the end, shows their output as it comes, and adds up their results.
    pub fn count(&mut self, command: &mut Command) -> Result<()> {
        self.count_and(command, |line| println!("{line}"))
    }

    /// The same, but each line of output goes to somebody who wants it.
    pub fn count_and(&mut self, command: &mut Command, mut take: impl FnMut(&str)) -> Result<()> {
        let started = command.stdout(Stdio::piped()).spawn();
        let mut running = started.with_context(|| format!("failed to start `{}`", child::shown(command)))?;
        let output = running.stdout.take().context("a child's output is missing")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = line.with_context(|| format!("failed to read from `{}`", child::shown(command)))?;
            // Tests may print any bytes.
            let line = String::from_utf8_lossy(&line);
            take(&line);
            self.add(&line);
        }
        let status = running.wait().with_context(|| format!("failed to wait for `{}`", child::shown(command)))?;
        if !status.success() {
            bail!("`{}` failed: {status}", child::shown(command));
        }
        Ok(())
    }

    /// Adds a harness's last line; any other line counts nothing, but may be of a panic.
    fn add(&mut self, line: &str) {
        self.panics.add(line);
        if !line.starts_with("test result:") {
            return;
        }
        let number_before = |word: &str| {
            let (before, _) = line.split_once(word)?;
            before.rsplit(' ').next()?.parse::<u64>().ok()
        };
        self.passed += number_before(" passed").unwrap_or(0);
        self.failed += number_before(" failed").unwrap_or(0);
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_result_lines_count() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        tally.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        tally.add("test passed 7 passed; 8 failed");
        assert_eq!(tally.to_string(), "15 passed, 2 failed");
    }

    #[test]
    fn a_panic_ends_with_its_message() {
        let mut panics = Panics::default();
        let lines = "---- a stdout ----\nfigure x: 1\nthread 'a' (7) panicked at a.rs:1:2:\nleft: 1\nright: 2\nstack backtrace:\n   0: f\nnote: run\n\nfailures:";
        lines.lines().for_each(|line| panics.add(line));
        assert_eq!(panics.said, ["thread 'a' (7) panicked at a.rs:1:2:", "left: 1", "right: 2"]);
    }
}
