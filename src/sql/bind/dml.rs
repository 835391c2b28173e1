//! INSERT, UPDATE, DELETE as queries over stored rows, with defaults and generated columns filled in.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as PlanColumn, ScalarValue, TableReference};
use datafusion::logical_expr::expr::Sort as SortKey;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, Filter, LogicalPlan};
use sqlparser::ast;

use super::expr::position;
use super::from::{From, pass_through};
use super::names::relation_name;
use super::scope::{Scope, ScopeColumn, ScopeTable, column_expr, place};
use super::{Binder, Clause, Output, project, subquery};
use crate::catalog::{ROW_ID_COLUMN, Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::sql::registry::{self, CastContext, Typed};
use crate::sql::statement::{Delete, Insert, Update, fold};
use crate::sql::{BindContext, BoundChange, BoundInsert, BoundReturning, OnConflict};
use crate::types::{Column, Type};

/// Marks a column of the proposed row, and of the row being made, while ON CONFLICT's assignments are bound.
pub const EXCLUDED: &str = "\u{1}excluded.";
const MADE: &str = "\u{1}made.";

/// INSERT: the source yields stored rows.
pub fn bind_insert(context: &BindContext, statement: &Insert) -> Result<BoundInsert> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    if let Some(with) = &statement.with {
        binder.with(with)?;
    }
    let insert = &statement.insert;
    if insert.or.is_some() || insert.ignore || insert.overwrite || insert.replace_into || !insert.assignments.is_empty()
    {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error in INSERT")
            .with_hint("Write INSERT INTO t (a, b) VALUES (1, 2) [ON CONFLICT ...]."));
    }
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT INTO takes a relation's name"));
    };
    let relation = binder.relation(name)?;
    binder.writable(&relation, "insert into", name)?;
    let targets = insert_columns(&relation, &insert.columns)?;
    let source = match &insert.source {
        _ if statement.default_values => binder.default_row()?,
        Some(query) => binder.insert_source(query, &relation, &targets, !insert.columns.is_empty())?,
        None => binder.default_row()?,
    };
    let given: Vec<(usize, Expr)> =
        targets.iter().zip(&source.columns).map(|(target, column)| (*target, column.expr())).collect();
    let output = binder.complete(source.plan, &relation, given)?;
    let on_conflict = match &insert.on {
        None => None,
        Some(ast::OnInsert::OnConflict(conflict)) => {
            Some(binder.on_conflict(conflict, &relation, insert.table_alias.as_ref().map(|alias| &alias.alias))?)
        }
        Some(_) => {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"ON\"")
                .with_hint("Write ON CONFLICT (key) DO UPDATE SET ..."));
        }
    };
    let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
    let returning = binder.returning(insert.returning.as_deref(), &relation, alias, &Scope::default())?;
    let source = binder.finish(output)?;
    Ok(BoundInsert { relation, source, on_conflict, returning })
}

/// UPDATE: the source yields old stored columns, then new ones, each row of the table at most once.
pub fn bind_update(context: &BindContext, statement: &Update) -> Result<BoundChange> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    if let Some(with) = &statement.with {
        binder.with(with)?;
    }
    let update = &statement.update;
    let empty = Vec::new();
    let from = match &update.from {
        Some(ast::UpdateTableFromKind::AfterSet(tables) | ast::UpdateTableFromKind::BeforeSet(tables)) => tables,
        None => &empty,
    };
    if update.limit.is_some() || !update.order_by.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "UPDATE takes no ORDER BY or LIMIT"));
    }
    let target = binder.change_target(&update.table, "update")?;
    let (rows, scope) = binder.affected(&target, from, update.selection.as_ref())?;
    let (alias, items) = (target.alias.as_ref(), update.returning.as_deref());
    let returning = binder.returning(items, &target.relation, alias, &others_of(&scope, &target))?;
    binder.push_level(scope, Clause::Other("UPDATE"));
    let assigned = binder.assignments(&update.assignments, &target.relation);
    binder.levels.pop();
    let assigned = assigned?;

    // Old columns, then the new ones: first those assigned, then those generated from them.
    let mut exprs: Vec<Expr> = target.columns.iter().map(|column| column.expr()).collect();
    let mut new = Vec::with_capacity(target.columns.len());
    for (index, column) in target.columns.iter().enumerate() {
        let internal = binder.fresh(&column.name.replace(ROW_ID_COLUMN, "row_id"));
        let value = assigned.iter().find(|(place, _)| *place == index).map(|(_, value)| value.clone());
        exprs.push(value.unwrap_or_else(|| column.expr()).alias(&internal));
        new.push(ScopeColumn { internal, ..column.clone() });
    }
    exprs.extend(beside(&returning).map(|column| column.expr()));
    let plan = project(Arc::new(rows), exprs)?;
    let generated = binder.generated_over(&target.relation, &new)?;
    let mut columns = target.columns.clone();
    columns.extend(new);
    columns.extend(beside(&returning));
    let output = binder.with_generated(plan, columns, target.columns.len(), generated)?;
    let output = once_each(output, &target, !from.is_empty())?;
    let source = binder.finish(output)?;
    Ok(BoundChange { relation: target.relation, source, returning })
}

/// DELETE: the source yields old stored columns, each row of the table at most once.
pub fn bind_delete(context: &BindContext, statement: &Delete) -> Result<BoundChange> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    if let Some(with) = &statement.with {
        binder.with(with)?;
    }
    let delete = &statement.delete;
    let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) = &delete.from;
    let [table] = tables.as_slice() else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE takes one table").with_hint("Name the others in USING."));
    };
    if delete.limit.is_some() || !delete.order_by.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE takes no ORDER BY or LIMIT"));
    }
    let target = binder.change_target(table, "delete from")?;
    let empty = Vec::new();
    let using = delete.using.as_ref().unwrap_or(&empty);
    let (rows, scope) = binder.affected(&target, using, delete.selection.as_ref())?;
    let (alias, items) = (target.alias.as_ref(), delete.returning.as_deref());
    let returning = binder.returning(items, &target.relation, alias, &others_of(&scope, &target))?;
    let columns: Vec<ScopeColumn> = target.columns.iter().cloned().chain(beside(&returning)).collect();
    let exprs = columns.iter().map(|column| column.expr()).collect();
    let output = Output { plan: project(Arc::new(rows), exprs)?, columns };
    let output = once_each(output, &target, !using.is_empty())?;
    let source = binder.finish(output)?;
    Ok(BoundChange { relation: target.relation, source, returning })
}

/// Expressions over the `given` columns of a relation, by their names, that make its stored row: COPY's rows.
pub fn bind_complete_row(context: &BindContext, relation: &Arc<Relation>, given: &[usize]) -> Result<Vec<Expr>> {
    let _session = registry::enter(&context.session);
    let mut binder = Binder::new(context);
    let mut row: Vec<Expr> = Vec::with_capacity(relation.columns.len() + 1);
    for (index, column) in relation.columns.iter().enumerate() {
        row.push(match given.contains(&index) {
            true => Expr::Column(PlanColumn::new_unqualified(&column.name)),
            false => binder.default_of(relation, index)?,
        });
    }
    // Generated columns are over the columns as they will be stored.
    let made = made_columns(relation);
    for (index, value) in binder.generated_over(relation, &made)? {
        row[index] = replace_made(value, relation, &row)?;
    }
    if relation.has_row_id() {
        row.push(Expr::Literal(ScalarValue::Int64(None), None));
    }
    Ok(row)
}

/// The table of an UPDATE or DELETE.
struct Target {
    relation: Arc<Relation>,
    alias: Option<ast::Ident>,
    plan: LogicalPlan,
    /// The stored columns.
    columns: Vec<ScopeColumn>,
}

impl Binder<'_> {
    /// 42809 for what can't be written so.
    fn writable(&self, relation: &Relation, verb: &str, name: &ast::ObjectName) -> Result<()> {
        let at = relation_name(name)?.position;
        let kind = relation.kind_name();
        let (state, message, hint) = match &relation.kind {
            RelationKind::Table(_) => return Ok(()),
            RelationKind::Stream(stream) if verb == "insert into" => match &stream.connector {
                None => return Ok(()),
                Some(connector) => (
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("cannot insert into stream \"{}\"", relation.name),
                    format!("Its rows come from the {} connector.", connector.name),
                ),
            },
            RelationKind::Stream(_) => (
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot {verb} stream \"{}\"", relation.name),
                "A stream is append-only; use a table for rows that change.".to_string(),
            ),
            RelationKind::System => (
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied: \"{}\" is a system catalog", relation.name),
                "System relations are read-only.".to_string(),
            ),
            _ => (
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot {verb} {kind} \"{}\"", relation.name),
                "Write to the tables and streams it reads; it follows by itself.".to_string(),
            ),
        };
        Err(Error::new(state, message).with_hint(hint).or_position(at))
    }

    /// One row without columns.
    fn default_row(&mut self) -> Result<Output> {
        Ok(Output { plan: subquery::one_row(), columns: Vec::new() })
    }

    /// Rows for the target columns, cast to their types.
    fn insert_source(
        &mut self,
        query: &ast::Query,
        relation: &Relation,
        targets: &[usize],
        listed: bool,
    ) -> Result<Output> {
        let plain =
            query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
        if let (ast::SetExpr::Values(values), true) = (query.body.as_ref(), plain) {
            return self.insert_values(values, relation, targets, listed);
        }
        let output = self.query(query)?;
        let width = output.columns.len();
        check_width(width, targets, listed, None)?;
        let mut types = Vec::with_capacity(width);
        for (column, target) in output.columns.iter().zip(targets) {
            self.not_generated(relation, *target, None)?;
            let wanted = &relation.columns[*target];
            if !registry::can_coerce(&column.ty, &wanted.ty, CastContext::Assignment) {
                return Err(mismatch(wanted, &column.ty));
            }
            types.push(wanted.ty.clone());
        }
        self.cast_output(output, &types, CastContext::Assignment)
    }

    /// VALUES, where DEFAULT may stand for a value.
    fn insert_values(
        &mut self,
        values: &ast::Values,
        relation: &Relation,
        targets: &[usize],
        listed: bool,
    ) -> Result<Output> {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let first = values.rows.first().and_then(|row| row.content.last()).and_then(position);
        check_width(width, targets, listed, first)?;
        let targets = &targets[..width];
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            if row.content.len() != width {
                let at = row.content.first().and_then(position);
                return Err(
                    Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length").or_position(at)
                );
            }
            let mut cells = Vec::with_capacity(width);
            for (expr, target) in row.content.iter().zip(targets) {
                let column = &relation.columns[*target];
                if is_default(expr) {
                    cells.push(Typed::new(self.default_of(relation, *target)?, column.ty.clone()));
                    continue;
                }
                self.not_generated(relation, *target, position(expr))?;
                let typed = self.with_level(Scope::default(), Clause::Values, |binder| binder.expr(expr))?;
                cells.push(self.assign(typed, column, position(expr))?);
            }
            rows.push(cells);
        }
        let types: Vec<Type> = targets.iter().map(|target| relation.columns[*target].ty.clone()).collect();
        let names: Vec<String> = targets.iter().map(|target| relation.columns[*target].name.clone()).collect();
        if width == 0 {
            return self.default_row();
        }
        self.values_of(rows, &types, &names, CastContext::Assignment)
    }

    fn not_generated(&self, relation: &Relation, column: usize, at: Option<u32>) -> Result<()> {
        if generated_texts(relation).get(column).is_none_or(Option::is_none) {
            return Ok(());
        }
        let name = &relation.columns[column].name;
        Err(Error::new(SqlState::SYNTAX_ERROR, format!("cannot insert a non-DEFAULT value into column \"{name}\""))
            .with_detail(format!("Column \"{name}\" is a generated column."))
            .or_position(at))
    }

    /// A value for a column, as an assignment casts it. 42804 names the column.
    fn assign(&mut self, typed: Typed, column: &Column, at: Option<u32>) -> Result<Typed> {
        let from = typed.ty.clone();
        self.coerce(typed, &column.ty, CastContext::Assignment).map_err(|error| match error.state() {
            SqlState::DATATYPE_MISMATCH => mismatch(column, &from).or_position(at),
            _ => error.or_position(at),
        })
    }

    /// A column's default, or NULL.
    fn default_of(&mut self, relation: &Relation, column: usize) -> Result<Expr> {
        let target = &relation.columns[column];
        let text = match &relation.kind {
            RelationKind::Table(table) => table.defaults.get(column).cloned().flatten(),
            RelationKind::Stream(stream) => stream.defaults.get(column).cloned().flatten(),
            _ => None,
        };
        let Some(text) = text else { return Ok(registry::literal_null(&target.ty)?.expr) };
        let expr = crate::sql::parse::parse_expression(&text)?;
        let clause = Clause::Other("DEFAULT expressions");
        let typed = self.with_level(Scope::default(), clause, |binder| binder.expr(&expr))?;
        Ok(self.coerce(typed, &target.ty, CastContext::Assignment)?.expr)
    }

    /// The stored row: given columns, defaults, then generated columns over these.
    fn complete(&mut self, plan: LogicalPlan, relation: &Relation, given: Vec<(usize, Expr)>) -> Result<Output> {
        let mut exprs = Vec::with_capacity(relation.columns.len() + 1);
        let mut columns = Vec::with_capacity(relation.columns.len() + 1);
        for (index, column) in relation.columns.iter().enumerate() {
            let value = match given.iter().find(|(target, _)| *target == index) {
                Some((_, value)) => value.clone(),
                None => self.default_of(relation, index)?,
            };
            let internal = self.fresh(&column.name);
            exprs.push(value.alias(&internal));
            columns.push(ScopeColumn { name: column.name.clone(), ty: column.ty.clone(), internal });
        }
        if relation.has_row_id() {
            let internal = self.fresh("row_id");
            exprs.push(Expr::Literal(ScalarValue::Int64(None), None).alias(&internal));
            columns.push(ScopeColumn { name: ROW_ID_COLUMN.to_string(), ty: Type::Int8, internal });
        }
        let plan = project(Arc::new(plan), exprs)?;
        let generated = self.generated_over(relation, &columns)?;
        self.with_generated(plan, columns, 0, generated)
    }

    /// Expressions of the generated columns over a row's columns.
    fn generated_over(&mut self, relation: &Relation, row: &[ScopeColumn]) -> Result<Vec<(usize, Expr)>> {
        let texts = generated_texts(relation);
        if texts.iter().all(Option::is_none) {
            return Ok(Vec::new());
        }
        let plain = row.iter().enumerate().filter(|(index, _)| texts.get(*index).is_none_or(Option::is_none));
        let columns = plain.map(|(_, column)| column.clone()).collect();
        let table = ScopeTable {
            name: Some(relation.name.clone()),
            schema: None,
            columns,
            key: Vec::new(),
            scalar: false,
            relation: None,
        };
        let scope = Scope::of_table(table);
        let mut values = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let Some(text) = text else { continue };
            let expr = crate::sql::parse::parse_expression(text)?;
            let clause = Clause::Other("column generation expressions");
            let typed = self.with_level(scope.clone(), clause, |binder| binder.expr(&expr))?;
            values.push((index, self.coerce(typed, &relation.columns[index].ty, CastContext::Assignment)?.expr));
        }
        Ok(values)
    }

    /// Puts generated values in their places, `offset` columns in.
    fn with_generated(
        &mut self,
        plan: LogicalPlan,
        columns: Vec<ScopeColumn>,
        offset: usize,
        generated: Vec<(usize, Expr)>,
    ) -> Result<Output> {
        if generated.is_empty() {
            return Ok(Output { plan, columns });
        }
        let mut exprs = Vec::with_capacity(columns.len());
        let mut renamed = Vec::with_capacity(columns.len());
        for (index, column) in columns.into_iter().enumerate() {
            let value = generated.iter().find(|(place, _)| index >= offset && *place == index - offset);
            match value {
                None => {
                    exprs.push(column.expr());
                    renamed.push(column);
                }
                Some((_, value)) => {
                    let internal = self.fresh(&column.name);
                    exprs.push(value.clone().alias(&internal));
                    renamed.push(ScopeColumn { internal, ..column });
                }
            }
        }
        Ok(Output { plan: project(Arc::new(plan), exprs)?, columns: renamed })
    }

    fn on_conflict(
        &mut self,
        conflict: &ast::OnConflict,
        relation: &Relation,
        alias: Option<&ast::Ident>,
    ) -> Result<OnConflict> {
        let key: Vec<usize> = match &relation.kind {
            RelationKind::Table(table) => table.primary_key.clone(),
            _ => Vec::new(),
        };
        let target = match &conflict.conflict_target {
            None => None,
            Some(ast::ConflictTarget::Columns(names)) => {
                let mut columns = Vec::with_capacity(names.len());
                for name in names {
                    columns.push(column_index(relation, &fold(name), place(name))?);
                }
                columns.sort_unstable();
                Some(columns)
            }
            Some(ast::ConflictTarget::OnConstraint(name)) => {
                let constraint = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                if constraint != format!("{}_pkey", relation.name) || key.is_empty() {
                    let message = format!("constraint \"{constraint}\" for table \"{}\" does not exist", relation.name);
                    return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
                }
                None
            }
        };
        if let Some(target) = &target {
            let mut sorted = key.clone();
            sorted.sort_unstable();
            if *target != sorted || key.is_empty() {
                return Err(Error::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                ));
            }
        }
        let update = match &conflict.action {
            ast::OnConflictAction::DoNothing => return Ok(OnConflict::Nothing),
            ast::OnConflictAction::DoUpdate(update) => update,
        };
        if conflict.conflict_target.is_none() {
            return Err(Error::new(
                SqlState::SYNTAX_ERROR,
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )
            .with_hint("For example, ON CONFLICT (column_name)."));
        }
        let table = |name: String, prefix: &str| ScopeTable {
            name: Some(name),
            schema: None,
            columns: columns_named(relation, prefix),
            key: Vec::new(),
            scalar: false,
            relation: None,
        };
        let existing = table(alias.map_or_else(|| relation.name.clone(), fold), "");
        let mut scope = Scope::of_table(existing);
        // Bare names are the existing row's.
        scope.tables.push(table("excluded".to_string(), EXCLUDED));
        self.push_level(scope, Clause::Other("ON CONFLICT DO UPDATE"));
        let bound = self.assignments(&update.assignments, relation).and_then(|assigned| {
            let condition = match &update.selection {
                Some(condition) => {
                    let typed = self.expr(condition)?;
                    Some(self.condition(typed, "WHERE").map_err(|error| error.or_position(position(condition)))?)
                }
                None => None,
            };
            Ok((assigned, condition))
        });
        self.levels.pop();
        let (assigned, condition) = bound?;
        let mut row: Vec<Expr> =
            relation.stored_schema().fields().iter().map(|field| column_expr(field.name())).collect();
        for (index, value) in assigned {
            row[index] = value;
        }
        let made = made_columns(relation);
        for (index, value) in self.generated_over(relation, &made)? {
            row[index] = replace_made(value, relation, &row)?;
        }
        let assignments = row.into_iter().map(excluded_columns).collect::<Result<_>>()?;
        let condition = condition.map(excluded_columns).transpose()?;
        Ok(OnConflict::Update { assignments, condition })
    }

    /// SET: columns with the values they get, in the level on top.
    fn assignments(&mut self, assignments: &[ast::Assignment], relation: &Relation) -> Result<Vec<(usize, Expr)>> {
        let mut bound: Vec<(usize, Expr)> = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let pairs: Vec<(&ast::ObjectName, &ast::Expr)> = match (&assignment.target, &assignment.value) {
                (ast::AssignmentTarget::ColumnName(name), value) => vec![(name, value)],
                (ast::AssignmentTarget::Tuple(names), ast::Expr::Subquery(query)) => {
                    let values = self.row_subquery(query, names.len(), position(&assignment.value))?;
                    for (name, value) in names.iter().zip(values) {
                        let (index, ident) = assigned_column(relation, name, &bound)?;
                        not_generated_in_set(relation, index, ident)?;
                        let value = self.assign(value, &relation.columns[index], position(&assignment.value))?;
                        bound.push((index, value.expr));
                    }
                    continue;
                }
                (ast::AssignmentTarget::Tuple(names), value) => {
                    let Some(values) = row_values(value) else {
                        let message =
                            "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).or_position(position(value)));
                    };
                    if names.len() != values.len() {
                        return Err(Error::new(
                            SqlState::SYNTAX_ERROR,
                            "number of columns does not match number of values",
                        )
                        .or_position(position(value)));
                    }
                    names.iter().zip(values).collect()
                }
            };
            for (name, value) in pairs {
                let (index, ident) = assigned_column(relation, name, &bound)?;
                let value = match is_default(value) {
                    true => self.default_of(relation, index)?,
                    false => {
                        not_generated_in_set(relation, index, ident)?;
                        let typed = self.expr(value)?;
                        self.assign(typed, &relation.columns[index], position(value))?.expr
                    }
                };
                bound.push((index, value));
            }
        }
        Ok(bound)
    }

    fn change_target(&mut self, table: &ast::TableWithJoins, verb: &str) -> Result<Target> {
        let ast::TableFactor::Table { name, alias, args: None, .. } = &table.relation else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("can only {verb} a table")));
        };
        if !table.joins.is_empty() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a join in place of the table")
                .with_hint("Name the other relations in FROM (UPDATE) or USING (DELETE)."));
        }
        let relation = self.relation(name)?;
        self.writable(&relation, verb, name)?;
        let (plan, columns) = self.scan(&relation, true)?;
        Ok(Target { relation, alias: alias.as_ref().map(|alias| alias.name.clone()), plan, columns })
    }

    /// Rows of the target, beside those of other relations, that the condition picks.
    fn affected(
        &mut self,
        target: &Target,
        others: &[ast::TableWithJoins],
        condition: Option<&ast::Expr>,
    ) -> Result<(LogicalPlan, Scope)> {
        let visible = target.columns[..target.relation.columns.len()].to_vec();
        let schema = target.alias.is_none().then(|| target.relation.schema.clone());
        let name = target.alias.as_ref().map_or_else(|| target.relation.name.clone(), fold);
        let table =
            ScopeTable { name: Some(name), schema, columns: visible, key: Vec::new(), scalar: false, relation: None };
        let mut rows = From { plan: target.plan.clone(), scope: Scope::of_table(table), lateral: false };
        if !others.is_empty() {
            let others = self.from(others)?;
            rows = super::from::cross(rows, others)?;
        }
        let mut plan = rows.plan;
        if let Some(condition) = condition {
            let predicate = self.with_level(rows.scope.clone(), Clause::Where, |binder| {
                let typed = binder.expr(condition)?;
                binder.condition(typed, "WHERE").map_err(|error| error.or_position(position(condition)))
            })?;
            plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
        }
        Ok((plan, rows.scope))
    }

    /// RETURNING, over the relation's columns by their names, and those of the `others` in FROM or USING.
    fn returning(
        &mut self,
        items: Option<&[ast::SelectItem]>,
        relation: &Relation,
        alias: Option<&ast::Ident>,
        others: &Scope,
    ) -> Result<Option<BoundReturning>> {
        let Some(items) = items else { return Ok(None) };
        let name = alias.map_or_else(|| relation.name.clone(), fold);
        let table = ScopeTable {
            name: Some(name),
            schema: None,
            columns: columns_named(relation, ""),
            key: Vec::new(),
            scalar: false,
            relation: None,
        };
        let scope = Scope::of_table(table).join(others.clone())?;
        self.push_level(scope, Clause::Other("RETURNING"));
        let bound = self.items(items);
        self.levels.pop();
        let (mut expressions, mut columns) = (Vec::new(), Vec::new());
        for item in bound? {
            let typed = self.coerce_unknown(item.typed)?;
            expressions.push(typed.expr);
            columns.push(Column::new(item.name, typed.ty));
        }
        let mut named = std::collections::BTreeSet::new();
        for expr in &expressions {
            expr.apply(|node| {
                match node {
                    Expr::Column(column) => drop(named.insert(column.name.clone())),
                    Expr::ScalarSubquery(inner) => outer_names(&inner.outer_ref_columns, &mut named),
                    Expr::Exists(exists) => outer_names(&exists.subquery.outer_ref_columns, &mut named),
                    Expr::InSubquery(inside) => outer_names(&inside.subquery.outer_ref_columns, &mut named),
                    Expr::SetComparison(set) => outer_names(&set.subquery.outer_ref_columns, &mut named),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        let used =
            others.tables.iter().flat_map(|table| &table.columns).filter(|column| named.contains(&column.internal));
        let beside = used.map(|column| Column::new(&column.internal, column.ty.clone())).collect();
        Ok(Some(BoundReturning { expressions, columns, beside }))
    }
}

fn outer_names(outer: &[Expr], names: &mut std::collections::BTreeSet<String>) {
    for expr in outer {
        if let Expr::OuterReferenceColumn(_, column) = expr {
            names.insert(column.name.clone());
        }
    }
}

/// What FROM or USING adds to the target's own names.
fn others_of(scope: &Scope, target: &Target) -> Scope {
    let own = |column: &ScopeColumn| target.columns.iter().any(|other| other.internal == column.internal);
    Scope {
        tables: scope.tables.iter().skip(1).cloned().collect(),
        visible: scope.visible.iter().filter(|column| !own(column)).cloned().collect(),
    }
}

/// Columns of other relations that RETURNING names.
fn beside(returning: &Option<BoundReturning>) -> impl Iterator<Item = ScopeColumn> {
    let columns = returning.iter().flat_map(|returning| &returning.beside);
    columns.map(|column| ScopeColumn {
        name: column.name.clone(),
        ty: column.ty.clone(),
        internal: column.name.clone(),
    })
}

/// With other relations beside the target a row may be met several times: the first meeting counts, in the order of all
/// columns.
fn once_each(output: Output, target: &Target, joined: bool) -> Result<Output> {
    if !joined {
        return Ok(output);
    }
    let key: Vec<Expr> = target.relation.key_columns().iter().map(|key| output.columns[*key].expr()).collect();
    let all = pass_through(&output.plan);
    let mut sort: Vec<SortKey> = key.iter().map(|key| SortKey::new(key.clone(), true, false)).collect();
    sort.extend(
        all.iter().filter(|column| !key.contains(column)).map(|column| SortKey::new(column.clone(), true, true)),
    );
    let node = DistinctOn::try_new(key, all, Some(sort), Arc::new(output.plan))?;
    Ok(Output { plan: LogicalPlan::Distinct(Distinct::On(node)), columns: output.columns })
}

/// A relation's columns for a scope, by their names with a prefix.
fn columns_named(relation: &Relation, prefix: &str) -> Vec<ScopeColumn> {
    let columns = relation.columns.iter();
    columns
        .map(|column| ScopeColumn {
            name: column.name.clone(),
            ty: column.ty.unrounded(),
            internal: format!("{prefix}{}", column.name),
        })
        .collect()
}

fn made_columns(relation: &Relation) -> Vec<ScopeColumn> {
    columns_named(relation, MADE)
}

/// Columns of the row being made become the expressions that make them.
fn replace_made(value: Expr, relation: &Relation, row: &[Expr]) -> Result<Expr> {
    let replaced = value.transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => {
                let made = column.name.strip_prefix(MADE);
                let place = made.and_then(|name| relation.columns.iter().position(|column| column.name == name));
                match place {
                    Some(place) => Transformed::yes(row[place].clone()),
                    None => Transformed::no(Expr::Column(column)),
                }
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(replaced.data)
}

/// Marked columns become those of `excluded`.
fn excluded_columns(expr: Expr) -> Result<Expr> {
    let replaced = expr.transform_up(|node| {
        Ok(match node {
            Expr::Column(column) => match column.name.strip_prefix(EXCLUDED) {
                Some(name) => {
                    let column = PlanColumn::new(Some(TableReference::bare("excluded")), name);
                    Transformed::yes(Expr::Column(column))
                }
                None => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    })?;
    Ok(replaced.data)
}

/// The column that SET names, once. 42703, 42601.
fn assigned_column<'a>(
    relation: &Relation,
    name: &'a ast::ObjectName,
    bound: &[(usize, Expr)],
) -> Result<(usize, &'a ast::Ident)> {
    let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return Err(Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", relation.name),
        )
        .with_hint("SET target columns cannot be qualified with the relation name."));
    };
    let index = column_index(relation, &fold(ident), place(ident))?;
    if bound.iter().any(|(other, _)| *other == index) {
        let message = format!("multiple assignments to same column \"{}\"", fold(ident));
        return Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(place(ident)));
    }
    Ok((index, ident))
}

fn not_generated_in_set(relation: &Relation, index: usize, ident: &ast::Ident) -> Result<()> {
    if generated_texts(relation).get(index).is_none_or(Option::is_none) {
        return Ok(());
    }
    let message = format!("column \"{}\" can only be updated to DEFAULT", fold(ident));
    Err(Error::new(SqlState::SYNTAX_ERROR, message)
        .with_detail(format!("Column \"{}\" is a generated column.", fold(ident)))
        .or_position(place(ident)))
}

pub(super) fn has_subquery(expr: &Expr) -> bool {
    let subquery = |node: &Expr| {
        matches!(node, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
    };
    expr.exists(|node| Ok(subquery(node))).unwrap_or(false)
}

/// The columns an INSERT names; all of them where it names none. 42703, 42701.
fn insert_columns(relation: &Relation, names: &[ast::ObjectName]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..relation.columns.len()).collect());
    }
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let Some(ident) = name.0.last().and_then(|part| part.as_ident()) else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("{name} is no column name")));
        };
        let index = column_index(relation, &fold(ident), place(ident))?;
        if columns.contains(&index) {
            let message = format!("column \"{}\" specified more than once", fold(ident));
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message).or_position(place(ident)));
        }
        columns.push(index);
    }
    Ok(columns)
}

fn column_index(relation: &Relation, name: &str, at: Option<u32>) -> Result<usize> {
    relation.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
        Error::new(SqlState::UNDEFINED_COLUMN, message).or_position(at)
    })
}

fn check_width(width: usize, targets: &[usize], listed: bool, at: Option<u32>) -> Result<()> {
    if width > targets.len() {
        return Err(
            Error::new(SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns").or_position(at)
        );
    }
    if width < targets.len() && listed {
        return Err(
            Error::new(SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions").or_position(at)
        );
    }
    Ok(())
}

fn mismatch(column: &Column, from: &Type) -> Error {
    let message = format!(
        "column \"{}\" is of type {} but expression is of type {}",
        column.name,
        column.ty.bare_name(),
        from.bare_name()
    );
    Error::new(SqlState::DATATYPE_MISMATCH, message).with_hint("You will need to rewrite or cast the expression.")
}

fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// The values of `(a, b)` or `ROW(a, b)`; a single one in brackets too.
fn row_values(expr: &ast::Expr) -> Option<Vec<&ast::Expr>> {
    match expr {
        ast::Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. })
            if name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| fold(name) == "row") =>
        {
            let value = |arg| match arg {
                &ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ref expr)) => Some(expr),
                _ => None,
            };
            list.args.iter().map(value).collect()
        }
        ast::Expr::Tuple(elements) => Some(elements.iter().collect()),
        ast::Expr::Nested(inner) if !matches!(inner.as_ref(), ast::Expr::Subquery(_)) => Some(vec![inner.as_ref()]),
        _ => None,
    }
}

fn generated_texts(relation: &Relation) -> Vec<Option<String>> {
    match &relation.kind {
        RelationKind::Table(table) => table.generated.clone(),
        RelationKind::Stream(stream) => stream.generated.clone(),
        _ => Vec::new(),
    }
}
