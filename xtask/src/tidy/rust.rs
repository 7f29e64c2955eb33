//! As much of Rust's grammar as the rules need: what is code, where a brace closes, which paths are named.
//!
//! Works on bytes. Everything that is looked for is ASCII, and offsets stay those of the text.

/// The text with comments and the inside of literals replaced by spaces; line breaks stay.
pub fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    while let Some(&byte) = bytes.get(code.len()) {
        let end = literal_or_comment(bytes, code.len());
        if let Some(end) = end {
            let blank = |byte: &u8| if *byte == b'\n' { b'\n' } else { b' ' };
            code.extend(bytes[code.len()..end.min(bytes.len())].iter().map(blank));
        } else {
            // Letters beyond ASCII must not be cut when the result becomes text again.
            code.push(if byte.is_ascii() { byte } else { b'_' });
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The end of the literal or comment that starts here; `None` when code starts here.
fn literal_or_comment(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let within_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => Some(find(bytes, at, b"\n")),
        [b'/', b'*', ..] => Some(block_comment_end(bytes, at)),
        [b'"', ..] => Some(quoted_end(bytes, at + 1, b'"')),
        [b'\'', ..] => char_end(bytes, at),
        [b'r' | b'b' | b'c', ..] if !within_word => prefixed_string_end(bytes, at),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0_usize);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut at = at;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// A quote opens a character, unless it opens a lifetime: `'a'` against `'a`.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at + 1)?;
    let width = match first {
        b'\\' => return Some(quoted_end(bytes, at + 1, b'\'')),
        0x00..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    };
    (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + width + 2)
}

/// `b"…"`, `c"…"`, `b'…'`, `r"…"`, `r#"…"#`, `br#"…"#` and so on; `None` for a word or a raw name such as `r#type`.
fn prefixed_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let letters = bytes[at..].iter().take(2).take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let raw = bytes[at..at + letters].contains(&b'r');
    let hashes = bytes[at + letters..].iter().take_while(|byte| **byte == b'#').count();
    let open = at + letters + hashes;
    match bytes.get(open)? {
        b'"' if raw => {
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            Some(find(bytes, open + 1, &close) + close.len())
        }
        b'"' if hashes == 0 => Some(quoted_end(bytes, open + 1, b'"')),
        b'\'' if hashes == 0 && bytes[at] == b'b' && letters == 1 => char_end(bytes, open),
        _ => None,
    }
}

/// The next place of `wanted`, or the end.
fn find(bytes: &[u8], from: usize, wanted: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(wanted.len()).position(|window| window == wanted).map_or(bytes.len(), |at| from + at)
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands in code as a word of its own.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let after = bytes.get(at + word.len()).is_some_and(|byte| is_word(*byte));
        let before = *at > 0 && is_word(bytes[at - 1]);
        !before && !after
    })
}

/// The end of the item that starts at or after `from`: behind its closing brace, or behind its semicolon.
///
/// Brackets and parentheses are skipped as a whole: a semicolon inside, as in `[u8; 4]`, ends nothing.
pub fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (index, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return index + 1,
            b'{' if depth == 0 => return block_end(code, index),
            _ => {}
        }
    }
    code.len()
}

/// Behind the brace that closes the one at `open`.
pub fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return index + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Ranges of the items behind `#[cfg(test)]`.
pub fn test_items(code: &str) -> Vec<(usize, usize)> {
    const MARK: &str = "#[cfg(test)]";
    let mut items: Vec<(usize, usize)> = Vec::new();
    for (at, _) in code.match_indices(MARK) {
        if items.last().is_none_or(|(_, end)| at >= *end) {
            items.push((at, item_end(code, at + MARK.len())));
        }
    }
    items
}

/// A path that the code names, such as `std::fs::read`, and where it starts.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub at: usize,
    pub path: String,
}

/// All paths of two or more parts, and all imports with their groups unfolded.
pub fn paths(code: &str) -> Vec<Named> {
    let mut named = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let from_here = &code[at..];
        let starts_word = at == 0 || !is_word(code.as_bytes()[at - 1]);
        let length = word_length(from_here);
        if length == 0 || !starts_word {
            at += 1;
        } else if &from_here[..length] == "use" && !from_here[length..].starts_with('<') {
            at = unfold(code, at + length, "", &mut named);
        } else {
            let end = at + path_length(from_here);
            let path: String = code[at..end].split_whitespace().collect();
            if path.contains("::") {
                named.push(Named { at, path });
            }
            at = end;
        }
    }
    named
}

/// Reads one import tree behind `prefix`; returns where it ends, behind its comma, brace or semicolon.
fn unfold(code: &str, from: usize, prefix: &str, named: &mut Vec<Named>) -> usize {
    let (mut path, mut at, mut start) = (prefix.to_owned(), from, None);
    while at < code.len() {
        let rest = &code[at..];
        let length = word_length(rest);
        match rest.as_bytes()[0] {
            b'{' => {
                at += 1;
                while !code[at..].trim_start().starts_with('}') && at < code.len() {
                    at = unfold(code, at, &path, named);
                }
                at += code[at..].find('}').map_or(0, |close| close + 1);
                start = None;
                path.clear();
            }
            b',' | b';' | b'}' => break,
            _ if length > 0 && &rest[..length] == "as" => at += rest.find([',', ';', '}']).unwrap_or(rest.len()),
            _ if length > 0 => {
                start = start.or(Some(at));
                path.push_str(&rest[..length]);
                at += length;
            }
            b':' => {
                // A leading `::` only says that the name is a crate.
                if !path.is_empty() && !path.ends_with("::") {
                    path.push_str("::");
                }
                at += 1;
            }
            b'*' => {
                start = start.or(Some(at));
                path.push('*');
                at += 1;
            }
            _ => at += 1,
        }
    }
    if let Some(at) = start {
        named.push(Named { at, path });
    }
    // The closing brace belongs to the tree around this one.
    if code[at..].starts_with('}') { at } else { at + 1 }
}

fn word_length(text: &str) -> usize {
    text.bytes().take_while(|byte| is_word(*byte)).count()
}

/// The length of the longest path at the start of `text`, `a::b::c`.
fn path_length(text: &str) -> usize {
    let mut end = word_length(text);
    while let Some(rest) = text[end..].strip_prefix("::") {
        let next = word_length(rest);
        if next == 0 {
            break;
        }
        end += 2 + next;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_blanked(text: &str, code: &str) {
        assert_eq!(blanked(text), code, "in {text}");
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        check_blanked("a // { \nb", "a      \nb");
        check_blanked("a /* { /* } */ */ b", "a                 b");
        check_blanked(r#"f("}\"{", '}', b'{', '\'') "#, "f(      ,    ,     ,     ) ");
        check_blanked(r##"r#"}"# b"{" r#type 'a: {"##, "            r#type 'a: {");
        check_blanked("'ä' 'ä", "     '__");
    }

    #[test]
    fn an_item_ends_with_its_own_brace_or_semicolon() {
        assert_eq!(item_end("fn f(a: [u8; 2]) -> u8 { { } } fn", 0), 30);
        assert_eq!(item_end("use a; b", 0), 6);
        assert_eq!(test_items("a #[cfg(test)] mod t { #[cfg(test)] fn x() {} } b"), [(2, 47)]);
    }

    fn check_paths(code: &str, wanted: &[&str]) {
        let found: Vec<_> = paths(code).into_iter().map(|named| named.path).collect();
        assert_eq!(found, wanted, "in {code}");
    }

    #[test]
    fn imports_are_unfolded() {
        check_paths(
            "use std::{fs, io::{self, Read as R}, time::*};",
            &["std::fs", "std::io::self", "std::io::Read", "std::time::*"],
        );
        check_paths("use ::aya; pub(crate) use crate::{a::B, c};", &["aya", "crate::a::B", "crate::c"]);
        check_paths("fn f() { std::fs::read(x); y::<T>(); }", &["std::fs::read"]);
    }
}
