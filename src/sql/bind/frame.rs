//! Window frames: which rows around the current one a call with OVER sees.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Cast, Sort};
use datafusion::logical_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits};
use sqlparser::ast;

use super::expr::position;
use super::{Binder, Clause};
use crate::error::{Error, Result, SqlState};
use crate::sql::registry::{self, CastContext, Typed};
use crate::types::{MAX_NUMERIC_PRECISION, Numeric, Type};

/// Beyond the distance of any two integers or smallints.
const FAR: i64 = 1 << 33;

impl Binder<'_> {
    /// A RANGE with offsets changes the type of its one key, so that no key with its offset leaves the type.
    pub(super) fn frame(
        &mut self,
        frame: &ast::WindowFrame,
        order_by: &mut [Sort],
        order_types: &mut [Type],
    ) -> Result<WindowFrame> {
        check_bounds(frame)?;
        let end = frame.end_bound.as_ref().unwrap_or(&ast::WindowFrameBound::CurrentRow);
        let bounds = [&frame.start_bound, end];
        let units = match frame.units {
            ast::WindowFrameUnits::Rows => WindowFrameUnits::Rows,
            ast::WindowFrameUnits::Range => WindowFrameUnits::Range,
            ast::WindowFrameUnits::Groups => WindowFrameUnits::Groups,
        };
        if units == WindowFrameUnits::Groups && order_by.is_empty() {
            return Err(Error::new(SqlState::WINDOWING_ERROR, "GROUPS mode requires an ORDER BY clause"));
        }
        let mut key = None;
        if units == WindowFrameUnits::Range && bounds.iter().any(|bound| offset(bound).is_some()) {
            let ([sort], [ty]) = (order_by, order_types) else {
                let message = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
                return Err(Error::new(SqlState::WINDOWING_ERROR, message));
            };
            let (own, wide) = range_key(Typed::new(sort.expr.clone(), ty.clone()))?;
            sort.expr = wide.expr;
            *ty = wide.ty.clone();
            key = Some((own, wide.ty));
        }
        let [start, end] = bounds;
        let start = self.frame_bound(start, "starting", key.as_ref())?;
        let end = self.frame_bound(end, "ending", key.as_ref())?;
        Ok(WindowFrame::new_bounds(units, start, end))
    }

    /// `key`: the type of a RANGE's key as it was and as it is compared.
    fn frame_bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        side: &str,
        key: Option<&(Type, Type)>,
    ) -> Result<WindowFrameBound> {
        let value = match offset(bound) {
            Some(expr) => self.frame_offset(expr, side, key).map_err(|error| error.or_position(position(expr)))?,
            None => ScalarValue::UInt64(None),
        };
        Ok(match bound {
            ast::WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
            ast::WindowFrameBound::Preceding(_) => WindowFrameBound::Preceding(value),
            ast::WindowFrameBound::Following(_) => WindowFrameBound::Following(value),
        })
    }

    fn frame_offset(&mut self, expr: &ast::Expr, side: &str, key: Option<&(Type, Type)>) -> Result<ScalarValue> {
        let typed = self.in_clause(Clause::Other("window frames"), |binder| binder.expr(expr))?;
        let typed = Typed::new(registry::try_fold(typed.expr)?, typed.ty);
        let (wanted, wide) = match key {
            None => (Type::Int8, &Type::Int8),
            Some((own, wide)) => {
                let wanted = offset_type(own).ok_or_else(|| no_such_range(own, &typed.ty))?;
                if !registry::can_coerce(&typed.ty, &wanted, CastContext::Implicit) {
                    return Err(no_such_range(own, &typed.ty));
                }
                (wanted, wide)
            }
        };
        let exact = typed.ty.as_numeric().filter(|_| wanted == Type::NUMERIC).map(Type::Numeric);
        let typed = self.coerce(typed, exact.as_ref().unwrap_or(&wanted), CastContext::Implicit)?;
        let Expr::Literal(value, _) = registry::try_fold(typed.expr)? else {
            return Err(Error::unsupported("a frame offset that is not a constant", "Write a number or an interval."));
        };
        if value.is_null() {
            let message = format!("frame {side} offset must not be null");
            return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
        }
        let negative = match &value {
            ScalarValue::IntervalMonthDayNano(Some(span)) if key.is_some_and(|(own, _)| *own == Type::Time) => {
                span.nanoseconds < 0
            }
            ScalarValue::IntervalMonthDayNano(Some(span)) => length(*span) < 0,
            ScalarValue::Float64(Some(number)) => number.is_nan() || *number < 0.0,
            number => ScalarValue::new_zero(&number.data_type()).is_ok_and(|zero| *number < zero),
        };
        if negative {
            let message = match key {
                None => format!("frame {side} offset must not be negative"),
                Some(_) => "invalid preceding or following size in window function".to_string(),
            };
            return Err(Error::new(SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, message));
        }
        Ok(match (key, value) {
            (None, ScalarValue::Int64(rows)) => ScalarValue::UInt64(rows.map(|rows| rows as u64)),
            (Some((Type::Time, _)), ScalarValue::IntervalMonthDayNano(Some(span))) => {
                ScalarValue::Int64(Some(span.nanoseconds / 1000))
            }
            (Some((Type::Int2 | Type::Int4, _)), ScalarValue::Int64(Some(offset))) => {
                ScalarValue::Int64(Some(offset.min(FAR)))
            }
            (Some(_), value)
                if value.data_type() != wide.arrow() && *wide != Type::Timestamp && *wide != Type::Timestamptz =>
            {
                value.cast_to(&wide.arrow())?
            }
            (_, value) => value,
        })
    }
}

/// Microseconds, with months of 30 days, as intervals compare.
fn length(span: IntervalMonthDayNano) -> i128 {
    (i128::from(span.months) * 30 + i128::from(span.days)) * 86_400_000_000 + i128::from(span.nanoseconds / 1000)
}

fn offset(bound: &ast::WindowFrameBound) -> Option<&ast::Expr> {
    match bound {
        ast::WindowFrameBound::Preceding(offset) | ast::WindowFrameBound::Following(offset) => offset.as_deref(),
        ast::WindowFrameBound::CurrentRow => None,
    }
}

fn check_bounds(frame: &ast::WindowFrame) -> Result<()> {
    use ast::WindowFrameBound as B;
    let message = match (&frame.start_bound, frame.end_bound.as_ref().unwrap_or(&B::CurrentRow)) {
        (B::Following(None), _) => "frame start cannot be UNBOUNDED FOLLOWING",
        (_, B::Preceding(None)) => "frame end cannot be UNBOUNDED PRECEDING",
        (B::CurrentRow, B::Preceding(_)) => "frame starting from current row cannot have preceding rows",
        (B::Following(_), B::Preceding(_)) => "frame starting from following row cannot have preceding rows",
        (B::Following(_), B::CurrentRow) if frame.end_bound.is_none() => {
            "frame starting from following row cannot end with current row"
        }
        (B::Following(_), B::CurrentRow) => "frame starting from following row cannot have preceding rows",
        _ => return Ok(()),
    };
    Err(Error::new(SqlState::WINDOWING_ERROR, message))
}

/// The type of an offset from a key of this type; `None` where Postgres has none.
fn offset_type(key: &Type) -> Option<Type> {
    Some(match key {
        Type::Int2 | Type::Int4 | Type::Int8 => Type::Int8,
        Type::Float4 | Type::Float8 => Type::Float8,
        Type::Numeric(_) => Type::NUMERIC,
        Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz => Type::Interval,
        _ => return None,
    })
}

/// The key's type, and the key as what it is compared as.
fn range_key(key: Typed) -> Result<(Type, Typed)> {
    let own = key.ty.clone();
    let wide = match &own {
        Type::Int2 | Type::Int4 => Type::Int8,
        Type::Int8 => Type::fixed_numeric(MAX_NUMERIC_PRECISION, 0),
        Type::Float4 => Type::Float8,
        // Sums keep the type only where it has all digits.
        Type::Numeric(Numeric::Fixed { precision, scale })
            if *precision - (*scale).max(0) as u8 <= 19 && *scale <= 18 =>
        {
            Type::fixed_numeric(MAX_NUMERIC_PRECISION, 18)
        }
        Type::Numeric(_) => Type::NUMERIC,
        Type::Date => Type::Timestamp,
        Type::Time => {
            let micros = Expr::Cast(Cast::new(Box::new(key.expr), Type::Int8.arrow()));
            return Ok((own, Typed::new(micros, Type::Int8)));
        }
        other => other.clone(),
    };
    let wide = match (&own, &wide) {
        (Type::Numeric(_) | Type::Int8, Type::Numeric(_)) => {
            let value = Expr::Cast(Cast::new(Box::new(key.expr), wide.arrow()));
            Typed::new(value, wide)
        }
        _ => registry::coerce(key, &wide, CastContext::Implicit)?,
    };
    Ok((own, wide))
}

fn no_such_range(key: &Type, offset: &Type) -> Error {
    let message = format!(
        "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {} and offset type {}",
        key.bare_name(),
        offset.bare_name()
    );
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_hint("Cast the offset value to an appropriate type.")
}
