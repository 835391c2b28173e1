//! Kinds of values, random tables and streams, and their literals.

use super::generator::Dice;
use super::text::{Reader, ours_or_postgres, read};

/// Types the generator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Small,
    Int,
    Big,
    Text,
    Varchar,
    Char,
    Bytes,
    Numeric,
    /// A numeric of no declared scale; also what sums and averages give.
    Decimal,
    Real,
    Float,
    Bool,
    /// Of a day.
    Clock,
    Time,
    Instant,
    Date,
    Ints,
    Texts,
    Interval,
    Uuid,
    Json,
    Row,
}

impl Kind {
    /// Kinds of every program.
    const COMMON: [Kind; 11] = [
        Kind::Int,
        Kind::Big,
        Kind::Text,
        Kind::Numeric,
        Kind::Float,
        Kind::Bool,
        Kind::Time,
        Kind::Date,
        Kind::Ints,
        Kind::Interval,
        Kind::Json,
    ];
    /// Kinds of which a program has two, as relations with all of them would have too little in common. Those that fewer
    /// constructs can have are named twice.
    const FURTHER: [Kind; 15] = [
        Kind::Small,
        Kind::Varchar,
        Kind::Char,
        Kind::Bytes,
        Kind::Bytes,
        Kind::Decimal,
        Kind::Real,
        Kind::Clock,
        Kind::Instant,
        Kind::Texts,
        Kind::Texts,
        Kind::Uuid,
        Kind::Uuid,
        Kind::Row,
        Kind::Row,
    ];

    /// What a program's columns may be, each as often as it is named.
    pub fn of_a_program(dice: &mut Dice) -> Vec<Kind> {
        let mut kinds = Kind::COMMON.to_vec();
        for _ in 0..2 {
            kinds.extend([dice.one(&Kind::FURTHER); 3]);
        }
        kinds
    }

    /// In the texts of `text.rs`.
    pub fn sql(self) -> String {
        let same = match self {
            Kind::Small => "smallint",
            Kind::Int => "int",
            Kind::Big => "bigint",
            Kind::Text => "text",
            Kind::Varchar => "varchar(8)",
            Kind::Char => "char(4)",
            Kind::Bytes => "bytea",
            Kind::Numeric => "numeric(10,2)",
            Kind::Decimal => "numeric",
            Kind::Real => "real",
            Kind::Float => "float8",
            Kind::Bool => "boolean",
            Kind::Clock => "time",
            Kind::Time => "timestamp",
            Kind::Instant => "timestamptz",
            Kind::Date => "date",
            Kind::Ints => "int[]",
            Kind::Texts => "text[]",
            Kind::Interval => "interval",
            Kind::Uuid => "uuid",
            Kind::Json => "jsonb",
            Kind::Row => return ours_or_postgres("struct<x int, y text>", ROW),
        };
        same.to_string()
    }

    /// The construct of a query that asks whether two of it are equal or which comes first.
    pub fn compared(self) -> &'static str {
        match self {
            Kind::Small => "keys of smallint",
            Kind::Int => "keys of int",
            Kind::Big => "keys of bigint",
            Kind::Text => "keys of text",
            Kind::Varchar => "keys of varchar",
            Kind::Char => "keys of char",
            Kind::Bytes => "keys of bytea",
            Kind::Numeric => "keys of numeric(p,s)",
            Kind::Decimal => "keys of numeric",
            Kind::Real => "keys of real",
            Kind::Float => "keys of float8",
            Kind::Bool => "keys of boolean",
            Kind::Clock => "keys of time",
            Kind::Time => "keys of timestamp",
            Kind::Instant => "keys of timestamptz",
            Kind::Date => "keys of date",
            Kind::Ints => "keys of int[]",
            Kind::Texts => "keys of text[]",
            Kind::Interval => "keys of interval",
            Kind::Uuid => "keys of uuid",
            Kind::Json => "keys of jsonb",
            Kind::Row => "keys of struct",
        }
    }

    pub fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Kind::Numeric | Kind::Decimal | Kind::Real | Kind::Float)
    }

    pub fn is_integer(self) -> bool {
        matches!(self, Kind::Small | Kind::Int | Kind::Big)
    }

    pub fn is_text(self) -> bool {
        matches!(self, Kind::Text | Kind::Varchar | Kind::Char)
    }

    /// Kinds of one family can be compared with each other.
    pub fn family(self) -> Option<&'static str> {
        match self {
            Kind::Date | Kind::Time | Kind::Instant => Some("time"),
            _ if self.is_number() => Some("number"),
            _ if self.is_text() => Some("text"),
            _ => None,
        }
    }

    /// Whether min and max know it.
    pub fn has_extremes(self) -> bool {
        !matches!(self, Kind::Bool | Kind::Bytes | Kind::Uuid | Kind::Json | Kind::Row)
    }

    /// Whether a primary key may hold it.
    fn identifies(self) -> bool {
        !matches!(self, Kind::Ints | Kind::Texts | Kind::Json | Kind::Row)
    }
}

/// PostgreSQL has row types by name only, we have casts to none.
pub fn row(x: &str, y: &str) -> String {
    let row = format!("ROW({x}, {y})");
    ours_or_postgres(&row, &format!("{row}::{ROW}"))
}

/// A row type as PostgreSQL knows it: by a name.
const ROW: &str = "pair_of_x_and_y";
/// What makes it known.
pub const CREATE_ROW: &str = "CREATE TYPE pair_of_x_and_y AS (x int, y text)";

pub type Columns = Vec<(String, Kind)>;

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Columns,
    /// The first column is the primary key, or begins it.
    pub keyed: bool,
    /// The other column of the primary key, if it has one.
    pub second: Option<usize>,
    /// A stream: rows only come.
    pub stream: bool,
}

impl Table {
    pub fn random(dice: &mut Dice, kinds: &[Kind], name: String, stream: bool) -> Table {
        let mut columns = vec![("a".to_string(), Kind::Int), ("b".to_string(), Kind::Int)];
        for index in 0..dice.number(1..6) {
            let name = ["c", "d", "e", "f", "g"][index as usize].to_string();
            columns.push((name, dice.one(kinds)));
        }
        let keyed = !stream && dice.chance(0.5);
        let second = (keyed && columns[2].1.identifies() && dice.chance(0.4)).then_some(2);
        Table { name, columns, keyed, second, stream }
    }

    pub fn is_key(&self, index: usize) -> bool {
        self.keyed && (index == 0 || self.second == Some(index))
    }

    /// The names of its primary key.
    pub fn key(&self) -> String {
        let second = self.second.map(|index| format!(", {}", self.columns[index].0));
        format!("{}{}", self.columns[0].0, second.unwrap_or_default())
    }

    /// As Riverrun is told.
    pub fn create(&self) -> String {
        let what = if self.stream { "STREAM" } else { "TABLE" };
        format!("CREATE {what} {} ({})", self.name, self.definitions(Reader::View))
    }

    /// Names, types and the key.
    pub fn definitions(&self, reader: Reader) -> String {
        let mut parts: Vec<String> = self.columns.iter().map(|(name, kind)| format!("{name} {}", kind.sql())).collect();
        if self.keyed {
            parts.push(format!("PRIMARY KEY ({})", self.key()));
        }
        read(&parts.join(", "), reader)
    }

    pub fn of_kind(&self, kind: Kind) -> Vec<String> {
        self.columns.iter().filter(|(_, other)| *other == kind).map(|(name, _)| name.clone()).collect()
    }
}

/// A value to store: few different ones, so that rows meet.
pub fn value(dice: &mut Dice, kind: Kind) -> String {
    match kind {
        Kind::Int | Kind::Small => dice.number(-2..8).to_string(),
        Kind::Big => format!("{}", dice.number(-3..6) * 1_000_000_007),
        Kind::Text => {
            let texts = ["", "a", "b", "ab", "7", "-3", "12 ", "Zürich", "longer than twelve bytes"];
            format!("'{}'", dice.one(&texts))
        }
        // Blanks at the end are no part of a char(n), whether it is padded or not.
        Kind::Char => format!("'{}'", dice.one(&["", "a", "a ", "ab  ", "ab", " ab", "7", "Zür", "four"])),
        Kind::Varchar => format!("'{}'", dice.one(&["", "a", "a ", "ab", "b", "7", " 12", "Zürich", "of eight"])),
        Kind::Bytes => format!(r"'\x{}'::bytea", dice.one(&["", "00", "61", "6100", "62", "ff", "00ff80"])),
        // Some are equal, and only look different.
        Kind::Decimal => {
            let values = ["0", "1", "1.0", "1.00", "-2.5", "-2.50", "0.001", "7", "12345.6789", "0.00"];
            dice.one(&values).to_string()
        }
        Kind::Numeric => {
            let cents = dice.number(-500..500);
            format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
        }
        Kind::Float | Kind::Real if dice.chance(0.08) => {
            format!("'{}'", dice.one(&["NaN", "NaN", "Infinity", "-Infinity"]))
        }
        // PostgreSQL adds floats one after the other: where it judges, sums must be exact in any order.
        Kind::Float | Kind::Real if dice.judged => dice.one(&["0", "0.5", "2.5", "-7.25", "1024", "-0"]).to_string(),
        Kind::Float | Kind::Real => dice.one(&["0", "0.1", "1e16", "-1e16", "2.5", "-7.25", "-0"]).to_string(),
        Kind::Bool => dice.one(&["true", "false"]).to_string(),
        Kind::Time | Kind::Instant => {
            let seconds = dice.number(0..40) * 15;
            let (minute, second) = (13 + seconds / 60, seconds % 60);
            match kind {
                Kind::Time => format!("timestamp '2023-11-14 22:{minute:02}:{second:02}'"),
                _ => {
                    let (hour, zone) = dice.one(&[(22, "+00"), (23, "+01"), (17, "-05")]);
                    format!("timestamptz '2023-11-14 {hour}:{minute:02}:{second:02}{zone}'")
                }
            }
        }
        Kind::Clock => {
            format!("time '{}'", dice.one(&["00:00", "00:00:07", "12:30", "22:13:00.5", "22:14", "23:59:59.999999"]))
        }
        Kind::Date => format!("date '2024-02-{:02}'", dice.number(25..30)),
        Kind::Ints => {
            let items: Vec<String> = (0..dice.number(0..4))
                .map(|_| if dice.chance(0.15) { "NULL".into() } else { dice.number(-1..5).to_string() })
                .collect();
            format!("'{{{}}}'::int[]", items.join(","))
        }
        Kind::Texts => {
            let items: Vec<&str> =
                (0..dice.number(0..3)).map(|_| dice.one(&["NULL", "a", "b", "\"\"", "\"a b\""])).collect();
            format!("'{{{}}}'::text[]", items.join(","))
        }
        Kind::Uuid => format!("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd38000{}'::uuid", dice.number(0..7)),
        Kind::Row => {
            let (x, y) = (dice.one(&["0", "1", "2", "NULL::int"]), dice.one(&["''", "'a'", "'a b'", "NULL::text"]));
            row(x, y)
        }
        // No two of them are equal: which of several equal ones a group shows is left open.
        Kind::Interval => {
            let intervals = ["1 day", "2 days 03:00:00", "-1 mons", "1 year", "00:00:30.5", "-00:00:07", "0"];
            format!("interval '{}'", dice.one(&intervals))
        }
        Kind::Json => {
            let values =
                [r#"{"a": 1, "b": null}"#, r#"{"a": "x"}"#, "[1, 2, {}]", "[]", r#""text""#, "7", "null", "true"];
            format!("'{}'::jsonb", dice.one(&values))
        }
    }
}

/// A value or, now and then, NULL.
pub fn nullable(dice: &mut Dice, kind: Kind) -> String {
    if dice.chance(0.15) { "NULL".to_string() } else { value(dice, kind) }
}

/// A literal to compare with, of exactly this type.
pub fn literal(dice: &mut Dice, kind: Kind) -> String {
    match kind {
        Kind::Float | Kind::Real => format!("'{}'::{}", value(dice, kind).trim_matches('\''), kind.sql()),
        Kind::Small | Kind::Big => format!("'{}'::{}", value(dice, kind), kind.sql()),
        Kind::Varchar | Kind::Char => format!("{}::{}", value(dice, kind), kind.sql()),
        Kind::Int => dice.number(-1..6).to_string(),
        _ => value(dice, kind),
    }
}
