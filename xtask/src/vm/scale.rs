//! What possible CPUs cost: every record per CPU is read for each of them.

use std::time::Duration;

use super::Outcomes;
use super::matrix::{FEW_CPUS, MANY_CPUS};
use super::outcome::Cost;

/// How long a start may take under emulation.
const START: Duration = Duration::from_secs(3);
/// How much more a tick may cost.
const RATIO: f64 = 2.0;

/// The same kernel under the same load, on two CPUs of two and of 64 that are possible.
pub struct Scale {
    few: Cost,
    many: Cost,
}

impl Scale {
    /// `None` if not both guests ran.
    pub fn of(outcomes: &Outcomes) -> Option<Self> {
        let cost = |name| outcomes.iter().find(|(guest, _)| guest.name == name)?.1.cost;
        Some(Self { few: cost(FEW_CPUS)?, many: cost(MANY_CPUS)? })
    }

    /// Whether many CPUs cost too much.
    pub fn is_fault(&self) -> bool {
        self.many.start > START || self.ratio() > RATIO
    }

    pub fn text(&self) -> String {
        format!(
            "64 possible CPUs: start {:.1} s, with 2 {:.1} s (at most {} s); CPU per tick {:.2} times that with 2 (at most {RATIO})\n",
            self.many.start.as_secs_f64(),
            self.few.start.as_secs_f64(),
            START.as_secs(),
            self.ratio(),
        )
    }

    fn ratio(&self) -> f64 {
        self.many.cpu_ratio / self.few.cpu_ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_cost_is_enough() {
        let cost = |seconds, cpu_ratio| Cost { start: Duration::from_secs(seconds), cpu_ratio };
        let is_fault = |few, many| Scale { few, many }.is_fault();
        assert!(!is_fault(cost(2, 0.1), cost(3, 0.19)));
        assert!(is_fault(cost(2, 0.1), cost(3, 0.21)));
        assert!(is_fault(cost(2, 0.1), cost(4, 0.1)));
    }
}
