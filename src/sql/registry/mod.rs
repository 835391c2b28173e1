//! The registry of types, casts, operators, functions and aggregates: what a name over given types means in Postgres,
//! and the DataFusion expression that computes it.
//!
//! ```text
//!   binder --(name, typed arguments)--> candidates (entries) -> select (Postgres's overload rules) -> casts inserted
//!          <--(typed expression)------- kernel (ours, or DataFusion's where it means the same)
//! ```
//!
//! Everything returned is exactly typed: DataFusion's own coercion has nothing left to do. Errors carry Postgres's
//! SQLSTATE, wording and hint. The binder's entry opens [`enter`] once, for what depends on the session's time zone.
//!
//! A numeric's scale is part of its type here: literals, sums, products and quotients derive it as Postgres derives
//! the scale of values, and fall to bare `numeric` where 38 digits could be too few.

mod aggregate;
mod call;
mod cast;
mod cast_rows;
mod composite;
mod foreign;
mod forms;
#[cfg(test)]
mod golden;
mod literal;
mod reference;
mod rows;
mod select;
mod type_name;
mod window;

use datafusion::logical_expr::Expr;

use crate::error::Result;
use crate::sql::SessionConstants;
use crate::types::Type;

pub use crate::sql::functions::Typed;
pub use crate::sql::functions::scope::{Scope, enter, time_zone};
pub use aggregate::AggregateOptions;
pub use cast::{CommonType, can_coerce, literal_null, parameter_type, try_fold, typed_parameter};
pub use composite::within_group;
pub use foreign::type_named as foreign_type;
pub use literal::{bool_literal, int_literal, number_literal, text_literal, unknown_literal};
pub use reference::page as reference_page;
pub use rows::{aggregates, casts, functions, operators};
pub use type_name::parse_type;
pub use window::WindowOptions;

/// What a cast is made for; each context allows those before it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CastContext {
    /// In an expression.
    Implicit,
    /// INSERT, UPDATE, a default.
    Assignment,
    /// `CAST`, `::`.
    Explicit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    Scalar,
    Aggregate,
    Window,
    SetReturning,
    Unknown,
}

/// Casts `arg` to `to`: see [`cast::coerce`].
pub fn coerce(arg: Typed, to: &Type, context: CastContext) -> Result<Typed> {
    cast::coerce(arg, to, context)
}

/// Resolves an operator: binary, or prefix where `left` is `None`. Names are Postgres's (`~~` is LIKE, `~~*` ILIKE);
/// also `is distinct from` and `is not distinct from`. Errors: 42883, 42725, and what casting a literal raises.
pub fn operator(name: &str, left: Option<Typed>, right: Typed) -> Result<Typed> {
    call::operator(name, left, right)
}

/// Resolves a call of a scalar function. A single argument and the name of a type make a cast. Errors: 42883, 42725.
pub fn function(name: &str, args: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    call::function(name, args, session)
}

/// Resolves an aggregate call; `count(*)` has no arguments. Errors: 42883.
pub fn aggregate(name: &str, args: Vec<Typed>, options: AggregateOptions) -> Result<Typed> {
    aggregate::aggregate(name, args, options)
}

/// Resolves a call with OVER; the result holds an `Expr::WindowFunction`, under a cast where DataFusion's type differs.
pub fn window(name: &str, args: Vec<Typed>, options: WindowOptions) -> Result<Typed> {
    window::window(name, args, options)
}

/// The type that CASE, COALESCE, UNION, VALUES and ARRAY[] compute in (42804). All unknown: text.
pub fn common_type(args: &[Typed]) -> Result<Type> {
    cast::common_type_of(args, "CASE")
}

/// [`common_type`] with the construct's name for the error: `UNION types integer and text cannot be matched`.
pub fn common_type_of(args: &[Typed], construct: &str) -> Result<Type> {
    cast::common_type_of(args, construct)
}

/// What a function's name stands for. A name that is both an aggregate and a window function is an aggregate.
pub fn kind(name: &str) -> FunctionKind {
    if crate::sql::functions::SET_RETURNING.contains(&name) {
        FunctionKind::SetReturning
    } else if aggregate::exists(name) || composite::exists(name) {
        FunctionKind::Aggregate
    } else if window::exists(name) {
        FunctionKind::Window
    } else if call::exists(name) {
        FunctionKind::Scalar
    } else {
        FunctionKind::Unknown
    }
}

/// Casts every argument to their common type.
pub fn coerce_all(args: Vec<Typed>, construct: &str) -> Result<(Vec<Expr>, Type)> {
    let ty = cast::common_type_of(&args, construct)?;
    let args = args
        .into_iter()
        .map(|arg| coerce(arg, &ty, CastContext::Implicit).map(|typed| typed.expr))
        .collect::<Result<_>>()?;
    Ok((args, ty))
}
