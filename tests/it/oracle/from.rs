//! What stands in FROM: relations, joins of every sort, LATERAL, unnest, subqueries; and the subqueries of WHERE.

use super::generator::{From, Generator, Source, qualified};
use super::schema::{Columns, Kind, literal};
use super::text::three;

/// About as many rows as a FROM may have.
const MOST_ROWS: f64 = 1500.0;
/// About as many rows as a query among relations may have.
const MOST_DERIVED: f64 = 60.0;
/// Subqueries in one query.
const MOST_SUBQUERIES: usize = 4;

impl Generator {
    pub fn source(&mut self) -> Source {
        let sources = self.sources.clone();
        let source = self.dice.one(&sources);
        match (source.table, source.stream) {
            (true, true) => self.tag("stream"),
            (true, false) => self.tag("table"),
            (false, _) => self.tag("view over a view"),
        }
        source
    }

    /// A relation, or a query in parentheses.
    pub fn base(&mut self) -> From {
        if !self.in_parentheses
            && self.dice.chance(0.08)
            && let Some(derived) = self.derived()
        {
            return derived;
        }
        let source = self.source();
        self.aliased(&source)
    }

    /// A query in parentheses, which knows more of its rows than a relation does: keys, orders, constants.
    fn derived(&mut self) -> Option<From> {
        let tags = self.tags.clone();
        self.in_parentheses = true;
        let query = match self.dice.number(0..10) {
            0..4 => self.grouped(0),
            4 => self.distinct(0),
            5 => self.set_operation(0),
            6 => self.top(0),
            7 => self.ranked(0),
            8 => self.unnested(),
            _ => self.grouping_sets(0),
        };
        self.in_parentheses = false;
        if query.size > MOST_DERIVED {
            self.tags = tags;
            return None;
        }
        self.tag("query among relations");
        let alias = self.alias();
        Some(From {
            text: format!("({}) {alias}", query.text),
            columns: qualified(&query.columns, &alias),
            size: query.size,
        })
    }

    pub fn aliased(&mut self, source: &Source) -> From {
        let alias = self.alias();
        let columns = qualified(&source.columns, &alias);
        From { text: format!("{} {alias}", source.name), columns, size: source.size }
    }

    pub fn from(&mut self, depth: usize) -> From {
        match self.dice.number(0..28) {
            0..8 => self.base(),
            8..17 => self.join(depth),
            17 => self.using(),
            18 => self.natural(),
            19..23 => self.lateral(),
            23 | 24 => self.with_elements(),
            25 => self.values(),
            _ if depth > 0 => {
                self.tag("subquery in FROM");
                let query = self.any(depth - 1);
                let alias = self.alias();
                let columns = qualified(&query.columns, &alias);
                From { text: format!("({}) {alias}", query.text), columns, size: query.size }
            }
            _ => self.join(depth),
        }
    }

    pub fn join(&mut self, depth: usize) -> From {
        let left = if depth > 0 && self.dice.chance(0.3) { self.join(depth - 1) } else { self.base() };
        self.join_to(left)
    }

    /// Three to five relations, each joined to what stands before it.
    pub fn many(&mut self) -> From {
        self.tag("N-way join");
        let mut from = self.base();
        for _ in 0..self.dice.number(2..5) {
            from = self.join_to(from);
        }
        from
    }

    fn join_to(&mut self, left: From) -> From {
        // A relation joined with itself is a case of its own.
        let itself = self.sources.iter().find(|source| left.text.starts_with(&format!("{} ", source.name))).cloned();
        let right = match itself {
            Some(source) if self.dice.chance(0.15) => {
                self.tag("self join");
                self.aliased(&source)
            }
            _ => self.base(),
        };
        let mut columns = left.columns.clone();
        columns.extend(right.columns.clone());
        let pair = self.pair(&left.columns, &right.columns);
        let all = left.size * right.size;
        let (kind, tag) = self.dice.one(&[
            ("JOIN", "inner join"),
            ("JOIN", "inner join"),
            ("LEFT JOIN", "left join"),
            ("RIGHT JOIN", "right join"),
            ("FULL JOIN", "full join"),
            ("CROSS JOIN", "cross join"),
            ("JOIN", "non-equi join"),
            ("LEFT JOIN", "outer join without equality"),
            ("JOIN", "range join"),
        ]);
        let wide = matches!(tag, "cross join" | "non-equi join" | "outer join without equality" | "range join");
        let wide = wide || (self.different > 10.0 && matches!(pair, Some((_, _, Kind::Bool))));
        let size = if wide { all / 2.0 } else { all / self.different + left.size.max(right.size) / 2.0 };
        if size > MOST_ROWS {
            return left;
        }
        let condition = match (tag, pair) {
            ("cross join", _) | (_, None) => {
                if all > MOST_ROWS {
                    return left;
                }
                self.tag("cross join");
                let text = format!("{} CROSS JOIN {}", left.text, right.text);
                return From { text, columns, size: all };
            }
            ("non-equi join" | "outer join without equality", Some((l, r, _))) => {
                format!("{l} {} {r}", self.dice.one(&["<", ">=", "<>"]))
            }
            ("range join", Some((l, r, kind))) => match kind {
                Kind::Small | Kind::Int | Kind::Big => format!("{l} BETWEEN {r} - 1 AND {r} + 2"),
                Kind::Time | Kind::Instant => format!("{l} >= {r} AND {l} < {r} + interval '1 minute'"),
                _ => format!("{l} > {r} AND {l} <= {}", literal(&mut self.dice, kind)),
            },
            (_, Some((l, r, kind))) => {
                let mut condition = match kind {
                    Kind::Int if self.dice.chance(0.15) => format!("{l} + 1 = {r}"),
                    Kind::Int => {
                        // Of two booleans too many are equal.
                        let other = self.comparable(&left.columns, &right.columns);
                        let other = other.filter(|(_, _, kind)| *kind != Kind::Bool);
                        let (l, r) = other.map_or((l, r), |(l, r, _)| (l, r));
                        format!("{l} = {r}")
                    }
                    _ => format!("{l} = {r}"),
                };
                if self.dice.chance(0.15)
                    && let Some((l, r, _)) = self.comparable(&left.columns, &right.columns)
                {
                    self.tag("join by several keys");
                    condition += &format!(" AND {l} = {r}");
                }
                if self.dice.chance(0.35) {
                    self.tag(match keeps_unmatched(tag) {
                        true => "outer join with a further condition",
                        false => "inner join with a further condition",
                    });
                    condition += &format!(" AND {}", self.total_predicate(&columns));
                }
                condition
            }
        };
        self.tag(tag);
        From { text: format!("{} {kind} {} ON {condition}", left.text, right.text), columns, size }
    }

    /// Two relations joined by a column of one name, which is then one column.
    fn using(&mut self) -> From {
        let tables: Vec<Source> = self.sources.iter().filter(|source| source.table).cloned().collect();
        let (one, two) = (self.dice.one(&tables), self.dice.one(&tables));
        let (left, right) = (self.aliased(&one), self.aliased(&two));
        self.tag("USING");
        let kind = self.dice.one(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let key = if self.dice.chance(0.7) { "b" } else { "a" };
        let (l, r) = (self.dice.one(&left.columns), self.dice.one(&right.columns));
        let alias = self.alias();
        let text = format!(
            "(SELECT {key} AS k0, {} AS k1, {} AS k2 FROM {} {kind} {} USING ({key})) {alias}",
            l.0, r.0, left.text, right.text
        );
        let columns = vec![("k0".to_string(), Kind::Int), ("k1".to_string(), l.1), ("k2".to_string(), r.1)];
        From { text, columns: qualified(&columns, &alias), size: left.size * right.size / self.different }
    }

    fn natural(&mut self) -> From {
        let (left, right) = (self.base(), self.base());
        let Some((l, r, kind)) = self.pair(&left.columns, &right.columns) else { return self.join(0) };
        self.tag("NATURAL JOIN");
        let join = self.dice.one(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
        let (one, two) = (self.dice.one(&left.columns), self.dice.one(&right.columns));
        let (alias, first, second) = (self.alias(), self.alias(), self.alias());
        let text = format!(
            "(SELECT k0, k1, k2 FROM (SELECT {l} AS k0, {} AS k1 FROM {}) {first} NATURAL {join} \
             (SELECT {r} AS k0, {} AS k2 FROM {}) {second}) {alias}",
            one.0, left.text, two.0, right.text
        );
        let columns = vec![("k0".to_string(), kind), ("k1".to_string(), one.1), ("k2".to_string(), two.1)];
        From { text, columns: qualified(&columns, &alias), size: left.size * right.size / self.different }
    }

    /// A subquery that names what stands to its left.
    fn lateral(&mut self) -> From {
        if self.dice.chance(0.3) {
            let left = self.base();
            return self.correlated_lateral(left).unwrap_or_else(|| self.join(0));
        }
        let (left, inner) = (self.base(), self.base());
        let Some((l, r, _)) = self.comparable(&left.columns, &inner.columns) else { return self.join(0) };
        let (value, kind) = self.dice.one(&inner.columns);
        let alias = self.alias();
        let (body, kind, size) = if self.dice.chance(0.5) {
            self.tag("LATERAL with an aggregate");
            (format!("SELECT count({value}) AS k0 FROM {} WHERE {r} = {l}", inner.text), Kind::Big, left.size)
        } else {
            self.tag("LATERAL");
            let body = format!("SELECT {value} AS k0 FROM {} WHERE {r} = {l}", inner.text);
            (body, kind, left.size * inner.size / self.different)
        };
        let join = match self.dice.chance(0.5) {
            true => format!("{} CROSS JOIN LATERAL ({body}) {alias}", left.text),
            false => format!("{} LEFT JOIN LATERAL ({body}) {alias} ON true", left.text),
        };
        let mut columns = left.columns;
        columns.push((format!("{alias}.k0"), kind));
        From { text: join, columns, size }
    }

    /// A relation beside the elements of its arrays.
    pub fn with_elements(&mut self) -> From {
        let left = self.base();
        let alias = self.alias();
        let texts = self.of_kind(&left.columns, Kind::Texts).map(|column| (column, Kind::Text));
        let ints = self.of_kind(&left.columns, Kind::Ints).map(|column| (column, Kind::Int));
        let (list, kind) = match texts.or(ints) {
            Some(array) => array,
            None => {
                let kinds: Columns = left.columns.iter().filter(|(_, kind)| *kind == Kind::Text).cloned().collect();
                match self.dice.any(&kinds) {
                    Some((column, _)) => (format!("string_to_array({column}, 'b')"), Kind::Text),
                    None => {
                        let column = self.of_kind(&left.columns, Kind::Int);
                        match column {
                            Some(column) => (format!("ARRAY[{column}, 3, NULL]"), Kind::Int),
                            None => ("ARRAY[1, 2, 2]".to_string(), Kind::Int),
                        }
                    }
                }
            }
        };
        let mut columns = left.columns;
        columns.push((format!("{alias}.e"), kind));
        let (join, on) = match self.dice.chance(0.45) {
            true => {
                self.tag("LEFT JOIN unnest");
                (" LEFT JOIN LATERAL", " ON true")
            }
            false => (",", ""),
        };
        let text = if self.dice.chance(0.4) {
            self.tag("unnest WITH ORDINALITY");
            columns.push((format!("{alias}.o"), Kind::Big));
            format!("{}{join} unnest({list}) WITH ORDINALITY AS {alias} (e, o){on}", left.text)
        } else {
            self.tag("unnest");
            format!("{}{join} unnest({list}) AS {alias} (e){on}", left.text)
        };
        From { text, columns, size: left.size * 2.0 }
    }

    fn values(&mut self) -> From {
        self.tag("VALUES");
        let left = self.base();
        let alias = self.alias();
        let rows: Vec<String> = (0..self.dice.number(1..4))
            .map(|row| format!("({}, '{}')", literal(&mut self.dice, Kind::Int), ["a", "b", "ab"][row as usize]))
            .collect();
        let kinds = [Kind::Int, Kind::Text];
        let keys: Vec<String> = left.columns.iter().filter(|(_, k)| *k == Kind::Int).map(|(n, _)| n.clone()).collect();
        let condition = match self.dice.any(&keys) {
            Some(key) => format!("{alias}.k0 = {key}"),
            None => "true".to_string(),
        };
        let kind = self.dice.one(&["JOIN", "LEFT JOIN"]);
        let text = format!("{} {kind} (VALUES {}) {alias} (k0, k1) ON {condition}", left.text, rows.join(", "));
        let mut columns = left.columns;
        columns.extend(["k0", "k1"].map(|name| format!("{alias}.{name}")).into_iter().zip(kinds));
        From { text, columns, size: left.size * 1.5 }
    }

    /// TUMBLE or HOP over a relation with a time, if there is one.
    pub fn time_windows(&mut self) -> Option<From> {
        let timed: Vec<Source> = self
            .sources
            .iter()
            .filter(|source| source.columns.iter().any(|(_, kind)| *kind == Kind::Time))
            .filter(|source| !source.columns.iter().any(|(name, _)| name.starts_with("window_")))
            .cloned()
            .collect();
        let source = self.dice.any(&timed)?;
        let time = self.of_kind(&source.columns, Kind::Time)?;
        let (name, alias, inner) = (&source.name, self.alias(), self.alias());
        let (ours, start, size) = match self.dice.chance(0.5) {
            true => {
                self.tag("TUMBLE");
                let ours = format!("TUMBLE({name}, {time}, INTERVAL '1 minute') {alias}");
                let start = format!("date_bin('1 minute', {inner}.{time}, timestamp '1970-01-01')");
                (ours, format!("(SELECT {start} WHERE {inner}.{time} IS NOT NULL)"), "1 minute")
            }
            false => {
                self.tag("HOP");
                let ours = format!("HOP({name}, {time}, INTERVAL '30 seconds', INTERVAL '90 seconds') {alias}");
                let last = format!("date_bin('30 seconds', {inner}.{time}, timestamp '1970-01-01')");
                let series = format!("{last} - interval '60 seconds', {last}, interval '30 seconds'");
                (ours, format!("(SELECT generate_series({series}))"), "90 seconds")
            }
        };
        let postgres = format!(
            "(SELECT {inner}.*, w.s AS window_start, w.s + interval '{size}' AS window_end FROM {name} {inner}, \
             LATERAL {start} w (s)) {alias}"
        );
        let mut columns = qualified(&source.columns, &alias);
        columns.extend(["window_start", "window_end"].map(|name| (format!("{alias}.{name}"), Kind::Time)));
        Some(From { text: three(&ours, &ours, &postgres), columns, size: source.size * 2.0 })
    }

    // WHERE

    pub fn filter(&mut self, columns: &Columns) -> String {
        let mut parts = Vec::new();
        if self.dice.chance(0.5) {
            self.tag("filter");
            parts.push(self.predicate(columns));
        }
        if self.dice.chance(0.3)
            && let Some(predicate) = self.subquery_predicate(columns)
        {
            // Three-valued logic shows where it does not stand alone.
            let predicate = match self.dice.number(0..8) {
                0 => {
                    self.tag("subquery predicate under OR");
                    format!("({predicate} OR {})", self.total_predicate(columns))
                }
                1 => {
                    self.tag("subquery predicate IS NULL");
                    format!("({predicate}) IS NULL")
                }
                _ => predicate,
            };
            parts.push(predicate);
        }
        if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
    }

    pub fn subquery_predicate(&mut self, outer: &Columns) -> Option<String> {
        self.subqueries += 1;
        if self.subqueries > MOST_SUBQUERIES {
            return None;
        }
        if self.dice.chance(0.2) {
            return self.correlated_predicate(outer);
        }
        let inner = self.base();
        let (l, r, kind) = self.comparable(outer, &inner.columns)?;
        let further = match self.dice.chance(0.4) {
            true => format!(" AND {}", self.total_predicate(&inner.columns)),
            false => String::new(),
        };
        let plain = if further.is_empty() { String::new() } else { format!(" WHERE{}", &further[4..]) };
        let correlated = match self.pair(outer, &inner.columns) {
            Some((l, r, _)) if self.dice.chance(0.3) => {
                self.tag("correlated inequality");
                format!(" AND {r} {} {l}", self.dice.one(&["<", "<>", ">="]))
            }
            _ => String::new(),
        };
        let text = &inner.text;
        Some(match self.dice.number(0..14) {
            0 | 1 => {
                self.tag("EXISTS");
                format!("EXISTS (SELECT 1 FROM {text} WHERE {r} = {l}{correlated}{further})")
            }
            2 | 3 => {
                self.tag("NOT EXISTS");
                format!("NOT EXISTS (SELECT 1 FROM {text} WHERE {r} = {l}{correlated}{further})")
            }
            4 | 12 => {
                self.tag("IN subquery");
                format!("{l} IN (SELECT {r} FROM {text}{plain})")
            }
            5 | 6 => {
                self.tag("NOT IN subquery");
                format!("{l} NOT IN (SELECT {r} FROM {text}{plain})")
            }
            7 | 13 => {
                let (other, to, _) = self.pair(outer, &inner.columns)?;
                self.tag("row IN subquery");
                format!("({l}, {other}) IN (SELECT {r}, {to} FROM {text}{plain})")
            }
            8 => {
                self.tag("ANY or ALL over a subquery");
                let operator = self.dice.one(&["= ANY", "< ANY", ">= ALL", "<> ALL"]);
                format!("{l} {operator} (SELECT {r} FROM {text}{plain})")
            }
            9 => {
                let correlated = self.of_kind(&inner.columns, Kind::Int)?;
                let own = self.of_kind(outer, Kind::Int)?;
                self.tag("correlated scalar subquery in WHERE");
                format!("{own} <= (SELECT max({correlated}) FROM {text} WHERE {r} = {l}{further})")
            }
            _ if kind.has_extremes() => {
                self.tag("scalar subquery");
                format!("{l} >= (SELECT max({r}) FROM {text}{plain})")
            }
            _ => {
                self.tag("scalar subquery");
                format!("(SELECT count({r}) FROM {text}{plain}) > 5")
            }
        })
    }
}

/// Whether the join keeps rows without a match.
fn keeps_unmatched(tag: &str) -> bool {
    matches!(tag, "left join" | "right join" | "full join")
}
