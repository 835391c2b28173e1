//! A program as a list of steps, and what makes a random one.

use std::collections::BTreeSet;

use super::generator::{Dice, Generator, Query};
use super::schema::{Columns, Kind, Table};
use super::text::{Reader, read};
use super::writes::Writes;

/// Epochs of a program after its views are made.
pub const EPOCHS: usize = 10;

#[derive(Clone, Debug)]
pub struct View {
    pub name: String,
    /// In the three texts of `text.rs`.
    pub text: String,
    pub columns: Columns,
    /// A plain view: bound again wherever it is named.
    pub plain: bool,
    /// Counts the rows on which its one fallible expression fails, where that can be said.
    pub failing: Option<String>,
    /// Constructs in it.
    pub tags: BTreeSet<&'static str>,
}

impl View {
    pub fn create(&self) -> String {
        match self.plain {
            // What reads it outside a view must not fail.
            true => format!("CREATE VIEW {} AS {}", self.name, read(&self.text, Reader::Batch)),
            false => format!("CREATE MATERIALIZED VIEW {} AS {}", self.name, read(&self.text, Reader::View)),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Relation(Table),
    /// A view, and what is written while it is filled.
    View {
        view: View,
        beside: Vec<String>,
    },
    Index(String),
    /// A view, with all that stands on it.
    Drop(String),
    Write(String),
    Transaction {
        statements: Vec<String>,
        commit: bool,
    },
    /// The engine is stopped; its log is replayed by so many workers in steps of so many rows.
    Restart {
        workers: usize,
        step_rows: usize,
    },
}

impl Step {
    /// As a person would type it.
    pub fn script(&self) -> String {
        match self {
            Step::Relation(table) => format!("{};", table.create()),
            Step::View { view, beside } if beside.is_empty() => format!("{};", view.create()),
            Step::View { view, beside } => {
                format!("{}; -- and while it is filled:\n{};", view.create(), beside.join(";\n"))
            }
            Step::Index(text) | Step::Write(text) => format!("{text};"),
            Step::Drop(name) => format!("DROP VIEW {name} CASCADE; -- or MATERIALIZED VIEW"),
            Step::Transaction { statements, commit } => {
                format!("BEGIN;\n{};\n{};", statements.join(";\n"), if *commit { "COMMIT" } else { "ROLLBACK" })
            }
            Step::Restart { workers, step_rows } => {
                format!("-- restart with {workers} workers, steps of {step_rows} rows")
            }
        }
    }
}

/// Makes a program's steps one after the other: a view that is refused is told, so that nothing is built on it.
pub struct Program {
    seed: u64,
    generator: Generator,
    kinds: Vec<Kind>,
    tables: Vec<Table>,
    /// Views that stand, in the order in which they were made.
    views: Vec<View>,
    made: usize,
    next_key: i64,
    /// Rows of the flood in it, if one comes.
    flood: Option<i64>,
    stage: Stage,
    /// What else was in it, besides the views' constructs.
    pub tags: Vec<&'static str>,
}

enum Stage {
    Tables(usize),
    Before(usize),
    Views(usize),
    Epochs(usize),
}

impl Program {
    pub fn new(seed: u64, judged: bool) -> Program {
        let mut dice = Dice::new(seed, judged);
        let flood = dice.chance(0.2).then(|| dice.number(200..500));
        let different = if flood.is_some() { 60.0 } else { 6.0 };
        let tables = dice.number(2..5) as usize;
        let kinds = Kind::of_a_program(&mut dice);
        Program {
            seed,
            kinds,
            generator: Generator::new(dice, different),
            tables: Vec::new(),
            views: Vec::new(),
            made: 0,
            next_key: 100,
            flood,
            stage: Stage::Tables(tables),
            tags: Vec::new(),
        }
    }

    pub fn next(&mut self) -> Option<Step> {
        loop {
            match self.stage {
                Stage::Tables(0) => self.stage = Stage::Before(self.generator.dice.number(0..3) as usize),
                Stage::Tables(left) => {
                    self.stage = Stage::Tables(left - 1);
                    return Some(self.table());
                }
                Stage::Before(0) => self.stage = Stage::Views(self.generator.dice.number(5..8) as usize),
                Stage::Before(left) => {
                    self.stage = Stage::Before(left - 1);
                    return Some(self.write());
                }
                Stage::Views(0) => {
                    self.stage = Stage::Epochs(EPOCHS);
                    // The batch queries read the tables by it.
                    if self.generator.dice.chance(0.3)
                        && let Some(index) = self.index()
                    {
                        return Some(index);
                    }
                }
                Stage::Views(left) => {
                    self.stage = Stage::Views(left - 1);
                    return Some(self.view());
                }
                Stage::Epochs(0) => return None,
                Stage::Epochs(left) => {
                    // What is no write is no epoch of its own.
                    if let Some(step) = self.between(left) {
                        return Some(step);
                    }
                    self.stage = Stage::Epochs(left - 1);
                    return Some(self.write());
                }
            }
        }
    }

    /// The view of the last step was refused.
    pub fn refused(&mut self) {
        if let Some(view) = self.views.pop() {
            self.generator.forget(&view.name);
        }
    }

    fn table(&mut self) -> Step {
        let index = self.tables.len();
        // The first is a table, so that there is something to update.
        let stream = index > 0 && self.generator.dice.chance(0.35);
        let table = Table::random(&mut self.generator.dice, &self.kinds, format!("t{}_{index}", self.seed), stream);
        self.generator.add_table(&table, if self.flood.is_some() { 400.0 } else { 25.0 });
        self.tables.push(table.clone());
        Step::Relation(table)
    }

    fn writes(&mut self) -> Writes<'_> {
        let (dice, tables, next_key) = (&mut self.generator.dice, &self.tables, &mut self.next_key);
        Writes { dice, tables, next_key, tags: Vec::new() }
    }

    fn write(&mut self) -> Step {
        let (step, tags) = {
            let mut writes = self.writes();
            (writes.step(), writes.tags)
        };
        self.tags.extend(tags);
        step
    }

    fn view(&mut self) -> Step {
        let name = format!("v{}_{}", self.seed, self.made);
        self.made += 1;
        let (query, mut tags) = self.generator.query();
        let plain = self.generator.dice.chance(0.08);
        tags.insert(if plain { "plain view" } else { "materialized view" });
        let failing = self.generator.failing.take().filter(|_| !plain).map(|(_, count)| count);
        if failing.is_some() {
            tags.insert("failing rows counted");
        }
        self.generator.add_view(&name, &query);
        let Query { text, columns, .. } = query;
        let view = View { name, text, columns, plain, failing, tags };
        self.views.push(view.clone());
        let mut beside = Vec::new();
        if self.generator.dice.chance(0.2) {
            self.tags.push("view filled under writes");
            let mut writes = self.writes();
            beside = (0..writes.dice.number(1..4)).map(|_| writes.statement()).collect();
        }
        Step::View { view, beside }
    }

    /// An index on one or two columns of a table or a view.
    fn index(&mut self) -> Option<Step> {
        let tables = self.tables.iter().filter(|table| !table.stream).map(|table| (&table.name, &table.columns));
        let views = self.views.iter().filter(|view| !view.plain).map(|view| (&view.name, &view.columns));
        let named: Vec<(String, Columns)> =
            tables.chain(views).map(|(name, columns)| (name.clone(), columns.clone())).collect();
        let dice = &mut self.generator.dice;
        let (name, columns) = dice.any(&named)?;
        let mut keys = Vec::new();
        for _ in 0..dice.number(1..3) {
            let (column, _) = dice.one(&columns);
            keys.push(format!("{column}{}", dice.one(&["", "", " DESC", " NULLS FIRST"])));
        }
        let method = dice.one(&["btree", "btree", "hash"]);
        self.tags.push("index");
        Some(Step::Index(format!("CREATE INDEX ON {name} USING {method} ({})", keys.join(", "))))
    }

    /// Something other than a write, now and then.
    fn between(&mut self, left: usize) -> Option<Step> {
        match self.generator.dice.number(0..1000) {
            0..45 => {
                self.tags.push("restart");
                let workers = self.generator.dice.number(1..4) as usize;
                let step_rows = self.generator.dice.one(&[5, 64, 65536]);
                Some(Step::Restart { workers, step_rows })
            }
            45..85 => {
                self.tags.push("view created between writes");
                Some(self.view())
            }
            85..145 if self.views.len() > 2 => {
                self.tags.push("view dropped between writes");
                // The newest stands under nothing; others take what stands on them along.
                let last = self.views.len() - 1;
                let at = if self.generator.dice.chance(0.6) {
                    last
                } else {
                    self.generator.dice.number(0..last as i64) as usize
                };
                let mut gone = vec![self.views[at].name.clone()];
                for view in &self.views[at + 1..] {
                    let names = |name: &String| {
                        view.text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
                    };
                    if gone.iter().any(names) {
                        gone.push(view.name.clone());
                    }
                }
                self.views.retain(|view| !gone.contains(&view.name));
                gone.iter().for_each(|name| self.generator.forget(name));
                Some(Step::Drop(gone[0].clone()))
            }
            145..185 => self.index(),
            _ => {
                // The flood comes in the middle.
                let rows = self.flood.take_if(|_| left < EPOCHS / 2)?;
                let mut writes = self.writes();
                let table = writes.dice.one(writes.tables);
                let text = writes.flood(&table, rows);
                let tags = writes.tags;
                self.tags.extend(tags);
                Some(Step::Write(text))
            }
        }
    }
}
