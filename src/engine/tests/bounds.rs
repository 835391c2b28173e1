//! What is kept and what waits has a bound.

use super::*;

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
