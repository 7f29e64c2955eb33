//! A recording that goes on: a line on the terminal, rewritten once per second, and a summary at its end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use crate::batch::Batch;
use crate::field::Value;
use crate::run::file::Output;
use crate::run::{View, Wish, say};

/// Whether there is anybody to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// Somebody looks on.
    Yes,
    /// Nobody does, or the screen belongs to a command.
    No,
}

/// Counts what is recorded.
pub(super) struct Progress {
    output: Output,
    watched: Watched,
    wanted: Option<Duration>,
    counts: Counts,
    /// Columns of the line that is on the terminal.
    width: usize,
}

/// What was recorded so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    observed: Duration,
    batches: u64,
    bytes: u64,
    missed_ticks: u64,
    lost: BTreeMap<String, u64>,
}

impl Progress {
    /// Counts up to `wanted`, or for ever.
    pub fn new(output: Output, watched: Watched, wanted: Option<Duration>) -> Self {
        Self { output, watched, wanted, counts: Counts::default(), width: 0 }
    }

    /// Says what is in the file now.
    pub fn finish(mut self) {
        self.erase();
        self.counts.bytes = self.output.bytes();
        say(&format!("recorded {} into {}", self.counts.line(), self.output.name()));
    }

    /// Nothing was recorded: leaves nothing behind.
    pub fn discard(self) {
        self.output.discard();
    }

    fn rewrite(&mut self, line: &str) {
        let width = line.chars().count();
        let mut stderr = io::stderr();
        // Blanks instead of an escape sequence: they erase the rest of a longer line on any terminal.
        let _ = write!(stderr, "\r{line}{:1$}", "", self.width.saturating_sub(width));
        let _ = stderr.flush();
        self.width = width;
    }

    fn erase(&mut self) {
        if self.width > 0 {
            self.rewrite("");
            let _ = write!(io::stderr(), "\r");
        }
    }
}

impl View for Progress {
    async fn show(&mut self, batch: Batch) -> Wish {
        self.counts.add(&batch);
        match self.wanted {
            Some(wanted) if self.counts.observed >= wanted => Wish::Enough,
            _ => Wish::More,
        }
    }

    fn second(&mut self) {
        self.counts.bytes = self.output.bytes();
        if self.watched == Watched::Yes {
            let line = format!("recording: {}; Ctrl-C ends it", self.counts.line());
            self.rewrite(&line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // An error message begins on a clean line, too.
        self.erase();
    }
}

impl Counts {
    fn add(&mut self, batch: &Batch) {
        self.observed += Duration::from_nanos(batch.until.since(batch.from));
        self.batches += 1;
        self.missed_ticks += batch.quality.missed_ticks;
        for (name, count) in batch.quality.lost.iter().filter(|(_, count)| **count > 0) {
            *self.lost.entry(name.clone()).or_default() += count;
        }
    }

    fn line(&self) -> String {
        let intervals = if self.batches == 1 { "interval" } else { "intervals" };
        let observed_ns = u64::try_from(self.observed.as_nanos()).unwrap_or(u64::MAX);
        let (observed, bytes) = (Value::Nanos(observed_ns), Value::Bytes(self.bytes));
        format!("{observed} in {} {intervals}, {bytes:#}, {}", self.batches, self.losses())
    }

    fn losses(&self) -> String {
        let lost = self.lost.iter().map(|(name, count)| format!("{count} {name}"));
        let missed = (self.missed_ticks > 0).then(|| format!("{} missed_ticks", self.missed_ticks));
        let all: Vec<String> = lost.chain(missed).collect();
        if all.is_empty() { "nothing lost".to_owned() } else { format!("lost {}", all.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{QualityRow, Timestamp};

    #[test]
    fn losses_are_told() {
        let lost = BTreeMap::from([("exit_ring".to_owned(), 3), ("task_storage".to_owned(), 0)]);
        let quality = QualityRow { lost, missed_ticks: 1, ..QualityRow::default() };
        let mut counts = Counts { bytes: 2_500, ..Counts::default() };
        let batch = Batch { until: Timestamp(1_000_000_000), ..Batch::default() };
        counts.add(&batch);
        assert_eq!(counts.line(), "1.0 s in 1 interval, 2.4 KiB, nothing lost");
        counts.add(&Batch { quality, ..batch });
        assert_eq!(counts.line(), "2.0 s in 2 intervals, 2.4 KiB, lost 3 exit_ring, 1 missed_ticks");
    }
}
