//! ON CONFLICT: which rows meet, and what becomes of the row that was there.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column as PlanColumn, TableReference};
use datafusion::logical_expr::Expr;
use sqlparser::ast;

use super::stored_row::{made_columns, replace_made};
use super::{column_index, columns_named};
use crate::catalog::{Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::sql::OnConflict;
use crate::sql::bind::expr::position;
use crate::sql::bind::scope::{Scope, ScopeTable, column_expr, place};
use crate::sql::bind::{Binder, Clause};
use crate::sql::statement::fold;

/// Marks a column of the proposed row while ON CONFLICT's assignments are bound.
pub const EXCLUDED: &str = "\u{1}excluded.";

impl Binder<'_> {
    pub(super) fn on_conflict(
        &mut self,
        conflict: &ast::OnConflict,
        relation: &Relation,
        alias: Option<&ast::Ident>,
    ) -> Result<OnConflict> {
        let key: Vec<usize> = match &relation.kind {
            RelationKind::Table(table) => table.primary_key.clone(),
            _ => Vec::new(),
        };
        let target = match &conflict.conflict_target {
            None => None,
            Some(ast::ConflictTarget::Columns(names)) => {
                let mut columns = Vec::with_capacity(names.len());
                for name in names {
                    columns.push(column_index(relation, &fold(name), place(name))?);
                }
                columns.sort_unstable();
                Some(columns)
            }
            Some(ast::ConflictTarget::OnConstraint(name)) => {
                let constraint = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                if constraint != format!("{}_pkey", relation.name) || key.is_empty() {
                    let message = format!("constraint \"{constraint}\" for table \"{}\" does not exist", relation.name);
                    return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
                }
                None
            }
        };
        if let Some(target) = &target {
            let mut sorted = key.clone();
            sorted.sort_unstable();
            if *target != sorted || key.is_empty() {
                return Err(Error::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                ));
            }
        }
        let update = match &conflict.action {
            ast::OnConflictAction::DoNothing => return Ok(OnConflict::Nothing),
            ast::OnConflictAction::DoUpdate(update) => update,
        };
        if conflict.conflict_target.is_none() {
            return Err(Error::new(
                SqlState::SYNTAX_ERROR,
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )
            .with_hint("For example, ON CONFLICT (column_name)."));
        }
        let table = |name: String, prefix: &str| ScopeTable {
            name: Some(name),
            columns: columns_named(relation, prefix),
            ..ScopeTable::default()
        };
        let mut existing = table(alias.map_or_else(|| relation.name.clone(), fold), "");
        existing.schema = alias.is_none().then(|| relation.schema.clone());
        let mut scope = Scope::of_table(existing);
        // Bare names are the existing row's.
        scope.tables.push(table("excluded".to_string(), EXCLUDED));
        self.push_level(scope, Clause::Other("ON CONFLICT DO UPDATE"));
        let bound = self.assignments(&update.assignments, relation).and_then(|assigned| {
            let condition = match &update.selection {
                Some(condition) => {
                    let typed = self.expr(condition)?;
                    Some(self.condition(typed, "WHERE").map_err(|error| error.or_position(position(condition)))?)
                }
                None => None,
            };
            Ok((assigned, condition))
        });
        self.levels.pop();
        let (assigned, condition) = bound?;
        let mut row: Vec<Expr> =
            relation.stored_schema().fields().iter().map(|field| column_expr(field.name())).collect();
        for (index, value) in assigned {
            row[index] = value;
        }
        let made = made_columns(relation);
        for (index, value) in self.generated_over(relation, &made)? {
            row[index] = replace_made(value, relation, &row)?;
        }
        let assignments = row.into_iter().map(excluded_columns).collect::<Result<_>>()?;
        let condition = condition.map(excluded_columns).transpose()?;
        Ok(OnConflict::Update { assignments, condition })
    }
}

/// Marked columns become those of `excluded`.
fn excluded_columns(expr: Expr) -> Result<Expr> {
    let replaced = expr.transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => match column.name.strip_prefix(EXCLUDED) {
                Some(name) => {
                    let column = PlanColumn::new(Some(TableReference::bare("excluded")), name);
                    Transformed::yes(Expr::Column(column))
                }
                None => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    })?;
    Ok(replaced.data)
}
