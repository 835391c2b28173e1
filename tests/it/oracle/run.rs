//! Runs a program's steps on an engine, and after each compares every view with its batch answer.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use riverrun::engine::{ReadView, Savepoint};
use riverrun::error::{Error, SqlState};
use riverrun::sql::BoundQuery;

use super::database::{Database, difference};
use super::program::{Step, View};
use super::schema::Table;
use super::text::{Reader, read};

pub struct Run<'a> {
    pub database: &'a mut Database,
    pub tables: Vec<Table>,
    pub views: Vec<View>,
    /// Batch queries as bound, until a name may mean something else.
    bound: HashMap<String, BoundQuery>,
}

/// What a step came to.
#[derive(Debug, PartialEq)]
pub enum Done {
    Yes,
    /// The view can't be maintained: 0A000, with what it names.
    Refused(String),
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub what: String,
    /// What tells this failure from another.
    pub sort: String,
}

impl Failure {
    fn error(doing: &str, error: &Error) -> Failure {
        let message: String = error.message().chars().filter(|c| !c.is_ascii_digit()).collect();
        Failure { what: format!("{doing}: {error:?}"), sort: format!("{} {message}", error.state().0) }
    }

    fn wrong(sort: &str, what: String) -> Failure {
        Failure { what: format!("{sort}: {what}"), sort: sort.to_string() }
    }
}

/// Errors of the data: a statement that meets one is refused and leaves nothing.
fn of_data(error: &Error) -> bool {
    ["21", "22", "23"].iter().any(|class| error.state().0.starts_with(class))
}

impl<'a> Run<'a> {
    pub fn new(database: &'a mut Database) -> Run<'a> {
        Run { database, tables: Vec::new(), views: Vec::new(), bound: HashMap::new() }
    }

    pub async fn step(&mut self, step: &Step) -> Result<Done, Failure> {
        if !matches!(step, Step::Write(_) | Step::Transaction { .. }) {
            self.bound.clear();
        }
        match step {
            Step::Relation(table) => {
                let created = self.database.define(&table.create()).await;
                created.map_err(|error| Failure::error(&table.create(), &error))?;
                self.tables.push(table.clone());
            }
            Step::View { view, beside } => return self.create_view(view, beside).await,
            Step::Index(text) => {
                self.database.define(text).await.map_err(|error| Failure::error(text, &error))?;
            }
            Step::Drop(name) => {
                let plain = self.views.iter().any(|view| view.name == *name && view.plain);
                let text = format!("DROP {} {name} CASCADE", if plain { "VIEW" } else { "MATERIALIZED VIEW" });
                self.database.define(&text).await.map_err(|error| Failure::error(&text, &error))?;
                let catalog = self.database.engine().catalog();
                self.views.retain(|view| catalog.get("public", &view.name).is_some());
            }
            Step::Write(text) => self.write(text).await?,
            Step::Transaction { statements, commit } => self.transaction(statements, *commit).await?,
            Step::Restart { workers, step_rows } => {
                let reopened = self.database.reopen(*workers, *step_rows).await;
                reopened.map_err(|error| Failure::error("restart", &error))?;
            }
        }
        Ok(Done::Yes)
    }

    async fn create_view(&mut self, view: &View, beside: &[String]) -> Result<Done, Failure> {
        let text = view.create();
        let writes = async {
            for statement in beside {
                self.write(statement).await?;
            }
            Ok::<(), Failure>(())
        };
        let (created, written) = tokio::join!(self.database.define(&text), writes);
        written?;
        match created {
            Ok(()) => {
                self.views.push(view.clone());
                Ok(Done::Yes)
            }
            Err(error) if error.state() == SqlState::FEATURE_NOT_SUPPORTED => {
                Ok(Done::Refused(format!("{}\n{text}", error.message())))
            }
            Err(error) => Err(Failure::error(&text, &error)),
        }
    }

    async fn read(&self) -> Result<ReadView, Failure> {
        self.database.engine().read().await.map_err(|error| Failure::error("reading", &error))
    }

    /// All rows of all tables.
    fn contents(&self, view: &ReadView) -> Result<Vec<Vec<RecordBatch>>, Failure> {
        let scan = |table: &Table| {
            let Some(id) = self.database.id(&table.name) else { return Ok(Vec::new()) };
            view.scan(id)?.collect::<riverrun::error::Result<Vec<_>>>()
        };
        let all = self.tables.iter().map(scan).collect::<riverrun::error::Result<Vec<_>>>();
        all.map_err(|error| Failure::error("scanning", &error))
    }

    fn same(&self, what: &str, one: &ReadView, two: &ReadView) -> Result<(), Failure> {
        let (one, two) = (self.contents(one)?, self.contents(two)?);
        for ((table, one), two) in self.tables.iter().zip(&one).zip(&two) {
            if let Some(difference) = difference(one, two) {
                return Err(Failure::wrong(what, format!("{}\n{difference}", table.name)));
            }
        }
        Ok(())
    }

    async fn write(&self, text: &str) -> Result<(), Failure> {
        let before = self.read().await?;
        match self.database.write(text).await {
            Ok(_) => Ok(()),
            Err(error) if of_data(&error) => {
                let after = self.read().await?;
                self.same("a failed statement left something", &after, &before)
            }
            Err(error) => Err(Failure::error(text, &error)),
        }
    }

    async fn transaction(&self, statements: &[String], commit: bool) -> Result<(), Failure> {
        let before = self.read().await?;
        let mut transaction = self.database.engine().begin();
        let mut savepoints: Vec<(String, Savepoint, ReadView)> = Vec::new();
        for statement in statements {
            let own = |error: Error| Failure::error("reading in a transaction", &error);
            if let Some(name) = statement.strip_prefix("SAVEPOINT ") {
                let now = transaction.read().await.map_err(own)?;
                savepoints.push((name.to_string(), transaction.savepoint(), now));
            } else if let Some(name) = statement.strip_prefix("ROLLBACK TO ") {
                let Some((_, savepoint, then)) = savepoints.iter().find(|(own, ..)| own == name) else { continue };
                transaction.rollback_to(savepoint);
                let now = transaction.read().await.map_err(own)?;
                self.same("ROLLBACK TO left something", &now, then)?;
            } else {
                match self.database.write_in(&mut transaction, statement).await {
                    Err(error) if !of_data(&error) => return Err(Failure::error(statement, &error)),
                    _ => {}
                }
            }
        }
        let own = transaction.read().await.map_err(|error| Failure::error("reading in a transaction", &error))?;
        match commit {
            true => {
                transaction.commit(Default::default()).await.map_err(|error| Failure::error("COMMIT", &error))?;
                self.same("COMMIT made something else of it", &self.read().await?, &own)
            }
            false => {
                drop(transaction);
                self.same("ROLLBACK left something", &self.read().await?, &before)
            }
        }
    }

    /// Every view against its query over the same epoch.
    pub async fn compare(&mut self) -> Result<(), Failure> {
        let now = self.read().await?;
        for view in self.views.iter().filter(|view| !view.plain) {
            let failed = |error: Error| Failure::error(&format!("{}\n{}", view.name, view.create()), &error);
            let Some(id) = self.database.id(&view.name) else { continue };
            let kept = now.scan(id).and_then(|rows| rows.collect::<riverrun::error::Result<Vec<_>>>());
            let kept = kept.map_err(failed)?;
            let text = read(&view.text, Reader::Batch);
            if !self.bound.contains_key(&text) {
                let bound = self.database.bind(&text).map_err(failed)?;
                self.bound.insert(text.clone(), bound);
            }
            let batch = self.database.run(&self.bound[&text], &now).await.map_err(failed)?;
            if let Some(difference) = difference(&kept, &batch) {
                let what = format!("{}\n{}\nbatch: {text}\n{difference}", view.name, view.create());
                return Err(Failure::wrong("view (+) and batch (-) differ", what));
            }
            if let Some(count) = &view.failing {
                let bound = self.database.bind(&read(count, Reader::Batch)).map_err(failed)?;
                let rows = self.database.run(&bound, &now).await.map_err(failed)?;
                let failing: i64 = rows
                    .iter()
                    .filter(|rows| rows.num_rows() > 0)
                    .map(|rows| {
                        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(rows.column(0)).value(0)
                    })
                    .sum();
                let recorded = self.database.engine().facts().errors_of(id);
                if recorded != failing {
                    let what = format!("{}\n{}\n{failing} rows fail, {recorded} recorded", view.name, view.create());
                    return Err(Failure::wrong("rows that fail", what));
                }
            }
        }
        Ok(())
    }

    /// Drops all that the program made.
    pub async fn clean(&mut self) -> Result<(), Failure> {
        let ids = self.tables.iter().filter_map(|table| self.database.id(&table.name)).collect();
        let dropped = self.database.engine().drop_relations(ids, true).await;
        dropped.map_err(|error| Failure::error("dropping", &error))
    }
}
