//! Correlated subqueries of views as joins, where DataFusion's rules can't make them so.
//!
//! The values that a subquery takes from the query around it, each combination once, are its *domain*. It is asked for
//! the whole domain at once, and each row of the query finds its own answer by a join in which NULL meets NULL:
//!
//! ```text
//!   (subquery that names a) over the rows of R   =   R LEFT JOIN S ON R.a = S.a     (EXISTS: a mark join)
//!     D = SELECT DISTINCT a FROM R,  S = D beside the subquery:
//!
//!   D beside what names no column of D             = D x it; filters above make a join of that later
//!   D beside filter, projection, unnest ... of q   = the same of (D beside q), outer columns being D's
//!   D beside GROUP BY, DISTINCT, ranking of q      = the same for each row of D
//!   D beside an aggregate without GROUP BY         = D LEFT JOIN the aggregate for each row of D: it counts 0 of nothing
//!   D beside LIMIT n of q                          = rows with row_number() <= n among those of the row of D
//!   D beside a join, a set operation               = the same of D beside its sides, which also meet by D's columns
//! ```
//!
//! Values that are equal and print differently are different values of a domain, which keeps their bits (`bits.rs`).
//!
//! Left to the rules is what they take well: a correlation in filters right below the top (`shape.rs`), which needs no
//! domain. A subquery is taken before those inside it, so that these find the outer columns one level up.
//!
//! Cost: R is read once more for its domain (the circuit computes it once), and kept by the domain's columns.
//! After Neumann and Kemper, Unnesting Arbitrary Queries, BTW 2015.

mod beside;
mod bits;
mod domain;
mod shape;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, JoinConstraint, JoinType, NullEquality, ScalarValue, TableReference};
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, Filter, Join, LogicalPlan, Operator, Projection, Subquery, SubqueryAlias,
};

use super::plan::{as_outer, exists_where, item_of};
use super::refusals;
use super::subquery::{has_one_row, has_subquery, only_row, outer_columns, subquery_in};
use crate::delta::keys::has_equal_forms;
use crate::error::{Error, Result, SqlState};
use beside::literal;
use domain::{Domain, Own};
use shape::{filters_an_aggregate, has_aggregate, pulls_up};

/// Plan nodes that domains may copy.
const MOST_COPIED: usize = 20_000;

/// The plan with only those correlated subqueries that the rules take.
pub fn decorrelate(plan: LogicalPlan) -> Result<LogicalPlan> {
    Decorrelation::default().plan(plan)
}

/// Whether the rules take all correlated subqueries of a plan and keep their meaning. (They lift conditions above a DISTINCT or a
/// GROUP BY, for example, where each of its groups would be met several times.)
pub fn is_left_to_rules(plan: &LogicalPlan) -> bool {
    decorrelate(plan.clone()).is_ok_and(|after| after == *plan)
}

#[derive(Default)]
struct Decorrelation {
    names: usize,
    copied: usize,
}

fn project(exprs: Vec<Expr>, plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    kind: JoinType,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
) -> Result<LogicalPlan> {
    let (left, right, equality) = (Arc::new(left), Arc::new(right), NullEquality::NullEqualsNothing);
    Ok(LogicalPlan::Join(Join::try_new(left, right, on, filter, kind, JoinConstraint::On, equality, false)?))
}

/// Conditions without subqueries go below those with: only rows that meet them ask.
fn plain_first(filter: Filter) -> Result<LogicalPlan> {
    let conditions = split_conjunction(&filter.predicate).into_iter().cloned();
    let (asking, plain): (Vec<Expr>, Vec<Expr>) = conditions.partition(has_subquery);
    Ok(match (conjunction(asking), conjunction(plain)) {
        (Some(asking), Some(plain)) => {
            let below = LogicalPlan::Filter(Filter::try_new(plain, filter.input)?);
            LogicalPlan::Filter(Filter::try_new(asking, Arc::new(below))?)
        }
        _ => LogicalPlan::Filter(filter),
    })
}

fn same_rows(left: &Domain, right: &Domain) -> Vec<(Expr, Expr)> {
    left.own.iter().zip(&right.own).map(|(left, right)| left.is_own(right)).collect()
}

/// The whole condition of a join as one expression.
fn condition_of(join: &Join) -> Option<Expr> {
    let op = match join.null_equality {
        NullEquality::NullEqualsNothing => Operator::Eq,
        NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
    };
    let equal = |(l, r): &(Expr, Expr)| {
        Expr::BinaryExpr(BinaryExpr { left: Box::new(l.clone()), op, right: Box::new(r.clone()) })
    };
    conjunction(join.on.iter().map(equal).chain(join.filter.clone()))
}

impl Decorrelation {
    fn fresh(&mut self, name: &str) -> String {
        self.names += 1;
        format!("{name}#decorrelated{}", self.names)
    }

    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        stacker::maybe_grow(256 * 1024, 4 << 20, || self.plan_here(plan))
    }

    fn plan_here(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if let LogicalPlan::Join(join) = &plan
            && let LogicalPlan::Subquery(right) = join.right.as_ref()
        {
            return self.lateral(join, right);
        }
        let plan = plan.map_children(|child| Ok(Transformed::yes(self.plan(child)?)))?.data;
        match plan {
            LogicalPlan::Filter(filter) => self.expressions(plain_first(filter)?),
            LogicalPlan::Projection(_) => self.expressions(plan),
            other => self.inside(other),
        }
    }

    /// The subqueries that are left to the rules, each of which may have others in it.
    fn inside(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let inner = plan.map_subqueries(|subquery| {
            let LogicalPlan::Subquery(mut subquery) = subquery else { return Ok(Transformed::no(subquery)) };
            subquery.subquery = Arc::new(self.plan(subquery.subquery.as_ref().clone())?);
            Ok(Transformed::yes(LogicalPlan::Subquery(subquery)))
        })?;
        Ok(inner.data)
    }

    /// A filter or projection without the subqueries that the rules don't take: these are columns of its input.
    fn expressions(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let [input] = plan.inputs()[..] else { return Ok(plan) };
        let (input, before) = (input.clone(), plan.schema().columns());
        let mut rows = input.clone();
        let mut known: Vec<(Expr, Expr)> = Vec::new();
        let names = NamePreserver::new(&plan);
        let (mut exprs, mut any) = (Vec::new(), false);
        for expr in plan.expressions() {
            let name = names.save(&expr);
            let changed = expr.transform_down(|node| {
                if subquery_in(&node).is_none() {
                    return Ok(Transformed::no(node));
                }
                if let Some((_, value)) = known.iter().find(|(subquery, _)| *subquery == node) {
                    return Ok(Transformed::new(value.clone(), true, TreeNodeRecursion::Jump));
                }
                let Some(value) = self.value(&node, &input, &mut rows)? else { return Ok(Transformed::no(node)) };
                known.push((node, value.clone()));
                Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
            })?;
            any |= changed.transformed;
            exprs.push(if changed.transformed { name.restore(changed.data) } else { changed.data });
        }
        let plan = if any { plan.with_new_exprs(exprs, vec![rows])? } else { plan };
        let plan = self.inside(plan)?;
        match !any || plan.schema().columns() == before {
            true => Ok(plan),
            false => project(before.into_iter().map(Expr::Column).collect(), plan),
        }
    }

    /// What a subquery over the rows of `input` becomes over `rows`, to which its columns are added; `None` if it is
    /// left as it is.
    fn value(&mut self, node: &Expr, input: &LogicalPlan, rows: &mut LogicalPlan) -> Result<Option<Expr>> {
        let schema = input.schema();
        match node {
            Expr::ScalarSubquery(subquery) => {
                let outer = outer_columns(&subquery.subquery, std::slice::from_ref(schema))?;
                if outer.is_empty() {
                    return Ok(None);
                }
                if !has_one_row(subquery) {
                    let only = only_row(subquery.clone())?;
                    let value = only.transform_down(|node| match subquery_in(&node).is_some() {
                        true => match self.value(&node, input, rows)? {
                            Some(value) => Ok(Transformed::new(value, true, TreeNodeRecursion::Jump)),
                            None => Ok(Transformed::new(node, false, TreeNodeRecursion::Jump)),
                        },
                        false => Ok(Transformed::no(node)),
                    })?;
                    return Ok(Some(value.data));
                }
                let plan = subquery.subquery.as_ref();
                if has_aggregate(plan) && !filters_an_aggregate(plan) && pulls_up(plan, &outer)? {
                    return Ok(None);
                }
                self.scalar(plan, outer, input, rows).map(Some)
            }
            Expr::Exists(exists) => {
                let outer = outer_columns(&exists.subquery.subquery, std::slice::from_ref(schema))?;
                let plan = exists.subquery.subquery.as_ref();
                if outer.is_empty() || (!has_aggregate(plan) && !filters_an_aggregate(plan) && pulls_up(plan, &outer)?)
                {
                    return Ok(None);
                }
                self.exists(exists, outer, input, rows).map(Some)
            }
            // What is left of IN counts NULL as false.
            Expr::InSubquery(inside) if !inside.negated => {
                let plan = inside.subquery.subquery.as_ref();
                let outer = outer_columns(plan, std::slice::from_ref(schema))?;
                if outer.is_empty() || (!has_aggregate(plan) && !filters_an_aggregate(plan) && pulls_up(plan, &outer)?)
                {
                    return Ok(None);
                }
                let value = as_outer(inside.expr.as_ref().clone(), schema)?;
                let equal = item_of(&inside.subquery)?.eq(value);
                match exists_where(&inside.subquery, equal, false)? {
                    Expr::Exists(exists) => {
                        let outer = outer_columns(&exists.subquery.subquery, std::slice::from_ref(schema))?;
                        self.exists(&exists, outer, input, rows).map(Some)
                    }
                    _ => Err(Error::internal("IN as EXISTS")),
                }
            }
            _ => Ok(None),
        }
    }

    fn scalar(
        &mut self,
        plan: &LogicalPlan,
        outer: Vec<Column>,
        input: &LogicalPlan,
        rows: &mut LogicalPlan,
    ) -> Result<Expr> {
        let domain = self.domain(input, outer)?;
        let answers = self.beside(plan, &domain)?;
        let answers = self.plan(answers)?;
        let (qualifier, field) = plan.schema().qualified_field(0);
        let value = self.fresh("value");
        let mut exprs = domain.exprs();
        exprs.push(Expr::Column(Column::new(qualifier.cloned(), field.name())).alias(&value));
        let answers = project(exprs, answers)?;
        self.join_to(rows, answers, &domain, JoinType::Left)?;
        Ok(Expr::Column(Column::new_unqualified(value)))
    }

    fn exists(
        &mut self,
        exists: &Exists,
        outer: Vec<Column>,
        input: &LogicalPlan,
        rows: &mut LogicalPlan,
    ) -> Result<Expr> {
        let domain = self.domain(input, outer)?;
        // Neither its order nor a LIMIT of at least one row says whether there is one.
        let mut plan = exists.subquery.subquery.as_ref();
        loop {
            plan = match plan {
                LogicalPlan::Sort(sort) if sort.fetch.is_none() => &sort.input,
                LogicalPlan::Limit(limit) if limit.skip.is_none() && literal(limit.fetch.as_deref()) > Some(0) => {
                    &limit.input
                }
                LogicalPlan::Projection(projection) if matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) => {
                    let LogicalPlan::Sort(sort) = projection.input.as_ref() else { break };
                    if sort.fetch.is_some() {
                        break;
                    }
                    &sort.input
                }
                _ => break,
            };
        }
        let found = self.beside(plan, &domain)?;
        let found = self.plan(found)?;
        let alias = self.fresh("exists");
        let found = SubqueryAlias::try_new(Arc::new(project(domain.exprs(), found)?), TableReference::bare(&*alias))?;
        let mut aliased = domain.clone();
        for own in &mut aliased.own {
            own.column.relation = Some(TableReference::bare(&*alias));
        }
        self.join_to(rows, LogicalPlan::SubqueryAlias(found), &aliased, JoinType::LeftMark)?;
        let mark = Expr::Column(Column::new(Some(TableReference::bare(&*alias)), "mark"));
        Ok(if exists.negated { Expr::Not(Box::new(mark)) } else { mark })
    }

    /// Joins what was found for each row of the domain to the rows that it was taken from.
    fn join_to(&mut self, rows: &mut LogicalPlan, found: LogicalPlan, domain: &Domain, kind: JoinType) -> Result<()> {
        *rows = join(rows.clone(), found, kind, domain.is_outer(), None)?;
        Ok(())
    }

    fn domain(&mut self, input: &LogicalPlan, outer: Vec<Column>) -> Result<Domain> {
        input.apply_with_subqueries(|_| {
            self.copied += 1;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if self.copied > MOST_COPIED {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "subqueries stand in each other too often")
                .with_hint("Build the view from several materialized views."));
        }
        let (mut own, mut exprs) = (Vec::with_capacity(outer.len()), Vec::with_capacity(outer.len()));
        for column in &outer {
            let (name, outer) = (self.fresh("outer"), Expr::Column(column.clone()));
            let (data_type, nullable) = input.schema().data_type_and_nullable(column)?;
            let bits = has_equal_forms(data_type).then(|| data_type.clone());
            exprs.push(if bits.is_some() { bits::bits(outer) } else { outer }.alias(&name));
            own.push(Own { column: Column::new_unqualified(name), nullable, bits });
        }
        let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(project(exprs, input.clone())?)));
        Ok(Domain { plan, outer, own })
    }

    /// The same domain with other names, to stand beside it.
    fn again(&mut self, domain: &Domain) -> Result<Domain> {
        let (mut own, mut exprs) = (Vec::new(), Vec::new());
        for known in &domain.own {
            let name = self.fresh("outer");
            exprs.push(Expr::Column(known.column.clone()).alias(&name));
            own.push(Own { column: Column::new_unqualified(name), ..known.clone() });
        }
        Ok(Domain { plan: project(exprs, domain.plan.clone())?, outer: domain.outer.clone(), own })
    }

    /// A join with a right side for each row of the left one.
    fn lateral(&mut self, lateral: &Join, right: &Subquery) -> Result<LogicalPlan> {
        let left = self.plan(lateral.left.as_ref().clone())?;
        let inner = right.subquery.as_ref();
        let outer = outer_columns(inner, std::slice::from_ref(left.schema()))?;
        let columns: Vec<Expr> = lateral.schema.columns().into_iter().map(Expr::Column).collect();
        if outer.is_empty() {
            let inner = self.plan(inner.clone())?;
            let kind = lateral.join_type;
            let joined = Join::try_new(
                Arc::new(left),
                Arc::new(inner),
                lateral.on.clone(),
                lateral.filter.clone(),
                kind,
                lateral.join_constraint,
                lateral.null_equality,
                false,
            )?;
            return Ok(LogicalPlan::Join(joined));
        }
        let condition = condition_of(lateral);
        let always = match &condition {
            None => true,
            Some(Expr::Literal(value, _)) => *value == ScalarValue::Boolean(Some(true)),
            Some(_) => false,
        };
        let plain = always || (lateral.join_type == JoinType::Inner && !has_aggregate(inner));
        if plain && !filters_an_aggregate(inner) && pulls_up(inner, &outer)? {
            let mut taken = lateral.clone();
            taken.left = Arc::new(left);
            let inner = self.plan(inner.clone())?;
            taken.right = Arc::new(LogicalPlan::Subquery(right.with_plan(Arc::new(inner))));
            return Ok(LogicalPlan::Join(taken));
        }
        if !matches!(lateral.join_type, JoinType::Inner | JoinType::Left) {
            return Err(refusals::CORRELATED.error());
        }
        let domain = self.domain(&left, outer)?;
        let found = self.beside(inner, &domain)?;
        let found = self.plan(found)?;
        let mut exprs = domain.exprs();
        exprs.extend(columns_of(inner));
        let found = project(exprs, found)?;
        let joined = join(left, found, lateral.join_type, domain.is_outer(), condition)?;
        project(columns, joined)
    }
}
