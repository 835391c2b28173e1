//! Asking a server over a driver: answers as text, errors as SQLSTATE and message.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

/// Longer than anything here takes; only a hang reaches it.
pub const WAIT: Duration = Duration::from_secs(90);

/// The rows of a simple query in the order they came, columns between ` | `.
pub async fn rows(client: &Client, query: &str) -> Vec<String> {
    try_rows(client, query).await.unwrap_or_else(|error| panic!("{query}: {error:?}"))
}

pub async fn try_rows(client: &Client, query: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let messages = client.simple_query(query).await?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let columns = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL"));
            Some(columns.collect::<Vec<_>>().join(" | "))
        }
        _ => None,
    };
    Ok(messages.iter().filter_map(row).collect())
}

/// The only column of the only row of a simple query; empty when there is no row.
pub async fn value(client: &Client, query: &str) -> String {
    rows(client, query).await.into_iter().next().unwrap_or_default()
}

/// Asks until the answer is this one.
pub async fn until(client: &Client, query: &str, expected: &str) {
    let began = Instant::now();
    loop {
        let found = value(client, query).await;
        if found == expected {
            return;
        }
        assert!(began.elapsed() < WAIT, "{query}: found {found}, expected {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn run(client: &Client, statements: &str) {
    client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

/// SQLSTATE and message of the error that a statement gives.
pub async fn refused(client: &Client, statement: &str) -> (String, String) {
    let error = client.batch_execute(statement).await.expect_err(statement);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{statement}: {error:?}"));
    (error.code().code().to_string(), error.message().to_string())
}
