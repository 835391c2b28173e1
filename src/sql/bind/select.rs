//! SELECT. Clauses apply in this order, each a plan node over the one before:
//!
//! ```text
//!   FROM - WHERE - GROUP BY (group.rs) - HAVING - OVER - set-returning functions - select list
//!        - DISTINCT [ON] - ORDER BY - LIMIT
//! ```

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Sort as SortKey;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, Filter, LogicalPlan, Window, WindowFrame};
use sqlparser::ast;

use super::call::directed;
use super::expr::position;
use super::from::pass_through;
use super::query::{LimitSpec, output_ordinal};
use super::scope::{ScopeColumn, alias_name, column_expr};
use super::table_function::unnest;
use super::{Binder, Clause, Output, project};
use crate::error::{Error, Result, SqlState};
use crate::sql::registry::Typed;
use crate::sql::statement::fold;
use crate::types::Type;

/// An item of the select list, bound.
pub(super) struct Item {
    pub name: String,
    pub typed: Typed,
    /// Its tree, for GROUP BY to name it by place.
    pub at: Option<u32>,
}

impl Binder<'_> {
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        limit: LimitSpec,
    ) -> Result<Output> {
        refuse_foreign(select)?;
        let from = self.from(&select.from)?;
        self.push_level(from.scope, Clause::Select);
        let depth = self.levels.len();
        let result = self.select_over(select, from.plan, order_by, limit);
        self.levels.truncate(depth - 1);
        result
    }

    fn select_over(
        &mut self,
        select: &ast::Select,
        mut plan: LogicalPlan,
        order_by: &[ast::OrderByExpr],
        limit: LimitSpec,
    ) -> Result<Output> {
        for window in &select.named_window {
            let spec = match &window.1 {
                ast::NamedWindowExpr::WindowSpec(spec) => spec.clone(),
                ast::NamedWindowExpr::NamedWindow(other) => {
                    let name = fold(other);
                    let known = self.level()?.named_windows.iter().find(|(known, _)| *known == name).cloned();
                    let missing =
                        || Error::new(SqlState::UNDEFINED_OBJECT, format!("window \"{name}\" does not exist"));
                    known.ok_or_else(missing)?.1
                }
            };
            let name = fold(&window.0);
            self.level()?.named_windows.push((name, spec));
        }
        if let Some(condition) = &select.selection {
            let condition = self.in_clause(Clause::Where, |binder| {
                let typed = binder.expr(condition)?;
                binder.condition(typed, "WHERE").map_err(|error| error.or_position(position(condition)))
            })?;
            plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?);
        }
        // Names in WHERE are no matter of GROUP BY.
        self.level()?.references.clear();

        let items = self.items(&select.projection)?;
        let having = match &select.having {
            Some(condition) => Some(self.in_clause(Clause::Having, |binder| {
                let typed = binder.expr(condition)?;
                binder.condition(typed, "HAVING").map_err(|error| error.or_position(position(condition)))
            })?),
            None => None,
        };
        let on = match &select.distinct {
            Some(ast::Distinct::On(exprs)) => {
                let mut keys = Vec::with_capacity(exprs.len());
                for expr in exprs {
                    keys.push(self.in_clause(Clause::DistinctOn, |binder| {
                        binder.output_or_input(expr, &items, "SELECT DISTINCT ON")
                    })?);
                }
                Some(keys)
            }
            _ => None,
        };
        let mut sort = Vec::with_capacity(order_by.len());
        for item in order_by {
            let target =
                self.in_clause(Clause::OrderBy, |binder| binder.output_or_input(&item.expr, &items, "ORDER BY"))?;
            sort.push((target, item.options, position(&item.expr)));
        }

        // What has been bound so far, as one list that GROUP BY, OVER and series can rewrite.
        let mut exprs: Vec<Expr> = items.iter().map(|item| item.typed.expr.clone()).collect();
        let hidden = |target: &Target| match target {
            Target::Output(_) => None,
            Target::Input(typed) => Some(typed.expr.clone()),
        };
        exprs.extend(sort.iter().filter_map(|(target, ..)| hidden(target)));
        exprs.extend(on.iter().flatten().filter_map(hidden));
        let grouped = self.group(select, plan, exprs, having, &items)?;
        plan = grouped.plan;
        let mut exprs = grouped.exprs;

        plan = self.windows_over(plan, &grouped.groups)?;
        plan = self.series_over(plan, &grouped.groups)?;

        // The select list, then columns that only sorting needs.
        let mut columns = Vec::with_capacity(items.len());
        let mut projection = Vec::with_capacity(exprs.len());
        let extra = exprs.split_off(items.len());
        for (item, expr) in items.iter().zip(exprs) {
            let internal = self.fresh(&item.name);
            self.same_origin(&internal, &item.typed.expr);
            projection.push(expr.alias(&internal));
            columns.push(ScopeColumn { name: item.name.clone(), ty: item.typed.ty.clone(), internal });
        }
        let mut extra = extra.into_iter();
        let mut hidden: Vec<String> = Vec::new();
        let mut column_of = |binder: &mut Self, target: &Target, projection: &mut Vec<Expr>| -> Result<Typed> {
            match target {
                Target::Output(index) => Ok(columns[*index].typed()),
                Target::Input(typed) => {
                    let expr = extra.next().ok_or_else(|| Error::internal("a sort key was lost"))?;
                    // Perhaps it is an output after all, written out again, or was asked for before.
                    if let Some(index) = projection.iter().position(|known| known.clone().unalias() == expr) {
                        return Ok(match columns.get(index) {
                            Some(column) => column.typed(),
                            None => Typed::new(column_expr(&hidden[index - columns.len()]), typed.ty.clone()),
                        });
                    }
                    let internal = binder.fresh("sort");
                    projection.push(expr.alias(&internal));
                    hidden.push(internal.clone());
                    Ok(Typed::new(column_expr(&internal), typed.ty.clone()))
                }
            }
        };
        let mut keys: Vec<SortKey> = Vec::with_capacity(sort.len());
        let mut first_hidden = None;
        for (target, options, at) in &sort {
            let before = projection.len();
            let column = column_of(self, target, &mut projection)?;
            if projection.len() > before && first_hidden.is_none() {
                first_hidden = Some(*at);
            }
            let key = self.order(column).expr;
            if !keys.iter().any(|known| known.expr == key) {
                keys.push(directed(key, options));
            }
        }
        let mut on_keys = Vec::new();
        for target in on.iter().flatten() {
            let column = column_of(self, target, &mut projection)?;
            on_keys.push(self.order(column).expr);
        }
        drop(extra);
        let outputs: Vec<Expr> = columns.iter().map(|column| column.expr()).collect();
        if projection.is_empty() {
            // SELECT with an empty list: rows without columns can't be held, so they hold a constant nobody sees.
            let internal = self.fresh("nothing");
            projection.push(Expr::Literal(ScalarValue::Boolean(None), None).alias(&internal));
            hidden.push(internal);
        }
        plan = project(Arc::new(plan), projection)?;

        match &select.distinct {
            Some(ast::Distinct::Distinct) => {
                if let Some(at) = first_hidden {
                    let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                    return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message).or_position(at));
                }
                plan = self.distinct_rows(plan, &columns)?;
            }
            Some(ast::Distinct::On(_)) => plan = distinct_on(plan, on_keys, &keys, &self.tie_keys(&columns))?,
            _ => {}
        }
        plan = self.sort_and_limit(plan, keys, &self.tie_keys(&columns), limit)?;
        if !hidden.is_empty() && !columns.is_empty() {
            plan = project(Arc::new(plan), outputs)?;
        }
        Ok(Output { plan, columns })
    }

    /// The select list with `*` written out.
    pub(super) fn items(&mut self, projection: &[ast::SelectItem]) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(projection.len());
        for item in projection {
            match item {
                ast::SelectItem::UnnamedExpr(expr) => {
                    items.push(Item { name: column_name(expr), typed: self.expr(expr)?, at: position(expr) });
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(Item { name: alias_name(alias)?, typed: self.expr(expr)?, at: position(expr) });
                }
                ast::SelectItem::Wildcard(options) => {
                    let at = Some(options.wildcard_token.0.span.start.column as u32);
                    let columns = self.star(None).map_err(|error| error.or_position(at))?;
                    items.extend(columns.into_iter().map(|(name, typed)| Item { name, typed, at }));
                }
                ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let columns = self.star(Some(name))?;
                    items.extend(columns.into_iter().map(|(name, typed)| Item { name, typed, at: None }));
                }
                ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::Expr(_), _)
                | ast::SelectItem::ExprWithAliases { .. } => {
                    return Err(Error::internal("the dialect has neither (row).* nor several aliases of one item"));
                }
            }
        }
        Ok(items)
    }

    /// An item of ORDER BY or DISTINCT ON: an output by place or name, else an expression over the input.
    fn output_or_input(&mut self, expr: &ast::Expr, items: &[Item], clause: &str) -> Result<Target> {
        if let Some(index) = output_ordinal(expr, items.len(), clause)? {
            return Ok(Target::Output(index));
        }
        if let ast::Expr::Identifier(ident) = expr {
            let name = fold(ident);
            let mut found = items.iter().enumerate().filter(|(_, item)| item.name == name);
            if let Some((index, first)) = found.next() {
                if found.any(|(_, other)| other.typed != first.typed) {
                    let message = format!("{clause} \"{name}\" is ambiguous");
                    return Err(Error::new(SqlState::AMBIGUOUS_COLUMN, message).or_position(position(expr)));
                }
                return Ok(Target::Output(index));
            }
        }
        let typed = self.expr(expr)?;
        let typed = self.coerce_unknown(typed)?;
        if let Some(index) = items.iter().position(|item| item.typed == typed) {
            return Ok(Target::Output(index));
        }
        Ok(Target::Input(typed))
    }

    /// A Window node for each partitioning and order.
    fn windows_over(&mut self, mut plan: LogicalPlan, groups: &super::group::Groups) -> Result<LogicalPlan> {
        let windows = std::mem::take(&mut self.level()?.windows);
        let visible = self.level()?.scope.visible.clone();
        let ties = self.tie_keys(groups.key().unwrap_or(&visible));
        let mut batches: Vec<(Expr, Vec<Expr>)> = Vec::new();
        for (expr, name) in windows {
            let expr = numbered_by(self.regroup(expr, groups)?, &ties);
            let same = |other: &Expr| match (other, &expr) {
                (Expr::WindowFunction(a), Expr::WindowFunction(b)) => {
                    a.params.partition_by == b.params.partition_by && a.params.order_by == b.params.order_by
                }
                _ => false,
            };
            let aliased = expr.clone().alias(name);
            match batches.iter_mut().find(|(first, _)| same(first)) {
                Some((_, batch)) => batch.push(aliased),
                None => batches.push((expr, vec![aliased])),
            }
        }
        for (_, batch) in batches {
            plan = LogicalPlan::Window(Window::try_new(batch, Arc::new(plan))?);
        }
        Ok(plan)
    }

    /// An Unnest node for the set-returning functions of the select list, side by side.
    fn series_over(&mut self, plan: LogicalPlan, groups: &super::group::Groups) -> Result<LogicalPlan> {
        let mut series = std::mem::take(&mut self.level()?.series);
        for (expr, _) in &mut series {
            *expr = self.regroup(std::mem::take(expr), groups)?;
        }
        unnested_beside(plan, series)
    }
}

/// The rows with the elements of arrays beside them.
pub(super) fn unnested_beside(plan: LogicalPlan, arrays: Vec<(Expr, String)>) -> Result<LogicalPlan> {
    if arrays.is_empty() {
        return Ok(plan);
    }
    let mut exprs = pass_through(&plan);
    let mut names = Vec::with_capacity(arrays.len());
    for (expr, name) in arrays {
        exprs.push(expr.alias(&name));
        names.push(name);
    }
    unnest(project(Arc::new(plan), exprs)?, &names, false)
}

/// Rows that row_number()'s order leaves equal are numbered by their columns, so that the answer is one and the same always.
fn numbered_by(mut expr: Expr, ties: &[Expr]) -> Expr {
    let Expr::WindowFunction(call) = &mut expr else { return expr };
    if call.fun.name() != "row_number" {
        return expr;
    }
    let params = &mut call.params;
    let unordered = params.order_by.is_empty();
    for column in ties {
        if !params.order_by.iter().any(|key| key.expr == *column) && !params.partition_by.contains(column) {
            params.order_by.push(SortKey::new(column.clone(), true, true));
        }
    }
    if unordered && !params.order_by.is_empty() && params.window_frame == WindowFrame::new(None) {
        params.window_frame = WindowFrame::new(Some(false));
    }
    expr
}

/// What an item of ORDER BY or DISTINCT ON means.
enum Target {
    Output(usize),
    Input(Typed),
}

/// The first row of each `on` in the order of `keys`, which must begin with them.
fn distinct_on(plan: LogicalPlan, on: Vec<Expr>, keys: &[SortKey], ties: &[Expr]) -> Result<LogicalPlan> {
    let leading = keys.iter().take(on.len()).all(|key| on.contains(&key.expr));
    let enough = keys.len() >= on.iter().filter(|column| keys.iter().any(|key| key.expr == **column)).count();
    if !leading || !enough {
        let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
        return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    // DataFusion wants the ON expressions first, then the rest; ties by the whole row.
    let mut sort: Vec<SortKey> = Vec::with_capacity(keys.len() + ties.len());
    for column in &on {
        let given = keys.iter().find(|key| key.expr == *column).cloned();
        sort.push(given.unwrap_or_else(|| SortKey::new(column.clone(), true, false)));
    }
    for key in keys.iter().cloned().chain(ties.iter().map(|column| SortKey::new(column.clone(), true, true))) {
        if !sort.iter().any(|other| other.expr == key.expr) {
            sort.push(key);
        }
    }
    let select = pass_through(&plan);
    let node = DistinctOn::try_new(on, select, Some(sort), Arc::new(plan))?;
    Ok(LogicalPlan::Distinct(Distinct::On(node)))
}

/// Clauses of other dialects that the parser takes.
fn refuse_foreign(select: &ast::Select) -> Result<()> {
    let (construct, hint) = if select.top.is_some() {
        ("TOP", "Write LIMIT n at the end.")
    } else if select.into.is_some() {
        ("SELECT INTO", "Write CREATE MATERIALIZED VIEW name AS SELECT ...")
    } else if select.qualify.is_some() {
        (
            "QUALIFY",
            "Filter in an outer query: SELECT ... FROM (SELECT *, row_number() OVER (...) AS n FROM t) q WHERE n = 1.",
        )
    } else if !select.lateral_views.is_empty() {
        ("LATERAL VIEW", "Write CROSS JOIN unnest(list).")
    } else if !select.cluster_by.is_empty() || !select.distribute_by.is_empty() || !select.sort_by.is_empty() {
        ("CLUSTER BY, DISTRIBUTE BY or SORT BY", "Write ORDER BY.")
    } else if !select.connect_by.is_empty() {
        ("CONNECT BY", "Write out as many levels as you need as joins.")
    } else {
        return Ok(());
    };
    Err(Error::unsupported(construct, hint))
}

/// The name Postgres gives an output column without an alias.
pub(super) fn column_name(expr: &ast::Expr) -> String {
    figured_name(expr).map_or_else(|| "?column?".to_string(), |(name, _)| name)
}

/// A name with whether it is a strong one: a weak one (a literal's type, CASE) gives way to a cast around it.
fn figured_name(expr: &ast::Expr) -> Option<(String, bool)> {
    use ast::Expr as E;
    let strong = |name: &str| Some((name.to_string(), true));
    let weak = |name: &str| Some((name.to_string(), false));
    match expr {
        E::Identifier(ident) => strong(&fold(ident)),
        E::CompoundIdentifier(idents) => strong(&fold(idents.last()?)),
        E::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                ast::AccessExpr::Dot(E::Identifier(name)) => Some((fold(name), true)),
                _ => None,
            });
            field.or_else(|| figured_name(root))
        }
        E::Nested(inner) | E::Collate { expr: inner, .. } => figured_name(inner),
        E::Function(function) => strong(&fold(function.name.0.last()?.as_ident()?)),
        E::Cast { expr, data_type, .. } => match figured_name(expr) {
            Some((name, true)) => strong(&name),
            weaker => type_name(data_type).map(|name| (name, false)).or(weaker),
        },
        E::TypedString(typed) => weak(&type_name(&typed.data_type)?),
        E::Interval(_) => weak("interval"),
        E::Value(value) if matches!(value.value, ast::Value::Boolean(_)) => weak("bool"),
        E::Case { else_result, .. } => match else_result.as_deref().and_then(figured_name) {
            Some((name, true)) => strong(&name),
            _ => weak("case"),
        },
        E::Exists { negated: false, .. } => strong("exists"),
        E::BinaryOp { op: ast::BinaryOperator::Overlaps, .. } => strong("overlaps"),
        E::Array(_) => strong("array"),
        E::Tuple(_) => strong("row"),
        E::Extract { .. } => strong("extract"),
        E::AtTimeZone { .. } => strong("timezone"),
        E::Ceil { .. } => strong("ceil"),
        E::Floor { .. } => strong("floor"),
        E::Position { .. } => strong("position"),
        E::Substring { shorthand: true, .. } => strong("substr"),
        E::Substring { .. } => strong("substring"),
        E::Overlay { .. } => strong("overlay"),
        E::Trim { trim_where, .. } => strong(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        E::Subquery(query) => match query.body.as_ref() {
            ast::SetExpr::Select(select) => match select.projection.first()? {
                ast::SelectItem::UnnamedExpr(expr) => figured_name(expr),
                ast::SelectItem::ExprWithAlias { alias, .. } => strong(&fold(alias)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// A type's short name: int4, timestamptz.
fn type_name(ty: &ast::DataType) -> Option<String> {
    let mut ty = crate::sql::registry::parse_type(ty).ok()?;
    if let Type::Array(item) = ty {
        ty = *item;
    }
    Some(ty.type_name())
}
