//! Aligned columns of text, and tables of Markdown.

/// Rows of cells, the head first.
pub type Rows = Vec<Vec<String>>;

/// A table of Markdown.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
    let [head, rest @ ..] = rows else { return String::new() };
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    [line(head), rule].into_iter().chain(rest.iter().map(line)).collect()
}

/// Columns as wide as their widest cell; the first is aligned to the left, the others to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Text behind a row that has no figures.
    notes: Vec<Option<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(head.iter().map(ToString::to_string).collect());
        table
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
        self.notes.push(None);
    }

    /// A row of one name and free text.
    pub fn note(&mut self, name: &str, note: &str) {
        self.rows.push(vec![name.to_owned()]);
        self.notes.push(Some(note.to_owned()));
    }

    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell_width =
            |column: usize| move |row: &Vec<String>| row.get(column).map_or(0, |cell| cell.chars().count());
        let widths: Vec<usize> =
            (0..columns).map(|column| self.rows.iter().map(cell_width(column)).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for (row, note) in self.rows.iter().zip(&self.notes) {
            let mut line = String::from("  ");
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padded = if index == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
                line += &padded;
            }
            if let Some(note) = note {
                line += "  ";
                line += note;
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// One decimal, or a dash for what is not known.
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

/// A ratio, or a dash.
pub fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_notes_follow_their_name() {
        let mut table = Table::new(&["who", "ns", "×"]);
        table.row(vec!["plain".to_owned(), number(Some(119.04)), ratio(None)]);
        table.note("x", "cannot run: not installed");
        assert_eq!(table.text(), "  who       ns  ×\n  plain  119.0  –\n  x      cannot run: not installed\n");
    }
}
