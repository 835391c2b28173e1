//! GROUP BY and HAVING: which columns remain of a grouped query, and 42803 for the others.
//!
//! A group expression that is a column keeps its name through the Aggregate node, so that what refers to it
//! (subqueries too) need not change; any other is computed by a projection below it under a name of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Case, Expr, Filter, GroupingSet, LogicalPlan, Operator};
use sqlparser::ast;

use super::expr::position;
use super::from::pass_through;
use super::keys::is_float;
use super::query::output_ordinal;
use super::scope::{ScopeColumn, ScopeTable, column_expr};
use super::select::{Item, unnested_beside};
use super::{Binder, Clause, project};
use crate::error::{Error, Result, SqlState};
use crate::sql::functions::compare::has_equal_forms;
use crate::sql::registry::{self, Typed};
use crate::sql::statement::fold;
use crate::types::Type;

/// Sets that GROUPING SETS, ROLLUP and CUBE may make together; Postgres's limit.
const MAX_GROUPING_SETS: usize = 4096;

/// What a grouped query's expressions may be made of.
#[derive(Default)]
pub(super) struct Groups {
    grouped: bool,
    /// Group expressions with the columns that hold them.
    exprs: Vec<(Expr, String)>,
    /// Columns of FROM as they were named, for errors: internal name, as written, where.
    references: Vec<(String, String, Option<u32>)>,
    /// Columns of aggregates and GROUPING().
    computed: BTreeSet<String>,
    /// GROUPING() calls over the grouping id.
    groupings: Vec<(String, Expr)>,
    /// What tells one row of the groups from any other.
    key: Vec<ScopeColumn>,
}

impl Groups {
    /// The columns that tell the rows of a grouped query apart.
    pub fn key(&self) -> Option<&[ScopeColumn]> {
        self.grouped.then_some(&self.key)
    }
}

pub(super) struct Grouped {
    pub plan: LogicalPlan,
    pub exprs: Vec<Expr>,
    pub groups: Groups,
}

impl Binder<'_> {
    /// Groups `plan` and filters by HAVING, if the query does either; gives `exprs` over the result.
    pub(super) fn group(
        &mut self,
        select: &ast::Select,
        plan: LogicalPlan,
        exprs: Vec<Expr>,
        having: Option<Expr>,
        items: &[Item],
    ) -> Result<Grouped> {
        let references = std::mem::take(&mut self.level()?.references);
        let sets = self.grouping_sets(&select.group_by, items)?;
        // Names inside GROUP BY itself are grouped.
        self.level()?.references.clear();
        let mut aggregates = std::mem::take(&mut self.level()?.aggregates);
        let plan = self.lists_in_order(plan, &mut aggregates)?;
        let groupings = std::mem::take(&mut self.level()?.groupings);
        if !aggregates.is_empty() {
            self.no_aggregates_over_itself(select)?;
        }
        let plan = self.grouped_series(plan, sets.iter().flatten().flatten())?;
        let grouped = sets.is_some() || !aggregates.is_empty() || having.is_some();
        if !grouped {
            if !groupings.is_empty() {
                return Err(Error::new(
                    SqlState::GROUPING_ERROR,
                    "arguments to GROUPING must be grouping expressions of the associated query level",
                ));
            }
            return Ok(Grouped { plan, exprs, groups: Groups::default() });
        }
        let mut sets = sets.unwrap_or_else(|| vec![Vec::new()]);
        let mut distinct: Vec<Typed> = Vec::new();
        let simple = sets.len() == 1;
        // A column as text and as varchar is one key, where no set has one without the other.
        let same = |one: &Typed, two: &Typed| one.expr == two.expr && (simple || one.ty == two.ty);
        for value in sets.iter().flatten() {
            if !distinct.iter().any(|other| same(other, value)) {
                distinct.push(value.clone());
            }
        }
        self.add_dependent(&mut distinct, &mut sets, &references)?;

        // Expressions become columns below the Aggregate.
        let mut below = None;
        let mut groups = Groups { grouped: true, references, ..Groups::default() };
        let mut keys: Vec<String> = Vec::with_capacity(distinct.len());
        let mut calls: Vec<Expr> = Vec::with_capacity(aggregates.len());
        // Columns above it, by name: what stands there for a group's key.
        let mut shown: Vec<(String, Expr)> = Vec::new();
        for value in &distinct {
            let expr = &value.expr;
            let name = match expr {
                Expr::Column(column) if column.relation.is_none() => column.name.clone(),
                _ => {
                    let name = self.fresh("group");
                    below.get_or_insert_with(|| pass_through(&plan)).push(expr.clone().alias(&name));
                    name
                }
            };
            if has_equal_forms(&value.ty) {
                let (key, least) = (self.fresh("key"), self.fresh("least"));
                let keyed = self.key(value.clone()).expr.alias(&key);
                below.get_or_insert_with(|| pass_through(&plan)).push(keyed);
                calls.push(super::keys::least(Typed::new(column_expr(&name), value.ty.clone())).alias(&least));
                // Where a grouping set leaves the key out its value is NULL too.
                let present = Expr::IsNotNull(Box::new(column_expr(&key)));
                let when = vec![(Box::new(present), Box::new(column_expr(&least)))];
                shown.push((name.clone(), Expr::Case(Case { expr: None, when_then_expr: when, else_expr: None })));
                keys.push(key);
            } else if is_float(&value.ty) && !self.context.for_view {
                // Reads would tell NaN of either sign apart; aggregates go on seeing the values.
                let key = self.fresh("key");
                let keyed = self.key(value.clone()).expr.alias(&key);
                below.get_or_insert_with(|| pass_through(&plan)).push(keyed);
                shown.push((name.clone(), column_expr(&key)));
                keys.push(key);
            } else {
                keys.push(name.clone());
            }
            groups.key.push(ScopeColumn { name: name.clone(), ty: value.ty.clone(), internal: name.clone() });
            groups.exprs.push((expr.clone(), name));
        }
        let input = match below {
            Some(exprs) => project(Arc::new(plan), exprs)?,
            None => plan,
        };
        let column_of =
            |value: &Typed| distinct.iter().position(|other| same(other, value)).map(|place| column_expr(&keys[place]));
        let group_expr: Vec<Expr> = match simple {
            true => keys.iter().map(|key| column_expr(key)).collect(),
            false => {
                let sets = sets.iter().map(|set| set.iter().filter_map(column_of).collect()).collect();
                vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
            }
        };
        for (expr, name, _) in aggregates {
            groups.computed.insert(name.clone());
            calls.push(expr.alias(name));
        }
        if group_expr.is_empty() && calls.is_empty() {
            // HAVING alone: one group of everything.
            let count = registry::aggregate("count", Vec::new(), Default::default())?;
            let name = self.fresh("count");
            calls.push(count.expr.alias(&name));
        }
        let aggregate = Aggregate::try_new(Arc::new(input), group_expr, calls)?;
        let mut plan = LogicalPlan::Aggregate(aggregate);

        let id_type = plan
            .schema()
            .field_with_unqualified_name(Aggregate::INTERNAL_GROUPING_ID)
            .ok()
            .map(|field| field.data_type().clone());
        let names: Vec<Expr> = groups.exprs.iter().map(|(expr, _)| expr.clone()).collect();
        for (args, column) in groupings {
            groups.computed.insert(column.clone());
            let value = grouping_value(&args, &names, id_type.as_ref())?;
            groups.groupings.push((column, value));
        }
        if !simple && !self.level()?.windows.is_empty() {
            // Rows of two sets may have the same keys: OVER tells them apart.
            let column = self.fresh("set");
            groups.groupings.push((column.clone(), grouping_value(&names, &names, id_type.as_ref())?));
            groups.key.push(ScopeColumn { name: column.clone(), ty: Type::Int4, internal: column });
        }
        shown.extend(groups.groupings.iter().cloned());
        if !shown.is_empty() || !simple {
            // The grouping id goes no further up than GROUPING() needs it.
            let columns = plan.schema().columns().into_iter();
            let kept = columns.filter(|column| column.name != Aggregate::INTERNAL_GROUPING_ID);
            let mut above: Vec<Expr> = kept.map(Expr::Column).collect();
            above.extend(shown.into_iter().map(|(name, value)| value.alias(name)));
            plan = project(Arc::new(plan), above)?;
        }
        if let Some(condition) = having {
            let condition = self.regroup(condition, &groups)?;
            plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?);
        }
        let exprs = exprs.into_iter().map(|expr| self.regroup(expr, &groups)).collect::<Result<_>>()?;
        Ok(Grouped { plan, exprs, groups })
    }

    /// An expression over FROM's columns as one over the groups'. 42803 names the first column that is in none.
    pub(super) fn regroup(&mut self, expr: Expr, groups: &Groups) -> Result<Expr> {
        if !groups.grouped {
            return Ok(expr);
        }
        let scope: BTreeSet<String> = {
            let level = self.level()?;
            let tables = level.scope.tables.iter().flat_map(ScopeTable::all_columns);
            tables.chain(level.scope.visible.iter().cloned()).map(|column| column.internal).collect()
        };
        let kept = |name: &str| groups.exprs.iter().any(|(_, kept)| kept == name);
        let mut bad: Option<(String, bool)> = None;
        let replaced = expr.transform_down(|node| {
            if let Some((_, name)) = groups.exprs.iter().find(|(group, _)| *group == node) {
                return Ok(Transformed::new(column_expr(name), true, TreeNodeRecursion::Jump));
            }
            match &node {
                Expr::Column(column) if scope.contains(&column.name) && !kept(&column.name) => {
                    bad.get_or_insert((column.name.clone(), false));
                }
                Expr::ScalarSubquery(subquery) => note_outer(&subquery.outer_ref_columns, &scope, &kept, &mut bad),
                Expr::Exists(exists) => note_outer(&exists.subquery.outer_ref_columns, &scope, &kept, &mut bad),
                Expr::InSubquery(inside) => note_outer(&inside.subquery.outer_ref_columns, &scope, &kept, &mut bad),
                Expr::SetComparison(set) => note_outer(&set.subquery.outer_ref_columns, &scope, &kept, &mut bad),
                _ => {}
            }
            Ok(Transformed::no(node))
        })?;
        let Some((column, in_subquery)) = bad else { return Ok(replaced.data) };
        let found = groups.references.iter().find(|(internal, ..)| *internal == column);
        let (_, shown, at) = found.cloned().unwrap_or((column.clone(), column.clone(), None));
        let shown = match shown.contains('.') {
            true => shown,
            false => self.qualified_name(&column).unwrap_or(shown),
        };
        let message = match in_subquery {
            true => format!("subquery uses ungrouped column \"{shown}\" from outer query"),
            false => {
                format!("column \"{shown}\" must appear in the GROUP BY clause or be used in an aggregate function")
            }
        };
        Err(Error::new(SqlState::GROUPING_ERROR, message).or_position(at))
    }

    /// An Unnest node below the groups for the set-returning functions that these are made of.
    fn grouped_series<'a>(
        &mut self,
        plan: LogicalPlan,
        values: impl Iterator<Item = &'a Typed> + Clone,
    ) -> Result<LogicalPlan> {
        let level = self.level()?;
        let mut below = Vec::new();
        for (expr, name) in std::mem::take(&mut level.series) {
            let named = |value: &Typed| value.expr.exists(|node| Ok(*node == column_expr(&name)));
            let mut grouped = false;
            for value in values.clone() {
                grouped |= named(value)?;
            }
            match grouped {
                true => below.push((expr, name)),
                false => level.series.push((expr, name)),
            }
        }
        unnested_beside(plan, below)
    }

    fn qualified_name(&mut self, internal: &str) -> Option<String> {
        let level = self.level().ok()?;
        level.scope.tables.iter().find_map(|table| {
            let column = table.columns.iter().find(|column| column.internal == internal)?;
            Some(format!("{}.{}", table.name.as_ref()?, column.name))
        })
    }

    /// Columns of a table whose key is grouped are determined by it: they join the groups.
    fn add_dependent(
        &mut self,
        distinct: &mut Vec<Typed>,
        sets: &mut [Vec<Typed>],
        references: &[(String, String, Option<u32>)],
    ) -> Result<()> {
        let [only] = sets else { return Ok(()) };
        let level = self.level()?;
        for (internal, ..) in references {
            let grouped = |name: &str| distinct.iter().any(|value| value.expr == column_expr(name));
            if grouped(internal) {
                continue;
            }
            let tables = level.scope.tables.iter();
            let found = tables
                .flat_map(|table| table.all_columns().map(move |column| (table, column)))
                .find(|(_, column)| column.internal == *internal);
            let Some((owner, column)) = found else { continue };
            if !owner.key.is_empty() && owner.key.iter().all(|key| grouped(key)) {
                distinct.push(column.typed());
                only.push(column.typed());
            }
        }
        Ok(())
    }

    /// The sets of group expressions; `None` without GROUP BY, one set unless there are GROUPING SETS.
    fn grouping_sets(&mut self, group_by: &ast::GroupByExpr, items: &[Item]) -> Result<Option<Vec<Vec<Typed>>>> {
        let exprs = match group_by {
            ast::GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
            ast::GroupByExpr::Expressions(..) => {
                let construct = "GROUPING SETS after a list without a comma";
                return Err(Error::unsupported(construct, "Write GROUP BY a, GROUPING SETS (...)."));
            }
            ast::GroupByExpr::All(_) => return Err(Error::unsupported("GROUP BY ALL", "List the columns.")),
        };
        if exprs.is_empty() {
            return Ok(None);
        }
        let mut sets: Vec<Vec<Typed>> = vec![Vec::new()];
        for expr in exprs {
            let alternatives = self.in_clause(Clause::GroupBy, |binder| binder.alternatives(expr, items))?;
            if sets.len().saturating_mul(alternatives.len()) > MAX_GROUPING_SETS {
                let message = format!("too many grouping sets present (maximum {MAX_GROUPING_SETS})");
                return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, message));
            }
            let mut next = Vec::with_capacity(sets.len() * alternatives.len());
            for set in &sets {
                for alternative in &alternatives {
                    let mut both = set.clone();
                    both.extend(alternative.iter().filter(|expr| !set.contains(expr)).cloned());
                    next.push(both);
                }
            }
            sets = next;
        }
        Ok(Some(sets))
    }

    /// The sets that one element of GROUP BY stands for.
    fn alternatives(&mut self, expr: &ast::Expr, items: &[Item]) -> Result<Vec<Vec<Typed>>> {
        let mut bind_all = |lists: &[Vec<ast::Expr>]| -> Result<Vec<Vec<Typed>>> {
            lists.iter().map(|list| list.iter().map(|expr| self.group_expr(expr, items)).collect()).collect()
        };
        match expr {
            ast::Expr::Tuple(elements) if elements.is_empty() => Ok(vec![Vec::new()]),
            ast::Expr::Tuple(elements) => {
                Ok(vec![elements.iter().map(|expr| self.group_expr(expr, items)).collect::<Result<_>>()?])
            }
            ast::Expr::GroupingSets(lists) => {
                let mut sets = Vec::new();
                for list in lists {
                    match list.as_slice() {
                        [nested @ (ast::Expr::GroupingSets(_) | ast::Expr::Rollup(_) | ast::Expr::Cube(_))] => {
                            sets.extend(self.alternatives(nested, items)?);
                        }
                        // Inside GROUPING SETS the parser takes these for calls.
                        [ast::Expr::Function(call)] if let Some(nested) = as_sets(call) => {
                            sets.extend(self.alternatives(&nested, items)?);
                        }
                        list => {
                            sets.push(list.iter().map(|expr| self.group_expr(expr, items)).collect::<Result<Vec<_>>>()?)
                        }
                    }
                }
                Ok(sets)
            }
            ast::Expr::Rollup(lists) => {
                let lists = bind_all(lists)?;
                Ok((0..=lists.len()).rev().map(|n| lists[..n].concat()).collect())
            }
            ast::Expr::Cube(lists) => {
                if lists.len() > 12 {
                    return Err(Error::new(SqlState::TOO_MANY_COLUMNS, "CUBE is limited to 12 elements")
                        .or_position(position(expr)));
                }
                let lists = bind_all(lists)?;
                let n = lists.len();
                // From all of them to none.
                Ok((0..1usize << n)
                    .rev()
                    .map(|mask| {
                        (0..n).filter(|i| mask >> (n - 1 - i) & 1 == 1).flat_map(|i| lists[i].clone()).collect()
                    })
                    .collect())
            }
            expr => Ok(vec![vec![self.group_expr(expr, items)?]]),
        }
    }

    /// A place in the select list, a column, a name of the select list, or an expression.
    fn group_expr(&mut self, expr: &ast::Expr, items: &[Item]) -> Result<Typed> {
        let at = position(expr);
        if let Some(index) = output_ordinal(expr, items.len(), "GROUP BY")? {
            return self.group_item(&items[index], at);
        }
        if let ast::Expr::Identifier(ident) = expr {
            let name = fold(ident);
            let column = self.level()?.scope.column(&name).map_err(|error| error.or_position(at))?.cloned();
            if column.is_none() {
                let mut found = items.iter().filter(|item| item.name == name);
                if let Some(item) = found.next() {
                    if found.any(|other| other.typed != item.typed) {
                        return Err(Error::new(
                            SqlState::AMBIGUOUS_COLUMN,
                            format!("GROUP BY \"{name}\" is ambiguous"),
                        )
                        .or_position(at));
                    }
                    return self.group_item(item, at);
                }
            }
        }
        let typed = self.expr(expr)?;
        self.coerce_unknown(typed)
    }

    fn group_item(&mut self, item: &Item, at: Option<u32>) -> Result<Typed> {
        let computed: Vec<String> = {
            let level = self.level()?;
            let aggregates = level.aggregates.iter().map(|(_, name, _)| name.clone());
            aggregates.chain(level.windows.iter().map(|(_, name)| name.clone())).collect()
        };
        let contains = item
            .typed
            .expr
            .exists(|node| Ok(matches!(node, Expr::Column(column) if computed.contains(&column.name))))?;
        if contains {
            return Err(self.forbid_in("aggregate functions", SqlState::GROUPING_ERROR).or_position(item.at.or(at)));
        }
        self.coerce_unknown(item.typed.clone())
    }
}

/// `rollup(a, (b, c))` and `cube(...)`, read as calls.
fn as_sets(call: &ast::Function) -> Option<ast::Expr> {
    let [ast::ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return None };
    let ast::FunctionArguments::List(arguments) = &call.args else { return None };
    let list = |arg: &ast::FunctionArg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Tuple(list))) => Some(list.clone()),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(vec![expr.clone()]),
        _ => None,
    };
    let lists = || arguments.args.iter().map(list).collect::<Option<Vec<_>>>();
    match (name.quote_style, name.value.to_ascii_lowercase().as_str()) {
        (None, "rollup") => lists().map(ast::Expr::Rollup),
        (None, "cube") => lists().map(ast::Expr::Cube),
        _ => None,
    }
}

fn note_outer(
    outer: &[Expr],
    scope: &BTreeSet<String>,
    kept: &impl Fn(&str) -> bool,
    bad: &mut Option<(String, bool)>,
) {
    for expr in outer {
        if let Expr::OuterReferenceColumn(_, column) = expr
            && scope.contains(&column.name)
            && !kept(&column.name)
        {
            bad.get_or_insert((column.name.clone(), true));
        }
    }
}

/// GROUPING(...) from DataFusion's grouping id, in which the first group expression has the highest bit, set where
/// a row's set leaves it out.
fn grouping_value(args: &[Expr], groups: &[Expr], id_type: Option<&arrow::datatypes::DataType>) -> Result<Expr> {
    let mut places = Vec::with_capacity(args.len());
    for arg in args {
        let Some(place) = groups.iter().position(|group| group == arg) else {
            let message = "arguments to GROUPING must be grouping expressions of the associated query level";
            return Err(Error::new(SqlState::GROUPING_ERROR, message));
        };
        places.push(place);
    }
    let int4 = |value: i32| Expr::Literal(ScalarValue::Int32(Some(value)), None);
    let Some(id_type) = id_type else { return Ok(int4(0)) };
    let id = column_expr(Aggregate::INTERNAL_GROUPING_ID);
    let mut value: Option<Expr> = None;
    for (index, place) in places.iter().enumerate() {
        let bit = 1u64 << (groups.len() - 1 - place);
        let bit = ScalarValue::UInt64(Some(bit)).cast_to(id_type)?;
        let masked = Expr::BinaryExpr(BinaryExpr {
            left: Box::new(id.clone()),
            op: Operator::BitwiseAnd,
            right: Box::new(Expr::Literal(bit.clone(), None)),
        });
        let set = Expr::BinaryExpr(BinaryExpr {
            left: Box::new(masked),
            op: Operator::Eq,
            right: Box::new(Expr::Literal(bit, None)),
        });
        let worth = 1 << (places.len() - 1 - index);
        let term = Expr::Case(Case {
            expr: None,
            when_then_expr: vec![(Box::new(set), Box::new(int4(worth)))],
            else_expr: Some(Box::new(int4(0))),
        });
        value = Some(match value {
            None => term,
            Some(sum) => {
                Expr::BinaryExpr(BinaryExpr { left: Box::new(sum), op: Operator::Plus, right: Box::new(term) })
            }
        });
    }
    Ok(value.unwrap_or_else(|| int4(0)))
}
