//! Imports go one way through `profiler/src`: from what knows less to what knows more, never back.

use super::rust::{self, Named};
use super::{Source, Violation};

/// A top-level module of `profiler/src`, and the modules that it may import.
struct Layer {
    module: &'static str,
    may_import: &'static [&'static str],
}

/// In flow order. `error` imports nothing, so everybody may import it.
const LAYERS: &[Layer] = &[
    Layer { module: "error", may_import: &[] },
    Layer { module: "cli", may_import: &["error"] },
    Layer { module: "config", may_import: &["cli", "error"] },
    Layer { module: "batch", may_import: &["error"] },
    Layer { module: "kernel", may_import: &["batch", "config", "error"] },
    Layer { module: "capture", may_import: &["batch", "error"] },
    Layer { module: "source", may_import: &["kernel", "capture", "batch", "config", "error"] },
    Layer { module: "model", may_import: &["batch", "error"] },
    Layer { module: "field", may_import: &["model", "batch", "error"] },
    // A finding points at a row, and rows are subjects of fields.
    Layer { module: "finding", may_import: &["field", "model", "batch", "error"] },
    // The command line names the formats and the sort keys that a view offers.
    Layer { module: "view", may_import: &["field", "finding", "model", "batch", "config", "cli", "error"] },
    Layer {
        module: "run",
        may_import: &[
            "view", "field", "finding", "model", "source", "capture", "kernel", "batch", "config", "cli", "error",
        ],
    },
];

/// The crate's roots put everything together.
const ROOTS: [&str; 2] = ["lib", "main"];

/// Each import of another top-level module has to be in the table.
pub fn imports(source: &Source) -> Vec<Violation> {
    let Some(module) = source.module() else {
        return Vec::new();
    };
    let top = module.split('/').next().unwrap_or(module);
    if ROOTS.contains(&top) {
        return Vec::new();
    }
    let Some(layer) = LAYERS.iter().find(|layer| layer.module == top) else {
        let message = format!("`{top}` has no layer; add it to LAYERS in xtask with what it may import");
        return vec![Violation::new(source, 1, message)];
    };
    let depth = module.split('/').count();
    let named = rust::paths(&source.code).into_iter().filter(|named| !source.is_test(named.at));
    named.filter_map(|named| forbidden(source, layer, depth, &named)).collect()
}

fn forbidden(source: &Source, layer: &Layer, depth: usize, named: &Named) -> Option<Violation> {
    let target = top_level_module(&named.path, depth)?;
    let known = LAYERS.iter().any(|layer| layer.module == target);
    if !known || target == layer.module || layer.may_import.contains(&target) {
        return None;
    }
    let may = match layer.may_import {
        [] => "nothing".to_owned(),
        modules => format!("only {}", modules.join(", ")),
    };
    let message = format!("imports {target}; {} may import {may}", layer.module);
    Some(Violation::new(source, source.line(named.at), message))
}

/// The top-level module that a path leads to; `None` for a path that stays below, or leads to another crate.
fn top_level_module(path: &str, depth: usize) -> Option<&str> {
    let mut parts = path.split("::").peekable();
    if parts.next_if_eq(&"crate").is_some() {
        return parts.next();
    }
    parts.next_if_eq(&"self");
    let mut ups = 0;
    while parts.next_if_eq(&"super").is_some() {
        ups += 1;
    }
    // As many steps up as the file is deep lead to the crate's root.
    if ups == depth { parts.next() } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    fn check(path: &str, text: &str, wanted: &[&str]) {
        assert_eq!(shown(imports, path, text), wanted, "for {path}: {text}");
    }

    #[test]
    fn an_import_may_only_point_up_the_list() {
        let model = "profiler/src/model/disk.rs";
        let message = "error: profiler/src/model/disk.rs:2: imports view; model may import only batch, error";
        check(model, "use crate::batch::Batch;\nuse crate::{model::Model, view};\n", &[message]);
        check(model, "//\nfn f() { crate::view::draw() }\n", &[message]);
        check(model, "//\nuse super::super::view;\n", &[message]);
        check(model, "use super::process;\nuse profiler_common::disk;\n", &[]);
        check(model, "#[cfg(test)]\nmod tests { use crate::view; }\n", &[]);
        check("profiler/src/run.rs", "use crate::view;\n", &[]);
        let message = "error: profiler/src/error.rs:1: imports batch; error may import nothing";
        check("profiler/src/error.rs", "use crate::batch::Batch;\n", &[message]);
    }

    #[test]
    fn a_new_module_must_take_its_place() {
        let message =
            "error: profiler/src/stack.rs:1: `stack` has no layer; add it to LAYERS in xtask with what it may import";
        check("profiler/src/stack.rs", "", &[message]);
        check("profiler/src/lib.rs", "pub mod stack;", &[]);
    }

    #[test]
    fn each_layer_imports_only_earlier_ones() {
        for (index, layer) in LAYERS.iter().enumerate() {
            for import in layer.may_import {
                let earlier = LAYERS[..index].iter().any(|earlier| earlier.module == *import);
                assert!(earlier, "{} imports {import}", layer.module);
            }
        }
    }
}
