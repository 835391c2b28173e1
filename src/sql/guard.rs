//! AND and OR that don't compute what the other side makes needless and what could fail.
//!
//! `x <> 0 AND 10 / x > 1`: Postgres never divides by the zero. Here both sides are computed over whole columns, so the
//! side that can fail for what a value is (a division, a cast from text or to a smaller range, a logarithm, a subquery that may
//! have several rows) becomes a CASE under the others: `x <> 0 AND CASE WHEN (x <> 0) IS NOT FALSE THEN 10 / x > 1 ELSE false END`. Of several such
//! sides each is under those before it. Mere overflow is not guarded: Postgres too decides the order of
//! `a > 0 AND a * b > c` as it likes.
//!
//! This runs over the plan that the optimizer's rules are done with: they see the plain connectives, and a condition
//! that is pushed down is guarded by those that are evaluated with it, as in Postgres.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Filter, LogicalPlan, Operator, Volatility};
use datafusion::scalar::ScalarValue;

use super::functions::kernel::PgFunction;
use super::subquery::stands_for_subquery;
use crate::error::Result;

/// Nodes of the largest expression that is written a second time, as a guard: nesting doubles guards.
const MOST_GUARD: usize = 256;

/// Guards every connective of a plan.
pub fn plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    let each = |node: LogicalPlan| {
        if !node.expressions().iter().any(needs_guard) {
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(connectives(expr)?.update_data(|expr| name.restore(expr)))
        })
    };
    Ok(plan.transform_up_with_subqueries(each)?.data)
}

/// Guards every connective of an expression.
pub fn expr(expr: Expr) -> Result<Expr> {
    if !needs_guard(&expr) {
        return Ok(expr);
    }
    Ok(connectives(expr)?.data)
}

/// For plans that take rows one by one where some fail, so that AND and OR stop by themselves: conditions that can
/// fail come last.
pub fn safe_first(plan: LogicalPlan) -> Result<LogicalPlan> {
    let ordered = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) if needs_guard(&filter.predicate) => {
            let mut operands = Vec::new();
            flatten(filter.predicate, Operator::And, &mut operands);
            operands.sort_by_cached_key(can_fail);
            let predicate = chain(operands, Operator::And);
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(ordered.data)
}

fn needs_guard(expr: &Expr) -> bool {
    let connective =
        |node: &Expr| Ok(matches!(node, Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or)));
    expr.exists(connective).unwrap_or(false) && can_fail(expr)
}

fn can_fail(expr: &Expr) -> bool {
    let fails = |node: &Expr| {
        Ok(match node {
            Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<PgFunction>() {
                Some(function) => function.is_partial(&call.args),
                None => stands_for_subquery(call),
            },
            _ => false,
        })
    };
    expr.exists(fails).unwrap_or(false)
}

/// Whether it may be computed twice.
fn repeatable(expr: &Expr) -> bool {
    let mut nodes = 0;
    let other = expr.exists(|node| {
        nodes += 1;
        Ok(match node {
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => true,
            Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Volatile,
            _ => nodes > MOST_GUARD,
        })
    });
    !other.unwrap_or(true)
}

fn connectives(expr: Expr) -> DfResult<Transformed<Expr>> {
    expr.transform_down(|node| match node {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) if can_fail(&node) => {
            let mut operands = Vec::new();
            flatten(node, op, &mut operands);
            let operands = operands.into_iter().map(|operand| connectives(operand).map(|changed| changed.data));
            let operands = operands.collect::<DfResult<Vec<Expr>>>()?;
            Ok(Transformed::new(guarded(operands, op), true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// The operands under one connective, from the left.
fn flatten(expr: Expr, op: Operator, into: &mut Vec<Expr>) {
    let mut ahead = vec![expr];
    while let Some(next) = ahead.pop() {
        match next {
            Expr::BinaryExpr(binary) if binary.op == op => {
                ahead.push(*binary.right);
                ahead.push(*binary.left);
            }
            other => into.push(other),
        }
    }
}

/// The operands as a tree of logarithmic height.
fn chain(mut operands: Vec<Expr>, op: Operator) -> Expr {
    match operands.len() {
        0 => Expr::Literal(ScalarValue::Boolean(Some(op == Operator::And)), None),
        1 => operands.remove(0),
        n => {
            let right = operands.split_off(n / 2);
            binary(chain(operands, op), op, chain(right, op))
        }
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

fn guarded(operands: Vec<Expr>, op: Operator) -> Expr {
    let (failing, safe): (Vec<Expr>, Vec<Expr>) = operands.into_iter().partition(can_fail);
    let mut rest: Option<Expr> = None;
    for operand in failing.into_iter().rev() {
        rest = Some(match rest {
            None => operand,
            Some(rest) if repeatable(&operand) => {
                let case = unless_decided(operand.clone(), op, rest);
                binary(operand, op, case)
            }
            Some(rest) => binary(operand, op, rest),
        });
    }
    let Some(rest) = rest else { return chain(safe, op) };
    if safe.is_empty() {
        return rest;
    }
    let guards: Vec<Expr> = safe.iter().filter(|operand| repeatable(operand)).cloned().collect();
    let rest = if guards.is_empty() { rest } else { unless_decided(chain(guards, op), op, rest) };
    binary(chain(safe, op), op, rest)
}

/// `rest` where `guard` leaves `guard op rest` open; elsewhere what changes nothing.
fn unless_decided(guard: Expr, op: Operator, rest: Expr) -> Expr {
    let (open, decided) = match op {
        Operator::And => (Expr::IsNotFalse(Box::new(guard)), false),
        _ => (Expr::IsNotTrue(Box::new(guard)), true),
    };
    let decided = Expr::Literal(ScalarValue::Boolean(Some(decided)), None);
    Expr::Case(Case::new(None, vec![(Box::new(open), Box::new(rest))], Some(Box::new(decided))))
}
