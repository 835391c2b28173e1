//! Functions whose work is the session's, not the query's: set_config, pg_cancel_backend, pg_terminate_backend,
//! pg_advisory_unlock_all.
//!
//! A call with constant arguments does its work before the query runs, once, and stands in the query as its result. A call
//! with other arguments is left to the binder, which does not know the function.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, SetExpr, Value};

use crate::catalog::definition::quote_literal;
use crate::error::Result;
use crate::server::interrupt::Reason;
use crate::server::session::Session;
use crate::sql::parse::parse_expression;
use crate::sql::statement::fold;

/// The query with its calls replaced by their results; with `apply` their work is done, else the result is a NULL of
/// its type (Describe).
pub fn resolve(session: &mut Session, query: &Arc<ast::Query>, apply: bool) -> Result<Arc<ast::Query>> {
    let found = ast::visit_expressions(query.as_ref(), |expr| match call(expr) {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    });
    if found.is_continue() {
        return Ok(query.clone());
    }
    let mut query = query.as_ref().clone();
    if let SetExpr::Select(select) = query.body.as_mut() {
        name_columns(select);
    }
    let replaced = ast::visit_expressions_mut(&mut query, |expr| {
        let Some(call) = call(expr) else { return ControlFlow::Continue(()) };
        match call.result(session, apply).and_then(|text| parse_expression(&text)) {
            Ok(result) => {
                *expr = result;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match replaced {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(query.into()),
    }
}

/// A column that is such a call keeps the function's name.
fn name_columns(select: &mut ast::Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(call) = call(expr)
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: ast::Ident::new(call.name()) };
        }
    }
}

enum Call {
    SetConfig { name: String, value: Option<String>, local: bool },
    Interrupt { pid: i32, reason: Reason },
    UnlockAll,
}

impl Call {
    fn name(&self) -> &'static str {
        match self {
            Call::SetConfig { .. } => "set_config",
            Call::Interrupt { reason: Reason::Cancel, .. } => "pg_cancel_backend",
            Call::Interrupt { reason: Reason::Terminate, .. } => "pg_terminate_backend",
            Call::UnlockAll => "pg_advisory_unlock_all",
        }
    }

    /// The result as an expression's text.
    fn result(&self, session: &mut Session, apply: bool) -> Result<String> {
        Ok(match self {
            Call::SetConfig { .. } if !apply => "NULL::text".to_string(),
            Call::SetConfig { name, value, local } => {
                // As in Postgres, NULL goes back to the default.
                match value {
                    Some(value) => session.set(name, value, *local && session.transaction.is_active())?,
                    None => session.settings.reset(name, *local)?,
                }
                format!("{}::text", quote_literal(&session.settings.show(name)?))
            }
            Call::Interrupt { .. } if !apply => "NULL::boolean".to_string(),
            Call::Interrupt { pid, reason } => session.shared.registry.interrupt(*pid, *reason).to_string(),
            // There are no advisory locks.
            Call::UnlockAll => "''::text".to_string(),
        })
    }
}

fn call(expr: &Expr) -> Option<Call> {
    let Expr::Function(function) = expr else { return None };
    let parts: Vec<String> = function.name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let name = match parts.as_slice() {
        [name] => name.as_str(),
        [schema, name] if schema == "pg_catalog" => name.as_str(),
        _ => return None,
    };
    if !matches!(name, "set_config" | "pg_cancel_backend" | "pg_terminate_backend" | "pg_advisory_unlock_all") {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let arguments: Vec<Option<String>> = list.args.iter().map(constant).collect::<Option<_>>()?;
    match (name, arguments.as_slice()) {
        ("set_config", [Some(name), value, local]) => {
            let local = crate::server::settings::parse_bool(local.as_deref().unwrap_or("false"))?;
            Some(Call::SetConfig { name: name.clone(), value: value.clone(), local })
        }
        ("pg_cancel_backend", [Some(pid)]) => Some(Call::Interrupt { pid: pid.parse().ok()?, reason: Reason::Cancel }),
        ("pg_terminate_backend", [Some(pid), ..]) => {
            Some(Call::Interrupt { pid: pid.parse().ok()?, reason: Reason::Terminate })
        }
        ("pg_advisory_unlock_all", []) => Some(Call::UnlockAll),
        _ => None,
    }
}

/// A literal argument's text, `Some(None)` for NULL; `None` for anything else.
fn constant(argument: &FunctionArg) -> Option<Option<String>> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else { return None };
    let mut expr = expr;
    while let Expr::Cast { expr: inner, .. } = expr {
        expr = inner.as_ref();
    }
    let Expr::Value(value) = expr else { return None };
    match &value.value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(Some(text.clone())),
        Value::Number(digits, _) => Some(Some(digits.to_string())),
        Value::Boolean(value) => Some(Some(value.to_string())),
        Value::Null => Some(None),
        _ => None,
    }
}
