//! A value as its type's output function prints it: what concat and format use.
//!
//! It differs from a cast to text for booleans only (`t`, not `true`). Here too the zone of a timestamptz is an
//! argument.

use arrow::array::{Array, ArrayRef, StringBuilder};
use bytes::BytesMut;
use datafusion::logical_expr::Volatility;

use super::entry::{Typed, kernel_call, text_literal};
use super::kernel::Call;
use super::scope;
use crate::error::{Error, Result};
use crate::types::builder::push_text;
use crate::types::{TextSettings, Type, Zone, text};

/// The expression of a value's text. Text stays what it is, an unknown literal becomes it.
pub fn printed(value: Typed) -> Result<Typed> {
    match value.ty {
        Type::Text | Type::Varchar(_) | Type::Name | Type::Jsonb | Type::Unknown => {
            Ok(Typed { ty: Type::Text, expr: value.expr })
        }
        _ => {
            let zone = text_literal(scope::time_zone());
            Ok(kernel_call("output", vec![value, zone], Type::Text, Volatility::Immutable, output))
        }
    }
}

/// The expression of a value cast to text.
pub fn as_text(value: Typed) -> Result<Typed> {
    match value.ty {
        Type::Bool => Ok(kernel_call("cast", vec![value], Type::Text, Volatility::Immutable, super::cast::explicit)),
        _ => printed(value),
    }
}

fn output(call: &Call) -> Result<ArrayRef> {
    let zone = call.constant_text(1)?.map(Zone::parse).transpose()?.unwrap_or(Zone::UTC);
    let arg = &call.args[0];
    let print = text::printer(&call.types[0], &arg.array, &TextSettings::in_zone(zone))?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    let mut scratch = BytesMut::new();
    for row in 0..call.rows {
        let index = arg.index(row);
        if arg.array.is_null(index) {
            out.append_null();
            continue;
        }
        scratch.clear();
        print(index, &mut scratch);
        push_text(&mut out, Some(std::str::from_utf8(&scratch).map_err(Error::internal)?))?;
    }
    Ok(std::sync::Arc::new(out.finish()))
}
