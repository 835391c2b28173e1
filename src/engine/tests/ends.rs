//! Engines that fail, or are stopped while something waits.

use super::*;

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
async fn an_engine_without_its_sequencer_has_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 1).await;
    let people = create(&engine, table("people", true)).await;
    engine.write(insert(&people, &[(1, "ann")])).await.expect("inserts");
    // A bug: a row that is not in its batch.
    let mut writes = Overlay::default();
    let nowhere = overlay::Row { batch: Arc::new(batch(&people, &[(2, "bob")])), row: 7, bytes: 0 };
    writes.set(people.id, b"key", None, Some(nowhere));
    engine.commit(Arc::new(writes), None, &Waiter::default()).await.expect_err("can't be written");
    let mut readiness = engine.readiness();
    let failed = |readiness: &Readiness| matches!(readiness, Readiness::Failed(_));
    readiness.wait_for(failed).await.expect("is told");
    assert!(engine.read().await.is_err() && engine.write(insert(&people, &[(3, "eve")])).await.is_err());
    engine.shutdown().await;
    drop(engine);
    let engine = open(folder.path(), 1).await;
    assert_eq!(rows(&engine, &people).await, expected(&[(1, "ann")]));
}

/// What was being written may be there or not: nothing is told, written or read any more until a restart has found out.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_whose_disk_fails_has_failed() {
    for ddl in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = open(folder.path(), 1).await;
        let people = create(&engine, table("people", true)).await;
        engine.write(insert(&people, &[(1, "ann")])).await.expect("inserts");
        // Its epoch is logged.
        assert_eq!(rows(&engine, &people).await, expected(&[(1, "ann")]));
        engine.inner.store.breaks.store(true, Ordering::Relaxed);
        let outcome = match ddl {
            false => engine.write(insert(&people, &[(2, "bob")])).await.map(drop),
            true => engine.create(table("late", true), false, Waiter::default()).await.map(drop),
        };
        assert_eq!(outcome.err().map(|error| error.state()), Some(SqlState::TRANSACTION_RESOLUTION_UNKNOWN));
        let mut readiness = engine.readiness();
        let failed = |readiness: &Readiness| matches!(readiness, Readiness::Failed(_));
        readiness.wait_for(failed).await.expect("is told");
        assert_eq!(engine.read().await.err().map(|error| error.state()), Some(SqlState::IO_ERROR));
        let write = engine.write(insert(&people, &[(3, "eve")])).await;
        assert_eq!(write.err().map(|error| error.state()), Some(SqlState::IO_ERROR));
        engine.shutdown().await;
        drop(engine);
        // The sequencer's thread lets go of the folder when it has ended.
        until(async || Store::open(folder.path(), 0).is_ok()).await;
        let engine = open(folder.path(), 1).await;
        // This time all of it was on the disk.
        let all = if ddl { &[(1, "ann")][..] } else { &[(1, "ann"), (2, "bob")] };
        assert_eq!(rows(&engine, &people).await, expected(all));
        assert_eq!(engine.catalog().get("public", "late").is_some(), ddl);
        engine.write(insert(&people, &[(3, "eve")])).await.expect("inserts");
    }
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
