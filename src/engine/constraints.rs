//! What rows must be, and what is said of those that are not.

use arrow::array::{Array, RecordBatch};
use bytes::BytesMut;

use crate::catalog::Relation;
use crate::catalog::objects::primary_key_name;
use crate::error::{Error, Object, Result, SqlState};
use crate::types::text::{TextSettings, printer};

/// 23502 for the first row that has a NULL where there may be none.
pub fn check_not_null(relation: &Relation, rows: &RecordBatch) -> Result<()> {
    for (number, column) in relation.columns.iter().enumerate().filter(|(_, column)| column.not_null) {
        let values = rows.column(number);
        if values.null_count() > 0 {
            let row = (0..rows.num_rows()).find(|row| values.is_null(*row)).unwrap_or_default();
            let message = format!(
                "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                column.name, relation.name
            );
            let shown = show(relation, rows, row, 0..relation.columns.len());
            return Err(Error::new(SqlState::NOT_NULL_VIOLATION, message)
                .with_detail(format!("Failing row contains ({}).", shown.join(", ")))
                .with_object(Object { column: Some(column.name.clone()), ..object(relation) }));
        }
    }
    Ok(())
}

/// 23505 for a row whose key another one has.
pub fn duplicate_key(relation: &Relation, rows: &RecordBatch, row: usize) -> Error {
    let key = relation.key_columns();
    let names: Vec<&str> = key.iter().map(|column| relation.columns[*column].name.as_str()).collect();
    let constraint = primary_key_name(relation);
    let message = format!("duplicate key value violates unique constraint \"{constraint}\"");
    let values = show(relation, rows, row, key.iter().copied());
    Error::new(SqlState::UNIQUE_VIOLATION, message)
        .with_detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
        .with_object(Object { constraint: Some(constraint), ..object(relation) })
}

fn object(relation: &Relation) -> Object {
    Object { schema: Some(relation.schema.clone()), table: Some(relation.name.clone()), ..Object::default() }
}

/// Values of a row for a message, each in its type's text form.
fn show(relation: &Relation, rows: &RecordBatch, row: usize, columns: impl Iterator<Item = usize>) -> Vec<String> {
    let text = |column: usize| {
        let values = rows.column(column);
        if values.is_null(row) {
            return "null".to_string();
        }
        let mut text = BytesMut::new();
        let ty = relation.columns.get(column).map(|column| &column.ty);
        match ty.map(|ty| printer(ty, values, &TextSettings::default())) {
            Some(Ok(print)) => print(row, &mut text),
            _ => text.extend_from_slice(b"?"),
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    columns.map(text).collect()
}
