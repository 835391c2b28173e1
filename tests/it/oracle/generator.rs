//! Random queries over tables, streams and views: each construct a view may be made of, nested in each other.
//!
//! The generator's rooms: `expressions.rs` (values and predicates), `from.rs` (joins and other sources), `correlated.rs`
//! (subqueries that name the query around them), `queries.rs` (SELECT and what goes around it), `grouped.rs` (aggregates). Answers must be determined by the rows alone.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::schema::{Columns, Kind, Table};

/// All choices come from here, so that a seed repeats them.
pub struct Dice {
    random: StdRng,
    /// PostgreSQL will judge: nothing on which we differ from it with good reason.
    pub judged: bool,
}

impl Dice {
    pub fn new(seed: u64, judged: bool) -> Dice {
        Dice { random: StdRng::seed_from_u64(seed), judged }
    }

    pub fn number(&mut self, range: std::ops::Range<i64>) -> i64 {
        self.random.random_range(range)
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.random.random_bool(share)
    }

    pub fn one<T: Clone>(&mut self, items: &[T]) -> T {
        items.choose(&mut self.random).expect("something to choose from").clone()
    }

    pub fn any<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        items.choose(&mut self.random).cloned()
    }
}

/// What a query may name.
#[derive(Clone)]
pub struct Source {
    pub name: String,
    pub columns: Columns,
    /// About how many rows: keeps joins of joins within what a test has time for.
    pub size: f64,
    pub table: bool,
    pub stream: bool,
    /// A view whose rows may come in an order of its own.
    pub ordered: bool,
}

pub struct Generator {
    pub dice: Dice,
    pub sources: Vec<Source>,
    /// Constructs of the query being made.
    pub tags: BTreeSet<&'static str>,
    aliases: usize,
    /// Within a query that stands among relations: such queries don't nest.
    pub in_parentheses: bool,
    /// Subqueries within the query, so that they don't pile up.
    pub subqueries: usize,
    /// About how many values a column has.
    pub different: f64,
    /// A query whose failing rows can be counted, and the query that counts them.
    pub failing: Option<(String, String)>,
}

/// A FROM item: its text, and its columns with the alias before them.
pub struct From {
    pub text: String,
    pub columns: Columns,
    pub size: f64,
}

impl From {
    /// The last relation's alias.
    pub fn last_alias(&self) -> String {
        self.text.rsplit(' ').next().unwrap_or_default().to_string()
    }
}

/// A query, its columns, and about how many rows it has.
pub struct Query {
    pub text: String,
    pub columns: Columns,
    pub size: f64,
}

impl Generator {
    pub fn new(dice: Dice, different: f64) -> Generator {
        let (sources, tags) = (Vec::new(), BTreeSet::new());
        Generator { dice, sources, tags, aliases: 0, in_parentheses: false, subqueries: 0, different, failing: None }
    }

    pub fn add_table(&mut self, table: &Table, size: f64) {
        let (name, columns) = (table.name.clone(), table.columns.clone());
        self.sources.push(Source { name, columns, size, table: true, stream: table.stream, ordered: false });
    }

    pub fn add_view(&mut self, name: &str, query: &Query) {
        let over_ordered = |source: &Source| source.ordered && query.text.contains(&source.name);
        let ordered = query.text.contains("ORDER BY") || self.sources.iter().any(over_ordered);
        let (name, columns) = (name.to_string(), query.columns.clone());
        self.sources.push(Source { name, columns, size: query.size, table: false, stream: false, ordered });
    }

    pub fn forget(&mut self, name: &str) {
        self.sources.retain(|source| source.name != name);
    }

    pub fn tag(&mut self, tag: &'static str) {
        self.tags.insert(tag);
    }

    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("x{}", self.aliases)
    }

    /// A query, and the constructs in it.
    pub fn query(&mut self) -> (Query, BTreeSet<&'static str>) {
        self.tags.clear();
        (self.subqueries, self.failing) = (0, None);
        let query = self.any(2);
        self.failing.take_if(|(text, _)| *text != query.text);
        (query, std::mem::take(&mut self.tags))
    }

    pub fn any(&mut self, depth: usize) -> Query {
        match self.dice.number(0..53) {
            0..5 => self.select(depth),
            5..11 => self.grouped(depth),
            11..13 => self.global(depth),
            13..15 => self.distinct(depth),
            15..20 => self.set_operation(depth),
            20..23 => self.top(depth),
            23..27 => self.ranked(depth),
            27..31 => self.grouping_sets(depth),
            31 => self.with(depth),
            32..35 => self.windowed(depth),
            35..37 => self.distinct_on(depth),
            37..40 => self.failing(),
            40 | 41 => self.unnested(),
            42..47 => self.correlated(),
            47 => self.join_of_many(),
            48 => self.whole_rows(),
            49 | 50 => self.numbered_groups(depth),
            51 => self.around(),
            _ => self.rows_after(),
        }
    }

    pub fn of_kind(&mut self, columns: &Columns, kind: Kind) -> Option<String> {
        let fitting: Vec<String> =
            columns.iter().filter(|(_, other)| *other == kind).map(|(name, _)| name.clone()).collect();
        self.dice.any(&fitting)
    }

    /// Two columns of one kind, one of each side.
    pub fn pair(&mut self, left: &Columns, right: &Columns) -> Option<(String, String, Kind)> {
        let mut pairs: Vec<_> = left
            .iter()
            .flat_map(|(l, kind)| {
                right.iter().filter(move |(_, other)| other == kind).map(move |(r, _)| (l.clone(), r.clone(), *kind))
            })
            .collect();
        // Every relation has integers: the others would be rare.
        if self.dice.chance(0.25) && pairs.iter().any(|(_, _, kind)| *kind != Kind::Int) {
            pairs.retain(|(_, _, kind)| *kind != Kind::Int);
        }
        let pair = self.dice.any(&pairs);
        if let Some((_, _, kind)) = pair {
            self.tag(kind.compared());
        }
        pair
    }

    /// Two columns of which one can be compared with the other, mostly of one kind; and the right one's kind.
    pub fn comparable(&mut self, left: &Columns, right: &Columns) -> Option<(String, String, Kind)> {
        if self.dice.chance(0.9) {
            return self.pair(left, right);
        }
        let different = |one: Kind, two: Kind| one != two && one.family().is_some() && one.family() == two.family();
        let pairs: Vec<_> = left
            .iter()
            .flat_map(|(l, one)| {
                let fitting = right.iter().filter(move |(_, two)| different(*one, *two));
                fitting.map(move |(r, two)| (l.clone(), r.clone(), *two))
            })
            .collect();
        match self.dice.any(&pairs) {
            None => self.pair(left, right),
            found => {
                self.tag("keys of different types");
                found
            }
        }
    }
}

/// `columns` with another alias before them.
pub fn qualified(columns: &Columns, alias: &str) -> Columns {
    columns.iter().map(|(column, kind)| (format!("{alias}.{column}"), *kind)).collect()
}
