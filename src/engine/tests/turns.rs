//! Requests that wait for their turn, and may be given up until it comes.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_turn_is_given_up_at_once_and_never_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path(), 1).await;
    let people = create(&engine, table("people", true)).await;
    let mut block = engine.begin();
    block.write(insert(&people, &[(1, "ann")])).await.expect("inserts");

    let (begun, has_begun) = oneshot::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (longest, id, rows_of_longest) = (Waiter::new(1), people.id, batch(&people, &[(2, "bob")]));
    let holds_up = job(move |scope| {
        let _ = begun.send(());
        let _ = wait.recv();
        scope.insert(id, rows_of_longest)?;
        Ok(WriteOutcome::default())
    });
    let held_up = tokio::spawn({
        let (engine, longest) = (engine.clone(), longest.clone());
        async move { engine.write_for(holds_up, &longest).await.map(drop) }
    });
    has_begun.await.expect("it has its turn");

    let ran = Arc::new(AtomicBool::new(false));
    let waiters = [Waiter::new(2), Waiter::new(3), Waiter::new(4)];
    let waiting = [
        tokio::spawn({
            let (engine, waiter, ran) = (engine.clone(), waiters[0].clone(), ran.clone());
            let says_so = job(move |_| {
                ran.store(true, Ordering::Relaxed);
                Ok(WriteOutcome::default())
            });
            async move { engine.write_for(says_so, &waiter).await.map(drop) }
        }),
        tokio::spawn(block.commit(waiters[1].clone())),
        tokio::spawn({
            let (engine, waiter) = (engine.clone(), waiters[2].clone());
            async move { engine.create(table("late", true), false, waiter).await.map(drop) }
        }),
    ];
    while engine.requests.lock().as_ref().map_or(0, crossbeam_channel::Sender::len) < waiting.len() {
        tokio::task::yield_now().await;
    }
    waiters.iter().for_each(Waiter::give_up);
    for waiting in waiting {
        let ended = tokio::time::timeout(PATIENCE, waiting).await.expect("waits for nobody");
        assert_eq!(ended.expect("ends").err().map(|error| error.state()), Some(SqlState::QUERY_CANCELED));
    }
    // What has begun says itself whether it happened.
    longest.give_up();
    tokio::task::yield_now().await;
    assert!(!held_up.is_finished());
    go.send(()).expect("it waits");
    held_up.await.expect("ends").expect("is done");
    engine.write(insert(&people, &[(3, "eve")])).await.expect("inserts");
    assert_eq!(rows(&engine, &people).await, expected(&[(2, "bob"), (3, "eve")]));
    assert!(!ran.load(Ordering::Relaxed) && engine.catalog().get("public", "late").is_none());
}
