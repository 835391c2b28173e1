//! Operator and function calls: candidates by name, Postgres's choice among them, the expression.

use datafusion::logical_expr::{Expr, Operator as Comparison, Volatility};

use super::select::{Choice, is_polymorphic, select};
use super::{CastContext, Typed, coerce};
use crate::error::{Error, Result, SqlState};
use crate::sql::SessionConstants;
use crate::sql::functions::kernel::Kernel;
use crate::sql::functions::{self, Body, Function, Operator, Returns, compare, scope};
use crate::types::Type;
use crate::types::pg_type::{element_of, oid};

pub fn operator(name: &str, left: Option<Typed>, right: Typed) -> Result<Typed> {
    let (name, distinct) = match name {
        "is distinct from" => ("=", Some(Comparison::IsDistinctFrom)),
        "is not distinct from" => ("=", Some(Comparison::IsNotDistinctFrom)),
        "!=" => ("<>", None),
        other => (other, None),
    };
    let mut args: Vec<Typed> = left.into_iter().chain([right]).collect();
    // Patterns see a char(n) with its blanks.
    if matches!(name, "~~" | "!~~" | "~~*" | "!~~*" | "~" | "!~" | "~*" | "!~*") {
        let value = args.remove(0);
        args.insert(0, functions::with_blanks(value));
    }
    let chosen = candidate(name, &args)?;
    let pattern: Vec<u32> = if chosen.left == 0 { vec![chosen.right] } else { vec![chosen.left, chosen.right] };
    let args = coerce_args(args, &pattern, chosen.returns)?;
    match chosen.body {
        Body::Compare(op) => compare::comparison(distinct.unwrap_or(op), comparable(args)?),
        Body::Kernel(kernel) => {
            let result = result_type(&args, &pattern, chosen.returns)?;
            let signed = matches!(&args[..], [only] if matches!(only.expr, Expr::Literal(..)));
            let call = kernel_call(chosen.code, args, result, Volatility::Immutable, kernel, false);
            if !signed {
                return Ok(call);
            }
            // `-2` is a constant to whoever asks for one; what fails is left to fail where it is evaluated.
            let expr = super::try_fold(call.expr.clone()).unwrap_or(call.expr);
            Ok(Typed::new(expr, call.ty))
        }
        Body::ZonedKernel(kernel) => {
            let result = result_type(&args, &pattern, chosen.returns)?;
            Ok(kernel_call(chosen.code, args, result, Volatility::Immutable, kernel, true))
        }
        Body::Rewrite(rewrite) => rewrite(args),
        Body::Build(_) => Err(Error::internal("operators know no session")),
    }
}

/// The operator that a name over these operands means. 42883, 42725.
fn candidate(name: &str, args: &[Typed]) -> Result<&'static Operator> {
    let types: Vec<u32> = args.iter().map(|arg| arg.ty.oid()).collect();
    let shape = |op: &&Operator| op.name == name && (op.left == 0) == (args.len() == 1);
    let candidates: Vec<&Operator> = functions::operators().filter(shape).collect();
    let declared: Vec<Vec<u32>> =
        candidates.iter().map(|op| if op.left == 0 { vec![op.right] } else { vec![op.left, op.right] }).collect();

    // An unknown beside a known type is first tried as that type.
    let guess = match types[..] {
        [oid::UNKNOWN, other] | [other, oid::UNKNOWN] if other != oid::UNKNOWN => Some(vec![other, other]),
        _ => None,
    };
    let exact = guess.and_then(|guess| declared.iter().position(|declared| *declared == guess));
    let choice = exact.map_or_else(|| select(&types, &declared), Choice::One);
    match choice {
        Choice::One(index) => Ok(candidates[index]),
        Choice::None => Err(no_operator(name, args)),
        Choice::Ambiguous => Err(Error::new(
            SqlState::AMBIGUOUS_FUNCTION,
            format!("operator is not unique: {}", operator_text(name, args)),
        )
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")),
    }
}

/// NULL where `=` holds between both, else the first as `=` takes it.
fn nullif(args: Vec<Typed>) -> Result<Typed> {
    let chosen = candidate("=", &args)?;
    let args = coerce_args(args, &[chosen.left, chosen.right], chosen.returns)?;
    let [first, second]: [Typed; 2] = args.try_into().map_err(|_| Error::internal("two arguments"))?;
    let equal = operator("=", Some(first.clone()), second)?;
    let nothing = super::literal_null(&first.ty)?;
    Ok(Typed::new(functions::conditional::case(vec![(equal.expr, nothing.expr)], first.expr, &first.ty), first.ty))
}

/// The operands of a comparison in one type. An integer constant that a narrower column can hold takes the column's
/// type, so that the column is not cast (and an index on it still answers).
fn comparable(args: Vec<Typed>) -> Result<Vec<Typed>> {
    if args.iter().all(|arg| arg.ty.arrow() == args[0].ty.arrow()) {
        return Ok(args);
    }
    if let [left, right] = &args[..] {
        for (constant, column) in [(right, left), (left, right)] {
            if let Expr::Literal(value, _) = &constant.expr
                && constant.ty.is_integer()
                && column.ty.is_integer()
                && let Ok(narrow) = value.cast_to(&column.ty.arrow())
                && narrow.is_null() == value.is_null()
            {
                let narrow = Typed::new(Expr::Literal(narrow, None), column.ty.clone());
                let pair = if std::ptr::eq(constant, right) { [left.clone(), narrow] } else { [narrow, right.clone()] };
                return Ok(pair.into());
            }
        }
    }
    let ty = super::common_type(&args)?;
    args.into_iter().map(|arg| coerce(arg, &ty, CastContext::Implicit)).collect()
}

fn operator_text(name: &str, args: &[Typed]) -> String {
    match args {
        [only] => format!("{name} {}", only.ty.bare_name()),
        [left, right] => format!("{} {name} {}", left.ty.bare_name(), right.ty.bare_name()),
        _ => name.to_string(),
    }
}

fn no_operator(name: &str, args: &[Typed]) -> Error {
    let hint = if name == "==" {
        "Write =."
    } else if args.len() == 1 {
        "No operator matches the given name and argument type. You might need to add an explicit type cast."
    } else {
        "No operator matches the given name and argument types. You might need to add explicit type casts."
    };
    let message = format!("operator does not exist: {}", operator_text(name, args));
    Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(hint)
}

pub fn exists(name: &str) -> bool {
    functions::functions().any(|entry| entry.name == name)
}

pub fn function(name: &str, args: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    let mut args = args;
    match name {
        "octet_length" if args.len() == 1 => args = vec![functions::with_blanks(args.remove(0))],
        "nullif" if args.len() == 2 => return nullif(args),
        "coalesce" | "greatest" | "least" => {
            super::common_type_of(&args, &name.to_uppercase())?;
        }
        _ => {}
    }
    let types: Vec<u32> = args.iter().map(|arg| arg.ty.oid()).collect();
    let named: Vec<&Function> = functions::functions().filter(|entry| entry.name == name).collect();
    let mut candidates = Vec::new();
    let mut declared = Vec::new();
    for entry in named {
        if entry.args.len() == args.len() {
            candidates.push(entry);
            declared.push(entry.args.to_vec());
        } else if entry.variadic
            && let Some((&last, fixed)) = entry.args.split_last()
            && args.len() >= fixed.len() + 1
        {
            let mut pattern = fixed.to_vec();
            pattern.resize(args.len(), last);
            candidates.push(entry);
            declared.push(pattern);
        }
    }
    // f(x) where f is a type is a cast, unless a function takes exactly x.
    if let [only] = &args[..]
        && !declared.iter().any(|pattern| pattern[..] == types[..])
        && let Some(target) = super::type_name::simple_type(name)
        && (only.ty == Type::Unknown || super::can_coerce(&only.ty, &target, CastContext::Explicit))
        && (candidates.is_empty() || only.ty == Type::Unknown)
    {
        let [only]: [Typed; 1] = args.try_into().map_err(|_| Error::internal("one argument"))?;
        return coerce(only, &target, CastContext::Explicit);
    }
    match select(&types, &declared) {
        Choice::One(index) => call(candidates[index], &declared[index], args, session),
        Choice::None => Err(Error::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("function {} does not exist", signature_text(name, &args)),
        )
        .with_hint(super::foreign::function(name).unwrap_or(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        ))),
        Choice::Ambiguous => Err(Error::new(
            SqlState::AMBIGUOUS_FUNCTION,
            format!("function {} is not unique", signature_text(name, &args)),
        )
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")),
    }
}

/// `lower(integer)`, for errors.
pub fn signature_text(name: &str, args: &[Typed]) -> String {
    let types: Vec<String> = args.iter().map(|arg| arg.ty.bare_name()).collect();
    format!("{name}({})", types.join(", "))
}

fn call(entry: &Function, pattern: &[u32], args: Vec<Typed>, session: &SessionConstants) -> Result<Typed> {
    let args = coerce_args(args, pattern, entry.returns)?;
    let zoned = match entry.body {
        Body::Rewrite(rewrite) => return rewrite(args),
        Body::Build(build) => return build(args, session),
        Body::Compare(op) => return compare::comparison(op, comparable(args)?),
        Body::Kernel(_) => false,
        Body::ZonedKernel(_) => true,
    };
    let (Body::Kernel(kernel) | Body::ZonedKernel(kernel)) = entry.body else {
        return Err(Error::internal("no kernel"));
    };
    let result = result_type(&args, pattern, entry.returns)?;
    // A stable function depends on its session only, which its arguments hold: within a statement it is immutable.
    let volatility = match entry.volatility {
        Volatility::Volatile => Volatility::Volatile,
        _ => Volatility::Immutable,
    };
    Ok(kernel_call(entry.name, args, result, volatility, kernel, zoned))
}

/// The call of a kernel, with the session's zone as its last argument if it wants it.
fn kernel_call(
    name: &str,
    mut args: Vec<Typed>,
    result: Type,
    volatility: Volatility,
    kernel: Kernel,
    zoned: bool,
) -> Typed {
    if zoned {
        args.push(super::text_literal(scope::time_zone()));
    }
    functions::kernel_call(name, args, result, volatility, kernel)
}

/// Casts the arguments to the declared types, polymorphic ones made concrete.
pub fn coerce_args(args: Vec<Typed>, pattern: &[u32], returns: Returns) -> Result<Vec<Typed>> {
    let compatible: Vec<Typed> = args
        .iter()
        .zip(pattern)
        .filter(|(_, declared)| matches!(**declared, oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLEARRAY))
        .map(|(arg, &declared)| match &arg.ty {
            Type::Array(item) if declared == oid::ANYCOMPATIBLEARRAY => {
                Typed::new(arg.expr.clone(), item.as_ref().clone())
            }
            _ => arg.clone(),
        })
        .collect();
    let common = if compatible.is_empty() { None } else { Some(super::common_type(&compatible)?) };
    let element = element_type(&args, pattern);
    let row = args.iter().map(|arg| &arg.ty).find(|ty| ty.oid() == oid::RECORD).cloned();
    args.into_iter()
        .zip(pattern)
        .map(|(arg, &declared)| {
            let target = match declared {
                oid::ANY if arg.ty == Type::Unknown => Type::Text,
                oid::ANY => return Ok(arg),
                oid::ANYELEMENT | oid::ANYNONARRAY => element.clone().unwrap_or(Type::Text),
                oid::ANYARRAY => match &element {
                    Some(element) => Type::Array(Box::new(element.clone())),
                    None => {
                        return Err(Error::new(
                            SqlState::INDETERMINATE_DATATYPE,
                            "could not determine polymorphic type because input has type unknown",
                        ));
                    }
                },
                oid::ANYCOMPATIBLE => common.clone().unwrap_or(Type::Text),
                oid::ANYCOMPATIBLEARRAY => Type::Array(Box::new(common.clone().unwrap_or(Type::Text))),
                oid::NUMERIC => match arg.ty.as_numeric() {
                    Some(numeric) => Type::Numeric(numeric),
                    None if arg.ty == Type::Unknown => match super::literal::numeric_of_unknown(&arg.expr) {
                        Some(numeric) if matches!(returns, Returns::Derived(..)) => Type::Numeric(numeric),
                        _ => Type::NUMERIC,
                    },
                    None => Type::NUMERIC,
                },
                // A character type of any length stands for itself.
                other if other == arg.ty.oid() => return Ok(arg),
                // A literal beside a row is such a row.
                oid::RECORD => row.clone().ok_or_else(|| {
                    Error::unsupported("a row whose fields have no types", "Write ROW(...) instead of a string.")
                })?,
                other => Type::from_oid(other).ok_or_else(|| Error::internal(format!("type oid {other}")))?,
            };
            coerce(arg, &target, CastContext::Implicit)
        })
        .collect()
}

/// What `anyelement` stands for in a call: the arguments are of one type, but for its length or scale.
fn element_type(args: &[Typed], pattern: &[u32]) -> Option<Type> {
    let mut common = super::CommonType::default();
    let mut known = false;
    for (arg, &declared) in args.iter().zip(pattern) {
        let ty = match (declared, &arg.ty) {
            (oid::ANYELEMENT | oid::ANYNONARRAY, ty) => ty,
            (oid::ANYARRAY, Type::Array(item)) => item.as_ref(),
            (oid::ANYARRAY, Type::Unknown) => &Type::Unknown,
            _ => continue,
        };
        known |= *ty != Type::Unknown;
        common.add(&Typed::new(arg.expr.clone(), ty.clone()), "polymorphic").ok()?;
    }
    known.then(|| common.finish())
}

pub fn result_type(args: &[Typed], pattern: &[u32], returns: Returns) -> Result<Type> {
    let declared = match returns {
        Returns::Derived(_, rule) => {
            let types: Vec<Type> = args.iter().map(|arg| arg.ty.clone()).collect();
            return rule(&types);
        }
        Returns::Type(declared) => declared,
    };
    if !is_polymorphic(declared) {
        return match Type::from_oid(declared) {
            Some(ty) => Ok(ty),
            None if declared == oid::VOID => Ok(Type::Text),
            None if element_of(declared).is_some() || declared == oid::RECORD => Ok(Type::Text),
            None => Err(Error::internal(format!("result type oid {declared}"))),
        };
    }
    let compatible = args.iter().zip(pattern).find_map(|(arg, &declared)| match (declared, &arg.ty) {
        (oid::ANYCOMPATIBLEARRAY, Type::Array(item)) => Some(item.as_ref().clone()),
        (oid::ANYCOMPATIBLE, ty) => Some(ty.clone()),
        _ => None,
    });
    let element = element_type(args, pattern).or(compatible);
    let element = element.ok_or_else(|| {
        Error::new(
            SqlState::INDETERMINATE_DATATYPE,
            "could not determine polymorphic type because input has type unknown",
        )
    })?;
    Ok(match declared {
        oid::ANYARRAY | oid::ANYCOMPATIBLEARRAY => Type::Array(Box::new(element)),
        _ => element,
    })
}
