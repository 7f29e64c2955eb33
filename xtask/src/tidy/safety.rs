//! Each `unsafe` says why it is sound.

use super::{Source, Violation, rust};

const MARK: &str = "SAFETY:";

/// A block or an impl needs `// SAFETY:` right above.
///
/// Kernel programs consist of calls to helpers; there one statement for the file says what holds for all of them.
pub fn unsafe_comments(source: &Source) -> Vec<Violation> {
    let mut bare = rust::words(&source.code, "unsafe").filter(|at| needs_comment(&source.code[at + "unsafe".len()..]));
    if source.path.starts_with("profiler-ebpf/") {
        let stated = source.text.lines().any(|line| is_comment(line) && line.contains(MARK));
        let first = bare.next().filter(|_| !stated);
        let message = "is unsafe, and no `// SAFETY:` in this file says why that is sound";
        return first.map(|at| Violation::new(source, source.line(at), message.to_owned())).into_iter().collect();
    }
    let text: Vec<&str> = source.text.lines().collect();
    let code: Vec<&str> = source.code.lines().collect();
    let lines = bare.map(|at| source.line(at)).filter(|line| !is_explained(&text, &code, *line));
    lines
        .map(|line| Violation::new(source, line, "is unsafe without a `// SAFETY:` comment right above".to_owned()))
        .collect()
}

/// A function that is unsafe to call states its demands in its documentation; an attribute has no body.
fn needs_comment(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.starts_with('{') || rest.starts_with("impl")
}

/// Walks up from the line: over attributes and the first lines of the same statement, to a comment.
fn is_explained(text: &[&str], code: &[&str], line: usize) -> bool {
    let mut above = line.saturating_sub(1);
    while above > 0 {
        above -= 1;
        let (shown, bare) = (text[above].trim(), code[above].trim());
        if is_comment(shown) {
            if shown.contains(MARK) {
                return true;
            }
            continue;
        }
        let in_statement = !bare.is_empty() && !bare.ends_with([';', '{', '}', ',']);
        // Only a comment that touches the statement explains it.
        let below_is_comment = above + 2 <= line && is_comment(text[above + 1]);
        if below_is_comment || !in_statement {
            return false;
        }
    }
    false
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    fn check(path: &str, text: &str, wanted: &[&str]) {
        assert_eq!(shown(unsafe_comments, path, text), wanted, "for {path}: {text}");
    }

    #[test]
    fn a_block_and_an_impl_are_explained_right_above() {
        let message = "error: a.rs:2: is unsafe without a `// SAFETY:` comment right above";
        check("a.rs", "fn f() {\n    unsafe { g() }\n}", &[message]);
        check("a.rs", "// SAFETY: plain data.\nunsafe impl Pod for A {}\n", &[]);
        check("a.rs", "// Plain data.\nunsafe impl Pod for A {}\n", &[message]);
        check("a.rs", "fn f() {\n    // SAFETY: one,\n    // two.\n    let x =\n        unsafe { g() };\n}", &[]);
        check("a.rs", "// SAFETY: too far.\nlet y = 1;\nlet x = unsafe { g() };", &[&message.replace(":2:", ":3:")]);
        check("a.rs", "/// # Safety\nunsafe fn f() {}\n#[unsafe(no_mangle)]\nfn g() {}\n// unsafe {", &[]);
    }

    #[test]
    fn a_kernel_program_states_it_once() {
        let path = "profiler-ebpf/src/disk.rs";
        check(
            path,
            "// SAFETY: helpers check their arguments.\nfn f() { unsafe { g() } }\nfn h() { unsafe { g() } }\n",
            &[],
        );
        let message = "error: profiler-ebpf/src/disk.rs:1: is unsafe, \
                       and no `// SAFETY:` in this file says why that is sound";
        check(path, "fn f() { unsafe { g() } }\nfn h() { unsafe { g() } }\n", &[message]);
    }
}
