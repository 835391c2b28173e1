//! Expressions with the answers a PostgreSQL 15 server gave: `golden/*.txt`, one `expression <tab> answer` a line, NULL
//! as `<NULL>`, errors as `ERROR sqlstate message`. The server's zone was Europe/Berlin.
//!
//! The little binder here knows only what one expression over no tables needs. A bare numeric prints without trailing
//! zeros, so where the answers differ by those only, they count as equal. Where ours is known to differ otherwise (a
//! quotient's digits beyond the 16th, numbers of more than 38 digits before the point) a third column holds it.

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::physical_expr::create_physical_expr;
use sqlparser::ast::{self, BinaryOperator, CastKind, Expr as Ast, UnaryOperator, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::*;
use crate::error::{Error, Result};
use crate::types::text::print_scalar;
use crate::types::{Numeric, TextSettings, Zone};

fn session() -> SessionConstants {
    SessionConstants { time_zone: "Europe/Berlin".into(), now: 1_700_000_000_000_000, ..SessionConstants::default() }
}

fn bind(ast: &Ast, session: &SessionConstants) -> Result<Typed> {
    let binary = |op: &str, left: &Ast, right: &Ast| operator(op, Some(bind(left, session)?), bind(right, session)?);
    let negated = |typed: Result<Typed>, not: bool| -> Result<Typed> {
        let typed = typed?;
        Ok(if not { Typed::new(Expr::Not(Box::new(typed.expr)), typed.ty) } else { typed })
    };
    match ast {
        Ast::Nested(inner) => bind(inner, session),
        Ast::Value(value) => match &value.value {
            Value::Number(text, _) => number_literal(text),
            Value::SingleQuotedString(text) => Ok(unknown_literal(text.clone())),
            Value::EscapedStringLiteral(text) => Ok(unknown_literal(text.clone())),
            Value::Boolean(value) => Ok(bool_literal(Some(*value))),
            Value::Null => Ok(Typed::new(Expr::Literal(ScalarValue::Utf8(None), None), Type::Unknown)),
            other => Err(Error::internal(format!("test literal {other}"))),
        },
        Ast::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            coerce(bind(expr, session)?, &parse_type(data_type)?, CastContext::Explicit)
        }
        Ast::TypedString(typed) => {
            let ast::Value::SingleQuotedString(text) = &typed.value.value else {
                return Err(Error::internal("a typed string"));
            };
            coerce(unknown_literal(text.clone()), &parse_type(&typed.data_type)?, CastContext::Explicit)
        }
        Ast::Interval(interval) => coerce(bind(&interval.value, session)?, &Type::Interval, CastContext::Explicit),
        Ast::UnaryOp { op, expr } => match op {
            UnaryOperator::Minus => match expr.as_ref() {
                Ast::Value(value) if matches!(value.value, Value::Number(..)) => number_literal(&format!("-{value}")),
                _ => operator("-", None, bind(expr, session)?),
            },
            UnaryOperator::Plus => operator("+", None, bind(expr, session)?),
            UnaryOperator::Not => negated(bind(expr, session), true),
            other => operator(&other.to_string(), None, bind(expr, session)?),
        },
        Ast::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(names), right } => {
            binary(names.last().map_or("", String::as_str), left, right)
        }
        Ast::BinaryOp { left, op, right } => binary(&op.to_string(), left, right),
        Ast::Like { negated: not, expr, pattern, .. } => binary(if *not { "!~~" } else { "~~" }, expr, pattern),
        Ast::ILike { negated: not, expr, pattern, .. } => binary(if *not { "!~~*" } else { "~~*" }, expr, pattern),
        Ast::IsDistinctFrom(a, b) => binary("is distinct from", a, b),
        Ast::IsNotDistinctFrom(a, b) => binary("is not distinct from", a, b),
        Ast::IsNull(inner) => Ok(Typed::new(Expr::IsNull(Box::new(bind(inner, session)?.expr)), Type::Bool)),
        Ast::Extract { field, expr, .. } => {
            let field = text_literal(field.to_string().to_lowercase());
            function("extract", vec![field, bind(expr, session)?], session)
        }
        Ast::AtTimeZone { timestamp, time_zone } => {
            function("timezone", vec![bind(time_zone, session)?, bind(timestamp, session)?], session)
        }
        Ast::Ceil { expr, .. } => function("ceil", vec![bind(expr, session)?], session),
        Ast::Floor { expr, .. } => function("floor", vec![bind(expr, session)?], session),
        Ast::Position { expr, r#in } => function("position", vec![bind(r#in, session)?, bind(expr, session)?], session),
        Ast::Substring { expr, substring_from, substring_for, .. } => {
            let mut args = vec![bind(expr, session)?];
            for part in [substring_from, substring_for].into_iter().flatten() {
                args.push(bind(part, session)?);
            }
            function("substring", args, session)
        }
        Ast::Trim { trim_where, trim_what, expr, trim_characters } => {
            let name = match trim_where {
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            };
            let mut args = vec![bind(expr, session)?];
            let set = trim_what.as_deref().or(trim_characters.as_ref().and_then(|all| all.first()));
            if let Some(set) = set {
                args.push(bind(set, session)?);
            }
            function(name, args, session)
        }
        Ast::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![bind(expr, session)?, bind(overlay_what, session)?, bind(overlay_from, session)?];
            if let Some(length) = overlay_for {
                args.push(bind(length, session)?);
            }
            function("overlay", args, session)
        }
        Ast::Function(call) => {
            let name = call.name.0.last().and_then(|part| part.as_ident()).map_or("", |ident| ident.value.as_str());
            let mut args = Vec::new();
            if let ast::FunctionArguments::List(list) = &call.args {
                for arg in &list.args {
                    let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg)) = arg else {
                        return Err(Error::internal("a test's argument"));
                    };
                    args.push(bind(arg, session)?);
                }
            }
            function(&name.to_lowercase(), args, session)
        }
        other => Err(Error::internal(format!("the test binder does not know {other:?}"))),
    }
}

/// The expression's values over a batch of these columns, c0, c1, ...; one row where there are none.
fn over_rows(expr: Expr, columns: &[ArrayRef]) -> Result<ArrayRef> {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(n, column)| Field::new(format!("c{n}"), column.data_type().clone(), true))
        .collect();
    let schema = Schema::new(fields);
    let df_schema = datafusion::common::DFSchema::try_from(schema.clone())?;
    let expr = create_physical_expr(&expr, &df_schema, &ExecutionProps::new(), &Default::default())?;
    let rows = columns.first().map_or(1, |column| column.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema.into(), columns.to_vec(), &options)?;
    Ok(expr.evaluate(&batch)?.into_array(rows)?)
}

/// The same expression with its constants as columns: three rows, the middle one NULL. The other two must answer as the
/// constants did. The zone, a kernel's last argument, stays what it is.
fn check_columns(expr: &Expr, answer: &ArrayRef, text: &str) -> Result<()> {
    let mut columns = Vec::new();
    let replaced = expr.clone().transform_down(|node| {
        Ok(match node {
            Expr::Literal(ScalarValue::Utf8(Some(ref zone)), _) if zone == "Europe/Berlin" || zone == "UTC" => {
                Transformed::no(node)
            }
            Expr::Literal(value, _) => {
                let null = ScalarValue::try_from(&value.data_type())?;
                columns.push(ScalarValue::iter_to_array([value.clone(), null, value])?);
                Transformed::yes(Expr::Column(Column::from_name(format!("c{}", columns.len() - 1))))
            }
            node => Transformed::no(node),
        })
    });
    let replaced = replaced?.data;
    // An object's key must not be NULL, so the middle row would fail the batch.
    if columns.is_empty() || text.starts_with("jsonb_build_object") {
        return Ok(());
    }
    let rows = over_rows(replaced, &columns).map_err(|error| Error::internal(format!("over columns: {error}")))?;
    let answer = ScalarValue::try_from_array(answer, 0)?;
    for row in [0, 2] {
        let same = ScalarValue::try_from_array(&rows, row)?;
        if same != answer {
            return Err(Error::internal(format!("{text} over columns gives {same}, over constants {answer}")));
        }
    }
    Ok(())
}

/// The printed value of an expression, and whether it is a bare numeric.
fn evaluate(text: &str) -> Result<(String, bool)> {
    let session = session();
    let _scope = enter(&session);
    let ast = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(Error::internal)?;
    let mut typed = bind(&ast, &session)?;
    if typed.ty == Type::Unknown {
        typed = coerce(typed, &Type::Text, CastContext::Implicit)?;
    }
    let array = over_rows(typed.expr.clone(), &[])?;
    if array.data_type() != &typed.ty.arrow() {
        return Err(Error::internal(format!("{} came as {}", typed.ty.name(), array.data_type())));
    }
    check_columns(&typed.expr, &array, text)?;
    let value = ScalarValue::try_from_array(&array, 0)?;
    let settings = TextSettings::in_zone(Zone::parse(&session.time_zone)?);
    let printed = print_scalar(&typed.ty, &value, &settings)?.unwrap_or_else(|| "<NULL>".to_string());
    Ok((printed, typed.ty == Type::Numeric(Numeric::Free)))
}

fn without_padding(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn check(data: &str) {
    let mut wrong = Vec::new();
    let mut lines = 0;
    for line in data.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let (text, server) = (columns.next().unwrap_or(""), columns.next().unwrap_or(""));
        // A third column is our answer where it is known to differ.
        let expected = columns.next().unwrap_or(server);
        lines += 1;
        let (actual, free) = match evaluate(text) {
            Ok(answer) => answer,
            Err(error) => (format!("ERROR {} {}", error.state(), error.message()), false),
        };
        let equal = actual == expected || (free && without_padding(expected) == actual);
        if !equal {
            wrong.push(format!("{text}\n    expected {expected}\n    but got  {actual}"));
        }
    }
    assert!(lines > 0);
    assert!(wrong.is_empty(), "{} of {lines} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn numbers() {
    check(include_str!("golden/numbers.txt"));
}

#[test]
fn texts() {
    check(include_str!("golden/texts.txt"));
}

#[test]
fn dates() {
    check(include_str!("golden/dates.txt"));
}

#[test]
fn json_arrays_and_the_rest() {
    check(include_str!("golden/rest.txt"));
}

#[test]
fn formats_and_numeric_mathematics() {
    check(include_str!("golden/formats.txt"));
}

#[test]
fn casts_and_comparisons() {
    check(include_str!("golden/casts.txt"));
}
