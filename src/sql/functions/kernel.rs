//! How a kernel of ours is written and how DataFusion runs it.
//!
//! A [`Kernel`] is a plain function from argument arrays to a result array; [`PgFunction`] makes a `ScalarUDF` of it
//! with the types of one call baked in, so that DataFusion has nothing to coerce. A constant argument comes as an array
//! of length one and is read by every row ([`Arg::index`]), never expanded. Most kernels are closures over rows: see
//! [`super::strict`].
//!
//! What a kernel computes may depend only on its name, its argument and result types and its arguments: two calls
//! equal in these are taken to be the same expression. Settings (the time zone) are arguments.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, new_null_array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::error::{Error, Result};
use crate::types::{Numeric, Type};

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

    /// Whether the call fails for what its arguments are, and not for the size of its result alone: division, casts from
    /// text and to numbers of a smaller range, functions with a domain, templates.
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
                let from = self.args.first();
                let narrows = from.is_some_and(|from| narrows(from, &self.result));
                from.is_some_and(textual) && !self.result.is_string() || narrows
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

/// Whether a number of one type may be out of the other's range.
fn narrows(from: &Type, to: &Type) -> bool {
    match (from, to) {
        (Type::Array(from), Type::Array(to)) => narrows(from, to),
        (Type::Int2 | Type::Int4 | Type::Int8, Type::Float4 | Type::Float8) => false,
        (Type::Numeric(_), Type::Float8) => false,
        (Type::Int2 | Type::Int4, Type::Numeric(Numeric::Free)) => false,
        (from, to) => from.category() == 'N' && to.category() == 'N',
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

    /// With the casts in the arguments, which DataFusion leaves out of names: a projection may hold one call over one
    /// column of two types.
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let args: Vec<String> = args.iter().map(Expr::to_string).collect();
        Ok(format!("{}({})", self.name, args.join(",")))
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
