//! Conversations with the server as files that can be read: `tests/it/scripts/*.txt`.
//!
//! A line `> Query select 1` is a message to the server, the lines below it are all it answers, as [`crate::protocol`] writes
//! messages: type byte, then fields (`T name:type(modifier)@table.column`, `E severity state message @position (D detail)`).
//! Everything is compared exactly. RIVERRUN_REWRITE=1 writes the answers into the files instead; read the diff.
//!
//! | message | |
//! |---|---|
//! | `Query text`, `Sync`, `CopyDone`, `CopyFail text` | the answers up to ReadyForQuery (or CopyInResponse) follow |
//! | `Parse name [oid, ...] text` | name and types may be left out: `Parse [] text` |
//! | `Bind portal statement (value, NULL, ...) text / binary` | values in text; the form of the results; `-` is the unnamed one |
//! | `Describe portal / statement name`, `Close ...`, `Execute portal rows` | |
//! | `CopyData text` | with `\n`, `\r`, `\t`, `\0`, `\\` |

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::Server;
use crate::protocol::{Wire, bind_formats, close, describe, execute, frame, parse, query, sync};

fn unnamed(name: &str) -> &str {
    if name == "-" { "" } else { name }
}

/// A message from its line, and whether the server answers now.
fn message(line: &str) -> (Vec<u8>, bool) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "Query" => (query(&unescaped(rest)), true),
        "Sync" => (sync(), true),
        "CopyDone" => (frame(b'c', b""), true),
        "CopyFail" => (frame(b'f', format!("{rest}\0").as_bytes()), true),
        "CopyData" => (frame(b'd', unescaped(rest).as_bytes()), false),
        "Parse" => {
            let (name, rest) = rest.split_once('[').expect("Parse name [types] text");
            let (types, text) = rest.split_once("] ").expect("Parse name [types] text");
            let types: Vec<u32> =
                types.split(", ").filter(|oid| !oid.is_empty()).map(|oid| oid.parse().unwrap()).collect();
            (parse(unnamed(name.trim()), text, &types), false)
        }
        "Bind" => {
            let (names, rest) = rest.split_once(" (").expect("Bind portal statement (values) format");
            let (values, format) = rest.rsplit_once(") ").expect("Bind portal statement (values) format");
            let (portal, statement) = names.split_once(' ').expect("Bind portal statement (values) format");
            let values: Vec<Option<&str>> = match values {
                "" => Vec::new(),
                values => values.split(", ").map(|value| (value != "NULL").then_some(value)).collect(),
            };
            let format = match format {
                "text" => 0,
                "binary" => 1,
                other => panic!("{other} is no format"),
            };
            (bind_formats(unnamed(portal), unnamed(statement), &values, &[format]), false)
        }
        "Describe" | "Close" => {
            let (kind, name) = rest.split_once(' ').expect("portal or statement, and a name");
            let kind = if kind == "portal" { b'P' } else { b'S' };
            (if word == "Close" { close(kind, unnamed(name)) } else { describe(kind, unnamed(name)) }, false)
        }
        "Execute" => {
            let (portal, rows) = rest.split_once(' ').expect("Execute portal rows");
            (execute(unnamed(portal), rows.parse().expect("a number of rows")), false)
        }
        other => panic!("{other} is no message"),
    }
}

fn unescaped(text: &str) -> String {
    let escapes = [("\\\\", "\u{1}"), ("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\0", "\0"), ("\u{1}", "\\")];
    escapes.into_iter().fold(text.to_string(), |text, (escape, means)| text.replace(escape, means))
}

/// The script with the answers that the server gives now.
fn run(script: &str) -> String {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    let mut lines = Vec::new();
    for line in script.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            lines.push(line.to_string());
        } else if let Some(sent) = line.strip_prefix("> ") {
            lines.push(line.to_string());
            let (bytes, answered) = message(sent);
            wire.send(&bytes);
            if answered {
                lines.push(wire.until_ready_or_copy());
            }
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn conversations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scripts");
    let entries = fs::read_dir(&folder).expect("the folder of scripts");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let rewrite = std::env::var_os("RIVERRUN_REWRITE").is_some();
    let mut different = Vec::new();
    for file in files {
        let script = fs::read_to_string(&file).expect("a script is UTF-8");
        let now = run(&script);
        if rewrite {
            fs::write(&file, now).expect("writing the script");
        } else if now != script {
            let lines = script.lines().zip(now.lines()).enumerate();
            let first = lines.filter(|(_, (expected, now))| expected != now).next();
            let shown = match first {
                Some((number, (expected, now))) => {
                    format!("line {}\n  expected {expected}\n  answered {now}", number + 1)
                }
                None => format!("{} lines expected, {} answered", script.lines().count(), now.lines().count()),
            };
            different.push(format!("{}: {shown}", file.display()));
        }
    }
    let hint = "RIVERRUN_REWRITE=1 writes the answers into the files";
    assert!(different.is_empty(), "{}\n{hint}", different.join("\n"));
}
