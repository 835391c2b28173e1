//! The engine alone: writes in order, transactions, what readers see, and starting again.

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

/// What the sources of connected streams do in these tests, by the streams' names.
static WATCHED: LazyLock<Mutex<HashMap<String, Watched>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Copy, Default)]
struct Watched {
    /// Records there are.
    records: i64,
    /// Reading them again gives others.
    lost: bool,
    /// There is no connection to be had, for a reason that won't pass.
    away: bool,
    /// Reading them again waits until this is over.
    silent: bool,
    /// What makes rows of them is not what it was.
    decodes_otherwise: bool,
    /// How long whoever last read again would have waited for records.
    patience: Duration,
}

fn watch(stream: &str, watched: Watched) {
    WATCHED.lock().insert(stream.to_string(), watched);
}

fn connected(name: &str) -> Relation {
    let mut relation = stream(name);
    if let RelationKind::Stream(stream) = &mut relation.kind {
        stream.connector = Some(Connector { name: "watched".into(), options: Vec::new() });
    }
    relation
}

async fn open_watched(folder: &std::path::Path) -> Arc<Engine> {
    let engine = Engine::open(EngineConfig { connect: watched, ..EngineConfig::new(folder) }).expect("opens");
    engine.ready().await.expect("recovers");
    engine
}

struct Records(Arc<Relation>);

impl Records {
    fn watched(&self) -> Watched {
        WATCHED.lock().get(&self.0.name).copied().unwrap_or_default()
    }

    fn fetched(&self, range: Range) -> Fetched {
        let ids: Vec<(i64, &str)> = (range.start..range.next).map(|id| (id, "x")).collect();
        let mut fingerprint = Fingerprint::default();
        ids.iter().for_each(|(id, name)| fingerprint.add(*id, None, Some(name.as_bytes())));
        let Range { partition, start, next } = range;
        Fetched { partition, start, next, rows: batch(&self.0, &ids), dead: Vec::new(), fingerprint }
    }
}

impl Source for Records {
    fn identity(&self) -> Result<String> {
        Ok("records".into())
    }

    fn decoder(&self) -> &'static str {
        if self.watched().decodes_otherwise { "records 2" } else { "records 1" }
    }

    fn start_positions(&self) -> Result<Vec<(i32, i64)>> {
        Ok(vec![(0, 0)])
    }

    fn read(&self, from: Vec<(i32, i64)>, out: ChunkSender, _statuses: Statuses, stop: Stop) -> Result<()> {
        let mut at = from.first().map_or(0, |(_, at)| *at);
        while !stop.stopped() {
            let next = self.watched().records;
            if at < next && out.send(self.fetched(Range { partition: 0, start: at, next })) {
                at = next;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn replay(&self, range: Range, patience: Duration, each: &mut dyn FnMut(Fetched) -> Result<()>) -> Result<()> {
        WATCHED.lock().entry(self.0.name.clone()).or_default().patience = patience;
        while self.watched().silent {
            std::thread::sleep(Duration::from_millis(1));
        }
        let fetched = self.fetched(range);
        match self.watched().lost {
            true => each(Fetched { fingerprint: Fingerprint::default(), ..fetched }),
            false => each(fetched),
        }
    }
}

fn watched(stream: &Relation, _identity: Option<&str>) -> Result<Arc<dyn Source>> {
    let records = Records(Arc::new(stream.clone()));
    match records.watched().away {
        true => Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "it went away")),
        false => Ok(Arc::new(records)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_a_replay_does_not_stop_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = Watched { records: 10, ..Watched::default() };
    watch("records", there);
    let engine = open_watched(folder.path()).await;
    let people = create(&engine, table("people", true)).await;
    let records = create(&engine, connected("records")).await;
    while rows(&engine, &records).await.len() < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let all = create(&engine, view("everything", "SELECT id, name FROM records", &records, &["public"])).await;
    create(&engine, index("by_name", &all, 1)).await;
    assert_eq!(rows(&engine, &all).await.len(), 10);
    engine.shutdown().await;
    drop(engine);

    for (lost, away) in [(true, false), (false, true), (true, true)] {
        watch("records", Watched { lost, away, ..there });
        let engine = open_watched(folder.path()).await;
        engine.write(insert(&people, &[(1 + i64::from(lost) + 2 * i64::from(away), "x")])).await.expect("inserts");
        let read = engine.read().await.expect("reads");
        let refused = [records.id, all.id].map(|id| read.scan(id).err().expect("nothing wrong is answered"));
        if (lost, away) == (true, false) {
            for error in refused {
                let message = "the history of stream \"records\" has changed: partition 0, positions 0 to 10";
                assert_eq!((error.state(), error.message()), (SqlState::DATA_CORRUPTED, message));
            }
        }
        assert_eq!(read.row_count(records.id), None, "what is not trusted is not counted");
        // An index on what has failed can't be made, and leaves nothing in the log.
        let refused = engine.create(index("by_id", &all, 0), false, Waiter::default()).await;
        assert!(refused.is_err());
        engine.shutdown().await;
        drop(engine);
    }
    watch("records", there);

    // A definition that is logged and means nothing to this release.
    {
        let store = Arc::new(Store::open(folder.path(), 0).expect("opens"));
        let log = EpochLog::new(store);
        let last = log.read(1).expect("reads").map(|cut| cut.expect("a cut")).last().expect("some");
        let odd = Relation { id: RelationId(900), ..view("odd", "SELECT nothing FROM nowhere", &people, &["public"]) };
        let ddl = vec![Ddl::Create { relation: odd }.encode().expect("encodes")];
        let commits = (last.commits.1, last.commits.1);
        let cut = crate::log::Cut { epoch: last.epoch + 1, commits, ddl, ..Default::default() };
        log.append(&cut).expect("appends");
    }
    let engine = open_watched(folder.path()).await;
    assert_eq!(rows(&engine, &all).await.len(), 10);
    assert_eq!(rows(&engine, &people).await.len(), 3);
    assert!(engine.read().await.expect("reads").scan(RelationId(900)).is_err());
    engine.drop_relations(vec![RelationId(900), records.id], true).await.expect("drops");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_log_with_a_hole_is_no_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 1).await;
    create(&engine, table("people", true)).await;
    engine.shutdown().await;
    drop(engine);
    {
        let log = EpochLog::new(Arc::new(Store::open(folder.path(), 0).expect("opens")));
        log.append(&crate::log::Cut { epoch: 3, commits: (1, 1), ..Default::default() }).expect("appends");
    }
    let engine = Engine::open(EngineConfig::new(folder.path())).expect("opens");
    let error = engine.ready().await.expect_err("does not recover");
    assert_eq!((error.state(), error.message()), (SqlState::DATA_CORRUPTED, "epoch 3 follows 1 in the epoch log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_made_by_another_decoder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = Watched { records: 10, ..Watched::default() };
    watch("decoded", there);
    let engine = open_watched(folder.path()).await;
    let people = create(&engine, table("people", true)).await;
    let records = create(&engine, connected("decoded")).await;
    let all = create(&engine, view("everything", "SELECT id, name FROM decoded", &records, &["public"])).await;
    until(async || rows(&engine, &all).await.len() == 10).await;
    engine.shutdown().await;
    drop(engine);

    watch("decoded", Watched { decodes_otherwise: true, ..there });
    let engine = open_watched(folder.path()).await;
    let read = engine.read().await.expect("reads");
    for id in [records.id, all.id] {
        let error = read.scan(id).err().expect("is refused");
        assert_eq!(error.state(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    }
    let error = read.scan(records.id).err().expect("is refused");
    assert_eq!(error.message(), "stream \"decoded\" was made by a decoder that this release does not have");
    assert!(error.detail().is_some_and(|detail| detail.contains("\"records 1\"; \"records 2\"")), "{error:?}");
    drop(read);
    engine.write(insert(&people, &[(1, "ann")])).await.expect("everything else goes on");
    engine.shutdown().await;
    drop(engine);

    watch("decoded", there);
    let engine = open_watched(folder.path()).await;
    assert_eq!(rows(&engine, &all).await.len(), 10);
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

/// What is being filled or built now, if it is one thing only.
fn progress(engine: &Engine) -> Option<Arc<DdlProgress>> {
    let ddl = engine.facts().ddl();
    (ddl.len() == 1).then(|| ddl[0].clone())
}

fn creating(
    engine: &Arc<Engine>,
    relation: &Relation,
    waiter: &Waiter,
) -> tokio::task::JoinHandle<Result<CreateOutcome>> {
    let (engine, relation, waiter) = (engine.clone(), relation.clone(), waiter.clone());
    tokio::spawn(async move { engine.create(relation, false, waiter).await })
}

async fn check_nothing_is_left(engine: &Engine) {
    assert!(engine.facts().ddl().is_empty());
    assert_eq!(engine.state_bytes().expect("measures").1, 0, "bytes of fills");
    // The sequencer may have answered and not yet let go.
    until(async || engine.holds().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_stops_however_much_follows_from_a_few_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let (many, few) = (create(&engine, table("many", true)).await, create(&engine, table("few", true)).await);
    let some = |count: i64| (0..count).map(|id| (id, "x")).collect::<Vec<(i64, &str)>>();
    engine.write(insert(&many, &some(20_000))).await.expect("inserts");
    engine.write(insert(&few, &some(1000))).await.expect("inserts");
    // The few come last, in one slice: ten billion rows follow from it.
    let query = "SELECT count(*) AS id, max(c.name) AS name FROM many a, few b, few c WHERE a.id + b.id + c.id < 0";
    let endless = view("v", query, &many, &["public"]);
    let endless = Relation { depends_on: vec![many.id, few.id], ..endless };
    let waiter = Waiter { pid: 7, ..Waiter::default() };
    let filling = creating(&engine, &endless, &waiter);
    let done = |progress: &DdlProgress| progress.rows_done.load(Ordering::Relaxed);
    until(async || progress(&engine).is_some_and(|progress| done(&progress) == 20_000)).await;
    let shown = progress(&engine).expect("it is being filled");
    let expected = (7, DdlWork::Filling, "v", Some(21_000));
    assert_eq!((shown.pid, shown.work, shown.object.as_str(), shown.rows_total), expected);
    waiter.stop.store(true, Ordering::Relaxed);
    let ended = tokio::time::timeout(PATIENCE, filling).await.expect("does not go on to its end");
    let stopped = ended.expect("ends").expect_err("is stopped");
    assert_eq!((stopped.state(), done(&shown)), (SqlState::QUERY_CANCELED, 20_000));
    check_nothing_is_left(&engine).await;
    let again = create(&engine, view("v", "SELECT id, name FROM few", &few, &["public"])).await;
    assert_eq!(rows(&engine, &again).await, expected_rows(1000));

    let by_name = index("by_name", &many, 1);
    let stopped = engine.create(by_name.clone(), false, waiter.clone()).await.expect_err("is stopped");
    assert_eq!(stopped.state(), SqlState::QUERY_CANCELED);
    check_nothing_is_left(&engine).await;
    create(&engine, by_name).await;

    // While epochs wait for what came meanwhile, too.
    let inner = engine.inner.clone();
    let plan = views::plan(&engine.catalog(), &again).expect("plans");
    let before = inner.newest_reader(HoldKind::Backfill, "v");
    let fill = backfill::fill(&inner, &plan, &before.state, &mut |_| Ok(())).expect("fills");
    engine.write(insert(&few, &[(-1, "y")])).await.expect("inserts");
    let now = rows(&engine, &few).await;
    assert_eq!(now.len(), 1001);
    let state = inner.published.borrow().clone();
    let mut filled = ddl::Filled::new(inner, again.id, fill, before, waiter);
    assert_eq!(filled.catch_up(&state).err().map(|error| error.state()), Some(SqlState::QUERY_CANCELED));
    drop(filled);
    check_nothing_is_left(&engine).await;
}

fn expected_rows(count: i64) -> Rows {
    (0..count).map(|id| (id, Some("x".to_string()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_stops_while_its_source_is_silent() {
    let folder = tempfile::tempdir().expect("a folder");
    watch("mute", Watched { records: 10, ..Watched::default() });
    let engine = open_watched(folder.path()).await;
    let mute = create(&engine, connected("mute")).await;
    until(async || engine.read().await.expect("reads").row_count(mute.id) == Some(10)).await;
    WATCHED.lock().entry("mute".into()).or_default().silent = true;
    let all = view("everything", "SELECT id, name FROM mute", &mute, &["public"]);
    let waiter = Waiter { pid: 7, ..Waiter::default() };
    let filling = creating(&engine, &all, &waiter);
    until(async || progress(&engine).is_some()).await;
    assert_eq!(progress(&engine).and_then(|progress| progress.rows_total), Some(10));
    let holds: Vec<(HoldKind, String)> = engine.holds().into_iter().map(|hold| (hold.kind, hold.owner)).collect();
    assert_eq!(holds, [(HoldKind::Backfill, "everything".to_string())]);
    waiter.stop.store(true, Ordering::Relaxed);
    let ended = tokio::time::timeout(PATIENCE, filling).await;
    WATCHED.lock().entry("mute".into()).or_default().silent = false;
    let stopped = ended.expect("does not wait for its source").expect("ends").expect_err("is stopped");
    assert_eq!(stopped.state(), SqlState::QUERY_CANCELED);
    check_nothing_is_left(&engine).await;
    let all = create(&engine, all).await;
    assert_eq!(rows(&engine, &all).await, expected_rows(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_streams_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    watch("counted", Watched { records: 10, ..Watched::default() });
    let engine = open_watched(folder.path()).await;
    let (events, counted) = (create(&engine, stream("events")).await, create(&engine, connected("counted")).await);
    let count = async |engine: &Engine, relation: &Relation| {
        let read = engine.read().await.expect("reads");
        let count = read.row_count(relation.id);
        assert_eq!(count, Some(rows_of(&read, relation.id).len() as u64));
        count
    };
    assert_eq!(count(&engine, &events).await, Some(0));
    engine.write(insert(&events, &[(1, "a"), (1, "a")])).await.expect("inserts");
    engine.write(insert(&events, &[(2, "b")])).await.expect("inserts");
    assert_eq!(count(&engine, &events).await, Some(3));
    until(async || count(&engine, &counted).await == Some(10)).await;
    // A block's own rows are not in the count, so there is none.
    let mut block = engine.begin();
    block.create(stream("made"), false).await.expect("creates");
    let made = block.catalog().expect("a catalog").get("public", "made").expect("there").clone();
    assert_eq!(block.read().await.expect("reads").row_count(made.id), Some(0));
    block.write(insert(&made, &[(1, "a")])).await.expect("inserts");
    assert_eq!(block.read().await.expect("reads").row_count(made.id), None);
    block.commit(Waiter::default()).await.expect("commits");
    assert_eq!(count(&engine, &made).await, Some(1));
    engine.shutdown().await;
    drop(engine);

    let engine = open_watched(folder.path()).await;
    assert_eq!((count(&engine, &events).await, count(&engine, &made).await), (Some(3), Some(1)));
    assert_eq!(count(&engine, &counted).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_name_who_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 1).await;
    let people = create(&engine, table("people", true)).await;
    let holds = || -> Vec<(&'static str, String)> {
        engine.holds().into_iter().map(|hold| (hold.kind.name(), hold.owner)).collect()
    };
    let read = engine.read_for("7").await.expect("reads");
    let mut block = engine.begin_for("8");
    // The sequencer may have answered and not yet let go.
    until(async || holds() == [("read", "7".to_string())]).await;
    block.write(insert(&people, &[(1, "ann")])).await.expect("inserts");
    assert_eq!(holds(), [("read", "7".to_string()), ("transaction", "8".to_string())]);
    drop(read);
    block.commit(Waiter::default()).await.expect("commits");
    until(async || holds().is_empty()).await;
    // A write reads where its place in the order is.
    let (sender, seen) = std::sync::mpsc::channel();
    let of_engine = engine.clone();
    let looking = job(move |_| {
        let holds = of_engine.holds().into_iter().map(|hold| (hold.kind.name(), hold.owner));
        sender.send(holds.collect::<Vec<_>>()).expect("is heard");
        Ok(WriteOutcome::default())
    });
    engine.write(looking).await.expect("is run");
    assert_eq!(seen.recv().expect("is said"), [("read", "sequencer".to_string())]);
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

/// Rows of a relation that are kept, dead ones included.
fn kept(engine: &Engine, relation: &Relation) -> usize {
    let shards = engine.inner.published.borrow().shards[&relation.id].clone();
    shards.0.iter().map(|shard| shard.stored_rows()).sum()
}

/// Gives every row a new name.
fn rename_all(relation: &Arc<Relation>, name: String) -> Box<dyn WriteJob> {
    let id = relation.id;
    job(move |scope| {
        for old in scope.read()?.scan(id)? {
            let old = old?;
            let names: StringArray = (0..old.num_rows()).map(|_| Some(&name)).collect();
            let new = RecordBatch::try_new(old.schema(), vec![old.column(0).clone(), Arc::new(names)])?;
            scope.update(id, &[old], &[new])?;
        }
        Ok(WriteOutcome::default())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_no_more_than_live_running() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 1).await;
    let people = create(&engine, table("people", true)).await;
    let some: Vec<(i64, &str)> = (0..2000).map(|id| (id, "")).collect();
    engine.write(insert(&people, &some)).await.expect("inserts");
    for round in 0..50 {
        engine.write(rename_all(&people, format!("round {round}"))).await.expect("updates");
        // DDL between them: the replay makes an epoch of each.
        create(&engine, table(&format!("other{round}"), true)).await;
    }
    engine.shutdown().await;
    drop(engine);
    let engine = open(folder.path(), 1).await;
    let kept = kept(&engine, &people);
    assert!(kept < 10 * 2000, "{kept} rows are kept for 2000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_bounded_by_bytes_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = EngineConfig { max_transaction_rows: 100, ..EngineConfig::new(folder.path()) };
    let engine = Engine::open(config).expect("opens");
    let (people, names) = (create(&engine, table("people", true)).await, create(&engine, stream("names")).await);
    let wide = "x".repeat(30 * 1024);
    for relation in [&people, &names] {
        let some: Vec<(i64, &str)> = (0..4).map(|id| (id, wide.as_str())).collect();
        let error = engine.write(insert(relation, &some)).await.expect_err("are too many");
        assert_eq!(error.state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
        engine.write(insert(relation, &some[..3])).await.expect("inserts");
    }
    let mut transaction = engine.begin();
    transaction.write(insert(&names, &[(4, &wide), (5, &wide)])).await.expect("inserts");
    let error = transaction.write(insert(&names, &[(6, &wide), (7, &wide)])).await.expect_err("are too many");
    assert_eq!(error.state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_cut_holds_is_taken_in_by_epochs_of_the_usual_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 1).await;
    let names = create(&engine, stream("names")).await;
    let epoch = engine.read().await.expect("reads").epoch();
    engine.shutdown().await;
    drop(engine);
    // As a server leaves it that is killed between the acknowledgement and the cut.
    let many: Vec<(i64, &str)> = vec![(1, ""); epochs::EPOCH_ROWS / 2];
    let store = Arc::new(Store::open(folder.path(), 0).expect("opens"));
    let mut rows = Batch::default();
    for sequence in 1..=5 {
        let changes = vec![(names.id, Delta::insertions(batch(&names, &many)))];
        CommitLog::put(&mut rows, &Commit { sequence, changes }).expect("encodes");
    }
    store.write(rows).expect("is written");
    drop(store);
    let engine = open(folder.path(), 1).await;
    assert_eq!(engine.read().await.expect("reads").epoch(), epoch + 3);
    assert_eq!(engine.inner.published.borrow().commits, 6);
    engine.shutdown().await;
    drop(engine);
    // The cuts are those of any epochs.
    let engine = open(folder.path(), 1).await;
    assert_eq!(engine.read().await.expect("reads").epoch(), epoch + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_rows_of_a_quiet_relation_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let (people, others) = (create(&engine, table("people", true)).await, create(&engine, table("others", true)).await);
    let some: Vec<(i64, &str)> = (0..30_000).map(|id| (id, "x")).collect();
    engine.write(insert(&people, &some)).await.expect("inserts");
    let (id, held) = (people.id, engine.read().await.expect("reads"));
    let all = job(move |scope| Ok(WriteOutcome { rows: scope.truncate(id)?, returned: Vec::new() }));
    engine.write(all).await.expect("deletes");
    assert_eq!(rows(&engine, &people).await.len(), 0);
    assert_eq!(rows_of(&held, people.id).len(), 30_000, "a reader keeps what it sees");
    drop(held);
    // Nothing is written to it any more; others may be written or not.
    engine.write(insert(&others, &[(1, "x")])).await.expect("inserts");
    for _ in 0..6000 {
        if kept(&engine, &people) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} dead rows are still kept", kept(&engine, &people));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_wait_for_epochs_that_are_behind() {
    taken_while_no_epoch_ends(50, 1).await;
    // A few wide rows are as much.
    taken_while_no_epoch_ends(1, 50 * 1024).await;
}

/// Twenty writes of so many rows of so many bytes, of which a few fill what may wait.
async fn taken_while_no_epoch_ends(width: i64, bytes: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(EngineConfig { waiting_rows: 100, ..EngineConfig::new(folder.path()) }).expect("opens");
    let people = create(&engine, table("people", true)).await;
    // No cut can be logged for now, so no epoch ends.
    let (go, gone) = std::sync::mpsc::channel::<()>();
    engine
        .inner
        .log_thread
        .send(Box::new(move || {
            let _ = gone.recv();
        }))
        .expect("is taken");
    engine.write(insert(&people, &[(5000, "x")])).await.expect("inserts");
    until(async || engine.write_bytes().queued == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The epoch thread has it, and takes in nothing more.
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..20i64)
        .map(|writer| {
            let (engine, people, acknowledged) = (engine.clone(), people.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let name = "x".repeat(bytes);
                let some: Vec<(i64, &str)> = (0..width).map(|row| (width * writer + row, name.as_str())).collect();
                engine.write(insert(&people, &some)).await.expect("inserts");
                acknowledged.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let early = acknowledged.load(Ordering::Relaxed);
    assert!((1..=6).contains(&early), "{early} of 20 writes were taken while no epoch ended");
    let WriteBytes { overlay, queued, .. } = engine.write_bytes();
    let least = early as usize * width as usize * (8 + bytes);
    assert!(overlay >= least && queued >= least, "{early} writes of {least} bytes: {overlay} and {queued} are counted");
    go.send(()).expect("it waits");
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert_eq!(rows(&engine, &people).await.len() as i64, 20 * width + 1);
    // All of them are in epochs now, and the next write finds that out.
    engine.write(insert(&people, &[(5001, "x")])).await.expect("inserts");
    assert_eq!(rows(&engine, &people).await.len() as i64, 20 * width + 2);
    let WriteBytes { overlay, queued, .. } = engine.write_bytes();
    assert!(overlay < 1000 && queued == 0, "one row: {overlay} and {queued} are counted");
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_its_sequencer_has_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 1).await;
    let people = create(&engine, table("people", true)).await;
    engine.write(insert(&people, &[(1, "ann")])).await.expect("inserts");
    // A bug: a row that is not in its batch.
    let mut writes = Overlay::default();
    let nowhere = overlay::Row { batch: Arc::new(batch(&people, &[(2, "bob")])), row: 7, bytes: 0 };
    writes.set(people.id, b"key", None, Some(nowhere));
    engine.commit(Arc::new(writes), None).await.expect_err("can't be written");
    let mut readiness = engine.readiness();
    let failed = |readiness: &Readiness| matches!(readiness, Readiness::Failed(_));
    readiness.wait_for(failed).await.expect("is told");
    assert!(engine.read().await.is_err() && engine.write(insert(&people, &[(3, "eve")])).await.is_err());
    engine.shutdown().await;
    drop(engine);
    let engine = open(folder.path(), 1).await;
    assert_eq!(rows(&engine, &people).await, expected(&[(1, "ann")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_no_epoch_that_cannot_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(EngineConfig { waiting_rows: 1, ..EngineConfig::new(folder.path()) }).expect("opens");
    let people = create(&engine, table("people", true)).await;
    // A cut that finds the disk full, as all after it would.
    let cut = crate::log::Cut { epoch: 1000, ..Default::default() };
    let (done, answer) = crossbeam_channel::bounded(1);
    done.send(Err(Error::new(SqlState::DISK_FULL, "full"))).expect("is taken");
    engine.inner.stopping.store(true, Ordering::Relaxed);
    let epochs = Epochs {
        inner: engine.inner.clone(),
        control: crossbeam_channel::never(),
        commits: crossbeam_channel::never(),
        state: Published::empty(),
        running: HashMap::new(),
        waiting: VecDeque::new(),
        give_back_at: None,
        digests: None,
        readiness: engine.readiness.clone(),
    };
    let outcome = epochs.finish_log(&cut, answer).expect_err("gives up");
    assert_eq!(outcome.state(), SqlState::ADMIN_SHUTDOWN);
    engine.inner.stopping.store(false, Ordering::Relaxed);

    // While no epoch ends, writes and a read wait for one; they are told when none comes any more.
    let (go, gone) = std::sync::mpsc::channel::<()>();
    engine
        .inner
        .log_thread
        .send(Box::new(move || {
            let _ = gone.recv();
        }))
        .expect("is taken");
    let waiting: Vec<_> = (0..4i64)
        .map(|id| {
            let (engine, people) = (engine.clone(), people.clone());
            tokio::spawn(async move {
                let written = engine.write(insert(&people, &[(id, "x"), (id + 10, "y")])).await;
                written.is_err() || engine.read().await.is_err()
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    engine.inner.end(None);
    for waiting in waiting {
        assert!(waiting.await.expect("ends"), "is told that there is no state to read");
    }
    go.send(()).expect("it waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_do_not_wait_long_for_a_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open_watched(folder.path()).await;
    watch("slow", Watched { records: 10, ..Watched::default() });
    let slow = create(&engine, connected("slow")).await;
    while rows(&engine, &slow).await.len() < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let inner = engine.inner.clone();
    let all = view("everything", "SELECT id, name FROM slow", &slow, &["public"]);
    let plan = views::plan(&inner.published.borrow().catalog, &all).expect("plans");
    let before = inner.newest_reader(HoldKind::Backfill, "everything");
    let patience = || WATCHED.lock()["slow"].patience;
    let fill = backfill::fill(&inner, &plan, &before.state, &mut |_| Ok(())).expect("fills");
    let beside = patience();
    // Five more come while it is filled: they are fed while epochs wait.
    WATCHED.lock().entry("slow".into()).or_default().records = 15;
    while rows(&engine, &slow).await.len() < 15 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let now = inner.newest_reader(HoldKind::Backfill, "everything");
    let mut filled = ddl::Filled::new(inner.clone(), all.id, fill, before, Waiter::default());
    filled.catch_up(&now.state).expect("catches up");
    assert!(patience() < beside && patience() <= Duration::from_secs(1), "{:?}", patience());
}
