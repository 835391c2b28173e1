//! UPDATE and DELETE: the rows of the target that they pick, each at most once.

use std::sync::Arc;

use datafusion::logical_expr::expr::Sort as SortKey;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, Filter, LogicalPlan};
use sqlparser::ast;

use super::returning::beside;
use crate::catalog::{ROW_ID_COLUMN, Relation};
use crate::error::{Error, Result, SqlState};
use crate::sql::bind::expr::position;
use crate::sql::bind::from::{From, cross, pass_through};
use crate::sql::bind::scope::{Scope, ScopeColumn, ScopeTable};
use crate::sql::bind::{Binder, Clause, Output, project};
use crate::sql::registry;
use crate::sql::statement::{Delete, Update, fold};
use crate::sql::{BindContext, BoundChange};

/// UPDATE: the source yields old stored columns, then new ones, each row of the table at most once.
pub fn bind_update(context: &BindContext, statement: &Update) -> Result<BoundChange> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    if let Some(with) = &statement.with {
        binder.with(with)?;
    }
    let update = &statement.update;
    let empty = Vec::new();
    let from = match &update.from {
        Some(ast::UpdateTableFromKind::AfterSet(tables) | ast::UpdateTableFromKind::BeforeSet(tables)) => tables,
        None => &empty,
    };
    if update.limit.is_some() || !update.order_by.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "UPDATE takes no ORDER BY or LIMIT"));
    }
    let target = binder.change_target(&update.table, "update")?;
    let (rows, scope) = binder.affected(&target, from, update.selection.as_ref())?;
    let (alias, items) = (target.alias.as_ref(), update.returning.as_deref());
    let returning = binder.returning(items, &target.relation, alias, &others_of(&scope, &target))?;
    binder.push_level(scope, Clause::Other("UPDATE"));
    let assigned = binder.assignments(&update.assignments, &target.relation);
    binder.levels.pop();
    let assigned = assigned?;

    // Old columns, then the new ones: first those assigned, then those generated from them.
    let mut exprs: Vec<Expr> = target.columns.iter().map(|column| column.expr()).collect();
    let mut new = Vec::with_capacity(target.columns.len());
    for (index, column) in target.columns.iter().enumerate() {
        let internal = binder.fresh(&column.name.replace(ROW_ID_COLUMN, "row_id"));
        let value = assigned.iter().find(|(place, _)| *place == index).map(|(_, value)| value.clone());
        exprs.push(value.unwrap_or_else(|| column.expr()).alias(&internal));
        new.push(ScopeColumn { internal, ..column.clone() });
    }
    exprs.extend(beside(&returning).map(|column| column.expr()));
    let plan = project(Arc::new(rows), exprs)?;
    let generated = binder.generated_over(&target.relation, &new)?;
    let mut columns = target.columns.clone();
    columns.extend(new);
    columns.extend(beside(&returning));
    let output = binder.with_generated(plan, columns, target.columns.len(), generated)?;
    let output = once_each(output, &target, !from.is_empty())?;
    let source = binder.finish(output)?;
    Ok(BoundChange { relation: target.relation, source, returning })
}

/// DELETE: the source yields old stored columns, each row of the table at most once.
pub fn bind_delete(context: &BindContext, statement: &Delete) -> Result<BoundChange> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    if let Some(with) = &statement.with {
        binder.with(with)?;
    }
    let delete = &statement.delete;
    let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) = &delete.from;
    let [table] = tables.as_slice() else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE takes one table").with_hint("Name the others in USING."));
    };
    if delete.limit.is_some() || !delete.order_by.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE takes no ORDER BY or LIMIT"));
    }
    let target = binder.change_target(table, "delete from")?;
    let empty = Vec::new();
    let using = delete.using.as_ref().unwrap_or(&empty);
    let (rows, scope) = binder.affected(&target, using, delete.selection.as_ref())?;
    let (alias, items) = (target.alias.as_ref(), delete.returning.as_deref());
    let returning = binder.returning(items, &target.relation, alias, &others_of(&scope, &target))?;
    let columns: Vec<ScopeColumn> = target.columns.iter().cloned().chain(beside(&returning)).collect();
    let exprs = columns.iter().map(|column| column.expr()).collect();
    let output = Output { plan: project(Arc::new(rows), exprs)?, columns };
    let output = once_each(output, &target, !using.is_empty())?;
    let source = binder.finish(output)?;
    Ok(BoundChange { relation: target.relation, source, returning })
}

/// The table of an UPDATE or DELETE.
struct Target {
    relation: Arc<Relation>,
    alias: Option<ast::Ident>,
    plan: LogicalPlan,
    /// The stored columns.
    columns: Vec<ScopeColumn>,
}

impl Binder<'_> {
    fn change_target(&mut self, table: &ast::TableWithJoins, verb: &str) -> Result<Target> {
        let ast::TableFactor::Table { name, alias, args: None, .. } = &table.relation else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("can only {verb} a table")));
        };
        if !table.joins.is_empty() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a join in place of the table")
                .with_hint("Name the other relations in FROM (UPDATE) or USING (DELETE)."));
        }
        let relation = self.relation(name)?;
        self.writable(&relation, verb, name)?;
        let (plan, columns) = self.scan(&relation, true)?;
        Ok(Target { relation, alias: alias.as_ref().map(|alias| alias.name.clone()), plan, columns })
    }

    /// Rows of the target, beside those of other relations, that the condition picks.
    fn affected(
        &mut self,
        target: &Target,
        others: &[ast::TableWithJoins],
        condition: Option<&ast::Expr>,
    ) -> Result<(LogicalPlan, Scope)> {
        let visible = target.columns[..target.relation.columns.len()].to_vec();
        let schema = target.alias.is_none().then(|| target.relation.schema.clone());
        let name = target.alias.as_ref().map_or_else(|| target.relation.name.clone(), fold);
        let table = ScopeTable { name: Some(name), schema, columns: visible, ..ScopeTable::default() };
        let mut rows = From { plan: target.plan.clone(), scope: Scope::of_table(table), lateral: false };
        if !others.is_empty() {
            let others = self.from(others)?;
            rows = cross(rows, others)?;
        }
        let mut plan = rows.plan;
        if let Some(condition) = condition {
            let predicate = self.with_level(rows.scope.clone(), Clause::Where, |binder| {
                let typed = binder.expr(condition)?;
                binder.condition(typed, "WHERE").map_err(|error| error.or_position(position(condition)))
            })?;
            plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
        }
        Ok((plan, rows.scope))
    }
}

/// What FROM or USING adds to the target's own names.
fn others_of(scope: &Scope, target: &Target) -> Scope {
    let own = |column: &ScopeColumn| target.columns.iter().any(|other| other.internal == column.internal);
    Scope {
        tables: scope.tables.iter().skip(1).cloned().collect(),
        visible: scope.visible.iter().filter(|column| !own(column)).cloned().collect(),
    }
}

/// With other relations beside the target a row may be met several times: the first meeting counts, in the order of all
/// columns.
fn once_each(output: Output, target: &Target, joined: bool) -> Result<Output> {
    if !joined {
        return Ok(output);
    }
    let key: Vec<Expr> = target.relation.key_columns().iter().map(|key| output.columns[*key].expr()).collect();
    let all = pass_through(&output.plan);
    let mut sort: Vec<SortKey> = key.iter().map(|key| SortKey::new(key.clone(), true, false)).collect();
    sort.extend(
        all.iter().filter(|column| !key.contains(column)).map(|column| SortKey::new(column.clone(), true, true)),
    );
    let node = DistinctOn::try_new(key, all, Some(sort), Arc::new(output.plan))?;
    Ok(Output { plan: LogicalPlan::Distinct(Distinct::On(node)), columns: output.columns })
}
