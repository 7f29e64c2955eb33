//! One file as the rules see it: its text, its code without comments and literals, and which lines are tests.

use super::rust;

/// A file of the repository.
pub struct Source {
    /// Relative to the root of the repository.
    pub path: String,
    pub text: String,
    /// The text with comments and the inside of literals blanked: same length, same lines. Empty if not Rust.
    pub code: String,
    /// Byte ranges of `code` that only tests see.
    tests: Vec<(usize, usize)>,
    /// Where each line starts.
    starts: Vec<usize>,
}

impl Source {
    pub fn new(path: &str, text: String) -> Self {
        let code = if has_extension(path, "rs") { rust::blanked(&text) } else { String::new() };
        let tests = if is_test_file(path) { vec![(0, code.len())] } else { rust::test_items(&code) };
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: path.to_owned(), text, code, tests, starts }
    }

    pub fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    /// The line, from 1, of a byte of the text.
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Whether only tests see this byte of the code.
    pub fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|(from, to)| (*from..*to).contains(&at))
    }

    /// The number of lines that are not tests.
    pub fn lines_without_tests(&self) -> usize {
        let tests: usize = self.tests.iter().map(|(from, to)| self.line(*to) - self.line(*from) + 1).sum();
        self.text.lines().count().saturating_sub(tests)
    }

    /// The path of the module below `profiler/src`, such as `model/disk`; `None` for all other files.
    pub fn module(&self) -> Option<&str> {
        self.path.strip_prefix("profiler/src/")?.strip_suffix(".rs")
    }
}

/// Whether the file's name ends in this.
pub fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, end)| end == extension)
}

/// Integration tests, and unit tests in a file of their own.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}
