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

    /// Adds a harness's last line; any other line counts nothing.
    fn add(&mut self, line: &str) {
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
}
