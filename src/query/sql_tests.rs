//! Statements as text through parser, binder and this room, over the small database of `testing.rs`.

use std::sync::Arc;

use super::testing::{Memory, context, shown};
use super::write::{Delete, Insert, Update};
use super::{Parameters, run};
use crate::catalog::{RelationKind, ViewDef};
use crate::delta::size::{BATCH_BYTES, bytes_of};
use crate::engine::{WriteJob, WriteOutcome};
use crate::error::{Result, SqlState};
use crate::sql::bind::{bind_delete, bind_insert, bind_query, bind_update};
use crate::sql::parse;
use crate::sql::statement::Statement;
use crate::types::Type;
use crate::types::builder::with_room;

/// accounts(id int primary key, owner text, balance int), a view of the rich, and notes(id int, note text) without key.
fn memory() -> Memory {
    let mut memory = Memory::new();
    memory.table("accounts", &[("id", Type::Int4), ("owner", Type::Text), ("balance", Type::Int4)], &[0]);
    memory.table("notes", &[("id", Type::Int4), ("note", Type::Text)], &[]);
    let rich = ViewDef {
        query: "SELECT id, owner FROM accounts WHERE balance > 100".into(),
        search_path: vec!["public".into()],
    };
    memory.create("rich", &[("id", Type::Int4), ("owner", Type::Text)], RelationKind::View(rich));
    write(&mut memory, "INSERT INTO accounts VALUES (1, 'ann', 50), (2, 'bob', 150), (3, 'ann', 250)").unwrap();
    write(&mut memory, "INSERT INTO notes VALUES (1, 'x'), (1, 'x'), (2, NULL)").unwrap();
    memory
}

fn none() -> Parameters {
    Arc::from([])
}

fn read(memory: &Memory, text: &str) -> Result<Vec<String>> {
    let parsed = parse::parse(text)?;
    let Statement::Query(query) = &parsed[0].statement else { panic!("{text} is no query") };
    let bound = bind_query(&context(memory), query)?;
    Ok(shown(&run::collect(&bound, &none(), memory.view())?))
}

fn write(memory: &mut Memory, text: &str) -> Result<WriteOutcome> {
    let parsed = parse::parse(text)?;
    let (context, parameters) = (context(memory), none());
    let mut job: Box<dyn WriteJob> = match &parsed[0].statement {
        Statement::Insert(insert) => Box::new(Insert { insert: bind_insert(&context, insert)?, parameters }),
        Statement::Update(update) => Box::new(Update { change: bind_update(&context, update)?, parameters }),
        Statement::Delete(delete) => Box::new(Delete { change: bind_delete(&context, delete)?, parameters }),
        _ => panic!("{text} is no write"),
    };
    job.run(memory)
}

#[test]
fn rows_with_long_constants_come_in_pieces() {
    let memory = memory();
    let text = "SELECT g, repeat('x', 200000) FROM generate_series(1, 300) g";
    let Statement::Query(query) = &parse::parse(text).unwrap()[0].statement else { panic!("{text} is no query") };
    let bound = bind_query(&context(&memory), query).unwrap();
    let batches = run::collect(&bound, &none(), memory.view()).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 300);
    assert!(batches.iter().all(|batch| bytes_of(batch.columns(), 0, batch.num_rows()) <= BATCH_BYTES));
}

#[test]
fn reads() {
    let memory = memory();
    assert_eq!(
        read(&memory, "SELECT owner, sum(balance) FROM accounts GROUP BY owner").unwrap(),
        ["ann 300", "bob 150"]
    );
    assert_eq!(read(&memory, "SELECT owner FROM accounts WHERE id IN (1, 3)").unwrap(), ["ann", "ann"]);
    assert_eq!(read(&memory, "SELECT * FROM rich WHERE id = 2").unwrap(), ["2 bob"]);
    assert_eq!(read(&memory, "SELECT count(*) FROM notes n JOIN accounts a ON a.id = n.id").unwrap(), ["3"]);
    assert_eq!(
        read(&memory, "SELECT id, (SELECT count(*) FROM notes n WHERE n.id = a.id) FROM accounts a").unwrap(),
        ["1 2", "2 1", "3 0"]
    );
    assert_eq!(
        read(&memory, "SELECT id FROM notes INTERSECT ALL SELECT id FROM notes WHERE note = 'x'").unwrap(),
        ["1", "1"]
    );
    assert!(read(&memory, "SELECT id FROM accounts WHERE owner NOT IN (SELECT note FROM notes)").unwrap().is_empty());
    assert_eq!(
        read(&memory, "SELECT DISTINCT ON (owner) owner, id FROM accounts ORDER BY owner, id DESC").unwrap(),
        ["ann 3", "bob 2"]
    );
    assert_eq!(
        read(&memory, "SELECT 'accounts'::regclass, oid::regclass FROM pg_class WHERE relname = 'pg_am'").unwrap(),
        ["accounts pg_am"]
    );
    assert_eq!(
        read(&memory, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'accounts'::regclass").unwrap(),
        ["3"]
    );
    let error = read(&memory, "SELECT (SELECT id FROM accounts)").unwrap_err();
    assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
    assert_eq!(read(&memory, "SELECT 1 / balance FROM accounts WHERE id = 1").unwrap(), ["0"]);
    let error = read(&memory, "SELECT balance / (id - 1) FROM accounts").unwrap_err();
    assert_eq!(error.state(), SqlState::DIVISION_BY_ZERO);
}

#[test]
fn writes() {
    let mut memory = memory();
    let outcome = write(
        &mut memory,
        "INSERT INTO accounts AS a VALUES (2, 'rob', 1), (4, 'dan', 7) ON CONFLICT (id) DO UPDATE \
         SET owner = excluded.owner, balance = a.balance + excluded.balance RETURNING id, owner, balance",
    );
    assert_eq!(shown(&outcome.unwrap().returned), ["2 rob 151", "4 dan 7"]);
    let outcome = write(&mut memory, "INSERT INTO accounts VALUES (1, 'no', 0) ON CONFLICT DO NOTHING").unwrap();
    assert_eq!(outcome.rows, 0);
    let error = write(&mut memory, "INSERT INTO accounts VALUES (1, 'no', 0)").unwrap_err();
    assert_eq!(error.state(), SqlState::UNIQUE_VIOLATION);
    let outcome =
        write(&mut memory, "UPDATE accounts SET balance = balance * 2 WHERE owner = 'ann' RETURNING *").unwrap();
    assert_eq!(shown(&outcome.returned), ["1 ann 100", "3 ann 500"]);
    let outcome =
        write(&mut memory, "UPDATE accounts a SET owner = n.note FROM notes n WHERE n.id = a.id AND a.id = 1");
    assert_eq!(outcome.unwrap().rows, 1);
    assert_eq!(read(&memory, "SELECT owner FROM accounts WHERE id = 1").unwrap(), ["x"]);
    let outcome = write(&mut memory, "DELETE FROM notes WHERE note = 'x' RETURNING note").unwrap();
    assert_eq!((outcome.rows, shown(&outcome.returned).len()), (2, 2));
    assert_eq!(read(&memory, "SELECT count(*) FROM notes").unwrap(), ["1"]);
    write(&mut memory, "UPDATE accounts SET id = id + 1").unwrap();
    assert_eq!(read(&memory, "SELECT id FROM accounts").unwrap(), ["2", "3", "4", "5"]);
}

#[test]
fn of_several_matches_one_is_used_whatever_their_order() {
    for notes in ["(2, 'q'), (2, 'p'), (2, 'r')", "(2, 'r'), (2, 'q'), (2, 'p')"] {
        let mut memory = memory();
        write(&mut memory, "DELETE FROM notes").unwrap();
        write(&mut memory, &format!("INSERT INTO notes VALUES {notes}")).unwrap();
        let outcome = write(&mut memory, "UPDATE accounts a SET owner = n.note FROM notes n WHERE n.id = a.id");
        assert_eq!(outcome.unwrap().rows, 1);
        assert_eq!(read(&memory, "SELECT id, owner FROM accounts").unwrap(), ["1 ann", "2 p", "3 ann"]);
        let deleted = "DELETE FROM accounts a USING notes n WHERE n.id = a.id RETURNING a.id, n.note";
        let outcome = write(&mut memory, deleted).unwrap();
        assert_eq!((outcome.rows, shown(&outcome.returned)), (1, vec!["2 p".to_string()]));
        assert_eq!(read(&memory, "SELECT id FROM accounts").unwrap(), ["1", "3"]);
    }
}

#[test]
fn writes_without_end_fail_at_the_limit() {
    let mut memory = memory();
    memory.max_rows = 50_000;
    for source in ["generate_series(1, 100000000000) n", "accounts a, generate_series(1, 100000000000) n"] {
        let error = write(&mut memory, &format!("INSERT INTO notes SELECT 1, 'x' FROM {source}")).unwrap_err();
        assert_eq!(error.state(), SqlState::PROGRAM_LIMIT_EXCEEDED, "{source}");
    }
    let error = write(
        &mut memory,
        "INSERT INTO accounts SELECT 10 + n % 1000000, 'x', 0 FROM generate_series(1, 100000000000) n \
         ON CONFLICT (id) DO UPDATE SET balance = 1",
    );
    assert_eq!(error.unwrap_err().state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
    memory.max_rows = 2;
    let error = write(&mut memory, "UPDATE accounts SET balance = 0").unwrap_err();
    assert_eq!(error.state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
}

#[test]
fn results_that_no_column_can_hold_are_errors() {
    let mut memory = memory();
    memory.batch_rows = 10;
    write(&mut memory, "DELETE FROM notes").unwrap();
    write(&mut memory, "INSERT INTO notes SELECT n, '.*' FROM generate_series(1, 10) n").unwrap();
    // Constants are not repeated, what is made of them is.
    let long = format!("'{}'", "ab,".repeat(100));
    for result in [
        format!("string_to_array({long}, note)"),
        format!("string_to_array({long}, ',' || note, note)"),
        format!("regexp_match({long}, note)"),
        format!("regexp_split_to_array({long}, 'x' || note)"),
        format!("regexp_matches({long}, note)"),
        format!("regexp_replace({long}, note, 'x', 300)"),
        format!("regexp_substr({long}, note)"),
        format!("substring({long} from note)"),
        "('1e9' || id % 1)::jsonb".to_string(),
        "(id * 1e35 + 0.00000000000000000001)::text".to_string(),
    ] {
        let query = format!("SELECT {result} FROM notes");
        assert_eq!(with_room(100_000, || read(&memory, &query)).unwrap().len(), 10, "{result}");
        let error = with_room(500, || read(&memory, &query)).unwrap_err();
        assert_eq!(error.state(), SqlState::PROGRAM_LIMIT_EXCEEDED, "{result}: {error}");
    }
}
