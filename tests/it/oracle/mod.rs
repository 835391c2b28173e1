//! The oracle: random programs in which every view must equal the batch answer at every epoch.
//!
//! A program is a few tables, some views over them and over each other, and epochs of random inserts, updates and deletes,
//! alone and in transactions, with 1 to 3 workers. After each epoch every view's rows are compared with what its query
//! answers when it is run over the tables; at the end the engine is opened again and all is compared once more.
//!
//! `ORACLE_PROGRAMS` and `ORACLE_SEED` choose how many and where to start; a failure prints the seed of its program.

mod data;
mod queries;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, SortField};
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use riverrun::catalog::Relation;
use riverrun::engine::{Engine, EngineConfig, ReadView};
use riverrun::error::{Error, Result};
use riverrun::query::{self, Parameters};
use riverrun::sql::statement::Statement;
use riverrun::sql::{BindContext, BoundQuery, SessionConstants, bind, parse};

use data::Table;
use queries::Generator;

const EPOCHS: usize = 10;
/// Programs that share a data folder, one after the other.
const PROGRAMS_A_FOLDER: u64 = 25;
/// Failing programs after which it is enough.
const FAILURES_SHOWN: usize = 10;
/// An operator or construct seen less often than this in a full run was not tested.
const SEEN_AT_LEAST: usize = 50;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn views_equal_the_batch_answer_at_every_epoch() {
    let (programs, first) = (number("ORACLE_PROGRAMS", 500), number("ORACLE_SEED", 1));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut refused = 0;
    let mut failures = Vec::new();
    let mut seed = first;
    while seed < first + programs {
        let last = (seed + PROGRAMS_A_FOLDER).min(first + programs);
        let folder = tempfile::tempdir().expect("a folder");
        let workers = 1 + (seed / PROGRAMS_A_FOLDER) as usize % 3;
        runtime.block_on(async {
            let engine = open(folder.path(), workers).await;
            for seed in seed..last {
                let outcome = program(&engine, seed, &mut seen, &mut refused).await;
                if let Err(failure) = outcome {
                    failures.push(format!("ORACLE_SEED={seed} ORACLE_PROGRAMS=1 ({workers} workers)\n{failure}\n"));
                }
                if failures.len() >= FAILURES_SHOWN {
                    break;
                }
            }
            engine.shutdown().await;
        });
        assert!(failures.len() < FAILURES_SHOWN, "{} programs failed:\n{}", failures.len(), failures.join("\n"));
        seed = last;
    }
    assert!(failures.is_empty(), "{} programs failed:\n{}", failures.len(), failures.join("\n"));
    println!("{programs} programs of {EPOCHS} epochs from seed {first}; {refused} views refused");
    for (construct, times) in &seen {
        println!("{times:>8} {construct}");
    }
    if programs >= 500 {
        let rare: Vec<_> = seen.iter().filter(|(_, times)| **times < SEEN_AT_LEAST).collect();
        assert!(rare.is_empty(), "seen too rarely to say they were tested: {rare:?}");
    }
}

async fn open(folder: &std::path::Path, workers: usize) -> Arc<Engine> {
    let engine = Engine::open(EngineConfig { workers, ..EngineConfig::new(folder) }).expect("opens");
    engine.ready().await.expect("recovers");
    engine
}

/// Runs one program; the failure says what differed.
async fn program(
    engine: &Arc<Engine>,
    seed: u64,
    seen: &mut BTreeMap<&'static str, usize>,
    refused: &mut usize,
) -> Result<(), String> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut tables = Vec::new();
    for index in 0..random.random_range(2..=3) {
        let table = Table::random(&mut random, format!("t{seed}_{index}"));
        let relation = create_table(engine, &table).await.map_err(|error| format!("{error:?}\n{}", table.create()))?;
        tables.push((table, relation));
    }
    // Some views are made over tables that hold rows already: they are filled.
    for _ in 0..random.random_range(0..3) {
        data::change(engine, &mut random, &mut tables).await.map_err(|error| format!("writing: {error:?}"))?;
    }
    let mut views: Vec<(String, String)> = Vec::new();
    let sources: Vec<Table> = tables.iter().map(|(table, _)| table.clone()).collect();
    let mut generator = Generator::new(&sources);
    for index in 0..random.random_range(5..=7) {
        let name = format!("v{seed}_{index}");
        let (text, columns) = generator.query(&mut random);
        match create_view(engine, &name, &text).await {
            Ok(()) => {
                generator.add_view(&name, columns);
                views.push((name, text));
            }
            Err(error) if error.state() == riverrun::error::SqlState::FEATURE_NOT_SUPPORTED => *refused += 1,
            Err(error) => return Err(format!("{error:?}\n{text}")),
        }
    }
    for tag in generator.tags() {
        *seen.entry(tag).or_default() += 1;
    }
    for epoch in 0..EPOCHS {
        if epoch > 0 {
            data::change(engine, &mut random, &mut tables).await.map_err(|error| format!("writing: {error:?}"))?;
        }
        let view = engine.read().await.map_err(|error| format!("{error:?}"))?;
        for (name, text) in &views {
            let kept = answer(engine, &view, &format!("SELECT * FROM {name}")).await;
            let kept = kept.map_err(|error| format!("reading {name}: {error:?}\n{text}"))?;
            let batch = answer(engine, &view, text).await.map_err(|error| format!("{error:?}\n{text}"))?;
            if let Some(difference) = difference(&kept, &batch) {
                let shown: Vec<String> = views.iter().map(|(name, text)| format!("{name}: {text}")).collect();
                return Err(format!("epoch {epoch}, view {name}\n{text}\n{difference}\nviews:\n{}", shown.join("\n")));
            }
        }
    }
    let catalog = engine.catalog();
    let ids = tables.iter().map(|(_, relation)| relation.id).filter(|id| catalog.relation(*id).is_some()).collect();
    engine.drop_relations(ids, true).await.map_err(|error| format!("dropping: {error:?}"))
}

fn context(engine: &Arc<Engine>) -> BindContext {
    BindContext {
        catalog: engine.catalog(),
        search_path: ["pg_catalog", "rr_catalog", "public"].map(String::from).to_vec(),
        parameter_types: Vec::new(),
        session: SessionConstants {
            user: "postgres".into(),
            database: "postgres".into(),
            time_zone: "UTC".into(),
            now: 0,
            backend_pid: 1,
            settings: Arc::from([]),
        },
        for_view: false,
    }
}

fn statement(text: &str) -> Result<Statement> {
    let parsed = parse::parse(text)?.into_iter().next();
    Ok(parsed.ok_or_else(|| Error::internal("no statement"))?.statement)
}

async fn create_table(engine: &Arc<Engine>, table: &Table) -> Result<Arc<Relation>> {
    let Statement::CreateTable(create) = statement(&table.create())? else {
        return Err(Error::internal("not a CREATE TABLE"));
    };
    let relation = bind::bind_create_table(&context(engine), &create)?.ok_or_else(|| Error::internal("exists"))?;
    engine.create(relation, false, Default::default()).await?;
    let catalog = engine.catalog();
    catalog.get("public", &table.name).cloned().ok_or_else(|| Error::internal("not there"))
}

async fn create_view(engine: &Arc<Engine>, name: &str, text: &str) -> Result<()> {
    let Statement::CreateView(create) = statement(&format!("CREATE MATERIALIZED VIEW {name} AS {text}"))? else {
        return Err(Error::internal("not a CREATE VIEW"));
    };
    let view = bind::bind_create_view(&context(engine), &create)?.ok_or_else(|| Error::internal("exists"))?;
    engine.create(view.relation, false, Default::default()).await?;
    Ok(())
}

async fn answer(engine: &Arc<Engine>, view: &ReadView, text: &str) -> Result<Vec<RecordBatch>> {
    let Statement::Query(query) = statement(text)? else { return Err(Error::internal("not a query")) };
    let bound: BoundQuery = bind::bind_query(&context(engine), &query)?;
    let none: Parameters = Arc::from([]);
    let mut stream = query::run(&bound, &none, view.clone())?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

/// Rows that one side has more often than the other, if any.
fn difference(kept: &[RecordBatch], batch: &[RecordBatch]) -> Option<String> {
    let mut counts: BTreeMap<Vec<u8>, (i64, String)> = BTreeMap::new();
    for (batches, weight) in [(kept, 1), (batch, -1)] {
        for rows in batches {
            let fields = rows.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
            let converter = RowConverter::new(fields).expect("comparable columns");
            let encoded = converter.convert_columns(rows.columns()).expect("encodes");
            for (index, row) in encoded.iter().enumerate() {
                let shown = || {
                    let row = rows.slice(index, 1);
                    arrow::util::pretty::pretty_format_batches(&[row])
                        .map_or(String::new(), |table| table.to_string().lines().nth(3).unwrap_or_default().to_string())
                };
                counts.entry(row.data().to_vec()).or_insert_with(|| (0, shown())).0 += weight;
            }
        }
    }
    let different: Vec<String> = counts
        .values()
        .filter(|(count, _)| *count != 0)
        .take(10)
        .map(|(count, row)| format!("{count:+} {row}"))
        .collect();
    (!different.is_empty()).then(|| format!("view (+) and batch (-) differ:\n{}", different.join("\n")))
}
