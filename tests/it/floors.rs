//! A room imports only from floors below its own, or from its own floor without a circle. The table is that of the architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Rooms under `src/` and the floors they are on, from the ground up: the architecture's numbers and one, for `error` is below all. Rooms to
/// come have their place.
const FLOORS: &[(u32, &[&str])] = &[
    (0, &["error"]),
    (1, &["delta", "types", "formats", "store"]),
    (2, &["state", "log"]),
    (3, &["operators"]),
    (4, &["circuit"]),
    (5, &["catalog"]),
    (6, &["sql"]),
    (7, &["ingest", "sinks"]),
    (8, &["engine"]),
    (9, &["query"]),
    (10, &["server", "http"]),
    (11, &["cli", "main"]),
];

fn floor(room: &str) -> Option<u32> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// The rooms a source file names as `crate::room`, with the line of each. Comments don't count; groups
/// (`use crate::{sql, engine}`) do.
fn rooms_named(source: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    let code: Vec<&str> = source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let text = code.join("\n");
    for (at, _) in text.match_indices("crate::") {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => named.push((line, leading_name(rest))),
            Some(group) => {
                let mut depth = 0;
                let mut item_starts = true;
                for (index, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => item_starts = true,
                        c if c.is_whitespace() => {}
                        _ if item_starts => {
                            named.push((line, leading_name(&group[index..])));
                            item_starts = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn sources(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn imports_run_down_the_floors_and_in_no_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the source was not found");
    let mut wrong = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let room = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        let Some(own) = floor(room) else {
            wrong.push(format!("{}: the room `{room}` is on no floor", relative.display()));
            continue;
        };
        for (line, named) in rooms_named(&std::fs::read_to_string(&file).unwrap()) {
            let Some(other) = floor(&named) else { continue };
            if other > own {
                wrong.push(format!("{}:{line}: `{room}` imports `{named}`, which is above it", relative.display()));
            } else if named != room {
                edges.entry(room.to_string()).or_default().insert(named);
            }
        }
    }
    for room in edges.keys() {
        if reaches(&edges, room, room, &mut BTreeSet::new()) {
            wrong.push(format!("`{room}` imports itself in a circle"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str, seen: &mut BTreeSet<String>) -> bool {
    edges
        .get(from)
        .into_iter()
        .flatten()
        .any(|next| next == to || (seen.insert(next.clone()) && reaches(edges, next, to, seen)))
}

#[test]
fn the_reader_of_imports_sees_all_forms() {
    let source = "use crate::sql::{self, bind};\nuse crate::{engine, query::run};\n// crate::server\nlet x = crate::http::y();\n";
    let rooms: Vec<String> = rooms_named(source).into_iter().map(|(_, room)| room).collect();
    assert_eq!(rooms, ["sql", "engine", "query", "http"]);
}
