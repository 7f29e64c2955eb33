//! The grid: each subsystem has the same noun in each column.

use super::Violation;

/// The rows. Screens are named after what people look for, so theirs differ.
const NOUNS: &[&str] = &["task", "syscall", "file", "disk", "tcp"];
const SCREENS: &[&str] = &["overview", "processes", "syscalls", "files", "disks", "tcp"];

/// A folder, and the files that it must hold.
struct Column {
    folder: &'static str,
    cells: &'static [&'static str],
}

const COLUMNS: &[Column] = &[
    Column { folder: "profiler-common/src/", cells: NOUNS },
    Column { folder: "profiler-ebpf/src/", cells: NOUNS },
    Column { folder: "profiler/src/model/", cells: NOUNS },
    Column { folder: "profiler/src/finding/", cells: NOUNS },
    Column { folder: "profiler/src/view/tui/screen/", cells: SCREENS },
];

/// The cells that are missing. A column counts once it has its first cell.
pub fn missing_cells(paths: &[&str]) -> Vec<Violation> {
    COLUMNS.iter().flat_map(|column| missing_in(column, paths)).collect()
}

fn missing_in(column: &Column, paths: &[&str]) -> Vec<Violation> {
    let path = |cell: &str| format!("{}{cell}.rs", column.folder);
    let missing = column.cells.iter().filter(|cell| !paths.contains(&path(cell).as_str()));
    let violation = |cell: &&str| {
        let message = format!("is missing; each column of the grid has `{cell}`");
        Violation { path: path(cell), line: 1, message }
    };
    let violations: Vec<_> = missing.map(violation).collect();
    if violations.len() == column.cells.len() { Vec::new() } else { violations }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_has_begun_must_be_complete() {
        let paths = [
            "profiler-ebpf/src/main.rs",
            "profiler/src/finding/task.rs",
            "profiler/src/finding/syscall.rs",
            "profiler/src/finding/file.rs",
            "profiler/src/finding/disk.rs",
        ];
        let shown: Vec<_> = missing_cells(&paths).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["error: profiler/src/finding/tcp.rs:1: is missing; each column of the grid has `tcp`"]);
    }
}
