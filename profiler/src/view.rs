//! What is shown of the model and its findings.

pub mod report;
pub mod tui;
