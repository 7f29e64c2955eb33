//! What users see of the model and its findings.

pub mod tui;
