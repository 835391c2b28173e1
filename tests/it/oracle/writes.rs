//! Random writes, as statements: INSERT with its forms, UPDATE of values and of keys, DELETE, TRUNCATE, alone and in
//! transactions with savepoints.

use super::generator::Dice;
use super::program::Step;
use super::schema::{Kind, Table, literal, nullable, row, value};
use super::text::{Reader, read};

pub struct Writes<'a> {
    pub dice: &'a mut Dice,
    pub tables: &'a [Table],
    /// Keys given so far, so that most inserts find theirs free.
    pub next_key: &'a mut i64,
    pub tags: Vec<&'static str>,
}

impl Writes<'_> {
    /// One to three statements, alone or in a transaction.
    pub fn step(&mut self) -> Step {
        if !self.dice.chance(0.35) {
            return Step::Write(self.statement());
        }
        let mut statements = Vec::new();
        let mut savepoints = 0;
        for _ in 0..self.dice.number(1..5) {
            statements.push(self.statement());
            if self.dice.chance(0.3) {
                savepoints += 1;
                statements.push(format!("SAVEPOINT s{savepoints}"));
                self.tags.push("SAVEPOINT");
                statements.push(self.statement());
                if self.dice.chance(0.6) {
                    self.tags.push("ROLLBACK TO SAVEPOINT");
                    statements.push(format!("ROLLBACK TO s{savepoints}"));
                }
            }
        }
        let commit = self.dice.chance(0.75);
        self.tags.push(if commit { "transaction" } else { "ROLLBACK" });
        Step::Transaction { statements, commit }
    }

    pub fn statement(&mut self) -> String {
        let text = self.choose();
        read(&text, Reader::View)
    }

    fn choose(&mut self) -> String {
        let table = self.dice.one(self.tables);
        if table.stream {
            return if self.dice.chance(0.15) { self.insert_select(&table) } else { self.insert(&table) };
        }
        match self.dice.number(0..20) {
            0..7 => self.insert(&table),
            7..9 => self.insert_select(&table),
            9..13 => self.update(&table),
            13 => self.update_key(&table),
            14 => self.update_from(&table),
            15..18 => self.delete(&table),
            18 => self.delete_using(&table),
            _ if self.dice.chance(0.5) => {
                self.tags.push("TRUNCATE");
                let other = self.dice.one(self.tables);
                match other.name != table.name && !other.stream && self.dice.chance(0.3) {
                    true => format!("TRUNCATE {}, {}", table.name, other.name),
                    false => format!("TRUNCATE {}", table.name),
                }
            }
            _ => self.insert(&table),
        }
    }

    fn insert(&mut self, table: &Table) -> String {
        let conflict = match table.keyed && self.dice.chance(0.4) {
            true => self.on_conflict(table),
            false => String::new(),
        };
        let mut rows = Vec::new();
        for _ in 0..self.dice.number(1..12) {
            let mut values: Vec<String> = Vec::new();
            for (index, (_, kind)) in table.columns.iter().enumerate() {
                values.push(match table.keyed && index == 0 {
                    true if conflict.is_empty() && self.dice.chance(0.98) => self.fresh_key(),
                    true if table.second.is_some() => self.dice.number(-2..8).to_string(),
                    true => self.dice.number(-2..40).to_string(),
                    false if table.is_key(index) => value(self.dice, *kind),
                    false => nullable(self.dice, *kind),
                });
            }
            rows.push(format!("({})", values.join(", ")));
        }
        format!("INSERT INTO {} VALUES {}{conflict}", table.name, rows.join(", "))
    }

    fn fresh_key(&mut self) -> String {
        *self.next_key += 1;
        self.next_key.to_string()
    }

    fn on_conflict(&mut self, table: &Table) -> String {
        if self.dice.chance(0.4) {
            self.tags.push("ON CONFLICT DO NOTHING");
            return " ON CONFLICT DO NOTHING".to_string();
        }
        self.tags.push("ON CONFLICT DO UPDATE");
        if table.second.is_some() {
            self.tags.push("ON CONFLICT of two columns");
        }
        let (column, _) = self.dice.one(&table.columns[1..]);
        let condition = match self.dice.chance(0.3) {
            true => format!(" WHERE {}.b IS DISTINCT FROM excluded.b", table.name),
            false => String::new(),
        };
        let (key, name) = (table.key(), &table.name);
        format!(" ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}, b = {name}.b + 1{condition}")
            .replacen("SET b = excluded.b, b =", "SET b =", 1)
    }

    fn insert_select(&mut self, table: &Table) -> String {
        self.tags.push("INSERT ... SELECT");
        let from = self.dice.one(self.tables);
        let mut values = Vec::new();
        for (index, (_, kind)) in table.columns.iter().enumerate() {
            let fitting = from.of_kind(*kind);
            values.push(match self.dice.any(&fitting) {
                _ if table.keyed && index == 0 => {
                    *self.next_key += 1000;
                    format!("{} + coalesce(a, 0)", *self.next_key - 500)
                }
                Some(column) if table.is_key(index) => format!("coalesce({column}, {})", literal(self.dice, *kind)),
                Some(column) => column,
                None => literal(self.dice, *kind),
            });
        }
        let limit = format!(
            " ORDER BY {} LIMIT {}",
            (1..=values.len()).map(|n| n.to_string()).collect::<Vec<_>>().join(", "),
            self.dice.number(2..15)
        );
        let conflict = if table.keyed { " ON CONFLICT DO NOTHING" } else { "" };
        format!("INSERT INTO {} SELECT {} FROM {}{limit}{conflict}", table.name, values.join(", "), from.name)
    }

    /// Many rows of values that are spread wider than the others', so that joins stay small.
    pub fn flood(&mut self, table: &Table, rows: i64) -> String {
        self.tags.push("delta of several steps");
        let first = *self.next_key + 1;
        *self.next_key += rows;
        let values: Vec<String> = table
            .columns
            .iter()
            .enumerate()
            .map(|(index, (_, kind))| match kind {
                Kind::Int if index == 0 => format!("{first} + g"),
                Kind::Int => "100 + g % 97".to_string(),
                Kind::Small => "(100 + g % 59)::smallint".to_string(),
                Kind::Big => "1000 + g % 89".to_string(),
                Kind::Text | Kind::Varchar => "'k' || g % 83".to_string(),
                Kind::Char => "'k' || g % 67".to_string(),
                Kind::Bytes => "convert_to('k' || g % 61, 'UTF8')".to_string(),
                Kind::Numeric => "(g % 101)::numeric(10,2)".to_string(),
                Kind::Decimal => "(g % 107) / 4.0".to_string(),
                Kind::Float | Kind::Real => "(g % 103)::real / 2::real".to_string(),
                Kind::Bool if table.is_key(index) => "g % 2 = 0".to_string(),
                Kind::Bool => "CASE WHEN g % 3 = 0 THEN g % 2 = 0 END".to_string(),
                Kind::Time => "timestamp '2023-11-14 10:00:00' + g * interval '17 seconds'".to_string(),
                Kind::Instant => "timestamptz '2023-11-14 10:00+00' + g * interval '19 seconds'".to_string(),
                Kind::Clock => "time '00:00' + g * interval '23 seconds'".to_string(),
                Kind::Texts => "ARRAY['k' || g % 53, NULL]".to_string(),
                Kind::Uuid => "('a0eebc99-9c0b-4ef8-bb6d-' || lpad((g % 47)::text, 12, '0'))::uuid".to_string(),
                Kind::Row => row("(g % 43)::int", "'k'"),
                Kind::Date => "date '2020-01-01' + (g % 97)::int".to_string(),
                Kind::Ints => "ARRAY[(g % 79)::int]".to_string(),
                Kind::Interval => "(g % 73) * interval '1 minute'".to_string(),
                Kind::Json => "to_jsonb(g % 71)".to_string(),
            })
            .collect();
        let text =
            format!("INSERT INTO {} SELECT {} FROM generate_series(1, {rows}) AS g", table.name, values.join(", "));
        read(&text, Reader::View)
    }

    fn condition(&mut self, table: &Table) -> String {
        let (column, kind) = self.dice.one(&table.columns);
        match self.dice.number(0..5) {
            0 => format!("{column} IS NULL"),
            1 => format!("b = {}", self.dice.number(-2..8)),
            2 => format!("{column} <= {}", literal(self.dice, kind)),
            3 => format!("{column} > {} OR b < 1", literal(self.dice, kind)),
            _ => format!("b IN ({}, {})", self.dice.number(-2..8), self.dice.number(-2..8)),
        }
    }

    fn update(&mut self, table: &Table) -> String {
        self.tags.push("UPDATE");
        let mut assignments = Vec::new();
        for (index, (column, kind)) in table.columns.iter().enumerate().skip(1) {
            if index == 1 || self.dice.chance(0.5) {
                let to = match (kind, self.dice.number(0..3)) {
                    (Kind::Int, 0) => format!("{column} + 1"),
                    (Kind::Text, 0) => format!("{column} || 'b'"),
                    (Kind::Varchar | Kind::Char, 0) => format!("left({column} || 'b', 4)"),
                    (Kind::Bytes, 0) => format!("{column} || {}", value(self.dice, *kind)),
                    (Kind::Ints, 0) => format!("{column} || 1"),
                    (Kind::Texts, 0) => format!("{column} || {}", value(self.dice, *kind)),
                    (_, 1) => value(self.dice, *kind),
                    _ if table.is_key(index) => value(self.dice, *kind),
                    _ => nullable(self.dice, *kind),
                };
                assignments.push(format!("{column} = {to}"));
            }
        }
        format!("UPDATE {} SET {} WHERE {}", table.name, assignments.join(", "), self.condition(table))
    }

    fn update_key(&mut self, table: &Table) -> String {
        if table.keyed {
            self.tags.push("UPDATE of the key");
        }
        *self.next_key += 100_000;
        let to =
            self.dice.one(&[format!("a + {}", *self.next_key - 50_000), "-1 - a".to_string(), "a + 1".to_string()]);
        format!("UPDATE {} SET a = {to} WHERE {}", table.name, self.condition(table))
    }

    fn update_from(&mut self, table: &Table) -> String {
        self.tags.push("UPDATE FROM");
        let other = self.dice.one(self.tables);
        format!("UPDATE {} SET b = o.b + 1 FROM {} AS o WHERE o.a = {}.b", table.name, other.name, table.name)
    }

    fn delete(&mut self, table: &Table) -> String {
        self.tags.push("DELETE");
        match self.dice.chance(0.06) {
            true => format!("DELETE FROM {}", table.name),
            false => format!("DELETE FROM {} WHERE {}", table.name, self.condition(table)),
        }
    }

    fn delete_using(&mut self, table: &Table) -> String {
        self.tags.push("DELETE USING");
        let other = self.dice.one(self.tables);
        format!("DELETE FROM {} USING {} AS o WHERE o.b = {}.a AND o.a > 2", table.name, other.name, table.name)
    }
}
