//! `(row).field`: a field of a composite value, NULL where the value itself is. A field is a view of the row's array: nothing is copied.

use arrow::array::{Array, ArrayRef, AsArray, StructArray, make_array, new_null_array};
use arrow::buffer::NullBuffer;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::ScalarFunctionExpr;

use super::entry::Typed;
use super::kernel::{Call, PgFunction};
use crate::error::{Error, Result};
use crate::operators::PhysicalExpr;
use crate::types::Type;

pub const NAME: &str = "field";

/// The field of this name and type.
pub fn field(row: Typed, name: &str, ty: Type) -> Typed {
    let key = Expr::Literal(ScalarValue::Utf8(Some(name.to_string())), None);
    let udf = PgFunction::named(NAME, vec![row.ty, Type::Text], ty.clone(), Volatility::Immutable, get);
    Typed::new(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![row.expr, key])), ty)
}

/// Whether an expression is a field, or a field of a field, of a column: it costs nothing to evaluate and never fails.
pub fn is_field_of_column(expr: &PhysicalExpr) -> bool {
    let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() else { return false };
    let is_column =
        |expr: &PhysicalExpr| expr.downcast_ref::<datafusion::physical_expr::expressions::Column>().is_some();
    call.name() == NAME && call.args().first().is_some_and(|row| is_column(row) || is_field_of_column(row))
}

fn get(call: &Call) -> Result<ArrayRef> {
    let name = call.constant_text(1)?.unwrap_or_default();
    let Some(rows) = call.args[0].array.as_struct_opt() else {
        // A NULL of no type of its own.
        return Ok(new_null_array(&call.result.arrow(), call.rows));
    };
    let missing = || Error::internal(format!("no field {name} in {}", rows.data_type()));
    let values = rows.column_by_name(name).ok_or_else(missing)?;
    let field = within(rows, values)?;
    match call.args[0].constant && call.rows != 1 {
        true => super::kernel::Arg { array: field, constant: true }.expanded(call.rows),
        false => Ok(field),
    }
}

/// The values, NULL where their rows are.
fn within(rows: &StructArray, values: &ArrayRef) -> Result<ArrayRef> {
    let Some(nulls) = rows.nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(values.clone()) };
    let nulls = NullBuffer::union(Some(nulls), values.nulls());
    let data = values.to_data().into_builder().nulls(nulls);
    // SAFETY: the data are those of a valid array of the same length; only more of its rows are NULL.
    Ok(make_array(unsafe { data.build_unchecked() }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn a_field_is_null_where_its_row_is() {
        let fields = vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![Some(1), Some(2), None, Some(4)])),
            Arc::new(StringArray::from(vec![Some("x"), Some("y"), Some("z"), None])),
        ];
        let nulls = NullBuffer::from(vec![true, false, true, true]);
        let rows = StructArray::new(fields.into(), columns, Some(nulls));
        for (rows, numbers, texts) in [
            (rows.clone(), vec![Some(1), None, None, Some(4)], vec![Some("x"), None, Some("z"), None]),
            (rows.slice(1, 2), vec![None, None], vec![None, Some("z")]),
        ] {
            let found = within(&rows, rows.column(0)).unwrap();
            assert_eq!(found.as_ref(), &Int32Array::from(numbers) as &dyn Array);
            let found = within(&rows, rows.column(1)).unwrap();
            assert_eq!(found.as_ref(), &StringArray::from(texts) as &dyn Array);
        }
    }
}
