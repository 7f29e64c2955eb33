//! Reports: what was found, and the tables behind it, as text for people and as JSON for programs. The same batches
//! make the same bytes.

mod json;
#[cfg(test)]
mod tests;
mod text;
pub mod utc;

pub use json::json;
pub use text::text;

use crate::batch::{Machine, Timestamp};
use crate::model::{Model, Window};

/// When the window of the model began and ended, in nanoseconds since 1970 UTC.
fn window_unix_ns(model: &Model) -> (u64, u64) {
    let time = &model.time;
    let begin = match model.window {
        Window::Whole => time.begin,
        Window::Recent => Timestamp(time.until.0.saturating_sub(time.window_ns)),
    };
    (unix_ns(&model.machine, begin), unix_ns(&model.machine, time.until))
}

/// A moment of the observed host in nanoseconds since 1970 UTC, by the anchor that was taken there.
#[must_use]
pub fn unix_ns(machine: &Machine, at: Timestamp) -> u64 {
    (machine.anchor_unix_ns + at.since(machine.anchor)).saturating_sub(machine.anchor.since(at))
}

/// Time between the first and the last interval that no interval covers.
fn gap_ns(model: &Model) -> u64 {
    match model.window {
        Window::Whole => model.time.until.since(model.time.begin).saturating_sub(model.time.window_ns),
        Window::Recent => 0,
    }
}

/// What is missing because of a loss of this name.
fn missing_because(name: &str) -> &'static str {
    if name.starts_with(profiler_common::lost::MISSED) {
        return "events during which another of their kind interrupted the program that counts them";
    }
    if name == profiler_common::lost::UNSEEN_REQUESTS {
        return "requests that /proc/diskstats has and our programs were not run for";
    }
    let known = profiler_common::lost::LOST.iter().find(|(_, known, _)| *known == name);
    known.map_or("unknown to this version", |(_, _, missing)| missing)
}

/// Our CPU time and that of our programs as shares of one CPU: over a whole report, else in the last interval.
fn cost(model: &Model) -> (f64, Option<f64>) {
    let quality = &model.quality;
    if model.window == Window::Recent || model.time.window_ns == 0 {
        return (quality.self_cpu_ratio, quality.programs_cpu_ratio);
    }
    let ratio = |ns: u64| ns as f64 / model.time.window_ns as f64;
    (ratio(quality.self_cpu_ns), quality.programs_ns.map(ratio))
}
