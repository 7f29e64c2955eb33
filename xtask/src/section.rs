//! Sections of documents that are written by programs, between `<!-- name -->` and `<!-- /name -->`.

use std::fs;

use anyhow::{Context, Result};

use crate::layout::Layout;

/// Writes sections, by name, into a document of this checkout.
pub fn write(layout: &Layout, document: &str, sections: &[(&str, &str)]) -> Result<()> {
    let path = layout.root.join(document);
    let mut page = fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
    for (section, text) in sections {
        page = replace(&page, section, text).with_context(|| format!("{document} has no section `{section}`"))?;
    }
    fs::write(&path, page).with_context(|| format!("failed to write `{}`", path.display()))
}

/// Puts text between the two marks of a section.
fn replace(page: &str, section: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- {section} -->\n"))?;
    let (_, after) = rest.split_once(&format!("<!-- /{section} -->"))?;
    Some(format!("{before}<!-- {section} -->\n{text}<!-- /{section} -->{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_changes() {
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb";
        assert_eq!(replace(page, "x", "new\n").as_deref(), Some("a\n<!-- x -->\nnew\n<!-- /x -->\nb"));
        assert_eq!(replace(page, "y", "new\n"), None);
    }
}
