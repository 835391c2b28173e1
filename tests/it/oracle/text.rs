//! One query, three texts: where a view, our batch answer and PostgreSQL must be asked in different words, the generator
//! writes all three into one text, and the reader takes out his own.
//!
//! ```text
//!   BEGIN view MIDDLE batch MIDDLE postgres END        (these may stand in each other)
//! ```
//!
//! They differ in three places only: an expression that fails on a row is NULL in a view and an error elsewhere, so the
//! others are asked with a guard around it; TUMBLE and HOP are no functions of PostgreSQL; and it breaks ties as it
//! likes, so there the order that we document is written out.

const BEGIN: char = '\u{1}';
const MIDDLE: char = '\u{2}';
const END: char = '\u{3}';

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    View,
    Batch,
    Postgres,
}

pub fn three(view: &str, batch: &str, postgres: &str) -> String {
    format!("{BEGIN}{view}{MIDDLE}{batch}{MIDDLE}{postgres}{END}")
}

/// The same for view and batch.
pub fn ours_or_postgres(ours: &str, postgres: &str) -> String {
    three(ours, ours, postgres)
}

/// `expression`, which fails on those rows on which `fails` is true and on no others.
pub fn fallible(expression: &str, fails: &str) -> String {
    let guarded = format!("(CASE WHEN {fails} THEN NULL ELSE {expression} END)");
    three(expression, &guarded, &guarded)
}

/// The text for one reader.
pub fn read(text: &str, reader: Reader) -> String {
    let mut out = String::with_capacity(text.len());
    // For each part we are in: which of its three, and whether it is read.
    let mut parts: Vec<(usize, bool)> = Vec::new();
    let mine = match reader {
        Reader::View => 0,
        Reader::Batch => 1,
        Reader::Postgres => 2,
    };
    for character in text.chars() {
        let outer = |parts: &[(usize, bool)]| parts.iter().rev().nth(1).is_none_or(|(_, read)| *read);
        match character {
            BEGIN => {
                let read = parts.last().is_none_or(|(_, read)| *read);
                parts.push((0, read && mine == 0));
            }
            MIDDLE => {
                let outer = outer(&parts);
                let part = parts.last_mut().expect("a MIDDLE within BEGIN and END");
                *part = (part.0 + 1, outer && part.0 + 1 == mine);
            }
            END => drop(parts.pop()),
            other if parts.last().is_none_or(|(_, read)| *read) => out.push(other),
            _ => {}
        }
    }
    out
}

#[test]
fn each_reader_gets_his_own() {
    let inner = fallible("1/a", "a = 0");
    let text = format!("SELECT {} FROM t", ours_or_postgres(&format!("f({inner})"), "g"));
    assert_eq!(read(&text, Reader::View), "SELECT f(1/a) FROM t");
    assert_eq!(read(&text, Reader::Batch), "SELECT f((CASE WHEN a = 0 THEN NULL ELSE 1/a END)) FROM t");
    assert_eq!(read(&text, Reader::Postgres), "SELECT g FROM t");
}
