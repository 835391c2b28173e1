//! Subqueries that name columns of the query around them, in every place and over every construct that may stand in
//! between.

use super::generator::{From, Generator, Query};
use super::schema::{Columns, Kind};
use super::text::three;

impl Generator {
    /// A relation, and how its rows belong to one of the query around it.
    fn belonging(&mut self, outer: &Columns) -> Option<(From, String)> {
        let inner = self.base();
        let (l, r, _) = self.comparable(outer, &inner.columns)?;
        let condition = match self.dice.number(0..5) {
            0 => {
                self.tag("correlated inequality");
                format!("{r} {} {l}", self.dice.one(&["<", "<>", ">="]))
            }
            1 => {
                self.tag("correlation under OR");
                format!("({r} = {l} OR {})", self.total_predicate(&inner.columns))
            }
            2 => {
                self.tag("correlation by IS NOT DISTINCT FROM");
                format!("{r} IS NOT DISTINCT FROM {l}")
            }
            _ => format!("{r} = {l}"),
        };
        Some((inner, condition))
    }

    /// The value of the only row: for the view, for the others without its error, on which rows it fails, its kind.
    pub fn only_value(&mut self, outer: &Columns) -> Option<(String, String, String, Kind)> {
        let (inner, condition) = self.belonging(outer)?;
        let (value, kind) = self.dice.one(&inner.columns);
        self.tag("correlated subquery of one row");
        let text = &inner.text;
        let only = format!("(SELECT {value} FROM {text} WHERE {condition})");
        let first = match kind {
            Kind::Ints | Kind::Texts => format!("min({value})"),
            // min() would lose the sign of -0.0.
            _ => format!("(array_agg({value}))[1]"),
        };
        let total = format!("(SELECT CASE WHEN count(*) > 1 THEN NULL ELSE {first} END FROM {text} WHERE {condition})");
        let fails = format!("(SELECT count(*) FROM {text} WHERE {condition}) > 1");
        Some((only, total, fails, kind))
    }

    /// Rows of a subquery that names the query around it, under some construct; and one column of them.
    fn correlated_rows(&mut self, outer: &Columns) -> Option<(String, String, Kind)> {
        let (inner, condition) = self.belonging(outer)?;
        let (value, kind) = self.dice.one(&inner.columns);
        let (text, alias) = (inner.text.clone(), self.alias());
        let rows = match self.dice.number(0..8) {
            0 | 1 => {
                let (other, condition_2) = self.belonging(outer)?;
                let second = self.of_kind(&other.columns, kind)?;
                self.tag("correlation below a set operation");
                let operator = self.dice.one(&["UNION", "UNION ALL", "EXCEPT", "EXCEPT ALL", "INTERSECT"]);
                let second = format!("SELECT {second} FROM {} WHERE {condition_2}", other.text);
                format!("SELECT {value} AS v FROM {text} WHERE {condition} {operator} {second}")
            }
            2 | 3 => {
                let other = self.base();
                let (l, r, _) = self.pair(&inner.columns, &other.columns)?;
                let (around, own, _) = self.pair(outer, &other.columns)?;
                self.tag("correlation in an outer join");
                let join = self.dice.one(&["LEFT JOIN", "RIGHT JOIN", "LEFT JOIN"]);
                let both = format!("{text} {join} {} ON {r} = {l} AND {own} = {around}", other.text);
                match self.dice.chance(0.5) {
                    true => format!("SELECT {value} AS v FROM {both} WHERE {condition}"),
                    false => format!("SELECT {value} AS v FROM {both}"),
                }
            }
            4 => {
                self.tag("correlation below DISTINCT");
                format!("SELECT DISTINCT {value} AS v FROM {text} WHERE {condition}")
            }
            5 => {
                self.tag("correlation below GROUP BY");
                format!("SELECT {value} AS v FROM {text} WHERE {condition} GROUP BY {value} HAVING count(*) > 1")
            }
            6 => {
                self.tag("correlation below LIMIT");
                let direction = self.dice.one(&["", " DESC", " NULLS FIRST"]);
                let (limit, offset) = (self.dice.number(1..4), self.dice.number(0..2));
                format!(
                    "SELECT {value} AS v FROM {text} WHERE {condition} ORDER BY {value}{direction} LIMIT {limit} OFFSET {offset}"
                )
            }
            _ => {
                let other = self.base();
                let (l, r, _) = self.pair(&inner.columns, &other.columns)?;
                let (around, own, _) = self.pair(outer, &other.columns)?;
                self.tag("correlation two levels up");
                let not = self.dice.one(&["", "NOT "]);
                let exists = format!("{not}EXISTS (SELECT 1 FROM {} WHERE {r} = {l} AND {own} = {around})", other.text);
                format!("SELECT {value} AS v FROM {text} WHERE {condition} AND {exists}")
            }
        };
        Some((rows, alias, kind))
    }

    /// A correlated subquery as a value.
    pub fn correlated_value(&mut self, outer: &Columns) -> Option<(String, Kind)> {
        if self.dice.chance(0.25) {
            let (only, total, _, kind) = self.only_value(outer)?;
            return Some((three(&only, &total, &total), kind));
        }
        if self.dice.chance(0.2) {
            let (inner, condition) = self.belonging(outer)?;
            let (value, kind) = self.dice.one(&inner.columns);
            self.tag("first row of a correlated subquery");
            let direction = self.dice.one(&["", " DESC", " DESC NULLS LAST"]);
            let text = &inner.text;
            return Some((
                format!("(SELECT {value} FROM {text} WHERE {condition} ORDER BY {value}{direction} LIMIT 1)"),
                kind,
            ));
        }
        if self.dice.chance(0.22) {
            let (inner, condition) = self.belonging(outer)?;
            self.tag("correlated HAVING");
            let bound = self.dice.one(&["< 2", "> 0", "= 0"]);
            let text = &inner.text;
            return Some((
                format!("(SELECT count(*) FROM {text} WHERE {condition} HAVING count(*) {bound})"),
                Kind::Big,
            ));
        }
        let (rows, alias, kind) = self.correlated_rows(outer)?;
        Some(match self.dice.number(0..4) {
            0 if kind.has_extremes() => (format!("(SELECT max({alias}.v) FROM ({rows}) {alias})"), kind),
            1 => (format!("EXISTS ({rows})"), Kind::Bool),
            _ => (format!("(SELECT count({alias}.v) FROM ({rows}) {alias})"), Kind::Big),
        })
    }

    /// A correlated subquery as a condition.
    pub fn correlated_predicate(&mut self, outer: &Columns) -> Option<String> {
        let (rows, alias, kind) = self.correlated_rows(outer)?;
        let own = self.of_kind(outer, kind);
        Some(match (self.dice.number(0..8), own) {
            (0 | 4 | 6, Some(own)) => {
                self.tag("correlated IN");
                format!("{own} IN ({rows})")
            }
            (1 | 5, Some(own)) => {
                self.tag("correlated NOT IN");
                format!("{own} NOT IN ({rows})")
            }
            (2, _) => format!("(SELECT count(*) FROM ({rows}) {alias}) < 3"),
            (3, _) => format!("NOT EXISTS ({rows})"),
            _ => format!("EXISTS ({rows})"),
        })
    }

    /// A relation with several subqueries that name it.
    pub fn correlated(&mut self) -> Query {
        let from = self.base();
        let (column, kind) = self.dice.one(&from.columns);
        let (mut items, mut columns) = (vec![format!("{column} AS c0")], vec![("c0".to_string(), kind)]);
        for index in 1..self.dice.number(2..5) {
            if let Some((text, kind)) = self.correlated_value(&from.columns) {
                items.push(format!("{text} AS c{index}"));
                columns.push((format!("c{index}"), kind));
            }
        }
        let filter = match self.dice.chance(0.6) {
            true => self.correlated_predicate(&from.columns).map(|predicate| format!(" WHERE {predicate}")),
            false => None,
        };
        let text = format!("SELECT {} FROM {}{}", items.join(", "), from.text, filter.unwrap_or_default());
        Query { text, columns, size: from.size }
    }

    /// A relation beside rows of a subquery that names it.
    pub fn correlated_lateral(&mut self, left: From) -> Option<From> {
        let (rows, alias, kind) = self.correlated_rows(&left.columns)?;
        self.tag("LATERAL over a construct");
        let text = match self.dice.chance(0.5) {
            true => format!("{}, LATERAL ({rows}) {alias}", left.text),
            false => {
                let condition = match self.of_kind(&left.columns, kind) {
                    Some(own) if self.dice.chance(0.4) => format!("{alias}.v >= {own}"),
                    _ => "true".to_string(),
                };
                format!("{} LEFT JOIN LATERAL ({rows}) {alias} ON {condition}", left.text)
            }
        };
        let mut columns = left.columns;
        columns.push((format!("{alias}.v"), kind));
        Some(From { text, columns, size: left.size * 2.0 })
    }
}
