//! A replay gives what was: digests of every relation at every epoch, and every acknowledged write, over kills at any moment
//! and with other numbers of workers.
//!
//! Each writer keeps a model of what it wrote. After a kill the database holds either the state last acknowledged to it, or that with
//! the one change that was under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use crate::ask::{rows, until};
use crate::fixture::Server;

const WRITERS: i32 = 4;
/// Acknowledged changes, of all writers, after which the server is killed.
const CHANGES: usize = 400;
/// Changes at which the next view is made.
const BETWEEN_VIEWS: usize = 12;

const TABLES: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, region text);
    INSERT INTO customers SELECT i, 'customer ' || i, CASE WHEN i % 4 > 0 THEN 'r' || i % 3 END FROM generate_series(1, 12) i;
    CREATE TABLE items (id bigint PRIMARY KEY, writer int, customer int, kind text, price numeric(10,2), score float8);
    CREATE INDEX items_by_kind ON items (kind);
    CREATE TABLE counters (id int PRIMARY KEY, n bigint);
    INSERT INTO counters VALUES (1, 0), (2, 0);
    CREATE TABLE notes (writer int, body text);
    CREATE STREAM events (writer int, n bigint, kind text, at timestamp);
    CREATE STREAM clicks (id bigint, page text) WITH (connector = 'datagen', rows.per.second = '2000',
        number.of.rows = '20000', fields.id.kind = 'sequence', fields.page.values = 'home,cart,pay');";

/// Views in the order in which they are made, while all else goes on.
const VIEWS: &[(&str, &str)] = &[
    ("joined", "SELECT i.id, c.name, i.price FROM items i JOIN customers c ON c.id = i.customer WHERE i.price > 5"),
    (
        "kinds",
        "SELECT kind, count(*) AS n, sum(price) AS price, avg(score) AS score, min(score) AS least, max(price) AS most,
         stddev_samp(score) AS deviation, string_agg(region, ',') AS regions, count(DISTINCT customer) AS customers,
         array_agg(i.id) FILTER (WHERE price > 50) AS dear
         FROM items i LEFT JOIN customers c ON c.id = i.customer AND i.price > 10 GROUP BY kind",
    ),
    ("dropped_early", "SELECT customer, sum(score) AS score FROM items GROUP BY customer"),
    ("top", "SELECT id, price, score FROM items ORDER BY price DESC, score LIMIT 7"),
    (
        "ranked",
        "SELECT * FROM (SELECT id, kind, score, row_number() OVER (PARTITION BY kind ORDER BY score DESC) AS place
         FROM items) ranks WHERE place <= 3",
    ),
    ("pages", "SELECT page, count(*) AS n, sum(id) AS ids FROM clicks GROUP BY page"),
    (
        "both_sides",
        "SELECT c.id AS customer, i.id AS item FROM customers c FULL JOIN items i ON i.customer = c.id AND i.score < 0.5",
    ),
    ("idle", "SELECT name FROM customers WHERE NOT EXISTS (SELECT FROM items WHERE customer = customers.id)"),
    ("strangers", "SELECT id FROM items WHERE customer NOT IN (SELECT id FROM customers WHERE region IS NOT NULL)"),
    ("pairs", "SELECT DISTINCT kind, customer FROM items"),
    (
        "sets",
        "SELECT kind FROM items UNION ALL SELECT kind FROM events EXCEPT ALL SELECT kind FROM items WHERE price < 20",
    ),
    ("common", "SELECT customer FROM items INTERSECT SELECT id FROM customers WHERE region = 'r1'"),
    (
        "minutes",
        "SELECT window_start, kind, count(*) AS n, count(DISTINCT writer) AS writers
         FROM TUMBLE(events, at, INTERVAL '1 minute') GROUP BY window_start, kind",
    ),
    ("dropped_late", "SELECT e.n, c.n AS total FROM events e CROSS JOIN counters c WHERE c.id = 1 AND e.n % 10 = 0"),
    (
        "sliding",
        "SELECT window_start, window_end, sum(n) AS n
         FROM HOP(events, at, INTERVAL '20 seconds', INTERVAL '1 minute') GROUP BY window_start, window_end",
    ),
    ("above", "SELECT k.kind, k.n, r.id, r.place FROM kinds k JOIN ranked r ON r.kind = k.kind WHERE k.n > 1"),
    (
        "sums",
        "SELECT region, kind, count(*) AS n, sum(price) AS price FROM items i JOIN customers c ON c.id = i.customer
         GROUP BY ROLLUP (region, kind)",
    ),
    ("again", "SELECT a.writer, a.n, b.kind FROM events a LEFT JOIN events b ON b.writer = a.writer AND b.n = a.n + 1"),
    ("said", "SELECT writer, body, count(*) AS n FROM notes GROUP BY writer, body"),
    ("all_counters", "SELECT sum(n) AS n FROM counters"),
];

/// What a writer has done.
#[derive(Clone, Debug, Default, PartialEq)]
struct Written {
    /// Kind and price, in cents, of its items.
    items: BTreeMap<i64, (String, i64)>,
    events: i64,
    notes: i64,
    bumps: i64,
}

struct Writer {
    number: i32,
    random: StdRng,
    acknowledged: Written,
    /// With the change that nobody has heard of since.
    under_way: Option<Written>,
}

/// How a change ended.
enum Outcome {
    Done,
    Refused,
    Unknown,
}

impl Writer {
    fn new(number: i32, seed: u64) -> Writer {
        let random = StdRng::seed_from_u64(seed ^ number as u64);
        Writer { number, random, acknowledged: Written::default(), under_way: None }
    }

    /// Writes until the connection ends, or as often as it is told.
    async fn write(&mut self, client: &Client, done: &AtomicUsize, most: usize) {
        for _ in 0..most {
            let (statements, after) = self.change();
            match self.run(client, &statements).await {
                Outcome::Done => {
                    self.acknowledged = after;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Refused => {}
                Outcome::Unknown => {
                    self.under_way = Some(after);
                    return;
                }
            }
        }
    }

    /// Some statements, and what there is after them.
    fn change(&mut self) -> (Vec<String>, Written) {
        let (random, me) = (&mut self.random, self.number);
        let mut after = self.acknowledged.clone();
        let mut statements = Vec::new();
        for _ in 0..*[1, 1, 1, 2, 3].choose(random).unwrap() {
            let mine: Vec<i64> = after.items.keys().copied().collect();
            let kind = format!("k{}", random.random_range(0..5));
            match random.random_range(0..10) {
                0..3 => {
                    let first = after.items.keys().last().map_or(i64::from(me) * 1_000_000, |last| last + 1);
                    let rows = (first..first + random.random_range(1..4)).map(|id| {
                        let cents = random.random_range(1..100) * 50;
                        after.items.insert(id, (kind.clone(), cents));
                        let customer = random.random_range(1..15);
                        let customer = if customer == 14 { "NULL".to_string() } else { customer.to_string() };
                        format!(
                            "({id}, {me}, {customer}, '{kind}', {cents} / 100.0, {}.1 / 7)",
                            random.random_range(0..30)
                        )
                    });
                    statements.push(format!("INSERT INTO items VALUES {}", rows.collect::<Vec<_>>().join(", ")));
                }
                3..6 if !mine.is_empty() => {
                    let id = *mine.choose(random).unwrap();
                    let item = after.items.get_mut(&id).unwrap();
                    *item = (kind.clone(), item.1 + 25);
                    statements.push(format!(
                        "UPDATE items SET kind = '{kind}', price = price + 0.25, score = score * -0.9 WHERE id = {id}"
                    ));
                }
                6 if !mine.is_empty() => {
                    let id = *mine.choose(random).unwrap();
                    after.items.retain(|other, _| *other < id);
                    statements.push(format!("DELETE FROM items WHERE writer = {me} AND id >= {id}"));
                }
                7 => {
                    after.bumps += 1;
                    let id = random.random_range(1..3);
                    statements.push(format!("UPDATE counters SET n = n + 1 WHERE id = {id}"));
                }
                8 => {
                    after.notes += 2;
                    statements.push(format!("INSERT INTO notes VALUES ({me}, '{kind}'), ({me}, '{kind}')"));
                }
                _ => {
                    after.events += 1;
                    let (n, second) = (after.events, after.events * 7 % 300);
                    statements.push(format!(
                        "INSERT INTO events VALUES ({me}, {n}, '{kind}', timestamp '2026-01-01' + interval '{second} seconds')"
                    ));
                }
            }
        }
        (statements, after)
    }

    /// Alone, in one message, or in a block; now and then a block is rolled back first.
    async fn run(&mut self, client: &Client, statements: &[String]) -> Outcome {
        if self.random.random_bool(0.1) {
            let nothing = [&["BEGIN".to_string()], statements, &["ROLLBACK".to_string()]].concat();
            for statement in nothing {
                if let Err(error) = client.batch_execute(&statement).await
                    && error.as_db_error().is_none()
                {
                    return Outcome::Refused;
                }
            }
        }
        if self.random.random_bool(0.5) {
            return outcome(client.batch_execute(&statements.join("; ")).await);
        }
        for statement in std::iter::once("BEGIN").chain(statements.iter().map(String::as_str)) {
            if let Err(error) = client.batch_execute(statement).await {
                // Nothing of it was committed.
                if error.as_db_error().is_some() {
                    let _ = client.batch_execute("ROLLBACK").await;
                }
                return Outcome::Refused;
            }
        }
        outcome(client.batch_execute("COMMIT").await)
    }

    /// What the database holds of this writer's is one of the two states it may be in.
    async fn check(&mut self, client: &Client) {
        let me = self.number;
        let mut found = Written { bumps: self.acknowledged.bumps, ..Written::default() };
        let items = format!("SELECT id, kind, (price * 100)::bigint FROM items WHERE writer = {me}");
        for row in client.query(&items, &[]).await.expect("the writer's items") {
            found.items.insert(row.get(0), (row.get(1), row.get(2)));
        }
        let counts = format!(
            "SELECT (SELECT count(*) FROM events WHERE writer = {me}), (SELECT count(*) FROM notes WHERE writer = {me}),
             (SELECT coalesce(max(n), 0) FROM events WHERE writer = {me})"
        );
        let counts = client.query_one(&counts, &[]).await.expect("the writer's counts");
        (found.events, found.notes) = (counts.get(0), counts.get(1));
        assert_eq!(found.events, counts.get::<_, i64>(2), "the events of writer {me} are numbered without gaps");
        let without_bumps = |written: &Written| Written { bumps: found.bumps, ..written.clone() };
        if self.under_way.as_ref().is_some_and(|after| without_bumps(after) == found) {
            self.acknowledged = self.under_way.take().unwrap();
        }
        assert_eq!(found, without_bumps(&self.acknowledged), "what writer {me} wrote; under way: {:?}", self.under_way);
    }
}

fn outcome(result: Result<(), tokio_postgres::Error>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => match error.as_db_error() {
            None => Outcome::Unknown,
            Some(error) => {
                assert_eq!(error.code().code(), "40001", "{error:?}");
                Outcome::Refused
            }
        },
    }
}

/// Increments are shared by all writers: each acknowledged one is there, and of those under way some may be.
async fn check_counters(client: &Client, before: &[(i64, i64)]) {
    let n = client.query_one("SELECT sum(n)::bigint FROM counters", &[]).await.expect("the counters").get::<_, i64>(0);
    let least: i64 = before.iter().map(|(least, _)| least).sum();
    let most: i64 = before.iter().map(|(_, most)| most).sum();
    assert!((least..=most).contains(&n), "{n} increments where {least} to {most} were made");
}

/// Epoch, relation's id and name, rows, digest.
fn digests(log: &str) -> BTreeMap<(u64, u64), (String, i64, String)> {
    let field = |line: &str, name: &str| {
        let at = line.find(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
        let rest = &line[at + name.len() + 2..];
        rest.split_whitespace().next().unwrap_or_default().trim_matches('"').to_string()
    };
    let lines = log.lines().filter(|line| line.contains("DEBUG digest "));
    lines
        .map(|line| {
            let (epoch, id) = (field(line, "epoch").parse().unwrap(), field(line, "id").parse().unwrap());
            ((epoch, id), (field(line, "name"), field(line, "rows").parse().unwrap(), field(line, "digest")))
        })
        .collect()
}

/// What was logged live is what a replay logs, for all that still exists.
fn same(live: &str, replayed: &str, living: &BTreeSet<String>, whole: bool) -> usize {
    let (live, replayed) = (digests(live), digests(replayed));
    let last_live = live.keys().map(|(epoch, _)| *epoch).max().unwrap_or(0);
    let last_replayed = replayed.keys().map(|(epoch, _)| *epoch).max().unwrap_or(0);
    assert!(!whole || last_replayed >= last_live, "replayed to {last_replayed}, and {last_live} was logged");
    // A kill may have cut off the lines of the last epoch, on either side.
    let whole_epochs = last_live.min(last_replayed);
    let both = |digests: &BTreeMap<(u64, u64), (String, i64, String)>| -> BTreeMap<_, _> {
        let compared = digests.iter().filter(|((epoch, _), (name, ..))| *epoch < whole_epochs && living.contains(name));
        compared.map(|(key, value)| (*key, value.clone())).collect()
    };
    let (live_lines, replayed_lines) = (both(&live), both(&replayed));
    for (key, digest) in &live_lines {
        assert_eq!(replayed_lines.get(key), Some(digest), "epoch and relation {key:?}");
    }
    for (key, digest) in &replayed_lines {
        assert_eq!(live_lines.get(key), Some(digest), "epoch and relation {key:?}");
    }
    for (key, digest) in live.iter().filter(|((epoch, _), (name, ..))| *epoch == whole_epochs && living.contains(name))
    {
        assert!(replayed.get(key).is_none_or(|other| other == digest), "epoch and relation {key:?}");
    }
    live_lines.len()
}

async fn living(client: &Client) -> BTreeSet<String> {
    let named = "SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
        WHERE relkind IN ('r', 'm')";
    rows(client, named).await.into_iter().collect()
}

/// Rows in an order of their own.
async fn sorted(client: &Client, query: &str) -> Vec<String> {
    let mut rows = rows(client, query).await;
    rows.sort();
    rows
}

/// Every view is what its query gives, at one epoch; the answers.
async fn check_views(client: &Client) -> BTreeMap<&'static str, Vec<String>> {
    let mut answers = BTreeMap::new();
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let made: Vec<String> = rows(client, "SELECT relname FROM pg_class WHERE relkind = 'm'").await;
    for (view, query) in VIEWS.iter().filter(|(view, _)| made.iter().any(|name| name == view)) {
        let found = sorted(client, &format!("SELECT * FROM {view}")).await;
        assert_eq!(found, sorted(client, query).await, "view {view}");
        answers.insert(*view, found);
    }
    client.batch_execute("COMMIT").await.unwrap();
    assert!(answers.len() > VIEWS.len() / 2, "only {} views were made before the kill", answers.len());
    answers
}

/// Makes the views one after the other while writers write, and drops two.
async fn make_views(client: Client, done: Arc<AtomicUsize>, made: Arc<AtomicUsize>) {
    for (number, (view, query)) in VIEWS.iter().enumerate() {
        while done.load(Ordering::Relaxed) < number * BETWEEN_VIEWS {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        if client.batch_execute(&format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await.is_err() {
            return;
        }
        made.fetch_add(1, Ordering::Relaxed);
        let gone = match *view {
            "idle" => "dropped_early",
            "sums" => "dropped_late",
            _ => continue,
        };
        if client.batch_execute(&format!("DROP MATERIALIZED VIEW {gone}")).await.is_err() {
            return;
        }
    }
}

async fn a_replay_gives_what_was(workers: &str, others: &str) {
    let seed = rand::random::<u32>() as u64;
    println!("seed {seed}");
    let log = "warn,riverrun=info,digests=debug";
    let server = Server::start_with(&[], &[("RUST_LOG", log), ("RIVERRUN_WORKERS", workers)]);
    let client = server.connect().await;
    client.batch_execute(TABLES).await.expect("the tables");
    drop(client);
    let done = Arc::new(AtomicUsize::new(0));
    let made = Arc::new(AtomicUsize::new(0));
    let views = tokio::spawn(make_views(server.connect().await, done.clone(), made.clone()));
    let mut tasks = Vec::new();
    for number in 1..=WRITERS {
        let (client, done) = (server.connect().await, done.clone());
        tasks.push(tokio::spawn(async move {
            let mut writer = Writer::new(number, seed);
            writer.write(&client, &done, usize::MAX).await;
            writer
        }));
    }
    // The last views may be under way.
    while done.load(Ordering::Relaxed) < CHANGES || made.load(Ordering::Relaxed) < VIEWS.len() - 2 {
        assert!(tasks.iter().all(|task| !task.is_finished()), "a writer has ended before the kill");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // In the middle of writing.
    let (remains, first_life) = server.kill();
    views.await.expect("the views");
    let mut writers = Vec::new();
    for task in tasks {
        writers.push(task.await.expect("a writer"));
    }

    // The same number of workers, killed in the middle of the replay, twice.
    let whole = digests(&first_life).len();
    let halves = [whole / 4, whole / 2].map(|lines| {
        let mut starting = remains.begin();
        starting.until(|log| log.lines().filter(|line| line.contains("DEBUG digest ")).count() >= lines);
        starting.kill()
    });
    let server = remains.start();
    let client = server.connect().await;
    let increments: Vec<(i64, i64)> = writers
        .iter()
        .map(|writer| {
            let least = writer.acknowledged.bumps;
            (least, writer.under_way.as_ref().map_or(least, |after| after.bumps))
        })
        .collect();
    check_counters(&client, &increments).await;
    for writer in &mut writers {
        writer.check(&client).await;
    }
    let there = living(&client).await;
    let compared = same(&first_life, &server.log(), &there, true);
    assert!(compared > CHANGES, "only {compared} digests compared");
    for half in &halves {
        same(&first_life, half, &there, false);
    }
    check_views(&client).await;
    // It goes on, and all of it is there for another number of workers.
    for writer in &mut writers {
        writer.under_way = None;
        writer.write(&client, &done, 10).await;
    }
    let before = check_views(&client).await;
    let (remains, second_life) = server.kill();
    let server = remains.with("RIVERRUN_WORKERS", others).start();
    let client = server.connect().await;
    for writer in &mut writers {
        writer.check(&client).await;
    }
    let replayed = server.log();
    same(&first_life, &replayed, &there, true);
    same(&second_life, &replayed, &there, true);
    // Generated records go on coming; everything else is the same to the byte.
    let without_clicks = |mut views: BTreeMap<_, _>| {
        views.remove("pages");
        views
    };
    assert_eq!(without_clicks(check_views(&client).await), without_clicks(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gives_what_was_with_one_worker() {
    a_replay_gives_what_was("1", "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gives_what_was_with_two_workers() {
    a_replay_gives_what_was("2", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gives_what_was_with_three_workers() {
    a_replay_gives_what_was("3", "2").await;
}

/// Many epochs are replayed as one; that the last of them took in only writes does not make streams begin anew.
#[tokio::test(flavor = "multi_thread")]
async fn streams_go_on_after_a_replay_that_ends_with_a_write() {
    let server = Server::start();
    let client = server.connect().await;
    let made = "CREATE TABLE t (a int);
        CREATE STREAM clicks (id bigint) WITH (connector = 'datagen', rows.per.second = '1000', number.of.rows = '1500',
            fields.id.kind = 'sequence');
        CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n, count(DISTINCT id) AS ids FROM clicks";
    client.batch_execute(made).await.unwrap();
    let finished = async |client: &Client| {
        until(client, "SELECT state FROM rr_source_partitions WHERE stream = 'clicks'", "finished").await;
        until(client, "SELECT ids FROM n", "1500").await;
        // The epoch that takes this in comes after all that was generated.
        client.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
        assert_eq!(rows(client, "SELECT * FROM n").await, ["1500 | 1500"]);
    };
    finished(&client).await;
    let server = server.kill_and_restart();
    let client = server.connect().await;
    assert_eq!(rows(&client, "SELECT * FROM n").await, ["1500 | 1500"]);
    finished(&client).await;
}
