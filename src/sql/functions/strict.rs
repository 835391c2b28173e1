//! Kernels that go row by row: a closure over plain Rust values, NULL in NULL out, which is what most of Postgres's functions are.
//!
//! [`Input`] and [`Output`] say how a Rust value is read from its Arrow array and how a column of them is built; [`strict1`] ..
//! [`strict4`] run the closure, [`text1`] .. [`text3`] where it writes text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, FixedSizeBinaryArray,
    FixedSizeBinaryBuilder, PrimitiveArray, PrimitiveBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, i256,
};

use super::kernel::Call;
use crate::error::Result;
use crate::types::Type;
use crate::types::builder::{push_bytes, push_text};

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
