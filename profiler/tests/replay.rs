//! Every stored capture in every format: a bug that a capture shows is a file in `data/captures`, and its golden files.
#![expect(clippy::disallowed_methods, reason = "a test of a program starts it")]
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The captures, in the order of their names.
fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut captures: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "cap")).collect();
    captures.sort();
    captures
}

fn report(capture: &Path, format: &str) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_profiler"));
    let output = program.arg("report").arg(capture).args(["--format", format]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn golden_reports() {
    let captures = captures();
    assert!(!captures.is_empty());
    for capture in captures {
        let name = capture.file_stem().unwrap().to_string_lossy();
        insta::assert_snapshot!(format!("{name}.text"), report(&capture, "text"));
        // One line of JSON shows no difference that a person could read.
        let json: serde_json::Value = serde_json::from_str(&report(&capture, "json")).unwrap();
        insta::assert_snapshot!(format!("{name}.json"), serde_json::to_string_pretty(&json).unwrap());
    }
}
