//! A diagnosis for people: what decides, the probes by how far they come, and what to do.

use std::iter;

use super::ladder::{Ladder, State, Verdict, ladders, verdict};
use super::page::{Page, Paint, Tone};
use super::step::{is_short_of_memory, steps};
use crate::field::Value;
use crate::kernel::doctor::{Diagnosis, KernelTypes, Lockdown, OWN_TYPES, Privilege, Records};
use crate::kernel::probe::At;

/// What is behind the words of the table.
const LEGEND: &str = "The best form stands first, the one in use in brackets. All need CAP_BPF and CAP_PERFMON. Own BTF \
                      is that of the running kernel; offsets are the places of members in its structs.";

/// The diagnosis, in lines of at most 100 columns.
pub(super) fn text(diagnosis: &Diagnosis, paint: Paint) -> String {
    let mut page = Page::new(paint);
    head(&mut page, diagnosis);
    let ladders = ladders(diagnosis);
    page.gap();
    page.paragraph((&row("PROBE", "FORMS"), Tone::Title), ("NEEDS", Tone::Title));
    for state in [State::Best, State::Fallback, State::Partial, State::Missing] {
        for group in groups(&ladders, state) {
            section(&mut page, state, &group);
        }
    }
    page.paragraph(("", Tone::Plain), (LEGEND, Tone::Muted));
    page.gap();
    summary(&mut page, diagnosis, &ladders);
    for step in steps(diagnosis) {
        page.paragraph(("  - ", Tone::Plain), (&step.what, Tone::Plain));
        if let Some(command) = &step.command {
            page.command(6, command);
        }
    }
    page.finish()
}

fn head(page: &mut Page, diagnosis: &Diagnosis) {
    let machine = &diagnosis.machine;
    let memory = Value::Bytes(machine.memory_bytes);
    let host = format!(
        "profiler {} on {}: Linux {}, {} CPUs, {memory:#} of memory",
        machine.version, machine.host, machine.kernel, machine.cpus
    );
    page.paragraph(("", Tone::Plain), (&host, Tone::Title));
    page.gap();
    let (types, tone) = types(&diagnosis.types);
    fact(page, "Kernel types", &types, tone);
    let (lockdown, tone) = lockdown(&diagnosis.lockdown);
    fact(page, "Lockdown", &lockdown, tone);
    privileges(page, diagnosis);
    let limit = diagnosis.locked_memory_bytes.filter(|_| is_short_of_memory(diagnosis));
    if let Some(bytes) = limit {
        let limit = format!("at most {:#}, which kernel maps count as before Linux 5.11", Value::Bytes(bytes));
        fact(page, "Locked memory", &limit, Tone::Bad);
    }
    if let Some(records) = diagnosis.thread_records {
        let place = match records {
            Records::TaskStorage => "in task storage, as many as there are threads",
            Records::HashMap => "in a hash map",
        };
        fact(page, "Thread records", place, Tone::Plain);
        let bounds = diagnosis.bounds.iter().map(|(what, most)| format!("{most} {}", what.replace('_', " ")));
        let bounds = bounds.collect::<Vec<_>>().join(", ");
        fact(page, "Room", &format!("{bounds}; the rest is counted as lost"), Tone::Plain);
    }
    for note in &diagnosis.notes {
        fact(page, "Note", note, Tone::Lesser);
    }
}

fn fact(page: &mut Page, label: &str, text: &str, tone: Tone) {
    page.paragraph((&format!("{label:16}"), Tone::Title), (text, tone));
}

fn types(types: &KernelTypes) -> (String, Tone) {
    match types {
        KernelTypes::Own => (format!("BTF of the running kernel ({OWN_TYPES})"), Tone::Good),
        KernelTypes::File { path, own: true } => (format!("BTF in `{}`", path.display()), Tone::Good),
        KernelTypes::File { path, own: false } => {
            (format!("BTF in `{}`; the running kernel carries none", path.display()), Tone::Lesser)
        }
        KernelTypes::Absent => (format!("none: this kernel carries no BTF ({OWN_TYPES})"), Tone::Bad),
        KernelTypes::Refused => ("none: refused by `--btf none`".to_owned(), Tone::Bad),
    }
}

fn lockdown(lockdown: &Lockdown) -> (String, Tone) {
    let (text, tone) = match lockdown {
        Lockdown::Mode(mode) if mode == "none" => (mode.as_str(), Tone::Good),
        Lockdown::Mode(mode) if mode == "integrity" => ("integrity, which takes nothing away", Tone::Good),
        Lockdown::Mode(mode) => {
            return (format!("{mode}: no program may read kernel memory by address"), Tone::Lesser);
        }
        Lockdown::Unsupported => ("none: this kernel does not have it", Tone::Good),
        Lockdown::Unknown => ("unknown: securityfs is not mounted", Tone::Lesser),
    };
    (text.to_owned(), tone)
}

fn privileges(page: &mut Page, diagnosis: &Diagnosis) {
    let rights = &diagnosis.rights;
    let (held, missing): (Vec<&Privilege>, Vec<&Privilege>) = rights.privileges.iter().partition(|it| it.held);
    let names: Vec<_> = held.iter().map(|privilege| privilege.name).collect();
    let names = if names.is_empty() { "none of those that matter".to_owned() } else { names.join(", ") };
    if rights.confined {
        fact(page, "Privileges", &format!("{names}, in a user namespace: they do not reach the kernel"), Tone::Bad);
    } else {
        fact(page, "Privileges", &names, if held.is_empty() { Tone::Bad } else { Tone::Good });
    }
    let tone = if rights.refusal.is_some() { Tone::Bad } else { Tone::Lesser };
    for privilege in missing {
        fact(page, "", &format!("{} missing: {}", privilege.name, privilege.without.join("; ")), tone);
    }
}

/// Probes that come equally far: those that share a reason together, then all that have one of their own.
fn groups<'a>(ladders: &'a [Ladder<'a>], state: State) -> Vec<Vec<&'a Ladder<'a>>> {
    let mut groups: Vec<Vec<&Ladder>> = Vec::new();
    for ladder in ladders.iter().filter(|ladder| ladder.state() == state) {
        match groups.iter_mut().find(|group| group[0].status.reason == ladder.status.reason) {
            Some(group) => group.push(ladder),
            None => groups.push(vec![ladder]),
        }
    }
    let (mut shared, own): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.len() > 1);
    shared.push(own.concat());
    shared
}

fn section(page: &mut Page, state: State, group: &[&Ladder]) {
    let Some(first) = group.first() else { return };
    let shared = group.iter().all(|ladder| ladder.status.reason == first.status.reason);
    let mut title = title(state, group.len());
    if shared && !first.status.reason.is_empty() {
        title = format!("{title}: {}", first.status.reason);
    }
    page.paragraph(("", Tone::Plain), (&title, tone(state)));
    for ladder in group {
        let row = row(ladder.probe.name, &forms(ladder));
        page.paragraph((&row, tone(state)), (&needs(ladder), Tone::Plain));
        if !shared {
            page.paragraph(("      why   ", Tone::Muted), (&ladder.status.reason, Tone::Plain));
        }
        if state == State::Missing {
            page.paragraph(("      lost  ", Tone::Muted), (ladder.probe.without, Tone::Plain));
        }
    }
    page.gap();
}

fn title(state: State, count: usize) -> String {
    let (works, not, its) =
        if count == 1 { ("probe works", "probe does not", "its") } else { ("probes work", "probes do not", "their") };
    match state {
        State::Best => format!("{count} {works} in {its} best form"),
        State::Fallback => format!("{count} {works} in another form, which costs more"),
        State::Partial => format!("{count} {works} and tell{} less", if count == 1 { "s" } else { "" }),
        State::Missing => format!("{count} {not} work"),
    }
}

fn tone(state: State) -> Tone {
    match state {
        State::Best => Tone::Good,
        State::Partial | State::Fallback => Tone::Lesser,
        State::Missing => Tone::Bad,
    }
}

fn row(probe: &str, forms: &str) -> String {
    format!("  {probe:21}  {forms:15}  ")
}

/// All forms, the one in use in brackets.
fn forms(ladder: &Ladder) -> String {
    let used = ladder.status.form.as_deref();
    let forms = ladder.forms().iter().map(|form| if used == Some(form) { format!("[{form}]") } else { (*form).into() });
    forms.collect::<Vec<String>>().join(" ")
}

fn needs(ladder: &Ladder) -> String {
    let own = match ladder.probe.at {
        At::Iterator(_) => format!("own BTF, {}", ladder.attaches_to()),
        At::Run => "reads by address".to_owned(),
        At::Typed(_) => "own BTF".to_owned(),
        At::Tracepoint(_) | At::Sampled(_) => "own BTF for tp_btf".to_owned(),
    };
    let count = ladder.offsets().len();
    let offsets = (count > 0).then(|| format!("{count} offset{}", if count == 1 { "" } else { "s" }));
    let after = ladder.probe.after.map(|probe| format!("probe {probe}"));
    iter::once(own).chain(offsets).chain(after).collect::<Vec<_>>().join(", ")
}

fn summary(page: &mut Page, diagnosis: &Diagnosis, ladders: &[Ladder]) {
    let count = |state| ladders.iter().filter(|ladder| ladder.state() == state).count();
    let (all, working) = (ladders.len(), ladders.len() - count(State::Missing));
    let (fallback, partial) = (count(State::Fallback), count(State::Partial));
    let mut text = format!("{working} of {all} probes work");
    for (count, how) in [(fallback, "of them in another form"), (partial, "of them telling less")] {
        if count > 0 {
            text = format!("{text}, {count} {how}");
        }
    }
    let (text, tone) = match verdict(diagnosis) {
        Verdict::Everything => (format!("Everything works: all {all} probes in their best form."), Tone::Good),
        Verdict::Part => (format!("{text}. What to do:"), Tone::Lesser),
        Verdict::Nothing => (
            format!(
                "Nothing can be observed: {}. What to do:",
                diagnosis.refusal.as_deref().unwrap_or("no probe works")
            ),
            Tone::Bad,
        ),
    };
    page.paragraph(("", Tone::Plain), (&text, tone));
}
