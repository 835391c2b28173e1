//! Array kernels that the binder itself writes into plans: ARRAY[...], subscripts, slices, ANY and ALL, and the arrays
//! that functions in FROM are unnested from. Each is one expression over whole columns; nothing is looked up by name.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, RecordBatch, StructArray, TimestampMicrosecondArray,
    UInt32Array, new_empty_array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, Int32Type, TimestampMicrosecondType};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use datafusion::physical_expr::create_physical_expr;

use super::registry::{self, Typed};
use crate::error::{Error, Result, SqlState};
use crate::operators::hop::windows;
use crate::operators::series::{MAX_SERIES, Series, too_long};
use crate::types::datetime::timestamp_out_of_range;
use crate::types::{StructField, Type};

/// Elements that the calls of generate_series for a batch of rows may make together: they are one array.
const MAX_BATCH: usize = 8 * MAX_SERIES;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kernel {
    /// (array, int4): the element, NULL outside.
    Element,
    /// (array, int4, int4): the elements from the first to the last of these subscripts.
    Slice,
    /// (value, array): `value op` any or all of its elements, with SQL's NULLs.
    Quantified { op: Operator, all: bool },
    /// (array): an expression of each element, which it calls `item`.
    Each { item: Expr },
    /// (array): 1, 2, ... one a place.
    Positions,
    /// (array): rows of each element and its place.
    Numbered,
    /// (start, stop, step): all of one type of numbers, or two timestamps and an interval; then the zone of instants.
    Series,
    /// (timestamp): starts of the windows that hold it, earliest first; microseconds.
    WindowStarts { slide: i64, size: i64 },
    /// (timestamp): that many microseconds later.
    Later { by: i64 },
}

#[derive(Debug)]
struct ArrayFunction {
    kernel: Kernel,
    returns: DataType,
    signature: Signature,
}

impl PartialEq for ArrayFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kernel == other.kernel && self.returns == other.returns
    }
}

impl Eq for ArrayFunction {}

impl Hash for ArrayFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kernel.hash(state);
        self.returns.hash(state);
    }
}

fn call(kernel: Kernel, args: Vec<Expr>, returns: DataType) -> Expr {
    let function = ArrayFunction { kernel, returns, signature: Signature::any(args.len(), Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), args))
}

/// `ARRAY[...]` of items of one type.
pub fn make(items: Vec<Expr>, ty: &Type) -> Result<Typed> {
    match ty {
        Type::Array(_) => Err(nested()),
        _ => Ok(elements(items, ty)),
    }
}

/// Items of one type, arrays too: what is unnested again, not a value of any type that has a name.
pub fn elements(items: Vec<Expr>, ty: &Type) -> Typed {
    let array = Type::Array(Box::new(ty.clone()));
    if items.is_empty() {
        let empty = ScalarValue::new_list(&[], &ty.arrow(), true);
        return Typed::new(Expr::Literal(ScalarValue::List(empty), None), array);
    }
    let make_array = datafusion::functions_nested::make_array::make_array_udf();
    Typed::new(Expr::ScalarFunction(ScalarFunction::new_udf(make_array, items)), array)
}

/// Arrays have one dimension.
pub fn nested() -> Error {
    Error::unsupported("an array of more than one dimension", "Use jsonb for nested arrays.")
}

/// `array[index]`, counted from 1.
pub fn element(array: Typed, index: Expr) -> Result<Typed> {
    let Type::Array(item) = array.ty else { return Err(Error::internal("a subscript of what is no array")) };
    Ok(Typed::new(call(Kernel::Element, vec![array.expr, index], item.arrow()), *item))
}

/// `array[lower:upper]`; a bound that is left out is the array's own.
pub fn slice(array: Typed, lower: Option<Expr>, upper: Option<Expr>) -> Result<Typed> {
    if !matches!(array.ty, Type::Array(_)) {
        let message =
            format!("cannot subscript type {} because it does not support subscripting", array.ty.bare_name());
        return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
    }
    let bound =
        |expr: Option<Expr>, default: i32| expr.unwrap_or(Expr::Literal(ScalarValue::Int32(Some(default)), None));
    let args = vec![array.expr, bound(lower, 1), bound(upper, i32::MAX)];
    Ok(Typed::new(call(Kernel::Slice, args, array.ty.arrow()), array.ty))
}

/// `value op ANY (array)` or ALL. `comparison` is `value op item`, as the registry resolved it, with the column
/// `item` for the item, under the casts and keys that the operator needs.
pub fn quantified(comparison: Expr, array: Typed, all: bool) -> Result<Typed> {
    let unsupported = || {
        Error::unsupported("this operator with ANY or ALL over an array", "Write it over unnest(array) in a subquery.")
    };
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = comparison else { return Err(unsupported()) };
    let array = match right.as_ref() {
        Expr::Column(column) if column.name == "item" => array.expr,
        _ if right.is_volatile() || right.column_refs().len() != 1 => return Err(unsupported()),
        _ => each(*right, array)?,
    };
    if let Expr::Literal(ScalarValue::List(list), _) = &array
        && list.len() == 1
        && list.is_valid(0)
    {
        // An array that is known: its elements are written out, so that the optimizer sees them.
        let values = list.value(0);
        let items = (0..values.len())
            .map(|row| Ok(Expr::Literal(ScalarValue::try_from_array(&values, row)?, None)))
            .collect::<DfResult<Vec<_>>>()?;
        if op == Operator::Eq && !all && !items.is_empty() {
            let list = datafusion::logical_expr::expr::InList { expr: left, list: items, negated: false };
            return Ok(Typed::new(Expr::InList(list), Type::Bool));
        }
        if op == Operator::NotEq && all && !items.is_empty() {
            let list = datafusion::logical_expr::expr::InList { expr: left, list: items, negated: true };
            return Ok(Typed::new(Expr::InList(list), Type::Bool));
        }
    }
    let args = vec![*left, array];
    Ok(Typed::new(call(Kernel::Quantified { op, all }, args, DataType::Boolean), Type::Bool))
}

/// An array of `item` for each element of `array`.
fn each(item: Expr, array: Typed) -> Result<Expr> {
    let Type::Array(element) = &array.ty else { return Err(Error::internal("elements of what is no array")) };
    let schema = item_schema(element.arrow())?;
    let returns = DataType::List(Arc::new(Field::new_list_field(item.get_type(&schema)?, true)));
    Ok(call(Kernel::Each { item }, vec![array.expr], returns))
}

/// One column, `item`.
fn item_schema(element: DataType) -> Result<DFSchema> {
    Ok(DFSchema::from_unqualified_fields(vec![Field::new("item", element, true)].into(), Default::default())?)
}

/// `generate_subscripts(array, 1)`, WITH ORDINALITY.
pub fn positions(array: Expr) -> Expr {
    call(Kernel::Positions, vec![array], Type::Array(Box::new(Type::Int4)).arrow())
}

/// information_schema._pg_expandarray: rows (x, n) of an array's elements and their places, which pgjdbc asks for a key's
/// columns with.
pub fn numbered(array: Typed) -> Result<Typed> {
    let Type::Array(item) = array.ty else {
        return Err(Error::internal("numbers for the elements of what is no array"));
    };
    let field = |name: &str, ty: Type| StructField { name: name.to_string(), ty };
    let rows = Type::Array(Box::new(Type::Struct(vec![field("x", *item), field("n", Type::Int4)])));
    Ok(Typed::new(call(Kernel::Numbered, vec![array.expr], rows.arrow()), rows))
}

/// `generate_series` over arguments already of one type (an interval step with timestamps).
pub fn series(start: Typed, stop: Expr, step: Expr) -> Typed {
    let zone = (start.ty == Type::Timestamptz).then(|| registry::text_literal(registry::time_zone()).expr);
    let ty = Type::Array(Box::new(start.ty));
    let args = [start.expr, stop, step].into_iter().chain(zone).collect();
    Typed::new(call(Kernel::Series, args, ty.arrow()), ty)
}

/// The arguments of a `generate_series` that [`series`] made.
pub fn series_args(expr: &Expr) -> Option<&[Expr]> {
    let Expr::ScalarFunction(function) = expr else { return None };
    is_series(&function.func).then_some(function.args.as_slice())
}

/// Whether this is the kernel of [`series`].
pub fn is_series(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<ArrayFunction>().is_some_and(|array| array.kernel == Kernel::Series)
}

/// Starts of the windows that hold a timestamp, as an array of its type.
pub fn window_starts(time: Expr, ty: &Type, slide: i64, size: i64) -> Expr {
    call(Kernel::WindowStarts { slide, size }, vec![time], Type::Array(Box::new(ty.clone())).arrow())
}

/// A timestamp so many microseconds later.
pub fn later(time: Expr, ty: &Type, by: i64) -> Expr {
    call(Kernel::Later { by }, vec![time], ty.arrow())
}

impl ScalarUDFImpl for ArrayFunction {
    fn name(&self) -> &str {
        match self.kernel {
            Kernel::Element => "array_element",
            Kernel::Slice => "array_slice",
            Kernel::Quantified { all: false, .. } => "any",
            Kernel::Quantified { all: true, .. } => "all",
            Kernel::Each { .. } => "each",
            Kernel::Positions => "positions",
            Kernel::Numbered => "numbered",
            Kernel::Series => "series",
            Kernel::WindowStarts { .. } => "window_starts",
            Kernel::Later { .. } => "later",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(self.returns.clone())
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        let shown = match &self.kernel {
            Kernel::Quantified { op, .. } => format!("{op}"),
            Kernel::Each { item } => item.schema_name().to_string(),
            Kernel::WindowStarts { slide, size } => format!("{slide}us, {size}us"),
            Kernel::Later { by } => format!("{by}us"),
            _ => String::new(),
        };
        Ok(format!("{}[{shown}]({})", self.name(), args.join(", ")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let result = self.compute(&arrays, rows)?;
        match scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

impl ArrayFunction {
    fn compute(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        match &self.kernel {
            Kernel::Element => element_kernel(list(&args[0])?, args[1].as_primitive::<Int32Type>()),
            Kernel::Slice => {
                let (lower, upper) = (args[1].as_primitive::<Int32Type>(), args[2].as_primitive::<Int32Type>());
                slice_kernel(list(&args[0])?, lower, upper)
            }
            Kernel::Quantified { op, all } => quantified_kernel(&args[0], list(&args[1])?, *op, *all),
            Kernel::Each { item } => each_kernel(item, list(&args[0])?),
            Kernel::Positions => {
                let array = list(&args[0])?;
                let lengths: Vec<usize> = (0..rows).map(|row| live_length(array, row)).collect();
                let values: Int32Array = lengths.iter().flat_map(|length| 1..=*length as i32).collect();
                self.list_of(Arc::new(values), lengths, array.nulls().cloned())
            }
            Kernel::Numbered => {
                let array = list(&args[0])?;
                let live: Vec<ArrayRef> =
                    (0..rows).filter(|row| array.is_valid(*row)).map(|row| array.value(row)).collect();
                let live: Vec<&dyn Array> = live.iter().map(|values| values.as_ref()).collect();
                let lengths: Vec<usize> = (0..rows).map(|row| live_length(array, row)).collect();
                let places: Int32Array = lengths.iter().flat_map(|length| 1..=*length as i32).collect();
                let DataType::List(field) = &self.returns else { return Err(Error::internal("rows that are no list")) };
                let DataType::Struct(fields) = field.data_type() else {
                    return Err(Error::internal("numbered elements that are no rows"));
                };
                let elements = match live.is_empty() {
                    true => new_empty_array(&array.value_type()),
                    false => concat(&live)?,
                };
                let values = StructArray::try_new(fields.clone(), vec![elements, Arc::new(places)], None)?;
                self.list_of(Arc::new(values), lengths, array.nulls().cloned())
            }
            Kernel::Series => self.series_kernel(args, rows),
            Kernel::WindowStarts { slide, size } => {
                let times = args[0].as_primitive::<TimestampMicrosecondType>();
                let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
                for row in 0..rows {
                    let before = values.len();
                    if times.is_valid(row) {
                        let (last, count) =
                            windows(times.value(row), *slide, *size).ok_or_else(timestamp_out_of_range)?;
                        values.extend((0..count as i64).rev().map(|n| last - n * slide));
                    }
                    lengths.push(values.len() - before);
                }
                let values: ArrayRef = Arc::new(TimestampMicrosecondArray::from(values));
                let values = cast(&values, times.data_type())?;
                self.list_of(values, lengths, None)
            }
            Kernel::Later { by } => {
                let times = args[0].as_primitive::<TimestampMicrosecondType>();
                let moved: TimestampMicrosecondArray = times.unary_opt(|time| time.checked_add(*by));
                Ok(Arc::new(moved.with_data_type(times.data_type().clone())))
            }
        }
    }

    /// Values cut into lists of these lengths.
    fn list_of(&self, values: ArrayRef, lengths: Vec<usize>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let DataType::List(field) = &self.returns else { return Err(Error::internal("a list kernel without a list")) };
        Ok(Arc::new(ListArray::try_new(field.clone(), OffsetBuffer::from_lengths(lengths), values, nulls)?))
    }

    fn series_kernel(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let DataType::List(field) = &self.returns else { return Err(Error::internal("a list kernel without a list")) };
        let mut lengths = Vec::with_capacity(rows);
        let mut valid = Vec::with_capacity(rows);
        let mut pieces = Vec::with_capacity(rows);
        let mut total = 0;
        for row in 0..rows {
            let series = Series::of(args, row)?;
            valid.push(series.is_some());
            let values = match series {
                Some(mut series) => series.take(MAX_SERIES + 1, field.data_type())?,
                None => new_empty_array(field.data_type()),
            };
            total += values.len();
            if values.len() > MAX_SERIES || total > MAX_BATCH {
                return Err(too_long());
            }
            lengths.push(values.len());
            pieces.push(values);
        }
        let values = match pieces.is_empty() {
            true => new_empty_array(field.data_type()),
            false => concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?,
        };
        // NULL arguments make no rows.
        self.list_of(values, lengths, Some(NullBuffer::from(valid)))
    }
}

fn list(array: &ArrayRef) -> Result<&ListArray> {
    array.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array kernel over what is no array"))
}

fn live_length(array: &ListArray, row: usize) -> usize {
    if array.is_valid(row) { array.value_length(row) as usize } else { 0 }
}

fn element_kernel(array: &ListArray, index: &Int32Array) -> Result<ArrayRef> {
    let places: UInt32Array = (0..array.len())
        .map(|row| {
            if !index.is_valid(row) {
                return None;
            }
            let index = index.value(row);
            let within = index >= 1 && (index as usize) <= live_length(array, row);
            within.then(|| (array.value_offsets()[row] + index - 1) as u32)
        })
        .collect();
    if array.values().is_empty() {
        return Ok(new_null_array(array.values().data_type(), array.len()));
    }
    Ok(take(array.values(), &places, None)?)
}

fn slice_kernel(array: &ListArray, lower: &Int32Array, upper: &Int32Array) -> Result<ArrayRef> {
    let mut places: Vec<u32> = Vec::new();
    let mut lengths = Vec::with_capacity(array.len());
    let mut valid = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let given = array.is_valid(row) && lower.is_valid(row) && upper.is_valid(row);
        valid.push(given);
        let before = places.len();
        if given {
            let first = lower.value(row).max(1) as usize;
            let last = (upper.value(row).max(0) as usize).min(live_length(array, row));
            let start = array.value_offsets()[row] as usize;
            places.extend((first..=last).map(|place| (start + place - 1) as u32));
        }
        lengths.push(places.len() - before);
    }
    let DataType::List(field) = array.data_type() else { return Err(Error::internal("a slice of what is no array")) };
    let values = take(array.values(), &UInt32Array::from(places), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, Some(NullBuffer::from(valid)))?))
}

fn each_kernel(item: &Expr, array: &ListArray) -> Result<ArrayRef> {
    let schema = item_schema(array.value_type())?;
    let expr = create_physical_expr(item, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    let (first, last) = (array.value_offsets()[0], array.value_offsets()[array.len()]);
    let elements = array.values().slice(first as usize, (last - first) as usize);
    let rows = elements.len();
    let batch = RecordBatch::try_new(schema.inner().clone(), vec![elements])?;
    let items = expr.evaluate(&batch)?.into_array(rows)?;
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let lengths = OffsetBuffer::from_lengths(array.offsets().lengths());
    Ok(Arc::new(ListArray::try_new(field, lengths, items, array.nulls().cloned())?))
}

/// Compares every element with its row's value at once, then folds the answers row by row.
fn quantified_kernel(value: &ArrayRef, array: &ListArray, op: Operator, all: bool) -> Result<ArrayRef> {
    let mut owners: Vec<u32> = Vec::new();
    let mut places: Vec<u32> = Vec::new();
    for row in 0..array.len() {
        let start = array.value_offsets()[row] as u32;
        let length = live_length(array, row) as u32;
        owners.extend(std::iter::repeat_n(row as u32, length as usize));
        places.extend(start..start + length);
    }
    let values = take(value, &UInt32Array::from(owners), None)?;
    let items = take(array.values(), &UInt32Array::from(places), None)?;
    let answers = compare(&values, &items, op)?;
    let mut next = 0;
    let folded: BooleanArray = (0..array.len())
        .map(|row| {
            let length = live_length(array, row);
            let answers = (next..next + length).map(|n| answers.is_valid(n).then(|| answers.value(n)));
            next += length;
            if !array.is_valid(row) {
                return None;
            }
            // ANY: true wins, then NULL; ALL: false wins, then NULL.
            answers.fold(Some(all), |so_far, answer| match (so_far, answer) {
                (Some(decided), _) if decided != all => so_far,
                (_, Some(answer)) if answer != all => Some(answer),
                (_, None) | (None, _) => None,
                (decided, _) => decided,
            })
        })
        .collect();
    Ok(Arc::new(folded))
}

fn compare(left: &ArrayRef, right: &ArrayRef, op: Operator) -> Result<BooleanArray> {
    use arrow::compute::kernels::cmp;
    Ok(match op {
        Operator::Eq => cmp::eq(left, right)?,
        Operator::NotEq => cmp::neq(left, right)?,
        Operator::Lt => cmp::lt(left, right)?,
        Operator::LtEq => cmp::lt_eq(left, right)?,
        Operator::Gt => cmp::gt(left, right)?,
        Operator::GtEq => cmp::gt_eq(left, right)?,
        other => return Err(Error::internal(format!("{other} over an array"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(rows: &[Option<&[Option<i32>]>]) -> ListArray {
        ListArray::from_iter_primitive::<Int32Type, _, _>(rows.iter().map(|row| row.map(|row| row.to_vec())))
    }

    fn booleans(array: &ArrayRef) -> Vec<Option<bool>> {
        array.as_boolean().iter().collect()
    }

    #[test]
    fn any_and_all_follow_sql_nulls() {
        let array = ints(&[Some(&[Some(1), Some(2)]), Some(&[Some(2), None]), Some(&[Some(1), None]), Some(&[]), None]);
        let value: ArrayRef = Arc::new(Int32Array::from(vec![1, 1, 1, 1, 1]));
        let any = quantified_kernel(&value, &array, Operator::Eq, false).unwrap();
        assert_eq!(booleans(&any), [Some(true), None, Some(true), Some(false), None]);
        let all = quantified_kernel(&value, &array, Operator::Eq, true).unwrap();
        assert_eq!(booleans(&all), [Some(false), Some(false), None, Some(true), None]);
    }

    #[test]
    fn subscripts_and_slices() {
        let array = ints(&[Some(&[Some(10), Some(20), Some(30)]), Some(&[]), None]);
        let got = element_kernel(&array, &Int32Array::from(vec![2, 1, 1])).unwrap();
        assert_eq!(got.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(20), None, None]);
        for outside in [0, -1, 4] {
            assert!(element_kernel(&array, &Int32Array::from(vec![outside; 3])).unwrap().is_null(0));
        }
        let slice = slice_kernel(&array, &Int32Array::from(vec![2; 3]), &Int32Array::from(vec![9; 3])).unwrap();
        assert_eq!(slice.as_ref(), &ints(&[Some(&[Some(20), Some(30)]), Some(&[]), None]) as &dyn Array);
    }

    #[test]
    fn every_time_is_in_its_windows() {
        let starts = |time: i64, slide: i64, size: i64| {
            let returns = Type::Array(Box::new(Type::Timestamp)).arrow();
            let kernel = Kernel::WindowStarts { slide, size };
            let function = ArrayFunction { kernel, returns, signature: Signature::any(1, Volatility::Immutable) };
            let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![time]));
            let list = function.compute(&[times], 1).unwrap();
            list.as_list::<i32>().value(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()
        };
        assert_eq!(starts(25, 10, 10), [20]);
        assert_eq!(starts(20, 10, 10), [20]);
        assert_eq!(starts(-1, 10, 10), [-10]);
        assert_eq!(starts(25, 10, 30), [0, 10, 20]);
        assert_eq!(starts(25, 10, 25), [10, 20]);
        assert_eq!(starts(3, 10, 25), [-20, -10, 0]);
        assert_eq!(starts(7, 10, 5), Vec::<i64>::new(), "windows with gaps between them");
        assert_eq!(starts(13, 10, 5), [10]);
        // Half of all time before and behind now.
        let long = i64::MAX / 2 + 1_000;
        assert_eq!(starts(7, long, long), [0]);
        assert_eq!(starts(-7, long, long), [-long]);
    }
}
