//! A real PostgreSQL that judges: the same relations with the same rows in the end, every view's query asked of it too.
//!
//! It is started for the test run on a socket in a temporary folder. A program is one transaction there, rolled back.
//! Answers are compared as multisets of text; what may differ is in `differences.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use riverrun::error::Error;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::database::texts;
use super::differences::{self, Answer};
use super::program::View;
use super::run::{Failure, Run};
use super::schema::CREATE_ROW;
use super::text::{Reader, read};

/// Longer than anything here takes: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Postgres {
    folder: tempfile::TempDir,
    server: Child,
}

/// What it said.
#[derive(Debug, Default)]
pub struct Verdicts {
    programs: u64,
    views: u64,
    /// Views it can't be asked about, and why.
    not_asked: BTreeMap<&'static str, u64>,
    /// Views that differ in a way we stand by.
    stood_by: BTreeMap<&'static str, u64>,
}

impl Verdicts {
    pub fn add(&mut self, other: &Verdicts) {
        self.programs += other.programs;
        self.views += other.views;
        for (all, own) in [(&mut self.not_asked, &other.not_asked), (&mut self.stood_by, &other.stood_by)] {
            for (why, times) in own {
                *all.entry(why).or_default() += times;
            }
        }
    }

    /// Whether about the share asked for was judged, and nearly all of its views.
    pub fn enough(&self, programs: u64, share: u64) -> bool {
        let refused: u64 = self.not_asked.values().sum();
        self.programs * 100 >= programs * share * 8 / 10 && refused * 10 <= self.views
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PostgreSQL judged {} of them, {} views", self.programs, self.views)?;
        for (why, times) in &self.not_asked {
            write!(out, "; {times} not: {why}")?;
        }
        for (why, times) in &self.stood_by {
            write!(out, "; {times} differ, rightly: {why}")?;
        }
        Ok(())
    }
}

/// The newest one installed.
fn binaries() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = found.map(|version| version.path().join("bin")).collect();
    found.retain(|folder| folder.join("postgres").exists());
    found.sort();
    found.pop().expect("PostgreSQL is needed for this test: apt-get install postgresql")
}

/// It does not run as root: then it is started as the user that its package makes.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command.stdin(Stdio::null()).current_dir("/").env_clear().env("LC_ALL", "C").env("TZ", "UTC");
    command
}

fn other_user() -> Option<(u32, u32)> {
    // SAFETY: geteuid(2) has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("users");
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == "postgres");
    let fields = fields.expect("the user postgres, which the package makes");
    Some((fields[2].parse().expect("a user id"), fields[3].parse().expect("a group id")))
}

impl Postgres {
    pub fn start() -> Postgres {
        let folder = tempfile::Builder::new().prefix("oracle-pg").tempdir().expect("a folder");
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("the folder changes hands");
        }
        let data = folder.path().join("data");
        let made = command(&binaries().join("initdb"))
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = ["fsync=off", "listen_addresses=", "jit=off", "autovacuum=off", "max_connections=10"];
        let server = command(&binaries().join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("a log"))
            .spawn()
            .expect("postgres starts");
        Postgres { folder, server }
    }

    async fn connect(&self) -> Client {
        let config = format!("host={} user=postgres dbname=postgres", self.folder.path().display());
        let begin = Instant::now();
        loop {
            match tokio_postgres::connect(&config, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                Err(error) => {
                    let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                    assert!(begin.elapsed() < PATIENCE, "PostgreSQL does not answer: {error}\n{}", log());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Compares every view of a program that has run.
    pub async fn judge(&self, seed: u64, run: &Run<'_>) -> Result<Verdicts, Failure> {
        let ours = |error: Error| wrong(format!("reading ours: {error:?}"));
        let client = self.connect().await;
        let mut script = vec![format!("BEGIN; SET LOCAL statement_timeout = '60s'; {CREATE_ROW}")];
        for table in &run.tables {
            script.push(format!("CREATE TABLE {} ({})", table.name, table.definitions(Reader::Postgres)));
            let rows = run.database.query(&format!("SELECT * FROM {}", table.name)).await.map_err(ours)?;
            let rows = texts(&run.database.columns(&table.name), &rows).map_err(ours)?;
            if !rows.is_empty() {
                script.push(format!("INSERT INTO {} VALUES {}", table.name, values(&rows)));
            }
        }
        client
            .batch_execute(&script.join(";"))
            .await
            .map_err(|error| wrong(format!("{error:?}\n{}", script.join(";"))))?;
        let mut verdicts = Verdicts { programs: 1, ..Verdicts::default() };
        for view in &run.views {
            let columns = run.database.columns(&view.name);
            let rows = run.database.query(&format!("SELECT * FROM {}", view.name)).await.map_err(ours)?;
            let rows = texts(&columns, &rows).map_err(ours)?;
            let create = format!("CREATE TABLE {} AS {}", view.name, read(&view.text, Reader::Postgres));
            let created = client.batch_execute(&format!("SAVEPOINT s; {create}")).await;
            if let Err(error) = created {
                let Some(why) = error.as_db_error().and_then(|error| differences::refusal(error)) else {
                    return Err(wrong(format!("seed {seed}: {error:?}\n{}", shown(&script, view, &create))));
                };
                *verdicts.not_asked.entry(why).or_default() += 1;
                // What stands on it is judged over our rows.
                let names: Vec<String> =
                    view.columns.iter().map(|(name, kind)| format!("{name} {}", kind.sql())).collect();
                let columns = read(&names.join(", "), Reader::Postgres);
                let mut instead = format!("ROLLBACK TO s; CREATE TABLE {} ({columns})", view.name);
                if !rows.is_empty() {
                    instead += &format!("; INSERT INTO {} VALUES {}", view.name, values(&rows));
                }
                client.batch_execute(&instead).await.map_err(|error| wrong(format!("{error:?}\n{instead}")))?;
                script.push(instead);
                continue;
            }
            verdicts.views += 1;
            let answer = client.simple_query(&format!("SELECT * FROM {}", view.name)).await;
            let answer = answer.map_err(|error| wrong(format!("{error:?}\n{create}")))?;
            let theirs: Vec<Vec<Option<String>>> = answer
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                })
                .map(|row| (0..row.len()).map(|column| row.get(column).map(String::from)).collect())
                .collect();
            match differences::judge(view, rows, theirs) {
                Answer::Same => {}
                Answer::StoodBy(why) => *verdicts.stood_by.entry(why).or_default() += 1,
                Answer::Differs(what) => {
                    return Err(wrong(format!("seed {seed}\n{what}\n{}", shown(&script, view, &create))));
                }
            }
            script.push(create);
        }
        Ok(verdicts)
    }
}

fn wrong(what: String) -> Failure {
    Failure { sort: "PostgreSQL".to_string(), what: format!("PostgreSQL: {what}") }
}

/// What to paste into psql to see it.
fn shown(script: &[String], view: &View, create: &str) -> String {
    format!("{};\n{create};\n-- ours: {}", script.join(";\n"), view.create())
}

/// Rows as they are inserted.
fn values(rows: &[Vec<Option<String>>]) -> String {
    let value = |value: &Option<String>| match value {
        Some(text) => format!("'{}'", text.replace('\'', "''")),
        None => "NULL".to_string(),
    };
    let row = |row: &Vec<Option<String>>| format!("({})", row.iter().map(value).collect::<Vec<_>>().join(", "));
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: at once, nothing is to be kept.
        // SAFETY: kill(2) on a child that has not been waited for.
        unsafe { libc::kill(self.server.id() as i32, libc::SIGQUIT) };
        let _ = self.server.wait();
    }
}
