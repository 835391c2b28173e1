//! The binder: from a statement's tree to a typed plan, with names, types and errors as Postgres has them.
//!
//! ```text
//!   query.rs    WITH, UNION, VALUES, ORDER BY, LIMIT         expr.rs      operators, CASE, casts, arrays; compare.rs
//!   select.rs   SELECT: the order in which clauses apply     call.rs      functions, OVER; aggregate.rs
//!   ordered.rs  orders of queries inside others
//!   group.rs    GROUP BY, HAVING, GROUPING SETS              subquery.rs  scalar, EXISTS, IN, ANY, ALL
//!   from.rs     tables, joins, USING, LATERAL                names.rs     what a name stands for; missing.rs
//!   table_function.rs  TUMBLE, HOP, unnest, series           dml/, ddl.rs, view.rs, options.rs
//! ```
//!
//! An expression is bound over the columns of its FROM clause; aggregates, window functions and set-returning
//! functions inside it are put aside ([`Level`]) and stand in it as columns of the plan nodes that compute them.
//!
//! Recursion is bounded by the parser's limits and runs on a growing stack.

mod aggregate;
mod call;
mod compare;
mod ddl;
mod dml;
mod expr;
mod frame;
mod from;
mod group;
mod keys;
mod missing;
mod names;
mod options;
mod ordered;
mod query;
mod recursive;
mod scope;
mod select;
mod subquery;
mod table_function;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use sqlparser::ast;

use super::registry::{self, CastContext, Typed};
use super::{BindContext, BoundQuery, Origin, catalog_functions};
use crate::catalog::RelationId;
use crate::error::{Error, Result, SqlState};
use crate::types::{Column, Type};
use scope::Scope;

pub use ddl::{bind_create_index, bind_create_stream, bind_create_table, bind_drop};

pub use dml::{EXCLUDED, bind_complete_row, bind_delete, bind_insert, bind_update};
pub use view::{BoundView, bind_create_view, bind_view, renames_columns};

/// Nodes of a plan that optimizer and lowering are let loose on.
const MAX_PLAN_NODES: usize = 20_000;

/// SELECT, VALUES, ...
pub fn bind_query(context: &BindContext, query: &ast::Query) -> Result<BoundQuery> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    let relation = binder.query(query)?;
    let relation = binder.resolve_unknown(relation)?;
    let relation = binder.name_objects(relation)?;
    if relation.columns.len() > MOST_COLUMNS {
        let message = format!("target lists can have at most {MOST_COLUMNS} entries");
        return Err(Error::new(SqlState::TOO_MANY_COLUMNS, message));
    }
    binder.finish(relation)
}

/// Of a query's result; as in Postgres.
const MOST_COLUMNS: usize = 1664;

/// An expression over no columns: an argument of EXECUTE, a setting.
pub fn bind_constant(context: &BindContext, expr: &ast::Expr, ty: &Type) -> Result<Expr> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    binder.push_level(Scope::default(), Clause::Other("EXECUTE parameters"));
    let typed = binder.expr(expr)?;
    binder.levels.pop();
    Ok(binder.coerce(typed, ty, CastContext::Assignment)?.expr)
}

/// A plan with the names of its columns as the user sees them.
#[derive(Clone, Debug)]
struct Output {
    plan: LogicalPlan,
    columns: Vec<scope::ScopeColumn>,
}

impl Output {
    fn typed(&self) -> Vec<Typed> {
        self.columns.iter().map(|column| Typed::new(column.expr(), column.ty.clone())).collect()
    }
}

struct Binder<'a> {
    context: &'a BindContext,
    /// Types of parameters so far; index 0 is $1.
    parameters: Vec<Option<Type>>,
    /// Relations that are scanned, and those that are named (views too).
    scanned: Vec<RelationId>,
    named: Vec<RelationId>,
    /// The queries being bound, outermost first.
    levels: Vec<Level>,
    /// WITH's names, innermost last.
    ctes: Vec<query::Cte>,
    search_path: Vec<String>,
    /// While a stored view is bound: what it depends on, the only relations that its names can mean.
    among: Option<Vec<RelationId>>,
    /// Tables to the left that what is being bound can't see: errors know them.
    hidden: Vec<Scope>,
    /// Plan columns, by name, that are a relation's column unchanged.
    origins: HashMap<String, Origin>,
    /// Views being expanded, against definitions that lead back to themselves.
    expanding: usize,
    counter: usize,
}

/// Which part of a query an expression stands in: what may occur there, and how errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clause {
    Select,
    OrderBy,
    Having,
    DistinctOn,
    GroupBy,
    Where,
    Join,
    From,
    Values,
    Filter,
    /// Inside an aggregate's arguments.
    Aggregate,
    /// Inside a window function's arguments and OVER.
    Window,
    Limit,
    /// The left side of `(a, b) IN (SELECT ...)`, which is bound as a query inside the one it belongs to.
    RowOfIn,
    Other(&'static str),
}

impl Clause {
    fn name(self) -> &'static str {
        match self {
            Clause::Select => "SELECT",
            Clause::OrderBy => "ORDER BY",
            Clause::Having => "HAVING",
            Clause::DistinctOn => "DISTINCT ON",
            Clause::GroupBy => "GROUP BY",
            Clause::Where => "WHERE",
            Clause::Join => "JOIN conditions",
            Clause::From => "functions in FROM",
            Clause::Values => "VALUES",
            Clause::Filter => "FILTER",
            Clause::Aggregate => "aggregate function calls",
            Clause::Window => "window function calls",
            Clause::Limit => "LIMIT",
            Clause::RowOfIn => "IN",
            Clause::Other(name) => name,
        }
    }

    fn aggregates(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy | Clause::Having | Clause::DistinctOn | Clause::Window)
    }

    fn windows(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy | Clause::DistinctOn)
    }

    fn set_returning(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy | Clause::DistinctOn | Clause::GroupBy)
    }
}

/// One query's state while its expressions are bound.
#[derive(Default)]
struct Level {
    scope: Scope,
    clause: Option<Clause>,
    /// Aggregate calls with the columns that will hold them.
    aggregates: Vec<(Expr, String, Type)>,
    windows: Vec<(Expr, String)>,
    /// Set-returning calls, as expressions of the arrays to unnest.
    series: Vec<(Expr, String)>,
    /// Arguments of GROUPING(...), with the column that stands for the call.
    groupings: Vec<(Vec<Expr>, String)>,
    /// Columns of the scope named outside of aggregates: internal name, as written, where.
    references: Vec<(String, String, Option<u32>)>,
    /// WINDOW name AS (...).
    named_windows: Vec<(String, ast::WindowSpec)>,
    /// Whether a column of a query around this one was named.
    using_outer: bool,
}

impl<'a> Binder<'a> {
    fn new(context: &'a BindContext) -> Binder<'a> {
        Binder {
            context,
            parameters: context.parameter_types.clone(),
            scanned: Vec::new(),
            named: Vec::new(),
            levels: Vec::new(),
            ctes: Vec::new(),
            search_path: context.search_path.clone(),
            among: None,
            hidden: Vec::new(),
            origins: HashMap::new(),
            expanding: 0,
            counter: 0,
        }
    }

    /// A plan column that stands for another one is from where that one is.
    fn same_origin(&mut self, internal: &str, as_expr: &Expr) {
        if let Expr::Column(column) = as_expr
            && let Some(origin) = self.origins.get(&column.name)
        {
            self.origins.insert(internal.to_string(), *origin);
        }
    }

    /// A plan column's name that no other has.
    fn fresh(&mut self, name: &str) -> String {
        self.counter += 1;
        format!("{name}#{}", self.counter)
    }

    fn push_level(&mut self, scope: Scope, clause: Clause) {
        self.levels.push(Level { scope, clause: Some(clause), ..Level::default() });
    }

    /// Runs `bind` with a level of its own on top.
    fn with_level<T>(&mut self, scope: Scope, clause: Clause, bind: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.push_level(scope, clause);
        let result = bind(self);
        self.levels.pop();
        result
    }

    fn level(&mut self) -> Result<&mut Level> {
        self.levels.last_mut().ok_or_else(|| Error::internal("an expression is bound outside of any query"))
    }

    fn clause(&self) -> Clause {
        self.levels.last().and_then(|level| level.clause).unwrap_or(Clause::Other("this place"))
    }

    /// Binds with another clause of the same query.
    fn in_clause<T>(&mut self, clause: Clause, bind: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.level()?.clause.replace(clause);
        let result = bind(self);
        self.level()?.clause = before;
        result
    }

    fn coerce(&mut self, typed: Typed, to: &Type, context: CastContext) -> Result<Typed> {
        let parameter = unknown_parameter(&typed);
        let coerced = registry::coerce(typed, to, context)?;
        if let Some(parameter) = parameter {
            self.learn(&parameter, to);
        }
        Ok(coerced)
    }

    /// A condition of WHERE, ON, HAVING, ...: boolean, or 42804.
    fn condition(&mut self, typed: Typed, clause: &str) -> Result<Expr> {
        if !matches!(typed.ty, Type::Bool | Type::Unknown) {
            let message = format!("argument of {clause} must be type boolean, not type {}", typed.ty.bare_name());
            return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
        }
        subquery::null_as_false(self.coerce(typed, &Type::Bool, CastContext::Implicit)?.expr)
    }

    fn learn(&mut self, parameter: &str, ty: &Type) {
        let Some(index) = parameter.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()) else { return };
        if let Some(slot) = self.parameters.get_mut(index.wrapping_sub(1))
            && slot.is_none()
        {
            *slot = Some(ty.clone());
        }
    }

    /// Notes the types that a call of the registry gave to parameters among its arguments.
    fn learn_from(&mut self, unknown: &[String], expr: &Expr) {
        if unknown.is_empty() {
            return;
        }
        let mut learned = Vec::new();
        let _ = expr.apply(|node| {
            if let Expr::Placeholder(parameter) = node
                && let Some(ty) = registry::parameter_type(parameter)
            {
                learned.push((parameter.id.clone(), ty));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        for (parameter, ty) in learned {
            self.learn(&parameter, &ty);
        }
    }

    /// Columns of unknown type become text, as in the output of a query.
    fn resolve_unknown(&mut self, output: Output) -> Result<Output> {
        if output.columns.iter().all(|column| column.ty != Type::Unknown) {
            return Ok(output);
        }
        let targets: Vec<Type> = output
            .columns
            .iter()
            .map(|column| if column.ty == Type::Unknown { Type::Text } else { column.ty.clone() })
            .collect();
        self.cast_output(output, &targets, CastContext::Implicit)
    }

    /// Columns of regclass and its kin as the names that clients show. A view keeps the numbers.
    fn name_objects(&mut self, output: Output) -> Result<Output> {
        let named = |ty: &Type| matches!(ty, Type::Regclass | Type::Regproc | Type::Regnamespace);
        if self.context.for_view || !output.columns.iter().any(|column| named(&column.ty)) {
            return Ok(output);
        }
        let mut exprs = Vec::with_capacity(output.columns.len());
        let mut columns = Vec::with_capacity(output.columns.len());
        for (typed, column) in output.typed().into_iter().zip(output.columns) {
            let name =
                if named(&typed.ty) { catalog_functions::cast(&typed, &Type::Text, self.context)? } else { None };
            match name {
                Some(name) => {
                    exprs.push(name.expr.alias(&column.internal));
                    columns.push(scope::ScopeColumn { ty: Type::Text, ..column });
                }
                None => {
                    exprs.push(typed.expr);
                    columns.push(column);
                }
            }
        }
        Ok(Output { plan: project(Arc::new(output.plan), exprs)?, columns })
    }

    /// The same rows with columns of these types. Literals are cast where they stand, not as columns.
    fn cast_output(&mut self, output: Output, targets: &[Type], context: CastContext) -> Result<Output> {
        if output.columns.iter().zip(targets).all(|(column, target)| column.ty == *target) {
            return Ok(output);
        }
        // Unknown literals are only known as literals in the projection that makes them.
        if let LogicalPlan::Projection(projection) = &output.plan
            && projection.expr.len() == output.columns.len()
        {
            let (input, expr) = (projection.input.clone(), projection.expr.clone());
            let mut exprs = Vec::with_capacity(expr.len());
            let mut columns = Vec::with_capacity(expr.len());
            for ((expr, column), target) in expr.into_iter().zip(&output.columns).zip(targets) {
                let typed = self.coerce(Typed::new(expr.unalias(), column.ty.clone()), target, context)?;
                if column.ty != *target {
                    self.origins.remove(&column.internal);
                }
                exprs.push(typed.expr.alias(&column.internal));
                columns.push(scope::ScopeColumn { ty: target.clone(), ..column.clone() });
            }
            return Ok(Output { plan: project(input, exprs)?, columns });
        }
        let mut exprs = Vec::with_capacity(targets.len());
        let mut columns = Vec::with_capacity(targets.len());
        for (column, target) in output.columns.iter().zip(targets) {
            let typed = self.coerce(Typed::new(column.expr(), column.ty.clone()), target, context)?;
            let internal = self.fresh(&column.name);
            exprs.push(typed.expr.alias(&internal));
            columns.push(scope::ScopeColumn { name: column.name.clone(), ty: target.clone(), internal });
        }
        Ok(Output { plan: project(Arc::new(output.plan), exprs)?, columns })
    }

    fn finish(self, output: Output) -> Result<BoundQuery> {
        check_size(&output.plan)?;
        let mut parameters = Vec::with_capacity(self.parameters.len());
        for (index, ty) in self.parameters.iter().enumerate() {
            match ty {
                Some(ty) => parameters.push(ty.clone()),
                None => {
                    let message = format!("could not determine data type of parameter ${}", index + 1);
                    return Err(Error::new(SqlState::INDETERMINATE_DATATYPE, message));
                }
            }
        }
        // A parameter met before its type was known stands untyped where a later place told it.
        let plan = type_parameters(output.plan, &parameters)?;
        let columns = output.columns.iter().map(|column| Column::new(&column.name, column.ty.clone())).collect();
        let origins = output.columns.iter().map(|column| self.origins.get(&column.internal).copied()).collect();
        Ok(BoundQuery { plan, columns, origins, parameters, relations: self.scanned })
    }
}

fn type_parameters(plan: LogicalPlan, types: &[Type]) -> Result<LogicalPlan> {
    if types.is_empty() {
        return Ok(plan);
    }
    let by_id: BTreeMap<String, &Type> = types.iter().enumerate().map(|(n, ty)| (format!("${}", n + 1), ty)).collect();
    let typed = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| {
                Ok(match expr {
                    Expr::Placeholder(parameter) if parameter.field.is_none() => match by_id.get(&parameter.id) {
                        Some(ty) => datafusion::common::tree_node::Transformed::yes(Expr::Placeholder(
                            registry::typed_parameter(&parameter, ty),
                        )),
                        None => datafusion::common::tree_node::Transformed::no(Expr::Placeholder(parameter)),
                    },
                    other => datafusion::common::tree_node::Transformed::no(other),
                })
            })
        })
    })?;
    if !typed.transformed {
        return Ok(typed.data);
    }
    Ok(typed.data.recompute_schema()?)
}

/// The parameter an argument is, if nobody has said its type.
fn unknown_parameter(typed: &Typed) -> Option<String> {
    match (&typed.expr, &typed.ty) {
        (Expr::Placeholder(parameter), Type::Unknown) => Some(parameter.id.clone()),
        _ => None,
    }
}

fn unknown_parameters(args: &[Typed]) -> Vec<String> {
    args.iter().filter_map(unknown_parameter).collect()
}

fn check_size(plan: &LogicalPlan) -> Result<()> {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > MAX_PLAN_NODES { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    match nodes > MAX_PLAN_NODES {
        true => Err(Error::new(
            SqlState::STATEMENT_TOO_COMPLEX,
            "the query is too large once its views and CTEs are expanded",
        )
        .with_hint("Make the parts that are used several times materialized views.")),
        false => Ok(()),
    }
}

fn project(input: Arc<LogicalPlan>, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}

/// Runs a recursive piece on a stack that grows with need.
fn deep<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, run)
}
