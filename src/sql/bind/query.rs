//! A query around its SELECTs: WITH, UNION / INTERSECT / EXCEPT, VALUES, ORDER BY, LIMIT.

use std::sync::Arc;

use datafusion::common::{Column as PlanColumn, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::expr::{Case, Sort as SortKey};
use datafusion::logical_expr::{
    Cast, Expr, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Sort, Union, Values, lit,
};
use sqlparser::ast;

use super::call::directed;
use super::expr::{balanced, position};
use super::from::{From, named_table, pass_through};
use super::ordered::has_order;
use super::scope::{Scope, ScopeColumn, column_expr, place};
use super::{Binder, Clause, Output, deep, project};
use crate::error::{Error, Result, SqlState};
use crate::operators::spec::SetOpKind;
use crate::sql::plan::ranked;
use crate::sql::refusals;
use crate::sql::registry::{self, CastContext, Typed};
use crate::sql::row_count::{MORE_THAN_ALL, RowCount};
use crate::sql::statement::fold;
use crate::sql::subquery::has_subquery;
use crate::types::Type;

/// A name of WITH, bound once; each reference renames its columns.
#[derive(Clone)]
pub(super) struct Cte {
    pub name: String,
    pub plan: LogicalPlan,
    pub columns: Vec<ScopeColumn>,
    /// It is being defined: a recursive query as its own recursive term sees it.
    pub unfinished: bool,
}

/// Nobody waits for another's rows here, so a lock could only be checked at COMMIT, and that knows of rows that have changed only.
const LOCKS_HINT: &str = "Leave it out: of two transactions that change the same row the second to COMMIT fails (40001), and can be run \
                          again. To guard a row that is only read, change a column of it.";

impl Binder<'_> {
    pub(super) fn query(&mut self, query: &ast::Query) -> Result<Output> {
        deep(|| self.query_here(query))
    }

    fn query_here(&mut self, query: &ast::Query) -> Result<Output> {
        let outer_ctes = self.ctes.len();
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        if let Some(lock) = query.locks.first() {
            return Err(match self.context.for_view {
                true => refusals::LOCKS.error(),
                false => Error::unsupported(format!("FOR {}", lock.lock_type), LOCKS_HINT),
            });
        }
        let result = self.query_body(query);
        self.ctes.truncate(outer_ctes);
        result
    }

    pub(super) fn with(&mut self, with: &ast::With) -> Result<()> {
        let before = self.ctes.len();
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name);
            if self.ctes[before..].iter().any(|other| other.name == name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                return Err(Error::new(SqlState::DUPLICATE_ALIAS, message).or_position(place(&cte.alias.name)));
            }
            let output = match with.recursive && mentions(&cte.query, &name) {
                true => self.recursive(cte, &name).map_err(|error| error.or_position(place(&cte.alias.name)))?,
                false => {
                    let output = self.query(&cte.query)?;
                    self.resolve_unknown(output)?
                }
            };
            let table = named_table(Some(&cte.alias), None, output.columns)?;
            self.ctes.push(Cte { name, plan: output.plan, columns: table.columns, unfinished: false });
        }
        Ok(())
    }

    /// The rows of a WITH query under names that no other reference has.
    pub(super) fn cte_reference(&mut self, cte: Cte, alias: Option<&ast::TableAlias>) -> Result<From> {
        let mut exprs = Vec::with_capacity(cte.columns.len());
        let mut columns = Vec::with_capacity(cte.columns.len());
        for column in &cte.columns {
            let internal = self.fresh(&column.name);
            self.same_origin(&internal, &column.expr());
            exprs.push(column.expr().alias(&internal));
            columns.push(ScopeColumn { name: column.name.clone(), ty: column.ty.clone(), internal });
        }
        let plan = project(Arc::new(cte.plan), exprs)?;
        let mut table = named_table(alias, None, columns)?;
        table.name.get_or_insert(cte.name);
        Ok(From { plan, scope: Scope::of_table(table), lateral: false })
    }

    fn query_body(&mut self, query: &ast::Query) -> Result<Output> {
        let empty = Vec::new();
        let order_by = match &query.order_by {
            None => &empty,
            Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(items), .. }) => items,
            Some(_) => return Err(Error::internal("the dialect has no ORDER BY ALL")),
        };
        let limit = self.limit_of(query)?;
        match query.body.as_ref() {
            ast::SetExpr::Select(select) => self.select(select, order_by, limit),
            // Brackets: the inner query's clauses apply first.
            ast::SetExpr::Query(inner) if order_by.is_empty() && limit.is_none() => self.query(inner),
            body => {
                let output = self.set_expr(body)?;
                self.order_output(output, order_by, limit)
            }
        }
    }

    pub(super) fn set_expr(&mut self, body: &ast::SetExpr) -> Result<Output> {
        deep(|| match body {
            ast::SetExpr::Select(select) => self.select(select, &[], LimitSpec::default()),
            ast::SetExpr::Query(query) => self.query(query),
            ast::SetExpr::Values(values) => self.values(values),
            ast::SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.set_operation(left, op, set_quantifier, right)
            }
            ast::SetExpr::Table(table) => {
                let mut name = table.table_name.clone().unwrap_or_default();
                if let Some(schema) = &table.schema_name {
                    name = format!("{schema}.{name}");
                }
                let query = crate::sql::parse::parse_query(&format!("SELECT * FROM {name}"))?;
                self.query(&query)
            }
            _ => Err(Error::unsupported("a data-modifying statement in WITH", "Run it as a statement of its own.")),
        })
    }

    fn set_operation(
        &mut self,
        left: &ast::SetExpr,
        op: &ast::SetOperator,
        quantifier: &ast::SetQuantifier,
        right: &ast::SetExpr,
    ) -> Result<Output> {
        let (word, kind) = match op {
            ast::SetOperator::Union => ("UNION", None),
            ast::SetOperator::Intersect => ("INTERSECT", Some(SetOpKind::Intersect)),
            ast::SetOperator::Except | ast::SetOperator::Minus => ("EXCEPT", Some(SetOpKind::Except)),
        };
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
            _ => return Err(Error::unsupported(format!("{word} BY NAME"), "List the columns in the same order.")),
        };
        let (left, right) = (self.set_expr(left)?, self.set_expr(right)?);
        if left.columns.len() != right.columns.len() {
            let message = format!("each {word} query must have the same number of columns");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        let mut types = Vec::with_capacity(left.columns.len());
        for (l, r) in literals(&left).into_iter().zip(literals(&right)) {
            types.push(registry::common_type_of(&[l, r], word)?);
        }
        let mut left = self.cast_output(left, &types, CastContext::Implicit)?;
        let mut right = self.cast_output(right, &types, CastContext::Implicit)?;
        if types.is_empty() {
            (left, right) = (self.with_a_column(left)?, self.with_a_column(right)?);
        }
        let mut columns = left.columns.clone();
        let plan = match kind {
            None => {
                let (mut inputs, names) = union_inputs(left.plan, &columns);
                // Inputs of a union share their columns' names.
                let exprs = right.columns.iter().zip(&names).map(|(r, name)| r.expr().alias(name)).collect();
                inputs.push(Arc::new(project(Arc::new(right.plan), exprs)?));
                columns.iter_mut().zip(names).for_each(|(column, name)| column.internal = name);
                let union = LogicalPlan::Union(Union::try_new(inputs)?);
                if all { union } else { self.distinct_rows(union, &columns)? }
            }
            Some(kind) => self.set_rows(left, right, kind, all)?,
        };
        // A projection of its own gives the result names that no rule confuses with an input's.
        let mut exprs = Vec::with_capacity(columns.len());
        let mut renamed = Vec::with_capacity(columns.len());
        for column in columns {
            let internal = self.fresh(&column.name);
            exprs.push(column.expr().alias(&internal));
            renamed.push(ScopeColumn { internal, ..column });
        }
        if types.is_empty() {
            renamed.clear();
        }
        Ok(Output { plan: project(Arc::new(plan), exprs)?, columns: renamed })
    }

    /// Rows that have no columns with one, the same in all of them.
    fn with_a_column(&mut self, output: Output) -> Result<Output> {
        let internal = self.fresh("nothing");
        let plan = project(Arc::new(output.plan), vec![lit(true).alias(&internal)])?;
        Ok(Output { plan, columns: vec![ScopeColumn { name: "nothing".to_string(), ty: Type::Bool, internal }] })
    }

    fn values(&mut self, values: &ast::Values) -> Result<Output> {
        let rows: Vec<&Vec<ast::Expr>> = values.rows.iter().map(|row| &row.content).collect();
        let width = rows.first().map_or(0, |row| row.len());
        if let Some(short) = rows.iter().find(|row| row.len() != width) {
            let at = short.first().and_then(position);
            return Err(Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length").or_position(at));
        }
        let mut bound: Vec<Vec<Typed>> = Vec::with_capacity(rows.len());
        self.push_level(Scope::default(), Clause::Values);
        let result: Result<()> = rows.iter().try_for_each(|row| {
            bound.push(row.iter().map(|expr| self.expr(expr)).collect::<Result<_>>()?);
            Ok(())
        });
        self.levels.pop();
        result?;
        let mut types = Vec::with_capacity(width);
        for column in 0..width {
            let cells = bound.iter().zip(&rows).map(|(typed, row)| (&typed[column], position(&row[column])));
            types.push(self.common(cells, "VALUES")?);
        }
        let columns = (1..=width).map(|n| format!("column{n}")).collect::<Vec<_>>();
        self.values_of(bound, &types, &columns, CastContext::Implicit)
    }

    /// A plan of constant rows, cast to these types.
    pub(super) fn values_of(
        &mut self,
        rows: Vec<Vec<Typed>>,
        types: &[Type],
        names: &[String],
        context: CastContext,
    ) -> Result<Output> {
        let mut cells = Vec::with_capacity(rows.len());
        for row in rows {
            let mut cast = Vec::with_capacity(row.len());
            for (typed, ty) in row.into_iter().zip(types) {
                cast.push(self.coerce(typed, ty, context)?.expr);
            }
            cells.push(cast);
        }
        let mut fields = Vec::with_capacity(types.len());
        let mut columns = Vec::with_capacity(types.len());
        for (name, ty) in names.iter().zip(types) {
            let internal = self.fresh(name);
            fields.push(arrow::datatypes::Field::new(&internal, ty.arrow(), true));
            columns.push(ScopeColumn { name: name.clone(), ty: ty.clone(), internal });
        }
        let schema = datafusion::common::DFSchema::from_unqualified_fields(fields.into(), Default::default())?;
        let schema = Arc::new(schema);
        // What reads something is no constant.
        let plan = match cells.iter().flatten().any(has_subquery) {
            true => numbered_rows(cells, &schema)?,
            false => LogicalPlan::Values(Values { schema, values: cells }),
        };
        Ok(Output { plan, columns })
    }

    /// ORDER BY and LIMIT over a query's output columns: after UNION and VALUES.
    fn order_output(&mut self, output: Output, order_by: &[ast::OrderByExpr], limit: LimitSpec) -> Result<Output> {
        let mut keys = Vec::with_capacity(order_by.len());
        for item in order_by {
            let column = match output_ordinal(&item.expr, output.columns.len(), "ORDER BY")? {
                Some(index) => &output.columns[index],
                None => {
                    let name = match &item.expr {
                        ast::Expr::Identifier(ident) => Some(fold(ident)),
                        _ => None,
                    };
                    let found =
                        name.as_ref().and_then(|name| output.columns.iter().find(|column| column.name == *name));
                    match (found, name) {
                        (Some(column), _) => column,
                        (None, Some(name)) => {
                            let message = format!("column \"{name}\" does not exist");
                            return Err(
                                Error::new(SqlState::UNDEFINED_COLUMN, message).or_position(position(&item.expr))
                            );
                        }
                        (None, None) => {
                            return Err(Error::new(
                                SqlState::FEATURE_NOT_SUPPORTED,
                                "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                            )
                            .with_detail("Only result column names can be used, not expressions or functions.")
                            .with_hint(
                                "Add the expression/function to every SELECT, or move the UNION into a FROM clause.",
                            )
                            .or_position(position(&item.expr)));
                        }
                    }
                }
            };
            keys.push(directed(self.order(column.typed()).expr, &item.options));
        }
        let ties = self.tie_keys(&output.columns);
        let plan = self.sort_and_limit(output.plan, keys, &ties, limit)?;
        Ok(Output { plan, columns: output.columns })
    }

    /// Sorts and cuts: by the order of the query inside where there is no other. Rows that a LIMIT has to choose between are
    /// told apart by all their columns.
    pub(super) fn sort_and_limit(
        &mut self,
        plan: LogicalPlan,
        mut keys: Vec<SortKey>,
        columns: &[Expr],
        limit: LimitSpec,
    ) -> Result<LogicalPlan> {
        let mut plan = plan;
        let mut limit = limit;
        if limit.with_ties
            && let Some(count) = limit.limit.take()
        {
            plan = self.with_ties(plan, &keys, columns, *count, limit.offset.take())?;
        }
        let mut outputs = None;
        if keys.is_empty() && !limit.is_none() {
            match self.ordered(&plan)? {
                Some(ordered) => {
                    outputs = Some(pass_through(&plan));
                    (plan, keys) = (ordered.plan, ordered.keys);
                }
                None if self.context.for_view && has_order(&plan) => return Err(refusals::ORDER.error()),
                None => {}
            }
        }
        if (!limit.is_none() || limit.with_ties) && (self.context.for_view || !keys.is_empty()) {
            for column in columns {
                if !keys.iter().any(|key| key.expr == *column) {
                    keys.push(SortKey::new(column.clone(), true, true));
                }
            }
        }
        if !keys.is_empty() {
            plan = LogicalPlan::Sort(Sort { expr: keys, input: Arc::new(plan), fetch: None });
        }
        if !limit.is_none() {
            let fetch = match limit.limit {
                // In reads a Limit without a fetch does not keep the order that it needs.
                None if !self.context.for_view => Some(Box::new(lit(MORE_THAN_ALL))),
                fetch => fetch,
            };
            plan = LogicalPlan::Limit(Limit { skip: limit.offset, fetch, input: Arc::new(plan) });
        }
        match outputs {
            Some(outputs) => project(Arc::new(plan), outputs),
            None => Ok(plan),
        }
    }

    /// The rows of the first `count` places of the order, after `offset`: as many rows as share the last place.
    fn with_ties(
        &mut self,
        plan: LogicalPlan,
        keys: &[SortKey],
        columns: &[Expr],
        count: Expr,
        offset: Option<Box<Expr>>,
    ) -> Result<LogicalPlan> {
        let all = pass_through(&plan);
        let rank = self.fresh("rank");
        let mut plan = ranked(plan, datafusion::functions_window::rank::rank_udwf(), keys.to_vec(), &rank)?;
        let place = |name: &str| Expr::Cast(Cast::new(Box::new(column_expr(name)), Type::Int8.arrow()));
        let mut conditions = Vec::new();
        if !matches!(&count, Expr::Literal(ScalarValue::Int64(Some(count)), _) if *count > 0) {
            conditions.push(count.clone().gt(Expr::Literal(ScalarValue::Int64(Some(0)), None)));
        }
        let last = match offset {
            None => count,
            Some(_) if self.context.for_view => {
                return Err(refusals::TIES.error());
            }
            Some(offset) => {
                let mut order = keys.to_vec();
                order.extend(columns.iter().map(|column| SortKey::new(column.clone(), true, true)));
                let number = self.fresh("row_number");
                let row_number = datafusion::functions_window::row_number::row_number_udwf();
                plan = ranked(plan, row_number, order, &number)?;
                conditions.push(place(&number).gt(offset.as_ref().clone()));
                count + *offset
            }
        };
        conditions.push(place(&rank).lt_eq(last));
        let plan = LogicalPlan::Filter(Filter::try_new(balanced(conditions, Operator::And), Arc::new(plan))?);
        project(Arc::new(plan), all)
    }

    fn limit_of(&mut self, query: &ast::Query) -> Result<LimitSpec> {
        let (limit, offset) = match &query.limit_clause {
            None => (None, None),
            // The dialect has no LIMIT BY.
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by: _ }) => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(ast::LimitClause::OffsetCommaLimit { .. }) => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "LIMIT #,# syntax is not supported")
                    .with_hint("Use separate LIMIT and OFFSET clauses."));
            }
        };
        let fetch = match &query.fetch {
            None => None,
            Some(fetch) if fetch.percent => {
                return Err(Error::unsupported("FETCH ... PERCENT", "Filter by percent_rank() in an outer query."));
            }
            Some(fetch) => Some(match &fetch.quantity {
                Some(quantity) => self.row_count(quantity, RowCount::Limit)?,
                None => Some(Box::new(Expr::Literal(ScalarValue::Int64(Some(1)), None))),
            }),
        };
        let limit = match limit {
            Some(limit) => self.row_count(limit, RowCount::Limit)?,
            None => fetch.flatten(),
        };
        let offset = match offset {
            Some(offset) => self.row_count(offset, RowCount::Offset)?,
            None => None,
        };
        let with_ties = query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties);
        if with_ties && query.order_by.is_none() {
            let message = "WITH TIES cannot be specified without ORDER BY clause";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        Ok(LimitSpec { limit, offset, with_ties })
    }

    /// A count of rows; `None` for NULL and ALL.
    fn row_count(&mut self, expr: &ast::Expr, count: RowCount) -> Result<Option<Box<Expr>>> {
        let at = position(expr);
        if let ast::Expr::Identifier(ident) = expr
            && ident.quote_style.is_none()
            && ident.value.eq_ignore_ascii_case("all")
        {
            return Ok(None);
        }
        let typed =
            self.with_level(Scope::default(), Clause::Limit, |binder| binder.expr(expr)).map_err(
                |error| match error.state() {
                    SqlState::UNDEFINED_COLUMN => Error::new(
                        SqlState::INVALID_COLUMN_REFERENCE,
                        format!("argument of {} must not contain variables", count.word()),
                    )
                    .or_position(error.position()),
                    _ => error,
                },
            )?;
        let typed = self.coerce(typed, &Type::Int8, CastContext::Assignment).map_err(|error| error.or_position(at))?;
        match fold_constant(typed.expr)? {
            Expr::Literal(ScalarValue::Int64(rows), _) => count.literal(rows),
            _ if self.context.for_view => Err(refusals::LIMIT.error().or_position(at)),
            other => Ok(Some(Box::new(other))),
        }
    }
}

/// The value of an expression over constants, where it can be had now.
fn fold_constant(expr: Expr) -> Result<Expr> {
    use datafusion::logical_expr::simplify::SimplifyContext;
    use datafusion::optimizer::simplify_expressions::ExprSimplifier;
    if matches!(expr, Expr::Literal(..) | Expr::Placeholder(_) | Expr::ScalarSubquery(_)) {
        return Ok(expr);
    }
    let context = SimplifyContext::default();
    Ok(ExprSimplifier::new(context).simplify(expr)?)
}

/// LIMIT and OFFSET, as bigint expressions without columns.
#[derive(Clone, Debug, Default)]
pub(super) struct LimitSpec {
    pub limit: Option<Box<Expr>>,
    pub offset: Option<Box<Expr>>,
    /// The last row's equals come too.
    pub with_ties: bool,
}

impl LimitSpec {
    pub fn is_none(&self) -> bool {
        self.limit.is_none() && self.offset.is_none()
    }
}

/// The inputs of a UNION's left side, and their columns' names. What is a UNION ALL under new names gives its own inputs: a
/// chain of them is one node, which rules walk once.
fn union_inputs(left: LogicalPlan, columns: &[ScopeColumn]) -> (Vec<Arc<LogicalPlan>>, Vec<String>) {
    if let LogicalPlan::Projection(projection) = &left
        && let LogicalPlan::Union(union) = projection.input.as_ref()
    {
        let names: Vec<String> = union.schema.fields().iter().map(|field| field.name().clone()).collect();
        let renamed = |(expr, name): (&Expr, &String)| match expr {
            Expr::Alias(alias) => matches!(alias.expr.as_ref(), Expr::Column(column) if column.name == *name),
            _ => false,
        };
        if projection.expr.len() == names.len() && projection.expr.iter().zip(&names).all(renamed) {
            return (union.inputs.clone(), names);
        }
    }
    let names = columns.iter().map(|column| column.internal.clone()).collect();
    (vec![Arc::new(left)], names)
}

/// `ORDER BY 2`: the index of an output column. 42P10 when there is none, 42601 for another constant.
pub(super) fn output_ordinal(expr: &ast::Expr, outputs: usize, clause: &str) -> Result<Option<usize>> {
    let ast::Expr::Value(ast::ValueWithSpan { value, .. }) = expr else { return Ok(None) };
    match value {
        ast::Value::Number(digits, _) => match digits.parse::<usize>() {
            Ok(place) if (1..=outputs).contains(&place) => Ok(Some(place - 1)),
            Ok(place) => {
                let message = format!("{clause} position {place} is not in select list");
                Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message).or_position(position(expr)))
            }
            Err(_) => Err(Error::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}"))
                .or_position(position(expr))),
        },
        ast::Value::Placeholder(_) => Ok(None),
        _ => {
            Err(Error::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}"))
                .or_position(position(expr)))
        }
    }
}

/// Whether a query, or a part of one, names this relation anywhere.
pub(super) fn mentions(query: &impl ast::Visit, name: &str) -> bool {
    count(query, name) > 0
}

/// How often a query, or a part of one, names this relation.
pub(super) fn count(query: &impl ast::Visit, name: &str) -> usize {
    let mut found = 0;
    let _: std::ops::ControlFlow<()> = ast::visit_relations(query, |relation| {
        if let [ast::ObjectNamePart::Identifier(ident)] = relation.0.as_slice() {
            found += usize::from(fold(ident) == name);
        }
        std::ops::ControlFlow::Continue(())
    });
    found
}

/// Rows with subqueries in them: numbers, and for each its row's cells.
fn numbered_rows(rows: Vec<Vec<Expr>>, schema: &DFSchemaRef) -> Result<LogicalPlan> {
    let numbers = LogicalPlanBuilder::values((0..rows.len()).map(|row| vec![lit(row as i64)]).collect())?.build()?;
    let number = Expr::Column(PlanColumn::from(numbers.schema().qualified_field(0)));
    let mut columns: Vec<Vec<(Box<Expr>, Box<Expr>)>> = vec![Vec::with_capacity(rows.len()); schema.fields().len()];
    for (row, cells) in rows.into_iter().enumerate() {
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.push((Box::new(lit(row as i64)), Box::new(cell)));
        }
    }
    let cell = |cells| Expr::Case(Case::new(Some(Box::new(number.clone())), cells, None));
    let columns = columns.into_iter().zip(schema.fields()).map(|(cells, field)| cell(cells).alias(field.name()));
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(numbers))?))
}

/// The columns of a query; one without a type is the literal that it selects, which tells NULL from a text.
pub(super) fn literals(output: &Output) -> Vec<Typed> {
    let mut columns = output.typed();
    let LogicalPlan::Projection(projection) = &output.plan else { return columns };
    for (column, typed) in output.columns.iter().zip(&mut columns) {
        let selected = projection.expr.iter().find_map(|expr| match expr {
            Expr::Alias(alias) if alias.name == column.internal => Some(alias.expr.as_ref()),
            _ => None,
        });
        if typed.ty == Type::Unknown
            && let Some(literal @ Expr::Literal(..)) = selected
        {
            typed.expr = literal.clone();
        }
    }
    columns
}
