//! Function calls: scalar functions, window functions, set-returning functions in the select list; aggregate.rs has the aggregates.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, WindowFrame};
use sqlparser::ast;

use super::scope::{column_expr, place};
use super::{Binder, Clause, unknown_parameters};
use crate::error::{Error, Result, SqlState};
use crate::sql::registry::{self, CastContext, FunctionKind, Typed, WindowOptions};
use crate::sql::statement::fold;
use crate::types::Type;

/// Functions whose arguments have names, in order; those left out are 0.
const NAMED: &[(&str, &[&str])] = &[("make_interval", &["years", "months", "weeks", "days", "hours", "mins", "secs"])];

/// `name => value` arguments in their places, behind those without names. 42883.
fn positional(function: &str, list: &ast::FunctionArgumentList) -> Result<ast::FunctionArgumentList> {
    let Some((_, names)) = NAMED.iter().find(|(name, _)| *name == function) else {
        return Err(Error::unsupported(format!("a named argument of {function}"), "Give arguments by position."));
    };
    let zero = ast::Expr::Value(ast::Value::Number("0".to_string(), false).with_empty_span());
    let zero = ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(zero));
    let mut args = vec![zero; names.len()];
    let (mut place, mut used) = (0, Vec::new());
    for arg in &list.args {
        let (name, arg) = match arg {
            ast::FunctionArg::Unnamed(arg) => (None, arg),
            ast::FunctionArg::Named { name, arg, .. } => (Some(fold(name)), arg),
            ast::FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), arg, .. } => (Some(fold(name)), arg),
            ast::FunctionArg::ExprNamed { arg, .. } => (Some(String::new()), arg),
        };
        let at = match &name {
            Some(name) => names.iter().position(|known| known == name),
            None => Some(place).filter(|place| *place < names.len() && used.len() == *place),
        };
        let Some(at) = at.filter(|at| !used.contains(at)) else {
            let shown = name.unwrap_or_default();
            let message = format!("function {function}({shown} => ...) does not exist");
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message)
                .with_hint(format!("Its arguments are {}.", names.join(", "))));
        };
        used.push(at);
        place += 1;
        args[at] = ast::FunctionArg::Unnamed(arg.clone());
    }
    Ok(ast::FunctionArgumentList { args, ..list.clone() })
}

/// A call's parts, apart from its name.
pub(super) struct Call<'a> {
    pub name: String,
    pub at: Option<u32>,
    pub args: Vec<&'a ast::FunctionArgExpr>,
    pub distinct: bool,
    pub order_by: Vec<&'a ast::OrderByExpr>,
    pub function: &'a ast::Function,
}

impl Binder<'_> {
    pub(super) fn call(&mut self, function: &ast::Function) -> Result<Typed> {
        let name = function_name(&function.name)?;
        let at = function.name.0.first().and_then(|part| part.as_ident()).and_then(place);
        if name == "array"
            && let ast::FunctionArguments::Subquery(query) = &function.args
        {
            return self.array_subquery(query);
        }
        let mut call = Call { name, at, args: Vec::new(), distinct: false, order_by: Vec::new(), function };
        match &function.args {
            ast::FunctionArguments::None => {}
            ast::FunctionArguments::Subquery(_) => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "a subquery as an argument needs brackets of its own")
                    .or_position(at));
            }
            ast::FunctionArguments::List(list)
                if list.args.iter().any(|arg| !matches!(arg, ast::FunctionArg::Unnamed(_))) =>
            {
                let mut function = function.clone();
                function.args =
                    ast::FunctionArguments::List(positional(&call.name, list).map_err(|error| error.or_position(at))?);
                return self.call(&function);
            }
            ast::FunctionArguments::List(list) => {
                call.distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
                for arg in &list.args {
                    if let ast::FunctionArg::Unnamed(arg) = arg {
                        call.args.push(arg);
                    }
                }
                for clause in &list.clauses {
                    match clause {
                        ast::FunctionArgumentClause::OrderBy(items) => call.order_by.extend(items),
                        ast::FunctionArgumentClause::IgnoreOrRespectNulls(ast::NullTreatment::RespectNulls) => {}
                        other => {
                            return Err(
                                Error::unsupported(format!("{other} in a call"), "Leave it out.").or_position(at)
                            );
                        }
                    }
                }
            }
        }
        call.order_by.extend(&function.within_group);
        self.dispatch(call)
    }

    fn dispatch(&mut self, call: Call) -> Result<Typed> {
        match call.name.as_str() {
            "row" => {
                let exprs = plain_args(&call)?;
                return self.row_of(exprs);
            }
            "coalesce" | "greatest" | "least" if call.args.is_empty() => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \")\"").or_position(call.at));
            }
            "grouping" => return self.grouping(&call),
            "current_timestamp" | "localtimestamp" | "localtime" if call.args.len() == 1 => return self.clock(&call),
            _ => {}
        }
        let kind = registry::kind(&call.name);
        let windowed = call.function.over.is_some();
        let star = matches!(
            call.args.as_slice(),
            [ast::FunctionArgExpr::Wildcard | ast::FunctionArgExpr::WildcardWithOptions(_)]
        );
        match kind {
            FunctionKind::Aggregate if windowed => self.window_call(call, star),
            FunctionKind::Aggregate => self.aggregate_call(&call, star),
            FunctionKind::Window if windowed => self.window_call(call, star),
            FunctionKind::Window => {
                let message = format!("window function {} requires an OVER clause", call.name);
                Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(call.at))
            }
            FunctionKind::Unknown if !crate::sql::catalog_functions::exists(&call.name) => {
                let args = if star { Vec::new() } else { self.arguments(&call)? };
                self.scalar_call(&call.name, args, call.at)
            }
            _ if windowed => {
                let message =
                    format!("OVER specified, but {} is not a window function nor an aggregate function", call.name);
                Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(call.at))
            }
            _ if star || call.distinct || !call.order_by.is_empty() || call.function.filter.is_some() => {
                let what = if star {
                    format!("{}(*)", call.name)
                } else if call.distinct {
                    "DISTINCT".to_string()
                } else if call.function.filter.is_some() {
                    "FILTER".to_string()
                } else {
                    "ORDER BY".to_string()
                };
                let message = format!("{what} specified, but {} is not an aggregate function", call.name);
                Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(call.at))
            }
            FunctionKind::SetReturning => self.series_call(call),
            _ => {
                let args = self.arguments(&call)?;
                self.scalar_call(&call.name, args, call.at)
            }
        }
    }

    /// Arguments as values; `t.*` is t's row.
    pub(super) fn arguments(&mut self, call: &Call) -> Result<Vec<Typed>> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(match arg {
                ast::FunctionArgExpr::Expr(expr) => self.expr(expr)?,
                ast::FunctionArgExpr::QualifiedWildcard(name) => self.starred_row(name)?,
                _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"*\"").or_position(call.at)),
            });
        }
        Ok(args)
    }

    /// `current_timestamp(3)`: rounded to so many digits of a second.
    fn clock(&mut self, call: &Call) -> Result<Typed> {
        let digits = match call.args.as_slice() {
            [ast::FunctionArgExpr::Expr(ast::Expr::Value(value))] => match &value.value {
                ast::Value::Number(digits, _) => digits.parse::<u32>().ok(),
                _ => None,
            },
            _ => None,
        };
        let Some(digits) = digits else {
            let message = format!("the precision of {} must be a whole number", call.name);
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(call.at));
        };
        let now = self.scalar_call(&call.name, Vec::new(), call.at)?;
        if digits >= 6 {
            return Ok(now);
        }
        let plain = now.ty.clone();
        let rounded = Type::Rounded(Box::new(plain.clone()), digits as u8);
        Ok(Typed::new(self.coerce(now, &rounded, CastContext::Explicit)?.expr, plain))
    }

    fn row_of(&mut self, exprs: Vec<&ast::Expr>) -> Result<Typed> {
        let mut fields = Vec::with_capacity(exprs.len());
        for (index, expr) in exprs.into_iter().enumerate() {
            let typed = self.expr(expr)?;
            fields.push((format!("f{}", index + 1), self.coerce_unknown(typed)?));
        }
        Ok(super::names::row(fields))
    }

    /// What ORDER BY names, with its directions.
    pub(super) fn sort_values<'a>(
        &mut self,
        items: impl IntoIterator<Item = &'a ast::OrderByExpr>,
    ) -> Result<Vec<(Typed, &'a ast::OrderByOptions)>> {
        let mut values = Vec::new();
        for item in items {
            let typed = self.expr(&item.expr)?;
            values.push((self.coerce_unknown(typed)?, &item.options));
        }
        Ok(values)
    }

    fn window_call(&mut self, call: Call, star: bool) -> Result<Typed> {
        if !self.clause().windows() {
            return Err(self.forbid_in("window functions", SqlState::WINDOWING_ERROR).or_position(call.at));
        }
        let over = call.function.over.as_ref();
        let spec = self.window_spec(over, call.at)?;
        let (args, partition_by, (mut order_by, mut order_types), filter) =
            self.in_clause(Clause::Window, |binder| {
                let args = if star { Vec::new() } else { binder.arguments(&call)? };
                let mut partition = Vec::with_capacity(spec.partition_by.len());
                for expr in &spec.partition_by {
                    let typed = binder.expr(expr)?;
                    let typed = binder.coerce_unknown(typed)?;
                    partition.push(binder.key(typed).expr);
                }
                let mut order = (Vec::with_capacity(spec.order_by.len()), Vec::with_capacity(spec.order_by.len()));
                for (value, options) in binder.sort_values(&spec.order_by)? {
                    let key = binder.order(value);
                    order.0.push(directed(key.expr, options));
                    order.1.push(key.ty);
                }
                let filter = match &call.function.filter {
                    Some(filter) => {
                        let typed = binder.expr(filter)?;
                        Some(binder.condition(typed, "FILTER")?)
                    }
                    None => None,
                };
                Ok((args, partition, order, filter))
            })?;
        let frame = match &spec.window_frame {
            Some(frame) => {
                Some(self.frame(frame, &mut order_by, &mut order_types).map_err(|error| error.or_position(call.at))?)
            }
            None => None,
        };
        let frame = frame.or_else(|| {
            // Up to the current row's peers; the whole partition where nothing orders it.
            Some(WindowFrame::new(if order_by.is_empty() { None } else { Some(false) }))
        });
        let unknown = unknown_parameters(&args);
        let options = WindowOptions { partition_by, order_by, order_types, frame, filter, distinct: call.distinct };
        let typed = registry::window(&call.name, args, options).map_err(|error| error.or_position(call.at))?;
        self.learn_from(&unknown, &typed.expr);
        let mut found = Vec::new();
        let replaced = typed.expr.transform_down(|node| {
            if !matches!(node, Expr::WindowFunction(_)) {
                return Ok(Transformed::no(node));
            }
            let known = self.level()?.windows.iter().find(|(known, _)| *known == node).map(|(_, name)| name.clone());
            let column = match known {
                Some(column) => column,
                None => {
                    let column = self.fresh(&call.name);
                    found.push((node, column.clone()));
                    column
                }
            };
            Ok(Transformed::new(column_expr(&column), true, datafusion::common::tree_node::TreeNodeRecursion::Jump))
        })?;
        self.level()?.windows.extend(found);
        Ok(Typed::new(replaced.data, typed.ty))
    }

    fn window_spec(&mut self, over: Option<&ast::WindowType>, at: Option<u32>) -> Result<ast::WindowSpec> {
        let named = |binder: &mut Self, name: &ast::Ident| -> Result<ast::WindowSpec> {
            let folded = fold(name);
            let found = binder.level()?.named_windows.iter().find(|(known, _)| *known == folded).cloned();
            found.map(|(_, spec)| spec).ok_or_else(|| {
                let message = format!("window \"{folded}\" does not exist");
                Error::new(SqlState::UNDEFINED_OBJECT, message).or_position(place(name))
            })
        };
        match over {
            Some(ast::WindowType::NamedWindow(name)) => named(self, name),
            Some(ast::WindowType::WindowSpec(spec)) => match &spec.window_name {
                None => Ok(spec.clone()),
                Some(name) => {
                    let base = named(self, name)?;
                    if !spec.partition_by.is_empty() {
                        let message = format!("cannot override PARTITION BY clause of window \"{}\"", fold(name));
                        return Err(Error::new(SqlState::WINDOWING_ERROR, message).or_position(at));
                    }
                    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
                        let message = format!("cannot override ORDER BY clause of window \"{}\"", fold(name));
                        return Err(Error::new(SqlState::WINDOWING_ERROR, message).or_position(at));
                    }
                    let order_by = if spec.order_by.is_empty() { base.order_by } else { spec.order_by.clone() };
                    Ok(ast::WindowSpec {
                        window_name: None,
                        partition_by: base.partition_by,
                        order_by,
                        window_frame: spec.window_frame.clone(),
                    })
                }
            },
            None => Err(Error::internal("a window call without OVER")),
        }
    }

    /// A set-returning function in the select list: a column of the Unnest node below it.
    fn series_call(&mut self, call: Call) -> Result<Typed> {
        if !self.clause().set_returning() {
            return Err(self
                .forbid_in("set-returning functions", SqlState::FEATURE_NOT_SUPPORTED)
                .or_position(call.at));
        }
        let args = self.arguments(&call)?;
        let array = self.series_array(&call.name, args, call.at)?;
        let Type::Array(item) = array.ty else { return Err(Error::internal("a series that is no array")) };
        let known = self.level()?.series.iter().find(|(known, _)| *known == array.expr).map(|(_, name)| name.clone());
        let column = match known {
            Some(column) => column,
            None => {
                let column = self.fresh(&call.name);
                self.level()?.series.push((array.expr, column.clone()));
                column
            }
        };
        Ok(Typed::new(column_expr(&column), *item))
    }

    /// GROUPING(a, b): a bit an argument, set where the row's grouping set leaves it out.
    fn grouping(&mut self, call: &Call) -> Result<Typed> {
        if !matches!(
            self.clause(),
            Clause::Select | Clause::OrderBy | Clause::Having | Clause::DistinctOn | Clause::Window
        ) {
            return Err(self.forbid_in("grouping operations", SqlState::GROUPING_ERROR).or_position(call.at));
        }
        let exprs = plain_args(call)?;
        let args = self.in_clause(Clause::Aggregate, |binder| {
            exprs.iter().map(|expr| Ok(binder.expr(expr)?.expr)).collect::<Result<Vec<_>>>()
        })?;
        if args.len() > 31 {
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "GROUPING must have fewer than 32 arguments")
                .or_position(call.at));
        }
        let column = self.fresh("grouping");
        self.level()?.groupings.push((args, column.clone()));
        Ok(Typed::new(column_expr(&column), Type::Int4))
    }
}

/// Arguments that are plain expressions.
fn plain_args<'a>(call: &Call<'a>) -> Result<Vec<&'a ast::Expr>> {
    call.args
        .iter()
        .map(|arg| match arg {
            ast::FunctionArgExpr::Expr(expr) => Ok(expr),
            _ => Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"*\"").or_position(call.at)),
        })
        .collect()
}

/// `f` or `pg_catalog.f`, folded. 3F000 for another schema.
pub(super) fn function_name(name: &ast::ObjectName) -> Result<String> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let at = name.0.first().and_then(|part| part.as_ident()).and_then(place);
    match parts.as_slice() {
        [name] => Ok(name.clone()),
        [schema, name] if schema == "pg_catalog" || schema == "information_schema" || schema == "public" => {
            Ok(name.clone())
        }
        [_, schema, name] if schema == "pg_catalog" => Ok(name.clone()),
        [.., schema, function] => {
            let message = format!("function {schema}.{function} does not exist");
            Err(Error::new(SqlState::UNDEFINED_FUNCTION, message).or_position(at))
        }
        [] => Err(Error::new(SqlState::SYNTAX_ERROR, "a function without a name")),
    }
}

/// An item of ORDER BY: ascending with NULLs last, descending with NULLs first, unless it says otherwise.
pub(super) fn directed(expr: Expr, options: &ast::OrderByOptions) -> Sort {
    let ascending = options.asc.unwrap_or(true);
    Sort::new(expr, ascending, options.nulls_first.unwrap_or(!ascending))
}
