//! What psql 15 sends for \d and its siblings (`psql/psql15.sql`, as `psql -E` prints it), bound and run over a small
//! catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use futures::StreamExt;

use crate::catalog::{RelationKind, ViewDef};
use crate::error::Result;
use crate::query::testing::{Memory, context};
use crate::query::{Parameters, execution, run};
use crate::sql::bind::bind_query;
use crate::sql::parse;
use crate::sql::statement::Statement;
use crate::types::Type;

const STATEMENTS: &str = include_str!("psql/psql15.sql");

/// The relations of the recording: accounts and an index on it, plain, a view rich, a materialized view totals.
fn memory() -> Memory {
    let mut memory = Memory::new();
    let columns = [
        ("id", Type::Int4),
        ("owner", Type::Text),
        ("balance", Type::fixed_numeric(12, 2)),
        ("created", Type::Timestamptz),
    ];
    let accounts = memory.table("accounts", &columns, &[0]);
    memory.table("plain", &[("a", Type::Int4), ("b", Type::Text)], &[]);
    memory.index("accounts_owner", &accounts, &[1]);
    let view = |query: &str| ViewDef { query: query.into(), search_path: vec!["public".into()] };
    let rich = view("SELECT id, balance FROM accounts WHERE balance > 100");
    memory.create("rich", &[("id", Type::Int4), ("balance", Type::fixed_numeric(12, 2))], RelationKind::View(rich));
    let totals = view("SELECT owner, sum(balance) AS total FROM accounts GROUP BY owner");
    let columns = [("owner", Type::Text), ("total", Type::NUMERIC)];
    memory.create("totals", &columns, RelationKind::MaterializedView(totals));
    memory
}

/// The recorded statements: the psql command each belongs to, and its text with the oids of this catalog.
fn statements(memory: &Memory) -> Vec<(String, String)> {
    let mut text = STATEMENTS.to_string();
    let oids: BTreeMap<String, u32> =
        memory.catalog.relations().map(|relation| (relation.name.clone(), relation.id.oid())).collect();
    // Longer names first: one may start another.
    for (name, oid) in oids.iter().rev() {
        text = text.replace(&format!("':{name}'"), &format!("'{oid}'"));
    }
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("--- ") {
            found.push((command.to_string(), String::new()));
        } else if let Some((_, statement)) = found.last_mut() {
            statement.push_str(line);
            statement.push('\n');
        }
    }
    found
}

fn answer(memory: &Memory, text: &str) -> Result<Vec<RecordBatch>> {
    let context = context(memory);
    let parsed = parse::parse(text)?;
    let Statement::Query(query) = &parsed[0].statement else { panic!("psql sends queries: {text}") };
    let bound = bind_query(&context, query)?;
    let parameters: Parameters = Arc::from([]);
    execution::block_on(async {
        let mut stream = run(&bound, &parameters, memory.view())?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    })
}

/// Rows as psql -At prints them.
fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

#[test]
fn every_statement_of_psql_runs() {
    let memory = memory();
    let failures: Vec<String> = statements(&memory)
        .into_iter()
        .filter_map(|(command, text)| answer(&memory, &text).err().map(|error| format!("{command}: {error:?}\n{text}")))
        .collect();
    assert!(failures.is_empty(), "{} fail\n\n{}", failures.len(), failures.join("\n"));
}

/// The rows of a command's statements, one after the other; empty answers left out.
fn all_rows(wanted: &str) -> Vec<String> {
    let memory = memory();
    let of_command = statements(&memory).into_iter().filter(|(command, _)| command == wanted);
    of_command.flat_map(|(_, text)| rows(&answer(&memory, &text).unwrap())).collect()
}

#[test]
fn lists_show_what_users_made() {
    assert_eq!(
        all_rows("\\d"),
        [
            "public|accounts|table|postgres",
            "public|plain|table|postgres",
            "public|rich|view|postgres",
            "public|totals|materialized view|postgres"
        ]
    );
    assert_eq!(all_rows("\\dt"), ["public|accounts|table|postgres", "public|plain|table|postgres"]);
    assert_eq!(all_rows("\\dv"), ["public|rich|view|postgres"]);
    assert_eq!(all_rows("\\dm"), ["public|totals|materialized view|postgres"]);
    assert_eq!(
        all_rows("\\di"),
        ["public|accounts_owner|index|postgres|accounts", "public|accounts_pkey|index|postgres|accounts"]
    );
    assert_eq!(all_rows("\\dn"), ["public|postgres", "rr_catalog|postgres"]);
    assert_eq!(all_rows("\\l"), ["postgres|postgres|UTF8|C.UTF-8|C.UTF-8||libc|"]);
    assert!(all_rows("\\ds").is_empty());
}

#[test]
fn a_table_is_described() {
    assert_eq!(
        all_rows("\\d accounts"),
        [
            "16385|public|accounts",
            "0|r|true|false|false|false|false|false|false||0||p|d|heap",
            "id|integer||true|||",
            "owner|text||false|||",
            "balance|numeric(12,2)||false|||",
            "created|timestamp with time zone||false|||",
            "accounts_pkey|true|true|false|true|CREATE UNIQUE INDEX accounts_pkey ON accounts USING btree (id)\
             |PRIMARY KEY (id)|p|false|false|false|0",
            "accounts_owner|false|false|false|true|CREATE INDEX accounts_owner ON accounts USING btree (owner)\
             |||||false|0",
        ]
    );
}

#[test]
fn views_and_indexes_are_described() {
    let rich = all_rows("\\d+ rich");
    assert!(rich.contains(&" SELECT id, balance FROM accounts WHERE balance > 100;".to_string()), "{rich:?}");
    let totals = all_rows("\\d totals");
    assert!(totals.contains(&"total|numeric||false|||".to_string()), "{totals:?}");
    assert_eq!(
        all_rows("\\d accounts_owner"),
        [
            "16387|public|accounts_owner",
            "0|i|false|false|false|false|false|false|false||0||p|n|btree",
            "owner|text|yes|owner",
            "false|false|false|true|false|false|false|false|btree|accounts|",
        ]
    );
}
