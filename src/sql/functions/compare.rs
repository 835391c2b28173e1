//! Comparisons: `=`, `<>`, `<`, `<=`, `>`, `>=`, IS [NOT] DISTINCT FROM over any two types Postgres compares.
//!
//! They become DataFusion's own binary expressions over operands of one type, which its optimizer understands (equality
//! joins, filters on keys). Where Arrow orders values otherwise than Postgres the operands are first replaced by a key
//! that Arrow orders rightly: floats without a negative zero, intervals by their length. Arrays and rows, which Arrow's
//! kernels do not compare, have a kernel of their own.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBuilder};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator as Comparison, Volatility};

use super::entry::Typed;
use super::kernel::{Call, PgFunction, strict1};
use crate::delta::keys;
use crate::error::{Error, Result};
use crate::types::{Type, json};

/// The comparison of two operands of one SQL type.
pub fn comparison(op: Comparison, args: Vec<Typed>) -> Result<Typed> {
    let [left, right]: [Typed; 2] = args.try_into().map_err(|_| Error::internal("a comparison has two operands"))?;
    if left.ty.arrow() != right.ty.arrow() {
        return Err(Error::internal(format!("comparison of {} with {}", left.ty.name(), right.ty.name())));
    }
    let expr = match &left.ty {
        Type::Array(_) | Type::Struct(_) => {
            let name = comparison_name(op)?;
            let udf = PgFunction::udf(
                name,
                vec![left.ty.clone(), right.ty.clone()],
                Type::Bool,
                Volatility::Immutable,
                nested_kernel(op)?,
            );
            Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![left.expr, right.expr]))
        }
        _ => Expr::BinaryExpr(BinaryExpr::new(Box::new(key(left)), op, Box::new(key(right)))),
    };
    Ok(Typed::new(expr, Type::Bool))
}

/// An expression that Arrow compares, groups and hashes as Postgres compares the value; the value itself for most
/// types. Sorting by it, and grouping and joining on it, is right for every type but arrays of floats.
pub fn key(value: Typed) -> Expr {
    let Typed { expr, ty } = value;
    match (&ty, &expr) {
        (Type::Float8, Expr::Literal(ScalarValue::Float64(Some(v)), _)) => {
            Expr::Literal(ScalarValue::Float64(Some(normal(*v))), None)
        }
        (Type::Float4, Expr::Literal(ScalarValue::Float32(Some(v)), _)) => {
            Expr::Literal(ScalarValue::Float32(Some(normal(f64::from(*v)) as f32)), None)
        }
        (Type::Float8, _) => one("float_key", expr, Type::Float8, Type::Float8, sortable),
        (Type::Float4, _) => one("float_key", expr, Type::Float4, Type::Float4, sortable),
        (Type::Jsonb, _) => one("jsonb_key", expr, Type::Jsonb, Type::Jsonb, jsonb_key),
        (Type::Interval, _) => one("interval_key", expr, Type::Interval, Type::fixed_numeric(38, 0), sortable),
        _ => expr,
    }
}

fn one(name: &str, expr: Expr, from: Type, to: Type, kernel: super::kernel::Kernel) -> Expr {
    let udf = PgFunction::udf(name, vec![from], to, Volatility::Immutable, kernel);
    Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![expr]))
}

/// No negative zero, one NaN: what Arrow's total order then sorts and equates as Postgres does.
fn normal(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// Floats normalised, intervals by their length: as the keys of arrangements are.
fn sortable(call: &Call) -> Result<ArrayRef> {
    keys::sortable(&call.args[0].array)
}

/// Canonical text in which equal numbers are equal too.
fn jsonb_key(call: &Call) -> Result<ArrayRef> {
    strict1(call, |text: &str| {
        if !text.contains('.') {
            return Ok(text.to_string());
        }
        Ok(json::parse(text)?.with_trimmed_numbers().to_text())
    })
}

fn comparison_name(op: Comparison) -> Result<&'static str> {
    Ok(match op {
        Comparison::Eq => "eq",
        Comparison::NotEq => "ne",
        Comparison::Lt => "lt",
        Comparison::LtEq => "le",
        Comparison::Gt => "gt",
        Comparison::GtEq => "ge",
        Comparison::IsDistinctFrom => "is_distinct_from",
        Comparison::IsNotDistinctFrom => "is_not_distinct_from",
        other => return Err(Error::internal(format!("{other} is no comparison"))),
    })
}

fn nested_kernel(op: Comparison) -> Result<super::kernel::Kernel> {
    Ok(match op {
        Comparison::Eq => |call| nested(call, Ordering::is_eq),
        Comparison::NotEq => |call| nested(call, Ordering::is_ne),
        Comparison::Lt => |call| nested(call, Ordering::is_lt),
        Comparison::LtEq => |call| nested(call, Ordering::is_le),
        Comparison::Gt => |call| nested(call, Ordering::is_gt),
        Comparison::GtEq => |call| nested(call, Ordering::is_ge),
        Comparison::IsDistinctFrom => |call| nested_distinct(call, true),
        Comparison::IsNotDistinctFrom => |call| nested_distinct(call, false),
        other => return Err(Error::internal(format!("{other} is no comparison"))),
    })
}

fn orders(call: &Call) -> Result<(ArrayRef, ArrayRef, arrow::array::DynComparator)> {
    let (left, right) = (call.args[0].expanded(call.rows)?, call.args[1].expanded(call.rows)?);
    let (left, right) = (keys::normalize_floats(&left), keys::normalize_floats(&right));
    // NULL elements compare as greatest, and as equal among themselves, as in Postgres's arrays.
    let options = arrow::compute::SortOptions { descending: false, nulls_first: false };
    let compare = arrow::array::make_comparator(&left, &right, options)?;
    Ok((left, right, compare))
}

fn nested(call: &Call, holds: fn(Ordering) -> bool) -> Result<ArrayRef> {
    use arrow::array::Array;
    let (left, right, compare) = orders(call)?;
    let mut out = BooleanBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        if left.is_null(row) || right.is_null(row) {
            out.append_null();
        } else {
            out.append_value(holds(compare(row, row)));
        }
    }
    Ok(Arc::new(out.finish()))
}

fn nested_distinct(call: &Call, distinct: bool) -> Result<ArrayRef> {
    let (_, _, compare) = orders(call)?;
    let out: BooleanArray = (0..call.rows).map(|row| Some(compare(row, row).is_ne() == distinct)).collect();
    Ok(Arc::new(out))
}
