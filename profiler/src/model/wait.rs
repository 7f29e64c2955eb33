//! What threads wait on, by looks: at the end of each interval, each thread is in one wait or in none.
//!
//! How long a process waits for what kind of thing is known exactly ([`crate::model::task::Usage::waits`]). Which file, socket
//! or lock that is, and who ends the wait, is a sample: one look per thread and interval.

use std::collections::BTreeMap;

use profiler_common::wait::{Class, NAMES};

use crate::batch::{ProcessKey, TaskRow};
use crate::model::task::parked;
use crate::model::time::{Reset, Tally};

/// Objects that are told apart in one process, and wakers; more count as unknown.
const KNOWN_MAX: usize = 64;

/// What a thread waits on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// Nobody knows, or it has no name.
    #[default]
    Unknown,
    /// A TCP socket by cookie.
    Socket(u64),
    /// Anything that has a name; see [`TaskRow::wait_object`].
    Named(String),
}

/// Looks at the threads of a process that were held up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// How many, by what they waited for ([`profiler_common::wait`]) and on.
    pub objects: BTreeMap<(u32, Object), u64>,
    /// Waits that were seen to end, by what they were for, and who ended them; `None` is an interrupt, or not known.
    pub wakers: BTreeMap<(u32, Option<ProcessKey>), u64>,
}

impl Looks {
    /// How many threads were seen in waits of a kind.
    #[must_use]
    pub fn count(&self, wait: u32) -> u64 {
        self.of(wait).map(|(_, looks)| looks).sum()
    }

    /// The looks of a kind of wait, by object.
    pub fn of(&self, wait: u32) -> impl Iterator<Item = (&Object, u64)> {
        let kind = (wait, Object::Unknown)..(wait.saturating_add(1), Object::Unknown);
        self.objects.range(kind).map(|((_, object), looks)| (object, *looks))
    }

    /// Who ended most waits of a kind, and which share of all that were seen to end; `None` if most were ended by interrupts.
    #[must_use]
    pub fn waker(&self, wait: u32) -> Option<(ProcessKey, f64)> {
        let kind = self.wakers.range((wait, None)..(wait.saturating_add(1), None));
        let all: u64 = kind.clone().map(|(_, count)| count).sum();
        let ((_, waker), most) = kind.max_by_key(|(_, count)| **count)?;
        Some(((*waker)?, *most as f64 / all as f64))
    }

    fn look(&mut self, wait: u32, object: Object, looks: u64) {
        let known = self.objects.len() < KNOWN_MAX || self.objects.contains_key(&(wait, object.clone()));
        *self.objects.entry((wait, if known { object } else { Object::Unknown })).or_default() += looks;
    }

    fn wake(&mut self, wait: u32, waker: Option<ProcessKey>, count: u64) {
        let known = self.wakers.len() < KNOWN_MAX || self.wakers.contains_key(&(wait, waker));
        *self.wakers.entry((wait, waker.filter(|_| known))).or_default() += count;
    }
}

impl Reset for Looks {}

impl Tally<TaskRow> for Looks {
    fn absorb(&mut self, row: &TaskRow) {
        let held = |wait: &u32| {
            NAMES.get(*wait as usize).is_some_and(|kind| kind.class == Class::Wait) && parked(row).is_none()
        };
        if let Some(wait) = row.wait.filter(held) {
            let named = row.wait_object.clone().map_or(Object::Unknown, Object::Named);
            self.look(wait, row.wait_socket.map_or(named, Object::Socket), 1);
        }
        if let Some(wait) = row.woke_wait {
            self.wake(wait, row.waker(), 1);
        }
    }
}

impl Tally<Looks> for Looks {
    fn absorb(&mut self, other: &Looks) {
        for ((wait, object), looks) in &other.objects {
            self.look(*wait, object.clone(), *looks);
        }
        for ((wait, waker), count) in &other.wakers {
            self.wake(*wait, *waker, *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::wait;

    use super::*;

    fn row(wait: u32, object: &str) -> TaskRow {
        TaskRow { wait: Some(wait), wait_object: Some(object.into()), ..TaskRow::default() }
    }

    #[test]
    fn objects_are_told_apart_and_idleness_is_not_looked_at() {
        let mut looks = Looks::default();
        for row in [row(wait::JOURNAL, "/a"), row(wait::JOURNAL, "/b"), row(wait::JOURNAL, "/a"), row(wait::POLL, "/a")]
        {
            looks.absorb(&row);
        }
        let named = |name: &str| Object::Named(name.into());
        assert_eq!(looks.of(wait::JOURNAL).collect::<Vec<_>>(), [(&named("/a"), 2), (&named("/b"), 1)]);
        assert_eq!((looks.count(wait::JOURNAL), looks.count(wait::POLL)), (3, 0));
    }

    #[test]
    fn what_is_too_much_to_tell_apart_still_counts() {
        let mut looks = Looks::default();
        (0..200).for_each(|number| looks.absorb(&row(wait::PIPE, &number.to_string())));
        assert_eq!((looks.objects.len(), looks.count(wait::PIPE)), (KNOWN_MAX + 1, 200));
    }

    #[test]
    fn the_waker_is_whoever_ends_most_waits() {
        let mut looks = Looks::default();
        let woken = |pid: Option<u32>| TaskRow {
            woke_wait: Some(wait::FUTEX),
            waker_pid: pid,
            waker_start_ns: pid.map(|_| 5),
            ..TaskRow::default()
        };
        for pid in [Some(7), None, Some(7), Some(8)] {
            looks.absorb(&woken(pid));
        }
        assert_eq!(looks.waker(wait::FUTEX), Some((ProcessKey { pid: 7, start_ns: 5 }, 0.5)));
        (0..2).for_each(|_| looks.absorb(&woken(None)));
        assert_eq!((looks.waker(wait::FUTEX), looks.waker(wait::PIPE)), (None, None));
    }
}
