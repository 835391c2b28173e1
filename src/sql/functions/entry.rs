//! What the registry knows about a function or an operator: one entry drives resolution, the kernel that computes
//! it, the rows of pg_proc and pg_operator, and the reference documentation.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Operator as Comparison, Volatility};

use super::kernel::{Kernel, PgFunction};
use crate::error::Result;
use crate::sql::SessionConstants;
use crate::types::Type;

/// An expression and its SQL type. `Unknown` is a bare string literal (an `Expr::Literal` of Utf8), NULL, or a
/// parameter whose type nobody has said.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed {
    pub expr: Expr,
    pub ty: Type,
}

impl Typed {
    pub fn new(expr: Expr, ty: Type) -> Typed {
        Typed { expr, ty }
    }
}

/// A scalar function under one signature.
pub struct Function {
    /// Postgres's oid, or one above 16 M for a function of ours.
    pub oid: u32,
    pub name: &'static str,
    /// Type oids, polymorphic ones included.
    pub args: &'static [u32],
    /// The last argument may repeat; it is then its element type (or "any").
    pub variadic: bool,
    pub returns: Returns,
    pub volatility: Volatility,
    pub body: Body,
    pub doc: &'static str,
}

/// A unary (left is 0) or binary operator over two types.
pub struct Operator {
    pub oid: u32,
    pub name: &'static str,
    pub left: u32,
    pub right: u32,
    pub returns: Returns,
    /// `oprcode`; EXPLAIN prints it.
    pub code: &'static str,
    pub body: Body,
    pub doc: &'static str,
}

/// The type of a result.
#[derive(Clone, Copy)]
pub enum Returns {
    /// By oid; polymorphic ones follow the arguments.
    Type(u32),
    /// From the arguments' types after coercion: the scale of a numeric.
    Derived(u32, fn(&[Type]) -> Result<Type>),
}

impl Returns {
    /// The declared type, as pg_proc has it.
    pub fn oid(&self) -> u32 {
        match self {
            Returns::Type(oid) | Returns::Derived(oid, _) => *oid,
        }
    }
}

/// How a call is computed.
#[derive(Clone, Copy)]
pub enum Body {
    /// A kernel of ours.
    Kernel(Kernel),
    /// The same, with the session's time zone as a last argument.
    ZonedKernel(Kernel),
    /// DataFusion's own comparison over operands of one type, which its optimizer understands.
    Compare(Comparison),
    /// An expression built from the arguments: casts, a kernel whose result type depends on a constant.
    Rewrite(fn(Vec<Typed>) -> Result<Typed>),
    /// An expression built from the arguments and the session's constants.
    Build(fn(Vec<Typed>, &SessionConstants) -> Result<Typed>),
}

/// The function returns one row per element instead of one value.
pub const SET_RETURNING: &[&str] = &[
    "unnest",
    "generate_series",
    "generate_subscripts",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_keys",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "_pg_expandarray",
    "pg_get_keywords",
];

/// An immutable function with a kernel of ours.
pub const fn immutable(
    oid: u32,
    name: &'static str,
    args: &'static [u32],
    returns: u32,
    kernel: Kernel,
    doc: &'static str,
) -> Function {
    Function {
        oid,
        name,
        args,
        variadic: false,
        returns: Returns::Type(returns),
        volatility: Volatility::Immutable,
        body: Body::Kernel(kernel),
        doc,
    }
}

impl Function {
    pub const fn stable(mut self) -> Function {
        self.volatility = Volatility::Stable;
        self
    }

    pub const fn volatile(mut self) -> Function {
        self.volatility = Volatility::Volatile;
        self
    }

    pub const fn variadic(mut self) -> Function {
        self.variadic = true;
        self
    }

    pub const fn derived(mut self, rule: fn(&[Type]) -> Result<Type>) -> Function {
        self.returns = Returns::Derived(self.returns_oid(), rule);
        self
    }

    const fn returns_oid(&self) -> u32 {
        match self.returns {
            Returns::Type(oid) | Returns::Derived(oid, _) => oid,
        }
    }

    /// The session's zone becomes the last argument of the kernel.
    pub const fn zoned(mut self) -> Function {
        if let Body::Kernel(kernel) = self.body {
            self.body = Body::ZonedKernel(kernel);
        }
        self.volatility = Volatility::Stable;
        self
    }
}

/// An expression built from its arguments at bind time.
pub const fn built(
    oid: u32,
    name: &'static str,
    args: &'static [u32],
    returns: u32,
    rewrite: fn(Vec<Typed>) -> Result<Typed>,
    doc: &'static str,
) -> Function {
    Function {
        oid,
        name,
        args,
        variadic: false,
        returns: Returns::Type(returns),
        volatility: Volatility::Immutable,
        body: Body::Rewrite(rewrite),
        doc,
    }
}

/// A binary operator with a kernel of ours; `left` 0 makes it a prefix operator.
pub const fn operator(
    oid: u32,
    name: &'static str,
    left: u32,
    right: u32,
    returns: u32,
    code: &'static str,
    kernel: Kernel,
    doc: &'static str,
) -> Operator {
    Operator { oid, name, left, right, returns: Returns::Type(returns), code, body: Body::Kernel(kernel), doc }
}

impl Operator {
    pub const fn derived(mut self, rule: fn(&[Type]) -> Result<Type>) -> Operator {
        let oid = match self.returns {
            Returns::Type(oid) | Returns::Derived(oid, _) => oid,
        };
        self.returns = Returns::Derived(oid, rule);
        self
    }

    pub const fn zoned(mut self) -> Operator {
        if let Body::Kernel(kernel) = self.body {
            self.body = Body::ZonedKernel(kernel);
        }
        self
    }
}

/// The call of a kernel over arguments of exactly its types.
pub fn kernel_call(name: &str, args: Vec<Typed>, result: Type, volatility: Volatility, kernel: Kernel) -> Typed {
    let (exprs, types): (Vec<Expr>, Vec<Type>) = args.into_iter().map(|arg| (arg.expr, arg.ty)).unzip();
    let udf = PgFunction::udf(name, types, result.clone(), volatility, kernel);
    Typed { expr: Expr::ScalarFunction(ScalarFunction::new_udf(udf, exprs)), ty: result }
}

/// The value of an integer literal.
pub fn constant_integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int16(Some(value)), _) => Some(i64::from(*value)),
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => Some(i64::from(*value)),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        _ => None,
    }
}

/// The value of a string literal.
pub fn constant_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(value)), _) => Some(value),
        _ => None,
    }
}

/// A text constant.
pub fn text_literal(value: impl Into<String>) -> Typed {
    Typed::new(Expr::Literal(ScalarValue::Utf8(Some(value.into())), None), Type::Text)
}

/// A function of the session: a constant of it, or an expression built with one.
pub const fn of_session(
    oid: u32,
    name: &'static str,
    args: &'static [u32],
    returns: u32,
    build: fn(Vec<Typed>, &SessionConstants) -> Result<Typed>,
    doc: &'static str,
) -> Function {
    Function {
        oid,
        name,
        args,
        variadic: false,
        returns: Returns::Type(returns),
        volatility: Volatility::Stable,
        body: Body::Build(build),
        doc,
    }
}
