//! Aggregate calls, and which query they belong to: the innermost of those whose columns they name. `(SELECT max(t.a))`
//! in a query over t makes that a grouped query, and the subquery names its result.
//!
//! A call is bound where it stands; if it turns out to name columns of queries further out only, what that has noted is
//! forgotten and it is bound again as an expression of the innermost of those.

use arrow::datatypes::Field;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Case, Expr, ExprSchemable, Subquery};

use super::call::{Call, directed};
use super::expr::position;
use super::scope::{ScopeTable, column_expr};
use super::{Binder, Clause, Level, unknown_parameters};
use crate::error::{Error, Result, SqlState};
use crate::sql::functions::compare;
use crate::sql::registry::{self, AggregateOptions, Typed};
use crate::types::Type;

/// What a call is made of, bound.
struct Parts {
    args: Vec<Typed>,
    order_by: Vec<Sort>,
    filter: Option<Expr>,
}

impl Parts {
    fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let args = self.args.iter().map(|arg| &arg.expr);
        args.chain(self.order_by.iter().map(|key| &key.expr)).chain(&self.filter)
    }
}

impl Binder<'_> {
    /// `name(direct, ...) WITHIN GROUP (ORDER BY value)`: the direct arguments, then the value, and its order.
    fn within_group(&mut self, call: &Call) -> Result<(Vec<Typed>, Vec<Sort>)> {
        let [item] = call.function.within_group.as_slice() else {
            let message = match call.function.within_group.len() {
                0 => format!("WITHIN GROUP is required for ordered-set aggregate {}", call.name),
                _ => format!("function {} orders by one value", call.name),
            };
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(call.at));
        };
        if call.distinct {
            let message = "cannot use DISTINCT with WITHIN GROUP";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(call.at));
        }
        // These are the group's own, not its rows'.
        let mut args = self.arguments(call)?;
        let value = self.in_clause(Clause::Aggregate, |binder| {
            let typed = binder.expr(&item.expr)?;
            binder.coerce_unknown(typed)
        })?;
        let order = vec![directed(list_order(value.clone()), &item.options)];
        args.push(value);
        Ok((args, order))
    }

    pub(super) fn aggregate_call(&mut self, call: &Call, star: bool) -> Result<Typed> {
        let noted: Vec<usize> = self.levels.iter().map(|level| level.references.len()).collect();
        let parts = self.aggregate_parts(call, star)?;
        if let Some(depth) = self.outer_level_of(&parts)? {
            self.levels.iter_mut().zip(noted).for_each(|(level, noted)| level.references.truncate(noted));
            return self.outer_aggregate(call, star, depth);
        }
        if !self.clause().aggregates() {
            return Err(self.forbid_in("aggregate functions", SqlState::GROUPING_ERROR).or_position(call.at));
        }
        self.own_aggregate(call, parts)
    }

    fn aggregate_parts(&mut self, call: &Call, star: bool) -> Result<Parts> {
        if star && call.name != "count" {
            let message = format!("{}(*) must be used to call a parameterless aggregate function", call.name);
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(call.at));
        }
        if call.args.is_empty() && call.name == "count" {
            let message = "count(*) must be used to call a parameterless aggregate function";
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(call.at));
        }
        // With ORDER BY and DISTINCT together Postgres wants the one among the other.
        let (args, order_by) = match registry::within_group(&call.name) {
            true => self.within_group(call)?,
            false if !call.function.within_group.is_empty() => {
                let message = format!("{} is not an ordered-set aggregate, so it cannot have WITHIN GROUP", call.name);
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(call.at));
            }
            false => self.in_clause(Clause::Aggregate, |binder| {
                let args = if star { Vec::new() } else { binder.arguments(call)? };
                let order = binder.sort_values(call.order_by.iter().copied())?;
                let is_arg = |value: &Typed| args.iter().any(|arg| arg.expr == value.expr);
                if call.distinct && !args.is_empty() && !order.iter().all(|(value, _)| is_arg(value)) {
                    let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                    return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message).or_position(call.at));
                }
                let order = order.into_iter().map(|(value, options)| directed(list_order(value), options));
                Ok((args, order.collect()))
            })?,
        };
        if call.distinct && args.is_empty() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "DISTINCT specified without arguments").or_position(call.at));
        }
        let filter = match &call.function.filter {
            Some(filter) => Some(self.in_clause(Clause::Filter, |binder| {
                let typed = binder.expr(filter)?;
                binder.condition(typed, "FILTER").map_err(|error| error.or_position(position(filter)))
            })?),
            None => None,
        };
        Ok(Parts { args, order_by, filter })
    }

    /// The query around this one that a call belongs to; `None` if it is this one's.
    fn outer_level_of(&self, parts: &Parts) -> Result<Option<usize>> {
        let mut named: Vec<String> = Vec::new();
        for expr in parts.exprs() {
            expr.apply(|node| {
                match node {
                    Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => named.push(column.name.clone()),
                    Expr::ScalarSubquery(inner) => named.extend(outer_names(inner)),
                    Expr::Exists(exists) => named.extend(outer_names(&exists.subquery)),
                    Expr::InSubquery(inside) => named.extend(outer_names(&inside.subquery)),
                    Expr::SetComparison(set) => named.extend(outer_names(&set.subquery)),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        // A name of no level is a subquery's own.
        let level_of = |name: &String| (0..self.levels.len()).rev().find(|depth| self.levels[*depth].has(name));
        let innermost = named.iter().filter_map(level_of).max();
        let innermost = match self.clause() {
            Clause::RowOfIn => innermost.or(self.levels.len().checked_sub(2)),
            _ => innermost,
        };
        Ok(innermost.filter(|depth| depth + 1 < self.levels.len()))
    }

    /// The call as one of a query around this one, and what stands for it here.
    fn outer_aggregate(&mut self, call: &Call, star: bool, depth: usize) -> Result<Typed> {
        let inner = self.levels.split_off(depth + 1);
        let bound = self.aggregate_call(call, star);
        self.levels.extend(inner);
        let bound = bound?;
        let level = &self.levels[depth];
        let schema = level.schema()?;
        let expr = bound.expr.transform_down(|node| match &node {
            Expr::Column(column) => {
                let Some((aggregate, ..)) = level.aggregates.iter().find(|(_, name, _)| *name == column.name) else {
                    return Ok(Transformed::no(node));
                };
                let field = Field::new(&column.name, aggregate.get_type(&schema)?, true);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field.into(), column.clone())))
            }
            _ => Ok(Transformed::no(node)),
        })?;
        Ok(Typed::new(expr.data, bound.ty))
    }

    fn own_aggregate(&mut self, call: &Call, parts: Parts) -> Result<Typed> {
        let Parts { args, order_by, filter } = parts;
        let (args, order_by) = match &filter {
            Some(filter) if !registry::within_group(&call.name) => {
                let guard = |arg: Typed| Typed { expr: guarded(arg.expr, filter), ..arg };
                let sort = |key: Sort| Sort { expr: guarded(key.expr, filter), ..key };
                (args.into_iter().map(guard).collect(), order_by.into_iter().map(sort).collect())
            }
            _ => (args, order_by),
        };
        let unknown = unknown_parameters(&args);
        // Which of equal values are counted shows in no count.
        let args = match call.distinct && call.name == "count" {
            true => args.into_iter().map(|arg| self.key(arg)).collect(),
            false => args,
        };
        let options = AggregateOptions { distinct: call.distinct, filter, order_by };
        let typed = registry::aggregate(&call.name, args, options).map_err(|error| error.or_position(call.at))?;
        self.learn_from(&unknown, &typed.expr);
        // The call may stand under a cast: only the aggregate itself is computed by the Aggregate node.
        let ty = typed.ty.clone();
        let expr = self.set_aside(typed.expr, &call.name, &ty)?;
        Ok(Typed::new(expr, ty))
    }

    /// Puts the aggregate inside an expression aside; a column stands in its place.
    fn set_aside(&mut self, expr: Expr, name: &str, ty: &Type) -> Result<Expr> {
        let mut found = Vec::new();
        let replaced = expr.transform_down(|node| {
            if !matches!(node, Expr::AggregateFunction(_)) {
                return Ok(Transformed::no(node));
            }
            let level = self.level()?;
            if let Some((_, known, _)) = level.aggregates.iter().find(|(known, _, _)| *known == node) {
                let column = column_expr(known);
                return Ok(Transformed::new(column, true, TreeNodeRecursion::Jump));
            }
            let column = self.fresh(name);
            found.push((node, column.clone(), ty.clone()));
            Ok(Transformed::new(column_expr(&column), true, TreeNodeRecursion::Jump))
        })?;
        self.level()?.aggregates.extend(found);
        Ok(replaced.data)
    }
}

impl Level {
    /// Whether a plan column is one of this query's: of FROM, or of a call put aside.
    fn has(&self, name: &str) -> bool {
        self.scope.tables.iter().flat_map(ScopeTable::all_columns).any(|column| column.internal == name)
            || self.scope.visible.iter().any(|column| column.internal == name)
            || self.aggregates.iter().any(|(_, column, _)| column == name)
            || self.series.iter().any(|(_, column)| column == name)
    }

    /// The columns of FROM.
    fn schema(&self) -> Result<DFSchema> {
        let mut fields: Vec<Field> = Vec::new();
        for column in
            self.scope.tables.iter().flat_map(ScopeTable::all_columns).chain(self.scope.visible.iter().cloned())
        {
            if !fields.iter().any(|field| *field.name() == column.internal) {
                fields.push(Field::new(&column.internal, column.ty.arrow(), true));
            }
        }
        Ok(DFSchema::from_unqualified_fields(fields.into(), Default::default())?)
    }
}

fn outer_names(subquery: &Subquery) -> impl Iterator<Item = String> {
    subquery.outer_ref_columns.iter().filter_map(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) => Some(column.name.clone()),
        _ => None,
    })
}

/// An argument that is computed for the rows that pass the aggregate's FILTER only: for others it may fail.
fn guarded(arg: Expr, filter: &Expr) -> Expr {
    if matches!(arg, Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::Literal(..) | Expr::Placeholder(_)) {
        return arg;
    }
    let when = vec![(Box::new(filter.clone()), Box::new(arg))];
    Expr::Case(Case { expr: None, when_then_expr: when, else_expr: None })
}

/// What the values of a list are ordered by: lists find the order of values themselves, but not that of jsonb.
fn list_order(value: Typed) -> Expr {
    if compare::holds_jsonb(&value.ty) { compare::order(value).expr } else { value.expr }
}
