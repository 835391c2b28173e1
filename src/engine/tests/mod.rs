//! The engine alone: writes in order, transactions, what readers see, and starting again.

mod bounds;
mod ends;
mod fills;
mod sources;
mod turns;
mod watched;

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;

use super::*;
use crate::catalog::{
    Connector, Ddl, IndexDef, IndexKey, IndexMethod, Relation, RelationKind, StreamDef, TableDef, ViewDef,
};
use crate::delta::Delta;
use crate::ingest::{ChunkSender, Fetched, Fingerprint, Range, Source, Statuses, Stop};
use crate::log::Commit;
use crate::store::Batch;
use crate::types::{Column, Type};
use watched::{WATCHED, Watched, connected, open_watched, watch};

type Rows = Vec<(i64, Option<String>)>;

/// A write made of what it does.
struct Does<F>(Option<F>);

impl<F: FnOnce(&mut dyn WriteScope) -> Result<WriteOutcome> + Send> WriteJob for Does<F> {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        match self.0.take() {
            Some(work) => work(scope),
            None => Err(Error::internal("a job is run once")),
        }
    }
}

fn job(work: impl FnOnce(&mut dyn WriteScope) -> Result<WriteOutcome> + Send + 'static) -> Box<dyn WriteJob> {
    Box::new(Does(Some(work)))
}

/// A write that may run again, as all writes of statements may.
struct Repeats<F>(F);

impl<F: FnMut(&mut dyn WriteScope) -> Result<WriteOutcome> + Send> WriteJob for Repeats<F> {
    fn run(&mut self, scope: &mut dyn WriteScope) -> Result<WriteOutcome> {
        (self.0)(scope)
    }
}

fn table(name: &str, keyed: bool) -> Relation {
    let mut columns = vec![Column::new("id", Type::Int8), Column::new("name", Type::Text)];
    columns[0].not_null = true;
    let primary_key = if keyed { vec![0] } else { Vec::new() };
    let kind = RelationKind::Table(TableDef { primary_key, defaults: vec![None; 2], generated: vec![None; 2] });
    relation(name, columns, kind)
}

fn stream(name: &str) -> Relation {
    let columns = vec![Column::new("id", Type::Int8), Column::new("name", Type::Text)];
    let kind = RelationKind::Stream(StreamDef {
        connector: None,
        defaults: vec![None; 2],
        generated: vec![None; 2],
        includes: Vec::new(),
    });
    relation(name, columns, kind)
}

fn relation(name: &str, columns: Vec<Column>, kind: RelationKind) -> Relation {
    let (schema, name) = ("public".to_string(), name.to_string());
    Relation { id: RelationId(0), schema, name, columns, kind, depends_on: Vec::new() }
}

/// A materialized view of the ids and names that another relation has, under its name along this search path.
fn view(name: &str, query: &str, on: &Relation, search_path: &[&str]) -> Relation {
    let search_path = search_path.iter().map(|schema| schema.to_string()).collect();
    let kind = RelationKind::MaterializedView(ViewDef { query: query.to_string(), search_path });
    let columns = vec![Column::new("id", Type::Int8), Column::new("name", Type::Text)];
    Relation { depends_on: vec![on.id], ..relation(name, columns, kind) }
}

fn index(name: &str, on: &Relation, column: usize) -> Relation {
    let kind = RelationKind::Index(IndexDef {
        on: on.id,
        method: IndexMethod::default(),
        keys: vec![IndexKey { column, descending: false, nulls_first: false }],
    });
    Relation { depends_on: vec![on.id], ..relation(name, vec![on.columns[column].clone()], kind) }
}

fn batch(relation: &Relation, rows: &[(i64, &str)]) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
    ];
    let schema = relation.stored_schema();
    if relation.has_row_id() {
        columns.push(Arc::new(Int64Array::from(vec![0; rows.len()])));
    }
    RecordBatch::try_new(schema, columns).expect("rows of the table")
}

async fn open(folder: &std::path::Path, workers: usize) -> Arc<Engine> {
    let config = EngineConfig { workers, ..EngineConfig::new(folder) };
    let engine = Engine::open(config).expect("opens");
    engine.ready().await.expect("recovers");
    engine
}

async fn create(engine: &Arc<Engine>, relation: Relation) -> Arc<Relation> {
    let name = relation.name.clone();
    engine.create(relation, false, Waiter::default()).await.expect("creates");
    engine.catalog().get("public", &name).expect("is there").clone()
}

async fn create_in(engine: &Arc<Engine>, schema: &str, relation: Relation) -> Arc<Relation> {
    let (schema, name) = (schema.to_string(), relation.name.clone());
    let relation = Relation { schema: schema.clone(), ..relation };
    engine.create(relation, false, Waiter::default()).await.expect("creates");
    engine.catalog().get(&schema, &name).expect("is there").clone()
}

fn insert(relation: &Arc<Relation>, rows: &[(i64, &str)]) -> Box<dyn WriteJob> {
    let (id, rows) = (relation.id, batch(relation, rows));
    job(move |scope| {
        let count = scope.insert(id, rows)?.num_rows() as u64;
        Ok(WriteOutcome { rows: count, returned: Vec::new() })
    })
}

/// Adds a suffix to the name of one row, found by its key.
fn rename(relation: &Arc<Relation>, id: i64, suffix: &'static str) -> Box<dyn WriteJob> {
    let relation = relation.clone();
    job(move |scope| {
        let keys = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef)])?;
        let (old, _) = scope.find(relation.id, &keys)?;
        let names = old.column(1).as_any().downcast_ref::<StringArray>().expect("text").clone();
        let names: StringArray = names.iter().map(|name| name.map(|name| format!("{name}{suffix}"))).collect();
        let new = RecordBatch::try_new(old.schema(), vec![old.column(0).clone(), Arc::new(names)])?;
        scope.update(relation.id, &[old.clone()], &[new])?;
        Ok(WriteOutcome { rows: old.num_rows() as u64, returned: Vec::new() })
    })
}

fn rows_of(view: &ReadView, id: RelationId) -> Rows {
    let mut rows = Rows::new();
    for batch in view.scan(id).expect("scans") {
        let batch = batch.expect("a batch");
        let ids = batch.column(0).as_any().downcast_ref::<Int64Array>().expect("bigint").clone();
        let names = batch.column(1).as_any().downcast_ref::<StringArray>().expect("text").clone();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| (ids.value(row), (!names.is_null(row)).then(|| names.value(row).to_string()))),
        );
    }
    rows.sort();
    rows
}

async fn rows(engine: &Engine, relation: &Relation) -> Rows {
    rows_of(&engine.read().await.expect("reads"), relation.id)
}

fn expected(rows: &[(i64, &str)]) -> Rows {
    rows.iter().map(|(id, name)| (*id, Some(name.to_string()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_are_read_and_survive() {
    let folder = tempfile::tempdir().expect("a folder");
    for workers in [1, 3] {
        let engine = open(folder.path(), workers).await;
        let (people, events) = match engine.catalog().get("public", "people") {
            Some(people) => (people.clone(), engine.catalog().get("public", "events").expect("there").clone()),
            None => (create(&engine, table("people", true)).await, create(&engine, stream("events")).await),
        };
        let next = rows(&engine, &people).await.len() as i64;
        engine.write(insert(&people, &[(next, "ann"), (next + 1, "bob")])).await.expect("inserts");
        engine.write(insert(&events, &[(next, "came")])).await.expect("inserts");
        engine.write(rename(&people, next, "!")).await.expect("updates");
        let read = rows(&engine, &people).await;
        assert!(read.contains(&(next, Some("ann!".into()))) && read.len() as i64 == next + 2, "{read:?}");
        let duplicate = engine.write(insert(&people, &[(100, "x"), (next, "y")])).await.err().expect("is refused");
        assert_eq!(
            (duplicate.state(), duplicate.detail()),
            (SqlState::UNIQUE_VIOLATION, Some(format!("Key (id)=({next}) already exists.").as_str()))
        );
        assert_eq!(rows(&engine, &people).await, read, "a refused statement leaves nothing");
        engine.shutdown().await;
        drop(engine);
        let engine = open(folder.path(), 2).await;
        assert_eq!(rows(&engine, &people).await, read);
        assert_eq!(rows(&engine, &events).await.len() as i64, next / 2 + 1);
        engine.shutdown().await;
        drop(engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_together_share_an_fsync() {
    const WRITERS: i64 = 400;
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let people = create(&engine, table("people", true)).await;
    let before = engine.inner.store.syncs();
    engine.write(insert(&people, &[(0, "alone")])).await.expect("inserts");
    assert!(engine.inner.store.syncs() > before, "an acknowledged write is durable");

    // One write has its turn until all the others wait for theirs.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
    let holds_up = job(move |_| {
        let _ = begun.send(());
        let _ = wait.recv();
        Ok(WriteOutcome { rows: 0, returned: Vec::new() })
    });
    let held_up = tokio::spawn({
        let engine = engine.clone();
        async move { engine.write(holds_up).await }
    });
    has_begun.await.expect("it has its turn");
    let before = engine.inner.store.syncs();
    let writers: Vec<_> = (1..=WRITERS)
        .map(|id| {
            let (engine, write) = (engine.clone(), insert(&people, &[(id, "together")]));
            tokio::spawn(async move { engine.write(write).await })
        })
        .collect();
    while engine.requests.lock().as_ref().map_or(0, crossbeam_channel::Sender::len) < WRITERS as usize {
        tokio::task::yield_now().await;
    }
    go.send(()).expect("it waits");
    held_up.await.expect("a writer").expect("is done");
    for writer in writers {
        writer.await.expect("a writer").expect("inserts");
    }
    let together = engine.inner.store.syncs() - before;
    // One for the group, and one for each of the few epochs that take it in.
    assert!(together < 20, "{together} syncs for {WRITERS} commits");
    assert_eq!(rows(&engine, &people).await.len() as i64, WRITERS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let notes = create(&engine, table("notes", false)).await;
    engine.write(insert(&notes, &[(1, "a"), (1, "a"), (1, "a")])).await.expect("inserts");
    let id = notes.id;
    let delete_one = job(move |scope| {
        let first = scope.read()?.scan(id)?.find(|batch| batch.as_ref().is_ok_and(|batch| batch.num_rows() > 0));
        scope.delete(id, first.expect("a batch")?.slice(0, 1))?;
        Ok(WriteOutcome { rows: 1, returned: Vec::new() })
    });
    engine.write(delete_one).await.expect("deletes");
    assert_eq!(rows(&engine, &notes).await, expected(&[(1, "a"), (1, "a")]));
    engine.shutdown().await;
    drop(engine);
    let engine = open(folder.path(), 1).await;
    engine.write(insert(&notes, &[(1, "b")])).await.expect("inserts");
    let view = engine.read().await.expect("reads");
    let batches = view.scan(id).expect("scans").collect::<Result<Vec<_>>>().expect("batches");
    let mut ids = std::collections::HashSet::new();
    for batch in &batches {
        let column = batch.column(2).as_any().downcast_ref::<Int64Array>().expect("row ids").clone();
        ids.extend(column.values().iter().copied());
    }
    assert_eq!(ids.len(), 3, "row ids are never given twice:\n{}", pretty_format_batches(&batches).expect("shows"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_sees_its_own_and_the_first_committer_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let people = create(&engine, table("people", true)).await;
    engine.write(insert(&people, &[(1, "ann"), (2, "bob")])).await.expect("inserts");

    let (mut first, mut second) = (engine.begin(), engine.begin());
    first.write(rename(&people, 1, " first")).await.expect("updates");
    first.write(insert(&people, &[(3, "new")])).await.expect("inserts");
    second.write(rename(&people, 1, " second")).await.expect("updates");
    let own = rows_of(&first.read().await.expect("reads"), people.id);
    assert_eq!(own, expected(&[(1, "ann first"), (2, "bob"), (3, "new")]));
    assert_eq!(rows(&engine, &people).await, expected(&[(1, "ann"), (2, "bob")]));
    first.commit(Waiter::default()).await.expect("commits");
    assert_eq!(
        second.commit(Waiter::default()).await.err().map(|error| error.state()),
        Some(SqlState::SERIALIZATION_FAILURE)
    );
    assert_eq!(rows(&engine, &people).await, own);

    // What was committed and published long before the second one commits still conflicts.
    let mut late = engine.begin();
    late.write(rename(&people, 2, " late")).await.expect("updates");
    engine.write(rename(&people, 2, " early")).await.expect("updates");
    for round in 0..5 {
        engine.write(insert(&people, &[(10 + round, "x")])).await.expect("inserts");
    }
    assert_eq!(
        late.commit(Waiter::default()).await.err().map(|error| error.state()),
        Some(SqlState::SERIALIZATION_FAILURE)
    );
    // Dropped without COMMIT: rolled back.
    let mut undone = engine.begin();
    undone.write(rename(&people, 1, " undone")).await.expect("updates");
    drop(undone);
    assert!(!format!("{:?}", rows(&engine, &people).await).contains("undone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_at_their_place_never_lose_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let people = create(&engine, table("people", true)).await;
    engine.write(insert(&people, &[(1, "")])).await.expect("inserts");
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (engine, people) = (engine.clone(), people.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    engine.write(rename(&people, 1, "x")).await.expect("updates");
                    let read = rows(&engine, &people).await;
                    assert_eq!(read.len(), 1);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert_eq!(rows(&engine, &people).await, expected(&[(1, &"x".repeat(200))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_relations_stay_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 1).await;
    let people = create(&engine, table("people", true)).await;
    engine.write(insert(&people, &[(1, "ann")])).await.expect("inserts");
    engine.drop_relations(vec![people.id], false).await.expect("drops");
    let again = create(&engine, table("people", true)).await;
    assert_ne!(again.id, people.id);
    assert!(rows(&engine, &again).await.is_empty());
    engine.write(insert(&again, &[(1, "eve")])).await.expect("inserts");
    engine.shutdown().await;
    drop(engine);
    let engine = open(folder.path(), 2).await;
    let found = engine.catalog().get("public", "people").expect("there").clone();
    assert_eq!(found.id, again.id);
    assert_eq!(rows(&engine, &found).await, expected(&[(1, "eve")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_and_writes_of_a_block_are_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let people = create(&engine, table("people", true)).await;
    engine.write(insert(&people, &[(1, "ann")])).await.expect("inserts");

    // Others write all the while, and create and drop.
    let others: Vec<_> = (0..4)
        .map(|writer| {
            let (engine, people) = (engine.clone(), people.clone());
            tokio::spawn(async move {
                for round in 0..20 {
                    let id = 1000 * (writer + 1) + round;
                    engine.write(insert(&people, &[(id, "other")])).await.expect("inserts");
                    if round % 5 == 0 {
                        let brief = create(&engine, table(&format!("brief{writer}"), true)).await;
                        engine.write(insert(&brief, &[(id, "brief")])).await.expect("inserts");
                        engine.drop_relations(vec![brief.id], false).await.expect("drops");
                    }
                }
            })
        })
        .collect();
    for round in 0..10 {
        let mut block = engine.begin();
        block.create(table(&format!("made{round}"), true), false).await.expect("creates");
        let made = block.catalog().expect("a catalog").get("public", &format!("made{round}")).expect("there").clone();
        block.write(insert(&made, &[(1, "made"), (2, "too")])).await.expect("inserts");
        block.write(insert(&people, &[(100 + round, "block")])).await.expect("inserts");
        assert_eq!(rows_of(&block.read().await.expect("reads"), made.id), expected(&[(1, "made"), (2, "too")]));
        assert!(engine.catalog().get("public", &made.name).is_none(), "nobody else sees it before COMMIT");
        if round % 2 == 1 {
            drop(block);
            assert!(engine.catalog().get("public", &made.name).is_none());
            continue;
        }
        block.commit(Waiter::default()).await.expect("commits");
        assert_eq!(rows(&engine, &made).await, expected(&[(1, "made"), (2, "too")]));
    }
    for other in others {
        other.await.expect("a writer");
    }
    // A block that writes what somebody changed first leaves its DDL undone too.
    let mut late = engine.begin();
    late.write(rename(&people, 1, " late")).await.expect("updates");
    late.create(table("late", true), false).await.expect("creates");
    engine.write(rename(&people, 1, " early")).await.expect("updates");
    let refused = late.commit(Waiter::default()).await.err().map(|error| error.state());
    assert_eq!(refused, Some(SqlState::SERIALIZATION_FAILURE));
    assert!(engine.catalog().get("public", "late").is_none());

    let before = rows(&engine, &people).await;
    assert_eq!(before.len(), 1 + 4 * 20 + 5);
    let names = |engine: &Engine| -> Vec<(u32, String)> {
        engine.catalog().relations().map(|relation| (relation.id.0, relation.name.clone())).collect()
    };
    let named = names(&engine);
    engine.shutdown().await;
    drop(engine);
    let engine = open(folder.path(), 3).await;
    assert_eq!(names(&engine), named);
    assert_eq!(rows(&engine, &people).await, before);
    for (_, name) in named.iter().filter(|(_, name)| name.starts_with("made")) {
        let made = engine.catalog().get("public", name).expect("there").clone();
        assert_eq!(rows(&engine, &made).await, expected(&[(1, "made"), (2, "too")]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_reads_what_it_named_whatever_is_made_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let mut schema = engine.begin();
    schema.create_schema("b".into()).await.expect("creates");
    schema.commit(Waiter::default()).await.expect("commits");
    let people = create(&engine, table("people", true)).await;
    engine.write(insert(&people, &[(1, "ann")])).await.expect("inserts");

    let mut block = engine.begin();
    let all = view("everybody", "SELECT id, name FROM people", &people, &["b", "public"]);
    block.create(all, false).await.expect("creates");
    // The same name earlier on the view's path, before the view is filled.
    create_in(&engine, "b", table("people", true)).await;
    block.commit(Waiter::default()).await.expect("commits");
    let all = engine.catalog().get("public", "everybody").expect("there").clone();
    assert_eq!(rows(&engine, &all).await, expected(&[(1, "ann")]));
    engine.shutdown().await;
    drop(engine);

    let engine = open(folder.path(), 1).await;
    engine.write(insert(&people, &[(2, "bob")])).await.expect("inserts");
    assert_eq!(rows(&engine, &all).await, expected(&[(1, "ann"), (2, "bob")]));
}

/// Longer than anything here takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until this holds.
async fn until(holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "it does not come to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_reads_all_views_at_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open_watched(folder.path()).await;
    let people = create(&engine, table("people", true)).await;
    let ticks = create(&engine, connected("ticks")).await;
    let one = create(&engine, view("one", "SELECT id, name FROM ticks", &ticks, &["public"])).await;
    let two = create(&engine, view("two", "SELECT id, name FROM ticks WHERE id >= 0", &ticks, &["public"])).await;
    for round in 0..5 {
        // The sequencer is kept busy until the two writes wait that are to be one group.
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let busy = job(move |_| {
            let _ = gone.recv();
            Ok(WriteOutcome::default())
        });
        let next = 100 * (round + 1);
        let (inner, ids) = (engine.inner.clone(), [one.id, ticks.id, two.id]);
        let reading = Box::new(Repeats(move |scope: &mut dyn WriteScope| {
            let view = scope.read()?;
            let mut counts = Vec::new();
            for id in ids {
                counts.push(view.scan(id)?.map(|batch| batch.map(|batch| batch.num_rows())).sum::<Result<usize>>()?);
                // An epoch with more records before the next one is read.
                let epoch = inner.published.borrow().epoch;
                WATCHED.lock().entry("ticks".into()).or_default().records += 1;
                while inner.published.borrow().epoch == epoch {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
            Ok(WriteOutcome { rows: counts[0] as u64, returned: Vec::new() })
        }));
        let queued = |work: Box<dyn WriteJob>| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.write(work).await })
        };
        let busy = queued(busy);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let writing = queued(insert(&people, &[(next, "x")]));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let reading = queued(reading);
        tokio::time::sleep(Duration::from_millis(20)).await;
        go.send(()).expect("it waits");
        for done in [busy, writing, reading] {
            done.await.expect("ends").expect("is written");
        }
    }
}
