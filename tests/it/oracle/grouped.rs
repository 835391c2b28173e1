//! Aggregates: calls with DISTINCT, FILTER and ORDER BY; GROUP BY, HAVING, grouping sets.

use super::generator::{Generator, Query};
use super::schema::{Columns, Kind, literal};
use super::text::ours_or_postgres;

impl Generator {
    /// One to three calls, named from `c{first}` on.
    pub fn calls(&mut self, columns: &Columns, first: usize) -> (Vec<String>, Columns) {
        let (mut items, mut named) = (Vec::new(), Vec::new());
        for index in first..first + self.dice.number(1..4) as usize {
            let (call, kind) = self.call(columns);
            items.push(format!("{call} AS c{index}"));
            named.push((format!("c{index}"), kind));
        }
        (items, named)
    }

    fn argument(&mut self, columns: &Columns) -> (String, Kind) {
        // Integers are the most frequent columns, and meet the fewest aggregates.
        let others: Columns = columns.iter().filter(|(_, kind)| !kind.is_integer()).cloned().collect();
        match self.dice.number(0..10) {
            0..5 if !others.is_empty() => self.dice.one(&others),
            0..8 => self.dice.one(columns),
            _ => self.expression(columns),
        }
    }

    fn call(&mut self, columns: &Columns) -> (String, Kind) {
        let (column, kind) = self.argument(columns);
        let filter = match self.dice.chance(0.15) {
            true => {
                self.tag("FILTER");
                format!(" FILTER (WHERE {})", self.total_predicate(columns))
            }
            false => String::new(),
        };
        let distinct = match self.dice.chance(0.15) {
            true => "DISTINCT ",
            false => "",
        };
        let (tag, call, result, distinct) = self.choose_call(&column, kind, distinct);
        self.tag(tag);
        if distinct {
            self.tag("DISTINCT aggregate");
        }
        let (call, result) = match result {
            // Standard deviations are compared by their leading digits: the rest is how PostgreSQL rounds on the way.
            Result::Deviation => (format!("({call}{filter})::float8"), Kind::Float),
            Result::Seconds => (format!("extract(epoch FROM {call}{filter})::bigint"), Kind::Big),
            Result::Of(kind) => (format!("{call}{filter}"), kind),
        };
        (call, result)
    }

    fn choose_call(&mut self, column: &str, kind: Kind, distinct: &str) -> (&'static str, String, Result, bool) {
        let used = !distinct.is_empty();
        // What only one kind can have would be rare otherwise.
        let choice = match kind {
            Kind::Real | Kind::Float | Kind::Numeric | Kind::Decimal if self.dice.chance(0.9) => self.dice.number(2..7),
            Kind::Interval if self.dice.chance(0.7) => 2,
            Kind::Text if self.dice.chance(0.4) => self.dice.one(&[2, 2, 2, 9]),
            Kind::Varchar | Kind::Char if self.dice.chance(0.4) => 2,
            Kind::Int if self.dice.chance(0.2) => 9,
            _ => self.dice.number(0..12),
        };
        match (kind, choice) {
            (_, 0) => ("count(*)", "count(*)".to_string(), Result::Of(Kind::Big), false),
            (_, 1) => ("count", format!("count({distinct}{column})"), Result::Of(Kind::Big), used),
            (kind, 2 | 3) if kind.is_number() => {
                let (tag, result) = match kind {
                    Kind::Small | Kind::Int => ("sum of integers", Kind::Big),
                    Kind::Real | Kind::Float => ("sum of floats", kind),
                    _ => ("sum of numerics", Kind::Decimal),
                };
                (tag, format!("sum({distinct}{column})"), Result::Of(result), used)
            }
            (kind, 4) if kind.is_number() => {
                let result = if matches!(kind, Kind::Real | Kind::Float) { Kind::Float } else { Kind::Decimal };
                ("avg", format!("avg({distinct}{column})"), Result::Of(result), used)
            }
            (kind, 5 | 6) if kind.is_number() => {
                let function =
                    self.dice.one(&["stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp"]);
                let tag = match kind {
                    Kind::Small | Kind::Int | Kind::Big => "variance of integers",
                    Kind::Real | Kind::Float => "variance of floats",
                    _ => "variance of numerics",
                };
                (tag, format!("{function}({distinct}{column})"), Result::Deviation, used)
            }
            (Kind::Small | Kind::Int | Kind::Big, 7 | 8) => {
                let function = self.dice.one(&["bit_and", "bit_or", "bit_xor"]);
                ("bit aggregate", format!("{function}({distinct}{column})"), Result::Of(kind), used)
            }
            (Kind::Interval, 2..4) => ("sum of intervals", format!("sum({distinct}{column})"), Result::Seconds, used),
            (Kind::Bool, _) => {
                let function = self.dice.one(&["bool_and", "bool_or", "every"]);
                ("bool_and, bool_or", format!("{function}({column})"), Result::Of(Kind::Bool), false)
            }
            (Kind::Text | Kind::Varchar | Kind::Char, 2..7) => self.string_agg(column, distinct),
            (Kind::Int, 9) => self.array_agg(column, distinct, Kind::Ints),
            (Kind::Text, 9) => self.array_agg(column, distinct, Kind::Texts),
            (kind, 10) if kind.has_extremes() => ("min", format!("min({column})"), Result::Of(kind), false),
            (kind, _) if kind.has_extremes() => ("max", format!("max({column})"), Result::Of(kind), false),
            _ => ("count", format!("count({distinct}{column})"), Result::Of(Kind::Big), used),
        }
    }

    fn string_agg(&mut self, column: &str, distinct: &str) -> (&'static str, String, Result, bool) {
        if self.dice.chance(0.5) && distinct.is_empty() {
            // Without an order it is that of the values.
            let order = ours_or_postgres("", &format!(" ORDER BY {column}"));
            return ("string_agg", format!("string_agg({column}, ','{order})"), Result::Of(Kind::Text), false);
        }
        let order = self.dice.one(&["", " DESC", " NULLS FIRST"]);
        let text = format!("string_agg({distinct}{column}, ',' ORDER BY {column}{order})");
        ("string_agg with ORDER BY", text, Result::Of(Kind::Text), !distinct.is_empty())
    }

    fn array_agg(&mut self, column: &str, distinct: &str, kind: Kind) -> (&'static str, String, Result, bool) {
        if self.dice.chance(0.5) && distinct.is_empty() {
            // As for string_agg; NULLs come last.
            let order = ours_or_postgres("", &format!(" ORDER BY {column}"));
            return ("array_agg", format!("array_agg({column}{order})"), Result::Of(kind), false);
        }
        let order = self.dice.one(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        let text = format!("array_agg({distinct}{column} ORDER BY {column}{order})");
        ("array_agg with ORDER BY", text, Result::Of(kind), !distinct.is_empty())
    }

    fn having(&mut self, columns: &Columns) -> String {
        if !self.dice.chance(0.35) {
            return String::new();
        }
        match self.dice.number(0..4) {
            0 => {
                self.tag("HAVING with a subquery");
                let inner = self.base();
                format!(" HAVING count(*) >= (SELECT count(*) FROM {}) / 9", inner.text)
            }
            1 => {
                let numbers: Columns = columns.iter().filter(|(_, kind)| kind.has_extremes()).cloned().collect();
                let Some((column, kind)) = self.dice.any(&numbers) else { return String::new() };
                self.tag("HAVING");
                format!(" HAVING max({column}) > {}", literal(&mut self.dice, kind))
            }
            _ => {
                self.tag("HAVING");
                format!(" HAVING count(*) > {}", self.dice.number(0..3))
            }
        }
    }

    pub fn grouped(&mut self, depth: usize) -> Query {
        self.tag("GROUP BY");
        let from = self.from(depth);
        let filter = self.filter(&from.columns);
        let (mut items, mut columns, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..self.dice.number(1..3) {
            let (text, kind) = self.expression(&from.columns);
            self.tag(kind.compared());
            items.push(format!("{text} AS c{index}"));
            columns.push((format!("c{index}"), kind));
            keys.push((index + 1).to_string());
        }
        let (calls, named) = self.calls(&from.columns, columns.len());
        items.extend(calls);
        columns.extend(named);
        let having = self.having(&from.columns);
        let keys = keys.join(", ");
        let text = format!("SELECT {} FROM {}{filter} GROUP BY {keys}{having}", items.join(", "), from.text);
        Query { text, columns, size: from.size.min(40.0) }
    }

    pub fn global(&mut self, depth: usize) -> Query {
        self.tag("global aggregate");
        let from = self.from(depth);
        let filter = self.filter(&from.columns);
        let (items, columns) = self.calls(&from.columns, 0);
        let having = match self.dice.chance(0.4) {
            true => {
                self.tag("HAVING without GROUP BY");
                " HAVING count(*) > 3"
            }
            false => "",
        };
        let text = format!("SELECT {} FROM {}{filter}{having}", items.join(", "), from.text);
        match self.dice.chance(0.3) {
            true => self.of_two_totals(&items, &from.text, &text, columns),
            false => Query { text, columns, size: 1.0 },
        }
    }

    /// Totals under names of their own, and those of one name.
    fn of_two_totals(&mut self, items: &[String], from: &str, first: &str, mut columns: Columns) -> Query {
        self.tag("constant beside a global aggregate");
        let first = first.replacen("SELECT ", "SELECT 1 AS k, ", 1);
        let second = format!("SELECT 2 AS k, {} FROM {from}", items.join(", "));
        let name = self.dice.number(1..4);
        columns.insert(0, ("k".to_string(), Kind::Int));
        Query { text: format!("SELECT * FROM ({first} UNION ALL {second}) q WHERE k = {name}"), columns, size: 1.0 }
    }

    /// Groups in the order of their sizes.
    pub fn numbered_groups(&mut self, depth: usize) -> Query {
        self.tag("row_number over GROUP BY");
        let from = self.from(depth.min(1));
        let filter = self.filter(&from.columns);
        let (key, kind) = self.dice.one(&from.columns);
        self.tag(kind.compared());
        // Of jsonb the texts decide.
        let ties = match kind {
            Kind::Json => format!(", {key}::text COLLATE \"C\" NULLS FIRST"),
            _ => format!(", {key} NULLS FIRST"),
        };
        let ties = ours_or_postgres("", &ties);
        let text = format!(
            "SELECT * FROM (SELECT {key} AS c0, count(*) AS c1, row_number() OVER (ORDER BY count(*) DESC{ties}) AS rn \
             FROM {}{filter} GROUP BY {key}) q WHERE rn <= {}",
            from.text,
            self.dice.number(1..5)
        );
        let columns = vec![("c0".to_string(), kind), ("c1".to_string(), Kind::Big), ("rn".to_string(), Kind::Big)];
        Query { text, columns, size: 4.0 }
    }

    /// Which sides of an outer join have a row.
    pub fn whole_rows(&mut self) -> Query {
        let (left, right) = (self.base(), self.base());
        let Some((l, r, _)) = self.pair(&left.columns, &right.columns) else { return self.grouped(0) };
        self.tag("whole row of an outer join");
        let join = self.dice.one(&["LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let (one, two) = (left.last_alias(), right.last_alias());
        let (key, kind) = self.dice.one(&left.columns);
        let (items, groups, of) = match self.dice.chance(0.5) {
            true => (format!("count({one}) AS c1, count({two}) AS c2"), format!(" GROUP BY {key}"), Kind::Big),
            false => (format!("{one} IS NULL AS c1, {two} IS NOT NULL AS c2"), String::new(), Kind::Bool),
        };
        let text = format!("SELECT {key} AS c0, {items} FROM {} {join} {} ON {l} = {r}{groups}", left.text, right.text);
        let columns = vec![("c0".to_string(), kind), ("c1".to_string(), of), ("c2".to_string(), of)];
        Query { text, columns, size: left.size * right.size / self.different + left.size.max(right.size) }
    }

    /// A subquery in whose middle stands an aggregate of the query around it.
    pub fn around(&mut self) -> Query {
        let (outer, inner) = (self.base(), self.base());
        self.tag("aggregate of the query around");
        let ((key, kind), (value, _)) = (self.dice.one(&outer.columns), self.dice.one(&outer.columns));
        self.tag(kind.compared());
        let item = match self.of_kind(&inner.columns, Kind::Int) {
            Some(column) if self.dice.chance(0.5) => {
                format!("(SELECT count(*) FROM {} WHERE {column} < count({value}))", inner.text)
            }
            _ => format!("(SELECT count(*) + count({value}) FROM {})", inner.text),
        };
        let text = format!("SELECT {key} AS c0, {item} AS c1 FROM {} GROUP BY {key}", outer.text);
        Query {
            text,
            columns: vec![("c0".to_string(), kind), ("c1".to_string(), Kind::Big)],
            size: outer.size.min(40.0),
        }
    }

    pub fn grouping_sets(&mut self, depth: usize) -> Query {
        let from = if self.dice.chance(0.3) { self.join(depth.min(1)) } else { self.base() };
        let (one, one_kind) = self.dice.one(&from.columns);
        let others: Columns = from.columns.iter().filter(|(name, _)| *name != one).cloned().collect();
        let Some((two, two_kind)) = self.dice.any(&others) else { return self.grouped(0) };
        let (sets, tag) = match self.dice.number(0..4) {
            0 => (format!("GROUPING SETS (({one}), ({two}), ())"), "GROUPING SETS"),
            1 => (format!("ROLLUP ({one}, {two})"), "ROLLUP"),
            2 => (format!("CUBE ({one}, {two})"), "CUBE"),
            _ => (format!("{one}, GROUPING SETS (({two}), ())"), "GROUPING SETS"),
        };
        self.tag(tag);
        let filter = self.filter(&from.columns);
        let mut items = vec![format!("{one} AS c0"), format!("{two} AS c1")];
        let mut columns = vec![("c0".to_string(), one_kind), ("c1".to_string(), two_kind)];
        if self.dice.chance(0.6) {
            self.tag("grouping()");
            items.push(format!("grouping({one}, {two}) AS c2"));
            columns.push(("c2".to_string(), Kind::Int));
        }
        let having = match self.dice.chance(0.2) {
            true => {
                self.tag("grouping sets without an aggregate");
                String::new()
            }
            false => {
                let (calls, named) = self.calls(&from.columns, columns.len());
                items.extend(calls);
                columns.extend(named);
                self.having(&from.columns)
            }
        };
        let text = format!("SELECT {} FROM {}{filter} GROUP BY {sets}{having}", items.join(", "), from.text);
        Query { text, columns, size: from.size.min(60.0) }
    }
}

/// What a call gives.
enum Result {
    Of(Kind),
    Deviation,
    /// An interval, as seconds: sums that are equal may be written in several ways.
    Seconds,
}
