//! How a kernel of ours is written and how DataFusion runs it.
//!
//! A [`Kernel`] is a plain function from argument arrays to a result array; [`PgFunction`] makes a `ScalarUDF` of it
//! with the types of one call baked in, so that DataFusion has nothing to coerce. A constant argument comes as an array
//! of length one and is read by every row ([`Arg::index`]), never expanded. [`strict1`] .. [`strict4`] run a closure
//! over rows of plain Rust values, NULL in NULL out, which is what most of Postgres's functions are.
//!
//! What a kernel computes may depend only on its name, its argument and result types and its arguments: two calls
//! equal in these are taken to be the same expression. Settings (the time zone) are arguments.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, FixedSizeBinaryArray,
    FixedSizeBinaryBuilder, PrimitiveArray, PrimitiveBuilder, StringArray, StringBuilder, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, i256,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::error::{Error, Result};
use crate::types::Type;
use crate::types::builder::{push_bytes, push_text};

pub type Kernel = fn(&Call) -> Result<ArrayRef>;

/// One evaluation of a kernel over a batch.
pub struct Call<'a> {
    pub args: &'a [Arg],
    /// SQL types of the arguments.
    pub types: &'a [Type],
    pub result: &'a Type,
    /// Rows of the result.
    pub rows: usize,
}

/// An argument's values; a constant has length one.
pub struct Arg {
    pub array: ArrayRef,
    pub constant: bool,
}

impl Arg {
    /// Where row `row` finds its value.
    #[inline]
    pub fn index(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.index(row))
    }

    /// The array as the type that the call's SQL type promises.
    pub fn cast<A: 'static>(&self) -> Result<&A> {
        self.array
            .as_any()
            .downcast_ref::<A>()
            .ok_or_else(|| Error::internal(format!("kernel argument is {}", self.array.data_type())))
    }

    /// The argument with `rows` rows, a constant repeated.
    pub fn expanded(&self, rows: usize) -> Result<ArrayRef> {
        if !self.constant || rows == 1 {
            return Ok(self.array.clone());
        }
        let take = arrow::array::UInt32Array::from(vec![0; rows]);
        Ok(arrow::compute::take(&self.array, &take, None)?)
    }
}

impl Call<'_> {
    /// Argument `n` as text, if it is there, constant and not NULL (a format, a zone, a pattern).
    pub fn constant_text(&self, n: usize) -> Result<Option<&str>> {
        let Some(arg) = self.args.get(n) else { return Ok(None) };
        let array = arg.cast::<StringArray>()?;
        Ok((arg.constant && array.len() == 1 && !array.is_null(0)).then(|| array.value(0)))
    }
}

/// Functions that fail outside their domain.
const PARTIAL: &[&str] = &[
    "acos",
    "acosd",
    "acosh",
    "asin",
    "asind",
    "atanh",
    "chr",
    "convert_from",
    "decode",
    "dlog1",
    "dpow",
    "dsqrt",
    "factorial",
    "get_byte",
    "jsonb_array_length",
    "ln",
    "log",
    "log10",
    "make_date",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "numeric_power",
    "pow",
    "power",
    "set_byte",
    "sqrt",
    "to_date",
    "to_number",
    "to_timestamp",
    "width_bucket",
];

/// A kernel with the types of one call, as DataFusion sees it.
pub struct PgFunction {
    name: String,
    args: Vec<Type>,
    result: Type,
    signature: Signature,
    kernel: Kernel,
}

impl PgFunction {
    /// `name` is what EXPLAIN prints. Where Arrow does not tell the SQL types of two calls apart (text and jsonb), the
    /// types become part of the name.
    pub fn udf(name: &str, args: Vec<Type>, result: Type, volatility: Volatility, kernel: Kernel) -> Arc<ScalarUDF> {
        let plain = |ty: &Type| match ty {
            Type::Jsonb | Type::Varchar(_) | Type::Char(_) | Type::Name | Type::SingleChar => false,
            Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace => false,
            Type::Array(_) | Type::Struct(_) | Type::Rounded(..) => false,
            _ => true,
        };
        let name = if args.iter().all(plain) && plain(&result) {
            name.to_string()
        } else {
            let types: Vec<String> = args.iter().map(Type::name).collect();
            format!("{name}[{} -> {}]", types.join(", "), result.name())
        };
        PgFunction::named(&name, args, result, volatility, kernel)
    }

    /// The same under this name whatever the types: where the arguments tell calls apart.
    pub fn named(name: &str, args: Vec<Type>, result: Type, volatility: Volatility, kernel: Kernel) -> Arc<ScalarUDF> {
        let signature = Signature::new(TypeSignature::UserDefined, volatility);
        Arc::new(ScalarUDF::new_from_impl(PgFunction { name: name.to_string(), args, result, signature, kernel }))
    }

    /// Whether the call fails for what its arguments are, and not for their size alone: division, casts from text,
    /// functions with a domain, templates.
    pub fn is_partial(&self, args: &[Expr]) -> bool {
        let name = self.name.split('[').next().unwrap_or(&self.name);
        let nonzero = |arg: Option<&Expr>| match arg {
            Some(Expr::Literal(value, _)) => {
                value.is_null() || ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero != *value)
            }
            _ => false,
        };
        match name {
            "cast" | "assign" => {
                let textual = |ty: &Type| ty.is_string() || matches!(ty, Type::Jsonb | Type::Unknown);
                self.args.first().is_some_and(textual) && !self.result.is_string()
            }
            "mod" | "div" => !nonzero(args.get(1)),
            _ if name.ends_with("div") || name.ends_with("mod") => !nonzero(args.get(1)),
            "date_trunc" | "timezone" => !matches!(args.first(), Some(Expr::Literal(..))),
            "split_part" | "substr" | "substring" => args.iter().skip(1).any(|arg| !matches!(arg, Expr::Literal(..))),
            _ => PARTIAL.contains(&name),
        }
    }

    /// An argument's column. To learn whether a predicate can hold where a join found no row, DataFusion tries it on a
    /// NULL that has no type: kernels know NULLs of their argument's type only.
    fn typed(&self, number: usize, array: ArrayRef) -> ArrayRef {
        match self.args.get(number).map(Type::arrow) {
            Some(ty) if *array.data_type() == DataType::Null && ty != DataType::Null => {
                new_null_array(&ty, array.len())
            }
            _ => array,
        }
    }
}

impl std::fmt::Debug for PgFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.args == other.args && self.result == other.result
    }
}

impl Eq for PgFunction {}

impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.args.hash(state);
        self.result.hash(state);
    }
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.result.arrow())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let all_constant = !call.args.is_empty() && call.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let args = call
            .args
            .into_iter()
            .enumerate()
            .map(|(number, arg)| match arg {
                ColumnarValue::Array(array) => Ok(Arg { array: self.typed(number, array), constant: false }),
                ColumnarValue::Scalar(value) => {
                    Ok(Arg { array: self.typed(number, value.to_array()?), constant: true })
                }
            })
            .collect::<DfResult<Vec<_>>>()?;
        let rows = if all_constant { 1 } else { call.number_rows };
        let out = (self.kernel)(&Call { args: &args, types: &self.args, result: &self.result, rows })?;
        if all_constant && self.signature.volatility != Volatility::Volatile {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?));
        }
        Ok(ColumnarValue::Array(out))
    }
}

/// What a template, a unit or the like was last found to say: it is most often the same on every row.
pub struct Last<'a, T>(RefCell<Option<(&'a str, Rc<T>)>>);

impl<T> Default for Last<'_, T> {
    fn default() -> Self {
        Last(RefCell::new(None))
    }
}

impl<'a, T> Last<'a, T> {
    pub fn get(&self, text: &'a str, parse: impl FnOnce(&'a str) -> Result<T>) -> Result<Rc<T>> {
        let mut last = self.0.borrow_mut();
        match &*last {
            Some((known, value)) if *known == text => Ok(value.clone()),
            _ => {
                let value = Rc::new(parse(text)?);
                *last = Some((text, value.clone()));
                Ok(value)
            }
        }
    }
}

/// A SQL value a kernel's closure takes: a plain Rust value read from its Arrow array.
pub trait Input<'a>: Sized {
    type Array: Array + 'static;
    fn get(array: &'a Self::Array, index: usize) -> Self;
}

/// A value a kernel's closure returns, and how a column of them is built.
pub trait Output: Sized {
    type Builder;
    fn builder(rows: usize, ty: &Type) -> Self::Builder;
    fn push(builder: &mut Self::Builder, value: Option<Self>) -> Result<()>;
    fn finish(builder: Self::Builder) -> ArrayRef;
}

/// Days since 1970, `i32::MIN` and `MAX` for the infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub i32);
/// Microseconds since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);
/// Microseconds since 1970, local or UTC, `i64::MIN` and `MAX` for the infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);
/// The unscaled value of a `numeric(p,s)`.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub i128);
/// The unscaled value of a bare `numeric`.
#[derive(Clone, Copy, Debug)]
pub struct Free(pub i256);
pub use arrow::datatypes::IntervalMonthDayNano as Interval;

macro_rules! primitive {
    ($($rust:ty, $arrow:ty, $read:expr, $write:expr;)*) => {$(
        impl<'a> Input<'a> for $rust {
            type Array = PrimitiveArray<$arrow>;
            #[inline]
            fn get(array: &'a Self::Array, index: usize) -> Self {
                ($read)(array.value(index))
            }
        }
        impl Output for $rust {
            type Builder = PrimitiveBuilder<$arrow>;
            fn builder(rows: usize, ty: &Type) -> Self::Builder {
                PrimitiveBuilder::<$arrow>::with_capacity(rows).with_data_type(ty.arrow())
            }
            #[inline]
            fn push(builder: &mut Self::Builder, value: Option<Self>) -> Result<()> {
                builder.append_option(value.map($write));
                Ok(())
            }
            fn finish(mut builder: Self::Builder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }
    )*};
}

primitive! {
    i16, Int16Type, |v| v, |v| v;
    i32, Int32Type, |v| v, |v| v;
    i64, Int64Type, |v| v, |v| v;
    u32, UInt32Type, |v| v, |v| v;
    f32, Float32Type, |v| v, |v| v;
    f64, Float64Type, |v| v, |v| v;
    Date, Date32Type, Date, |v: Date| v.0;
    Time, Time64MicrosecondType, Time, |v: Time| v.0;
    Timestamp, TimestampMicrosecondType, Timestamp, |v: Timestamp| v.0;
    Fixed, Decimal128Type, Fixed, |v: Fixed| v.0;
    Free, Decimal256Type, Free, |v: Free| v.0;
    Interval, IntervalMonthDayNanoType, |v| v, |v| v;
}

impl<'a> Input<'a> for bool {
    type Array = BooleanArray;
    fn get(array: &'a BooleanArray, index: usize) -> bool {
        array.value(index)
    }
}

impl Output for bool {
    type Builder = BooleanBuilder;
    fn builder(rows: usize, _: &Type) -> BooleanBuilder {
        BooleanBuilder::with_capacity(rows)
    }
    fn push(builder: &mut BooleanBuilder, value: Option<bool>) -> Result<()> {
        builder.append_option(value);
        Ok(())
    }
    fn finish(mut builder: BooleanBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

impl<'a> Input<'a> for &'a str {
    type Array = StringArray;
    fn get(array: &'a StringArray, index: usize) -> &'a str {
        array.value(index)
    }
}

impl Output for &str {
    type Builder = StringBuilder;
    fn builder(rows: usize, _: &Type) -> StringBuilder {
        StringBuilder::with_capacity(rows, rows * 16)
    }
    fn push(builder: &mut StringBuilder, value: Option<&str>) -> Result<()> {
        push_text(builder, value)
    }
    fn finish(mut builder: StringBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

/// For functions that are not hot; those that are write into [`text1`]'s buffer.
impl Output for String {
    type Builder = StringBuilder;
    fn builder(rows: usize, _: &Type) -> StringBuilder {
        StringBuilder::with_capacity(rows, rows * 16)
    }
    fn push(builder: &mut StringBuilder, value: Option<String>) -> Result<()> {
        push_text(builder, value.as_deref())
    }
    fn finish(mut builder: StringBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

impl<'a> Input<'a> for &'a [u8] {
    type Array = BinaryArray;
    fn get(array: &'a BinaryArray, index: usize) -> &'a [u8] {
        array.value(index)
    }
}

impl Output for &[u8] {
    type Builder = BinaryBuilder;
    fn builder(rows: usize, _: &Type) -> BinaryBuilder {
        BinaryBuilder::with_capacity(rows, rows * 16)
    }
    fn push(builder: &mut BinaryBuilder, value: Option<&[u8]>) -> Result<()> {
        push_bytes(builder, value)
    }
    fn finish(mut builder: BinaryBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

impl Output for Vec<u8> {
    type Builder = BinaryBuilder;
    fn builder(rows: usize, _: &Type) -> BinaryBuilder {
        BinaryBuilder::with_capacity(rows, rows * 16)
    }
    fn push(builder: &mut BinaryBuilder, value: Option<Vec<u8>>) -> Result<()> {
        push_bytes(builder, value.as_deref())
    }
    fn finish(mut builder: BinaryBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

/// A uuid's bytes.
impl<'a> Input<'a> for &'a [u8; 16] {
    type Array = FixedSizeBinaryArray;
    fn get(array: &'a FixedSizeBinaryArray, index: usize) -> &'a [u8; 16] {
        const NIL: &[u8; 16] = &[0; 16];
        array.value(index).try_into().unwrap_or(NIL)
    }
}

impl Output for [u8; 16] {
    type Builder = FixedSizeBinaryBuilder;
    fn builder(rows: usize, _: &Type) -> FixedSizeBinaryBuilder {
        FixedSizeBinaryBuilder::with_capacity(rows, 16)
    }
    fn push(builder: &mut FixedSizeBinaryBuilder, value: Option<[u8; 16]>) -> Result<()> {
        match value {
            Some(bytes) => builder.append_value(bytes)?,
            None => builder.append_null(),
        }
        Ok(())
    }
    fn finish(mut builder: FixedSizeBinaryBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

/// `None` is NULL, for functions that answer NULL to arguments that are not.
impl<T: Output> Output for Option<T> {
    type Builder = T::Builder;
    fn builder(rows: usize, ty: &Type) -> T::Builder {
        T::builder(rows, ty)
    }
    fn push(builder: &mut T::Builder, value: Option<Option<T>>) -> Result<()> {
        T::push(builder, value.flatten())
    }
    fn finish(builder: T::Builder) -> ArrayRef {
        T::finish(builder)
    }
}

/// Row by row over no arguments (volatile functions).
pub fn strict0<R: Output>(call: &Call, f: impl Fn() -> Result<R>) -> Result<ArrayRef> {
    let mut out = R::builder(call.rows, call.result);
    for _ in 0..call.rows {
        R::push(&mut out, Some(f()?))?;
    }
    Ok(R::finish(out))
}

/// Row by row over one argument; NULL gives NULL.
pub fn strict1<'a, A: Input<'a>, R: Output>(call: &'a Call, f: impl Fn(A) -> Result<R>) -> Result<ArrayRef> {
    let a = call.args[0].cast::<A::Array>()?;
    let mut out = R::builder(call.rows, call.result);
    for row in 0..call.rows {
        let i = call.args[0].index(row);
        let value = if a.is_null(i) { None } else { Some(f(A::get(a, i))?) };
        R::push(&mut out, value)?;
    }
    Ok(R::finish(out))
}

/// Row by row over two arguments; any NULL gives NULL.
pub fn strict2<'a, A: Input<'a>, B: Input<'a>, R: Output>(
    call: &'a Call,
    f: impl Fn(A, B) -> Result<R>,
) -> Result<ArrayRef> {
    let (a, b) = (call.args[0].cast::<A::Array>()?, call.args[1].cast::<B::Array>()?);
    let mut out = R::builder(call.rows, call.result);
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        let value = if a.is_null(i) || b.is_null(j) { None } else { Some(f(A::get(a, i), B::get(b, j))?) };
        R::push(&mut out, value)?;
    }
    Ok(R::finish(out))
}

/// Row by row over three arguments; any NULL gives NULL.
pub fn strict3<'a, A: Input<'a>, B: Input<'a>, C: Input<'a>, R: Output>(
    call: &'a Call,
    f: impl Fn(A, B, C) -> Result<R>,
) -> Result<ArrayRef> {
    let (a, b) = (call.args[0].cast::<A::Array>()?, call.args[1].cast::<B::Array>()?);
    let c = call.args[2].cast::<C::Array>()?;
    let mut out = R::builder(call.rows, call.result);
    for row in 0..call.rows {
        let (i, j, k) = (call.args[0].index(row), call.args[1].index(row), call.args[2].index(row));
        let value = if a.is_null(i) || b.is_null(j) || c.is_null(k) {
            None
        } else {
            Some(f(A::get(a, i), B::get(b, j), C::get(c, k))?)
        };
        R::push(&mut out, value)?;
    }
    Ok(R::finish(out))
}

/// Row by row over four arguments; any NULL gives NULL.
pub fn strict4<'a, A: Input<'a>, B: Input<'a>, C: Input<'a>, D: Input<'a>, R: Output>(
    call: &'a Call,
    f: impl Fn(A, B, C, D) -> Result<R>,
) -> Result<ArrayRef> {
    let (a, b) = (call.args[0].cast::<A::Array>()?, call.args[1].cast::<B::Array>()?);
    let (c, d) = (call.args[2].cast::<C::Array>()?, call.args[3].cast::<D::Array>()?);
    let mut out = R::builder(call.rows, call.result);
    for row in 0..call.rows {
        let at = |n: usize| call.args[n].index(row);
        let value = if a.is_null(at(0)) || b.is_null(at(1)) || c.is_null(at(2)) || d.is_null(at(3)) {
            None
        } else {
            Some(f(A::get(a, at(0)), B::get(b, at(1)), C::get(c, at(2)), D::get(d, at(3)))?)
        };
        R::push(&mut out, value)?;
    }
    Ok(R::finish(out))
}

/// Text from one argument, written into a buffer that all rows share.
pub fn text1<'a, A: Input<'a>>(call: &'a Call, f: impl Fn(A, &mut String) -> Result<()>) -> Result<ArrayRef> {
    let a = call.args[0].cast::<A::Array>()?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    let mut scratch = String::new();
    for row in 0..call.rows {
        let i = call.args[0].index(row);
        if a.is_null(i) {
            out.append_null();
        } else {
            scratch.clear();
            f(A::get(a, i), &mut scratch)?;
            push_text(&mut out, Some(&scratch))?;
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Text from two arguments, written into a buffer that all rows share.
pub fn text2<'a, A: Input<'a>, B: Input<'a>>(
    call: &'a Call,
    f: impl Fn(A, B, &mut String) -> Result<()>,
) -> Result<ArrayRef> {
    text2_or_null(call, |a, b, out| f(a, b, out).map(|()| true))
}

/// The same; `false` is NULL.
pub fn text2_or_null<'a, A: Input<'a>, B: Input<'a>>(
    call: &'a Call,
    f: impl Fn(A, B, &mut String) -> Result<bool>,
) -> Result<ArrayRef> {
    let (a, b) = (call.args[0].cast::<A::Array>()?, call.args[1].cast::<B::Array>()?);
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    let mut scratch = String::new();
    for row in 0..call.rows {
        let (i, j) = (call.args[0].index(row), call.args[1].index(row));
        if a.is_null(i) || b.is_null(j) {
            out.append_null();
        } else {
            scratch.clear();
            let there = f(A::get(a, i), B::get(b, j), &mut scratch)?;
            push_text(&mut out, there.then_some(scratch.as_str()))?;
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Text from three arguments, written into a buffer that all rows share.
pub fn text3<'a, A: Input<'a>, B: Input<'a>, C: Input<'a>>(
    call: &'a Call,
    f: impl Fn(A, B, C, &mut String) -> Result<()>,
) -> Result<ArrayRef> {
    let (a, b) = (call.args[0].cast::<A::Array>()?, call.args[1].cast::<B::Array>()?);
    let c = call.args[2].cast::<C::Array>()?;
    let mut out = StringBuilder::with_capacity(call.rows, call.rows * 16);
    let mut scratch = String::new();
    for row in 0..call.rows {
        let (i, j, k) = (call.args[0].index(row), call.args[1].index(row), call.args[2].index(row));
        if a.is_null(i) || b.is_null(j) || c.is_null(k) {
            out.append_null();
        } else {
            scratch.clear();
            f(A::get(a, i), B::get(b, j), C::get(c, k), &mut scratch)?;
            push_text(&mut out, Some(&scratch))?;
        }
    }
    Ok(Arc::new(out.finish()))
}
