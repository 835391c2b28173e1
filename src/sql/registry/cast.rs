//! Casts: which exist (pg_cast), and the expression that makes one.
//!
//! Besides pg_cast's rows any type casts to text on assignment and any text to any type explicitly, through the
//! type's text form; arrays cast where their elements do. A literal of unknown type is parsed here, at bind time.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Cast, Placeholder, ScalarFunction};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, Volatility};

use super::cast_rows::CASTS;
use super::{CastContext, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::functions::kernel::PgFunction;
use crate::sql::functions::{cast as kernels, scope};
use crate::types::pg_type::{self, category, element_of, oid};
use crate::types::{Numeric, StructField, Type, text};

/// How one type becomes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Same bits.
    Relabel,
    /// By a row of pg_cast.
    Function,
    /// Through the text form.
    Text,
    /// Element by element.
    Elements,
}

fn allows(row: char, context: CastContext) -> bool {
    match context {
        CastContext::Explicit => true,
        CastContext::Assignment => row != 'e',
        CastContext::Implicit => row == 'i',
    }
}

/// The way from one type oid to another in a context, if there is one. Length coercions (same type) are not casts.
pub fn path(from: u32, to: u32, context: CastContext) -> Option<Path> {
    if from == to {
        return Some(Path::Relabel);
    }
    if let Some(row) = CASTS.iter().find(|row| row.source == from && row.target == to) {
        let path = if row.function == 0 { Path::Relabel } else { Path::Function };
        return allows(row.context, context).then_some(path);
    }
    if let (Some(a), Some(b)) = (element_of(from), element_of(to)) {
        return path(a.oid, b.oid, context).map(|_| Path::Elements);
    }
    match context {
        CastContext::Assignment | CastContext::Explicit if category(to) == 'S' => Some(Path::Text),
        CastContext::Explicit if category(from) == 'S' => Some(Path::Text),
        _ => None,
    }
}

/// Whether `from` casts to `to` in this context; a literal of unknown type always may.
pub fn can_coerce(from: &Type, to: &Type, context: CastContext) -> bool {
    matches!(from, Type::Unknown) || path(from.oid(), to.oid(), context).is_some()
}

/// Casts `arg` to `to`. The result is exactly of type `to`, but for an explicit cast of a number to bare `numeric`: a
/// numeric of fixed scale stays what it is and an integer becomes the numeric that holds it, as neither changes the
/// value.
///
/// An unknown literal is parsed (22P02, 22007, 22008, 22003); an unknown parameter takes the type. Errors: 42846 where
/// an explicit cast does not exist, 42804 where the context does not allow one.
pub fn coerce(arg: Typed, to: &Type, context: CastContext) -> Result<Typed> {
    let Typed { expr, ty } = arg;
    let ty = ty.unrounded();
    if ty == *to || *to == Type::Unknown {
        return Ok(Typed { expr, ty });
    }
    if ty == Type::Unknown {
        return coerce_unknown(expr, to, context);
    }
    if context == CastContext::Explicit
        && *to == Type::NUMERIC
        && let Some(own) = ty.as_numeric()
    {
        if ty.is_numeric() {
            return Ok(Typed { expr, ty });
        }
        return apply(expr, &ty, &Type::Numeric(own), true);
    }
    if let (Type::Struct(from), Type::Struct(fields)) = (&ty, to)
        && from.len() == fields.len()
        && from.iter().zip(fields).all(|(a, b)| can_coerce(&a.ty, &b.ty, context))
    {
        return apply(expr, &ty, to, context == CastContext::Explicit);
    }
    match path(ty.oid(), to.oid(), context) {
        Some(_) => apply(expr, &ty, to, context == CastContext::Explicit),
        None if context == CastContext::Explicit => Err(Error::new(
            SqlState::CANNOT_COERCE,
            format!("cannot cast type {} to {}", ty.bare_name(), to.bare_name()),
        )),
        None => Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("expression is of type {} where {} is needed", ty.bare_name(), to.bare_name()),
        )
        .with_hint("You will need to rewrite or cast the expression.")),
    }
}

fn coerce_unknown(expr: Expr, to: &Type, context: CastContext) -> Result<Typed> {
    let null = ScalarValue::Utf8(None);
    match &expr {
        Expr::Literal(value, _) if value.is_null() => literal_null(to),
        Expr::Literal(ScalarValue::Utf8(Some(value)), _) => {
            let base = match to {
                Type::Varchar(_) | Type::Char(_) => Type::Text,
                Type::Rounded(plain, _) => plain.as_ref().clone(),
                // Cut, if explicit.
                Type::Array(item) if matches!(**item, Type::Varchar(_) | Type::Char(_)) => {
                    Type::Array(Box::new(Type::Text))
                }
                other => other.clone(),
            };
            let parsed = text::parse_scalar(&base, value, &scope::settings())?;
            let parsed = Expr::Literal(parsed, None);
            if base == *to {
                return Ok(Typed { expr: parsed, ty: base });
            }
            apply(parsed, &base, to, context == CastContext::Explicit)
        }
        Expr::Placeholder(parameter) => {
            Ok(Typed { expr: Expr::Placeholder(typed_parameter(parameter, to)), ty: to.clone() })
        }
        // NULL under an alias, a column of a subquery that nobody has typed: held as text.
        _ if expr == Expr::Literal(null, None) => literal_null(to),
        _ => apply(expr, &Type::Text, to, true),
    }
}

/// NULL of a type.
pub fn literal_null(ty: &Type) -> Result<Typed> {
    let value = ScalarValue::try_from(&ty.arrow()).map_err(Error::from)?;
    Ok(Typed { expr: Expr::Literal(value, None), ty: ty.clone() })
}

const PARAMETER_TYPE: &str = "riverrun.type";

/// A parameter that has a type; [`parameter_type`] reads it back.
pub fn typed_parameter(parameter: &Placeholder, ty: &Type) -> Placeholder {
    let mut field = arrow::datatypes::Field::new(&parameter.id, ty.arrow(), true);
    if let Ok(json) = serde_json::to_string(ty) {
        field.set_metadata([(PARAMETER_TYPE.to_string(), json)].into());
    }
    Placeholder::new_with_field(parameter.id.clone(), Some(field.into()))
}

/// The SQL type a parameter was given by [`coerce`], if any.
pub fn parameter_type(parameter: &Placeholder) -> Option<Type> {
    serde_json::from_str(parameter.field.as_ref()?.metadata().get(PARAMETER_TYPE)?).ok()
}

/// Casts that Arrow's own kernel makes exactly as Postgres does and that cannot fail: the optimizer sees through them.
fn is_native(from: &Type, to: &Type) -> bool {
    let widens = |from: Numeric, to: Numeric| match (from, to) {
        (Numeric::Fixed { precision: p1, scale: s1 }, Numeric::Fixed { precision: p2, scale: s2 }) => {
            s2 >= s1 && i16::from(p2) - i16::from(s2) >= i16::from(p1) - i16::from(s1)
        }
        _ => false,
    };
    match (from, to) {
        (Type::Int2, Type::Int4 | Type::Int8) | (Type::Int4, Type::Int8) => true,
        (Type::Int2 | Type::Int4 | Type::Int8, Type::Float8) | (Type::Float4, Type::Float8) => true,
        (Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric(_), Type::Numeric(to)) => {
            from.as_numeric().is_some_and(|from| widens(from, *to))
        }
        _ => false,
    }
}

/// Whether a cast's answer depends on the session's time zone.
fn needs_zone(from: &Type, to: &Type) -> bool {
    fn zoned(ty: &Type) -> bool {
        match ty {
            Type::Timestamptz => true,
            Type::Array(item) | Type::Rounded(item, _) => zoned(item),
            Type::Struct(fields) => fields.iter().any(|field| zoned(&field.ty)),
            _ => false,
        }
    }
    zoned(from) || zoned(to)
}

/// The expression of a cast that is known to exist.
fn apply(expr: Expr, from: &Type, to: &Type, explicit: bool) -> Result<Typed> {
    let ty = to.clone();
    if from == to {
        return Ok(Typed { expr, ty });
    }
    if kernels::is_relabel(from, to) {
        return Ok(Typed { expr, ty });
    }
    if is_native(from, to) {
        return Ok(Typed { expr: fold(Expr::Cast(Cast::new(Box::new(expr), to.arrow())), &ty), ty });
    }
    let name = if explicit { "cast" } else { "assign" };
    let (mut args, mut types) = (vec![expr], vec![from.clone()]);
    if needs_zone(from, to) {
        args.push(Expr::Literal(ScalarValue::Utf8(Some(scope::time_zone())), None));
        types.push(Type::Text);
    }
    let kernel = if explicit { kernels::explicit } else { kernels::assignment };
    let udf = PgFunction::udf(name, types, to.clone(), Volatility::Immutable, kernel);
    let call = Expr::ScalarFunction(ScalarFunction::new_udf(udf, args));
    let call = if matches!(to, Type::Varchar(_) | Type::Char(_) | Type::Numeric(_)) || !explicit {
        try_fold(call)?
    } else {
        fold(call, &ty)
    };
    Ok(Typed { expr: call, ty })
}

/// A cast of a constant, made now; one that fails is left to fail where (and if) it is evaluated.
fn fold(expr: Expr, ty: &Type) -> Expr {
    match &expr {
        Expr::Cast(Cast { expr: inner, .. }) => match inner.as_ref() {
            Expr::Literal(value, _) => {
                value.cast_to(&ty.arrow()).map(|value| Expr::Literal(value, None)).unwrap_or(expr)
            }
            _ => expr,
        },
        _ => try_fold(expr.clone()).unwrap_or(expr),
    }
}

/// The value of a call over constants; any other expression as it is.
pub fn try_fold(expr: Expr) -> Result<Expr> {
    let Expr::ScalarFunction(call) = &expr else { return Ok(expr) };
    let mut args = Vec::with_capacity(call.args.len());
    for arg in &call.args {
        match arg {
            Expr::Literal(value, _) => args.push(value.clone()),
            _ => return Ok(expr),
        }
    }
    let field = |ty: DataType| std::sync::Arc::new(arrow::datatypes::Field::new("", ty, true));
    let types: Vec<DataType> = args.iter().map(ScalarValue::data_type).collect();
    let call = ScalarFunctionArgs {
        return_field: field(call.func.return_type(&types)?),
        arg_fields: types.into_iter().map(field).collect(),
        args: args.into_iter().map(ColumnarValue::Scalar).collect(),
        number_rows: 1,
        config_options: Default::default(),
    };
    let Expr::ScalarFunction(function) = &expr else { return Ok(expr) };
    match function.func.invoke_with_args(call)? {
        ColumnarValue::Scalar(value) => Ok(Expr::Literal(value, None)),
        ColumnarValue::Array(array) if array.len() == 1 => {
            Ok(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, None))
        }
        ColumnarValue::Array(_) => Ok(expr),
    }
}

/// The one type that CASE, COALESCE, UNION, VALUES, GREATEST and ARRAY[] compute in, found from one value after another.
///
/// A length is kept only where every value has it: beside a literal, a parameter or another type `varchar(3)` is
/// `varchar`. A numeric is wide enough for all of them. NULL changes nothing.
#[derive(Default)]
pub struct CommonType {
    known: Option<Type>,
    /// Of unknown literals, should they become numerics; `Free` stands for a parameter too.
    unknown: Option<Numeric>,
}

impl CommonType {
    /// `context` names the construct in the error: `CASE types integer and text cannot be matched` (42804).
    pub fn add(&mut self, value: &Typed, context: &str) -> Result<()> {
        match &value.expr {
            _ if value.ty != Type::Unknown => {
                self.known = Some(match self.known.take() {
                    Some(so_far) => unify(&so_far, &value.ty, context)?,
                    None => value.ty.clone(),
                });
            }
            Expr::Literal(literal, _) if literal.is_null() => {}
            literal => {
                let own = super::literal::numeric_of_unknown(literal).unwrap_or(Numeric::Free);
                self.unknown = Some(self.unknown.map_or(own, |so_far| so_far.union(own)));
            }
        }
        Ok(())
    }

    /// All unknown: text.
    pub fn finish(self) -> Type {
        match (self.known, self.unknown) {
            (None, _) => Type::Text,
            (Some(ty), None) => ty,
            (Some(Type::Numeric(own)), Some(other)) => Type::Numeric(own.union(other)),
            (Some(ty), Some(_)) => ty.without_modifier(),
        }
    }
}

/// [`CommonType`] of these values.
pub fn common_type_of(args: &[Typed], context: &str) -> Result<Type> {
    let mut common = CommonType::default();
    args.iter().try_for_each(|arg| common.add(arg, context))?;
    Ok(common.finish())
}

/// The one type of two, neither of them unknown.
fn unify(so_far: &Type, next: &Type, context: &str) -> Result<Type> {
    if so_far == next {
        return Ok(so_far.clone());
    }
    if so_far.same_base(next) {
        return Ok(match (so_far, next) {
            (Type::Numeric(a), Type::Numeric(b)) => Type::Numeric(a.union(*b)),
            (Type::Array(a), Type::Array(b)) => Type::Array(Box::new(unify(a, b, context)?)),
            (Type::Struct(a), Type::Struct(b)) => {
                let fields = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| Ok(StructField { name: a.name.clone(), ty: unify(&a.ty, &b.ty, context)? }));
                Type::Struct(fields.collect::<Result<_>>()?)
            }
            // Different lengths: none.
            (other, _) => other.without_modifier(),
        });
    }
    let (a, b) = (so_far.oid(), next.oid());
    if category(a) != category(b) || a == oid::RECORD {
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("{context} types {} and {} cannot be matched", so_far.bare_name(), next.bare_name()),
        ));
    }
    let forward = path(a, b, CastContext::Implicit).is_some();
    let back = path(b, a, CastContext::Implicit).is_some();
    let takes_next = !pg_type::is_preferred(a) && forward && !back;
    if !takes_next && !back {
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("{context} could not convert type {} to {}", next.bare_name(), so_far.bare_name()),
        ));
    }
    let (winner, loser) = if takes_next { (next, so_far) } else { (so_far, next) };
    Ok(match (winner, loser) {
        (Type::Array(a), Type::Array(b)) => Type::Array(Box::new(unify(a, b, context)?)),
        (Type::Numeric(numeric), loser) => match loser.as_numeric() {
            Some(other) => Type::Numeric(numeric.union(other)),
            None => Type::NUMERIC,
        },
        (winner, _) => winner.without_modifier(),
    })
}
