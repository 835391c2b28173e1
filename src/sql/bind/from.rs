//! FROM: relations, subqueries, joins with ON, USING and NATURAL, LATERAL.

use std::sync::Arc;

use datafusion::common::{JoinConstraint, JoinType, NullEquality, TableReference};
use datafusion::logical_expr::{Case, Expr, Filter, Join, LogicalPlan, Operator, TableScanBuilder};
use sqlparser::ast;

use super::expr::{balanced, position};
use super::names::relation_name;
use super::scope::{Presence, Scope, ScopeColumn, ScopeTable, Source, alias_name, column_expr, place};
use super::{Binder, Clause, Output, project, subquery};
use crate::catalog::{PG_CATALOG, Relation, RelationKind, system};
use crate::error::{Error, Result, SqlState};
use crate::sql::registry::{self, CastContext, Typed};
use crate::sql::statement::fold;
use crate::sql::{Origin, RelationSource};

/// Views may name views, this deep.
const MAX_VIEW_DEPTH: usize = 64;

/// A FROM clause, or a part of it: rows and the names that lead to their columns.
pub(super) struct From {
    pub plan: LogicalPlan,
    pub scope: Scope,
    /// It names columns of what stands to its left: a join with it is an apply.
    pub lateral: bool,
}

impl Binder<'_> {
    /// The whole clause; without one, a single row without columns.
    pub(super) fn from(&mut self, tables: &[ast::TableWithJoins]) -> Result<From> {
        let mut result: Option<From> = None;
        for table in tables {
            result = Some(match result {
                None => self.table_with_joins(table, None)?,
                Some(left) => {
                    let right = self.table_with_joins(table, Some(&left.scope))?;
                    cross(left, right)?
                }
            });
        }
        Ok(result.unwrap_or_else(|| From { plan: subquery::one_row(), scope: Scope::default(), lateral: false }))
    }

    /// `left` is what LATERAL sees besides the joins' own left sides.
    fn table_with_joins(&mut self, table: &ast::TableWithJoins, left: Option<&Scope>) -> Result<From> {
        let mut result = self.factor(&table.relation, left)?;
        for join in &table.joins {
            let sees = match left {
                Some(left) => left.clone().join(result.scope.clone())?,
                None => result.scope.clone(),
            };
            let right = self.factor(&join.relation, Some(&sees))?;
            result = self.hiding(left, |binder| binder.join(result, right, &join.join_operator))?;
        }
        Ok(result)
    }

    /// Binds what can't see the tables to its left.
    fn hiding<T>(&mut self, left: Option<&Scope>, bind: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.hidden.len();
        self.hidden.extend(left.cloned());
        let result = bind(self);
        self.hidden.truncate(before);
        result
    }

    fn factor(&mut self, factor: &ast::TableFactor, left: Option<&Scope>) -> Result<From> {
        use ast::TableFactor as T;
        super::deep(|| match factor {
            T::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.function_in_from(name, &args.args, alias.as_ref(), *with_ordinality, left)
            }
            T::Table { name, alias, sample: None, version: None, .. } => self.table(name, alias.as_ref()),
            T::Table { name, .. } => Err(Error::unsupported("TABLESAMPLE or a table's version", "Leave it out.")
                .or_position(name.0.first().and_then(|part| part.as_ident()).and_then(place))),
            T::Function { name, args, alias, with_ordinality, .. } => {
                self.function_in_from(name, args, alias.as_ref(), *with_ordinality, left)
            }
            T::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                self.unnest_in_from(array_exprs, alias.as_ref(), *with_ordinality, left)
            }
            T::Derived { lateral: true, subquery, alias, .. } => self.derived(subquery, alias.as_ref(), left),
            T::Derived { subquery, alias, .. } => {
                self.hiding(left, |binder| binder.derived(subquery, alias.as_ref(), None))
            }
            T::NestedJoin { table_with_joins, alias } => {
                let inner = self.table_with_joins(table_with_joins, left)?;
                match alias {
                    None => Ok(inner),
                    // The alias hides the names inside.
                    Some(alias) => {
                        let columns = inner.scope.visible;
                        let mut table = named_table(Some(alias), None, columns)?;
                        table.presence = Presence::Made;
                        Ok(From { plan: inner.plan, scope: Scope::of_table(table), lateral: inner.lateral })
                    }
                }
            }
            other => {
                let shown: String = other.to_string().chars().take(40).collect();
                Err(Error::unsupported(
                    format!("{shown} in FROM"),
                    "Use relations, subqueries, joins and table functions.",
                ))
            }
        })
    }

    /// A relation or a CTE.
    fn table(&mut self, name: &ast::ObjectName, alias: Option<&ast::TableAlias>) -> Result<From> {
        let parts = relation_name(name)?;
        if parts.schema.is_none()
            && let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == parts.name).cloned()
        {
            return self.cte_reference(cte, alias);
        }
        let relation = self.relation(name)?;
        self.relation_in_from(&relation, alias).map_err(|error| error.or_position(parts.position))
    }

    /// pg_show_all_settings(), whose rows are those of pg_settings.
    pub(super) fn settings(&mut self, name: &str, alias: Option<&ast::TableAlias>) -> Result<From> {
        let relation = system::by_name(PG_CATALOG, "pg_settings").ok_or_else(|| Error::internal("no pg_settings"))?;
        let (plan, columns) = self.scan(relation, false)?;
        Ok(From { plan, scope: Scope::of_table(aliased(alias, (name, PG_CATALOG), columns)?), lateral: false })
    }

    fn relation_in_from(&mut self, relation: &Arc<Relation>, alias: Option<&ast::TableAlias>) -> Result<From> {
        let default = (relation.name.as_str(), relation.schema.as_str());
        match &relation.kind {
            RelationKind::View(view) => {
                let output = self.expand_view(relation, view)?;
                let table = aliased(alias, default, output.columns)?;
                Ok(From { plan: output.plan, scope: Scope::of_table(table), lateral: false })
            }
            RelationKind::Index(_) => {
                let message = format!("cannot open relation \"{}\"", relation.name);
                Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message)
                    .with_detail("This operation is not supported for indexes."))
            }
            _ => {
                let (plan, columns) = self.scan(relation, false)?;
                let mut table = aliased(alias, default, columns)?;
                table.key = relation
                    .key_columns()
                    .iter()
                    .filter_map(|key| table.columns.get(*key))
                    .map(|column| column.internal.clone())
                    .collect();
                table.relation = Some(Source { name: relation.name.clone(), oid: relation.id.oid(), nullable: false });
                Ok(From { plan, scope: Scope::of_table(table), lateral: false })
            }
        }
    }

    /// The rows of a relation: its visible columns, or with `stored` the stored ones.
    pub(super) fn scan(&mut self, relation: &Arc<Relation>, stored: bool) -> Result<(LogicalPlan, Vec<ScopeColumn>)> {
        if !self.scanned.contains(&relation.id) {
            self.scanned.push(relation.id);
        }
        let schema = if stored { relation.stored_schema() } else { relation.schema_ref() };
        let source = RelationSource { relation: relation.clone(), schema: schema.clone() };
        let scan_name = self.fresh(&relation.name);
        let scan = TableScanBuilder::new(TableReference::bare(scan_name.as_str()), Arc::new(source)).build()?;
        let scan = LogicalPlan::TableScan(scan);
        let mut exprs = Vec::with_capacity(schema.fields().len());
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (index, field) in schema.fields().iter().enumerate() {
            let (name, ty) = match relation.columns.get(index) {
                Some(column) => (column.name.clone(), column.ty.unrounded()),
                // The hidden row id.
                None => (field.name().clone(), crate::types::Type::Int8),
            };
            let internal = self.fresh(if index < relation.columns.len() { &name } else { "row_id" });
            let column = datafusion::common::Column::new(Some(TableReference::bare(scan_name.as_str())), field.name());
            exprs.push(Expr::Column(column).alias(&internal));
            if index < relation.columns.len() {
                self.origins.insert(internal.clone(), Origin { relation: relation.id, column: index as i16 + 1 });
            }
            columns.push(ScopeColumn { name, ty, internal });
        }
        Ok((project(Arc::new(scan), exprs)?, columns))
    }

    /// A view's query, bound where the view was: with its search path and none of the names around.
    fn expand_view(&mut self, relation: &Relation, view: &crate::catalog::ViewDef) -> Result<Output> {
        if self.expanding >= MAX_VIEW_DEPTH {
            let message = format!("view \"{}\" is nested more than {MAX_VIEW_DEPTH} views deep", relation.name);
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, message));
        }
        let query = crate::sql::parse::parse_query(&view.query)?;
        let levels = std::mem::take(&mut self.levels);
        let ctes = std::mem::take(&mut self.ctes);
        let path = std::mem::replace(&mut self.search_path, view.search_path.clone());
        let among = self.among.replace(relation.depends_on.clone());
        let named = self.named.clone();
        self.expanding += 1;
        let bound = self.query(&query).and_then(|output| self.resolve_unknown(output));
        self.expanding -= 1;
        self.levels = levels;
        self.ctes = ctes;
        (self.search_path, self.among) = (path, among);
        // What the view names is its own business.
        self.named = named;
        let mut output = bound.map_err(|error| {
            // A position inside the view's text says nothing about the text sent.
            Error::new(error.state(), format!("view \"{}\": {}", relation.name, error.message()))
        })?;
        for (index, (column, declared)) in output.columns.iter_mut().zip(&relation.columns).enumerate() {
            column.name = declared.name.clone();
            // As in Postgres, a view's column is the view's.
            let origin = Origin { relation: relation.id, column: index as i16 + 1 };
            self.origins.insert(column.internal.clone(), origin);
        }
        Ok(output)
    }

    /// A subquery in FROM; with `left`, LATERAL.
    fn derived(&mut self, query: &ast::Query, alias: Option<&ast::TableAlias>, left: Option<&Scope>) -> Result<From> {
        let (output, lateral) = match left {
            None => (self.query(query)?, false),
            Some(left) => {
                self.push_level(left.clone(), Clause::From);
                let depth = self.levels.len();
                let output = self.query(query);
                self.levels.truncate(depth - 1);
                let output = output?;
                let lateral = !output.plan.all_out_ref_exprs().is_empty();
                (output, lateral)
            }
        };
        let output = self.resolve_unknown(output)?;
        let table = named_table(alias, None, output.columns)?;
        Ok(From { plan: output.plan, scope: Scope::of_table(table), lateral })
    }

    fn join(&mut self, left: From, right: From, operator: &ast::JoinOperator) -> Result<From> {
        use ast::JoinOperator as J;
        let (kind, constraint) = match operator {
            J::Join(constraint) | J::Inner(constraint) => (JoinType::Inner, constraint),
            J::Left(constraint) | J::LeftOuter(constraint) => (JoinType::Left, constraint),
            J::Right(constraint) | J::RightOuter(constraint) => (JoinType::Right, constraint),
            J::FullOuter(constraint) => (JoinType::Full, constraint),
            J::CrossJoin(_) => return cross(left, right),
            other => {
                let name = format!("{other:?}");
                let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
                return Err(Error::unsupported(
                    format!("{name} join"),
                    "Use INNER, LEFT, RIGHT, FULL or CROSS JOIN, IN or EXISTS.",
                ));
            }
        };
        if right.lateral && !matches!(kind, JoinType::Inner | JoinType::Left) {
            return Err(Error::new(
                SqlState::INVALID_COLUMN_REFERENCE,
                "invalid reference to FROM-clause entry in a LATERAL join",
            )
            .with_detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference."));
        }
        let (mut left, mut right) = (left, right);
        if matches!(kind, JoinType::Right | JoinType::Full) {
            left = self.may_miss(left)?;
        }
        if matches!(kind, JoinType::Left | JoinType::Full) {
            right = self.may_miss(right)?;
        }
        let names = match constraint {
            ast::JoinConstraint::On(condition) => {
                let scope = left.scope.clone().join(right.scope.clone())?;
                let condition = self.with_level(scope.clone(), Clause::Join, |binder| {
                    let typed = binder.expr(condition)?;
                    binder.condition(typed, "JOIN/ON").map_err(|error| error.or_position(position(condition)))
                })?;
                return self.join_on(left, right, kind, condition, scope);
            }
            ast::JoinConstraint::None => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "a join needs ON, USING or NATURAL")
                    .with_hint("Write CROSS JOIN for all pairs of rows."));
            }
            ast::JoinConstraint::Natural => {
                let right_names: Vec<&str> = right.scope.visible.iter().map(|column| column.name.as_str()).collect();
                let common = left.scope.visible.iter().filter(|column| right_names.contains(&column.name.as_str()));
                common.map(|column| (column.name.clone(), None)).collect::<Vec<_>>()
            }
            ast::JoinConstraint::Using(names) => names
                .iter()
                .filter_map(|name| name.0.last().and_then(|part| part.as_ident()))
                .map(|ident| (fold(ident), place(ident)))
                .collect(),
        };
        self.join_using(left, right, kind, names)
    }

    fn join_on(&mut self, left: From, right: From, kind: JoinType, condition: Expr, scope: Scope) -> Result<From> {
        let lateral = left.lateral;
        let plan = join_plan(left.plan, right, kind, Some(condition))?;
        Ok(From { plan, scope, lateral })
    }

    /// Columns of the same name are equal, and one: the left one, but where only the right side is preserved
    /// the right one, and of a full join whichever is there.
    fn join_using(
        &mut self,
        left: From,
        right: From,
        kind: JoinType,
        names: Vec<(String, Option<u32>)>,
    ) -> Result<From> {
        let mut conditions = Vec::with_capacity(names.len());
        let mut merged: Vec<ScopeColumn> = Vec::with_capacity(names.len());
        let mut coalesced = Vec::new();
        let side = |scope: &Scope, name: &str, which: &str, at: Option<u32>| -> Result<ScopeColumn> {
            let mut found = scope.visible.iter().filter(|column| column.name == name);
            match (found.next(), found.next()) {
                (Some(column), None) => Ok(column.clone()),
                (Some(_), Some(_)) => {
                    let message = format!("common column name \"{name}\" appears more than once in {which} table");
                    Err(Error::new(SqlState::AMBIGUOUS_COLUMN, message).or_position(at))
                }
                (None, _) => {
                    let message =
                        format!("column \"{name}\" specified in USING clause does not exist in {which} table");
                    Err(Error::new(SqlState::UNDEFINED_COLUMN, message).or_position(at))
                }
            }
        };
        for (name, at) in &names {
            let l = side(&left.scope, name, "left", *at)?;
            let r = side(&right.scope, name, "right", *at)?;
            let (lt, rt) = (Typed::new(l.expr(), l.ty.clone()), Typed::new(r.expr(), r.ty.clone()));
            conditions.push(self.operator("=", Some(lt.clone()), rt.clone(), *at)?.expr);
            let ty = registry::common_type_of(&[lt.clone(), rt.clone()], "JOIN/USING")
                .map_err(|error| error.or_position(*at))?;
            merged.push(match kind {
                JoinType::Inner | JoinType::Left if l.ty == ty => l,
                JoinType::Right if r.ty == ty => r,
                _ => {
                    let internal = self.fresh(name);
                    let l = self.coerce(lt, &ty, CastContext::Implicit)?.expr;
                    let r = self.coerce(rt, &ty, CastContext::Implicit)?.expr;
                    let value = match kind {
                        JoinType::Inner | JoinType::Left => l,
                        JoinType::Right => r,
                        _ => Expr::Case(Case {
                            expr: None,
                            when_then_expr: vec![(Box::new(Expr::IsNotNull(Box::new(l.clone()))), Box::new(l))],
                            else_expr: Some(Box::new(r)),
                        }),
                    };
                    coalesced.push(value.alias(&internal));
                    ScopeColumn { name: name.clone(), ty, internal }
                }
            });
        }
        let mut scope = left.scope.clone().join(right.scope.clone())?;
        let rest = |scope: &Scope| {
            let columns = scope.visible.iter().filter(|column| !names.iter().any(|(name, _)| *name == column.name));
            columns.cloned().collect::<Vec<_>>()
        };
        scope.visible = merged.into_iter().chain(rest(&left.scope)).chain(rest(&right.scope)).collect();
        let lateral = left.lateral;
        let condition = (!conditions.is_empty()).then(|| balanced(conditions, Operator::And));
        let mut plan = join_plan(left.plan, right, kind, condition)?;
        if !coalesced.is_empty() {
            let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
            exprs.extend(coalesced);
            plan = project(Arc::new(plan), exprs)?;
        }
        Ok(From { plan, scope, lateral })
    }
}

/// All pairs of rows; with a lateral right side, each left row with its own.
pub(super) fn cross(left: From, right: From) -> Result<From> {
    let scope = left.scope.join(right.scope.clone())?;
    let lateral = left.lateral;
    let plan = join_plan(left.plan, right, JoinType::Inner, None)?;
    Ok(From { plan, scope, lateral })
}

/// The optimizer finds the keys in the condition.
fn join_plan(left: LogicalPlan, right: From, kind: JoinType, condition: Option<Expr>) -> Result<LogicalPlan> {
    // Rows of an expression of the left side need no join.
    let right_plan = match right.lateral {
        true => LogicalPlan::Subquery(subquery::subquery(right.plan)),
        false => right.plan,
    };
    if let (JoinType::Inner, Some(applied)) = (kind, apply_unnest(&left, &right_plan)?) {
        return match condition {
            Some(condition) => Ok(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(applied))?)),
            None => Ok(applied),
        };
    }
    if let (JoinType::Left, Some(Expr::Literal(value, _))) = (kind, &condition)
        && *value == datafusion::common::ScalarValue::Boolean(Some(true))
        && let Some(applied) = super::table_function::apply_outer_unnest(&left, &right_plan)?
    {
        return Ok(applied);
    }
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right_plan),
        Vec::new(),
        condition,
        kind,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    Ok(LogicalPlan::Join(join))
}

fn apply_unnest(left: &LogicalPlan, right: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    super::table_function::apply_unnest(left, right)
}

/// A relation's columns under its alias, or its own name.
fn aliased(alias: Option<&ast::TableAlias>, default: (&str, &str), columns: Vec<ScopeColumn>) -> Result<ScopeTable> {
    named_table(alias, Some(default), columns)
}

/// 42P10 for an alias with more columns than the table has.
pub(super) fn named_table(
    alias: Option<&ast::TableAlias>,
    default: Option<(&str, &str)>,
    mut columns: Vec<ScopeColumn>,
) -> Result<ScopeTable> {
    let Some(alias) = alias else {
        let name = default.map(|(name, _)| name.to_string());
        let schema = default.map(|(_, schema)| schema.to_string());
        return Ok(ScopeTable { name, schema, columns, ..ScopeTable::default() });
    };
    let name = alias_name(&alias.name)?;
    if alias.columns.len() > columns.len() {
        let message = format!(
            "table \"{name}\" has {} columns available but {} columns specified",
            columns.len(),
            alias.columns.len()
        );
        return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message).or_position(place(&alias.name)));
    }
    for (column, renamed) in columns.iter_mut().zip(&alias.columns) {
        column.name = fold(&renamed.name);
    }
    Ok(ScopeTable { name: Some(name), columns, ..ScopeTable::default() })
}

/// Columns of a plan by name, all of them.
pub(super) fn pass_through(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().fields().iter().map(|field| column_expr(field.name())).collect()
}
