//! Views that are being filled: they can be given up, and who holds a version is told.

use super::*;

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
    let waiter = Waiter::new(7);
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
    let fill = backfill::fill(&inner, &[(again.id, plan)], &before.state, &mut |_| Ok(())).expect("fills");
    engine.write(insert(&few, &[(-1, "y")])).await.expect("inserts");
    let now = rows(&engine, &few).await;
    assert_eq!(now.len(), 1001);
    let state = inner.published.borrow().clone();
    let mut filled = ddl::Filled::new(inner, fill, before, waiter);
    assert_eq!(filled.catch_up(&state).err().map(|error| error.state()), Some(SqlState::QUERY_CANCELED));
    drop(filled);
    check_nothing_is_left(&engine).await;
}

fn expected_rows(count: i64) -> Rows {
    (0..count).map(|id| (id, Some("x".to_string()))).collect()
}

/// Names a view that the block made.
fn made(block: &Transaction, name: &str) -> Arc<Relation> {
    block.catalog().expect("it has one").get("public", name).expect("is there").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_view_of_its_block_is_filled_before_anything_is_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 2).await;
    let many = create(&engine, table("many", true)).await;
    let some: Vec<(i64, &str)> = (0..20_000).map(|id| (id, "x")).collect();
    engine.write(insert(&many, &some)).await.expect("inserts");

    // Four hundred million rows follow from it, and it is given up while everybody else writes.
    let mut block = engine.begin();
    block.create(view("v1", "SELECT id, name FROM many", &many, &["public"]), false).await.expect("creates");
    let endless = "SELECT count(*) AS id, max(y.name) AS name FROM v1 x, v1 y WHERE x.id + y.id < 0";
    block.create(view("v2", endless, &made(&block, "v1"), &["public"]), false).await.expect("creates");
    let waiter = Waiter::new(7);
    let committing = tokio::spawn(block.commit(waiter.clone()));
    until(async || progress(&engine).is_some_and(|progress| progress.rows_done.load(Ordering::Relaxed) > 0)).await;
    let shown = progress(&engine).expect("they are being filled");
    assert_eq!((shown.object.as_str(), shown.rows_total), ("v1, v2", Some(20_000)));
    let written = tokio::time::timeout(PATIENCE, engine.write(insert(&many, &[(20_000, "x")]))).await;
    written.expect("waits for no fill").expect("inserts");
    assert!(!committing.is_finished());
    waiter.stop.store(true, Ordering::Relaxed);
    let ended = tokio::time::timeout(PATIENCE, committing).await.expect("does not go on to its end");
    assert_eq!(ended.expect("ends").err().map(|error| error.state()), Some(SqlState::QUERY_CANCELED));
    check_nothing_is_left(&engine).await;
    assert!(engine.catalog().get("public", "v1").is_none());

    // The same of views that end: they hold what views made one by one hold, while others write, and after a restart.
    let even = "SELECT x.id, y.name FROM v1 x JOIN v1 y ON y.id = x.id + 1 WHERE x.id % 2 = 0";
    let counts = "SELECT count(*) AS id, w.name FROM v2 v JOIN v1 w ON w.id = v.id GROUP BY w.name";
    let mut block = engine.begin();
    block.create(view("v1", "SELECT id, name FROM many", &many, &["public"]), false).await.expect("creates");
    let first = made(&block, "v1");
    block.create(index("by_name", &first, 1), false).await.expect("creates");
    block.create(view("v2", even, &first, &["public"]), false).await.expect("creates");
    let second = made(&block, "v2");
    let third = Relation { depends_on: vec![first.id, second.id], ..view("v3", counts, &second, &["public"]) };
    block.create(third, false).await.expect("creates");
    let third = made(&block, "v3");
    engine.write(insert(&many, &[(20_001, "y"), (20_002, "z")])).await.expect("inserts");
    block.commit(Waiter::default()).await.expect("commits");
    check_nothing_is_left(&engine).await;
    let one_by_one = |name: &str, on: &Arc<Relation>, query: &str| view(name, query, on, &["public"]);
    let again = create(&engine, one_by_one("w2", &first, even)).await;
    let counted = Relation { depends_on: vec![first.id, second.id], ..one_by_one("w3", &second, counts) };
    let counted = create(&engine, counted).await;
    for id in [20_001, 3, 4, 20_000] {
        engine.write(rename(&many, id, "!")).await.expect("updates");
        let (left, right) = (rows(&engine, &second).await, rows(&engine, &again).await);
        assert!(left.len() >= 10_000 && left == right, "{} and {} rows", left.len(), right.len());
        assert_eq!(rows(&engine, &third).await, rows(&engine, &counted).await);
    }
    let before = (rows(&engine, &second).await, rows(&engine, &third).await);
    engine.shutdown().await;
    drop(engine);
    let engine = open(folder.path(), 1).await;
    assert_eq!((rows(&engine, &second).await, rows(&engine, &third).await), before);
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
    let waiter = Waiter::new(7);
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
