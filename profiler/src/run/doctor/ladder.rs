//! The ladder of each probe: its forms, the best first, what they need, and how far this host comes.

use profiler_common::offset::PATHS;

use crate::batch::ProbeStatus;
use crate::kernel::doctor::Diagnosis;
use crate::kernel::probe::{At, PROBES, Probe};

/// A probe, and what became of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ladder<'a> {
    pub probe: &'static Probe,
    pub status: &'a ProbeStatus,
}

/// How far a probe comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It works in its best form.
    Best,
    /// It works in its best form and tells less there.
    Partial,
    /// It works in another form.
    Fallback,
    /// It does not work.
    Missing,
}

/// What can be observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All that we know how to.
    Everything,
    /// Some of it.
    Part,
    /// Nothing.
    Nothing,
}

/// All probes in the order of the table.
pub(super) fn ladders(diagnosis: &Diagnosis) -> Vec<Ladder<'_>> {
    let status = |probe: &Probe| diagnosis.machine.probes.iter().find(|status| status.name == probe.name);
    PROBES.iter().filter_map(|probe| Some(Ladder { probe, status: status(probe)? })).collect()
}

pub(super) fn verdict(diagnosis: &Diagnosis) -> Verdict {
    let ladders = ladders(diagnosis);
    let best = ladders.iter().all(|ladder| ladder.state() == State::Best);
    if ladders.iter().all(|ladder| ladder.state() == State::Missing) {
        Verdict::Nothing
    } else if best && diagnosis.rights.privileges.iter().all(|privilege| privilege.held) {
        Verdict::Everything
    } else {
        Verdict::Part
    }
}

impl Ladder<'_> {
    /// Its forms, the best first.
    pub(super) fn forms(&self) -> &'static [&'static str] {
        match self.probe.at {
            At::Iterator(_) => &["iter"],
            At::Run => &["run"],
            At::Typed(_) => &["tp_btf"],
            At::Tracepoint(_) | At::Sampled(_) => &["tp_btf", "raw_tp"],
        }
    }

    pub(super) fn state(&self) -> State {
        match &self.status.form {
            None => State::Missing,
            Some(form) if form != self.forms()[0] => State::Fallback,
            Some(_) if !self.status.reason.is_empty() => State::Partial,
            Some(_) => State::Best,
        }
    }

    /// Members of kernel structs whose place it has to know; `a|b` where one of two is enough.
    pub(super) fn offsets(&self) -> Vec<&'static str> {
        let named = |need: &'static str| {
            let begin = move |name: &&str| name.starts_with(need);
            let members = PATHS.iter().map(|(name, ..)| *name).filter(begin);
            let either = need.contains('|').then_some(need);
            members.chain(either)
        };
        let mut offsets: Vec<_> = self.probe.needs().flat_map(named).collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    /// What it attaches to.
    pub(super) fn attaches_to(&self) -> String {
        match self.probe.at {
            At::Iterator(over) => format!("iterator {over}"),
            At::Run => "nothing".to_owned(),
            At::Tracepoint(_) | At::Typed(_) | At::Sampled(_) => {
                format!("tracepoint {}", self.probe.tracepoints().collect::<Vec<_>>().join(" or "))
            }
        }
    }
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Partial => "partial",
            Self::Fallback => "fallback",
            Self::Missing => "missing",
        }
    }
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Part => "part",
            Self::Nothing => "nothing",
        }
    }
}
