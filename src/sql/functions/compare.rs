//! Comparisons: `=`, `<>`, `<`, `<=`, `>`, `>=`, IS [NOT] DISTINCT FROM over any two types Postgres compares.
//!
//! They become DataFusion's own binary expressions over operands of one type, which its optimizer understands (equality
//! joins, filters on keys). Where Arrow orders values otherwise than Postgres the operands are first replaced by a key
//! that Arrow orders rightly: floats without a negative zero, intervals by their length, arrays and rows as bytes. What is
//! text to Arrow and jsonb to Postgres, also inside arrays and rows, only its SQL type tells.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, ListArray, StructArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator as Comparison, Volatility};

use super::entry::Typed;
use super::kernel::{Call, PgFunction};
use super::strict::strict1;
use crate::delta::keys;
use crate::error::{Error, Result};
use crate::types::builder::push_bytes;
use crate::types::{Type, json};

/// The comparison of two operands of one SQL type.
pub fn comparison(op: Comparison, args: Vec<Typed>) -> Result<Typed> {
    let [left, right]: [Typed; 2] = args.try_into().map_err(|_| Error::internal("a comparison has two operands"))?;
    if left.ty.arrow() != right.ty.arrow() {
        return Err(Error::internal(format!("comparison of {} with {}", left.ty.name(), right.ty.name())));
    }
    let keyed = keyed_for(op);
    let expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(keyed(left).expr), op, Box::new(keyed(right).expr)));
    Ok(Typed::new(expr, Type::Bool))
}

/// What a comparison's operands are replaced by.
pub fn keyed_for(op: Comparison) -> fn(Typed) -> Typed {
    match op {
        Comparison::Lt | Comparison::LtEq | Comparison::Gt | Comparison::GtEq => order,
        _ => key,
    }
}

/// An expression that Arrow compares, groups and hashes as Postgres compares the value; the value itself for most
/// types. Sorting by it, grouping by it and joining on it is right for every type.
pub fn key(value: Typed) -> Typed {
    let Typed { expr, ty } = value;
    let (name, kernel, to): (_, super::kernel::Kernel, _) = match (&ty, &expr) {
        (Type::Float8, Expr::Literal(ScalarValue::Float64(Some(v)), _)) => {
            return Typed::new(Expr::Literal(ScalarValue::Float64(Some(normal(*v))), None), ty);
        }
        (Type::Float4, Expr::Literal(ScalarValue::Float32(Some(v)), _)) => {
            return Typed::new(Expr::Literal(ScalarValue::Float32(Some(normal(f64::from(*v)) as f32)), None), ty);
        }
        (Type::Float4 | Type::Float8, _) => ("float_key", order_kernel, ty.clone()),
        (Type::Jsonb, _) => ("jsonb_key", jsonb_key, Type::Jsonb),
        (Type::Interval, _) => ("interval_key", order_kernel, Type::fixed_numeric(38, 0)),
        (Type::Array(_), _) => ("array_key", order_kernel, Type::Bytea),
        (Type::Struct(_), _) => ("row_key", order_kernel, Type::Bytea),
        _ => return Typed::new(expr, ty),
    };
    let udf = PgFunction::udf(name, vec![ty], to.clone(), Volatility::Immutable, kernel);
    Typed::new(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![expr])), to)
}

/// What sorts as Postgres sorts the value. It is the [`key`], but for jsonb, whose equality its text decides sooner.
pub fn order(value: Typed) -> Typed {
    if value.ty != Type::Jsonb {
        return key(value);
    }
    let udf = PgFunction::udf("jsonb_order", vec![Type::Jsonb], Type::Bytea, Volatility::Immutable, order_kernel);
    Typed::new(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![value.expr])), Type::Bytea)
}

fn order_kernel(call: &Call) -> Result<ArrayRef> {
    ordered(&call.types[0], &call.args[0].array)
}

/// A column of this type as one that Arrow sorts as Postgres sorts the values, and finds equal where `=` holds: what
/// [`order`] computes.
pub fn ordered(ty: &Type, column: &ArrayRef) -> Result<ArrayRef> {
    keys::sortable(&with_ordered_jsonb(ty, column)?)
}

/// The same with [`json::order::key`] in place of each jsonb.
fn with_ordered_jsonb(ty: &Type, column: &ArrayRef) -> Result<ArrayRef> {
    match ty {
        Type::Jsonb => {
            let mut out = BinaryBuilder::with_capacity(column.len(), column.len() * 8);
            for text in column.as_string::<i32>() {
                let key = text.map(json::parse).transpose()?.map(|value| json::order::key(&value));
                push_bytes(&mut out, key.as_deref())?;
            }
            Ok(Arc::new(out.finish()))
        }
        Type::Array(item) if holds_jsonb(item) => {
            let list = column.as_list::<i32>();
            let items = with_ordered_jsonb(item, list.values())?;
            let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
            Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), items, list.nulls().cloned())?))
        }
        Type::Struct(fields) if holds_jsonb(ty) => {
            let rows = column.as_struct();
            let (mut types, mut columns) = (Vec::with_capacity(fields.len()), Vec::with_capacity(fields.len()));
            for (field, column) in fields.iter().zip(rows.columns()) {
                // Below a NULL row may stand anything.
                let nulls = NullBuffer::union(column.nulls(), rows.nulls());
                let column = make_array(column.to_data().into_builder().nulls(nulls).build()?);
                let column = with_ordered_jsonb(&field.ty, &column)?;
                types.push(Field::new(&field.name, column.data_type().clone(), true));
                columns.push(column);
            }
            Ok(Arc::new(StructArray::try_new(types.into(), columns, rows.nulls().cloned())?))
        }
        _ => Ok(column.clone()),
    }
}

/// Whether jsonb, which operators take for text, is the type or inside it.
pub fn holds_jsonb(ty: &Type) -> bool {
    match ty {
        Type::Jsonb => true,
        Type::Array(item) => holds_jsonb(item),
        Type::Struct(fields) => fields.iter().any(|field| holds_jsonb(&field.ty)),
        _ => false,
    }
}

/// No negative zero, one NaN: what Arrow's total order then sorts and equates as Postgres does.
fn normal(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// Whether equal values may print differently, so that not any of them can stand for all. Floats do not count: the
/// operators themselves make -0.0 of a group 0.0.
pub fn has_equal_forms(ty: &Type) -> bool {
    match ty {
        Type::Interval | Type::Jsonb => true,
        Type::Array(item) => inside_has_forms(item),
        Type::Struct(fields) => fields.iter().any(|field| inside_has_forms(&field.ty)),
        _ => false,
    }
}

fn inside_has_forms(ty: &Type) -> bool {
    matches!(ty, Type::Float4 | Type::Float8) || has_equal_forms(ty)
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
