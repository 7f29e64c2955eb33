//! Claims about bottlenecks, each with evidence, a witness and advice. Pure functions over the model.

use crate::field::Subject;
use crate::model::Model;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Hurts somebody.
    Medium,
    /// Dominates somebody's time.
    High,
}

/// A claim that can be checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Catalog number, such as `S9`: the key of `profiler explain`.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Name of whom it is about.
    pub subject: String,
    /// Row to drill down to.
    pub at: Subject,
    /// What is wrong, one sentence without a full stop.
    pub claim: String,
    /// Who suffers, by name, with the share of wall time lost where known.
    pub victims: Vec<String>,
    /// Share of the victim's (or host's) wall time lost, 0 to 1: findings are sorted by it.
    pub impact: f64,
    /// The numbers behind it.
    pub evidence: Vec<String>,
    /// An independent kernel counter that agrees, with its value; `None` where none exists.
    pub witness: Option<String>,
    /// Other explanations that were checked and rejected.
    pub rejected: Vec<String>,
    /// What to change.
    pub advice: &'static str,
}

/// All findings, the greatest impact first. None on a healthy host.
#[must_use]
pub fn all(_model: &Model) -> Vec<Finding> {
    Vec::new()
}
