//! Names that a capture has told so far: it tells each once, and a jump lands behind that place.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::{Batch, Fact, FileKey, ProcessKey};

/// All facts up to some interval.
#[derive(Debug, Default)]
pub(super) struct Names {
    told: usize,
    facts: Vec<(usize, Fact)>,
}

/// What a fact is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Disk(u32),
    NetNamespace(u32),
    Path(FileKey),
    Process(ProcessKey),
}

impl Names {
    /// Intervals whose facts are known.
    pub fn told(&self) -> usize {
        self.told
    }

    /// Keeps the facts of an interval, if it is the first that is not known.
    pub fn learn(&mut self, index: usize, facts: &[Fact]) {
        if index == self.told {
            self.told += 1;
            self.facts.extend(facts.iter().map(|fact| (index, fact.clone())));
        }
    }

    /// Tells the first of some batches, which begin with the interval `first`, what was known by then. Of processes,
    /// only those that one of them mentions: whoever is gone would come back to life. Of files as well: they are many.
    pub fn put_before(&self, first: usize, batches: &mut [Batch]) {
        let (alive, used) = (mentioned(batches), used(batches));
        let Some(batch) = batches.first_mut() else { return };
        let before = self.facts.iter().take_while(|(index, _)| *index < first);
        // A later fact replaces an earlier one.
        let latest: BTreeMap<About, &Fact> = before.map(|(_, fact)| (about(fact), fact)).collect();
        let wanted = latest.into_iter().filter(|(about, _)| match about {
            About::Process(key) => alive.contains(key),
            About::Path(file) => used.contains(file),
            About::Disk(_) | About::NetNamespace(_) => true,
        });
        let mut facts: Vec<Fact> = wanted.map(|(_, fact)| fact.clone()).collect();
        facts.append(&mut batch.facts);
        batch.facts = facts;
    }
}

fn about(fact: &Fact) -> About {
    match fact {
        Fact::Disk { device, .. } => About::Disk(*device),
        Fact::NetNamespace { netns, .. } => About::NetNamespace(*netns),
        Fact::Path { file, .. } => About::Path(*file),
        Fact::Process(fact) => About::Process(fact.process),
    }
}

fn used(batches: &[Batch]) -> BTreeSet<FileKey> {
    batches.iter().flat_map(|batch| &batch.paths).map(|row| row.file).collect()
}

fn mentioned(batches: &[Batch]) -> BTreeSet<ProcessKey> {
    let of = |batch: &Batch| {
        let tasks = batch.tasks.iter().map(|row| row.process);
        let calls = batch.calls.iter().map(|row| row.process);
        let owners = batch.sockets.iter().filter_map(|row| row.owner);
        tasks.chain(calls).chain(owners).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}
