//! Random queries over tables and views: each construct a view may be made of, nested in each other.
//!
//! Answers must be determined by the rows alone: where an order decides (LIMIT, DISTINCT ON, row_number), it is a total
//! one over what is shown.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::data::{Kind, Table};

type Columns = Vec<(String, Kind)>;

pub struct Generator {
    relations: Vec<(String, Columns)>,
    tags: Vec<&'static str>,
    aliases: usize,
}

/// A FROM item: its text, and its columns with the alias before them.
struct From {
    text: String,
    columns: Columns,
}

impl Generator {
    pub fn new(tables: &[Table]) -> Generator {
        let relations = tables.iter().map(|table| (table.name.clone(), table.columns.clone())).collect();
        Generator { relations, tags: Vec::new(), aliases: 0 }
    }

    pub fn add_view(&mut self, name: &str, columns: Columns) {
        self.relations.push((name.to_string(), columns));
    }

    /// Each construct once a query it was in.
    pub fn tags(&self) -> &[&'static str] {
        &self.tags
    }

    /// A query, and its columns.
    pub fn query(&mut self, random: &mut StdRng) -> (String, Columns) {
        let before = self.tags.len();
        let query = self.any(random, 2);
        let used: BTreeSet<&'static str> = self.tags.drain(before..).collect();
        self.tags.extend(used);
        query
    }

    fn tag(&mut self, tag: &'static str) {
        self.tags.push(tag);
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("x{}", self.aliases)
    }

    fn any(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        match random.random_range(0..26) {
            0..4 => self.select(random, depth),
            4..8 => self.grouped(random, depth),
            8 => self.global(random, depth),
            9 | 10 => self.distinct(random, depth),
            11..15 => self.set_operation(random),
            15 | 16 => self.top(random, depth),
            17 | 18 => self.ranked(random, depth),
            19..22 => self.grouping_sets(random),
            22 => self.with(random, depth),
            23 | 24 => self.windowed(random, depth),
            _ => self.distinct_on(random, depth),
        }
    }

    // FROM

    fn base(&mut self, random: &mut StdRng) -> From {
        let (name, columns) = self.relations.choose(random).expect("relations").clone();
        let alias = self.alias();
        let columns = columns.into_iter().map(|(column, kind)| (format!("{alias}.{column}"), kind)).collect();
        From { text: format!("{name} {alias}"), columns }
    }

    fn from(&mut self, random: &mut StdRng, depth: usize) -> From {
        match random.random_range(0..10) {
            0..4 => self.base(random),
            4..8 => self.join(random, depth),
            8 if depth > 0 => {
                self.tag("subquery in FROM");
                let (text, columns) = self.any(random, depth - 1);
                let alias = self.alias();
                let columns = columns.into_iter().map(|(column, kind)| (format!("{alias}.{column}"), kind)).collect();
                From { text: format!("({text}) {alias}"), columns }
            }
            _ => self.base(random),
        }
    }

    fn join(&mut self, random: &mut StdRng, depth: usize) -> From {
        let left = if depth > 0 && random.random_bool(0.3) { self.join(random, depth - 1) } else { self.base(random) };
        let right = self.base(random);
        let (kind, tag) = *[
            ("JOIN", "inner join"),
            ("JOIN", "inner join"),
            ("LEFT JOIN", "left join"),
            ("RIGHT JOIN", "right join"),
            ("FULL JOIN", "full join"),
            ("CROSS JOIN", "cross join"),
            ("JOIN", "non-equi join"),
        ]
        .choose(random)
        .expect("kinds");
        self.tag(tag);
        let mut columns = left.columns.clone();
        columns.extend(right.columns.clone());
        let condition = match tag {
            "cross join" => String::new(),
            "non-equi join" => match self.pair(random, &left.columns, &right.columns) {
                Some((l, r)) => format!(" ON {l} < {r}"),
                None => " ON true".to_string(),
            },
            _ => {
                let (l, r) = self.pair(random, &left.columns, &right.columns).unwrap_or(("1".into(), "1".into()));
                let mut condition = format!(" ON {l} = {r}");
                // A full join with a further condition has no plan in Postgres either unless it can merge or hash.
                if random.random_bool(0.3) {
                    self.tag("join with a further condition");
                    condition += &format!(" AND {}", self.predicate(random, &columns));
                }
                condition
            }
        };
        From { text: format!("{} {kind} {}{condition}", left.text, right.text), columns }
    }

    /// Two columns of one kind, one of each side.
    fn pair(&mut self, random: &mut StdRng, left: &Columns, right: &Columns) -> Option<(String, String)> {
        let pairs: Vec<_> = left
            .iter()
            .flat_map(|(l, kind)| right.iter().filter(move |(_, other)| other == kind).map(move |(r, _)| (l, r)))
            .collect();
        pairs.choose(random).map(|(l, r)| ((*l).clone(), (*r).clone()))
    }

    // Expressions

    fn of_kind(&self, random: &mut StdRng, columns: &Columns, kind: Kind) -> Option<String> {
        let fitting: Vec<_> = columns.iter().filter(|(_, other)| *other == kind).collect();
        fitting.choose(random).map(|(name, _)| name.clone())
    }

    fn literal(&self, random: &mut StdRng, kind: Kind) -> String {
        match kind {
            Kind::Int => random.random_range(-1..6).to_string(),
            Kind::Big => format!("{}::bigint", random.random_range(-2..5i64) * 1_000_000_007),
            Kind::Text => format!("'{}'", ["a", "b", "ab"].choose(random).expect("texts")),
            Kind::Numeric => format!("{:.2}", f64::from(random.random_range(-300..300)) / 100.0),
            Kind::Float => format!("{}::float8", ["0.1", "2.5", "-7.25"].choose(random).expect("floats")),
            Kind::Bool => ["true", "false"].choose(random).expect("booleans").to_string(),
            Kind::Time => format!("timestamp '2023-11-14 22:{}:00'", random.random_range(13..24)),
        }
    }

    fn predicate(&mut self, random: &mut StdRng, columns: &Columns) -> String {
        let (column, kind) = columns.choose(random).expect("columns").clone();
        match random.random_range(0..8) {
            0 => format!("{column} IS NULL"),
            1 => format!("{column} IS NOT NULL"),
            2 if kind == Kind::Bool => column,
            3 => {
                self.tag("IN list");
                let (one, two) = (self.literal(random, kind), self.literal(random, kind));
                format!("{column} IN ({one}, {two})")
            }
            4 => {
                let (left, right) = (self.comparison(random, &column, kind), self.literal(random, kind));
                format!("({left} OR {column} = {right})")
            }
            5 => format!("NOT ({})", self.comparison(random, &column, kind)),
            6 => {
                self.tag("IS DISTINCT FROM");
                format!("({column} IS DISTINCT FROM {})", self.literal(random, kind))
            }
            _ => self.comparison(random, &column, kind),
        }
    }

    fn comparison(&self, random: &mut StdRng, column: &str, kind: Kind) -> String {
        let operator = ["=", "<>", "<", "<=", ">", ">="].choose(random).expect("operators");
        format!("{column} {operator} {}", self.literal(random, kind))
    }

    fn expression(&mut self, random: &mut StdRng, columns: &Columns) -> (String, Kind) {
        let (column, kind) = columns.choose(random).expect("columns").clone();
        match (random.random_range(0..7), kind) {
            (0, Kind::Int) => (format!("{column} + 1"), Kind::Int),
            (1, Kind::Int) => (format!("{column} * 2 - 1"), Kind::Int),
            (0, Kind::Text) => (format!("upper({column})"), Kind::Text),
            (1, Kind::Text) => (format!("{column} || 'x'"), Kind::Text),
            (2, Kind::Text) => (format!("length({column})"), Kind::Int),
            (0, Kind::Float) => (format!("{column} * 2"), Kind::Float),
            (3, _) => {
                self.tag("CASE");
                let condition = self.predicate(random, columns);
                (format!("CASE WHEN {condition} THEN {column} END"), kind)
            }
            (4, _) => {
                self.tag("coalesce");
                let literal = self.literal(random, kind);
                (format!("coalesce({column}, {literal})"), kind)
            }
            (5, Kind::Int) => {
                self.tag("cast");
                (format!("{column}::bigint"), Kind::Big)
            }
            (6, _) => {
                self.tag("cast");
                let text = format!("({column})::text");
                if kind == Kind::Float { (column, kind) } else { (text, Kind::Text) }
            }
            _ => (column, kind),
        }
    }

    fn subquery_predicate(&mut self, random: &mut StdRng, outer: &Columns) -> Option<String> {
        let inner = self.base(random);
        let (l, r) = self.pair(random, outer, &inner.columns)?;
        let further = if random.random_bool(0.4) {
            format!(" AND {}", self.predicate(random, &inner.columns))
        } else {
            String::new()
        };
        let plain = if further.is_empty() { String::new() } else { format!(" WHERE{}", &further[4..]) };
        Some(match random.random_range(0..5) {
            0 => {
                self.tag("EXISTS");
                format!("EXISTS (SELECT 1 FROM {} WHERE {r} = {l}{further})", inner.text)
            }
            1 => {
                self.tag("NOT EXISTS");
                format!("NOT EXISTS (SELECT 1 FROM {} WHERE {r} = {l}{further})", inner.text)
            }
            2 => {
                self.tag("IN subquery");
                format!("{l} IN (SELECT {r} FROM {}{plain})", inner.text)
            }
            3 => {
                self.tag("NOT IN subquery");
                format!("{l} NOT IN (SELECT {r} FROM {}{plain})", inner.text)
            }
            _ => {
                self.tag("scalar subquery");
                format!("{l} >= (SELECT max({r}) FROM {}{plain})", inner.text)
            }
        })
        .filter(|text| !text.contains("max(") || !outer.iter().any(|(name, kind)| *name == l && *kind == Kind::Bool))
    }

    fn filter(&mut self, random: &mut StdRng, columns: &Columns) -> String {
        let mut parts = Vec::new();
        if random.random_bool(0.5) {
            self.tag("filter");
            parts.push(self.predicate(random, columns));
        }
        if random.random_bool(0.25)
            && let Some(predicate) = self.subquery_predicate(random, columns)
        {
            parts.push(predicate);
        }
        if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
    }

    // Queries

    fn select(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        self.tag("projection");
        let from = self.from(random, depth);
        let filter = self.filter(random, &from.columns);
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for index in 0..random.random_range(1..=4) {
            let (text, kind) = self.expression(random, &from.columns);
            items.push(format!("{text} AS c{index}"));
            columns.push((format!("c{index}"), kind));
        }
        if random.random_bool(0.15) {
            let inner = self.base(random);
            if let (Some((l, r)), Some(value)) =
                (self.pair(random, &from.columns, &inner.columns), self.of_kind(random, &inner.columns, Kind::Int))
            {
                self.tag("correlated scalar subquery");
                let name = format!("c{}", columns.len());
                items.push(format!("(SELECT sum({value}) FROM {} WHERE {r} = {l}) AS {name}", inner.text));
                columns.push((name, Kind::Big));
            }
        }
        (format!("SELECT {} FROM {}{filter}", items.join(", "), from.text), columns)
    }

    fn calls(&mut self, random: &mut StdRng, columns: &Columns, first: usize) -> (Vec<String>, Columns) {
        let (mut items, mut named) = (Vec::new(), Vec::new());
        for index in first..first + random.random_range(1..=3usize) {
            let (call, kind) = self.call(random, columns);
            let call = if random.random_bool(0.15) {
                self.tag("FILTER");
                let filter = format!(" FILTER (WHERE {})", self.predicate(random, columns));
                match call.strip_suffix("::float8") {
                    Some(call) => format!("{call}{filter}::float8"),
                    None => format!("{call}{filter}"),
                }
            } else {
                call
            };
            items.push(format!("{call} AS c{index}"));
            named.push((format!("c{index}"), kind));
        }
        (items, named)
    }

    fn call(&mut self, random: &mut StdRng, columns: &Columns) -> (String, Kind) {
        let (column, kind) = columns.choose(random).expect("columns").clone();
        let distinct = if random.random_bool(0.15) {
            self.tag("DISTINCT aggregate");
            "DISTINCT "
        } else {
            ""
        };
        // What only one kind can have would be rare otherwise.
        let choice = match kind {
            Kind::Float if random.random_bool(0.6) => 2,
            Kind::Bool if random.random_bool(0.6) => 9,
            Kind::Text if random.random_bool(0.5) => 10,
            _ => random.random_range(0..11),
        };
        let comparable = kind != Kind::Bool;
        let (tag, call, kind) = match choice {
            0 => ("count(*)", "count(*)".to_string(), Kind::Big),
            1 => ("count", format!("count({distinct}{column})"), Kind::Big),
            2 | 3 if kind == Kind::Int => ("sum", format!("sum({distinct}{column})"), Kind::Big),
            2 | 3 if kind == Kind::Float => ("float sum", format!("sum({distinct}{column})"), Kind::Float),
            4 | 5 if comparable => ("min", format!("min({column})"), kind),
            6 | 7 if comparable => ("max", format!("max({column})"), kind),
            8 if kind.is_number() => ("avg", format!("avg({distinct}{column})::float8"), Kind::Float),
            9 if kind == Kind::Bool => ("bool_and", format!("bool_and({column})"), Kind::Bool),
            10 if kind == Kind::Text => {
                ("string_agg", format!("string_agg({column}, ',' ORDER BY {column})"), Kind::Text)
            }
            8 | 9 if kind == Kind::Int => ("stddev", format!("stddev({column})::float8"), Kind::Float),
            _ => ("count", format!("count({distinct}{column})"), Kind::Big),
        };
        self.tag(tag);
        (call, kind)
    }

    fn grouped(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        self.tag("GROUP BY");
        let from = self.from(random, depth);
        let filter = self.filter(random, &from.columns);
        let (mut items, mut columns, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..random.random_range(1..=2) {
            let (text, kind) = self.expression(random, &from.columns);
            if text.starts_with('\'') {
                continue;
            }
            items.push(format!("{text} AS c{index}"));
            columns.push((format!("c{index}"), kind));
            keys.push((index + 1).to_string());
        }
        let (calls, named) = self.calls(random, &from.columns, columns.len());
        items.extend(calls);
        columns.extend(named);
        let having = if random.random_bool(0.3) {
            self.tag("HAVING");
            format!(" HAVING count(*) > {}", random.random_range(0..3))
        } else {
            String::new()
        };
        let keys = keys.join(", ");
        (format!("SELECT {} FROM {}{filter} GROUP BY {keys}{having}", items.join(", "), from.text), columns)
    }

    fn global(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        self.tag("global aggregate");
        let from = self.from(random, depth);
        let filter = self.filter(random, &from.columns);
        let (items, columns) = self.calls(random, &from.columns, 0);
        (format!("SELECT {} FROM {}{filter}", items.join(", "), from.text), columns)
    }

    fn distinct(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        let (text, columns) = self.select(random, depth);
        self.tag("DISTINCT");
        (text.replacen("SELECT", "SELECT DISTINCT", 1), columns)
    }

    fn set_operation(&mut self, random: &mut StdRng) -> (String, Columns) {
        let (left, right) = (self.base(random), self.base(random));
        let (operator, tag) = *[
            ("UNION", "UNION"),
            ("UNION ALL", "UNION ALL"),
            ("INTERSECT", "INTERSECT"),
            ("INTERSECT ALL", "INTERSECT ALL"),
            ("EXCEPT", "EXCEPT"),
            ("EXCEPT ALL", "EXCEPT ALL"),
        ]
        .choose(random)
        .expect("operators");
        self.tag(tag);
        let (mut one, mut two, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..random.random_range(1..=2usize) {
            if let Some((l, r)) = self.pair(random, &left.columns, &right.columns) {
                let kind = left.columns.iter().find(|(name, _)| *name == l).map_or(Kind::Int, |(_, kind)| *kind);
                one.push(format!("{l} AS c{index}"));
                two.push(r);
                columns.push((format!("c{index}"), kind));
            }
        }
        if columns.is_empty() {
            return self.select(random, 0);
        }
        let (filter_one, filter_two) = (self.filter(random, &left.columns), self.filter(random, &right.columns));
        let text = format!(
            "SELECT {} FROM {}{filter_one} {operator} SELECT {} FROM {}{filter_two}",
            one.join(", "),
            left.text,
            two.join(", "),
            right.text
        );
        (text, columns)
    }

    fn top(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        let (text, columns) = self.select(random, depth.min(1));
        self.tag("ORDER BY LIMIT");
        let order: Vec<String> = (1..=columns.len())
            .map(|index| format!("{index}{}", ["", " DESC", " NULLS FIRST"].choose(random).expect("orders")))
            .collect();
        let offset = if random.random_bool(0.3) {
            self.tag("OFFSET");
            format!(" OFFSET {}", random.random_range(0..3))
        } else {
            String::new()
        };
        (format!("{text} ORDER BY {} LIMIT {}{offset}", order.join(", "), random.random_range(1..6)), columns)
    }

    fn ranked(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        let from = self.from(random, depth.min(1));
        let (function, tag) = *[("row_number", "row_number"), ("rank", "rank"), ("dense_rank", "dense_rank")]
            .choose(random)
            .expect("functions");
        self.tag(tag);
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for (index, (column, kind)) in from.columns.iter().take(3).enumerate() {
            items.push(format!("{column} AS c{index}"));
            columns.push((format!("c{index}"), *kind));
        }
        let partition = from.columns.choose(random).expect("columns").0.clone();
        // Total over what is shown: rows that tie are equal.
        let order: Vec<String> = from.columns.iter().take(3).map(|(column, _)| column.clone()).collect();
        let text = format!(
            "SELECT * FROM (SELECT {}, {function}() OVER (PARTITION BY {partition} ORDER BY {}) AS rn FROM {}) q WHERE rn <= {}",
            items.join(", "),
            order.join(", "),
            from.text,
            random.random_range(1..4)
        );
        columns.push(("rn".to_string(), Kind::Big));
        (text, columns)
    }

    fn grouping_sets(&mut self, random: &mut StdRng) -> (String, Columns) {
        let from = self.base(random);
        let (one, one_kind) = from.columns.choose(random).expect("columns").clone();
        let others: Columns = from.columns.iter().filter(|(name, _)| *name != one).cloned().collect();
        let Some((two, two_kind)) = others.choose(random).cloned() else { return self.grouped(random, 0) };
        let (sets, tag) = match random.random_range(0..3) {
            0 => (format!("GROUPING SETS (({one}), ({two}), ())"), "GROUPING SETS"),
            1 => (format!("ROLLUP ({one}, {two})"), "ROLLUP"),
            _ => (format!("CUBE ({one}, {two})"), "CUBE"),
        };
        self.tag(tag);
        let text = format!("SELECT {one} AS c0, {two} AS c1, count(*) AS c2 FROM {} GROUP BY {sets}", from.text);
        let names = ["c0", "c1", "c2"].map(String::from);
        let kinds = [one_kind, two_kind, Kind::Big];
        (text, names.into_iter().zip(kinds).collect())
    }

    fn with(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        self.tag("CTE");
        let (inner, columns) = self.any(random, depth.saturating_sub(1).min(1));
        let name = self.alias();
        let (key, kind) = columns.first().expect("columns").clone();
        // Named twice: the common part is one.
        let text = format!(
            "WITH {name} AS ({inner}) SELECT l.{key} AS c0, count(*) AS c1 FROM {name} l JOIN {name} r ON l.{key} = r.{key} GROUP BY l.{key}"
        );
        (text, vec![("c0".to_string(), kind), ("c1".to_string(), Kind::Big)])
    }

    fn windowed(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        let timed: Vec<_> =
            self.relations.iter().filter(|(_, columns)| columns.iter().any(|(_, kind)| *kind == Kind::Time)).collect();
        let Some((name, columns)) = timed.choose(random).map(|relation| (*relation).clone()) else {
            return self.grouped(random, depth);
        };
        let time = self.of_kind(random, &columns, Kind::Time).expect("a time");
        let (call, tag) = match random.random_bool(0.5) {
            true => (format!("TUMBLE({name}, {time}, INTERVAL '1 minute')"), "TUMBLE"),
            false => (format!("HOP({name}, {time}, INTERVAL '30 seconds', INTERVAL '1 minute')"), "HOP"),
        };
        self.tag(tag);
        let (calls, named) = self.calls(random, &columns, 2);
        let text = format!(
            "SELECT window_start AS c0, window_end AS c1, {} FROM {call} GROUP BY window_start, window_end",
            calls.join(", ")
        );
        let mut all = vec![("c0".to_string(), Kind::Time), ("c1".to_string(), Kind::Time)];
        all.extend(named);
        (text, all)
    }

    fn distinct_on(&mut self, random: &mut StdRng, depth: usize) -> (String, Columns) {
        let (text, columns) = self.select(random, depth.min(1));
        self.tag("DISTINCT ON");
        let inner = self.alias();
        let rest: Vec<String> = columns.iter().map(|(name, _)| format!("{inner}.{name}")).collect();
        let text = format!("SELECT DISTINCT ON ({}) * FROM ({text}) {inner} ORDER BY {}", rest[0], rest.join(", "));
        (text, columns)
    }
}
