//! SQL logic tests: every file under `sql-tests/`, each on a server of its own, over the simple protocol.
//!
//! Answers are Postgres's. With RIVERRUN_TEST_POSTGRES (a connection string of an empty PostgreSQL 15 database) the files are
//! run there instead, each in a schema of its own; what only one of the two knows is marked with `onlyif riverrun` or
//! `skipif riverrun`. RIVERRUN_TEST_FILTER runs only the files whose path holds it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::fixture::Server;

struct Connection {
    client: tokio_postgres::Client,
    engine: &'static str,
}

/// An error as a test expects it: `42P01: relation "t" does not exist`.
#[derive(Debug)]
struct Failed {
    state: Option<String>,
    message: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Failed {
        match error.as_db_error() {
            Some(error) => {
                Failed { state: Some(error.code().code().to_string()), message: error.message().to_string() }
            }
            None => Failed { state: None, message: error.to_string() },
        }
    }
}

#[async_trait::async_trait]
impl AsyncDB for Connection {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let mut rows = Vec::new();
        let mut width = None;
        let mut changed = 0;
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => width = Some(columns.len()),
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|at| cell(row.get(at))).collect()),
                SimpleQueryMessage::CommandComplete(count) => changed = count,
                _ => {}
            }
        }
        Ok(match width {
            Some(width) => DBOutput::Rows { types: vec![DefaultColumnType::Any; width], rows },
            None => DBOutput::StatementComplete(changed),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        self.engine
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &Failed) -> Option<String> {
        error.state.clone()
    }
}

fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_string(),
        Some("") => "(empty)".to_string(),
        Some(text) => text.replace('\n', "\\n"),
    }
}

async fn connect(config: &str, engine: &'static str) -> Result<Connection, Failed> {
    let (client, connection) = tokio_postgres::connect(config, NoTls).await?;
    tokio::spawn(connection);
    Ok(Connection { client, engine })
}

fn run_file(file: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let elsewhere = std::env::var("RIVERRUN_TEST_POSTGRES").ok();
        let server = elsewhere.is_none().then(Server::start);
        let (config, engine) = match (&server, &elsewhere) {
            (Some(server), _) => {
                (format!("host=127.0.0.1 port={} user=postgres dbname=postgres", server.port), "riverrun")
            }
            (None, Some(elsewhere)) => (elsewhere.clone(), "postgresql"),
            (None, None) => unreachable!("one of the two is there"),
        };
        let schema = format!("slt_{}", file.file_stem().unwrap().to_string_lossy().replace('-', "_"));
        let mut runner = Runner::new(|| async {
            let connection = connect(&config, engine).await?;
            if engine == "postgresql" {
                let own = format!("CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}");
                connection.client.batch_execute(&format!("SET client_min_messages = error; {own}")).await?;
            }
            Ok(connection)
        });
        runner.add_label(engine);
        let outcome = runner.run_file_async(file).await.map_err(|error| error.to_string());
        // What the file left open must not keep its schema.
        drop(runner);
        if engine == "postgresql" {
            let cleaner = connect(&config, engine).await.map_err(|error| error.to_string())?;
            let _ = cleaner.client.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await;
        }
        outcome
    })
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
}

#[test]
fn sql_logic_tests() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests"), &mut found);
    if let Ok(filter) = std::env::var("RIVERRUN_TEST_FILTER") {
        found.retain(|file| file.to_string_lossy().contains(&filter));
    }
    found.sort();
    assert!(!found.is_empty(), "no SQL logic tests were found");
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut failures = Vec::new();
                    while let Some(file) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = run_file(file) {
                            failures.push(format!("{}\n{error}", file.display()));
                        }
                    }
                    failures
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    assert!(failures.is_empty(), "{} of {} files failed:\n\n{}", failures.len(), found.len(), failures.join("\n\n"));
}
