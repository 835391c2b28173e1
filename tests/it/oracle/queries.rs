//! SELECT and what goes around it: DISTINCT, set operations, top-n, rankings, CTEs, windows of time.

use super::generator::{From, Generator, Query, qualified};
use super::schema::{Columns, Kind};
use super::text::{Reader, fallible, ours_or_postgres, read};

impl Generator {
    pub fn select(&mut self, depth: usize) -> Query {
        let from = self.from(depth);
        self.select_from(from)
    }

    pub fn join_of_many(&mut self) -> Query {
        let from = self.many();
        self.select_from(from)
    }

    pub fn unnested(&mut self) -> Query {
        let from = self.with_elements();
        self.select_from(from)
    }

    fn select_from(&mut self, from: From) -> Query {
        self.tag("projection");
        let filter = self.filter(&from.columns);
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for index in 0..self.dice.number(1..5) {
            let (text, kind) = self.expression(&from.columns);
            items.push(format!("{text} AS c{index}"));
            columns.push((format!("c{index}"), kind));
        }
        if self.dice.chance(0.4)
            && let Some((text, kind)) = self.subquery_value(&from.columns)
        {
            let name = format!("c{}", columns.len());
            items.push(format!("{text} AS {name}"));
            columns.push((name, kind));
        }
        Query { text: format!("SELECT {} FROM {}{filter}", items.join(", "), from.text), columns, size: from.size }
    }

    /// A subquery in the SELECT list.
    fn subquery_value(&mut self, outer: &Columns) -> Option<(String, Kind)> {
        if self.dice.chance(0.25) {
            return self.correlated_value(outer);
        }
        let inner = self.base();
        let (l, r, kind) = self.pair(outer, &inner.columns)?;
        let text = &inner.text;
        Some(match self.dice.number(0..6) {
            0 => {
                let value = self.of_kind(&inner.columns, Kind::Int)?;
                self.tag("correlated scalar subquery");
                (format!("(SELECT sum({value}) FROM {text} WHERE {r} = {l})"), Kind::Big)
            }
            1 => {
                self.tag("correlated scalar subquery");
                (format!("(SELECT count(*) FROM {text} WHERE {r} = {l})"), Kind::Big)
            }
            2 if kind.has_extremes() => {
                self.tag("scalar subquery in the list");
                (format!("(SELECT min({r}) FROM {text})"), kind)
            }
            3 => {
                self.tag("IN subquery in the list");
                (format!("{l} IN (SELECT {r} FROM {text})"), Kind::Bool)
            }
            4 => {
                self.tag("IN subquery in the list");
                (format!("{l} NOT IN (SELECT {r} FROM {text})"), Kind::Bool)
            }
            _ => {
                self.tag("EXISTS in the list");
                (format!("EXISTS (SELECT 1 FROM {text} WHERE {r} = {l})"), Kind::Bool)
            }
        })
    }

    /// Rows of one relation with an expression that fails on some of them: how many are recorded is then known.
    pub fn failing(&mut self) -> Query {
        let source = self.source();
        let from = self.aliased(&source);
        let failing = match self.dice.chance(0.3) {
            true => self.only_value(&from.columns).map(|(text, _, fails, kind)| (text, fails, kind)),
            false => self.failing_expression(&from.columns),
        };
        let Some((text, fails, kind)) = failing else { return self.select(1) };
        let (other, other_kind) = self.dice.one(&from.columns);
        let count = format!("SELECT count(*) FROM {} WHERE {fails}", from.text);
        let text = format!("SELECT {other} AS c0, {} AS c1 FROM {}", fallible(&text, &fails), from.text);
        let columns = vec![("c0".to_string(), other_kind), ("c1".to_string(), kind)];
        // What fails on rows of a subquery within is recorded too.
        let alone = read(&count, Reader::View) == read(&count, Reader::Batch);
        self.failing = alone.then(|| (text.clone(), count));
        Query { text, columns, size: from.size }
    }

    pub fn distinct(&mut self, depth: usize) -> Query {
        let query = self.select(depth);
        self.tag("DISTINCT");
        query.columns.iter().for_each(|(_, kind)| self.tag(kind.compared()));
        Query { text: query.text.replacen("SELECT", "SELECT DISTINCT", 1), ..query }
    }

    pub fn set_operation(&mut self, depth: usize) -> Query {
        let (left, right) = if depth > 0 && self.dice.chance(0.3) {
            (self.from(depth - 1), self.from(depth - 1))
        } else {
            (self.base(), self.base())
        };
        let (mut one, mut two, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..self.dice.number(1..4) {
            if let Some((l, r, kind)) = self.pair(&left.columns, &right.columns) {
                one.push(format!("{l} AS c{index}"));
                two.push(r);
                columns.push((format!("c{index}"), kind));
            }
        }
        if columns.is_empty() {
            return self.select(0);
        }
        // Columns keep their places; names are given by the first branch.
        for (index, column) in columns.iter_mut().enumerate() {
            column.0 = format!("c{index}");
            let value = one[index].rsplit_once(" AS ").map_or(String::new(), |(value, _)| value.to_string());
            one[index] = format!("{value} AS c{index}");
        }
        let mut size = left.size + right.size;
        let branch = |generator: &mut Generator, items: &[String], from: &From| {
            let filter = generator.filter(&from.columns);
            format!("SELECT {} FROM {}{filter}", items.join(", "), from.text)
        };
        let mut text = branch(self, &one, &left);
        for turn in 0..if self.dice.chance(0.25) { 2 } else { 1 } {
            let (operator, tag) = self.dice.one(&[
                ("UNION", "UNION"),
                ("UNION ALL", "UNION ALL"),
                ("INTERSECT", "INTERSECT"),
                ("INTERSECT ALL", "INTERSECT ALL"),
                ("EXCEPT", "EXCEPT"),
                ("EXCEPT ALL", "EXCEPT ALL"),
            ]);
            self.tag(tag);
            if turn == 1 {
                self.tag("several set operations");
                size += right.size;
                text = format!("({text})");
            }
            let other = branch(self, &two, &right);
            text = format!("{text} {operator} {other}");
        }
        Query { text, columns, size }
    }

    fn direction(&mut self) -> &'static str {
        self.dice.one(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"])
    }

    /// The first columns of an order, and all the others as they tell equal rows apart.
    fn order(&mut self, columns: &[String], stated: usize) -> (String, String) {
        let keys: Vec<String> =
            columns.iter().take(stated).map(|column| format!("{column}{}", self.direction())).collect();
        let rest = columns.iter().skip(stated).map(|column| format!(", {column} NULLS FIRST"));
        (keys.join(", "), rest.collect())
    }

    pub fn top(&mut self, depth: usize) -> Query {
        let query = self.any(depth.saturating_sub(1));
        let inner = self.alias();
        self.tag("ORDER BY LIMIT");
        let names: Vec<String> = query.columns.iter().map(|(name, _)| format!("{inner}.{name}")).collect();
        let stated = if self.dice.chance(0.5) { names.len() } else { 1 };
        if stated < names.len() {
            self.tag("LIMIT with ties");
        }
        let (keys, rest) = self.order(&names, stated);
        let offset = if self.dice.chance(0.4) {
            self.tag("OFFSET");
            format!(" OFFSET {}", self.dice.number(0..4))
        } else {
            String::new()
        };
        let limit = self.dice.number(1..7);
        let rest = if rest.is_empty() { rest } else { ours_or_postgres("", &rest) };
        let text =
            format!("SELECT {inner}.* FROM ({}) {inner} ORDER BY {keys}{rest} LIMIT {limit}{offset}", query.text);
        Query { text, columns: query.columns, size: limit as f64 }
    }

    /// How many rows there are behind the first ones, of rows without an order: a view refuses an OFFSET that might be by one.
    pub fn rows_after(&mut self) -> Query {
        let sources = self.sources.clone();
        self.sources.retain(|source| !source.ordered);
        let query = self.select(0);
        self.sources = sources;
        self.tag("OFFSET without ORDER BY");
        let (alias, offset) = (self.alias(), self.dice.number(0..20));
        let text = format!("SELECT count(*) AS c0 FROM ({} OFFSET {offset}) {alias}", query.text);
        Query { text, columns: vec![("c0".to_string(), Kind::Big)], size: 1.0 }
    }

    pub fn ranked(&mut self, depth: usize) -> Query {
        let from = self.from(depth.min(1));
        let function = self.dice.one(&["row_number", "rank", "dense_rank"]);
        self.tag(function);
        let shown: Columns = from.columns.iter().take(3).cloned().collect();
        let mut columns: Columns = shown.iter().enumerate().map(|(i, (_, kind))| (format!("c{i}"), *kind)).collect();
        let items: Vec<String> = shown.iter().enumerate().map(|(i, (name, _))| format!("{name} AS c{i}")).collect();
        let partition = match self.dice.chance(0.8) {
            true => format!("PARTITION BY {} ", self.dice.one(&from.columns).0),
            false => {
                self.tag("ranking without partition");
                String::new()
            }
        };
        let all: Vec<String> = from.columns.iter().map(|(name, _)| name.clone()).collect();
        let stated = self.dice.number(1..4) as usize;
        let (keys, rest) = self.order(&all, stated.min(all.len()));
        let rest = match function {
            "row_number" if !rest.is_empty() => {
                self.tag("row_number with ties");
                ours_or_postgres("", &rest)
            }
            _ => String::new(),
        };
        let bound = self.dice.number(1..4);
        let condition =
            self.dice.one(&[format!("rn <= {bound}"), format!("rn < {}", bound + 1), format!("rn = {bound}")]);
        let text = format!(
            "SELECT * FROM (SELECT {}, {function}() OVER ({partition}ORDER BY {keys}{rest}) AS rn FROM {}) q WHERE {condition}",
            items.join(", "),
            from.text
        );
        columns.push(("rn".to_string(), Kind::Big));
        Query { text, columns, size: from.size / 2.0 }
    }

    /// A common table expression that is used twice.
    pub fn with(&mut self, depth: usize) -> Query {
        self.tag("CTE used twice");
        let inner = self.any(depth.saturating_sub(1).min(1));
        let name = self.alias();
        let (key, kind) = self.dice.one(&inner.columns);
        let materialized = self.dice.one(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
        let with = format!("WITH {name} AS {materialized}({})", inner.text);
        let big = |name: &str| (name.to_string(), Kind::Big);
        let (text, columns) = match self.dice.number(0..3) {
            0 if inner.size < 300.0 => (
                format!(
                    "{with} SELECT l.{key} AS c0, count(*) AS c1 FROM {name} l JOIN {name} r ON l.{key} = r.{key} GROUP BY l.{key}"
                ),
                vec![("c0".to_string(), kind), big("c1")],
            ),
            1 => (
                format!(
                    "{with} SELECT {key} AS c0, (SELECT count(*) FROM {name}) AS c1 FROM {name} WHERE {key} IS NOT NULL"
                ),
                vec![("c0".to_string(), kind), big("c1")],
            ),
            _ => (
                format!("{with} SELECT {key} AS c0 FROM {name} UNION ALL SELECT {key} FROM {name} WHERE {key} IS NULL"),
                vec![("c0".to_string(), kind)],
            ),
        };
        Query { text, columns, size: inner.size * 2.0 }
    }

    pub fn windowed(&mut self, depth: usize) -> Query {
        let Some(from) = self.time_windows() else { return self.grouped(depth) };
        let window = from.columns[from.columns.len() - 2..].to_vec();
        let filter = self.filter(&from.columns);
        let mut items: Vec<String> =
            window.iter().enumerate().map(|(index, (name, _))| format!("{name} AS c{index}")).collect();
        let mut columns: Columns = [0, 1].iter().map(|index| (format!("c{index}"), Kind::Time)).collect();
        let mut keys: Vec<String> = window.iter().map(|(name, _)| name.clone()).collect();
        if self.dice.chance(0.5) {
            let (key, kind) = self.dice.one(&from.columns);
            items.push(format!("{key} AS c2"));
            columns.push(("c2".to_string(), kind));
            keys.push(key);
        }
        let (calls, named) = self.calls(&from.columns, columns.len());
        items.extend(calls);
        columns.extend(named);
        let text = format!("SELECT {} FROM {}{filter} GROUP BY {}", items.join(", "), from.text, keys.join(", "));
        Query { text, columns, size: from.size }
    }

    pub fn distinct_on(&mut self, depth: usize) -> Query {
        let query = self.select(depth.min(1));
        self.tag("DISTINCT ON");
        let inner = self.alias();
        let named = qualified(&query.columns, &inner);
        let names: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
        let on = if names.len() > 2 && self.dice.chance(0.3) { 2 } else { 1 };
        let stated = self.dice.number(on..names.len() as i64 + 1) as usize;
        if stated < names.len() {
            self.tag("DISTINCT ON with ties");
        }
        let (keys, rest) = self.order(&names, stated);
        let rest = if rest.is_empty() { rest } else { ours_or_postgres("", &rest) };
        let text = format!(
            "SELECT DISTINCT ON ({}) * FROM ({}) {inner} ORDER BY {keys}{rest}",
            names[..on as usize].join(", "),
            query.text
        );
        Query { text, columns: query.columns, size: query.size / 2.0 }
    }
}
