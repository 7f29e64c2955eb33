//! From outcomes to tables: what each contender adds to an operation, and how that compares.

use std::collections::BTreeMap;

use serde::Serialize;

use super::contender::{Contender, Id};
use super::load::Load;
use super::rounds::Measured;
use super::summary::Summary;

/// One workload, all contenders.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub id: &'static str,
    pub title: &'static str,
    /// System calls per operation.
    pub calls: f64,
    pub rows: Vec<Row>,
}

impl Comparison {
    /// Time per operation of the plain run; `None` in a comparison of differences.
    pub fn plain(&self) -> Option<Summary> {
        self.rows.iter().find(|row| row.id == Id::Plain)?.ns
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Row {
    #[serde(skip)]
    pub id: Id,
    pub contender: String,
    /// Time per operation: the fastest repetition of each round. Absent where only a difference makes sense.
    pub ns: Option<Summary>,
    /// `None` for what was not measured. In the row of the plain run: how far its rounds lie above the best of them.
    pub added: Option<Added>,
    /// Time per operation over that of the plain run.
    pub times_plain: Option<f64>,
    /// What it adds over what we add.
    pub times_ours: Option<f64>,
    pub cannot_run: Option<String>,
}

/// Nanoseconds that a contender adds to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Added {
    /// Its fastest repetition less the fastest plain one. Nothing disturbed either.
    pub of_minima: f64,
    /// Its fastest repetition less the fastest plain one of the same round.
    pub paired: Summary,
}

/// What is taken from the outcomes.
#[derive(Clone, Copy)]
enum What {
    /// The operation as it is.
    Whole(Load),
    /// Less what the operation's system calls cost, measured by the second workload.
    Net(Load, Load),
}

const COMPARISONS: &[(&str, &str, What)] = &[
    ("read", "system call: 1-byte read of /dev/zero", What::Whole(Load::Read)),
    ("file", "system call: 1-byte read of a file in memory", What::Whole(Load::File)),
    ("ring", "operation of io_uring with its call: nop", What::Whole(Load::Ring)),
    ("exchange", "exchange of a byte over TCP, at both ends, with its four calls", What::Whole(Load::Exchange)),
    ("getppid", "system call: getppid", What::Whole(Load::Getppid)),
    (
        "switch",
        "context switch with 2 system calls: 1 byte through pipes, 2 processes, 1 CPU",
        What::Whole(Load::Switch),
    ),
    (
        "switch-net",
        "context switch, net: less 2 × what was added to a 1-byte read",
        What::Net(Load::Switch, Load::Read),
    ),
    ("yield", "context switch with its sched_yield calls: 2 threads, 1 CPU", What::Whole(Load::Yield)),
    (
        "yield-net",
        "context switch, net: less what was added to its calls as to getppid",
        What::Net(Load::Yield, Load::Getppid),
    ),
    ("miss", "page-cache miss: a page of a file, without readahead", What::Whole(Load::Miss)),
    ("request", "block request: the same page past the page cache", What::Whole(Load::Request)),
    ("contend", "lock contention: lseek of a file that another CPU asks the same", What::Whole(Load::Contend)),
];

/// All comparisons for which there is at least one figure.
pub fn all(contenders: &[Contender], measured: &Measured) -> Vec<Comparison> {
    let comparisons = COMPARISONS.iter().map(|(id, title, what)| compare(id, title, *what, contenders, measured));
    comparisons.filter(|comparison| comparison.rows.iter().any(|row| row.ns.is_some() || row.added.is_some())).collect()
}

fn compare(
    id: &'static str,
    title: &'static str,
    what: What,
    contenders: &[Contender],
    measured: &Measured,
) -> Comparison {
    let (What::Whole(load) | What::Net(load, _)) = what;
    let plain = measured.outcomes(Id::Plain, load);
    let calls = Summary::of(plain.values().map(|outcome| outcome.calls)).map_or(0.0, |calls| calls.median);
    let ours = added(Id::Us, what, calls, measured).map(|added| added.of_minima);
    let is_net = matches!(what, What::Net(..));
    // A difference needs both sides; why one is missing stands in the table of the whole.
    let differs = |id| id != Id::Plain && added(id, What::Whole(load), calls, measured).is_some();
    let shown = contenders.iter().filter(|contender| contender.joins(load) && (!is_net || differs(contender.id)));
    let rows = shown.map(|contender| {
        let whole = |id| Summary::of(best(id, load, measured).into_values());
        let ns = whole(contender.id).filter(|_| !is_net);
        // A tracer of switches alone adds nothing to the calls.
        let what = if is_net && !contender.hooks_calls() { What::Whole(load) } else { what };
        let added = added(contender.id, what, calls, measured);
        Row {
            id: contender.id,
            contender: contender.label.clone(),
            ns,
            added,
            times_plain: ns.zip(whole(Id::Plain)).map(|(ns, plain)| ns.min / plain.min),
            times_ours: added
                .filter(|_| contender.id != Id::Plain)
                .zip(ours)
                .and_then(|(added, ours)| ratio(added.of_minima, ours)),
            cannot_run: measured.failures.get(&contender.id).cloned(),
        }
    });
    Comparison { id, title, calls, rows: rows.collect() }
}

/// A ratio to almost nothing says nothing.
fn ratio(value: f64, base: f64) -> Option<f64> {
    (base >= 1.0).then_some(value / base)
}

fn added(id: Id, what: What, calls: f64, measured: &Measured) -> Option<Added> {
    match what {
        What::Whole(load) => {
            let difference = difference(id, load, measured)?;
            Some(Added { of_minima: difference.of_minima, paired: Summary::of(difference.paired.into_values())? })
        }
        What::Net(load, call) => {
            let (whole, call) = (difference(id, load, measured)?, difference(id, call, measured)?);
            let net = |(round, whole): (&u32, &f64)| Some(whole - calls * call.paired.get(round)?);
            let paired = Summary::of(whole.paired.iter().filter_map(net))?;
            Some(Added { of_minima: whole.of_minima - calls * call.of_minima, paired })
        }
    }
}

struct Difference {
    of_minima: f64,
    paired: BTreeMap<u32, f64>,
}

fn difference(id: Id, load: Load, measured: &Measured) -> Option<Difference> {
    let (plain, with) = (best(Id::Plain, load, measured), best(id, load, measured));
    let min = |values: &BTreeMap<u32, f64>| values.values().copied().min_by(f64::total_cmp);
    let (plain_min, with_min) = (min(&plain)?, min(&with)?);
    let pair = |(round, with): (&u32, &f64)| {
        // The plain run has no partner but its own best: what comes out is the noise of the machine.
        let base = if id == Id::Plain { plain_min } else { *plain.get(round)? };
        Some((*round, with - base))
    };
    Some(Difference { of_minima: with_min - plain_min, paired: with.iter().filter_map(pair).collect() })
}

/// The fastest repetition of each round.
fn best(id: Id, load: Load, measured: &Measured) -> BTreeMap<u32, f64> {
    measured.outcomes(id, load).into_iter().map(|(round, outcome)| (round, outcome.best_ns)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::contender::How;
    use super::super::load::Outcome;
    use super::*;

    fn measured() -> Measured {
        let mut measured = Measured::default();
        let mut put = |id, load, round, ns: f64, calls| {
            measured.put(id, load, round, Outcome { best_ns: ns, median_ns: ns + 1.0, calls });
        };
        for round in 0..2 {
            let noise = f64::from(round) * 10.0;
            put(Id::Plain, Load::Read, round, 100.0 + noise, 1.0);
            put(Id::Us, Load::Read, round, 150.0 + noise, 1.0);
            put(Id::Syscount, Load::Read, round, 300.0 + noise, 1.0);
            put(Id::Plain, Load::Switch, round, 1000.0 + noise, 2.0);
            put(Id::Us, Load::Switch, round, 1200.0 + noise, 2.0);
            put(Id::Runqlat, Load::Switch, round, 1300.0 + noise, 2.0);
        }
        measured
    }

    fn tables() -> Vec<Comparison> {
        let ids = [Id::Plain, Id::Floor, Id::Us, Id::Syscount, Id::Runqlat];
        let contenders = ids.map(|id| Contender { id, label: format!("{id:?}"), how: How::Alone });
        let mut measured = measured();
        measured.failures.insert(Id::Floor, "no".to_owned());
        all(&contenders, &measured)
    }

    fn row<'a>(tables: &'a [Comparison], table: &str, id: Id) -> &'a Row {
        let table = tables.iter().find(|comparison| comparison.id == table).unwrap();
        table.rows.iter().find(|row| row.id == id).unwrap()
    }

    #[test]
    fn what_is_added_is_paired_by_round() {
        let tables = tables();
        let added = row(&tables, "read", Id::Us).added.unwrap();
        assert_eq!((added.of_minima, added.paired.min, added.paired.quartile_high), (50.0, 50.0, 50.0));
        assert_eq!(row(&tables, "read", Id::Us).times_plain, Some(1.5));
        assert_eq!(row(&tables, "read", Id::Syscount).times_ours, Some(4.0));
    }

    #[test]
    fn the_plain_run_shows_the_noise() {
        let plain = row(&tables(), "read", Id::Plain).added.map(|added| (added.of_minima, added.paired.median));
        assert_eq!(plain, Some((0.0, 5.0)));
    }

    #[test]
    fn the_net_of_a_switch_leaves_its_calls_out() {
        let tables = tables();
        let net = |id| row(&tables, "switch-net", id).added.map(|added| (added.of_minima, added.paired.median));
        assert_eq!(net(Id::Us), Some((100.0, 100.0)));
        assert_eq!(net(Id::Runqlat), Some((300.0, 300.0)));
    }

    #[test]
    fn what_cannot_run_says_why_and_has_no_figures() {
        let tables = tables();
        let floor = row(&tables, "read", Id::Floor);
        assert_eq!((floor.cannot_run.as_deref(), floor.added, floor.ns), (Some("no"), None, None));
        assert!(!tables.iter().any(|comparison| comparison.id == "yield"));
    }
}
