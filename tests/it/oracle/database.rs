//! Our engine in this process, told what to do by SQL.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, SortField};
use bytes::BytesMut;
use futures::StreamExt;
use riverrun::engine::{Engine, EngineConfig, ReadView, Transaction, WriteJob};
use riverrun::error::{Error, Result};
use riverrun::query::{self, Parameters, write};
use riverrun::sql::statement::Statement;
use riverrun::sql::{BindContext, BoundQuery, bind, parse};
use riverrun::types::text::printer;
use riverrun::types::{Column, RelationId, TextSettings};

pub struct Database {
    /// None only while it is opened again: two can't hold the folder.
    engine: Option<Arc<Engine>>,
    folder: PathBuf,
    /// Batch answers run each correlated subquery for each row.
    pub each_row: bool,
}

impl Database {
    pub async fn open(folder: PathBuf, workers: usize, step_rows: usize) -> Result<Database> {
        let config = EngineConfig { workers, step_rows, ..EngineConfig::new(&folder) };
        let engine = Engine::open(config)?;
        engine.ready().await?;
        Ok(Database { engine: Some(engine), folder, each_row: true })
    }

    pub fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().expect("it is open")
    }

    /// Stops the engine, if it could be opened.
    pub async fn close(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown().await;
        }
    }

    /// Stops the engine and replays its log with other threads and steps.
    pub async fn reopen(&mut self, workers: usize, step_rows: usize) -> Result<()> {
        self.close().await;
        // What a read has left on its threads lets go of the folder when it comes to be dropped.
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            match Database::open(self.folder.clone(), workers, step_rows).await {
                Err(error) if error.message().contains("in use") && Instant::now() < patience => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                opened => return Ok(self.engine = opened?.engine),
            }
        }
    }

    fn context(&self) -> BindContext {
        BindContext::new(self.engine().catalog())
    }

    pub fn id(&self, name: &str) -> Option<RelationId> {
        self.engine().catalog().get("public", name).map(|relation| relation.id)
    }

    pub fn columns(&self, name: &str) -> Vec<Column> {
        self.engine().catalog().get("public", name).map_or(Vec::new(), |relation| relation.columns.clone())
    }

    /// CREATE and DROP.
    pub async fn define(&self, text: &str) -> Result<()> {
        let context = self.context();
        let exists = || Error::internal("it exists");
        let relation = match statement(text)? {
            Statement::CreateTable(create) => bind::bind_create_table(&context, &create)?.ok_or_else(exists)?,
            Statement::CreateStream(create) => bind::bind_create_stream(&context, &create)?.ok_or_else(exists)?,
            Statement::CreateView(create) => bind::bind_create_view(&context, &create)?.ok_or_else(exists)?.relation,
            Statement::CreateIndex(create) => bind::bind_create_index(&context, &create)?.ok_or_else(exists)?,
            Statement::Drop(drop) => {
                let (found, _) = bind::bind_drop(&context, &drop)?;
                return self.engine().drop_relations(found, drop.cascade).await;
            }
            other => return Err(Error::internal(format!("{} defines nothing", other.tag()))),
        };
        self.engine().create(relation, false, Default::default()).await.map(drop)
    }

    fn job(&self, text: &str) -> Result<Box<dyn WriteJob>> {
        let context = self.context();
        let parameters: Parameters = Arc::from([]);
        Ok(match statement(text)? {
            Statement::Insert(insert) => {
                Box::new(write::Insert { insert: bind::bind_insert(&context, &insert)?, parameters })
            }
            Statement::Update(update) => {
                Box::new(write::Update { change: bind::bind_update(&context, &update)?, parameters })
            }
            Statement::Delete(delete) => {
                Box::new(write::Delete { change: bind::bind_delete(&context, &delete)?, parameters })
            }
            Statement::Truncate(truncate) => {
                let names = truncate.names.iter().map(|name| name.to_string());
                Box::new(write::Truncate { tables: names.filter_map(|name| self.id(&name)).collect() })
            }
            other => return Err(Error::internal(format!("{} changes no rows", other.tag()))),
        })
    }

    pub async fn write(&self, text: &str) -> Result<u64> {
        Ok(self.engine().write(self.job(text)?).await?.rows)
    }

    pub async fn write_in(&self, transaction: &mut Transaction, text: &str) -> Result<u64> {
        Ok(transaction.write(self.job(text)?).await?.rows)
    }

    pub fn bind(&self, text: &str) -> Result<BoundQuery> {
        let Statement::Query(query) = statement(text)? else { return Err(Error::internal("not a query")) };
        bind::bind_query(&self.context(), &query)
    }

    pub async fn run(&self, bound: &BoundQuery, view: &ReadView) -> Result<Vec<RecordBatch>> {
        let none: Parameters = Arc::from([]);
        let mut stream = match self.each_row {
            true => query::run_each_row(bound, &none, view.clone())?,
            false => query::run(bound, &none, view.clone())?,
        };
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    pub async fn query(&self, text: &str) -> Result<Vec<RecordBatch>> {
        let view = self.engine().read().await?;
        self.run(&self.bind(text)?, &view).await
    }
}

fn statement(text: &str) -> Result<Statement> {
    let parsed = parse::parse(text)?.into_iter().next();
    Ok(parsed.ok_or_else(|| Error::internal("no statement"))?.statement)
}

/// Rows that one side has more often than the other, if any.
pub fn difference(kept: &[RecordBatch], batch: &[RecordBatch]) -> Option<String> {
    let Some(first) = kept.iter().chain(batch).find(|rows| rows.num_rows() > 0) else { return None };
    let fields = first.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("comparable columns");
    let mut counts: HashMap<Box<[u8]>, (i64, &RecordBatch, usize)> = HashMap::new();
    for (batches, weight) in [(kept, 1), (batch, -1)] {
        for rows in batches.iter().filter(|rows| rows.num_rows() > 0) {
            let encoded = match converter.convert_columns(rows.columns()) {
                Ok(encoded) => encoded,
                Err(error) => return Some(format!("columns of other types: {error}")),
            };
            for (index, row) in encoded.iter().enumerate() {
                counts.entry(row.data().into()).or_insert((0, rows, index)).0 += weight;
            }
        }
    }
    let shown = |rows: &RecordBatch, index: usize| {
        arrow::util::pretty::pretty_format_batches(&[rows.slice(index, 1)])
            .map_or(String::new(), |table| table.to_string().lines().nth(3).unwrap_or_default().to_string())
    };
    let mut different: Vec<String> = counts
        .values()
        .filter(|(count, ..)| *count != 0)
        .map(|(count, rows, index)| format!("{count:+} {}", shown(rows, *index)))
        .collect();
    different.sort();
    different.truncate(10);
    (!different.is_empty()).then(|| different.join("\n"))
}

/// Rows as a client would see them; NULL is `None`.
pub fn texts(columns: &[Column], batches: &[RecordBatch]) -> Result<Vec<Vec<Option<String>>>> {
    let settings = TextSettings::default();
    let mut rows = Vec::new();
    for batch in batches {
        let printers = columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| Ok((printer(&column.ty, array, &settings)?, array)))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let text = |(print, array): &(riverrun::types::text::Printer, &arrow::array::ArrayRef)| {
                (!array.is_null(row)).then(|| {
                    let mut out = BytesMut::new();
                    print(row, &mut out);
                    String::from_utf8_lossy(&out).into_owned()
                })
            };
            rows.push(printers.iter().map(text).collect());
        }
    }
    Ok(rows)
}
