//! COALESCE, NULLIF, GREATEST, LEAST, and counting NULLs: functions in syntax, expressions in meaning.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, Int32Array};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Case, Expr, Operator as Comparison, Volatility};

use super::compare;
use super::entry::{Function, Typed, built, kernel_call};
use super::kernel::Call;
use crate::error::{Error, Result};
use crate::types::Type;
use crate::types::pg_type::oid::*;

fn null_of(ty: &Type) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::try_from(&ty.arrow())?, None))
}

/// CASE: what stands behind a WHEN is computed where that holds only.
///
/// DataFusion turns a boolean `CASE WHEN a THEN b ELSE c END` into `(a AND b) OR (NOT a AND c)`, which computes `b` and
/// `c` where they must not be. With an operand it lets it stand, so where that matters it is `CASE true WHEN a ...`.
pub fn case(branches: Vec<(Expr, Expr)>, otherwise: Expr, ty: &Type) -> Expr {
    let guarded = branches.iter().skip(1).any(|(when, _)| may_fail(when))
        || branches.iter().any(|(_, then)| may_fail(then))
        || may_fail(&otherwise);
    let operand = (*ty == Type::Bool && guarded).then(|| Box::new(Expr::Literal(ScalarValue::from(true), None)));
    let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Expr::Case(Case::new(operand, branches, Some(Box::new(otherwise))))
}

/// Whether computing it may fail on some row, as far as its looks tell.
fn may_fail(expr: &Expr) -> bool {
    let fails = expr.exists(|node| {
        Ok(match node {
            Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::Literal(..) | Expr::Alias(_) => false,
            Expr::Not(_) | Expr::IsNull(_) | Expr::IsNotNull(_) => false,
            Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::IsUnknown(_) => false,
            Expr::IsNotTrue(_) | Expr::IsNotFalse(_) | Expr::IsNotUnknown(_) => false,
            Expr::BinaryExpr(binary) => match binary.op {
                Comparison::Eq | Comparison::NotEq | Comparison::Lt | Comparison::LtEq => false,
                Comparison::Gt | Comparison::GtEq | Comparison::And | Comparison::Or => false,
                Comparison::IsDistinctFrom | Comparison::IsNotDistinctFrom => false,
                _ => true,
            },
            Expr::InList(_) | Expr::Between(_) => false,
            _ => true,
        })
    });
    fails.unwrap_or(true)
}

/// The first argument that is not NULL, as a CASE: later arguments are not computed where an earlier one is there.
fn coalesce(args: Vec<Typed>) -> Result<Typed> {
    let ty = args.first().map(|arg| arg.ty.clone()).ok_or_else(|| Error::internal("coalesce of nothing"))?;
    let mut args = args.into_iter().map(|arg| arg.expr).collect::<Vec<_>>();
    let Some(last) = args.pop() else { return Err(Error::internal("coalesce of nothing")) };
    if args.is_empty() {
        return Ok(Typed::new(last, ty));
    }
    let branches = args.into_iter().map(|arg| (Expr::IsNotNull(Box::new(arg.clone())), arg)).collect();
    Ok(Typed::new(case(branches, last, &ty), ty))
}

/// NULL where the arguments are equal, else the first.
fn nullif(args: Vec<Typed>) -> Result<Typed> {
    let first = args.first().cloned().ok_or_else(|| Error::internal("nullif of nothing"))?;
    let equal = compare::comparison(Comparison::Eq, args)?;
    let branches = vec![(Box::new(equal.expr), Box::new(null_of(&first.ty)?))];
    Ok(Typed::new(Expr::Case(Case::new(None, branches, Some(Box::new(first.expr)))), first.ty))
}

fn greatest(args: Vec<Typed>) -> Result<Typed> {
    extreme("greatest", args, pick_greatest)
}

fn least(args: Vec<Typed>) -> Result<Typed> {
    extreme("least", args, pick_least)
}

fn extreme(name: &str, args: Vec<Typed>, kernel: super::kernel::Kernel) -> Result<Typed> {
    let ty = args.first().map(|arg| arg.ty.clone()).ok_or_else(|| Error::internal("no arguments"))?;
    Ok(kernel_call(name, args, ty, Volatility::Immutable, kernel))
}

fn pick_greatest(call: &Call) -> Result<ArrayRef> {
    pick(call, Ordering::Greater)
}

fn pick_least(call: &Call) -> Result<ArrayRef> {
    pick(call, Ordering::Less)
}

/// Row by row the extreme of the arguments that are not NULL; the first of equals.
fn pick(call: &Call, wanted: Ordering) -> Result<ArrayRef> {
    let columns = call.args.iter().map(|arg| arg.expanded(call.rows)).collect::<Result<Vec<_>>>()?;
    let keys = columns.iter().zip(call.types).map(|(column, ty)| compare::ordered(ty, column));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let options = arrow::compute::SortOptions::default();
    let mut chosen: Vec<(usize, usize)> = (0..call.rows).map(|row| (0, row)).collect();
    for next in 1..columns.len() {
        let compare = (0..next)
            .map(|before| arrow::array::make_comparator(&keys[next], &keys[before], options))
            .collect::<Result<Vec<_>, _>>()?;
        for (row, best) in chosen.iter_mut().enumerate() {
            if columns[next].is_null(row) {
                continue;
            }
            if columns[best.0].is_null(row) || compare[best.0](row, row) == wanted {
                best.0 = next;
            }
        }
    }
    let columns: Vec<&dyn Array> = columns.iter().map(|column| column.as_ref()).collect();
    Ok(arrow::compute::interleave(&columns, &chosen)?)
}

fn build_num_nulls(args: Vec<Typed>) -> Result<Typed> {
    Ok(kernel_call("num_nulls", args, Type::Int4, Volatility::Immutable, num_nulls))
}

fn build_num_nonnulls(args: Vec<Typed>) -> Result<Typed> {
    Ok(kernel_call("num_nonnulls", args, Type::Int4, Volatility::Immutable, num_nonnulls))
}

fn nulls_in(call: &Call, row: usize) -> i32 {
    call.args.iter().filter(|arg| arg.is_null(row)).count() as i32
}

fn num_nulls(call: &Call) -> Result<ArrayRef> {
    Ok(std::sync::Arc::new(Int32Array::from_iter_values((0..call.rows).map(|row| nulls_in(call, row)))))
}

fn num_nonnulls(call: &Call) -> Result<ArrayRef> {
    let all = call.args.len() as i32;
    Ok(std::sync::Arc::new(Int32Array::from_iter_values((0..call.rows).map(|row| all - nulls_in(call, row)))))
}

pub const FUNCTIONS: &[Function] = &[
    built(16_800_010, "coalesce", &[ANYCOMPATIBLE], ANYCOMPATIBLE, coalesce, "The first argument that is not NULL.")
        .variadic(),
    built(
        16_800_011,
        "nullif",
        &[ANYCOMPATIBLE, ANYCOMPATIBLE],
        ANYCOMPATIBLE,
        nullif,
        "NULL where both are equal, else the first.",
    ),
    built(
        16_800_012,
        "greatest",
        &[ANYCOMPATIBLE],
        ANYCOMPATIBLE,
        greatest,
        "The greatest argument; NULLs are passed over.",
    )
    .variadic(),
    built(16_800_013, "least", &[ANYCOMPATIBLE], ANYCOMPATIBLE, least, "The least argument; NULLs are passed over.")
        .variadic(),
    built(438, "num_nulls", &[ANY], INT4, build_num_nulls, "How many arguments are NULL.").variadic(),
    built(440, "num_nonnulls", &[ANY], INT4, build_num_nonnulls, "How many arguments are not NULL.").variadic(),
];
