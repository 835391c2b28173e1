//! Functions in FROM: TUMBLE and HOP over a relation, unnest, generate_series and their like.
//!
//! A function that names columns to its left (`FROM t, unnest(t.list)`) is bound as a plan over one row that holds
//! outer references; the join with it becomes an Unnest over the left side, which needs no decorrelation.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullHandling, ScalarValue, UnnestOptions};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, Projection, Unnest};
use sqlparser::ast;

use super::call::function_name;
use super::expr::position;
use super::from::{From, named_table, pass_through};
use super::scope::{Scope, ScopeColumn, place};
use super::{Binder, Clause, project, subquery};
use crate::error::{Error, Result, SqlState};
use crate::sql::arrays;
use crate::sql::functions::row;
use crate::sql::nodes::HopNode;
use crate::sql::registry::{self, CastContext, FunctionKind, Typed};
use crate::sql::statement::fold;
use crate::types::Type;

/// Functions whose one column has a name of its own.
const OUTPUTS: &[(&str, &str)] = &[
    ("jsonb_array_elements", "value"),
    ("json_array_elements", "value"),
    ("jsonb_array_elements_text", "value"),
    ("json_array_elements_text", "value"),
];

impl Binder<'_> {
    pub(super) fn function_in_from(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        alias: Option<&ast::TableAlias>,
        ordinality: bool,
        left: Option<&Scope>,
    ) -> Result<From> {
        let function = function_name(name)?;
        let at = name.0.first().and_then(|part| part.as_ident()).and_then(place);
        let mut plain = Vec::with_capacity(args.len());
        for arg in args {
            match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => plain.push(expr),
                _ => {
                    return Err(Error::unsupported(
                        "this argument of a function in FROM",
                        "Give plain expressions by position.",
                    )
                    .or_position(at));
                }
            }
        }
        if matches!(function.as_str(), "tumble" | "hop") {
            return self.windows(&function, &plain, alias, at);
        }
        if function == "session" {
            return Err(Error::unsupported("SESSION in FROM", "Use TUMBLE or HOP.").or_position(at));
        }
        if function == "pg_show_all_settings" && plain.is_empty() && !ordinality {
            return self.settings(&function, alias);
        }
        let sees = left.cloned().unwrap_or_default();
        let typed = self.with_level(sees, Clause::From, |binder| {
            // One more level, so that what stands to the left is outside.
            binder.with_level(Scope::default(), Clause::From, |binder| {
                plain.iter().map(|expr| binder.expr(expr)).collect::<Result<Vec<_>>>()
            })
        })?;
        match registry::kind(&function) {
            FunctionKind::SetReturning => {
                let array = self.series_array(&function, typed, at)?;
                self.unnested(vec![(function, array)], alias, ordinality)
            }
            FunctionKind::Aggregate => Err(Error::new(
                SqlState::GROUPING_ERROR,
                "aggregate functions are not allowed in FROM clause of their own query level",
            )
            .or_position(at)),
            // A scalar function in FROM is a row of its value.
            _ => {
                let value = self.scalar_call(&function, typed, at)?;
                let ty = value.ty.clone();
                let array = arrays::elements(vec![value.expr], &ty);
                self.unnested(vec![(function, array)], alias, ordinality)
            }
        }
    }

    pub(super) fn unnest_in_from(
        &mut self,
        exprs: &[ast::Expr],
        alias: Option<&ast::TableAlias>,
        ordinality: bool,
        left: Option<&Scope>,
    ) -> Result<From> {
        let sees = left.cloned().unwrap_or_default();
        let typed = self.with_level(sees, Clause::From, |binder| {
            binder.with_level(Scope::default(), Clause::From, |binder| binder.exprs(exprs))
        })?;
        let mut arrays = Vec::with_capacity(typed.len());
        for (typed, expr) in typed.into_iter().zip(exprs) {
            arrays.push(("unnest".to_string(), self.series_array("unnest", vec![typed], position(expr))?));
        }
        self.unnested(arrays, alias, ordinality)
    }

    /// The array whose elements are a set-returning function's rows.
    pub(super) fn series_array(&mut self, function: &str, mut args: Vec<Typed>, at: Option<u32>) -> Result<Typed> {
        match (function, args.len()) {
            ("unnest", 1) => {
                let array = args.remove(0);
                match array.ty {
                    Type::Array(_) => Ok(array),
                    Type::Unknown => {
                        let message = "function unnest(unknown) is not unique";
                        Err(Error::new(SqlState::AMBIGUOUS_FUNCTION, message)
                            .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")
                            .or_position(at))
                    }
                    _ => {
                        let message = format!("function unnest({}) does not exist", array.ty.bare_name());
                        Err(Error::new(SqlState::UNDEFINED_FUNCTION, message)
                            .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
                            .or_position(at))
                    }
                }
            }
            ("generate_subscripts", 2 | 3) => {
                let array = args.remove(0);
                if !matches!(array.ty, Type::Array(_)) {
                    let message =
                        format!("function generate_subscripts({}, integer) does not exist", array.ty.bare_name());
                    return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message).or_position(at));
                }
                let dimension = self.coerce(args.remove(0), &Type::Int4, CastContext::Implicit)?;
                let length = self.scalar_call("array_length", vec![array, dimension], at)?;
                let one = registry::int_literal(1);
                match args.pop() {
                    None => self.generate_series(vec![one, length], at),
                    Some(reverse) => match self.coerce(reverse, &Type::Bool, CastContext::Implicit)?.expr {
                        Expr::Literal(ScalarValue::Boolean(Some(false)), _) => {
                            self.generate_series(vec![one, length], at)
                        }
                        Expr::Literal(ScalarValue::Boolean(Some(true)), _) => {
                            self.generate_series(vec![length, one, registry::int_literal(-1)], at)
                        }
                        _ => {
                            let what = "generate_subscripts with a direction that is not a constant";
                            Err(Error::unsupported(what, "Write true or false.").or_position(at))
                        }
                    },
                }
            }
            ("generate_series", 2 | 3) => self.generate_series(args, at),
            ("_pg_expandarray", 1) if matches!(args[0].ty, Type::Array(_)) => arrays::numbered(args.remove(0)),
            _ => {
                let result = self.scalar_call(function, args, at)?;
                match result.ty {
                    Type::Array(_) => Ok(result),
                    _ => Err(Error::unsupported(
                        format!("the set-returning function {function}"),
                        "Use unnest or generate_series.",
                    )
                    .or_position(at)),
                }
            }
        }
    }

    fn generate_series(&mut self, args: Vec<Typed>, at: Option<u32>) -> Result<Typed> {
        let no_such = |args: &[Typed]| {
            let types: Vec<String> = args.iter().map(|arg| arg.ty.bare_name()).collect();
            Error::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("function generate_series({}) does not exist", types.join(", ")),
            )
            .with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            )
            .or_position(at)
        };
        let bounds = registry::common_type(&args[..2]).map_err(|_| no_such(&args))?;
        let (item, step_type) = match bounds {
            Type::Int2 | Type::Int4 => match args.get(2).map(|step| step.ty.clone()) {
                Some(Type::Int8) => (Type::Int8, Type::Int8),
                _ => (Type::Int4, Type::Int4),
            },
            Type::Int8 => (Type::Int8, Type::Int8),
            Type::Date | Type::Timestamptz if args.len() == 3 => (Type::Timestamptz, Type::Interval),
            Type::Timestamp if args.len() == 3 => (Type::Timestamp, Type::Interval),
            Type::Numeric(_) => {
                let common = registry::common_type(&args).map_err(|_| no_such(&args))?;
                (common.clone(), common)
            }
            _ => return Err(no_such(&args)),
        };
        let mut args = args.into_iter();
        let mut next = |binder: &mut Self, ty: &Type| -> Result<Option<Typed>> {
            let Some(arg) = args.next() else { return Ok(None) };
            binder.coerce(arg, ty, CastContext::Implicit).map(Some).map_err(|error| error.or_position(at))
        };
        let (start, stop) = (next(self, &item)?, next(self, &item)?);
        let step = next(self, &step_type)?;
        let (Some(start), Some(stop)) = (start, stop) else {
            return Err(Error::internal("generate_series without bounds"));
        };
        let step = match step {
            Some(step) => step.expr,
            None => self.coerce(registry::int_literal(1), &item, CastContext::Implicit)?.expr,
        };
        Ok(arrays::series(start, stop.expr, step))
    }

    /// Rows from arrays side by side, over a single row.
    fn unnested(
        &mut self,
        arrays: Vec<(String, Typed)>,
        alias: Option<&ast::TableAlias>,
        ordinality: bool,
    ) -> Result<From> {
        let single = arrays.len() == 1;
        let function = arrays.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let mut exprs = Vec::new();
        let mut columns = Vec::new();
        let lateral = arrays.iter().any(|(_, array)| array.expr.contains_outer());
        let all: Vec<Typed> = arrays.iter().map(|(_, array)| array.clone()).collect();
        for (name, array) in arrays {
            let Type::Array(item) = array.ty else { return Err(Error::internal("unnest of what is no array")) };
            let internal = self.fresh(&name);
            exprs.push(array.expr.alias(&internal));
            // A function's only column takes the alias's name.
            let name = match (alias, OUTPUTS.iter().find(|(function, _)| *function == name)) {
                (_, Some((_, output))) => output.to_string(),
                (Some(alias), None) if single => fold(&alias.name),
                _ => name,
            };
            columns.push(ScopeColumn { name, ty: *item, internal });
        }
        if ordinality {
            let internal = self.fresh("ordinality");
            let places = match all.as_slice() {
                [only] => Typed::new(arrays::positions(only.expr.clone()), Type::Array(Box::new(Type::Int4))),
                _ => {
                    let lengths = all.into_iter().map(|array| self.scalar_call("cardinality", vec![array], None));
                    let lengths = lengths.collect::<Result<Vec<_>>>()?;
                    let longest = self.scalar_call("greatest", lengths, None)?;
                    self.generate_series(vec![registry::int_literal(1), longest], None)?
                }
            };
            let places = self.coerce(places, &Type::Array(Box::new(Type::Int8)), CastContext::Explicit)?;
            exprs.push(places.expr.alias(&internal));
            columns.push(ScopeColumn { name: "ordinality".to_string(), ty: Type::Int8, internal });
        }
        // A row's fields become columns.
        let names: Vec<String> = columns.iter().map(|column| column.internal.clone()).collect();
        let arrays = project(Arc::new(subquery::one_row()), exprs)?;
        let mut plan = unnest(arrays, &names, false)?;
        let mut scalar = single && !ordinality;
        if let ([column], Some(fields)) =
            (columns.as_slice(), columns.first().and_then(|column| super::expr::field_names(&column.ty)))
            && single
            && !ordinality
        {
            let whole = Typed::new(column.expr(), column.ty.clone());
            let mut exprs = Vec::with_capacity(fields.len());
            let mut expanded = Vec::with_capacity(fields.len());
            for field in fields {
                let internal = self.fresh(&field.name);
                exprs.push(self.field(whole.clone(), &field.name)?.expr.alias(&internal));
                expanded.push(ScopeColumn { name: field.name.clone(), ty: field.ty.clone(), internal });
            }
            plan = project(Arc::new(plan), exprs)?;
            columns = expanded;
            scalar = false;
        }
        let mut table = named_table(alias, None, columns)?;
        table.name.get_or_insert(function);
        table.scalar = scalar;
        Ok(From { plan, scope: Scope::of_table(table), lateral })
    }

    /// `TUMBLE(relation, time, size)`, `HOP(relation, time, slide, size)`.
    fn windows(
        &mut self,
        function: &str,
        args: &[&ast::Expr],
        alias: Option<&ast::TableAlias>,
        at: Option<u32>,
    ) -> Result<From> {
        let hop = function == "hop";
        let usage = if hop { "HOP(relation, time_column, slide, size)" } else { "TUMBLE(relation, time_column, size)" };
        let wrong = |message: &str| {
            Error::new(SqlState::SYNTAX_ERROR, message).with_hint(format!("Write {usage}.")).or_position(at)
        };
        if args.len() != if hop { 4 } else { 3 } {
            return Err(wrong(&format!("{} takes {} arguments", function.to_uppercase(), if hop { 4 } else { 3 })));
        }
        let input = match args[0] {
            ast::Expr::Identifier(name) => self.named_input(vec![name.clone()])?,
            ast::Expr::CompoundIdentifier(names) => self.named_input(names.clone())?,
            ast::Expr::Subquery(query) => {
                let output = self.query(query)?;
                let output = self.resolve_unknown(output)?;
                let table = named_table(None, None, output.columns)?;
                From { plan: output.plan, scope: Scope::of_table(table), lateral: false }
            }
            _ => return Err(wrong(&format!("{}'s first argument is a relation", function.to_uppercase()))),
        };
        let time = self.with_level(input.scope.clone(), Clause::From, |binder| binder.expr(args[1]))?;
        let Expr::Column(time_column) = &time.expr else {
            return Err(wrong(&format!("{}'s second argument is a column of the relation", function.to_uppercase())));
        };
        if !matches!(time.ty, Type::Timestamp | Type::Timestamptz) {
            let message = format!(
                "{}'s time column must be timestamp or timestamptz, not {}",
                function.to_uppercase(),
                time.ty.bare_name()
            );
            return Err(Error::new(SqlState::DATATYPE_MISMATCH, message).or_position(position(args[1])));
        }
        let size = self.interval_argument(args[args.len() - 1])?;
        let slide = if hop { self.interval_argument(args[2])? } else { size };
        // Each row stands in about this many windows.
        const MAX_WINDOWS: i64 = 100_000;
        if size / slide > MAX_WINDOWS {
            let message = format!("a row would be in more than {MAX_WINDOWS} windows");
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("Choose a longer slide.")
                .or_position(at));
        }
        let (start, end) = (self.fresh("window_start"), self.fresh("window_end"));
        let node = HopNode::try_new(input.plan, &time_column.name, slide, size, &start, &end)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        let mut columns = input.scope.visible;
        columns.push(ScopeColumn { name: "window_start".to_string(), ty: time.ty.clone(), internal: start });
        columns.push(ScopeColumn { name: "window_end".to_string(), ty: time.ty, internal: end });
        let mut table = named_table(alias, None, columns)?;
        // Without an alias the relation's own name goes on naming its columns.
        if table.name.is_none() {
            table.name = input.scope.tables.first().and_then(|table| table.name.clone());
        }
        Ok(From { plan, scope: Scope::of_table(table), lateral: false })
    }

    fn named_input(&mut self, parts: Vec<ast::Ident>) -> Result<From> {
        let name = ast::ObjectName(parts.into_iter().map(ast::ObjectNamePart::Identifier).collect());
        let factor = ast::TableFactor::Table {
            name,
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        self.from(&[ast::TableWithJoins { relation: factor, joins: Vec::new() }])
    }

    /// A constant interval of a fixed length, in microseconds; positive.
    fn interval_argument(&mut self, expr: &ast::Expr) -> Result<i64> {
        let at = position(expr);
        let typed = self.with_level(Scope::default(), Clause::From, |binder| binder.expr(expr))?;
        let typed =
            self.coerce(typed, &Type::Interval, CastContext::Implicit).map_err(|error| error.or_position(at))?;
        let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = typed.expr else {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "a window's length must be a constant interval")
                .or_position(at));
        };
        if interval.months != 0 {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "a window's length can't be in months or years, which differ in length",
            )
            .with_hint("Group by date_trunc('month', column) instead.")
            .or_position(at));
        }
        let micros = i64::from(interval.days)
            .checked_mul(86_400_000_000)
            .and_then(|days| days.checked_add(interval.nanoseconds / 1000))
            .filter(|micros| *micros > 0);
        micros.ok_or_else(|| {
            Error::new(SqlState::INVALID_PARAMETER_VALUE, "a window's length must be greater than zero").or_position(at)
        })
    }
}

/// One row an element of these columns, side by side.
///
/// `outer`: a row whose arrays are all empty or NULL stays, with NULLs.
pub(super) fn unnest(input: LogicalPlan, columns: &[String], outer: bool) -> Result<LogicalPlan> {
    let exec = columns.iter().map(Column::new_unqualified).collect();
    let null_handling = if outer { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
    let options = UnnestOptions { null_handling, ..UnnestOptions::default() };
    Ok(LogicalPlan::Unnest(Unnest::try_new(Arc::new(input), exec, options)?))
}

/// `left` joined with a function over its columns: an Unnest of arrays computed beside the left columns.
pub(super) fn apply_unnest(left: &LogicalPlan, right: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    apply(left, right, false)
}

/// The same for LEFT JOIN ... ON true: a row whose arrays are empty stays.
pub(super) fn apply_outer_unnest(left: &LogicalPlan, right: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    apply(left, right, true)
}

/// An Unnest of arrays over a single row, with the array's projection, and perhaps fields of the unnested rows above it.
fn as_unnest(plan: &LogicalPlan) -> Option<(Option<&Vec<Expr>>, &Projection)> {
    let (above, node) = match plan {
        LogicalPlan::Projection(projection) => (Some(&projection.expr), projection.input.as_ref()),
        other => (None, other),
    };
    let LogicalPlan::Unnest(node) = node else { return None };
    let LogicalPlan::Projection(arrays) = node.input.as_ref() else { return None };
    matches!(arrays.input.as_ref(), LogicalPlan::EmptyRelation(_)).then_some((above, arrays))
}

/// Whether a lateral side is a function's rows, all of whose columns are NULL where it has none.
pub(super) fn is_unnest(plan: &LogicalPlan) -> bool {
    as_unnest(plan).is_some_and(|(above, _)| above.into_iter().flatten().all(is_field))
}

/// Whether an expression is a column or a field of one: NULL where all columns are.
fn is_field(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_field(&alias.expr),
        Expr::Column(_) => true,
        Expr::ScalarFunction(call) => call.name() == row::NAME && call.args.first().is_some_and(is_field),
        _ => false,
    }
}

fn apply(left: &LogicalPlan, right: &LogicalPlan, outer: bool) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Subquery(right) = right else { return Ok(None) };
    let Some((above, arrays)) = as_unnest(&right.subquery) else { return Ok(None) };
    if outer && !above.into_iter().flatten().all(is_field) {
        return Ok(None);
    }
    let mut exprs = pass_through(left);
    let mut names = Vec::with_capacity(arrays.expr.len());
    for (expr, field) in arrays.expr.iter().zip(arrays.schema.fields()) {
        let expr = expr.clone().unalias();
        let inner = expr.transform_up(|node| {
            Ok(match node {
                Expr::OuterReferenceColumn(_, column) if left.schema().has_column(&column) => {
                    Transformed::yes(Expr::Column(column))
                }
                other => Transformed::no(other),
            })
        })?;
        exprs.push(inner.data.alias(field.name()));
        names.push(field.name().clone());
    }
    let plan = unnest(project(Arc::new(left.clone()), exprs)?, &names, outer)?;
    Ok(Some(match above {
        None => plan,
        Some(fields) => {
            let mut exprs = pass_through(left);
            exprs.extend(fields.iter().cloned());
            project(Arc::new(plan), exprs)?
        }
    }))
}
