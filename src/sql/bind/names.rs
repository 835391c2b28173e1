//! What a name in an expression stands for: a column here or in a query around, a whole row, a field of a row; and
//! which relation a name in FROM or DDL means.

use std::sync::Arc;

use arrow::array::StructArray;
use arrow::datatypes::Field;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use sqlparser::ast::{self, Ident};

use super::scope::{Scope, ScopeColumn, ScopeTable, missing_from, no_such_column, no_such_column_of, place};
use super::{Binder, Clause, missing};
use crate::catalog::{Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::sql::functions::row;
use crate::sql::registry::Typed;
use crate::sql::statement::fold;
use crate::types::{StructField, Type};

/// The database's name, accepted in front of a schema.
pub(super) const DATABASE: &str = "postgres";

/// Values that SQL names like columns, without brackets.
const BARE_FUNCTIONS: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "user",
];

/// Names of the columns that Postgres keeps beside a table's own.
const SYSTEM_COLUMNS: &[&str] = &["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// A name in parts: `[[database.]schema.]name`.
pub(super) struct RelationName {
    pub schema: Option<String>,
    pub name: String,
    pub position: Option<u32>,
}

impl RelationName {
    pub fn shown(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// The parts of a relation's name, folded. 0A000 for another database, 42601 for too many parts.
pub(super) fn relation_name(name: &ast::ObjectName) -> Result<RelationName> {
    let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
    let Some(parts) = parts else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, format!("improper relation name: {name}")));
    };
    let position = parts.first().and_then(|part| place(part));
    // Behind a dot any word is a name.
    if let Some(first) = parts.first() {
        crate::sql::parse::check_name(first)?;
    }
    match parts.as_slice() {
        [name] => Ok(RelationName { schema: None, name: fold(name), position }),
        [schema, name] => Ok(RelationName { schema: Some(fold(schema)), name: fold(name), position }),
        [database, schema, relation] => match fold(database) {
            database if database == DATABASE => {
                Ok(RelationName { schema: Some(fold(schema)), name: fold(relation), position })
            }
            _ => Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cross-database references are not implemented: {name}"),
            )
            .with_hint("There is one database, postgres.")
            .or_position(position)),
        },
        _ => {
            let message = format!("improper qualified name (too many dotted names): {name}");
            Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(position))
        }
    }
}

impl Binder<'_> {
    /// The relation a name means, along the search path; in a stored view one of those that it depends on. 42P01 at its position.
    pub(super) fn relation(&mut self, name: &ast::ObjectName) -> Result<Arc<Relation>> {
        let name = relation_name(name)?;
        let known = |relation: &Relation| match &self.among {
            Some(ids) => relation.kind == RelationKind::System || ids.contains(&relation.id),
            None => true,
        };
        let path = &self.search_path;
        let found = self.context.catalog.resolve_among(path, name.schema.as_deref(), &name.name, known);
        let relation = found.map_err(|error| error.or_position(name.position))?.clone();
        if !self.named.contains(&relation.id) {
            self.named.push(relation.id);
        }
        Ok(relation)
    }

    /// `name`: a column in sight, a whole row, or one of SQL's values without brackets.
    pub(super) fn identifier(&mut self, ident: &Ident) -> Result<Typed> {
        let name = fold(ident);
        let at = place(ident);
        if ident.quote_style.is_none() {
            if BARE_FUNCTIONS.contains(&name.as_str()) {
                return self.scalar_call(&name, Vec::new(), at);
            }
            if name == "default" {
                let message = "DEFAULT is not allowed in this context";
                return Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(at));
            }
            crate::sql::parse::check_name(ident)?;
        }
        for depth in (0..self.levels.len()).rev() {
            let found = self.levels[depth].scope.column(&name).map_err(|error| error.or_position(at))?.cloned();
            if let Some(column) = found {
                return self.column(depth, column, &name, at);
            }
        }
        for depth in (0..self.levels.len()).rev() {
            if let Some(table) = self.levels[depth].scope.table(None, &name).map_err(|error| error.or_position(at))? {
                let table = table.clone();
                return self.whole_row(depth, table, at);
            }
        }
        if let Some(oid) = self.system_column(None, &name).map_err(|error| error.or_position(at))? {
            return Ok(oid);
        }
        let scopes = self.scopes();
        Err(no_such_column(&name, &scopes).or_position(at))
    }

    /// Columns that every table of Postgres has: tableoid is the relation's, the others have no meaning here. `None`
    /// where the name is another, or that of a real column.
    fn system_column(&self, table: Option<&str>, name: &str) -> Result<Option<Typed>> {
        if !SYSTEM_COLUMNS.contains(&name) {
            return Ok(None);
        }
        for level in self.levels.iter().rev() {
            let found = match table {
                Some(table) => level.scope.table(None, table)?,
                None => level.scope.tables.iter().find(|table| table.relation.is_some()),
            };
            let Some(found) = found else { continue };
            let Some(source) = found.relation.as_ref().filter(|_| found.columns.iter().all(|own| own.name != name))
            else {
                return Ok(None);
            };
            if table.is_none() && level.scope.tables.len() > 1 {
                return Err(super::scope::ambiguous(name));
            }
            if name != "tableoid" {
                return Err(Error::unsupported(
                    format!("the system column \"{name}\""),
                    "Rows have no address or transaction number here; name them by their key.",
                ));
            }
            if source.nullable {
                let hint = "Name it inside a subquery that stands for the table.";
                return Err(Error::unsupported("tableoid of an outer join's other side", hint));
            }
            return Ok(Some(Typed::new(Expr::Literal(ScalarValue::UInt32(Some(source.oid)), None), Type::Oid)));
        }
        Ok(None)
    }

    fn scopes(&self) -> Vec<&Scope> {
        self.levels.iter().map(|level| &level.scope).collect()
    }

    /// `a.b`, `a.b.c`, ...: the longest beginning that names a column, then fields of it.
    pub(super) fn compound(&mut self, idents: &[Ident]) -> Result<Typed> {
        let at = idents.first().and_then(place);
        if let [.., table, column] = idents
            && let Some(oid) =
                self.system_column(Some(&fold(table)), &fold(column)).map_err(|error| error.or_position(at))?
        {
            return Ok(oid);
        }
        let (found, used) = self.find(idents)?;
        let shown = idents[..used].iter().map(fold).collect::<Vec<_>>().join(".");
        let (depth, column) = found;
        let mut typed = self.column(depth, column, &shown, at)?;
        for field in &idents[used..] {
            typed = self.field(typed, &fold(field)).map_err(|error| error.or_position(at))?;
        }
        Ok(typed)
    }

    /// What a dotted name's beginning means, in which level, and how many parts it takes.
    fn find(&self, idents: &[Ident]) -> Result<((usize, ScopeColumn), usize)> {
        let names: Vec<String> = idents.iter().map(fold).collect();
        let at = idents.first().and_then(place);
        let names = match names.first() {
            Some(first) if names.len() > 3 && first == DATABASE => &names[1..],
            _ => &names[..],
        };
        let skipped = idents.len() - names.len();
        for depth in (0..self.levels.len()).rev() {
            let scope = &self.levels[depth].scope;
            if let [table, column, ..] = names
                && let Some(table) = scope.table(None, table).map_err(|error| error.or_position(at))?
            {
                return match table.column(column).map_err(|error| error.or_position(at))? {
                    Some(column) => Ok(((depth, column.clone()), skipped + 2)),
                    None => Err(no_such_column_of(table, column).or_position(at)),
                };
            }
            if let [schema, table, column, ..] = names
                && let Some(table) = scope.table(Some(schema), table).map_err(|error| error.or_position(at))?
            {
                return match table.column(column)? {
                    Some(column) => Ok(((depth, column.clone()), skipped + 3)),
                    None => Err(no_such_column_of(table, column).or_position(at)),
                };
            }
        }
        let scopes = self.scopes();
        let error = match names {
            [schema, table, _, ..] => missing_from(Some(schema), table, &scopes, &self.hidden),
            [table, ..] => {
                let error = missing_from(None, table, &scopes, &self.hidden);
                // A column of a row type needs brackets, as in Postgres.
                match scopes.iter().rev().find_map(|scope| scope.column(table).ok().flatten()) {
                    Some(column) if matches!(column.ty, Type::Struct(_)) => {
                        error.with_hint(format!("To name a field of a column, write ({table}).{}.", names[1]))
                    }
                    _ => error,
                }
            }
            [] => Error::internal("a name without parts"),
        };
        Err(error.or_position(at))
    }

    /// A column of the query at `depth`: its own, or an outer reference.
    pub(super) fn column(&mut self, depth: usize, column: ScopeColumn, shown: &str, at: Option<u32>) -> Result<Typed> {
        let level = &mut self.levels[depth];
        if level.clause != Some(Clause::Aggregate) && level.clause != Some(Clause::Filter) {
            level.references.push((column.internal.clone(), shown.to_string(), at));
        }
        if depth + 1 == self.levels.len() {
            return Ok(Typed::new(column.expr(), column.ty));
        }
        self.levels[depth + 1].using_outer = true;
        let field = Arc::new(Field::new(&column.internal, column.ty.arrow(), true));
        let expr = Expr::OuterReferenceColumn(field, Column::new_unqualified(&column.internal));
        Ok(Typed::new(expr, column.ty))
    }

    /// A table's name as a value: its row, or the value of a function's only column.
    fn whole_row(&mut self, depth: usize, table: ScopeTable, at: Option<u32>) -> Result<Typed> {
        let shown = table.name.clone().unwrap_or_default();
        if table.scalar
            && let [column] = table.columns.as_slice()
        {
            return self.column(depth, column.clone(), &shown, at);
        }
        let there = self.presence(depth, &table, at)?;
        let mut fields = Vec::with_capacity(table.columns.len());
        for column in table.columns {
            let name = column.name.clone();
            fields.push((name, self.column(depth, column, &shown, at)?));
        }
        Ok(missing::row_if(there, row(fields)))
    }

    /// `t.*` as an argument: t's row.
    pub(super) fn starred_row(&mut self, name: &ast::ObjectName) -> Result<Typed> {
        let fields = self.star(Some(name))?;
        let name = relation_name(name)?;
        for depth in (0..self.levels.len()).rev() {
            if let Some(table) = self.levels[depth].scope.table(name.schema.as_deref(), &name.name)?.cloned() {
                let there = self.presence(depth, &table, name.position)?;
                return Ok(missing::row_if(there, row(fields)));
            }
        }
        Ok(row(fields))
    }

    /// `(row).name`. 42703 for a missing field, 42809 for what is no row.
    pub(super) fn field(&mut self, value: Typed, name: &str) -> Result<Typed> {
        let Type::Struct(fields) = &value.ty else {
            let message = format!(
                "column notation .{name} applied to type {}, which is not a composite type",
                value.ty.bare_name()
            );
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        };
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let message = format!("column \"{name}\" not found in data type {}", value.ty.bare_name());
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
        };
        let ty = field.ty.clone();
        // Of a row made here: the optimizer takes the row apart. Where the row is missing its columns are too.
        let made = datafusion::functions::core::named_struct();
        let row = self.row_itself(&value.expr);
        if matches!(row, Expr::ScalarFunction(call) if call.func == made) {
            let key = Expr::Literal(ScalarValue::Utf8(Some(name.to_string())), None);
            let get = datafusion::functions::core::get_field();
            let got = Expr::ScalarFunction(ScalarFunction::new_udf(get, vec![row.clone(), key]));
            return Ok(Typed::new(got, ty));
        }
        Ok(row::field(value, name, ty))
    }

    /// The columns that `*` or `t.*` stands for, as if each were named.
    pub(super) fn star(&mut self, table: Option<&ast::ObjectName>) -> Result<Vec<(String, Typed)>> {
        let Some(level) = self.levels.last() else { return Err(Error::internal("* outside of any query")) };
        let depth = self.levels.len() - 1;
        let mut at = None;
        let (columns, shown) = match table {
            None => {
                if level.scope.tables.is_empty() {
                    return Err(Error::new(SqlState::SYNTAX_ERROR, "SELECT * with no tables specified is not valid"));
                }
                (level.scope.visible.clone(), None)
            }
            Some(name) => {
                let name = relation_name(name)?;
                at = name.position;
                let mut found = None;
                for depth in (0..self.levels.len()).rev() {
                    if let Some(table) = self.levels[depth].scope.table(name.schema.as_deref(), &name.name)? {
                        found = Some((depth, table.clone()));
                        break;
                    }
                }
                let Some((found_depth, table)) = found else {
                    let scopes = self.scopes();
                    return Err(missing_from(name.schema.as_deref(), &name.name, &scopes, &self.hidden).or_position(at));
                };
                let columns = table.columns;
                let shown = name.name;
                let mut bound = Vec::with_capacity(columns.len());
                for column in columns {
                    let name = column.name.clone();
                    let shown = format!("{shown}.{name}");
                    bound.push((name, self.column(found_depth, column, &shown, at)?));
                }
                return Ok(bound);
            }
        };
        let _: Option<String> = shown;
        let mut bound = Vec::with_capacity(columns.len());
        for column in columns {
            let name = column.name.clone();
            let shown = self.qualified(depth, &column);
            bound.push((name, self.column(depth, column, &shown, at)?));
        }
        Ok(bound)
    }

    /// `table.column`, as errors name a column that `*` stands for.
    fn qualified(&self, depth: usize, column: &ScopeColumn) -> String {
        let table = self.levels[depth]
            .scope
            .tables
            .iter()
            .find(|table| table.columns.iter().any(|other| other.internal == column.internal))
            .and_then(|table| table.name.as_deref());
        match table {
            Some(table) => format!("{table}.{}", column.name),
            None => column.name.clone(),
        }
    }
}

/// A row of named values.
pub(super) fn row(fields: Vec<(String, Typed)>) -> Typed {
    if fields.is_empty() {
        let empty = StructArray::new_empty_fields(1, None);
        let expr = Expr::Literal(ScalarValue::Struct(Arc::new(empty)), None);
        return Typed::new(expr, Type::Struct(Vec::new()));
    }
    let mut args = Vec::with_capacity(fields.len() * 2);
    let mut types = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        args.push(Expr::Literal(ScalarValue::Utf8(Some(name.clone())), None));
        args.push(value.expr);
        types.push(StructField { name, ty: value.ty });
    }
    let expr = Expr::ScalarFunction(ScalarFunction::new_udf(datafusion::functions::core::named_struct(), args));
    Typed::new(expr, Type::Struct(types))
}
