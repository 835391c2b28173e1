//! Which filters say "these keys": equality and IN over the columns of a primary key or an index.
//!
//! Values are compared in the column's own type; a filter that compares in another type (a cast around the column)
//! is left to the general path, except for integers, where the value can be narrowed exactly.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::catalog::{Catalog, Relation, RelationKind};
use crate::error::Result;
use crate::types::RelationId;

/// Keys of one lookup at most; longer lists are scanned for.
const MAX_KEYS: usize = 16 * 1024;

/// The sets of stored columns by which a relation can be looked up.
pub fn lookups(relation: &Relation, catalog: &Catalog) -> Vec<Vec<usize>> {
    let mut sets = Vec::new();
    let primary = relation.key_columns();
    if !primary.is_empty() && !relation.has_row_id() {
        sets.push(primary);
    }
    sets.extend(indexes(relation.id, catalog));
    sets
}

fn indexes(relation: RelationId, catalog: &Catalog) -> impl Iterator<Item = Vec<usize>> {
    catalog.relations().filter_map(move |index| match &index.kind {
        RelationKind::Index(def) if def.on == relation => Some(def.keys.iter().map(|key| key.column).collect()),
        _ => None,
    })
}

/// A column and the values it may have for a filter to be true. No NULLs, no value twice.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyFilter<C> {
    pub column: C,
    pub values: Vec<ScalarValue>,
}

impl<C> KeyFilter<C> {
    pub fn at<D>(self, column: D) -> KeyFilter<D> {
        KeyFilter { column, values: self.values }
    }
}

/// Reads a filter as a condition on one column: `c = v`, `c IN (v, ...)`, or several of these on one column joined by
/// OR.
/// `None` where it is anything else.
pub fn key_filter(filter: &Expr, parameters: &[ScalarValue]) -> Option<KeyFilter<Column>> {
    let mut found = KeyFilter { column: None, values: Vec::new() };
    collect(filter, parameters, &mut found)?;
    let mut values: Vec<ScalarValue> = Vec::new();
    for value in found.values {
        if !value.is_null() && !values.contains(&value) {
            values.push(value);
        }
    }
    Some(KeyFilter { column: found.column?, values })
}

fn collect(filter: &Expr, parameters: &[ScalarValue], found: &mut KeyFilter<Option<Column>>) -> Option<()> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            collect(left, parameters, found)?;
            collect(right, parameters, found)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (column, value) = match (constant(left, parameters), constant(right, parameters)) {
                (None, Some(value)) => (left.as_ref(), value),
                (Some(value), None) => (right.as_ref(), value),
                _ => return None,
            };
            add(column, value, found)
        }
        Expr::InList(list) if !list.negated && list.list.len() <= MAX_KEYS => {
            for value in &list.list {
                add(&list.expr, constant(value, parameters)?, found)?;
            }
            // An empty list is never true, but says nothing about a column.
            (!list.list.is_empty()).then_some(())
        }
        _ => None,
    }
}

fn add(column: &Expr, value: ScalarValue, found: &mut KeyFilter<Option<Column>>) -> Option<()> {
    let Expr::Column(column) = column else { return None };
    if found.column.get_or_insert_with(|| column.clone()) != column || found.values.len() >= 4 * MAX_KEYS {
        return None;
    }
    // Deduplication is quadratic; it is done once, at the end, and only short OR chains and IN lists come here.
    found.values.push(value);
    Some(())
}

fn constant(expr: &Expr, parameters: &[ScalarValue]) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Placeholder(placeholder) => {
            let number: usize = placeholder.id.strip_prefix('$')?.parse().ok()?;
            parameters.get(number.checked_sub(1)?).cloned()
        }
        _ => None,
    }
}

/// Keys to look up: `rows` has one column for each of `columns`, in that order, no row twice, no NULL.
#[derive(Clone, Debug)]
pub struct Keys {
    pub columns: Vec<usize>,
    pub rows: RecordBatch,
}

/// A lookup that these filters allow, and which of them it answers. The one with most columns wins: it is the most
/// selective.
pub fn choose(
    lookups: &[Vec<usize>],
    filters: &[Option<KeyFilter<usize>>],
    schema: &SchemaRef,
) -> Result<Option<(Keys, Vec<usize>)>> {
    let mut best: Option<Vec<usize>> = None;
    for columns in lookups {
        let Some(used) = covering(columns, filters, schema) else { continue };
        if best.as_ref().is_none_or(|best| used.len() > best.len()) {
            best = Some(used);
        }
    }
    let Some(used) = best else { return Ok(None) };
    Ok(Some((keys(&used, filters, schema)?, used)))
}

/// For each of `columns` the number of a filter on it, if all have one.
fn covering(columns: &[usize], filters: &[Option<KeyFilter<usize>>], schema: &SchemaRef) -> Option<Vec<usize>> {
    let mut rows = 1usize;
    let mut used = Vec::with_capacity(columns.len());
    for column in columns {
        let place = filters.iter().position(|filter| {
            filter
                .as_ref()
                .is_some_and(|filter| filter.column == *column && fits(filter, schema.field(*column).data_type()))
        })?;
        rows = rows.checked_mul(filters[place].as_ref()?.values.len())?;
        used.push(place);
    }
    (rows <= MAX_KEYS).then_some(used)
}

fn fits(filter: &KeyFilter<usize>, column: &DataType) -> bool {
    filter.values.iter().all(|value| value.data_type() == *column)
}

/// Every combination of the filters' values.
fn keys(used: &[usize], filters: &[Option<KeyFilter<usize>>], schema: &SchemaRef) -> Result<Keys> {
    let filters: Vec<&KeyFilter<usize>> = used.iter().filter_map(|place| filters[*place].as_ref()).collect();
    let total: usize = filters.iter().map(|filter| filter.values.len()).product();
    let columns: Vec<usize> = filters.iter().map(|filter| filter.column).collect();
    let key_schema =
        Arc::new(Schema::new(columns.iter().map(|column| schema.field(*column).clone()).collect::<Vec<_>>()));
    if total == 0 {
        return Ok(Keys { columns, rows: RecordBatch::new_empty(key_schema) });
    }
    let mut repeat = 1;
    let mut arrays = Vec::with_capacity(filters.len());
    for filter in filters {
        let values = &filter.values;
        let column = (0..total).map(|row| values[row / repeat % values.len()].clone());
        arrays.push(ScalarValue::iter_to_array(column)?);
        repeat *= values.len();
    }
    Ok(Keys { columns, rows: RecordBatch::try_new(key_schema, arrays)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use datafusion::prelude::{col, lit};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Int32, true),
            Field::new("c", DataType::Utf8, true),
        ]))
    }

    fn filters(exprs: &[Expr]) -> Vec<Option<KeyFilter<usize>>> {
        exprs
            .iter()
            .map(|expr| {
                let filter = key_filter(expr, &[])?;
                let column = schema().index_of(&filter.column.name).ok()?;
                Some(filter.at(column))
            })
            .collect()
    }

    #[test]
    fn equality_in_and_or_name_keys() {
        let filter = key_filter(&col("a").eq(lit(1)).or(lit(2).eq(col("a"))).or(col("a").eq(lit(1))), &[]).unwrap();
        assert_eq!(filter.values, [ScalarValue::from(1), ScalarValue::from(2)]);
        let filter = key_filter(&col("a").in_list(vec![lit(1), lit(ScalarValue::Int32(None))], false), &[]).unwrap();
        assert_eq!(filter.values, [ScalarValue::from(1)]);
        assert!(key_filter(&col("a").eq(lit(1)).or(col("b").eq(lit(2))), &[]).is_none());
        assert!(key_filter(&col("a").in_list(vec![lit(1)], true), &[]).is_none());
        assert!(key_filter(&col("a").eq(col("b")), &[]).is_none());
        assert!(key_filter(&col("a").gt(lit(1)), &[]).is_none());
    }

    #[test]
    fn the_widest_lookup_wins_and_keys_multiply() {
        let exprs = [
            col("b").in_list(vec![lit(1), lit(2)], false),
            col("c").eq(lit("x")),
            col("a").in_list(vec![lit(7), lit(8)], false),
        ];
        let (keys, used) = choose(&[vec![1], vec![0, 1]], &filters(&exprs), &schema()).unwrap().unwrap();
        assert_eq!(keys.columns, [0, 1]);
        assert_eq!(used, [2, 0]);
        assert_eq!(keys.rows.num_rows(), 4);
        assert!(choose(&[vec![0, 1, 2], vec![0]], &filters(&exprs[..2]), &schema()).unwrap().is_none());
    }

    #[test]
    fn values_of_another_type_are_not_keys() {
        assert!(choose(&[vec![0]], &filters(&[col("a").eq(lit(1i64))]), &schema()).unwrap().is_none());
    }

    #[test]
    fn a_null_key_finds_nothing() {
        let exprs = [col("a").eq(lit(ScalarValue::Int32(None)))];
        let (keys, _) = choose(&[vec![0]], &filters(&exprs), &schema()).unwrap().unwrap();
        assert_eq!(keys.rows.num_rows(), 0);
    }
}
