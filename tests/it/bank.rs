//! The bank: money moves between accounts and is never made or lost, in no read of any view, at any moment.
//!
//! Every figure is kept in several forms (joined inner and full, by UNION ALL, by windows), which must agree at each epoch that
//! anyone reads, while writers write alone, in blocks, in one message, roll back, fail and conflict, and views are made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use crate::ask::{rows, run, value};
use crate::fixture::Server;

/// Over `transfers (id, payer, payee, amount, at)`, wherever that comes from.
pub const VIEWS: &str = "
    CREATE MATERIALIZED VIEW credits AS SELECT payee AS account, sum(amount) AS credits FROM transfers GROUP BY payee;
    CREATE MATERIALIZED VIEW debits AS SELECT payer AS account, sum(amount) AS debits FROM transfers GROUP BY payer;
    CREATE MATERIALIZED VIEW balance AS
        SELECT coalesce(c.account, d.account) AS account, coalesce(credits, 0) - coalesce(debits, 0) AS balance
        FROM credits c FULL JOIN debits d ON d.account = c.account;
    CREATE MATERIALIZED VIEW total AS SELECT sum(balance) AS total FROM balance;
    CREATE MATERIALIZED VIEW both_sides AS
        SELECT i.account, i.amount - o.amount AS balance
        FROM (SELECT account, sum(amount) AS amount FROM
                (SELECT payee AS account, amount FROM transfers UNION ALL SELECT payer, 0 FROM transfers) c GROUP BY account) i
        JOIN (SELECT account, sum(amount) AS amount FROM
                (SELECT payer AS account, amount FROM transfers UNION ALL SELECT payee, 0 FROM transfers) d GROUP BY account) o
            ON o.account = i.account;
    CREATE MATERIALIZED VIEW total_of_both AS SELECT sum(balance) AS total FROM both_sides;
    CREATE MATERIALIZED VIEW net AS
        SELECT sum(amount) AS net FROM (SELECT credits AS amount FROM credits UNION ALL SELECT -debits FROM debits) moved;
    CREATE MATERIALIZED VIEW twice AS
        SELECT a.id, a.amount, b.id AS same FROM transfers a LEFT JOIN transfers b ON b.id = a.id AND b.amount = a.amount;
    CREATE MATERIALIZED VIEW hours AS
        SELECT window_start, count(*) AS n, sum(amount) AS amount FROM TUMBLE(transfers, at, INTERVAL '1 hour') GROUP BY window_start;
    CREATE MATERIALIZED VIEW quarters AS
        SELECT window_start, count(*) AS n, sum(amount) AS amount
        FROM HOP(transfers, at, INTERVAL '15 minutes', INTERVAL '1 hour') GROUP BY window_start;";

/// Each column is 0 at every epoch.
pub const FORMS: &str = "
    (SELECT coalesce(total, 0) FROM total) AS \"full join\",
    (SELECT coalesce(total, 0) FROM total_of_both) AS \"inner join\",
    (SELECT coalesce(net, 0) FROM net) AS \"union all\",
    (SELECT coalesce(sum(balance), 0) FROM balance) AS balances,
    (SELECT count(*) FROM balance b FULL JOIN both_sides s ON s.account = b.account AND s.balance = b.balance
        WHERE s.account IS NULL OR b.account IS NULL) AS \"accounts that differ\",
    (SELECT count(*) FROM twice WHERE same IS NULL) AS \"alone in the self join\",
    (SELECT count(*) FROM twice) - (SELECT coalesce(sum(n), 0) FROM hours) AS \"not in one window\",
    (SELECT coalesce(sum(credits), 0) FROM credits) - (SELECT coalesce(sum(amount), 0) FROM hours) AS \"amount in one window\",
    4 * (SELECT count(*) FROM twice) - (SELECT coalesce(sum(n), 0) FROM quarters) AS \"not in four windows\",
    4 * (SELECT coalesce(sum(debits), 0) FROM debits) - (SELECT coalesce(sum(amount), 0) FROM quarters) AS \"amount in four\"";

/// Each column of the one row is 0.
pub async fn check(client: &Client, forms: &str) {
    let found = value(client, &format!("SELECT {forms}")).await;
    assert!(found.split(" | ").all(|figure| figure == "0"), "a wrong read: {found}\nof {forms}");
}

const ACCOUNTS: i64 = 8;
const WRITERS: u64 = 4;
/// Changes that are acknowledged, of all writers together.
const CHANGES: usize = 240;
/// The same transfers as balances, which are updated, as two legs each, and pots that single statements move money between.
const BOOKS: &str = "
    CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
    INSERT INTO accounts SELECT i, 1000 FROM generate_series(0, 7) i;
    CREATE TABLE pots (id int PRIMARY KEY, amount bigint NOT NULL);
    INSERT INTO pots SELECT i, 100 FROM generate_series(0, 7) i;
    CREATE MATERIALIZED VIEW riches AS SELECT sum(balance) AS riches FROM accounts;
    CREATE MATERIALIZED VIEW in_pots AS SELECT sum(amount) AS amount FROM pots;
    CREATE MATERIALIZED VIEW wrong_accounts AS
        SELECT a.id FROM accounts a LEFT JOIN balance b ON b.account = a.id WHERE a.balance <> 1000 + coalesce(b.balance, 0);
    CREATE MATERIALIZED VIEW moved AS SELECT account, sum(amount) AS amount FROM legs GROUP BY account;";
const BOOK_FORMS: &str = "
    (SELECT riches - 8000 FROM riches) AS riches,
    (SELECT sum(balance) - 8000 FROM accounts) AS accounts,
    (SELECT amount - 800 FROM in_pots) AS pots,
    (SELECT count(*) FROM wrong_accounts) AS \"wrong accounts\",
    (SELECT coalesce(sum(amount), 0) FROM moved) AS legs,
    (SELECT count(*) % 2 FROM legs) AS \"one-legged transfers\",
    (SELECT count(*) FROM moved m FULL JOIN balance b ON b.account = m.account AND b.balance = m.amount
        WHERE (b.account IS NULL AND m.amount <> 0) OR (m.account IS NULL AND b.balance <> 0)) AS \"legs and balances\"";
/// Made while everything is in motion.
const LATE_VIEWS: &str = "
    CREATE MATERIALIZED VIEW late AS
        SELECT account, sum(amount) AS amount
        FROM (SELECT payee AS account, amount FROM transfers UNION ALL SELECT payer, -amount FROM transfers) m GROUP BY account;
    CREATE MATERIALIZED VIEW late_total AS SELECT sum(amount) AS total FROM late;
    CREATE MATERIALIZED VIEW late_differences AS
        SELECT l.account FROM late l FULL JOIN balance b ON b.account = l.account AND b.balance = l.amount
        WHERE l.account IS NULL OR b.account IS NULL;
    CREATE MATERIALIZED VIEW late_accounts AS
        SELECT a.id, a.balance - 1000 - coalesce(l.amount, 0) AS missing FROM accounts a LEFT JOIN late l ON l.account = a.id;";
const LATE_FORMS: &str = "
    (SELECT coalesce(total, 0) FROM late_total) AS \"late total\",
    (SELECT count(*) FROM late_differences) AS \"late differences\",
    (SELECT count(*) FROM late_accounts WHERE missing <> 0) AS \"late accounts\"";

/// What all tasks of a test share.
struct Bank {
    /// Transfers can be changed and taken back.
    tables: bool,
    next: AtomicI64,
    done: AtomicUsize,
    conflicts: AtomicUsize,
    late: AtomicBool,
    ended: AtomicBool,
}

impl Bank {
    fn forms(&self) -> String {
        match self.late.load(Ordering::Acquire) {
            true => [FORMS, BOOK_FORMS, LATE_FORMS].join(","),
            false => [FORMS, BOOK_FORMS].join(","),
        }
    }
}

struct Writer {
    bank: Arc<Bank>,
    client: Client,
    /// Sees what this writer was told is done.
    colleague: Arc<Client>,
    random: StdRng,
    /// Its transfers that are there.
    mine: BTreeMap<i64, (i64, i64, i64)>,
}

impl Writer {
    async fn write(mut self) {
        while self.bank.done.load(Ordering::Relaxed) < CHANGES {
            match self.random.random_range(0..10) {
                0 => self.move_between_pots().await,
                1 => self.roll_back().await,
                2 => self.fail().await,
                3 | 4 if self.bank.tables && !self.mine.is_empty() => self.change().await,
                5 if self.bank.tables && !self.mine.is_empty() => self.take_back().await,
                _ => self.transfer().await,
            }
            self.bank.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn some_transfer(&mut self) -> (i64, i64, i64, i64) {
        let id = self.bank.next.fetch_add(1, Ordering::Relaxed);
        let payer = self.random.random_range(0..ACCOUNTS);
        let payee = (payer + self.random.random_range(1..ACCOUNTS)) % ACCOUNTS;
        (id, payer, payee, self.random.random_range(1..100))
    }

    async fn transfer(&mut self) {
        let (id, payer, payee, amount) = self.some_transfer();
        let insert = insert(id, payer, payee, amount);
        self.commit([vec![insert], moves(id, payer, payee, amount)].concat()).await;
        self.mine.insert(id, (payer, payee, amount));
        self.seen(id, Some(amount)).await;
    }

    async fn change(&mut self) {
        let (id, (payer, payee, amount)) = self.one_of_mine();
        let more = self.random.random_range(1..50);
        let update = format!("UPDATE transfers SET amount = amount + {more} WHERE id = {id}");
        self.commit([vec![update], moves(id, payer, payee, more)].concat()).await;
        self.mine.insert(id, (payer, payee, amount + more));
        self.seen(id, Some(amount + more)).await;
    }

    async fn take_back(&mut self) {
        let (id, (payer, payee, amount)) = self.one_of_mine();
        let delete = format!("DELETE FROM transfers WHERE id = {id}");
        self.commit([moves(id, payee, payer, amount), vec![delete]].concat()).await;
        self.mine.remove(&id);
        self.seen(id, None).await;
    }

    fn one_of_mine(&mut self) -> (i64, (i64, i64, i64)) {
        let at = self.random.random_range(0..self.mine.len());
        self.mine.iter().nth(at).map(|(id, transfer)| (*id, *transfer)).expect("a transfer")
    }

    /// A single statement never conflicts.
    async fn move_between_pots(&mut self) {
        let from = self.random.random_range(0..ACCOUNTS);
        let to = (from + 1) % ACCOUNTS;
        let update = format!(
            "UPDATE pots SET amount = amount + CASE id WHEN {from} THEN -3 ELSE 3 END WHERE id IN ({from}, {to})"
        );
        run(&self.client, &update).await;
    }

    async fn roll_back(&mut self) {
        let (id, payer, payee, amount) = self.some_transfer();
        let mut statements = moves(id, payer, payee, amount);
        statements.truncate(self.random.random_range(1..4));
        run(&self.client, "BEGIN").await;
        run(&self.client, &statements.join("; ")).await;
        run(&self.client, &insert(id, payer, payee, amount)).await;
        run(&self.client, "ROLLBACK").await;
        self.seen(id, None).await;
    }

    /// The last statement of a message fails: nothing of it stays.
    async fn fail(&mut self) {
        let (id, payer, payee, amount) = self.some_transfer();
        let message = format!("{}; UPDATE accounts SET balance = 1 / (id - id)", insert(id, payer, payee, amount));
        let error = self.client.batch_execute(&message).await.expect_err("a division by zero");
        assert_eq!(error.code().map(|code| code.code()), Some("22012"), "{error:?}");
        self.seen(id, None).await;
    }

    /// All of it or nothing, as often as somebody else was first.
    async fn commit(&mut self, statements: Vec<String>) {
        loop {
            let outcome = match self.random.random_bool(0.5) {
                true => self.client.batch_execute(&statements.join("; ")).await,
                false => self.block(&statements).await,
            };
            let Err(error) = outcome else { return };
            assert_eq!(error.code().map(|code| code.code()), Some("40001"), "{error:?}");
            self.bank.conflicts.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn block(&self, statements: &[String]) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("BEGIN").await?;
        for statement in statements {
            if let Err(error) = self.client.batch_execute(statement).await {
                run(&self.client, "ROLLBACK").await;
                return Err(error);
            }
        }
        self.client.batch_execute("COMMIT").await
    }

    /// What was acknowledged shows at once in a view over it, to this session and to any other.
    async fn seen(&self, id: i64, amount: Option<i64>) {
        let expected: Vec<String> = amount.map(|amount| format!("{id} | {amount} | {id}")).into_iter().collect();
        let query = format!("SELECT * FROM twice WHERE id = {id}");
        assert_eq!(rows(&self.client, &query).await, expected, "the writer's own read");
        assert_eq!(rows(&self.colleague, &query).await, expected, "a colleague's read");
    }
}

fn insert(id: i64, payer: i64, payee: i64, amount: i64) -> String {
    let minute = id * 7 % 600;
    format!(
        "INSERT INTO transfers VALUES ({id}, {payer}, {payee}, {amount}, \
         timestamptz '2026-01-01 00:00:00Z' + interval '{minute} minutes')"
    )
}

fn moves(id: i64, payer: i64, payee: i64, amount: i64) -> Vec<String> {
    vec![
        format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {payer}"),
        format!("INSERT INTO legs VALUES ({id}, {payer}, -{amount})"),
        format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {payee}"),
        format!("INSERT INTO legs VALUES ({id}, {payee}, {amount})"),
    ]
}

/// Reads in single statements; on its connection neither the epoch nor what only grows goes back.
async fn read_alone(bank: Arc<Bank>, client: Client) -> usize {
    let (mut reads, mut newest) = (0, (0i64, 0i64));
    while !bank.ended.load(Ordering::Acquire) {
        check(&client, &bank.forms()).await;
        let now = value(&client, "SELECT (SELECT max(epoch) FROM rr_relations), (SELECT count(*) FROM legs)").await;
        let (epoch, legs) = now.split_once(" | ").expect("two figures");
        let now = (epoch.parse().expect("an epoch"), legs.parse().expect("a count"));
        assert!(newest.0 <= now.0 && newest.1 <= now.1, "{now:?} was read after {newest:?}");
        newest = now;
        reads += 1;
    }
    reads
}

/// Reads relation by relation in a block: all of them are of one moment.
async fn read_in_blocks(bank: Arc<Bank>, client: Client) -> usize {
    let mut reads = 0;
    while !bank.ended.load(Ordering::Acquire) {
        let forms = bank.forms();
        run(&client, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
        let mut balances: BTreeMap<i64, i64> = BTreeMap::new();
        for (query, sign) in [("SELECT * FROM credits", 1), ("SELECT * FROM debits", -1)] {
            for (account, amount) in pairs(&client, query).await {
                *balances.entry(account).or_default() += sign * amount;
            }
        }
        assert_eq!(balances.values().sum::<i64>(), 0, "credits and debits: {balances:?}");
        assert_eq!(pairs(&client, "SELECT account, balance FROM balance").await, balances);
        assert_eq!(pairs(&client, "SELECT account, balance FROM both_sides").await, balances);
        let legs = pairs(&client, "SELECT account, sum(amount) FROM legs GROUP BY account").await;
        assert!(legs.iter().all(|(account, amount)| balances.get(account).unwrap_or(&0) == amount), "{legs:?}");
        for (account, balance) in pairs(&client, "SELECT id, balance FROM accounts").await {
            assert_eq!(balance, 1000 + balances.get(&account).unwrap_or(&0), "account {account} of {balances:?}");
        }
        check(&client, &forms).await;
        assert_eq!(pairs(&client, "SELECT account, balance FROM balance").await, balances, "read again");
        run(&client, "COMMIT").await;
        reads += 1;
    }
    reads
}

async fn pairs(client: &Client, query: &str) -> BTreeMap<i64, i64> {
    let pair = |row: String| {
        let (key, value) = row.split_once(" | ")?;
        Some((key.parse().ok()?, value.parse().ok()?))
    };
    rows(client, query).await.into_iter().map(|row| pair(row).expect("two numbers")).collect()
}

async fn bank_is_never_wrong(relations: &str, tables: bool) {
    let seed = rand::random::<u32>() as u64;
    println!("seed {seed}");
    let server = Server::start();
    let client = server.connect().await;
    run(&client, &[relations, VIEWS, BOOKS].concat()).await;
    let bank = Arc::new(Bank {
        tables,
        next: AtomicI64::new(1),
        done: AtomicUsize::new(0),
        conflicts: AtomicUsize::new(0),
        late: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    });
    let colleague = Arc::new(server.connect().await);
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let (bank, client, colleague) = (bank.clone(), server.connect().await, colleague.clone());
        let random = StdRng::seed_from_u64(seed + number);
        writers.push(tokio::spawn(Writer { bank, client, colleague, random, mine: BTreeMap::new() }.write()));
    }
    let readers = [
        tokio::spawn(read_alone(bank.clone(), server.connect().await)),
        tokio::spawn(read_in_blocks(bank.clone(), server.connect().await)),
    ];
    while bank.done.load(Ordering::Relaxed) < CHANGES / 2 && !writers.iter().any(|writer| writer.is_finished()) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    for view in LATE_VIEWS.split_inclusive(';') {
        run(&client, view).await;
    }
    bank.late.store(true, Ordering::Release);
    for writer in writers {
        writer.await.expect("a writer");
    }
    // One more read of each after the last write.
    bank.ended.store(true, Ordering::Release);
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.expect("a reader");
    }
    check(&client, &bank.forms()).await;
    assert!(reads > 4, "only {reads} reads while writers wrote");
    println!("{reads} reads, {} conflicts", bank.conflicts.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn bank_over_tables_is_never_wrong() {
    let relations = "
        CREATE TABLE transfers (id bigint PRIMARY KEY, payer int, payee int, amount bigint, at timestamptz);
        CREATE TABLE legs (transfer bigint, account int, amount bigint);";
    bank_is_never_wrong(relations, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bank_over_streams_is_never_wrong() {
    let relations = "
        CREATE STREAM transfers (id bigint, payer int, payee int, amount bigint, at timestamptz);
        CREATE STREAM legs (transfer bigint, account int, amount bigint);";
    bank_is_never_wrong(relations, false).await;
}
