//! The shape of files: how long, how long their functions, what they are called, which attributes they carry.

use super::{Source, Violation, rust};

/// Above this a file is counted in the summary, no more.
pub const FILE_LINES_SOFT: usize = 300;
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Names that collect whatever has no place, and the older name for a folder's root.
const DRAWERS: [&str; 4] = ["mod", "util", "helpers", "common"];

/// An attribute that hides something, and what to do instead.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("#[ignore", "ignores a test; assert what holds today, or delete it"),
    ("#[allow(", "allows a lint; use `#[expect(…, reason = \"…\")]`"),
    ("#![allow(", "allows a lint; use `#![expect(…, reason = \"…\")]`"),
];

/// Whether the file deserves a look, though it breaks no rule.
pub fn is_long(source: &Source) -> bool {
    source.is_rust() && source.lines_without_tests() > FILE_LINES_SOFT
}

/// A file has one idea, which fits into 500 lines without its tests.
pub fn file_size(source: &Source) -> Vec<Violation> {
    let lines = source.lines_without_tests();
    if !source.is_rust() || lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let message = format!("has {lines} lines without tests; at most {FILE_LINES_MAX}, so split it");
    vec![Violation::new(source, FILE_LINES_MAX + 1, message)]
}

/// A function fits on a screen: 70 lines, from `fn` to its closing brace.
pub fn function_size(source: &Source) -> Vec<Violation> {
    let places = rust::words(&source.code, "fn");
    places.filter_map(|at| long_function(source, at)).collect()
}

fn long_function(source: &Source, at: usize) -> Option<Violation> {
    // A pointer type, `fn(u8)`, has no name and no body.
    let name: String =
        source.code[at + 2..].trim_start().bytes().take_while(|byte| rust::is_word(*byte)).map(char::from).collect();
    let end = rust::item_end(&source.code, at);
    let lines = source.line(end.saturating_sub(1)) - source.line(at) + 1;
    let message = format!("`{name}` has {lines} lines; at most {FUNCTION_LINES_MAX}");
    let long = !name.is_empty() && lines > FUNCTION_LINES_MAX;
    long.then(|| Violation::new(source, source.line(at), message))
}

/// A file is called after its idea.
pub fn file_name(source: &Source) -> Vec<Violation> {
    let name = source.path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs"));
    let Some(drawer) = name.filter(|name| DRAWERS.contains(name)) else {
        return Vec::new();
    };
    let message = match drawer {
        "mod" => "is a mod.rs; name it after its module, beside the folder".to_owned(),
        drawer => format!("is a drawer; name it after its idea instead of `{drawer}`"),
    };
    vec![Violation::new(source, 1, message)]
}

/// No attribute hides a test or a warning without a reason.
pub fn attributes(source: &Source) -> Vec<Violation> {
    let places = ATTRIBUTES.iter().flat_map(|(mark, advice)| {
        source.code.match_indices(mark).map(|(at, _)| Violation::new(source, source.line(at), (*advice).to_owned()))
    });
    places.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, shown};
    use super::*;

    fn check(rule: Rule, path: &str, text: &str, wanted: &[&str]) {
        assert_eq!(shown(rule, path, text), wanted, "for {path}");
    }

    #[test]
    fn a_file_is_measured_without_its_tests() {
        let (code, tests) = ("// x\n".repeat(500), "#[cfg(test)]\nmod tests {\n}\n");
        check(file_size, "a.rs", &format!("{code}{tests}"), &[]);
        let message = "error: a.rs:501: has 501 lines without tests; at most 500, so split it";
        check(file_size, "a.rs", &format!("// x\n{code}{tests}"), &[message]);
        check(file_size, "a.md", &format!("// x\n{code}{tests}"), &[]);
    }

    #[test]
    fn a_function_is_measured_to_its_own_brace() {
        let body = |lines: usize| {
            format!("// {{\nfn f(x: [u8; 2]) {{\n{}}}\nfn g() {{}}\n", "    let _ = \"}\";\n".repeat(lines))
        };
        check(function_size, "a.rs", &body(68), &[]);
        check(function_size, "a.rs", &body(69), &["error: a.rs:2: `f` has 71 lines; at most 70"]);
        check(function_size, "a.rs", &format!("type F = fn(u8);\n{}", "\n".repeat(90)), &[]);
    }

    #[test]
    fn a_file_has_a_name_of_its_own() {
        let message = "error: profiler/src/view/mod.rs:1: is a mod.rs; name it after its module, beside the folder";
        check(file_name, "profiler/src/view/mod.rs", "", &[message]);
        let message = "error: xtask/src/util.rs:1: is a drawer; name it after its idea instead of `util`";
        check(file_name, "xtask/src/util.rs", "", &[message]);
        check(file_name, "profiler/src/model.rs", "", &[]);
    }

    #[test]
    fn nothing_is_hidden_by_an_attribute() {
        let ignored = "error: a.rs:1: ignores a test; assert what holds today, or delete it";
        check(attributes, "a.rs", "#[ignore = \"slow\"]\nfn f() {}", &[ignored]);
        let allowed = "error: a.rs:2: allows a lint; use `#[expect(…, reason = \"…\")]`";
        check(attributes, "a.rs", "// #[allow(x)]\n#[allow(dead_code)]\nfn f() {}", &[allowed]);
    }
}
