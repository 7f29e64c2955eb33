//! Narrows a sheet to what the filter lets through, and brings it into the chosen order.

use std::cmp::Ordering;

use crate::field::{Sheet, Value};
use crate::view::tui::app::list::{Direction, Mark, Pane};

/// A sheet as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Rows that pass the filter, in the chosen order.
    pub sheet: Sheet,
    /// Rows before the filter.
    pub total: usize,
    /// The row that keys act on.
    pub selected: Option<usize>,
}

impl Grid {
    /// Arranges a sheet as its pane asks for.
    #[must_use]
    pub fn new(mut sheet: Sheet, pane: &Pane) -> Self {
        let total = sheet.rows.len();
        filter(&mut sheet, &pane.filter);
        sort(&mut sheet, pane);
        let selected = position(pane, sheet.rows.len(), |index| match &pane.selected {
            Some(Mark::Row(subject)) => sheet.rows[index].subject == *subject,
            _ => false,
        });
        Self { sheet, total, selected }
    }
}

/// Where the selected of `count` entries is: the one that is marked, else where it was, else none.
pub fn position(pane: &Pane, count: usize, is_marked: impl Fn(usize) -> bool) -> Option<usize> {
    let last = count.checked_sub(1)?;
    if pane.selected.is_none() {
        return Some(0);
    }
    (0..count).find(|index| is_marked(*index)).or(Some(pane.at.min(last)))
}

fn filter(sheet: &mut Sheet, filter: &str) {
    let (wanted, text) = match filter.strip_prefix('!') {
        Some(text) => (false, text.to_lowercase()),
        None => (true, filter.to_lowercase()),
    };
    if !text.is_empty() {
        sheet.rows.retain(|row| row.cells.iter().any(|cell| cell.to_string().to_lowercase().contains(&text)) == wanted);
    }
}

fn sort(sheet: &mut Sheet, pane: &Pane) {
    let column = pane.sort.by.and_then(|by| sheet.columns.iter().position(|column| column.id == by));
    if let Some(column) = column {
        sheet.rows.sort_by(|a, b| order(&a.cells[column], &b.cells[column], pane.sort.direction));
    } else if pane.sort.direction == Direction::Reversed {
        sheet.rows.reverse();
    }
}

/// Numbers from the greatest, names from A; whatever has no value is last either way.
fn order(a: &Value, b: &Value, direction: Direction) -> Ordering {
    let is_blank = |value: &Value| matches!(value, Value::None | Value::Unknown(_));
    if is_blank(a) || is_blank(b) {
        return is_blank(a).cmp(&is_blank(b)).then_with(|| b.order(a));
    }
    let usual = if a.is_number() { b.order(a) } else { a.order(b) };
    if direction == Direction::Reversed { usual.reverse() } else { usual }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Column, Row, Subject, Table};
    use crate::view::tui::app::list::Sort;

    const COLUMN: Column = Column { id: "c", label: "c", doc: "", width: 5, hide_below: 0 };

    fn sheet(values: &[Value]) -> Sheet {
        let rows = (0..)
            .zip(values)
            .map(|(index, value)| Row { subject: Subject::Socket(index), cells: vec![value.clone()] })
            .collect();
        Sheet { table: Table::Connections, columns: vec![COLUMN], rows, incomplete: None }
    }

    fn subjects(grid: &Grid) -> Vec<u64> {
        let cookie = |row: &Row| if let Subject::Socket(cookie) = row.subject { cookie } else { u64::MAX };
        grid.sheet.rows.iter().map(cookie).collect()
    }

    #[test]
    fn what_has_no_value_is_last_either_way() {
        let sheet = sheet(&[Value::None, Value::Count(1), Value::Count(3), Value::Unknown("x")]);
        let mut pane = Pane { sort: Sort { by: Some("c"), direction: Direction::Usual }, ..Pane::default() };
        assert_eq!(subjects(&Grid::new(sheet.clone(), &pane)), [2, 1, 0, 3]);
        pane.sort.direction = Direction::Reversed;
        assert_eq!(subjects(&Grid::new(sheet, &pane)), [1, 2, 0, 3]);
    }

    #[test]
    fn filters_look_at_every_cell_and_can_be_inverted() {
        let sheet = sheet(&[Value::Text("nginx".into()), Value::Text("Postgres".into())]);
        let mut pane = Pane { filter: "post".into(), ..Pane::default() };
        assert_eq!(subjects(&Grid::new(sheet.clone(), &pane)), [1]);
        pane.filter = "!post".into();
        assert_eq!(subjects(&Grid::new(sheet.clone(), &pane)), [0]);
        pane.filter = "!".into();
        assert_eq!(subjects(&Grid::new(sheet, &pane)), [0, 1]);
    }

    #[test]
    fn the_selection_follows_its_subject_and_stays_near_when_it_is_gone() {
        let values = [Value::Count(1), Value::Count(2), Value::Count(3)];
        let mut pane = Pane { selected: Some(Mark::Row(Subject::Socket(2))), at: 1, ..Pane::default() };
        assert_eq!(Grid::new(sheet(&values), &pane).selected, Some(2));
        assert_eq!(Grid::new(sheet(&values[..2]), &pane).selected, Some(1));
        assert_eq!(Grid::new(sheet(&[]), &pane).selected, None);
        pane.selected = None;
        assert_eq!(Grid::new(sheet(&values), &pane).selected, Some(0));
    }
}
