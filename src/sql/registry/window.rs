//! Calls with OVER: DataFusion's window functions and our aggregates, with Postgres's result types.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::functions_window as df;
use datafusion::logical_expr::expr::{Cast, Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr, WindowFrame, WindowFunctionDefinition, WindowUDF};

use super::{CastContext, Typed, aggregate, coerce, composite, forms};
use crate::error::{Error, Result, SqlState};
use crate::operators::aggregate::AggregateFunction;
use crate::sql::aggregates::{as_function, ordered_udaf};
use crate::sql::functions::compare::holds_jsonb;
use crate::types::Type;
use crate::types::pg_type::oid::*;

/// What stands around the arguments of a call with OVER.
#[derive(Clone, Debug, Default)]
pub struct WindowOptions {
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<Sort>,
    /// Of the keys before those that only break ties.
    pub order_types: Vec<Type>,
    /// `None`: up to the current row's peers with ORDER BY, else the whole partition.
    pub frame: Option<WindowFrame>,
    pub filter: Option<Expr>,
    pub distinct: bool,
}

/// oid, name, argument types, result type, meaning.
pub type Row = (u32, &'static str, &'static [u32], u32, &'static str);

/// The functions that are window functions only.
pub const ROWS: &[Row] = &[
    (3100, "row_number", &[], INT8, "Number of the row in its partition."),
    (3101, "rank", &[], INT8, "Rank with gaps: rows before the first peer, and one."),
    (3102, "dense_rank", &[], INT8, "Rank without gaps."),
    (3103, "percent_rank", &[], FLOAT8, "Rank from 0 to 1."),
    (3104, "cume_dist", &[], FLOAT8, "Share of the rows up to the last peer."),
    (3105, "ntile", &[INT4], INT4, "Number of the bucket, of so many equal ones."),
    (3106, "lag", &[ANYELEMENT], ANYELEMENT, "Value of the row before."),
    (3107, "lag", &[ANYELEMENT, INT4], ANYELEMENT, "Value so many rows before."),
    (3108, "lag", &[ANYCOMPATIBLE, INT4, ANYCOMPATIBLE], ANYCOMPATIBLE, "Value so many rows before, or a default."),
    (3109, "lead", &[ANYELEMENT], ANYELEMENT, "Value of the next row."),
    (3110, "lead", &[ANYELEMENT, INT4], ANYELEMENT, "Value so many rows after."),
    (3111, "lead", &[ANYCOMPATIBLE, INT4, ANYCOMPATIBLE], ANYCOMPATIBLE, "Value so many rows after, or a default."),
    (3112, "first_value", &[ANYELEMENT], ANYELEMENT, "Value of the frame's first row."),
    (3113, "last_value", &[ANYELEMENT], ANYELEMENT, "Value of the frame's last row."),
    (3114, "nth_value", &[ANYELEMENT, INT4], ANYELEMENT, "Value of the frame's n-th row."),
];

pub fn exists(name: &str) -> bool {
    ROWS.iter().any(|row| row.1 == name)
}

pub fn window(name: &str, args: Vec<Typed>, options: WindowOptions) -> Result<Typed> {
    if options.distinct && (aggregate::exists(name) || composite::exists(name)) {
        return Err(Error::unsupported("DISTINCT in a window aggregate", "Use a subquery with DISTINCT."));
    }
    if composite::within_group(name) {
        let message = format!("OVER is not supported for ordered-set aggregate {name}");
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    if composite::exists(name) {
        return composite::build(name, args, false, &mut |items| {
            let mut options = options.clone();
            options.filter = composite::both(options.filter.take(), items.only);
            let ty = Type::Array(Box::new(items.item.ty.clone()));
            let types = [items.item.ty.arrow()];
            Ok(list(AggregateFunction::ArrayAgg, &types, vec![items.item.expr], items.then, ty, options))
        });
    }
    if aggregate::exists(name) {
        let (udaf, mut args, ty) = aggregate::resolve(name, args)?;
        if let Some(function @ (AggregateFunction::StringAgg | AggregateFunction::ArrayAgg)) = as_function(&udaf) {
            let types = match (function, &ty) {
                (AggregateFunction::ArrayAgg, Type::Array(item)) => vec![item.arrow()],
                _ => vec![Type::Text.arrow(); args.len()],
            };
            return Ok(list(function, &types, args, Vec::new(), ty, options));
        }
        if let Some(AggregateFunction::Min | AggregateFunction::Max) = as_function(&udaf)
            && holds_jsonb(&ty)
        {
            let value = Typed::new(args.remove(0), ty);
            return forms::extreme(value, name == "max", &mut |items| {
                let filter = composite::both(options.filter.clone(), items.only);
                // In the order of the values, not of the window.
                let options = WindowOptions { filter, order_types: Vec::new(), ..options.clone() };
                let ty = Type::Array(Box::new(items.item.ty.clone()));
                let types = [items.item.ty.arrow()];
                Ok(list(AggregateFunction::ArrayAgg, &types, vec![items.item.expr], items.then, ty, options))
            });
        }
        let expr = over(WindowFunctionDefinition::AggregateUDF(udaf), args, options);
        return Ok(Typed::new(expr, ty));
    }
    let no_such = |args: &[Typed]| {
        Error::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("function {} does not exist", super::call::signature_text(name, args)),
        )
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
    };
    let (udf, count): (Arc<WindowUDF>, std::ops::RangeInclusive<usize>) = match name {
        "row_number" => (df::row_number::row_number_udwf(), 0..=0),
        "rank" => (df::rank::rank_udwf(), 0..=0),
        "dense_rank" => (df::rank::dense_rank_udwf(), 0..=0),
        "percent_rank" => (df::rank::percent_rank_udwf(), 0..=0),
        "cume_dist" => (df::cume_dist::cume_dist_udwf(), 0..=0),
        "ntile" => (df::ntile::ntile_udwf(), 1..=1),
        "lag" => (df::lead_lag::lag_udwf(), 1..=3),
        "lead" => (df::lead_lag::lead_udwf(), 1..=3),
        "first_value" => (df::nth_value::first_value_udwf(), 1..=1),
        "last_value" => (df::nth_value::last_value_udwf(), 1..=1),
        "nth_value" => (df::nth_value::nth_value_udwf(), 2..=2),
        _ => return Err(no_such(&args)),
    };
    if options.filter.is_some() {
        return Err(Error::unsupported(
            "FILTER for a window function that is no aggregate",
            "Use CASE inside the call.",
        ));
    }
    if !count.contains(&args.len()) {
        return Err(no_such(&args));
    }
    let mut args = args;
    // DataFusion wants the offset of lag, lead and nth_value and ntile's count as bigint.
    let offset = if name == "ntile" { 0 } else { 1 };
    if let Some(arg) = args.get_mut(offset) {
        arg.expr = super::try_fold(arg.expr.clone())?;
        let typed = coerce(arg.clone(), &Type::Int8, CastContext::Implicit).map_err(|_| no_such(&args_of(arg)))?;
        *arg = typed;
    }
    let ty = match name {
        "row_number" | "rank" | "dense_rank" => Type::Int8,
        "ntile" => Type::Int4,
        "percent_rank" | "cume_dist" => Type::Float8,
        _ => {
            if args[0].ty == Type::Unknown {
                args[0] = coerce(args[0].clone(), &Type::Text, CastContext::Implicit)?;
            }
            match args.get(2) {
                Some(default) => {
                    let both = [args[0].clone(), default.clone()];
                    let ty = super::common_type(&both).map_err(|_| no_such(&args))?;
                    args[0] = coerce(args[0].clone(), &ty, CastContext::Implicit)?;
                    ty
                }
                None => args[0].ty.clone(),
            }
        }
    };
    if let Some(default) = args.get_mut(2) {
        *default = coerce(default.clone(), &ty, CastContext::Implicit)?;
    }
    if let Some(arg) = args.get(offset).cloned() {
        match super::try_fold(arg.expr)? {
            // lag, lead, nth_value and ntile of NULL: no row.
            Expr::Literal(value, _) if value.is_null() => return super::literal_null(&ty),
            Expr::Literal(ScalarValue::Int64(Some(number)), _) => {
                check_number(name, number)?;
                args[offset].expr = Expr::Literal(ScalarValue::Int64(Some(number)), None);
            }
            _ => {
                let what = format!("{name} with a number that is not a constant");
                return Err(Error::unsupported(what, "Write the number."));
            }
        }
    }
    // Outside of the partition a default of the row's own stands.
    if let Some(default) = args.get(2).cloned()
        && !matches!(default.expr, Expr::Literal(..))
    {
        let found = Expr::Literal(ScalarValue::Boolean(Some(true)), None);
        let definition = WindowFunctionDefinition::WindowUDF(udf);
        let inside = over(definition.clone(), vec![found, args[1].expr.clone()], options.clone());
        let value = over(definition, vec![args[0].expr.clone(), args[1].expr.clone()], options);
        let branches = vec![(Expr::IsNotNull(Box::new(inside)), value)];
        return Ok(Typed::new(crate::sql::functions::conditional::case(branches, default.expr, &ty), ty));
    }
    let exprs = args.into_iter().map(|arg| arg.expr).collect();
    let call = over(WindowFunctionDefinition::WindowUDF(udf), exprs, options);
    // These count in UInt64.
    let expr = match name {
        "row_number" | "rank" | "dense_rank" | "ntile" => Expr::Cast(Cast::new(Box::new(call), ty.arrow())),
        _ => call,
    };
    Ok(Typed::new(expr, ty))
}

/// A list aggregate over a window: its values stand in the window's order, which goes with them as arguments.
fn list(
    function: AggregateFunction,
    types: &[DataType],
    mut args: Vec<Expr>,
    then: Vec<(Sort, Type)>,
    ty: Type,
    options: WindowOptions,
) -> Typed {
    let own = options.order_by.iter().cloned().zip(options.order_types.iter().cloned());
    let mut order = Vec::new();
    for (sort, ty) in own.chain(then) {
        let directed = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
        order.push((ty.arrow(), directed));
        args.push(sort.expr);
    }
    let udaf = ordered_udaf(function, types, order, ty.arrow());
    Typed::new(over(WindowFunctionDefinition::AggregateUDF(udaf), args, options), ty)
}

/// 22014, 22016 for what ntile and nth_value can't count.
fn check_number(name: &str, number: i64) -> Result<()> {
    match name {
        "ntile" if number <= 0 => {
            Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_NTILE, "argument of ntile must be greater than zero"))
        }
        "nth_value" if number <= 0 => {
            Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE, "argument of nth_value must be greater than zero"))
        }
        _ => Ok(()),
    }
}

fn args_of(arg: &Typed) -> [Typed; 1] {
    [arg.clone()]
}

fn over(fun: WindowFunctionDefinition, args: Vec<Expr>, options: WindowOptions) -> Expr {
    let frame =
        options.frame.unwrap_or_else(|| WindowFrame::new(if options.order_by.is_empty() { None } else { Some(false) }));
    Expr::WindowFunction(Box::new(WindowFunction {
        fun,
        params: WindowFunctionParams {
            args,
            partition_by: options.partition_by,
            order_by: options.order_by,
            window_frame: frame,
            filter: options.filter.map(Box::new),
            null_treatment: None,
            distinct: options.distinct,
        },
    }))
}
