//! Connected streams that fail, change their decoder, grow and are slow.

use super::*;

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
    let fill = backfill::fill(&inner, &[(all.id, plan)], &before.state, &mut |_| Ok(())).expect("fills");
    let beside = patience();
    // Five more come while it is filled: they are fed while epochs wait.
    WATCHED.lock().entry("slow".into()).or_default().records = 15;
    while rows(&engine, &slow).await.len() < 15 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let now = inner.newest_reader(HoldKind::Backfill, "everything");
    let mut filled = ddl::Filled::new(inner.clone(), fill, before, Waiter::default());
    filled.catch_up(&now.state).expect("catches up");
    assert!(patience() < beside && patience() <= Duration::from_secs(1), "{:?}", patience());
}
