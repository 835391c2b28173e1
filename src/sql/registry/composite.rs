//! Aggregates that are a function of an array of the group's values: the array is maintained as array_agg's is, the
//! function is computed above it, in views and in SELECT alike, under GROUP BY and under OVER.
//!
//! ```text
//!   percentile_cont(p) WITHIN GROUP (ORDER BY x)   =   percentile_cont(array_agg(x ORDER BY x), p)
//!   jsonb_agg(x)                                   =   to_jsonb(array_agg(x))
//!   corr(y, x)                                     =   corr(array_agg(y ORDER BY y, x), array_agg(x ORDER BY y, x))
//! ```

use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, Volatility};

use super::call::signature_text;
use super::{CastContext, Typed, coerce};
use crate::error::{Error, Result, SqlState};
use crate::sql::functions::compare::has_equal_forms;
use crate::sql::functions::kernel::Kernel;
use crate::sql::functions::{kernel_call, ordered_set, to_jsonb};
use crate::types::Type;
use crate::types::pg_type::oid::*;

/// What is made of the arrays.
#[derive(Clone, Copy)]
enum Make {
    /// Of the ordered values and the fraction.
    PercentileCont,
    PercentileDisc,
    Mode,
    /// Of pairs of doubles.
    Regression(Kernel),
    Json,
    JsonObject,
}

/// An aggregate of this kind under one signature.
pub struct Composite {
    pub oid: u32,
    pub name: &'static str,
    /// The arguments in brackets, then what WITHIN GROUP orders by.
    pub args: &'static [u32],
    pub returns: u32,
    pub within_group: bool,
    make: Make,
    pub doc: &'static str,
}

const fn row(
    oid: u32,
    name: &'static str,
    args: &'static [u32],
    returns: u32,
    make: Make,
    doc: &'static str,
) -> Composite {
    let within_group = matches!(make, Make::PercentileCont | Make::PercentileDisc | Make::Mode);
    Composite { oid, name, args, returns, within_group, make, doc }
}

const fn regression(oid: u32, name: &'static str, kernel: Kernel, doc: &'static str) -> Composite {
    row(oid, name, &[FLOAT8, FLOAT8], FLOAT8, Make::Regression(kernel), doc)
}

const CONT: &str = "The value at a fraction of the order, between its neighbours.";
const DISC: &str = "The first value at or behind a fraction of the order.";
const JSON: &str = "A JSON array of all values, NULLs included.";
const JSON_OBJECT: &str = "A JSON object of keys and values.";

pub const COMPOSITES: &[Composite] = &[
    row(3974, "percentile_cont", &[FLOAT8, FLOAT8], FLOAT8, Make::PercentileCont, CONT),
    row(3976, "percentile_cont", &[FLOAT8, INTERVAL], INTERVAL, Make::PercentileCont, CONT),
    row(3980, "percentile_cont", &[FLOAT8_ARRAY, FLOAT8], FLOAT8_ARRAY, Make::PercentileCont, CONT),
    row(3972, "percentile_disc", &[FLOAT8, ANYELEMENT], ANYELEMENT, Make::PercentileDisc, DISC),
    row(3984, "mode", &[ANYELEMENT], ANYELEMENT, Make::Mode, "The most frequent value."),
    regression(2829, "corr", ordered_set::corr, "Correlation coefficient."),
    regression(2827, "covar_pop", ordered_set::covar_pop, "Population covariance."),
    regression(2828, "covar_samp", ordered_set::covar_samp, "Sample covariance."),
    row(
        2818,
        "regr_count",
        &[FLOAT8, FLOAT8],
        INT8,
        Make::Regression(ordered_set::regr_count),
        "Number of pairs without NULL.",
    ),
    regression(2819, "regr_sxx", ordered_set::regr_sxx, "Sum of squares of x around its mean."),
    regression(2820, "regr_syy", ordered_set::regr_syy, "Sum of squares of y around its mean."),
    regression(2821, "regr_sxy", ordered_set::regr_sxy, "Sum of products around the means."),
    regression(2822, "regr_avgx", ordered_set::regr_avgx, "Mean of x."),
    regression(2823, "regr_avgy", ordered_set::regr_avgy, "Mean of y."),
    regression(2824, "regr_r2", ordered_set::regr_r2, "Square of the correlation coefficient."),
    regression(2825, "regr_slope", ordered_set::regr_slope, "Slope of the line that fits best."),
    regression(2826, "regr_intercept", ordered_set::regr_intercept, "y where the line that fits best meets x = 0."),
    row(3267, "jsonb_agg", &[ANYELEMENT], JSONB, Make::Json, JSON),
    row(3175, "json_agg", &[ANYELEMENT], JSONB, Make::Json, JSON),
    row(3270, "jsonb_object_agg", &[ANY, ANY], JSONB, Make::JsonObject, JSON_OBJECT),
    row(3197, "json_object_agg", &[ANY, ANY], JSONB, Make::JsonObject, JSON_OBJECT),
];

pub fn exists(name: &str) -> bool {
    COMPOSITES.iter().any(|entry| entry.name == name)
}

/// Whether it takes WITHIN GROUP (ORDER BY ...).
pub fn within_group(name: &str) -> bool {
    COMPOSITES.iter().any(|entry| entry.name == name && entry.within_group)
}

/// One array of a call: its items, what they are ordered by after the call's own order, and which rows count.
pub struct Items {
    pub item: Typed,
    pub then: Vec<(Sort, Type)>,
    pub only: Option<Expr>,
}

/// The call as a function of arrays that `collect` makes. 42883.
pub fn build(
    name: &str,
    args: Vec<Typed>,
    distinct: bool,
    collect: &mut dyn FnMut(Items) -> Result<Typed>,
) -> Result<Typed> {
    let shown = signature_text(name, &args);
    let no_such = || {
        Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {shown} does not exist")).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    };
    let entry = COMPOSITES.iter().find(|entry| entry.name == name && entry.args.len() == args.len());
    let make = entry.ok_or_else(no_such)?.make;
    let implicit = |typed: Typed, ty: &Type| coerce(typed, ty, CastContext::Implicit).map_err(|_| no_such());
    let known = |typed: Typed| if typed.ty == Type::Unknown { implicit(typed, &Type::Text) } else { Ok(typed) };
    let mut args = args.into_iter();
    let mut next = || args.next().ok_or_else(no_such);
    let array_of = |ty: &Type| Type::Array(Box::new(ty.clone()));
    let call =
        |args: Vec<Typed>, result: Type, kernel: Kernel| kernel_call(name, args, result, Volatility::Immutable, kernel);
    match make {
        Make::PercentileCont | Make::PercentileDisc => {
            let (p, value) = (next()?, known(next()?)?);
            let several = matches!((&p.ty, make), (Type::Array(_), Make::PercentileCont));
            let p = implicit(p, &if several { array_of(&Type::Float8) } else { Type::Float8 })?;
            let value = match (make, &value.ty) {
                (Make::PercentileCont, Type::Interval) if !several => value,
                (Make::PercentileCont, _) => implicit(value, &Type::Float8)?,
                _ => value,
            };
            let result = if several { array_of(&value.ty) } else { value.ty.clone() };
            let values = collect(present(value))?;
            let kernel: Kernel = match make {
                Make::PercentileCont => ordered_set::percentile_cont,
                _ => ordered_set::percentile_disc,
            };
            Ok(call(vec![values, p], result, kernel))
        }
        Make::Mode => {
            let value = known(next()?)?;
            let result = value.ty.clone();
            Ok(call(vec![collect(present(value))?], result, ordered_set::mode))
        }
        Make::Regression(kernel) => {
            if distinct {
                return Err(Error::unsupported(format!("DISTINCT in {name}"), "Use a subquery with DISTINCT."));
            }
            let (y, x) = (implicit(next()?, &Type::Float8)?, implicit(next()?, &Type::Float8)?);
            let only = not_null(&y).and(not_null(&x));
            let then = vec![ascending(&y), ascending(&x)];
            let ys = collect(Items { item: y, then: then.clone(), only: Some(only.clone()) })?;
            let xs = collect(Items { item: x, then, only: Some(only) })?;
            let result = if name == "regr_count" { Type::Int8 } else { Type::Float8 };
            Ok(call(vec![ys, xs], result, kernel))
        }
        Make::Json => {
            let value = known(next()?)?;
            if distinct && matches!(value.ty, Type::Array(_)) && has_equal_forms(&value.ty) {
                let what = format!("DISTINCT in {name} over {}", value.ty.name());
                return Err(Error::unsupported(what, "Use a subquery with DISTINCT."));
            }
            // An array of arrays would have another dimension.
            let item = if matches!(value.ty, Type::Array(_)) { to_jsonb(vec![value])? } else { value };
            to_jsonb(vec![collect(Items { item, then: Vec::new(), only: None })?])
        }
        Make::JsonObject => {
            if distinct {
                return Err(Error::unsupported(format!("DISTINCT in {name}"), "Use a subquery with DISTINCT."));
            }
            let key = coerce(next()?, &Type::Text, CastContext::Explicit)?;
            let value = to_jsonb(vec![known(next()?)?])?;
            let then = vec![ascending(&key), ascending(&value)];
            let keys = collect(Items { item: key, then: then.clone(), only: None })?;
            let values = collect(Items { item: value, then, only: None })?;
            Ok(call(vec![keys, values], Type::Jsonb, ordered_set::object_of))
        }
    }
}

/// Rows that meet both conditions.
pub fn both(filter: Option<Expr>, only: Option<Expr>) -> Option<Expr> {
    match (filter, only) {
        (Some(filter), Some(only)) => Some(filter.and(only)),
        (filter, only) => filter.or(only),
    }
}

fn not_null(value: &Typed) -> Expr {
    Expr::IsNotNull(Box::new(value.expr.clone()))
}

/// The values that are not NULL.
fn present(item: Typed) -> Items {
    let only = Some(not_null(&item));
    Items { item, then: Vec::new(), only }
}

fn ascending(value: &Typed) -> (Sort, Type) {
    (Sort::new(value.expr.clone(), true, false), value.ty.clone())
}
