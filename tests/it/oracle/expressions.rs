//! Values and predicates over columns, those that fail on some rows included.

use super::generator::Generator;
use super::schema::{Columns, Kind, literal, row};
use super::text::fallible;

impl Generator {
    /// A value of the columns and its kind.
    pub fn expression(&mut self, columns: &Columns) -> (String, Kind) {
        let (column, kind) = self.dice.one(columns);
        if self.dice.chance(0.06)
            && let Some((text, fails, kind)) = self.failing_expression(columns)
        {
            return (fallible(&text, &fails), kind);
        }
        // What only one kind can have would be rare otherwise.
        let choice = match kind {
            Kind::Json if self.dice.chance(0.6) => 0,
            Kind::Bytes | Kind::Row if self.dice.chance(0.7) => 0,
            _ => self.dice.number(0..10),
        };
        match choice {
            0..4 => self.of_its_kind(column, kind),
            4 => self.case(columns, column, kind),
            5 => {
                self.tag("coalesce");
                let other = literal(&mut self.dice, kind);
                (format!("coalesce({column}, {other})"), kind)
            }
            6 => {
                self.tag("nullif");
                let other = literal(&mut self.dice, kind);
                (format!("nullif({column}, {other})"), kind)
            }
            7 => self.cast(column, kind),
            _ => (column, kind),
        }
    }

    fn case(&mut self, columns: &Columns, column: String, kind: Kind) -> (String, Kind) {
        self.tag("CASE");
        if self.dice.chance(0.3) {
            let (one, two) = (literal(&mut self.dice, kind), literal(&mut self.dice, kind));
            return (format!("CASE {column} WHEN {one} THEN 1 WHEN {two} THEN 2 ELSE 3 END"), Kind::Int);
        }
        let condition = self.total_predicate(columns);
        let otherwise = match self.dice.chance(0.5) {
            true => format!(" ELSE {}", literal(&mut self.dice, kind)),
            false => String::new(),
        };
        (format!("CASE WHEN {condition} THEN {column}{otherwise} END"), kind)
    }

    fn cast(&mut self, column: String, kind: Kind) -> (String, Kind) {
        self.tag("cast");
        match (kind, self.dice.number(0..3)) {
            (Kind::Small, 0) => (format!("{column}::int"), Kind::Int),
            (Kind::Int, 0) => (format!("{column}::bigint"), Kind::Big),
            (Kind::Small | Kind::Int | Kind::Big, 1) => (format!("{column}::numeric"), Kind::Decimal),
            (Kind::Small | Kind::Int, _) => (format!("{column}::float8"), Kind::Float),
            (Kind::Real, 0) => (format!("{column}::float8"), Kind::Float),
            (Kind::Text | Kind::Varchar, 0) => (format!("{column}::char(4)"), Kind::Char),
            (Kind::Text | Kind::Char, 1) => (format!("{column}::varchar(8)"), Kind::Varchar),
            (Kind::Clock, 0) => (format!("{column}::interval"), Kind::Interval),
            (Kind::Time | Kind::Instant, 0) => (format!("{column}::date"), Kind::Date),
            (Kind::Time, 1) => (format!("{column}::timestamptz"), Kind::Instant),
            (Kind::Instant, 1) => (format!("{column}::timestamp"), Kind::Time),
            (Kind::Date, 0) => (format!("{column}::timestamp"), Kind::Time),
            (Kind::Bool, 0) => (format!("{column}::int"), Kind::Int),
            (Kind::Decimal, _) => (format!("{column}::numeric(30,2)::float8"), Kind::Float),
            // Their text shows what is known to differ: digits, and signs of zero.
            (Kind::Real | Kind::Float | Kind::Numeric, _) => (column, kind),
            (Kind::Bool, _) => (format!("CASE WHEN {column} THEN 'yes' ELSE 'no' END"), Kind::Text),
            _ => (format!("({column})::text"), Kind::Text),
        }
    }

    fn of_its_kind(&mut self, column: String, kind: Kind) -> (String, Kind) {
        let choice = self.dice.number(0..6);
        let value = |text: String, kind: Kind| (text, kind);
        match (kind, choice) {
            (Kind::Small, 0) => value(format!("{column} + 1::smallint"), Kind::Small),
            (Kind::Small, 1) => value(format!("abs({column}) % 3::smallint"), Kind::Small),
            (Kind::Small, 2) => value(format!("{column} * 2"), Kind::Int),
            (Kind::Small, 3) => value(format!("{column} / 2::smallint"), Kind::Small),
            (Kind::Small, 4) => value(format!("greatest({column}, 2::smallint, NULL)"), Kind::Small),
            (Kind::Int, 0) => value(format!("{column} + 1"), Kind::Int),
            (Kind::Int, 1) => value(format!("{column} * 2 - 1"), Kind::Int),
            (Kind::Int, 2) => value(format!("abs({column}) % 3"), Kind::Int),
            (Kind::Int, 3) => value(format!("{column} / 2"), Kind::Int),
            (Kind::Int, 4) => value(format!("greatest({column}, 2, NULL)"), Kind::Int),
            (Kind::Int, _) => value(format!("{column} & 3"), Kind::Int),
            (Kind::Big, 0) => value(format!("{column} / 7"), Kind::Big),
            (Kind::Big, 1) => value(format!("-({column})"), Kind::Big),
            (Kind::Big, 2) => value(format!("least({column}, 5::bigint)"), Kind::Big),
            (Kind::Numeric, 0) => value(format!("{column} * 2"), Kind::Decimal),
            (Kind::Numeric, 1) => value(format!("round({column})"), Kind::Decimal),
            (Kind::Numeric, 2) => value(format!("{column} + 0.5"), Kind::Decimal),
            (Kind::Decimal, 0) => value(format!("round({column}, 1)"), Kind::Decimal),
            (Kind::Float, 0) => value(format!("{column} * 2"), Kind::Float),
            (Kind::Float, 1) => value(format!("floor({column})"), Kind::Float),
            (Kind::Float | Kind::Real, 3) => value(format!("-({column})"), kind),
            (Kind::Float | Kind::Real, 2) => value(format!("{column} > 1"), Kind::Bool),
            (Kind::Real, 0) => value(format!("{column} * 2::real"), Kind::Real),
            (Kind::Real, 1) => value(format!("{column} + 0.5"), Kind::Float),
            (Kind::Bool, 0) => value(format!("NOT {column}"), Kind::Bool),
            (Kind::Bool, 1) => value(format!("{column} IS TRUE"), Kind::Bool),
            (Kind::Text | Kind::Varchar | Kind::Char, _) => self.of_text(column, choice),
            (Kind::Bytes, _) => self.of_bytes(column, choice),
            (Kind::Clock | Kind::Instant, _) => self.of_clock(column, kind, choice),
            (Kind::Time | Kind::Date, _) => self.of_time(column, kind, choice),
            (Kind::Ints, _) => self.of_ints(column, choice),
            (Kind::Texts, _) => self.of_texts(column, choice),
            (Kind::Row, _) => self.of_row(column, choice),
            (Kind::Interval, 0) => value(format!("-{column}"), Kind::Interval),
            (Kind::Interval, 1) => value(format!("{column} + interval '7 minutes'"), Kind::Interval),
            (Kind::Interval, 2) => value(format!("timestamp '2024-01-31 12:00' + {column}"), Kind::Time),
            (Kind::Interval, 3) => value(format!("extract(day from {column})::int"), Kind::Int),
            (Kind::Json, _) => self.of_json(column, choice),
            _ => value(column, kind),
        }
    }

    fn of_text(&mut self, column: String, choice: i64) -> (String, Kind) {
        self.tag("text function");
        match choice {
            0 => (format!("upper({column})"), Kind::Text),
            1 => (format!("{column} || 'x'"), Kind::Text),
            2 => (format!("length({column})"), Kind::Int),
            3 => (format!("replace({column}, 'a', 'zz')"), Kind::Text),
            4 => (format!("left({column}, 2)"), Kind::Text),
            _ => (format!("concat({column}, '-', strpos({column}, 'b'))"), Kind::Text),
        }
    }

    fn of_time(&mut self, column: String, kind: Kind, choice: i64) -> (String, Kind) {
        self.tag("date function");
        match (kind, choice) {
            (Kind::Time, 0) => (format!("date_trunc('minute', {column})"), Kind::Time),
            (Kind::Time, 1) => (format!("{column} + interval '90 seconds'"), Kind::Time),
            (Kind::Time, 2) => (format!("extract(minute from {column})::int"), Kind::Int),
            (Kind::Time, 3) => (format!("to_char({column}, 'HH24:MI')"), Kind::Text),
            (Kind::Time, _) => (format!("date_bin('40 seconds', {column}, timestamp '2023-01-01')"), Kind::Time),
            (_, 0) => (format!("{column} + 1"), Kind::Date),
            (_, 1) => (format!("{column} - date '2024-02-01'"), Kind::Int),
            (_, 2) => (format!("extract(dow from {column})::int"), Kind::Int),
            (_, 3) => (format!("to_char({column}, 'Mon DD')"), Kind::Text),
            _ => (format!("date_trunc('month', {column}::timestamp)"), Kind::Time),
        }
    }

    fn of_clock(&mut self, column: String, kind: Kind, choice: i64) -> (String, Kind) {
        self.tag("date function");
        match (kind, choice) {
            (_, 0) => (format!("{column} + interval '90 minutes'"), kind),
            (_, 1) => (format!("extract(minute from {column})::int"), Kind::Int),
            (Kind::Clock, 2) => (format!("{column} - time '10:00'"), Kind::Interval),
            (Kind::Clock, _) => (format!("date '2024-02-28' + {column}"), Kind::Time),
            (_, 2) => (format!("{column} - timestamptz '2023-11-14 20:00+00'"), Kind::Interval),
            (_, 3) => (format!("{column} AT TIME ZONE 'Europe/Zurich'"), Kind::Time),
            (_, 4) => (format!("to_char({column}, 'HH24:MI')"), Kind::Text),
            _ => (format!("date_trunc('minute', {column})"), Kind::Instant),
        }
    }

    fn of_bytes(&mut self, column: String, choice: i64) -> (String, Kind) {
        self.tag("bytea function");
        match choice {
            0 => (format!("length({column})"), Kind::Int),
            1 => (format!(r"{column} || '\x61'::bytea"), Kind::Bytes),
            2 => (format!("substr({column}, 2)"), Kind::Bytes),
            3 => (format!("md5({column})"), Kind::Text),
            _ => (format!("encode({column}, 'hex')"), Kind::Text),
        }
    }

    fn of_row(&mut self, column: String, choice: i64) -> (String, Kind) {
        self.tag("field of a struct");
        match choice {
            0 | 1 => (format!("({column}).x"), Kind::Int),
            2 => (format!("({column}).y"), Kind::Text),
            3 => (format!("{column} IS NULL"), Kind::Bool),
            4 => (format!("{column} IS NOT NULL"), Kind::Bool),
            _ => (format!("coalesce({column}, {})", row(&format!("({column}).x"), "'b'")), Kind::Row),
        }
    }

    fn of_texts(&mut self, column: String, choice: i64) -> (String, Kind) {
        self.tag("array function");
        match choice {
            0 => (format!("cardinality({column})"), Kind::Int),
            1 => (format!("array_append({column}, 'b')"), Kind::Texts),
            2 => (format!("{column}[1]"), Kind::Text),
            3 => (format!("array_to_string({column}, ',', '-')"), Kind::Text),
            4 => (format!("array_remove({column}, 'a')"), Kind::Texts),
            _ => (format!("array_position({column}, 'b')"), Kind::Int),
        }
    }

    fn of_ints(&mut self, column: String, choice: i64) -> (String, Kind) {
        self.tag("array function");
        match choice {
            0 => (format!("cardinality({column})"), Kind::Int),
            1 => (format!("{column} || 2"), Kind::Ints),
            2 => (format!("{column}[1]"), Kind::Int),
            3 => (format!("array_to_string({column}, ',', '-')"), Kind::Text),
            4 => (format!("array_remove({column}, 1)"), Kind::Ints),
            _ => (format!("array_position({column}, 2)"), Kind::Int),
        }
    }

    fn of_json(&mut self, column: String, choice: i64) -> (String, Kind) {
        self.tag("jsonb operator");
        match choice {
            0 => (format!("{column} -> 'a'"), Kind::Json),
            1 => (format!("{column} ->> 'a'"), Kind::Text),
            2 => (format!("jsonb_typeof({column})"), Kind::Text),
            3 => (format!("{column} @> '{{\"a\": 1}}'"), Kind::Bool),
            4 => (format!("{column} ->> 0"), Kind::Text),
            _ => (format!("{column} ? 'a'"), Kind::Bool),
        }
    }

    /// An expression that fails on some rows, when it does, and its kind. No part of it fails alone.
    pub fn failing_expression(&mut self, columns: &Columns) -> Option<(String, String, Kind)> {
        let found = if self.dice.chance(0.6) {
            let column = self.of_kind(columns, Kind::Int)?;
            match self.dice.number(0..7) {
                0 | 1 => (format!("10 / {column}"), format!("{column} = 0"), Kind::Int),
                2 => (format!("7 % {column}"), format!("{column} = 0"), Kind::Int),
                3 => (format!("sqrt({column}::float8)"), format!("{column} < 0"), Kind::Float),
                4 => {
                    let days = format!("make_date(2024, {column}, 1)");
                    (days, format!("{column} NOT BETWEEN 1 AND 12"), Kind::Date)
                }
                5 => {
                    let fails = format!("{column}::bigint * 1500000001 NOT BETWEEN -2147483648 AND 2147483647");
                    // What comes out is small: others reckon with it.
                    (format!("{column} * 1500000001 % 10"), fails, Kind::Int)
                }
                _ => (format!("substr('abcdef', 2, {column})"), format!("{column} < 0"), Kind::Text),
            }
        } else {
            let column = self.of_kind(columns, Kind::Text)?;
            let digits = format!("{column} ~ '^ *[+-]?[0-9]+ *$'");
            let fits = format!(
                "CASE WHEN {digits} AND length({column}) < 30 THEN {column}::numeric BETWEEN -2147483648 AND 2147483647 \
                 ELSE false END"
            );
            (format!("{column}::int"), format!("{column} IS NOT NULL AND NOT {fits}"), Kind::Int)
        };
        self.tag("expression that fails on rows");
        Some(found)
    }

    /// A predicate of any sort.
    pub fn predicate(&mut self, columns: &Columns) -> String {
        if self.dice.chance(0.05)
            && let Some((text, fails, kind)) = self.failing_expression(columns)
        {
            let other = literal(&mut self.dice, kind);
            return fallible(&format!("{text} > {other}"), &fails);
        }
        self.total_predicate(columns)
    }

    /// One that fails on no row.
    pub fn total_predicate(&mut self, columns: &Columns) -> String {
        let (column, kind) = self.dice.one(columns);
        // What only one kind can have would be rare otherwise.
        let choice = match kind {
            Kind::Text | Kind::Varchar | Kind::Char if self.dice.chance(0.4) => 7,
            Kind::Ints | Kind::Texts if self.dice.chance(0.4) => 9,
            _ => self.dice.number(0..15),
        };
        match choice {
            0 => format!("{column} IS NULL"),
            1 => format!("{column} IS NOT NULL"),
            2 if kind == Kind::Bool => column,
            3 | 14 => self.in_list(&column, kind),
            4 => {
                let (left, right) = (self.comparison(&column, kind), self.total_predicate(columns));
                format!("({left} OR {right})")
            }
            5 => format!("NOT ({})", self.comparison(&column, kind)),
            6 => {
                self.tag("IS DISTINCT FROM");
                format!("({column} IS DISTINCT FROM {})", literal(&mut self.dice, kind))
            }
            7 if kind.is_text() => {
                self.tag("LIKE");
                format!("{column} LIKE '{}'", self.dice.one(&["%a%", "%b%", "%o_g%", "%7%", "a_", "% "]))
            }
            8 if kind != Kind::Bool => {
                self.tag("BETWEEN");
                let (low, high) = (literal(&mut self.dice, kind), literal(&mut self.dice, kind));
                format!("{column} BETWEEN {low} AND {high}")
            }
            9 if kind == Kind::Ints => {
                self.tag("ANY over an array");
                format!("{} = ANY ({column})", self.dice.number(-1..5))
            }
            9 if kind == Kind::Texts => {
                self.tag("ANY over an array");
                format!("'{}' = ANY ({column})", self.dice.one(&["a", "b", ""]))
            }
            10 => {
                let others = columns.clone();
                match self.pair(&others, &others) {
                    Some((one, two, _)) => format!("{one} {} {two}", self.dice.one(&["=", "<>", "<", ">="])),
                    None => self.comparison(&column, kind),
                }
            }
            11 => {
                let (one, two) = (self.comparison(&column, kind), self.total_predicate(columns));
                format!("({one} AND {two})")
            }
            _ => self.comparison(&column, kind),
        }
    }

    fn in_list(&mut self, column: &str, kind: Kind) -> String {
        let (one, two) = (literal(&mut self.dice, kind), literal(&mut self.dice, kind));
        match self.dice.number(0..4) {
            0 => {
                self.tag("IN list with NULL");
                format!("({column} IN ({one}, NULL, {two})) IS NOT FALSE")
            }
            1 => {
                self.tag("NOT IN list");
                format!("{column} NOT IN ({one}, {two})")
            }
            2 => {
                self.tag("NOT IN list with NULL");
                format!("({column} NOT IN ({one}, NULL)) IS NULL")
            }
            _ => {
                self.tag("IN list");
                format!("{column} IN ({one}, {two})")
            }
        }
    }

    pub fn comparison(&mut self, column: &str, kind: Kind) -> String {
        let operator = self.dice.one(&["=", "<>", "<", "<=", ">", ">="]);
        format!("{column} {operator} {}", literal(&mut self.dice, kind))
    }
}
