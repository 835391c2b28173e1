//! Kinds of values, random tables and streams, and their literals.

use super::generator::Dice;

/// Types the generator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Big,
    Text,
    Numeric,
    Float,
    Bool,
    Time,
    Date,
    Ints,
    Interval,
    Json,
    /// What sums and averages give: a numeric of no declared scale. No table has one.
    Decimal,
}

impl Kind {
    /// What a table's column may be.
    pub const STORED: [Kind; 11] = [
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

    pub fn sql(self) -> &'static str {
        match self {
            Kind::Int => "int",
            Kind::Big => "bigint",
            Kind::Text => "text",
            Kind::Numeric => "numeric(10,2)",
            Kind::Float => "float8",
            Kind::Bool => "boolean",
            Kind::Time => "timestamp",
            Kind::Date => "date",
            Kind::Ints => "int[]",
            Kind::Interval => "interval",
            Kind::Json => "jsonb",
            Kind::Decimal => "numeric",
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::Big | Kind::Numeric | Kind::Float | Kind::Decimal)
    }

    /// Whether min and max know it.
    pub fn has_extremes(self) -> bool {
        !matches!(self, Kind::Bool | Kind::Json)
    }
}

pub type Columns = Vec<(String, Kind)>;

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Columns,
    /// The first column is the primary key.
    pub keyed: bool,
    /// A stream: rows only come.
    pub stream: bool,
}

impl Table {
    pub fn random(dice: &mut Dice, name: String, stream: bool) -> Table {
        let mut columns = vec![("a".to_string(), Kind::Int), ("b".to_string(), Kind::Int)];
        for index in 0..dice.number(1..5) {
            let name = ["c", "d", "e", "f"][index as usize].to_string();
            columns.push((name, dice.one(&Kind::STORED)));
        }
        Table { name, columns, keyed: !stream && dice.chance(0.5), stream }
    }

    /// As Riverrun is told.
    pub fn create(&self) -> String {
        let what = if self.stream { "STREAM" } else { "TABLE" };
        format!("CREATE {what} {} ({})", self.name, self.definitions())
    }

    /// Names and types, as any PostgreSQL understands them.
    pub fn definitions(&self) -> String {
        let key = if self.keyed { " PRIMARY KEY" } else { "" };
        let columns = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (name, kind))| format!("{name} {}{}", kind.sql(), if index == 0 { key } else { "" }));
        columns.collect::<Vec<_>>().join(", ")
    }

    pub fn of_kind(&self, kind: Kind) -> Vec<String> {
        self.columns.iter().filter(|(_, other)| *other == kind).map(|(name, _)| name.clone()).collect()
    }
}

/// A value to store: few different ones, so that rows meet.
pub fn value(dice: &mut Dice, kind: Kind) -> String {
    match kind {
        Kind::Int => dice.number(-2..8).to_string(),
        Kind::Big => format!("{}", dice.number(-3..6) * 1_000_000_007),
        Kind::Text => {
            let texts = ["", "a", "b", "ab", "7", "-3", "12 ", "Zürich", "longer than twelve bytes"];
            format!("'{}'", dice.one(&texts))
        }
        Kind::Numeric | Kind::Decimal => {
            let cents = dice.number(-500..500);
            format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
        }
        // PostgreSQL adds floats one after the other: where it judges, sums must be exact in any order.
        Kind::Float if dice.judged => dice.one(&["0", "0.5", "2.5", "-7.25", "1024", "-0"]).to_string(),
        Kind::Float => dice.one(&["0", "0.1", "1e16", "-1e16", "2.5", "-7.25", "-0"]).to_string(),
        Kind::Bool => dice.one(&["true", "false"]).to_string(),
        Kind::Time => {
            let seconds = dice.number(0..40) * 15;
            format!("timestamp '2023-11-14 22:{:02}:{:02}'", 13 + seconds / 60, seconds % 60)
        }
        Kind::Date => format!("date '2024-02-{:02}'", dice.number(25..30)),
        Kind::Ints => {
            let items: Vec<String> = (0..dice.number(0..4))
                .map(|_| if dice.chance(0.15) { "NULL".into() } else { dice.number(-1..5).to_string() })
                .collect();
            format!("'{{{}}}'::int[]", items.join(","))
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
        Kind::Big => format!("{}::bigint", value(dice, kind)),
        Kind::Float => format!("'{}'::float8", value(dice, kind)),
        Kind::Int => dice.number(-1..6).to_string(),
        _ => value(dice, kind),
    }
}
