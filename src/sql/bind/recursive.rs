//! WITH RECURSIVE in reads: `first UNION [ALL] next`, where `next` names the query itself and sees the rows that the
//! round before has added. It runs until a round adds none; with UNION rows that are known already don't count.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, RecursiveQuery, TableScanBuilder};
use sqlparser::ast;

use super::from::named_table;
use super::query::{Cte, mentions};
use super::scope::ScopeColumn;
use super::{Binder, Output, project};
use crate::error::{Error, Result, SqlState};
use crate::sql::refusals;
use crate::sql::registry::{self, CastContext};

impl Binder<'_> {
    pub(super) fn recursive(&mut self, cte: &ast::Cte, name: &str) -> Result<Output> {
        if self.context.for_view {
            return Err(refusals::RECURSIVE.error());
        }
        let query = &cte.query;
        let ast::SetExpr::SetOperation { op: ast::SetOperator::Union, set_quantifier, left, right } =
            query.body.as_ref()
        else {
            return Err(malformed(name));
        };
        if mentions(left.as_ref(), name) {
            return Err(Error::new(
                SqlState::INVALID_RECURSION,
                format!("recursive reference to query \"{name}\" must not appear within its non-recursive term"),
            ));
        }
        if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
            let what = if query.order_by.is_some() { "ORDER BY" } else { "LIMIT" };
            return Err(Error::unsupported(
                format!("{what} in a recursive query"),
                "Put it into the query that reads it.",
            ));
        }
        let outer = self.ctes.len();
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        let first = self.set_expr(left)?;
        let first = self.resolve_unknown(first)?;
        let columns = named_table(Some(&cte.alias), None, first.columns.clone())?.columns;
        let work = self.fresh(name);
        let itself = self.work_table(&work, &columns)?;
        self.ctes.push(Cte { name: name.to_string(), plan: itself.plan, columns: itself.columns });
        let next = self.set_expr(right);
        self.ctes.truncate(outer);
        let next = next?;
        if next.columns.len() != columns.len() {
            let message = "each UNION query must have the same number of columns";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        for (place, (f, n)) in first.typed().into_iter().zip(super::query::literals(&next)).enumerate() {
            let given = f.ty.clone();
            let overall = registry::common_type_of(&[f, n], "UNION")?;
            if overall != given {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    place + 1,
                    given.bare_name(),
                    overall.bare_name()
                );
                return Err(Error::new(SqlState::DATATYPE_MISMATCH, message)
                    .with_hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        let types: Vec<_> = columns.iter().map(|column| column.ty.clone()).collect();
        let next = self.cast_output(next, &types, CastContext::Implicit)?;

        // Both terms under the names of the result.
        let results: Vec<ScopeColumn> =
            columns.into_iter().map(|column| ScopeColumn { internal: self.fresh(&column.name), ..column }).collect();
        let named = |output: Output| {
            let columns = output.columns.iter().zip(&results);
            let exprs = columns.map(|(column, result)| column.expr().alias(&result.internal)).collect();
            project(Arc::new(output.plan), exprs)
        };
        let (static_term, recursive_term) = (Arc::new(named(first)?), Arc::new(named(next)?));
        let fields: Vec<Field> =
            results.iter().map(|column| Field::new(&column.internal, column.ty.arrow(), true)).collect();
        let schema = Arc::new(DFSchema::from_unqualified_fields(fields.into(), Default::default())?);
        let is_distinct = !matches!(set_quantifier, ast::SetQuantifier::All);
        let plan = RecursiveQuery { name: work, static_term, recursive_term, is_distinct, schema };
        Ok(Output { plan: LogicalPlan::RecursiveQuery(plan), columns: results })
    }

    /// The rows of the round before.
    fn work_table(&mut self, work: &str, columns: &[ScopeColumn]) -> Result<Output> {
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| Field::new(format!("{place}"), column.ty.arrow(), true))
            .collect();
        let table = CteWorkTable::new(work, Arc::new(Schema::new(fields)));
        let reference = TableReference::bare(work);
        let scan = TableScanBuilder::new(reference.clone(), provider_as_source(Arc::new(table))).build()?;
        let mut exprs = Vec::with_capacity(columns.len());
        let mut renamed = Vec::with_capacity(columns.len());
        for (place, column) in columns.iter().enumerate() {
            let internal = self.fresh(&column.name);
            let stored = Column::new(Some(reference.clone()), format!("{place}"));
            exprs.push(Expr::Column(stored).alias(&internal));
            renamed.push(ScopeColumn { internal, ..column.clone() });
        }
        Ok(Output { plan: project(Arc::new(LogicalPlan::TableScan(scan)), exprs)?, columns: renamed })
    }
}

fn malformed(name: &str) -> Error {
    let message =
        format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term");
    Error::new(SqlState::INVALID_RECURSION, message)
}
