//! Between binding and running: what DataFusion's rules can't do themselves is rewritten, then the rules that hold run.
//!
//! Reads: [`expand`] replaces our nodes by DataFusion's own; `query/` then optimizes with its full list. Views:
//! [`for_view`] keeps our nodes and runs only rules that hold for every state of the inputs (see `RULES`), with no
//! start time, so that nothing of the moment of CREATE gets into the plan.
//!
//! DataFusion decorrelates subqueries in filters and select lists only, and predicates in filters without SQL's third
//! truth value where they stand under OR or NOT; so for views [`normalize`] puts subqueries there and rewrites predicates
//! to EXISTS and counts first. Correlations that its rules don't take are made joins before they run (`decorrelate/`).

use std::sync::{Arc, LazyLock};

use datafusion::common::alias::AliasGenerator;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, ExprSchema, JoinConstraint, JoinType, NullEquality, ScalarValue, Spans, UnnestOptions,
};
use datafusion::logical_expr::expr::{Exists, InSubquery, Sort as SortKey, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Case, Distinct, DistinctOn, Expr, Filter, Join, LogicalPlan, Operator, Projection, Sort,
    Subquery, Unnest, Window, WindowFrame, WindowFunctionDefinition, WindowUDF,
};
use datafusion::optimizer::{Optimizer, OptimizerConfig};

use super::decorrelate::decorrelate;
use super::dependencies::without_dependencies;
use super::filters::PushFilters;
use super::in_lists::SimplifyWithNulls;
use super::lateral::KeepColumns;
use super::nodes::{HopNode, SetOpNode};
use super::registry::{self, AggregateOptions};
use super::same::null_equals_null;
use super::subquery::{comparisons_as_exists, has_subquery, outer_columns, subquery_in};
use super::{arrays, refusals};
use crate::error::{Error, Result, SqlState};
use crate::operators::spec::SetOpKind;
use crate::types::Type;

/// Rules that hold for incremental plans, in DataFusion's order. Left out: those that turn DISTINCT into aggregates, push
/// limits into inputs, or hide filters from us.
static RULES: LazyLock<Optimizer> = LazyLock::new(|| {
    use datafusion::optimizer::*;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(optimize_unions::OptimizeUnions::new()),
        Arc::new(SimplifyWithNulls::default()),
        Arc::new(eliminate_join::EliminateJoin::new()),
        Arc::new(decorrelate_predicate_subquery::DecorrelatePredicateSubquery::new()),
        Arc::new(scalar_subquery_to_join::ScalarSubqueryToJoin::new()),
        Arc::new(KeepColumns::default()),
        Arc::new(extract_equijoin_predicate::ExtractEquijoinPredicate::new()),
        Arc::new(eliminate_duplicated_expr::EliminateDuplicatedExpr::new()),
        Arc::new(eliminate_filter::EliminateFilter::new()),
        Arc::new(eliminate_cross_join::EliminateCrossJoin::new()),
        Arc::new(eliminate_limit::EliminateLimit::new()),
        Arc::new(propagate_empty_relation::PropagateEmptyRelation::new()),
        Arc::new(filter_null_join_keys::FilterNullJoinKeys::default()),
        Arc::new(eliminate_outer_join::EliminateOuterJoin::new()),
        Arc::new(PushFilters::default()),
        Arc::new(eliminate_group_by_constant::EliminateGroupByConstant::new()),
        Arc::new(common_subexpr_eliminate::CommonSubexprEliminate::new()),
        Arc::new(optimize_projections::OptimizeProjections::new()),
    ];
    Optimizer::with_rules(without_dependencies(rules))
});

/// What the rules ask of their surroundings. No start time: `now()` is no constant of a view.
struct ViewConfig {
    options: Arc<ConfigOptions>,
    aliases: Arc<AliasGenerator>,
}

impl OptimizerConfig for ViewConfig {
    fn query_execution_start_time(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        None
    }

    fn alias_generator(&self) -> &Arc<AliasGenerator> {
        &self.aliases
    }

    fn options(&self) -> Arc<ConfigOptions> {
        self.options.clone()
    }
}

/// The plan of a view's query, ready for lowering. 0A000 for what can't be decorrelated.
pub fn for_view(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = normalize(comparisons_as_exists(without_orders(plan)?)?)?;
    // DataFusion would push filters below DISTINCT ON, where other rows come first.
    let plan = plan.transform_up_with_subqueries(|node| {
        Ok(match node {
            LogicalPlan::Distinct(Distinct::On(on)) => Transformed::yes(first_of_each(&on)?),
            other => Transformed::no(other),
        })
    })?;
    let plan = decorrelate(plan.data)?;
    let mut options = ConfigOptions::default();
    options.optimizer.filter_null_join_keys = true;
    let config = ViewConfig { options: Arc::new(options), aliases: Arc::new(AliasGenerator::new()) };
    let optimized = stacker::maybe_grow(1 << 20, 8 << 20, || RULES.optimize(plan, &config, |_, _| {}));
    let optimized = optimized.map_err(|error| {
        let own = Error::from(error);
        match own.state() {
            // The rules' own complaints are about subqueries they can't take apart.
            SqlState::INTERNAL_ERROR | SqlState::FEATURE_NOT_SUPPORTED if own.message().contains("subquery") => {
                refusals::CORRELATED.error()
            }
            _ => own,
        }
    })?;
    super::guard::safe_first(null_equals_null(optimized)?)
}

/// A view's plan without sorts but those that a LIMIT stands on: a multiset has no order.
fn without_orders(plan: LogicalPlan) -> Result<LogicalPlan> {
    let unsorted = |plan: LogicalPlan| match plan {
        LogicalPlan::Sort(Sort { input, fetch: None, .. }) => Ok(Transformed::yes(Arc::unwrap_or_clone(input))),
        other => Ok(Transformed::no(other)),
    };
    let inside = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(_) => Ok(Transformed::no(node)),
        LogicalPlan::Subquery(_) => node.map_children(unsorted)?.map_data(|node| match node {
            // A column of the queries around it may have been named by its order alone.
            LogicalPlan::Subquery(Subquery { subquery, spans, .. }) => {
                let outer_ref_columns = subquery.all_out_ref_exprs();
                Ok(LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }))
            }
            other => Ok(other),
        }),
        _ => node.map_children(unsorted),
    })?;
    Ok(unsorted(inside.data)?.data)
}

/// The plan of a read whose correlated subqueries are made joins as a view's are; `null_equals_null` (`same.rs`) is still to be applied,
/// after the rules. 0A000 for what can't be.
pub fn joined(plan: LogicalPlan) -> Result<LogicalPlan> {
    decorrelate(normalize(plan)?)
}

/// The plan of a read with DataFusion's nodes only.
pub fn expand(plan: LogicalPlan) -> Result<LogicalPlan> {
    let expanded = plan.transform_up_with_subqueries(|node| {
        Ok(match node {
            LogicalPlan::Extension(extension) => {
                if let Some(set) = extension.node.as_any().downcast_ref::<SetOpNode>() {
                    Transformed::yes(expand_set(set)?)
                } else if let Some(hop) = extension.node.as_any().downcast_ref::<HopNode>() {
                    Transformed::yes(expand_hop(hop)?)
                } else {
                    Transformed::no(LogicalPlan::Extension(extension))
                }
            }
            LogicalPlan::Aggregate(aggregate) => match super::grouping::expand(&aggregate)? {
                Some(plan) => Transformed::yes(plan),
                None => Transformed::no(LogicalPlan::Aggregate(aggregate)),
            },
            LogicalPlan::Distinct(Distinct::On(on)) => Transformed::yes(first_of_each(&on)?),
            LogicalPlan::Sort(sort) => {
                let input = Arc::new(unordered(Arc::unwrap_or_clone(sort.input)));
                Transformed::yes(LogicalPlan::Sort(Sort { input, ..sort }))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(expanded.data)
}

/// The same rows without the order that a sort above them makes anew. (Of two such sorts DataFusion drops the upper one with its LIMIT,
/// if the lower one's input has the order already.)
fn unordered(plan: LogicalPlan) -> LogicalPlan {
    let below = |input: Arc<LogicalPlan>| Arc::new(unordered(Arc::unwrap_or_clone(input)));
    match plan {
        LogicalPlan::Sort(Sort { input, fetch: None, .. }) => unordered(Arc::unwrap_or_clone(input)),
        LogicalPlan::Projection(mut projection) => {
            projection.input = below(projection.input);
            LogicalPlan::Projection(projection)
        }
        LogicalPlan::Filter(mut filter) => {
            filter.input = below(filter.input);
            LogicalPlan::Filter(filter)
        }
        other => other,
    }
}

/// DISTINCT ON as the rows that are number 1.
fn first_of_each(on: &DistinctOn) -> Result<LogicalPlan> {
    let partition = on.on_expr.clone();
    // What rows of one partition share orders none of them. (DataFusion sorts by it the other way, where NULLs come first.)
    let mut order = on.sort_expr.clone().unwrap_or_default();
    order.retain(|key| !partition.contains(&key.expr));
    let columns = on.input.schema().columns();
    let (plan, number) = numbered(on.input.as_ref().clone(), partition, order, "distinct_on")?;
    let first = Expr::Column(number).eq(Expr::Literal(ScalarValue::UInt64(Some(1)), None));
    let plan = LogicalPlan::Filter(Filter::try_new(first, Arc::new(plan))?);
    Ok(LogicalPlan::Projection(Projection::try_new(columns.into_iter().map(Expr::Column).collect(), Arc::new(plan))?))
}

/// The plan with a column that numbers the rows of each partition.
fn numbered(
    plan: LogicalPlan,
    partition_by: Vec<Expr>,
    order_by: Vec<SortKey>,
    name: &str,
) -> Result<(LogicalPlan, Column)> {
    let call = ranking(datafusion::functions_window::row_number::row_number_udwf(), partition_by, order_by);
    let first = plan.schema().fields().first().map(|field| field.name().clone()).unwrap_or_default();
    let name = format!("{name}#{first}");
    let window = Window::try_new(vec![call.alias(&name)], Arc::new(plan))?;
    Ok((LogicalPlan::Window(window), Column::new_unqualified(name)))
}

pub(super) fn ranking(function: Arc<WindowUDF>, partition_by: Vec<Expr>, order_by: Vec<SortKey>) -> Expr {
    Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(function),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by,
            window_frame: WindowFrame::new(if order_by.is_empty() { None } else { Some(false) }),
            order_by,
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }))
}

/// The plan with a column of this name that ranks the rows of the whole.
pub fn ranked(plan: LogicalPlan, function: Arc<WindowUDF>, order_by: Vec<SortKey>, name: &str) -> Result<LogicalPlan> {
    let call = ranking(function, Vec::new(), order_by).alias(name);
    Ok(LogicalPlan::Window(Window::try_new(vec![call], Arc::new(plan))?))
}

/// INTERSECT and EXCEPT as semi and anti joins on all columns, NULLs equal; with ALL each side's equal rows are
/// numbered first, so that the n-th meets the n-th.
fn expand_set(set: &SetOpNode) -> Result<LogicalPlan> {
    let (mut left, mut right) = (set.left.clone(), set.right.clone());
    let outputs = left.schema().columns();
    let (mut left_keys, mut right_keys) = (outputs.clone(), right.schema().columns());
    if set.all {
        let all = |columns: &[Column]| columns.iter().cloned().map(Expr::Column).collect::<Vec<_>>();
        let (plan, number) = numbered(left, all(&left_keys), Vec::new(), "n")?;
        left = plan;
        left_keys.push(number);
        let (plan, number) = numbered(right, all(&right_keys), Vec::new(), "n")?;
        right = plan;
        right_keys.push(number);
    } else {
        left = LogicalPlan::Distinct(Distinct::All(Arc::new(left)));
    }
    let on = left_keys.into_iter().map(Expr::Column).zip(right_keys.into_iter().map(Expr::Column)).collect();
    let kind = match set.kind {
        SetOpKind::Intersect => JoinType::LeftSemi,
        SetOpKind::Except => JoinType::LeftAnti,
    };
    let equality = NullEquality::NullEqualsNull;
    let join = Join::try_new(Arc::new(left), Arc::new(right), on, None, kind, JoinConstraint::On, equality, false)?;
    let exprs = outputs.into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(LogicalPlan::Join(join)))?))
}

/// Windows as an Unnest of their starts.
fn expand_hop(hop: &HopNode) -> Result<LogicalPlan> {
    let (start, end) = hop.added();
    let field = hop.input.schema().field_with_unqualified_name(&hop.time)?;
    let ty = match field.data_type() {
        arrow::datatypes::DataType::Timestamp(_, Some(_)) => Type::Timestamptz,
        _ => Type::Timestamp,
    };
    let mut exprs: Vec<Expr> = hop.input.schema().columns().into_iter().map(Expr::Column).collect();
    let pass = exprs.clone();
    let time = Expr::Column(Column::new_unqualified(&hop.time));
    exprs.push(arrays::window_starts(time, &ty, hop.slide, hop.size).alias(start));
    let listed = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(hop.input.clone()))?);
    let options = UnnestOptions { null_handling: datafusion::common::NullHandling::Drop, ..Default::default() };
    let unnest = Unnest::try_new(Arc::new(listed), vec![Column::new_unqualified(start)], options)?;
    let start = Expr::Column(Column::new_unqualified(start));
    let mut exprs = pass;
    exprs.push(start.clone());
    exprs.push(arrays::later(start, &ty, hop.size).alias(end));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(LogicalPlan::Unnest(unnest)))?))
}

/// Puts predicate subqueries where DataFusion takes them and in a form that keeps SQL's NULLs.
fn normalize(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let subqueries = |exprs: &[Expr]| exprs.iter().any(has_predicate_subquery);
        Ok(match node {
            LogicalPlan::Filter(filter) if has_predicate_subquery(&filter.predicate) => {
                let schema = filter.input.schema().clone();
                let predicate = in_filter(filter.predicate, Place::Conjunct, &schema)?;
                Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?))
            }
            // A condition of an inner join with a subquery in it filters the pairs.
            LogicalPlan::Join(mut join)
                if join.join_type == JoinType::Inner && join.filter.as_ref().is_some_and(has_subquery) =>
            {
                let Some(condition) = join.filter.take() else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
                let joined = LogicalPlan::Join(join);
                let schema = joined.schema().clone();
                let condition = in_filter(condition, Place::Conjunct, &schema)?;
                Transformed::yes(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(joined))?))
            }
            LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_subquery) => {
                Transformed::yes(on_one_side(join)?)
            }
            LogicalPlan::Projection(projection) if subqueries(&projection.expr) => {
                let schema = projection.input.schema().clone();
                let names: Vec<String> = projection.schema.fields().iter().map(|f| f.name().clone()).collect();
                let exprs = projection
                    .expr
                    .into_iter()
                    .zip(names)
                    .map(|(expr, name)| Ok(as_value(expr.unalias(), &schema)?.alias(name)))
                    .collect::<Result<Vec<_>>>()?;
                Transformed::yes(LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?))
            }
            plan @ (LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_) | LogicalPlan::Window(_))
                if plan.expressions().iter().any(has_subquery) =>
            {
                Transformed::yes(hoist(plan)?)
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(plan.data)
}

fn has_predicate_subquery(expr: &Expr) -> bool {
    expr.exists(|node| Ok(matches!(node, Expr::Exists(_) | Expr::InSubquery(_)))).unwrap_or(false)
}

/// Subqueries in groups, arguments of aggregates and orders are computed by a projection below.
fn hoist(plan: LogicalPlan) -> Result<LogicalPlan> {
    let [input] = plan.inputs()[..] else { return Err(Error::internal("a subquery over several inputs")) };
    let (mut below, before) = (Below::new(input), plan.schema().columns());
    let names = NamePreserver::new(&plan);
    let mut exprs = Vec::new();
    for expr in plan.expressions() {
        let name = names.save(&expr);
        let replaced = expr.transform_down(|node| match subquery_in(&node).is_some() {
            true => Ok(Transformed::new(below.value(node)?, true, TreeNodeRecursion::Jump)),
            false => Ok(Transformed::no(node)),
        })?;
        exprs.push(if replaced.transformed { name.restore(replaced.data) } else { replaced.data });
    }
    let plan = plan.with_new_exprs(exprs, vec![below.plan()?])?;
    match plan.schema().columns() == before {
        true => Ok(plan),
        false => {
            let exprs = before.into_iter().map(Expr::Column).collect();
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
        }
    }
}

/// A subquery in the condition of an outer join is a column of the side that it names; 0A000 where it names both.
fn on_one_side(mut join: Join) -> Result<LogicalPlan> {
    let Some(condition) = join.filter.take() else { return Ok(LogicalPlan::Join(join)) };
    let condition = in_filter(condition, Place::Value, &join.schema)?;
    let (mut left, mut right) = (Below::new(&join.left), Below::new(&join.right));
    let replaced = condition.transform_down(|node| {
        let plan = match &node {
            Expr::Exists(exists) => &exists.subquery.subquery,
            Expr::ScalarSubquery(subquery) => &subquery.subquery,
            _ => return Ok(Transformed::no(node)),
        };
        let names =
            |side: &LogicalPlan| Ok::<_, Error>(!outer_columns(plan, std::slice::from_ref(side.schema()))?.is_empty());
        let side = match (names(&join.left)?, names(&join.right)?) {
            (_, false) => &mut left,
            (false, true) if !matches!(join.right.as_ref(), LogicalPlan::Subquery(_)) => &mut right,
            _ => return Err(refusals::CORRELATED.error().into()),
        };
        Ok(Transformed::new(side.value(node)?, true, TreeNodeRecursion::Jump))
    })?;
    let columns = join.schema.columns().into_iter().map(Expr::Column).collect();
    let joined = Join::try_new(
        Arc::new(left.plan()?),
        Arc::new(right.plan()?),
        join.on,
        Some(replaced.data),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(LogicalPlan::Join(joined)))?))
}

/// A plan to which values of subqueries are added as columns.
struct Below {
    input: LogicalPlan,
    values: Vec<Expr>,
}

impl Below {
    fn new(input: &LogicalPlan) -> Below {
        Below { input: input.clone(), values: Vec::new() }
    }

    /// The column that holds a subquery's value.
    fn value(&mut self, subquery: Expr) -> Result<Expr> {
        let first = self.input.schema().fields().first().map(|field| field.name().clone()).unwrap_or_default();
        let name = format!("subquery{}#{first}", self.values.len() + 1);
        self.values.push(as_value(subquery, self.input.schema())?.alias(&name));
        Ok(Expr::Column(Column::new_unqualified(name)))
    }

    fn plan(self) -> Result<LogicalPlan> {
        if self.values.is_empty() {
            return Ok(self.input);
        }
        let mut exprs: Vec<Expr> = self.input.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.extend(self.values);
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(self.input))?))
    }
}

/// Where in a filter a predicate stands, from the least to the most that is known of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// All three truth values show.
    Value,
    /// NULL counts as false.
    NullIsFalse,
    /// And it is one of the conditions that all must hold.
    Conjunct,
}

fn in_filter(expr: Expr, place: Place, schema: &datafusion::common::DFSchema) -> Result<Expr> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            // Under OR a join's mark stands for IN, and a mark is never NULL: NOT IN may not rely on it.
            let place = if op == Operator::And { place } else { place.min(Place::NullIsFalse) };
            let left = in_filter(*left, place, schema)?;
            let right = in_filter(*right, place, schema)?;
            Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
        }
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(mut inside) => {
                inside.negated = !inside.negated;
                in_filter(Expr::InSubquery(inside), place, schema)?
            }
            Expr::Exists(mut exists) => {
                exists.negated = !exists.negated;
                Expr::Exists(exists)
            }
            other => Expr::Not(Box::new(in_filter(other, Place::Value, schema)?)),
        },
        // A semi join, or its mark: false where SQL says NULL.
        Expr::InSubquery(inside) if !inside.negated && place >= Place::NullIsFalse => Expr::InSubquery(inside),
        Expr::InSubquery(inside) if place >= Place::NullIsFalse => not_in(inside, place, schema)?,
        Expr::InSubquery(inside) => three_valued(inside, schema)?,
        other if has_predicate_subquery(&other) => {
            // Inside CASE, a comparison, a call: every truth value shows.
            other
                .transform_down(|node| {
                    Ok(match node {
                        Expr::InSubquery(inside) => {
                            Transformed::new(three_valued(inside, schema)?, true, TreeNodeRecursion::Jump)
                        }
                        other => Transformed::no(other),
                    })
                })?
                .data
        }
        other => other,
    })
}

/// NOT IN as a condition. Without outer columns DataFusion's null-aware anti join does it; else no row of the set
/// may be equal or NULL, nor the value NULL over a set with rows.
fn not_in(inside: InSubquery, place: Place, schema: &datafusion::common::DFSchema) -> Result<Expr> {
    let alone = place == Place::Conjunct && inside.subquery.outer_ref_columns.is_empty();
    if alone && matches!(*inside.expr, Expr::Column(_)) {
        return Ok(Expr::InSubquery(inside));
    }
    let item = item_of(&inside.subquery)?;
    let value = as_outer(*inside.expr, schema)?;
    let equal = item.clone().eq(value.clone());
    let unknown = Expr::IsNull(Box::new(item)).or(Expr::IsNull(Box::new(value)));
    exists_where(&inside.subquery, equal.or(unknown), true)
}

/// `x IN (set)` with all three truth values, from EXISTS alone.
fn three_valued(inside: InSubquery, schema: &datafusion::common::DFSchema) -> Result<Expr> {
    let item = item_of(&inside.subquery)?;
    let value = inside.expr.as_ref().clone();
    let outer = as_outer(value.clone(), schema)?;
    let matched = exists_where(&inside.subquery, item.clone().eq(outer), false)?;
    let null_item = exists_where(&inside.subquery, Expr::IsNull(Box::new(item)), false)?;
    let some = Expr::Exists(Exists { subquery: inside.subquery, negated: false });
    let unknown = null_item.or(Expr::IsNull(Box::new(value)).and(some));
    let boolean = |value: Option<bool>| Box::new(Expr::Literal(ScalarValue::Boolean(value), None));
    let case = Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(matched), boolean(Some(!inside.negated))), (Box::new(unknown), boolean(None))],
        else_expr: Some(boolean(Some(inside.negated))),
    });
    Ok(case)
}

pub(super) fn item_of(subquery: &Subquery) -> Result<Expr> {
    let column = subquery.subquery.schema().columns().into_iter().next();
    column.map(Expr::Column).ok_or_else(|| Error::internal("IN over a subquery without columns"))
}

pub(super) fn exists_where(subquery: &Subquery, condition: Expr, negated: bool) -> Result<Expr> {
    let plan = LogicalPlan::Filter(Filter::try_new(condition, subquery.subquery.clone())?);
    let outer_ref_columns = plan.all_out_ref_exprs();
    let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() };
    Ok(Expr::Exists(Exists { subquery, negated }))
}

/// An expression over `schema` as a subquery sees it from inside.
pub(super) fn as_outer(expr: Expr, schema: &datafusion::common::DFSchema) -> Result<Expr> {
    Ok(expr
        .transform_up(|node| {
            Ok(match node {
                Expr::Column(column) => {
                    let field = schema.field_from_column(&column)?.clone();
                    Transformed::yes(Expr::OuterReferenceColumn(field, column))
                }
                other => Transformed::no(other),
            })
        })?
        .data)
}

/// An expression of a select list: IN becomes EXISTS, and EXISTS a count that a scalar subquery gives.
fn as_value(expr: Expr, schema: &datafusion::common::DFSchema) -> Result<Expr> {
    let expr = in_filter(expr, Place::Value, schema)?;
    Ok(expr
        .transform_down(|node| {
            Ok(match node {
                Expr::Exists(exists) => Transformed::new(counted(exists)?, true, TreeNodeRecursion::Jump),
                other => Transformed::no(other),
            })
        })?
        .data)
}

/// `(SELECT count(*) FROM ...) > 0`
fn counted(exists: Exists) -> Result<Expr> {
    let count = registry::aggregate("count", Vec::new(), AggregateOptions::default())?;
    let first =
        exists.subquery.subquery.schema().fields().first().map(|field| field.name().clone()).unwrap_or_default();
    let name = format!("count#{first}");
    let plan = Aggregate::try_new(exists.subquery.subquery.clone(), Vec::new(), vec![count.expr.alias(name)])?;
    let plan = LogicalPlan::Aggregate(plan);
    let outer_ref_columns = plan.all_out_ref_exprs();
    let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() };
    let zero = Box::new(Expr::Literal(ScalarValue::Int64(Some(0)), None));
    let op = if exists.negated { Operator::Eq } else { Operator::Gt };
    Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(Expr::ScalarSubquery(subquery)), op, right: zero }))
}
