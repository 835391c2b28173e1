//! Names in sight: the tables of a FROM clause, the columns that JOIN ... USING has merged, and the queries around.
//!
//! In plans every column has a name of our own, unique within the statement (`amount#3`), so that no rule of
//! DataFusion's schemas can see two columns as one; a scope leads from the user's names to these.

use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use sqlparser::ast::Ident;

use crate::error::{Error, Result, SqlState};
use crate::sql::registry::Typed;
use crate::sql::statement::fold;
use crate::types::Type;

/// A column of a table in FROM.
#[derive(Clone, Debug)]
pub struct ScopeColumn {
    pub name: String,
    pub ty: Type,
    /// Its name in the plan.
    pub internal: String,
}

/// A table in FROM under the name by which it can be referred to.
#[derive(Clone, Debug, Default)]
pub struct ScopeTable {
    /// `None` for a join in parentheses without an alias, or a subquery without one.
    pub name: Option<String>,
    /// The schema it was found in, unless it has an alias.
    pub schema: Option<String>,
    pub columns: Vec<ScopeColumn>,
    /// Internal names of an enforced key: these columns determine the others. Empty: none is known.
    pub key: Vec<String>,
    /// A function that yields one column of scalars: its alias names the value too.
    pub scalar: bool,
    /// The relation that the alias stands for.
    pub relation: Option<Source>,
    pub presence: Presence,
}

/// What tells whether a table has a row in a row of the join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It always has one.
    #[default]
    Always,
    /// A boolean column of this internal name, NULL where there is none.
    Column(String),
    /// It is no one's: the row of a join's alias is made of the join's columns, and never NULL.
    Made,
    /// Nothing does.
    Unknown,
}

/// The relation behind a table in FROM.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub oid: u32,
    /// An outer join may put NULLs in the place of its rows.
    pub nullable: bool,
}

/// What a FROM clause makes visible.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub tables: Vec<ScopeTable>,
    /// Columns of `*` and of names without a table, in order: those of all tables, with USING's merged ones once and first.
    pub visible: Vec<ScopeColumn>,
}

impl Scope {
    pub fn of_table(table: ScopeTable) -> Scope {
        Scope { visible: table.columns.clone(), tables: vec![table] }
    }

    /// Both sides' names. 42712 when one occurs twice.
    pub fn join(mut self, right: Scope) -> Result<Scope> {
        for table in &right.tables {
            let Some(name) = &table.name else { continue };
            let twice = |other: &&ScopeTable| {
                other.name.as_ref() == Some(name)
                    && (other.schema == table.schema || other.schema.is_none() || table.schema.is_none())
            };
            if self.tables.iter().any(|other| twice(&other)) {
                let message = format!("table name \"{name}\" specified more than once");
                return Err(Error::new(SqlState::DUPLICATE_ALIAS, message));
            }
        }
        self.tables.extend(right.tables);
        self.visible.extend(right.visible);
        Ok(self)
    }

    /// A column by its bare name; `None` if there is none, 42702 if there are several.
    pub fn column(&self, name: &str) -> Result<Option<&ScopeColumn>> {
        let mut found = self.visible.iter().filter(|column| column.name == name);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(ambiguous(name)),
            (first, _) => Ok(first),
        }
    }

    pub fn table(&self, schema: Option<&str>, name: &str) -> Result<Option<&ScopeTable>> {
        let mut found = self.tables.iter().filter(|table| {
            table.name.as_deref() == Some(name) && (schema.is_none() || table.schema.as_deref() == schema)
        });
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => {
                let message = format!("table reference \"{name}\" is ambiguous");
                Err(Error::new(SqlState::AMBIGUOUS_ALIAS, message))
            }
            (first, _) => Ok(first),
        }
    }

    /// `table.column`, after Postgres's words for a hint.
    fn similar(&self, name: &str) -> Option<String> {
        let limit = name.chars().count() / 2;
        let mut best: Option<(usize, String)> = None;
        for table in &self.tables {
            for column in &table.columns {
                let distance = edit_distance(name, &column.name);
                if distance <= limit.min(3) && best.as_ref().is_none_or(|(least, _)| distance < *least) {
                    let shown = match &table.name {
                        Some(table) => format!("{table}.{}", column.name),
                        None => column.name.clone(),
                    };
                    best = Some((distance, shown));
                }
            }
        }
        best.map(|(_, shown)| shown)
    }
}

impl ScopeTable {
    pub fn column(&self, name: &str) -> Result<Option<&ScopeColumn>> {
        let mut found = self.columns.iter().filter(|column| column.name == name);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(ambiguous(name)),
            (first, _) => Ok(first),
        }
    }

    /// Its columns, with the one that says whether it has a row.
    pub fn all_columns(&self) -> impl Iterator<Item = ScopeColumn> {
        self.columns.iter().cloned().chain(self.presence_column())
    }

    pub fn presence_column(&self) -> Option<ScopeColumn> {
        let Presence::Column(internal) = &self.presence else { return None };
        Some(ScopeColumn { name: internal.clone(), ty: Type::Bool, internal: internal.clone() })
    }
}

impl ScopeColumn {
    pub fn expr(&self) -> Expr {
        column_expr(&self.internal)
    }

    pub fn typed(&self) -> Typed {
        Typed::new(self.expr(), self.ty.clone())
    }
}

pub fn column_expr(internal: &str) -> Expr {
    Expr::Column(Column::new_unqualified(internal))
}

pub fn ambiguous(name: &str) -> Error {
    Error::new(SqlState::AMBIGUOUS_COLUMN, format!("column reference \"{name}\" is ambiguous"))
}

/// 42703 for a bare name, with the nearest name of the scopes as a hint.
pub fn no_such_column(name: &str, scopes: &[&Scope]) -> Error {
    let error = Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"));
    // A string in double quotes is the usual reason for a name with blanks.
    match scopes.iter().rev().find_map(|scope| scope.similar(name)) {
        Some(similar) => error.with_hint(format!("Perhaps you meant to reference the column \"{similar}\".")),
        None => error,
    }
}

/// 42703 for `table.name`.
pub fn no_such_column_of(table: &ScopeTable, name: &str) -> Error {
    let shown = table.name.as_deref().unwrap_or_default();
    let error = Error::new(SqlState::UNDEFINED_COLUMN, format!("column {shown}.{name} does not exist"));
    let alone = Scope::of_table(table.clone());
    match alone.similar(name) {
        Some(similar) => error.with_hint(format!("Perhaps you meant to reference the column \"{similar}\".")),
        None => error,
    }
}

/// 42P01 for a table that FROM doesn't name, or names under an alias, or (among the `hidden`) where it can't be seen.
pub fn missing_from(schema: Option<&str>, name: &str, scopes: &[&Scope], hidden: &[Scope]) -> Error {
    let shown = schema.map_or_else(|| name.to_string(), |schema| format!("{schema}.{name}"));
    let tables = || scopes.iter().copied().chain(hidden).flat_map(|scope| &scope.tables);
    let aliased = tables().find(|table| table.relation.as_ref().is_some_and(|relation| relation.name == name));
    let aliased = aliased.and_then(|table| table.name.as_deref()).filter(|alias| *alias != name);
    let unseen = tables().any(|table| table.name.as_deref() == Some(name));
    let invalid = || {
        let message = format!("invalid reference to FROM-clause entry for table \"{shown}\"");
        Error::new(SqlState::UNDEFINED_TABLE, message)
    };
    match aliased {
        _ if unseen => invalid().with_hint(format!(
            "There is an entry for table \"{name}\", but it cannot be referenced from this part of the query."
        )),
        Some(alias) => invalid().with_hint(format!("Perhaps you meant to reference the table alias \"{alias}\".")),
        None => Error::new(SqlState::UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{shown}\"")),
    }
}

/// A name after AS or in its place. sqlparser takes a string for one; Postgres doesn't.
pub fn alias_name(ident: &Ident) -> Result<String> {
    match ident.quote_style {
        Some('\'') => {
            let message = format!("syntax error at or near \"'{}'\"", ident.value);
            Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(place(ident)))
        }
        _ => Ok(fold(ident)),
    }
}

/// Where a name starts, as an error's position.
pub fn place(ident: &Ident) -> Option<u32> {
    match ident.span.start.column {
        0 => None,
        column => Some(column as u32),
    }
}

/// The folded names of an alias's column list.
pub fn fold_all<'a>(idents: impl IntoIterator<Item = &'a Ident>) -> Vec<String> {
    idents.into_iter().map(fold).collect()
}

/// Levenshtein distance, in characters; names are at most 63 bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::edit_distance;

    #[test]
    fn distances() {
        assert_eq!(edit_distance("amount", "amount"), 0);
        assert_eq!(edit_distance("ammount", "amount"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
