//! `profiler explain`: what a finding means, how it comes about, how to check it by hand, and what to do. That is the page of the
//! documentation about all detectors, which is in the program.

use std::fmt::Write as _;

use crate::cli::ExplainArgs;
use crate::error::Error;
use crate::finding::DETECTORS;
use crate::run::{Exit, print};

const PAGE: &str = include_str!("../../../docs/DETECTORS.md");

pub(super) fn main(args: &ExplainArgs) -> Result<Exit, Error> {
    let text = match &args.id {
        None => list(),
        Some(id) => section(id).ok_or_else(|| Error::Refused {
            what: format!("there is no finding `{id}`"),
            hint: "`profiler explain` lists all".to_owned(),
        })?,
    };
    print(&text)?;
    Ok(Exit::Fine)
}

/// All detectors by number.
fn list() -> String {
    DETECTORS.iter().fold(String::new(), |mut list, detector| {
        let _ = writeln!(list, "{:4} {}", detector.id, detector.title);
        list
    })
}

/// What the page says of one of them.
fn section(id: &str) -> Option<String> {
    let detector = DETECTORS.iter().find(|detector| detector.id.eq_ignore_ascii_case(id))?;
    let heading = format!("{} {}\n", detector.id, detector.title);
    let section = PAGE.split("\n## ").find(|section| section.starts_with(&heading))?;
    Some(format!("{}\n", section.trim_end().replace("**", "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_detector_is_explained() {
        for detector in DETECTORS {
            let section = section(detector.id).unwrap_or_else(|| panic!("docs/DETECTORS.md has no {}", detector.id));
            assert!(section.contains("- Signal. ") && section.contains("- What to do. "), "{section}");
        }
        assert_eq!((section("c5"), section("C0")), (section("C5"), None));
    }

    #[test]
    fn the_list_has_all_of_them() {
        assert_eq!(list().lines().count(), DETECTORS.len());
        assert!(list().starts_with("S1   fsync storm\n"), "{}", list());
    }
}
