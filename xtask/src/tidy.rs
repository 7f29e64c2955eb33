//! `cargo xtask tidy`: the invariants of the architecture and of the style, as code.
//!
//! A rule is a pure function from one file to its violations (or from the list of files to what is missing), so each is
//! tested by planting a violation. To add a rule: one function, one line in [`RULES`].

mod grid;
mod layers;
mod prose;
mod purity;
mod rust;
mod safety;
mod shape;
mod source;

use std::fmt::{self, Display};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use self::source::Source;
use crate::child;
use crate::layout::Layout;

/// A rule looks at one file.
type Rule = fn(&Source) -> Vec<Violation>;

const RULES: &[Rule] = &[
    layers::imports,
    purity::names,
    purity::locks,
    shape::file_size,
    shape::function_size,
    shape::file_name,
    shape::attributes,
    safety::unsafe_comments,
    prose::machine_paths,
    prose::words,
    prose::whitespace,
    prose::spelling,
];

/// One place that breaks one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    path: String,
    line: usize,
    message: String,
}

impl Violation {
    fn new(source: &Source, line: usize, message: String) -> Self {
        Self { path: source.path.clone(), line, message }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}:{}: {}", self.path, self.line, self.message)
    }
}

pub fn main(layout: &Layout) -> Result<ExitCode> {
    check(layout).map(|()| ExitCode::SUCCESS)
}

/// Prints all violations and a summary; any violation is an error.
pub fn check(layout: &Layout) -> Result<()> {
    let sources = read_all(&layout.root)?;
    let violations = violations(&sources);
    for violation in &violations {
        println!("{violation}");
    }
    let long = sources.iter().filter(|source| shape::is_long(source)).count();
    if long > 0 {
        println!("note: {long} files are longer than {} lines without their tests", shape::FILE_LINES_SOFT);
    }
    println!("tidy: {} files, {} violations", sources.len(), violations.len());
    if !violations.is_empty() {
        bail!("tidy found violations");
    }
    Ok(())
}

fn violations(sources: &[Source]) -> Vec<Violation> {
    let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let mut all: Vec<_> = sources.iter().flat_map(|source| RULES.iter().flat_map(|rule| rule(source))).collect();
    all.extend(grid::missing_cells(&paths));
    all.sort();
    all.dedup();
    all
}

/// All text files that are, or are about to be, tracked.
fn read_all(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in listed(root)? {
        let file = root.join(&path);
        // A listed file may be deleted already, or be a link to a folder.
        if !file.is_file() {
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("failed to read `{path}`"))?;
        // What is not UTF-8 is no text: captures, images.
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source::new(&path, text));
        }
    }
    Ok(sources)
}

fn listed(root: &Path) -> Result<Vec<String>> {
    // Git distrusts a checkout that belongs to somebody else, which is every checkout when root runs the tests.
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    if let Some(names) = child::answer(git.current_dir(root)) {
        return Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect());
    }
    let mut names = Vec::new();
    walk(root, "", &mut names)?;
    Ok(names)
}

/// Without git (an unpacked archive) every file counts but what is built.
fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))? {
        let entry = entry.with_context(|| format!("failed to list `{}`", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        match entry.file_type().with_context(|| format!("failed to inspect `{path}`"))? {
            kind if kind.is_dir() && !["target", ".git"].contains(&name.as_str()) => {
                walk(&entry.path(), &format!("{path}/"), names)?;
            }
            kind if kind.is_file() => names.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// Checks one planted file against one rule: what the rules' own tests call.
#[cfg(test)]
fn shown(rule: Rule, path: &str, text: &str) -> Vec<String> {
    rule(&Source::new(path, text.to_owned())).iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_breaks_no_rule_in_its_own_xtask() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut names = Vec::new();
        walk(root, "", &mut names).unwrap();
        let read = |name: &String| Source::new(&format!("xtask/{name}"), fs::read_to_string(root.join(name)).unwrap());
        let sources: Vec<_> = names.iter().map(read).collect();
        assert_eq!(violations(&sources), []);
    }

    #[test]
    fn a_violation_says_where_and_what() {
        let source = Source::new("profiler/src/model/disk.rs", "//! Disks.\n\nuse tokio::sync;\n".to_owned());
        let shown: Vec<_> = violations(&[source]).iter().map(ToString::to_string).collect();
        assert!(
            shown.contains(&"error: profiler/src/model/disk.rs:3: names tokio; the model must stay pure".to_owned())
        );
    }
}
