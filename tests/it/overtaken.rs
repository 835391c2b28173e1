//! Statements of several sessions about the same names at once: each is done as if it had come before or after the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fixture::Server;

/// Runs statements again and again in as many sessions as there are lists of them. None may fail but with these states.
async fn at_once(server: &Server, sessions: &[&[&str]], rounds: usize, may_fail: &[&str]) {
    let mut running = Vec::new();
    for statements in sessions {
        let client = server.connect().await;
        let statements: Vec<String> = statements.iter().map(|statement| statement.to_string()).collect();
        let may_fail: Vec<String> = may_fail.iter().map(|state| state.to_string()).collect();
        running.push(tokio::spawn(async move {
            for _ in 0..rounds {
                for statement in &statements {
                    let Err(error) = client.batch_execute(statement).await else { continue };
                    let state = error.code().expect("an answer").code();
                    assert!(may_fail.iter().any(|other| other == state), "{statement}: {state} {error:?}");
                }
            }
        }));
    }
    for session in running {
        session.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_meet() {
    let server = Server::start();
    let there_or_not: &[&str] = &["create table if not exists dd (a int)", "drop table if exists dd"];
    at_once(&server, &[there_or_not; 4], 20, &[]).await;
    // Who comes second hears of it as if it had come later.
    at_once(
        &server,
        &[&["drop table dd"], &["drop table if exists dd"], &["create table dd (a int)"]],
        20,
        &["42P01", "42P07"],
    )
    .await;
    let client = server.connect().await;
    client.batch_execute("drop table if exists dd; create table dd (a int)").await.unwrap();
    let replaced: &[&str] = &[
        "create or replace view vv as select a from dd",
        "create or replace materialized view mm as select a from dd",
    ];
    at_once(&server, &[replaced; 4], 10, &[]).await;
    client.batch_execute("drop view vv; drop materialized view mm").await.unwrap();
    let table = &["create table if not exists dd (a int)", "drop table if exists dd"];
    let index = &["create index if not exists dx on dd (a)", "drop index if exists dx"];
    at_once(&server, &[table, index], 30, &["42P01"]).await;
    let schemas = &["create schema if not exists ss", "drop schema if exists ss, no_such cascade"];
    at_once(&server, &[schemas, schemas], 20, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_read_what_is_replaced() {
    let server = Server::start();
    let client = server.connect().await;
    let tables = "create table t (a int); insert into t values (1), (2); create table sink (n bigint)";
    client.batch_execute(tables).await.unwrap();
    client.batch_execute("create materialized view rm as select count(*) as n from t").await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let replacing = tokio::spawn({
        let (other, done) = (server.connect().await, done.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                other
                    .batch_execute("create or replace materialized view rm as select count(*) as n from t")
                    .await
                    .unwrap();
            }
        }
    });
    for _ in 0..50 {
        assert_eq!(client.execute("insert into sink select n from rm", &[]).await.unwrap(), 1);
        client.batch_execute("update sink set n = 2 where n in (select n from rm)").await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    replacing.await.unwrap();
    let row = client.query_one("select count(*), min(n), max(n) from sink", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (50, 2, 2));
}
