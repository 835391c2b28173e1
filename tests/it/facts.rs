//! What the server says of itself, over SQL and in its metrics: what is under way, who holds what, how much there is of everything.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use crate::ask::{rows, run, until, value};
use crate::fixture::{PATIENCE, Server};

/// The value of a metric with exactly these labels.
fn metric(server: &Server, series: &str) -> Option<f64> {
    let (_, metrics) = server.get("/metrics");
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().expect("a number"))
}

async fn until_metric(server: &Server, series: &str, expected: f64) {
    let began = Instant::now();
    loop {
        let found = metric(server, series);
        if found == Some(expected) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{series} is {found:?}, not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn pid(client: &Client) -> String {
    value(client, "SELECT pg_backend_pid()").await
}

/// Runs a statement on a session of its own, of which the pid is given too; gives its error's SQLSTATE and message.
async fn beside(
    server: &Server,
    parameters: &str,
    statement: &str,
) -> (String, tokio_postgres::CancelToken, tokio::task::JoinHandle<(String, String)>) {
    let client = server.connect_with(parameters).await;
    let (pid, cancel, statement) = (pid(&client).await, client.cancel_token(), statement.to_string());
    let running = tokio::spawn(async move { crate::ask::refused(&client, &statement).await });
    (pid, cancel, running)
}

async fn check_nothing_is_left(server: &Server, client: &Client) {
    until(client, "SELECT count(*) FROM rr_ddl_progress", "0").await;
    until(client, "SELECT count(*) FROM rr_holds WHERE owner <> pg_backend_pid()::text", "0").await;
    until_metric(server, "riverrun_fill_bytes{}", 0.0).await;
    assert_eq!(value(client, "SELECT count(*) FROM pg_class WHERE relname = 'v'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_shows_how_far_it_is_and_can_be_given_up() {
    let server = Server::start();
    let client = server.connect().await;
    run(
        &client,
        "CREATE STREAM few (a int); CREATE TABLE many (a int);
         INSERT INTO few SELECT i FROM generate_series(1, 500) i;
         INSERT INTO many SELECT i FROM generate_series(1, 400000) i",
    )
    .await;
    // Two million pairs follow from each slice of the second relation.
    let slow = "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM few, many WHERE few.a + many.a <> 0";
    let (filler, cancel, filling) = beside(&server, "", slow).await;
    let shown = "SELECT pid, object, state, rows_total FROM rr_ddl_progress";
    until(&client, shown, &format!("{filler} | v | filling | 400500")).await;
    let done = async || value(&client, "SELECT rows_done FROM rr_ddl_progress").await.parse::<i64>().unwrap_or(-1);
    let (began, first) = (Instant::now(), done().await);
    while done().await <= first.max(500) {
        assert!(began.elapsed() < PATIENCE, "it does not come further than {first} rows");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let jobs = rows(&client, "SHOW JOBS").await;
    assert!(jobs.len() == 1 && jobs[0].starts_with(&format!("{filler} | v | filling | ")), "{jobs:?}");
    assert!(jobs[0].ends_with(" | 400500"), "{jobs:?}");
    let held = "SELECT DISTINCT kind || ' ' || owner FROM rr_holds WHERE owner <> pg_backend_pid()::text";
    assert_eq!(rows(&client, held).await, ["backfill v"]);
    cancel.cancel_query(NoTls).await.expect("the request is heard");
    let (state, message) = filling.await.expect("ends");
    assert_eq!((state.as_str(), message.as_str()), ("57014", "canceling statement due to user request"));
    check_nothing_is_left(&server, &client).await;

    // One slice, from which more follows than can be waited for.
    let endless = "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM many a, few b, few c, few d
                   WHERE a.a + b.a + c.a + d.a <> 0";
    let endings = [("", "user request"), ("options='-c statement_timeout=1s'", "statement timeout")];
    for (parameters, reason) in endings {
        let (filler, cancel, filling) = beside(&server, parameters, endless).await;
        if parameters.is_empty() {
            until(&client, "SELECT pid FROM rr_ddl_progress WHERE rows_done > 0", &filler).await;
            cancel.cancel_query(NoTls).await.expect("the request is heard");
        }
        let ended = tokio::time::timeout(PATIENCE, filling).await.expect("does not go on to its end").expect("ends");
        assert_eq!(ended, ("57014".to_string(), format!("canceling statement due to {reason}")));
        check_nothing_is_left(&server, &client).await;
    }
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM few").await;
    run(&client, "INSERT INTO few VALUES (0)").await;
    assert_eq!(value(&client, "SELECT n FROM v").await, "501");
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_name_their_sessions() {
    let server = Server::start();
    let (client, other) = (server.connect().await, server.connect().await);
    run(&client, "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)").await;
    let (own, others) = (pid(&client).await, pid(&other).await);
    // The sequencer's are as short as its writes.
    let holds = "SELECT kind, owner FROM rr_holds WHERE owner <> 'sequencer' AND since <= now() + interval '1 minute'
                 ORDER BY kind";
    assert_eq!(rows(&client, holds).await, [format!("read | {own}")]);
    run(&other, "BEGIN").await;
    assert_eq!(rows(&client, holds).await, [format!("read | {own}")], "nothing is held before the first read");
    run(&other, "DECLARE c CURSOR FOR SELECT a FROM t; FETCH 1 FROM c").await;
    let both = [format!("read | {own}"), format!("transaction | {others}")];
    assert_eq!(rows(&client, holds).await, both);
    // It is the epoch that the block has seen.
    let epoch = "SELECT epoch FROM rr_holds WHERE kind = 'transaction'";
    let held = value(&client, epoch).await;
    run(&client, "INSERT INTO t VALUES (3)").await;
    assert_eq!(value(&client, epoch).await, held);
    let newest = "SELECT max(epoch) > (SELECT epoch FROM rr_holds WHERE kind = 'transaction') FROM rr_relations";
    assert_eq!(value(&client, newest).await, "t");
    run(&other, "COMMIT").await;
    assert_eq!(rows(&client, holds).await, [format!("read | {own}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_and_settings() {
    let server = Server::start_with(&[], &[("RIVERRUN_DEAD_LETTER_RETENTION", "3kB")]);
    let client = server.connect().await;
    run(
        &client,
        "CREATE TABLE t (a int PRIMARY KEY, b text); CREATE STREAM s (a int);
         CREATE STREAM made (id bigint, share bigint AS (100 / (id % 2)))
             WITH (connector = 'datagen', rows.per.second = '0', number.of.rows = '1000', fields.id.kind = 'sequence');
         CREATE VIEW v AS SELECT a FROM t;
         CREATE MATERIALIZED VIEW m AS SELECT b, count(*) AS n FROM t GROUP BY b;
         CREATE INDEX i ON t (b);
         INSERT INTO t VALUES (1, 'x'), (2, 'x'), (3, 'y'); INSERT INTO s VALUES (1), (1);
         DELETE FROM t WHERE a = 1",
    )
    .await;
    // Every second generated row fails, and is none.
    until(&client, "SELECT rows FROM rr_relations WHERE name = 'made'", "500").await;
    let relations = "SELECT name, kind, rows, state_bytes > 0, epoch IS NOT NULL FROM rr_relations ORDER BY name";
    let expected = [
        "i | index | NULL | NULL | f",
        "m | materialized view | 2 | t | t",
        "made | stream | 500 | NULL | t",
        "s | stream | 2 | NULL | t",
        "t | table | 2 | t | t",
        "v | view | NULL | NULL | f",
    ];
    assert_eq!(rows(&client, relations).await, expected);
    assert_eq!(value(&client, "SELECT count(*) FROM made").await, "500");
    assert_eq!(value(&client, "SELECT count(*) FROM s").await, "2");

    let letters = "SELECT count(*) > 0 AND count(*) < 50, max(\"offset\") FROM rr_dead_letters WHERE stream = 'made'";
    assert_eq!(value(&client, letters).await, "t | 999", "the newest are kept, as many as there is room for");
    assert_eq!(metric(&server, "riverrun_dead_letters_total{stream=\"public.made\"}"), Some(500.0));
    let bytes = metric(&server, "riverrun_dead_letter_bytes{}").expect("is counted");
    assert!((1.0..3072.0).contains(&bytes), "{bytes}");

    let setting = "SELECT name, setting FROM rr_settings WHERE name IN ('dead_letter_retention', 'max_connections')
                   ORDER BY name";
    assert_eq!(rows(&client, setting).await, ["dead_letter_retention | 3kB", "max_connections | 1000"]);
    assert_eq!(value(&client, "SELECT count(*) FROM rr_settings WHERE description = ''").await, "0");
    let same = "SELECT count(*) FROM rr_settings r JOIN pg_settings p USING (name)";
    assert_eq!(value(&client, same).await, value(&client, "SELECT count(*) FROM pg_settings").await);
    run(&client, "SET statement_timeout = '7s'").await;
    assert_eq!(value(&client, "SELECT setting FROM rr_settings WHERE name = 'statement_timeout'").await, "7s");
    assert_eq!(value(&client, "SHOW dead_letter_retention").await, "3kB");
    drop(client);

    // What a replay counts is the same.
    let server = server.kill_and_restart();
    let client = server.connect().await;
    assert_eq!(rows(&client, relations).await, expected);
    assert_eq!(metric(&server, "riverrun_dead_letters_total{stream=\"public.made\"}"), Some(500.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_the_engine() {
    let server = Server::start();
    let client = server.connect().await;
    run(
        &client,
        "CREATE TABLE t (a int PRIMARY KEY);
         CREATE STREAM clicks (id bigint) WITH (connector = 'datagen', rows.per.second = '0', number.of.rows = '1000');
         CREATE MATERIALIZED VIEW inverse AS SELECT a, 12 / a AS b FROM t",
    )
    .await;
    let before = metric(&server, "riverrun_epoch{}").expect("an epoch");
    run(&client, "INSERT INTO t VALUES (0), (1)").await;
    assert_eq!(value(&client, "SELECT count(*) FROM inverse").await, "2");
    assert!(metric(&server, "riverrun_epoch{}").expect("an epoch") > before);
    assert!(metric(&server, "riverrun_overlay_bytes{}").expect("is counted") > 0.0, "the last write lies there still");
    until_metric(&server, "riverrun_commit_queue_bytes{}", 0.0).await;
    let failed = "riverrun_expression_errors{view=\"public.inverse\",sqlstate=\"22012\",message=\"division by zero\"}";
    assert_eq!(metric(&server, failed), Some(1.0));
    run(&client, "DELETE FROM t WHERE a = 0").await;
    assert_eq!(value(&client, "SELECT count(*) FROM inverse").await, "1");
    assert_eq!(metric(&server, failed), None);

    until(&client, "SELECT count(*) FROM clicks", "1000").await;
    until_metric(&server, "riverrun_source_lag{stream=\"public.clicks\",partition=\"0\"}", 0.0).await;
    assert_eq!(metric(&server, "riverrun_source_failing{stream=\"public.clicks\",partition=\"0\"}"), Some(0.0));
    until_metric(&server, "riverrun_source_queue_bytes{stream=\"public.clicks\"}", 0.0).await;
    assert_eq!(metric(&server, "riverrun_source_fetched_bytes{stream=\"public.clicks\"}"), Some(0.0));
    let state = metric(&server, "riverrun_state_bytes{relation=\"public.t\"}").expect("its state");
    run(&client, "INSERT INTO t SELECT i FROM generate_series(10, 50000) i").await;
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "49992");
    let more = metric(&server, "riverrun_state_bytes{relation=\"public.t\"}").expect("its state");
    assert!(more > state + 49_991.0 * 4.0, "{state} bytes before, {more} with fifty thousand rows");
    assert!(metric(&server, "riverrun_store_bytes{}").expect("is counted") > 0.0);
    run(&client, "DROP STREAM clicks").await;
    assert_eq!(metric(&server, "riverrun_source_queue_bytes{stream=\"public.clicks\"}"), None);

    run(&client, "BEGIN; INSERT INTO t VALUES (-1); SAVEPOINT s; UPDATE t SET a = a + 100000").await;
    let many = metric(&server, "riverrun_transaction_bytes{}").expect("is counted");
    assert!(many > 2.0 * 49_992.0 * 4.0, "{many} bytes for fifty thousand rows as they were and as they are");
    run(&client, "ROLLBACK TO s").await;
    let one = metric(&server, "riverrun_transaction_bytes{}").expect("is counted");
    assert!((4.0..1000.0).contains(&one), "{one} bytes for one row");
    run(&client, "COMMIT").await;
    assert_eq!(metric(&server, "riverrun_transaction_bytes{}"), Some(0.0));

    // A sort of all rows while its reader stands at the first one.
    assert_eq!(metric(&server, "riverrun_query_bytes{}"), Some(0.0));
    run(&client, "BEGIN; DECLARE c CURSOR FOR SELECT a FROM t ORDER BY -a; FETCH 1 FROM c").await;
    let held = metric(&server, "riverrun_query_bytes{}").expect("is counted");
    assert!(held >= 49_992.0 * 4.0, "{held} bytes for a sort of fifty thousand rows");
    run(&client, "COMMIT").await;
    until_metric(&server, "riverrun_query_bytes{}", 0.0).await;
}
