//! Literals as the parser hands them over: numbers take the type Postgres gives them, strings stay unknown.

use arrow::datatypes::i256;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::Typed;
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::{self, Decimal};
use crate::types::{FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE, Numeric, Type};

/// A number as written: integer where it fits, then bigint, else numeric with the scale it is written with.
pub fn number_literal(text: &str) -> Result<Typed> {
    if let Ok(value) = text.parse::<i32>() {
        return Ok(int_literal(value));
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok(Typed::new(Expr::Literal(ScalarValue::Int64(Some(value)), None), Type::Int8));
    }
    let out_of_range = || Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format");
    let held = numeric::parse(text)
        .ok()
        .filter(|decimal| decimal.rescale(numeric::MAX_SCALE).is_some() && !loses_digits(text, decimal));
    let Some(decimal) = held else {
        // Beyond what a numeric holds here: a double, which is what 1e300 and 1e-300 are written for.
        return match text.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                Ok(Typed::new(Expr::Literal(ScalarValue::Float64(Some(value)), None), Type::Float8))
            }
            Ok(_) => Err(out_of_range()),
            Err(_) => Err(Error::new(SqlState::SYNTAX_ERROR, format!("invalid number \"{text}\""))),
        };
    };
    let ty = numeric_of(&decimal);
    let value = match ty {
        Numeric::Fixed { precision, scale } => ScalarValue::Decimal128(decimal.unscaled.to_i128(), precision, scale),
        Numeric::Free => {
            let value: i256 = decimal.rescale(FREE_NUMERIC_SCALE as u32).ok_or_else(out_of_range)?;
            ScalarValue::Decimal256(Some(value), FREE_NUMERIC_PRECISION, FREE_NUMERIC_SCALE)
        }
    };
    Ok(Typed::new(Expr::Literal(value, None), Type::Numeric(ty)))
}

/// Whether a small number written with an exponent has been rounded to nothing, or nearly so.
fn loses_digits(text: &str, decimal: &Decimal) -> bool {
    let negative_exponent = text.contains("e-") || text.contains("E-");
    negative_exponent && decimal.scale == numeric::MAX_SCALE && decimal.digits() < 16
}

/// The numeric that holds a value with the scale it has.
fn numeric_of(decimal: &Decimal) -> Numeric {
    let digits = decimal.digits() as i32;
    let scale = decimal.scale as i32;
    Numeric::with_digits((digits - scale).max(i32::from(scale == 0)), scale)
}

/// The numeric an unknown literal is written as, if it is a number: `'0.50'` beside a numeric has scale 2.
pub fn numeric_of_unknown(expr: &Expr) -> Option<Numeric> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            numeric::parse(text).ok().map(|decimal| numeric_of(&decimal))
        }
        _ => None,
    }
}

pub fn int_literal(value: i32) -> Typed {
    Typed::new(Expr::Literal(ScalarValue::Int32(Some(value)), None), Type::Int4)
}

pub fn bool_literal(value: Option<bool>) -> Typed {
    Typed::new(Expr::Literal(ScalarValue::Boolean(value), None), Type::Bool)
}

/// A string literal, of unknown type until something says what it is.
pub fn unknown_literal(value: impl Into<String>) -> Typed {
    Typed::new(Expr::Literal(ScalarValue::Utf8(Some(value.into())), None), Type::Unknown)
}

pub use crate::sql::functions::text_literal;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_type_postgres_gives_them() {
        let cases = [
            ("1", Type::Int4),
            ("2147483648", Type::Int8),
            ("9223372036854775808", Type::fixed_numeric(19, 0)),
            ("0.5", Type::fixed_numeric(1, 1)),
            ("1.50", Type::fixed_numeric(3, 2)),
            ("1e3", Type::fixed_numeric(4, 0)),
            ("1e-3", Type::fixed_numeric(3, 3)),
            ("0.0", Type::fixed_numeric(1, 1)),
        ];
        for (text, ty) in cases {
            assert_eq!(number_literal(text).unwrap().ty, ty, "{text}");
        }
    }
}
