//! What is written: no traces of one machine or workplace, clean whitespace, American spelling.
//!
//! The lists below name what they forbid, so this file is exempt from its own rules.

use super::source::has_extension;
use super::{Source, Violation};

const SELF: &str = "xtask/src/tidy/prose.rs";

/// Folders that exist on one machine only.
const MACHINE_PATHS: [&str; 2] = ["/root/", concat!("/wo", "rk/")];

/// Words that tell how the work was done instead of what it is.
const WORDS: [&str; 3] = [concat!("sub", "agent"), concat!("sub-", "agent"), concat!("l", "lm")];

/// British spelling, and the American one. A match may be a part of a word.
const SPELLING: &[(&str, &str)] = &[
    ("analyse ", "analyze "),
    ("artefact", "artifact"),
    ("behaviour", "behavior"),
    ("catalogue", "catalog"),
    ("centre", "center"),
    ("colour", "color"),
    ("defence", "defense"),
    ("favour", "favor"),
    ("honour", "honor"),
    ("initialisation", "initialization"),
    ("initialise", "initialize"),
    ("labelled", "labeled"),
    ("licence", "license"),
    ("modelling", "modeling"),
    ("neighbour", "neighbor"),
    ("normalise", "normalize"),
    ("optimisation", "optimization"),
    ("optimise", "optimize"),
    ("organise", "organize"),
    ("recognise", "recognize"),
    ("serialisation", "serialization"),
    ("serialise", "serialize"),
    ("summarise", "summarize"),
    ("synchronise", "synchronize"),
    ("utilisation", "utilization"),
    ("visualis", "visualiz"),
];

/// A path of one machine helps nobody else.
pub fn machine_paths(source: &Source) -> Vec<Violation> {
    each_line(source, |line| {
        let path = MACHINE_PATHS.iter().find(|path| line.match_indices(**path).any(|(at, _)| starts_path(line, at)))?;
        Some(format!("names `{path}`, a path of one machine"))
    })
}

/// The repository speaks of the product.
pub fn words(source: &Source) -> Vec<Violation> {
    each_line(source, |line| {
        let line = line.to_lowercase();
        let is_alone = |word: &str, at: usize| {
            let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            !letter(line[..at].chars().next_back()) && !letter(line[at + word.len()..].chars().next())
        };
        let word = WORDS.iter().find(|word| line.match_indices(**word).any(|(at, _)| is_alone(word, at)))?;
        Some(format!("says `{word}`; speak of the product"))
    })
}

/// Whitespace that nobody sees makes differences that nobody meant.
pub fn whitespace(source: &Source) -> Vec<Violation> {
    if !["rs", "md", "toml"].iter().any(|end| has_extension(&source.path, end)) {
        return Vec::new();
    }
    each_line(source, |line| match line {
        line if line.ends_with([' ', '\t', '\r']) => Some("ends with whitespace".to_owned()),
        line if line.contains('\t') => Some("holds a tab; use spaces".to_owned()),
        _ => None,
    })
}

/// One spelling, so that a search finds everything.
pub fn spelling(source: &Source) -> Vec<Violation> {
    if !["rs", "md"].iter().any(|end| has_extension(&source.path, end)) {
        return Vec::new();
    }
    each_line(source, |line| {
        let line = line.to_lowercase();
        let (british, american) = SPELLING.iter().find(|(british, _)| line.contains(british))?;
        Some(format!("spells `{}`; write `{}`", british.trim_end(), american.trim_end()))
    })
}

fn each_line(source: &Source, check: impl Fn(&str) -> Option<String>) -> Vec<Violation> {
    // Names in the lock file are other people's.
    if source.path == SELF || source.path == "Cargo.lock" {
        return Vec::new();
    }
    // Not `lines`, which would hide a carriage return.
    let lines = source.text.split('\n').enumerate();
    lines.filter_map(|(index, line)| Some(Violation::new(source, index + 1, check(line)?))).collect()
}

/// Whether an absolute path starts here, and not a part of one, as in `net/work/x`.
fn starts_path(line: &str, at: usize) -> bool {
    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-/}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, shown};
    use super::*;

    fn check(rule: Rule, path: &str, text: &str, wanted: &[&str]) {
        assert_eq!(shown(rule, path, text), wanted, "for {path}: {text}");
    }

    #[test]
    fn no_path_of_one_machine() {
        let message = "error: README.md:2: names `/root/`, a path of one machine";
        check(machine_paths, "README.md", "\nsee `/root/x`\n", &[message]);
        check(machine_paths, "README.md", "net/work/x and target/work/\n", &[]);
    }

    #[test]
    fn no_word_of_the_workshop() {
        for word in WORDS {
            let message = format!("error: docs/GUIDE.md:1: says `{word}`; speak of the product");
            check(words, "docs/GUIDE.md", &format!("an {}\n", word.to_uppercase()), &[&message]);
        }
        check(words, "docs/GUIDE.md", "LLVM, wellmade\n", &[]);
    }

    #[test]
    fn whitespace_is_clean() {
        check(whitespace, "a.rs", "a \nb\n", &["error: a.rs:1: ends with whitespace"]);
        check(whitespace, "a.rs", "a\r\n", &["error: a.rs:1: ends with whitespace"]);
        check(whitespace, "a.md", "\ta\n", &["error: a.md:1: holds a tab; use spaces"]);
        check(whitespace, "a.snap", "a \n", &[]);
    }

    #[test]
    fn spelling_is_american() {
        check(spelling, "a.md", "Its Behaviour\n", &["error: a.md:1: spells `behaviour`; write `behavior`"]);
        check(spelling, "a.rs", "fn serialise_all() {}\n", &["error: a.rs:1: spells `serialise`; write `serialize`"]);
        check(spelling, "a.md", "analyses, optimistic, parameter, behavior\n", &[]);
    }
}
