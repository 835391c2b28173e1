//! Sessions through a real driver, tokio-postgres: prepared statements, types both ways, cancel, limits, restarts.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::fixture::{PATIENCE, Server};
use crate::protocol::{Wire, query};

/// The SQLSTATE of what must have failed.
fn state<T>(result: Result<T, tokio_postgres::Error>) -> SqlState {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error.code().unwrap_or_else(|| panic!("{error} has no SQLSTATE")).clone(),
    }
}

#[tokio::test]
async fn prepared_statements_with_parameters() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("create table t (id int primary key, name text, amount numeric(10,2))").await.unwrap();
    let insert = client.prepare("insert into t (id, name) values ($1, $2)").await.unwrap();
    assert_eq!(insert.params(), [Type::INT4, Type::TEXT]);
    for (id, name) in [(1, Some("one")), (2, None)] {
        assert_eq!(client.execute(&insert, &[&id, &name]).await.unwrap(), 1);
    }
    let select = client.prepare("select id, name, id > $1 as more from t where id <= $2 order by id").await.unwrap();
    assert_eq!(
        select.columns().iter().map(|column| column.type_().clone()).collect::<Vec<_>>(),
        [Type::INT4, Type::TEXT, Type::BOOL]
    );
    let rows = client.query(&select, &[&1, &10]).await.unwrap();
    let read: Vec<(i32, Option<String>, bool)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(read, [(1, Some("one".into()), false), (2, None, true)]);
    assert_eq!(state(client.execute(&insert, &[&1, &Some("again")]).await), SqlState::UNIQUE_VIOLATION);
}

#[tokio::test]
async fn what_is_returned_after_a_definition_has_changed() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("create table t (a int)").await.unwrap();
    let select = client.prepare("select * from t").await.unwrap();
    client.batch_execute("drop table t; create table t (a int, b int)").await.unwrap();
    assert_eq!(state(client.query(&select, &[]).await), SqlState::FEATURE_NOT_SUPPORTED);
    // A write that can't say what it announced does not happen.
    let insert = client.prepare("insert into t (a) values (1) returning *").await.unwrap();
    client.batch_execute("prepare again as insert into t (a) values (1) returning *").await.unwrap();
    client.batch_execute("drop table t; create table t (a int, b int, c int)").await.unwrap();
    assert_eq!(state(client.query(&insert, &[]).await), SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(state(client.batch_execute("execute again").await), SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(client.query_one("select count(*) from t", &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn cancel_and_timeout_stop_the_work_and_not_the_session() {
    let server = Server::start();
    let client = server.connect().await;
    let long =
        "select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 10) c";
    let token = client.cancel_token();
    let (outcome, ()) = tokio::join!(client.simple_query(long), async {
        // A request that comes before the statement has begun cancels nothing, so it is sent until one has hit.
        let other = server.connect().await;
        loop {
            let active = "select 1 from pg_stat_activity where state = 'active' and query like 'select count%'";
            if other.query_opt(active, &[]).await.unwrap().is_some() {
                token.cancel_query(tokio_postgres::NoTls).await.unwrap();
                return;
            }
        }
    });
    assert_eq!(state(outcome), SqlState::QUERY_CANCELED);
    client.batch_execute("set statement_timeout = '100ms'").await.unwrap();
    let error = client.simple_query(long).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().message(), "canceling statement due to statement timeout");
    client.batch_execute("reset statement_timeout").await.unwrap();
    assert_eq!(client.query_one("select 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

/// What is given up stops, even where it makes billions of rows of a few, and even as a write at its place in the order.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_stops() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("create table t (a int); create table many (a int)").await.unwrap();
    client.batch_execute("insert into t select i from generate_series(1, 20000) i").await.unwrap();
    client.batch_execute("set statement_timeout = '200ms'").await.unwrap();
    let endless = [
        "select count(*) from t a, t b, t c",
        "select count(*) from t a, t b, t c where a.a + b.a + c.a = -1",
        "select count(*) from t a join t b on a.a % 2 = b.a % 2 join t c on c.a % 2 = b.a % 2 and c.a + a.a = -1",
        "select count(*) from t where a > (select count(*) from t a, t b, t c where a.a + b.a + c.a + t.a = -1)",
        "select count(*) from t where a > (select count(*) from t a, t b, t c where a.a + b.a + c.a = -1)",
        "explain analyze select count(*) from t a, t b, t c where a.a + b.a + c.a = -1",
        "insert into many select a.a from t a, t b, t c where a.a + b.a + c.a = -1",
        "begin; insert into many select a.a from t a, t b, t c where a.a + b.a + c.a = -1; commit",
    ];
    for statement in endless {
        assert_eq!(state(client.simple_query(statement).await), SqlState::QUERY_CANCELED, "{statement}");
        client.batch_execute("rollback").await.unwrap();
    }
    // Another's write has its turn.
    server.connect().await.batch_execute("insert into many values (1)").await.unwrap();
    while !server.get("/metrics").1.contains("riverrun_queries_running{} 0") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(client.query_one("select count(*) from many", &[]).await.unwrap().get::<_, i64>(0), 1);
}

/// What takes long in one place is done aside: it holds up nobody, and stops when it is told to.
#[test]
fn many_values_that_take_long_hold_up_nobody() {
    let server = Server::start();
    let long = "select ".to_string() + &vec!["md5(repeat('a', 20000000))"; 1000].join(", ");
    // More than there are threads for sessions.
    let sessions = std::thread::available_parallelism().map_or(4, usize::from) + 4;
    let mut busy: Vec<Wire> = (0..sessions).map(|_| Wire::connect(&server)).collect();
    busy.iter_mut().for_each(|wire| wire.send(&query(&long)));
    let mut other = Wire::connect(&server);
    let began = std::time::Instant::now();
    let all = format!("D {sessions}");
    let active = "select count(*) from pg_stat_activity where state = 'active' and query like 'select md5%'";
    while !other.query(active).contains(&all) {
        assert!(began.elapsed() < PATIENCE, "they are not at work together");
    }
    assert_eq!(server.get("/healthz").0, 200);
    for wire in &mut busy {
        wire.cancel(&server);
        let heard = wire.until_ready();
        assert!(heard.starts_with("E ERROR 57014"), "{}", &heard[..heard.len().min(200)]);
    }
    // The other ways to have values computed.
    other.query("set statement_timeout = '100ms'");
    other.query("prepare p (text) as select $1");
    other.query("create table t (a text)");
    for statement in
        ["execute p (md5(repeat('a', 200000000)))", "select * from t where a = md5(repeat('a', 200000000))"]
    {
        let heard = other.query(statement);
        assert!(heard.starts_with("E ERROR 57014"), "{statement}: {heard}");
    }
}

/// There are as many query threads as cores: long queries take turns with short ones.
#[test]
fn more_long_queries_than_threads_leave_room_for_short_ones() {
    let server = Server::start();
    let mut short = Wire::connect(&server);
    short.query("create table t (a int)");
    short.query("insert into t select i from generate_series(1, 20000) i");
    let endless = [
        "select count(*) from t a, t b, t c",
        "select count(*) from t a, t b, t c where a.a + b.a + c.a = -1",
        "select count(*) from generate_series(1, 1000000000) a, generate_series(1, 1000000000) b",
    ];
    let count = std::thread::available_parallelism().unwrap().get() + 2;
    let mut long: Vec<Wire> = (0..count).map(|_| Wire::connect(&server)).collect();
    for (number, wire) in long.iter_mut().enumerate() {
        wire.send(&query(endless[number % endless.len()]));
    }
    let running = format!("riverrun_queries_running{{}} {count}");
    while !server.get("/metrics").1.contains(&running) {}
    for n in 1..=10 {
        let heard = short.query(&format!("select count(*), sum(a) from t where a % 100 < {n}"));
        assert!(heard.contains(&format!("\nD {}|", 200 * n)), "{heard}");
    }
    for wire in &long {
        wire.cancel(&server);
    }
    for wire in &mut long {
        assert!(wire.until_ready().starts_with("E ERROR 57014 "));
    }
    while !server.get("/metrics").1.contains("riverrun_queries_running{} 0") {}
}

#[tokio::test]
async fn transactions_read_one_moment_and_see_their_own_writes() {
    let server = Server::start();
    let mut client = server.connect().await;
    let other = server.connect().await;
    client.batch_execute("create table t (a int primary key, b int)").await.unwrap();
    client.batch_execute("insert into t values (1, 10), (2, 20)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let sum = "select sum(b)::int from t";
    assert_eq!(transaction.query_one(sum, &[]).await.unwrap().get::<_, i32>(0), 30);
    other.batch_execute("insert into t values (3, 30)").await.unwrap();
    assert_eq!(transaction.query_one(sum, &[]).await.unwrap().get::<_, i32>(0), 30);
    transaction.batch_execute("update t set b = b + 1").await.unwrap();
    assert_eq!(transaction.query_one(sum, &[]).await.unwrap().get::<_, i32>(0), 32);
    assert_eq!(other.query_one(sum, &[]).await.unwrap().get::<_, i32>(0), 60);
    transaction.commit().await.unwrap();
    assert_eq!(other.query_one(sum, &[]).await.unwrap().get::<_, i32>(0), 62);
}

#[tokio::test]
async fn the_first_committer_wins() {
    let server = Server::start();
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    first.batch_execute("create table t (a int primary key, b int); insert into t values (1, 0)").await.unwrap();
    let one = first.transaction().await.unwrap();
    let two = second.transaction().await.unwrap();
    one.batch_execute("update t set b = b + 1").await.unwrap();
    two.batch_execute("update t set b = b + 10").await.unwrap();
    one.commit().await.unwrap();
    assert_eq!(state(two.commit().await), SqlState::T_R_SERIALIZATION_FAILURE);
    assert_eq!(first.query_one("select b from t", &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test]
async fn several_statements_in_one_message_are_one_transaction() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("create table t (a int primary key)").await.unwrap();
    let twice = "insert into t values (1); insert into t values (1)";
    assert_eq!(state(client.batch_execute(twice).await), SqlState::UNIQUE_VIOLATION);
    assert_eq!(client.query_one("select count(*) from t", &[]).await.unwrap().get::<_, i64>(0), 0);
    client.batch_execute("insert into t values (1); insert into t values (2)").await.unwrap();
    assert_eq!(client.query_one("select count(*) from t", &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("create table t (a int primary key, b text)").await.unwrap();
    client.batch_execute("create materialized view v as select b, count(*) as n from t group by b").await.unwrap();
    for a in 0..20 {
        client.execute("insert into t values ($1, $2)", &[&a, &format!("b{}", a % 3)]).await.unwrap();
    }
    let all = "select b, n from v order by b";
    let read = |rows: Vec<tokio_postgres::Row>| -> Vec<(String, i64)> {
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let before = read(client.query(all, &[]).await.unwrap());
    assert_eq!(before, [("b0".to_string(), 7), ("b1".to_string(), 7), ("b2".to_string(), 6)]);
    let server = server.kill_and_restart();
    let client = server.connect().await;
    assert_eq!(read(client.query(all, &[]).await.unwrap()), before);
    let server = server.stop_and_restart();
    let client = server.connect().await;
    assert_eq!(read(client.query(all, &[]).await.unwrap()), before);
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let server = Server::start();
    let output = crate::fixture::command(server.folder()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let client = server.connect().await;
    client.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn copy_through_a_driver() {
    use futures::{SinkExt, StreamExt};
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("create table t (a int primary key, b text)").await.unwrap();
    let sink = client.copy_in("copy t from stdin").await.unwrap();
    let mut sink = std::pin::pin!(sink);
    let rows: String = (0..30_000).map(|a| format!("{a}\tvalue {a}\n")).collect();
    for piece in rows.as_bytes().chunks(10_001) {
        sink.send(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 30_000);
    let mut stream = std::pin::pin!(client.copy_out("copy (select * from t order by a) to stdout").await.unwrap());
    let mut text = Vec::new();
    while let Some(piece) = stream.next().await {
        text.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(String::from_utf8(text).unwrap(), rows);
}

#[test]
fn health_and_metrics() {
    let server = Server::start();
    assert_eq!(server.get("/healthz"), (200, "ok\n".to_string()));
    assert_eq!(server.get("/readyz"), (200, "ready\n".to_string()));
    server.psql("select 1; select no_such;");
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    for line in ["riverrun_statements_total{command=\"SELECT\"} 1", "riverrun_errors_total{sqlstate=\"42703\"} 1"] {
        assert!(metrics.contains(line), "{line} is missing in:\n{metrics}");
    }
    assert_eq!(server.get("/nothing").0, 404);
}

/// What SHOW CREATE prints makes the same again, and is printed for that too.
#[tokio::test]
async fn a_shown_definition_makes_the_same_again() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("create schema \"My shop\"; set search_path = \"My shop\", public").await.unwrap();
    let made = [
        (
            "\"Accounts\"",
            "create table \"Accounts\" (id int primary key, \"select\" varchar(20) not null default 'no''body, \"\"',
             balance numeric(12,2) default 0 - 1 not null, since timestamptz default now(), brief timestamp(3), code char(5),
             tags text[] default '{a,b}', raw bytea, whole jsonb default '{\"a\": [1]}', span interval, key uuid,
             initials text as (upper(left(\"select\", 2)) || ' (' || id || ')') not null)",
        ),
        (
            "public.items",
            "create table public.items (sku text, place int, primary key (place, sku),
             note struct<\"select\" int, \"B b\" struct<c numeric(5,1), d text[]>[]>)",
        ),
        ("plain", "create table plain (a int)"),
        (
            "clicks",
            "create stream clicks (id bigint not null, \"Page\" text default 'home', slow boolean as (id > 100 and not id = 7))",
        ),
        (
            "made",
            "create stream made (id int, \"userId\" text, at timestamp, day date as (at::date)) with (connector = 'datagen',
             rows.per.second = 1, number.of.rows = 0, \"fields.userId.values\" = 'it''s,b', fields.id.kind = 'sequence')",
        ),
        ("bids", "create stream bids (price bigint) with (connector = 'nexmark', table.type = 'bid', events.num = 0)"),
        ("rich", "create view rich (who, \"How much\") as select \"select\", balance as b from \"Accounts\" -- those\n where balance > 1"),
        ("same", "create view same (who) as select who from rich order by who"),
        (
            "totals",
            "create materialized view totals as with a as (select * from \"Accounts\") select code, sum(balance) as total
             from a group by code order by total desc limit 10",
        ),
        ("public.prices", "create materialized view public.prices (item) as (select sku, max(place) from public.items group by sku)"),
        ("\"Accounts_select_balance_idx\"", "create index on \"Accounts\" (\"select\", balance desc)"),
        ("by_code", "create index by_code on \"Accounts\" using hash (code)"),
        ("public.\"By max\"", "create index \"By max\" on public.prices (max desc nulls last, item nulls first)"),
    ];
    let shown = async || {
        let mut shown = Vec::new();
        for (name, _) in &made {
            let row = client.query_one(&format!("show create {name}"), &[]).await.unwrap();
            shown.push(row.get::<_, String>(1));
        }
        shown
    };
    let described = async || {
        let mut described = Vec::new();
        for (name, _) in &made {
            described.extend(crate::ask::rows(&client, &format!("describe {name}")).await);
        }
        described
    };
    for (_, statement) in &made {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let (first, columns) = (shown().await, described().await);
    let drop = "drop table \"Accounts\", public.items, plain cascade; drop stream clicks, made, bids";
    client.batch_execute(drop).await.unwrap();
    assert_eq!(client.query_one("select count(*) from rr_relations", &[]).await.unwrap().get::<_, i64>(0), 0);
    for text in &first {
        client.batch_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    }
    assert_eq!(shown().await, first);
    assert_eq!(described().await, columns);
}
