//! The reference of types, operators, functions and aggregates, `docs/functions.md`, written from the registry.
//!
//! A test fails while the file differs; with `RIVERRUN_WRITE_DOCS=1` in the environment it writes the file instead.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{aggregate, composite, window};
use crate::sql::functions::{self, Returns, SET_RETURNING};
use crate::types::pg_type::{self, PG_TYPES};

const INTRODUCTION: &str = "\
# Types, operators and functions

This page is written from the registry that the SQL front resolves names with, so it lists exactly what there is, but for
functions that clients ask the catalog with (`pg_get_viewdef`, `to_regclass`, `has_table_privilege`, `obj_description` and
their like). A name that PostgreSQL 15 has too means what it means there; the answers are tested against those of a real
server. What differs is known and small:

- `numeric(p,s)` has at most 38 digits. A bare `numeric` has 38 digits before and 38 behind the point and prints without
  trailing zeros; there is no numeric NaN or infinity.
- The scale of a numeric expression is part of its type: a quotient has 16 digits behind the point or the operands'
  scale, where PostgreSQL shows 16 *significant* digits at least; the branches of CASE and COALESCE share the greatest
  scale.
- Arrays have one dimension and begin at 1. `json` is `jsonb`. Timestamps end in the year 294246.
- A query's column of `regclass`, `regproc` or `regnamespace` is sent as `text`: the names that clients show anyway.
- A regular expression has no lookaround and no back references, and of alternatives that match at one place takes the
  first. Where what it matches is shown, and not only whether it does, its quantifiers are all greedy or all non-greedy,
  unless it is one branch that ends with `$`.
- `char(n)` together with other strings in one column (CASE, COALESCE, UNION, ...) loses the blanks that fill it.

An argument with `...` may be repeated. `anyelement` and its kin stand for any type that agrees.

";

const OF_SESSION: &str = "\
What the session does, for each row of a query whose outermost select list has it as an item (elsewhere 0A000):

| function | result | meaning |
|---|---|---|
| `set_config(name text, value text, local boolean)` | text | SET, or with `local` SET LOCAL; NULL for the default. The value as it is shown. |
| `pg_cancel_backend(integer)` | boolean | Cancels the statement of a session, by its number in `pg_stat_activity`; false if there is none. |
| `pg_terminate_backend(integer, bigint)` | boolean | Ends a session; false if there is none. The second, which may be left out, means nothing. |
| `pg_sleep(double precision)` | text | Waits so many seconds. |

There are no advisory locks; `pg_advisory_unlock_all()` releases none.";

fn type_name(declared: u32) -> String {
    pg_type::display(declared).replace('"', "")
}

fn signature(name: &str, args: &[u32], variadic: bool) -> String {
    let mut types: Vec<String> = args.iter().map(|&declared| type_name(declared)).collect();
    if variadic && let Some(last) = types.last_mut() {
        last.push_str(" ...");
    }
    format!("{name}({})", types.join(", "))
}

/// `|` ends a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The whole page.
pub fn page() -> String {
    let mut out = String::from(INTRODUCTION);
    let mut line = |text: std::fmt::Arguments| {
        // Writing to a string cannot fail.
        let _ = out.write_fmt(text);
        out.push('\n');
    };
    line(format_args!("## Types\n\n| type | also | oid |\n|---|---|---|"));
    for row in PG_TYPES.iter().filter(|row| row.kind == 'b') {
        let also = if row.name == row.display { "" } else { row.name };
        line(format_args!("| `{}` | {also} | {} |", row.display, row.oid));
    }
    line(format_args!("\nEach has an array type (`integer[]`), and `struct<name type, ...>` makes a row of them.\n"));

    line(format_args!("## Operators\n\n| operator | result | meaning |\n|---|---|---|"));
    let mut operators: BTreeMap<String, (String, &str)> = BTreeMap::new();
    for op in functions::operators() {
        let shown = match op.left {
            0 => format!("{} {}", op.name, type_name(op.right)),
            left => format!("{} {} {}", type_name(left), op.name, type_name(op.right)),
        };
        operators.insert(format!("{} {shown}", op.name), (type_name(op.returns.oid()), op.doc));
    }
    for (key, (result, doc)) in &operators {
        let shown = key.split_once(' ').map_or(key.as_str(), |(_, shown)| shown);
        line(format_args!("| `{}` | {result} | {doc} |", cell(shown)));
    }

    line(format_args!("\n## Functions\n\n| function | result | meaning |\n|---|---|---|"));
    let mut scalar: BTreeMap<(&str, String), (String, &str)> = BTreeMap::new();
    for entry in functions::functions() {
        let result = type_name(entry.returns.oid());
        scalar.insert((entry.name, signature(entry.name, entry.args, entry.variadic)), (result, entry.doc));
    }
    for ((_, shown), (result, doc)) in &scalar {
        line(format_args!("| `{shown}` | {result} | {} |", cell(doc)));
    }
    line(format_args!("\nReturning rows, in FROM or the select list: {}.", SET_RETURNING.join(", ")));

    line(format_args!("\n{OF_SESSION}"));

    line(format_args!("\n## Aggregates\n\nWith DISTINCT, FILTER and ORDER BY; with OVER as window functions too.\n"));
    line(format_args!("| aggregate | result | meaning |\n|---|---|---|"));
    let mut aggregates: BTreeMap<String, (String, &str)> = BTreeMap::new();
    for entry in aggregate::AGGREGATES {
        let shown =
            if entry.args.is_empty() { "count(*)".to_string() } else { signature(entry.name, entry.args, false) };
        let result = match entry.returns {
            Returns::Type(declared) | Returns::Derived(declared, _) => type_name(declared),
        };
        aggregates.insert(shown, (result, entry.doc));
    }
    for entry in composite::COMPOSITES {
        let shown = match (entry.within_group, entry.args.split_last()) {
            (true, Some((by, direct))) => {
                format!("{} WITHIN GROUP (ORDER BY {})", signature(entry.name, direct, false), type_name(*by))
            }
            _ => signature(entry.name, entry.args, false),
        };
        aggregates.insert(shown, (type_name(entry.returns), entry.doc));
    }
    for (shown, (result, doc)) in &aggregates {
        line(format_args!("| `{shown}` | {result} | {doc} |"));
    }
    line(format_args!("\n## Window functions\n\nOnly with OVER.\n\n| function | result | meaning |\n|---|---|---|"));
    for &(_, name, args, result, doc) in window::ROWS {
        line(format_args!("| `{}` | {} | {doc} |", signature(name, args, false), type_name(result)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_what_there_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/functions.md");
        if std::env::var_os("RIVERRUN_WRITE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page(), "docs/functions.md is not current: run this test with RIVERRUN_WRITE_DOCS=1");
    }

    #[test]
    fn no_signature_stands_twice() {
        let mut functions: Vec<String> =
            functions::functions().map(|entry| signature(entry.name, entry.args, entry.variadic)).collect();
        functions.sort();
        assert!(functions.windows(2).all(|pair| pair[0] != pair[1]), "{functions:?}");
        let mut operators: Vec<(&str, u32, u32)> =
            functions::operators().map(|op| (op.name, op.left, op.right)).collect();
        operators.sort();
        assert!(operators.windows(2).all(|pair| pair[0] != pair[1]));
        let mut oids: Vec<u32> = functions::operators().map(|op| op.oid).collect();
        oids.sort();
        assert!(oids.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
