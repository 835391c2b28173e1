//! Aggregate calls: overloads, Postgres's result types, and our accumulators behind DataFusion's interface.

use std::sync::Arc;

use datafusion::logical_expr::expr::{AggregateFunction as Call, Sort};
use datafusion::logical_expr::{AggregateUDF, Expr};

use super::Typed;
use super::call::{coerce_args, signature_text};
use super::composite::{self, Items};
use super::forms;
use super::select::{Choice, select};
use crate::error::{Error, Result, SqlState};
use crate::operators::aggregate::AggregateFunction;
use crate::sql::aggregates::{as_function, udaf};
use crate::sql::functions::Returns;
use crate::sql::functions::compare::{has_equal_forms, holds_jsonb};
use crate::types::pg_type::oid::*;
use crate::types::{MAX_NUMERIC_PRECISION, Numeric, Type};

/// What stands in and behind the parentheses of an aggregate call.
#[derive(Clone, Debug, Default)]
pub struct AggregateOptions {
    pub distinct: bool,
    pub filter: Option<Expr>,
    pub order_by: Vec<Sort>,
}

/// An aggregate under one signature.
pub struct Aggregate {
    pub oid: u32,
    pub name: &'static str,
    pub args: &'static [u32],
    pub returns: Returns,
    pub function: AggregateFunction,
    pub doc: &'static str,
}

const fn row(
    oid: u32,
    name: &'static str,
    args: &'static [u32],
    returns: u32,
    function: AggregateFunction,
    doc: &'static str,
) -> Aggregate {
    Aggregate { oid, name, args, returns: Returns::Type(returns), function, doc }
}

/// Over `char(n)`, whose length is part of the value.
const fn padded(oid: u32, name: &'static str, function: AggregateFunction, doc: &'static str) -> Aggregate {
    Aggregate { oid, name, args: &[BPCHAR], returns: Returns::Derived(BPCHAR, same_type), function, doc }
}

const fn numeric(
    oid: u32,
    name: &'static str,
    args: &'static [u32],
    rule: fn(&[Type]) -> Result<Type>,
    function: AggregateFunction,
    doc: &'static str,
) -> Aggregate {
    Aggregate { oid, name, args, returns: Returns::Derived(NUMERIC, rule), function, doc }
}

/// All digits that 38 allow, at the argument's scale.
fn sum_type(args: &[Type]) -> Result<Type> {
    Ok(match args[0].as_numeric() {
        Some(Numeric::Fixed { scale, .. }) => Type::fixed_numeric(MAX_NUMERIC_PRECISION, scale),
        _ => Type::NUMERIC,
    })
}

/// At least 16 digits behind the point.
fn average_type(args: &[Type]) -> Result<Type> {
    Ok(match args[0].as_numeric() {
        Some(Numeric::Fixed { precision, scale }) => {
            let result = scale.max(16);
            let integer = i16::from(precision) - i16::from(scale);
            if integer + i16::from(result) <= i16::from(MAX_NUMERIC_PRECISION) {
                Type::fixed_numeric(MAX_NUMERIC_PRECISION, result)
            } else {
                Type::NUMERIC
            }
        }
        _ => Type::NUMERIC,
    })
}

/// Squares have twice the digits before the point.
fn spread_type(args: &[Type]) -> Result<Type> {
    Ok(match args[0].as_numeric() {
        Some(Numeric::Fixed { precision, scale }) => {
            let result = i32::from(scale.max(16));
            match Numeric::with_digits(2 * (i32::from(precision) - i32::from(scale)), result) {
                Numeric::Fixed { scale, .. } => Type::fixed_numeric(MAX_NUMERIC_PRECISION, scale),
                Numeric::Free => Type::NUMERIC,
            }
        }
        _ => Type::NUMERIC,
    })
}

fn same_type(args: &[Type]) -> Result<Type> {
    Ok(args[0].clone())
}

const ROWS: &str = "Number of rows.";
const VALUES: &str = "Number of values that are not NULL.";
const SUM: &str = "Sum of the values that are not NULL.";
const AVG: &str = "Mean of the values that are not NULL.";
const MIN: &str = "Smallest value.";
const MAX: &str = "Greatest value.";
const VAR_POP: &str = "Population variance.";
const VAR_SAMP: &str = "Sample variance.";
const DEV_POP: &str = "Population standard deviation.";
const DEV_SAMP: &str = "Sample standard deviation.";

/// Every aggregate.
pub const AGGREGATES: &[Aggregate] = &{
    use AggregateFunction as F;
    [
        row(2803, "count", &[], INT8, F::CountRows, ROWS),
        row(2147, "count", &[ANY], INT8, F::Count, VALUES),
        row(2109, "sum", &[INT2], INT8, F::Sum, SUM),
        row(2108, "sum", &[INT4], INT8, F::Sum, SUM),
        numeric(2107, "sum", &[INT8], sum_type, F::Sum, SUM),
        numeric(2114, "sum", &[NUMERIC], sum_type, F::Sum, SUM),
        row(2110, "sum", &[FLOAT4], FLOAT4, F::Sum, SUM),
        row(2111, "sum", &[FLOAT8], FLOAT8, F::Sum, SUM),
        row(2113, "sum", &[INTERVAL], INTERVAL, F::Sum, SUM),
        numeric(2102, "avg", &[INT2], average_type, F::Avg, AVG),
        numeric(2101, "avg", &[INT4], average_type, F::Avg, AVG),
        numeric(2100, "avg", &[INT8], average_type, F::Avg, AVG),
        numeric(2103, "avg", &[NUMERIC], average_type, F::Avg, AVG),
        row(2104, "avg", &[FLOAT4], FLOAT8, F::Avg, AVG),
        row(2105, "avg", &[FLOAT8], FLOAT8, F::Avg, AVG),
        row(2106, "avg", &[INTERVAL], INTERVAL, F::Avg, AVG),
        row(2131, "min", &[INT8], INT8, F::Min, MIN),
        row(2132, "min", &[INT4], INT4, F::Min, MIN),
        row(2133, "min", &[INT2], INT2, F::Min, MIN),
        row(2134, "min", &[OID], OID, F::Min, MIN),
        row(2135, "min", &[FLOAT4], FLOAT4, F::Min, MIN),
        row(2136, "min", &[FLOAT8], FLOAT8, F::Min, MIN),
        row(2138, "min", &[DATE], DATE, F::Min, MIN),
        row(2139, "min", &[TIME], TIME, F::Min, MIN),
        row(2142, "min", &[TIMESTAMP], TIMESTAMP, F::Min, MIN),
        row(2143, "min", &[TIMESTAMPTZ], TIMESTAMPTZ, F::Min, MIN),
        row(2144, "min", &[INTERVAL], INTERVAL, F::Min, MIN),
        row(2145, "min", &[TEXT], TEXT, F::Min, MIN),
        padded(2245, "min", F::Min, MIN),
        numeric(2146, "min", &[NUMERIC], same_type, F::Min, MIN),
        row(2051, "min", &[ANYARRAY], ANYARRAY, F::Min, MIN),
        row(2115, "max", &[INT8], INT8, F::Max, MAX),
        row(2116, "max", &[INT4], INT4, F::Max, MAX),
        row(2117, "max", &[INT2], INT2, F::Max, MAX),
        row(2118, "max", &[OID], OID, F::Max, MAX),
        row(2119, "max", &[FLOAT4], FLOAT4, F::Max, MAX),
        row(2120, "max", &[FLOAT8], FLOAT8, F::Max, MAX),
        row(2122, "max", &[DATE], DATE, F::Max, MAX),
        row(2123, "max", &[TIME], TIME, F::Max, MAX),
        row(2126, "max", &[TIMESTAMP], TIMESTAMP, F::Max, MAX),
        row(2127, "max", &[TIMESTAMPTZ], TIMESTAMPTZ, F::Max, MAX),
        row(2128, "max", &[INTERVAL], INTERVAL, F::Max, MAX),
        row(2129, "max", &[TEXT], TEXT, F::Max, MAX),
        padded(2244, "max", F::Max, MAX),
        numeric(2130, "max", &[NUMERIC], same_type, F::Max, MAX),
        row(2050, "max", &[ANYARRAY], ANYARRAY, F::Max, MAX),
        numeric(2718, "var_pop", &[INT8], spread_type, F::VarPop, VAR_POP),
        numeric(2719, "var_pop", &[INT4], spread_type, F::VarPop, VAR_POP),
        numeric(2720, "var_pop", &[INT2], spread_type, F::VarPop, VAR_POP),
        row(2721, "var_pop", &[FLOAT4], FLOAT8, F::VarPop, VAR_POP),
        row(2722, "var_pop", &[FLOAT8], FLOAT8, F::VarPop, VAR_POP),
        numeric(2723, "var_pop", &[NUMERIC], spread_type, F::VarPop, VAR_POP),
        numeric(2641, "var_samp", &[INT8], spread_type, F::VarSamp, VAR_SAMP),
        numeric(2642, "var_samp", &[INT4], spread_type, F::VarSamp, VAR_SAMP),
        numeric(2643, "var_samp", &[INT2], spread_type, F::VarSamp, VAR_SAMP),
        row(2644, "var_samp", &[FLOAT4], FLOAT8, F::VarSamp, VAR_SAMP),
        row(2645, "var_samp", &[FLOAT8], FLOAT8, F::VarSamp, VAR_SAMP),
        numeric(2646, "var_samp", &[NUMERIC], spread_type, F::VarSamp, VAR_SAMP),
        numeric(2148, "variance", &[INT8], spread_type, F::VarSamp, VAR_SAMP),
        numeric(2149, "variance", &[INT4], spread_type, F::VarSamp, VAR_SAMP),
        numeric(2150, "variance", &[INT2], spread_type, F::VarSamp, VAR_SAMP),
        row(2151, "variance", &[FLOAT4], FLOAT8, F::VarSamp, VAR_SAMP),
        row(2152, "variance", &[FLOAT8], FLOAT8, F::VarSamp, VAR_SAMP),
        numeric(2153, "variance", &[NUMERIC], spread_type, F::VarSamp, VAR_SAMP),
        numeric(2724, "stddev_pop", &[INT8], spread_type, F::StddevPop, DEV_POP),
        numeric(2725, "stddev_pop", &[INT4], spread_type, F::StddevPop, DEV_POP),
        numeric(2726, "stddev_pop", &[INT2], spread_type, F::StddevPop, DEV_POP),
        row(2727, "stddev_pop", &[FLOAT4], FLOAT8, F::StddevPop, DEV_POP),
        row(2728, "stddev_pop", &[FLOAT8], FLOAT8, F::StddevPop, DEV_POP),
        numeric(2729, "stddev_pop", &[NUMERIC], spread_type, F::StddevPop, DEV_POP),
        numeric(2712, "stddev_samp", &[INT8], spread_type, F::StddevSamp, DEV_SAMP),
        numeric(2713, "stddev_samp", &[INT4], spread_type, F::StddevSamp, DEV_SAMP),
        numeric(2714, "stddev_samp", &[INT2], spread_type, F::StddevSamp, DEV_SAMP),
        row(2715, "stddev_samp", &[FLOAT4], FLOAT8, F::StddevSamp, DEV_SAMP),
        row(2716, "stddev_samp", &[FLOAT8], FLOAT8, F::StddevSamp, DEV_SAMP),
        numeric(2717, "stddev_samp", &[NUMERIC], spread_type, F::StddevSamp, DEV_SAMP),
        numeric(2154, "stddev", &[INT8], spread_type, F::StddevSamp, DEV_SAMP),
        numeric(2155, "stddev", &[INT4], spread_type, F::StddevSamp, DEV_SAMP),
        numeric(2156, "stddev", &[INT2], spread_type, F::StddevSamp, DEV_SAMP),
        row(2157, "stddev", &[FLOAT4], FLOAT8, F::StddevSamp, DEV_SAMP),
        row(2158, "stddev", &[FLOAT8], FLOAT8, F::StddevSamp, DEV_SAMP),
        numeric(2159, "stddev", &[NUMERIC], spread_type, F::StddevSamp, DEV_SAMP),
        row(2517, "bool_and", &[BOOL], BOOL, F::BoolAnd, "Whether all values are true."),
        row(2519, "every", &[BOOL], BOOL, F::BoolAnd, "Whether all values are true."),
        row(2518, "bool_or", &[BOOL], BOOL, F::BoolOr, "Whether any value is true."),
        row(2236, "bit_and", &[INT2], INT2, F::BitAnd, "Bitwise AND of the values."),
        row(2238, "bit_and", &[INT4], INT4, F::BitAnd, "Bitwise AND of the values."),
        row(2240, "bit_and", &[INT8], INT8, F::BitAnd, "Bitwise AND of the values."),
        row(2237, "bit_or", &[INT2], INT2, F::BitOr, "Bitwise OR of the values."),
        row(2239, "bit_or", &[INT4], INT4, F::BitOr, "Bitwise OR of the values."),
        row(2241, "bit_or", &[INT8], INT8, F::BitOr, "Bitwise OR of the values."),
        row(6164, "bit_xor", &[INT2], INT2, F::BitXor, "Bitwise exclusive OR of the values."),
        row(6165, "bit_xor", &[INT4], INT4, F::BitXor, "Bitwise exclusive OR of the values."),
        row(6166, "bit_xor", &[INT8], INT8, F::BitXor, "Bitwise exclusive OR of the values."),
        row(3538, "string_agg", &[TEXT, TEXT], TEXT, F::StringAgg, "The values joined by the delimiter."),
        row(2335, "array_agg", &[ANYNONARRAY], ANYARRAY, F::ArrayAgg, "An array of all values, NULLs included."),
    ]
};

pub fn exists(name: &str) -> bool {
    AGGREGATES.iter().any(|entry| entry.name == name)
}

/// The overload that a call means: its function, the cast arguments, the result type. 42883, 42725.
pub fn resolve(name: &str, args: Vec<Typed>) -> Result<(Arc<AggregateUDF>, Vec<Expr>, Type)> {
    let candidates: Vec<&Aggregate> =
        AGGREGATES.iter().filter(|entry| entry.name == name && entry.args.len() == args.len()).collect();
    let declared: Vec<Vec<u32>> = candidates.iter().map(|entry| entry.args.to_vec()).collect();
    let types: Vec<u32> = args.iter().map(|arg| arg.ty.oid()).collect();
    let chosen = match select(&types, &declared) {
        Choice::One(index) => candidates[index],
        Choice::None if name == "count" && args.is_empty() => candidates[0],
        Choice::None => {
            return Err(Error::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("function {} does not exist", signature_text(name, &args)),
            )
            .with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ));
        }
        Choice::Ambiguous => {
            return Err(Error::new(
                SqlState::AMBIGUOUS_FUNCTION,
                format!("function {} is not unique", signature_text(name, &args)),
            )
            .with_hint("Could not choose a best candidate function. You might need to add explicit type casts."));
        }
    };
    let args = coerce_args(args, chosen.args, chosen.returns)?;
    let types: Vec<Type> = args.iter().map(|arg| arg.ty.clone()).collect();
    let ty = super::call::result_type(&args, chosen.args, chosen.returns)?;
    let arrow: Vec<_> = types.iter().map(Type::arrow).collect();
    // count(*) counts a constant, as DataFusion's own does.
    let mut exprs: Vec<Expr> = args.into_iter().map(|arg| arg.expr).collect();
    if chosen.function == AggregateFunction::CountRows {
        exprs.push(super::int_literal(1).expr);
        return Ok((udaf(chosen.function, &[Type::Int4.arrow()], ty.arrow()), exprs, ty));
    }
    Ok((udaf(chosen.function, &arrow, ty.arrow()), exprs, ty))
}

pub fn aggregate(name: &str, args: Vec<Typed>, options: AggregateOptions) -> Result<Typed> {
    if composite::exists(name) {
        return composite::build(name, args, options.distinct, &mut |items: Items| {
            let AggregateOptions { distinct, filter, mut order_by } = options.clone();
            order_by.extend(items.then.into_iter().map(|(sort, _)| sort));
            let options = AggregateOptions { distinct, filter: composite::both(filter, items.only), order_by };
            match distinct && has_equal_forms(&items.item.ty) {
                true => forms::distinct(items.item, options),
                false => Ok(list(items.item, options)),
            }
        });
    }
    let (udaf, mut args, ty) = resolve(name, args)?;
    use AggregateFunction as F;
    match (as_function(&udaf), &ty) {
        (Some(F::ArrayAgg), Type::Array(item)) if options.distinct && has_equal_forms(item) => {
            return forms::distinct(Typed::new(args.remove(0), item.as_ref().clone()), options);
        }
        (Some(function @ (F::Sum | F::Avg)), Type::Interval) if options.distinct => {
            return forms::distinct_intervals(name, function, args.remove(0), options);
        }
        (Some(F::Min | F::Max), ty) if holds_jsonb(ty) => {
            return forms::extreme(Typed::new(args.remove(0), ty.clone()), name == "max", &mut |items| {
                let order_by = items.then.into_iter().map(|(sort, _)| sort).collect();
                let filter = composite::both(options.filter.clone(), items.only);
                Ok(list(items.item, AggregateOptions { distinct: false, filter, order_by }))
            });
        }
        _ => {}
    }
    let AggregateOptions { distinct, filter, order_by } = options;
    let call = Call::new_udf(udaf, args, distinct, filter.map(Box::new), order_by, None);
    Ok(Typed::new(Expr::AggregateFunction(call), ty))
}

/// The values as an array.
pub fn list(item: Typed, options: AggregateOptions) -> Typed {
    let ty = Type::Array(Box::new(item.ty.clone()));
    let udaf = udaf(AggregateFunction::ArrayAgg, &[item.ty.arrow()], ty.arrow());
    let AggregateOptions { distinct, filter, order_by } = options;
    let call = Call::new_udf(udaf, vec![item.expr], distinct, filter.map(Box::new), order_by, None);
    Typed::new(Expr::AggregateFunction(call), ty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::registry::{common_type_of, literal_null, text_literal, unknown_literal};

    fn of(ty: Type) -> Typed {
        literal_null(&ty).unwrap()
    }

    #[test]
    fn results_have_the_types_postgres_gives_them() {
        let cases = [
            ("sum", Type::Int2, Type::Int8),
            ("sum", Type::Int4, Type::Int8),
            ("sum", Type::Int8, Type::fixed_numeric(38, 0)),
            ("sum", Type::fixed_numeric(12, 2), Type::fixed_numeric(38, 2)),
            ("sum", Type::NUMERIC, Type::NUMERIC),
            ("sum", Type::Float4, Type::Float4),
            ("avg", Type::Int4, Type::fixed_numeric(38, 16)),
            ("avg", Type::fixed_numeric(12, 2), Type::fixed_numeric(38, 16)),
            ("avg", Type::fixed_numeric(38, 0), Type::NUMERIC),
            ("avg", Type::Float4, Type::Float8),
            ("max", Type::Varchar(Some(3)), Type::Text),
            ("min", Type::Timestamptz, Type::Timestamptz),
            ("count", Type::Jsonb, Type::Int8),
            ("stddev", Type::Int4, Type::fixed_numeric(38, 16)),
            ("array_agg", Type::Date, Type::Array(Box::new(Type::Date))),
        ];
        for (name, input, output) in cases {
            let typed = aggregate(name, vec![of(input.clone())], AggregateOptions::default()).unwrap();
            assert_eq!(typed.ty, output, "{name}({})", input.name());
        }
        let error = aggregate("sum", vec![text_literal("a")], AggregateOptions::default()).unwrap_err();
        assert_eq!(
            (error.state(), error.message()),
            (SqlState::UNDEFINED_FUNCTION, "function sum(text) does not exist")
        );
        assert!(error.hint().is_some());
    }

    #[test]
    fn branches_meet_in_one_type() {
        let cases = [
            (vec![Type::Int4, Type::fixed_numeric(3, 1)], Type::fixed_numeric(11, 1)),
            (vec![Type::Int4, Type::Float4], Type::Float4),
            (vec![Type::Date, Type::Timestamptz], Type::Timestamptz),
            (vec![Type::Varchar(Some(3)), Type::Varchar(Some(5))], Type::Varchar(None)),
            (vec![Type::Varchar(Some(3)), Type::Varchar(Some(3))], Type::Varchar(None)),
            (vec![Type::Varchar(None), Type::Text], Type::Varchar(None)),
        ];
        for (types, common) in cases {
            let args: Vec<Typed> = types.into_iter().map(of).chain([unknown_literal("1")]).collect();
            assert_eq!(common_type_of(&args, "CASE"), Ok(common));
        }
        assert_eq!(common_type_of(&[unknown_literal("x")], "CASE"), Ok(Type::Text));
        let error = common_type_of(&[of(Type::Int4), of(Type::Text)], "UNION").unwrap_err();
        assert_eq!(error.message(), "UNION types integer and text cannot be matched");
        assert_eq!(error.state(), SqlState::DATATYPE_MISMATCH);
    }
}
