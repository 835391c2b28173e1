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
use super::query::{Cte, count, mentions};
use super::scope::ScopeColumn;
use super::{Binder, Output, project};
use crate::error::{Error, Result, SqlState};
use crate::sql::functions::compare::has_equal_forms;
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
            return Err(misplaced(name, "within its non-recursive term"));
        }
        let references = in_from(right, name)?;
        if count(right.as_ref(), name) > references {
            return Err(misplaced(name, "within a subquery"));
        }
        if references > 1 {
            return Err(misplaced(name, "more than once"));
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
        self.ctes.push(Cte { name: name.to_string(), plan: itself.plan, columns: itself.columns, unfinished: true });
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
        let plan = LogicalPlan::RecursiveQuery(plan);
        // A round tells equal values apart that print differently.
        let plan = match is_distinct && results.iter().any(|column| has_equal_forms(&column.ty)) {
            true => self.distinct_rows(plan, &results)?,
            false => plan,
        };
        Ok(Output { plan, columns: results })
    }

    /// 42P19 for aggregates over a recursive query itself: there is no round in which they have all its rows.
    pub(super) fn no_aggregates_over_itself(&self, select: &ast::Select) -> Result<()> {
        let unfinished = self.ctes.iter().rev().filter(|cte| cte.unfinished);
        for cte in unfinished {
            let shadowed = self.ctes.iter().rev().find(|other| other.name == cte.name);
            let own = shadowed.is_some_and(|newest| newest.unfinished);
            if own && select.from.iter().any(|tables| named_beside(tables, &cte.name)) {
                let message = "aggregate functions are not allowed in a recursive query's recursive term";
                return Err(Error::new(SqlState::INVALID_RECURSION, message));
            }
        }
        Ok(())
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

/// References to the query in FROM, also of queries in FROM. 42P19 where rounds would not add up to the whole: a row that a later round
/// adds must not take one away.
fn in_from(term: &ast::SetExpr, name: &str) -> Result<usize> {
    match term {
        ast::SetExpr::Select(select) => select.from.iter().map(|tables| in_tables(tables, name)).sum(),
        ast::SetExpr::Query(query) => in_from(&query.body, name),
        ast::SetExpr::SetOperation { op, set_quantifier, left, right } => {
            let all = matches!(set_quantifier, ast::SetQuantifier::All);
            match op {
                ast::SetOperator::Except
                    if mentions(right.as_ref(), name) || (all && mentions(left.as_ref(), name)) =>
                {
                    Err(misplaced(name, "within EXCEPT"))
                }
                ast::SetOperator::Intersect if all && mentions(term, name) => Err(misplaced(name, "within INTERSECT")),
                _ => Ok(in_from(left, name)? + in_from(right, name)?),
            }
        }
        _ => Ok(0),
    }
}

fn in_tables(tables: &ast::TableWithJoins, name: &str) -> Result<usize> {
    let mut found = in_table(&tables.relation, name)?;
    for join in &tables.joins {
        let (left, right) = (found > 0, mentions(&join.relation, name));
        let outer = match &join.join_operator {
            ast::JoinOperator::Left(_) | ast::JoinOperator::LeftOuter(_) => right,
            ast::JoinOperator::Right(_) | ast::JoinOperator::RightOuter(_) => left,
            ast::JoinOperator::FullOuter(_) => left || right,
            _ => false,
        };
        if outer {
            return Err(misplaced(name, "within an outer join"));
        }
        found += in_table(&join.relation, name)?;
    }
    Ok(found)
}

fn in_table(table: &ast::TableFactor, name: &str) -> Result<usize> {
    match table {
        ast::TableFactor::Derived { subquery, .. } => in_from(&subquery.body, name),
        ast::TableFactor::NestedJoin { table_with_joins, .. } => in_tables(table_with_joins, name),
        other => Ok(count(other, name)),
    }
}

/// Whether FROM names it, not counting the queries in FROM.
fn named_beside(tables: &ast::TableWithJoins, name: &str) -> bool {
    let named = |table: &ast::TableFactor| match table {
        ast::TableFactor::Derived { .. } => false,
        ast::TableFactor::NestedJoin { table_with_joins, .. } => named_beside(table_with_joins, name),
        other => mentions(other, name),
    };
    named(&tables.relation) || tables.joins.iter().any(|join| named(&join.relation))
}

fn misplaced(name: &str, place: &str) -> Error {
    let message = format!("recursive reference to query \"{name}\" must not appear {place}");
    Error::new(SqlState::INVALID_RECURSION, message)
}

fn malformed(name: &str) -> Error {
    let message =
        format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term");
    Error::new(SqlState::INVALID_RECURSION, message)
}
