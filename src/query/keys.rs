//! Which filters an index answers: equality and IN over the columns of a primary key or an index, and a range of the next one.
//!
//! Values are compared in the column's own type; a filter that compares in another type (a cast around the column) is left to
//! the general path, except for integers, where the value can be narrowed exactly.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::catalog::{Catalog, IndexMethod, Relation, RelationKind};
use crate::engine::read::{Between, Lookup};
use crate::error::Result;
use crate::types::RelationId;

/// Keys of one lookup at most; longer lists are scanned for.
const MAX_KEYS: usize = 16 * 1024;

/// An index by which a relation can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Stored columns, in the index's order.
    pub columns: Vec<usize>,
    pub method: IndexMethod,
}

/// The indexes of a relation; first that of its primary key, which is for equality alone.
pub fn paths(relation: &Relation, catalog: &Catalog) -> Vec<Path> {
    let mut paths = Vec::new();
    let primary = relation.key_columns();
    if !primary.is_empty() && !relation.has_row_id() {
        paths.push(Path { columns: primary, method: IndexMethod::Hash });
    }
    paths.extend(indexes(relation.id, catalog));
    paths
}

fn indexes(relation: RelationId, catalog: &Catalog) -> impl Iterator<Item = Path> {
    catalog.relations().filter_map(move |index| match &index.kind {
        RelationKind::Index(def) if def.on == relation => {
            Some(Path { columns: def.order().map(|key| key.column).collect(), method: def.method })
        }
        _ => None,
    })
}

/// A column and what it may be for a filter to be true.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyFilter<C> {
    pub column: C,
    pub admits: Admits,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Admits {
    /// One of these: no NULLs, no value twice.
    Values(Vec<ScalarValue>),
    /// What lies between, which no NULL does.
    Between(Bound<ScalarValue>, Bound<ScalarValue>),
}

impl<C> KeyFilter<C> {
    pub fn at<D>(self, column: D) -> KeyFilter<D> {
        KeyFilter { column, admits: self.admits }
    }
}

/// Reads a filter as a condition on one column: `c = v`, `c IN (v, ...)`, or several of these on one column joined by OR; `c < v` and its
/// like; `c BETWEEN v AND w`. `None` where it is anything else.
pub fn key_filter(filter: &Expr, parameters: &[ScalarValue]) -> Option<KeyFilter<Column>> {
    range(filter, parameters).or_else(|| one_of(filter, parameters))
}

fn range(filter: &Expr, parameters: &[ScalarValue]) -> Option<KeyFilter<Column>> {
    let (column, lower, upper) = match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match (constant(left, parameters), constant(right, parameters)) {
                (None, Some(value)) => (left, *op, value),
                (Some(value), None) => (right, op.swap()?, value),
                _ => return None,
            };
            match op {
                Operator::Lt => (column, Bound::Unbounded, Bound::Excluded(value)),
                Operator::LtEq => (column, Bound::Unbounded, Bound::Included(value)),
                Operator::Gt => (column, Bound::Excluded(value), Bound::Unbounded),
                Operator::GtEq => (column, Bound::Included(value), Bound::Unbounded),
                _ => return None,
            }
        }
        Expr::Between(between) if !between.negated => {
            let bound = |value| Some(Bound::Included(constant(value, parameters)?));
            (&between.expr, bound(&between.low)?, bound(&between.high)?)
        }
        _ => return None,
    };
    let Expr::Column(column) = column.as_ref() else { return None };
    let null = [&lower, &upper].into_iter().any(|bound| value_of(bound).is_some_and(ScalarValue::is_null));
    let admits = if null { Admits::Values(Vec::new()) } else { Admits::Between(lower, upper) };
    Some(KeyFilter { column: column.clone(), admits })
}

fn value_of<T>(bound: &Bound<T>) -> Option<&T> {
    match bound {
        Bound::Included(value) | Bound::Excluded(value) => Some(value),
        Bound::Unbounded => None,
    }
}

/// Values as they are collected.
struct Found {
    column: Option<Column>,
    values: Vec<ScalarValue>,
}

fn one_of(filter: &Expr, parameters: &[ScalarValue]) -> Option<KeyFilter<Column>> {
    let mut found = Found { column: None, values: Vec::new() };
    collect(filter, parameters, &mut found)?;
    let mut values: Vec<ScalarValue> = Vec::new();
    for value in found.values {
        if !value.is_null() && !values.contains(&value) {
            values.push(value);
        }
    }
    Some(KeyFilter { column: found.column?, admits: Admits::Values(values) })
}

fn collect(filter: &Expr, parameters: &[ScalarValue], found: &mut Found) -> Option<()> {
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

fn add(column: &Expr, value: ScalarValue, found: &mut Found) -> Option<()> {
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

/// What of a path some filters use.
struct Use<'a> {
    path: &'a Path,
    /// For each of its first columns a filter that says which values it may have.
    equal: Vec<usize>,
    /// Filters that say between which values the next one lies.
    between: Vec<usize>,
}

/// The best lookup that these filters allow, and which of them it answers: by as many columns as can be, then with a range, then
/// where that is all that the index has to tell apart.
pub fn choose(
    paths: &[Path],
    filters: &[Option<KeyFilter<usize>>],
    schema: &SchemaRef,
) -> Result<Option<(Lookup, Vec<usize>)>> {
    let uses = paths.iter().filter_map(|path| usable(path, filters, schema));
    let merit = |found: &Use| (found.equal.len(), !found.between.is_empty(), found.path.method == IndexMethod::Hash);
    // The first of equal ones.
    let Some(best) = uses.reduce(|best, other| if merit(&other) > merit(&best) { other } else { best }) else {
        return Ok(None);
    };
    let keys = keys(&best.equal, filters, schema)?;
    let columns = best.path.columns[..best.equal.len()].to_vec();
    let between = between(&best, filters)?;
    Ok(Some((Lookup { columns, keys, between }, [best.equal, best.between].concat())))
}

fn usable<'a>(path: &'a Path, filters: &[Option<KeyFilter<usize>>], schema: &SchemaRef) -> Option<Use<'a>> {
    let on = |column: usize| {
        let filters = filters.iter().enumerate().filter_map(|(place, filter)| Some((place, filter.as_ref()?)));
        filters.filter(move |(_, filter)| filter.column == column && fits(filter, schema.field(column).data_type()))
    };
    let mut rows = 1usize;
    let mut equal = Vec::with_capacity(path.columns.len());
    for column in &path.columns {
        let values = on(*column).find_map(|(place, filter)| match &filter.admits {
            Admits::Values(values) => Some((place, values.len())),
            Admits::Between(..) => None,
        });
        let Some((place, count)) = values else { break };
        rows = rows.checked_mul(count).filter(|rows| *rows <= MAX_KEYS)?;
        equal.push(place);
    }
    let complete = equal.len() == path.columns.len();
    if path.method == IndexMethod::Hash {
        return complete.then_some(Use { path, equal, between: Vec::new() });
    }
    let mut between = Vec::new();
    if let Some(next) = path.columns.get(equal.len()) {
        let ranges = on(*next).filter(|(_, filter)| matches!(filter.admits, Admits::Between(..)));
        between.extend(ranges.map(|(place, _)| place));
    }
    (!equal.is_empty() || !between.is_empty()).then_some(Use { path, equal, between })
}

/// Whether a filter compares values of the column's own type, which Arrow equates and orders as SQL does.
fn fits(filter: &KeyFilter<usize>, column: &DataType) -> bool {
    let same = |value: &ScalarValue| value.data_type() == *column;
    match &filter.admits {
        Admits::Values(values) => values.iter().all(same),
        Admits::Between(lower, upper) => [lower, upper].into_iter().all(|bound| value_of(bound).is_none_or(same)),
    }
}

/// Every combination of the filters' values: one row without columns where there are none.
fn keys(used: &[usize], filters: &[Option<KeyFilter<usize>>], schema: &SchemaRef) -> Result<RecordBatch> {
    let used = used.iter().filter_map(|place| filters[*place].as_ref());
    let values: Vec<(usize, &Vec<ScalarValue>)> = used
        .filter_map(|filter| match &filter.admits {
            Admits::Values(values) => Some((filter.column, values)),
            Admits::Between(..) => None,
        })
        .collect();
    let total: usize = values.iter().map(|(_, values)| values.len()).product();
    let fields: Vec<_> = values.iter().map(|(column, _)| schema.field(*column).clone()).collect();
    let key_schema = Arc::new(Schema::new(fields));
    if total == 0 {
        return Ok(RecordBatch::new_empty(key_schema));
    }
    let mut repeat = 1;
    let mut arrays = Vec::with_capacity(values.len());
    for (_, values) in values {
        let column = (0..total).map(|row| values[row / repeat % values.len()].clone());
        arrays.push(ScalarValue::iter_to_array(column)?);
        repeat *= values.len();
    }
    let options = RecordBatchOptions::new().with_row_count(Some(total));
    Ok(RecordBatch::try_new_with_options(key_schema, arrays, &options)?)
}

/// What all the ranges have in common.
fn between(best: &Use, filters: &[Option<KeyFilter<usize>>]) -> Result<Option<Between>> {
    let ranges = best.between.iter().filter_map(|place| match filters[*place].as_ref()?.admits {
        Admits::Between(ref lower, ref upper) => Some((lower, upper)),
        Admits::Values(_) => None,
    });
    let both = ranges.fold(None, |both: Option<(Bound<ScalarValue>, Bound<ScalarValue>)>, (lower, upper)| {
        Some(match both {
            None => (lower.clone(), upper.clone()),
            Some((l, u)) => (tighter(l, lower, Ordering::Greater), tighter(u, upper, Ordering::Less)),
        })
    });
    let Some((lower, upper)) = both else { return Ok(None) };
    let array = |bound: Bound<ScalarValue>| -> Result<Bound<ArrayRef>> {
        Ok(match bound {
            Bound::Included(value) => Bound::Included(value.to_array()?),
            Bound::Excluded(value) => Bound::Excluded(value.to_array()?),
            Bound::Unbounded => Bound::Unbounded,
        })
    };
    let column = best.path.columns[best.equal.len()];
    Ok(Some(Between { column, lower: array(lower)?, upper: array(upper)? }))
}

/// The bound that leaves less: that whose value is `narrow` than the other's, of equal ones that which excludes it.
fn tighter(one: Bound<ScalarValue>, other: &Bound<ScalarValue>, narrow: Ordering) -> Bound<ScalarValue> {
    let (Some(a), Some(b)) = (value_of(&one), value_of(other)) else {
        return if matches!(one, Bound::Unbounded) { other.clone() } else { one };
    };
    match b.partial_cmp(a) {
        Some(Ordering::Equal) if matches!(other, Bound::Excluded(_)) => other.clone(),
        Some(order) if order == narrow => other.clone(),
        _ => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Field, Int32Type};
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

    fn chosen(paths: &[(&[usize], IndexMethod)], exprs: &[Expr]) -> Option<(Lookup, Vec<usize>)> {
        let path = |(columns, method): &(&[usize], IndexMethod)| Path { columns: columns.to_vec(), method: *method };
        choose(&paths.iter().map(path).collect::<Vec<_>>(), &filters(exprs), &schema()).unwrap()
    }

    const HASH: IndexMethod = IndexMethod::Hash;
    const BTREE: IndexMethod = IndexMethod::Btree;

    #[test]
    fn equality_in_and_or_name_keys() {
        let values = |expr: Expr| key_filter(&expr, &[]).map(|filter| filter.admits);
        let ints =
            |values: &[i32]| Some(Admits::Values(values.iter().map(|value| ScalarValue::from(*value)).collect()));
        assert_eq!(values(col("a").eq(lit(1)).or(lit(2).eq(col("a"))).or(col("a").eq(lit(1)))), ints(&[1, 2]));
        assert_eq!(values(col("a").in_list(vec![lit(1), lit(ScalarValue::Int32(None))], false)), ints(&[1]));
        assert_eq!(values(col("a").eq(lit(1)).or(col("b").eq(lit(2)))), None);
        assert_eq!(values(col("a").eq(lit(1)).or(col("a").gt(lit(2)))), None);
        assert_eq!(values(col("a").in_list(vec![lit(1)], true)), None);
        assert_eq!(values(col("a").eq(col("b"))), None);
        assert_eq!(values(col("a").gt(lit(ScalarValue::Int32(None)))), ints(&[]));
        let range = Admits::Between(Bound::Excluded(1.into()), Bound::Unbounded);
        assert_eq!((values(col("a").gt(lit(1))), values(lit(1).lt(col("a")))), (Some(range.clone()), Some(range)));
    }

    #[test]
    fn the_widest_lookup_wins_and_keys_multiply() {
        let exprs = [
            col("b").in_list(vec![lit(1), lit(2)], false),
            col("c").eq(lit("x")),
            col("a").in_list(vec![lit(7), lit(8)], false),
        ];
        for method in [HASH, BTREE] {
            let (wanted, used) = chosen(&[(&[1], method), (&[0, 1], method)], &exprs).unwrap();
            assert_eq!((wanted.columns, used, wanted.keys.num_rows()), (vec![0, 1], vec![2, 0], 4));
        }
        assert!(chosen(&[(&[0, 1, 2], HASH), (&[0], HASH)], &exprs[..2]).is_none());
        // Of an ordered index the first columns are enough.
        let (wanted, used) = chosen(&[(&[1, 2, 0], BTREE)], &exprs[..2]).unwrap();
        assert_eq!((wanted.columns, used, wanted.keys.num_rows()), (vec![1, 2], vec![0, 1], 2));
        assert!(chosen(&[(&[0, 1], BTREE)], &exprs[..2]).is_none());
    }

    #[test]
    fn ranges_of_the_next_column_are_taken_together() {
        let exprs = [
            col("b").gt(lit(3)),
            col("a").eq(lit(1)),
            col("b").between(lit(2), lit(9)),
            col("b").lt(lit(9)),
            col("c").gt(lit("x")),
        ];
        let (wanted, used) = chosen(&[(&[2], BTREE), (&[0, 1], BTREE), (&[0], HASH)], &exprs).unwrap();
        assert_eq!((wanted.columns, used), (vec![0], vec![1, 0, 2, 3]));
        let between = wanted.between.unwrap();
        let number = |array: &ArrayRef| array.as_primitive::<Int32Type>().value(0);
        assert_eq!(between.column, 1);
        assert!(matches!(&between.lower, Bound::Excluded(value) if number(value) == 3), "{between:?}");
        assert!(matches!(&between.upper, Bound::Excluded(value) if number(value) == 9), "{between:?}");
        // Without keys: one row that all rows match.
        let (wanted, used) = chosen(&[(&[2, 0], BTREE)], &exprs).unwrap();
        assert_eq!((wanted.columns.len(), wanted.keys.num_rows(), used), (0, 1, vec![4]));
        assert!(matches!(&wanted.between.unwrap().lower, Bound::Excluded(value) if value.len() == 1));
    }

    #[test]
    fn values_of_another_type_are_not_keys() {
        assert!(chosen(&[(&[0], HASH)], &[col("a").eq(lit(1i64))]).is_none());
        assert!(chosen(&[(&[0], BTREE)], &[col("a").gt(lit(1i64))]).is_none());
    }

    #[test]
    fn a_null_key_finds_nothing() {
        for expr in [col("a").eq(lit(ScalarValue::Int32(None))), col("a").lt(lit(ScalarValue::Int32(None)))] {
            let (wanted, _) = chosen(&[(&[0], BTREE)], &[expr]).unwrap();
            assert_eq!(wanted.keys.num_rows(), 0);
        }
    }
}
