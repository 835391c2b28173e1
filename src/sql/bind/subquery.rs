//! Subqueries in expressions. DataFusion's rules turn them into joins; what they can't take is refused there.

use std::sync::Arc;

use datafusion::common::Spans;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Aggregate, Case, Expr, LogicalPlan, Operator, Subquery};
use sqlparser::ast;

use super::expr::{balanced, position, row_elements};
use super::scope::{Scope, ScopeColumn};
use super::{Binder, Clause, Output, project};
use crate::error::{Error, Result, SqlState};
use crate::sql::arrays;
use crate::sql::functions::compare;
use crate::sql::nullable::{always_one_row, nullable};
use crate::sql::registry::{self, AggregateOptions, CastContext, Typed};
use crate::types::Type;

/// Optimizing takes time exponential in this.
const MOST_SUBQUERIES: usize = 12;

impl Binder<'_> {
    /// 54001 beyond the depth that is taken.
    fn nested(&mut self, query: &ast::Query) -> Result<Output> {
        if self.levels.len() > MOST_SUBQUERIES {
            let message = format!("subqueries in expressions are nested more than {MOST_SUBQUERIES} levels deep");
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, message)
                .with_hint("Give the inner ones names in WITH, or make them views."));
        }
        self.query(query)
    }

    /// A query inside an expression, with the columns of the queries around it in sight.
    fn inner_query(&mut self, query: &ast::Query) -> Result<Output> {
        let output = self.nested(query)?;
        self.resolve_unknown(output)
    }

    fn one_column(&mut self, query: &ast::Query) -> Result<Output> {
        let output = self.nested(query)?;
        match output.columns.len() {
            1 => Ok(output),
            _ => Err(Error::new(SqlState::SYNTAX_ERROR, "subquery must return only one column")),
        }
    }

    pub(super) fn scalar_subquery(&mut self, query: &ast::Query) -> Result<Typed> {
        let output = self.one_column(query)?;
        let output = self.resolve_unknown(output)?;
        let ty = output.columns[0].ty.clone();
        let field = output.plan.schema().field_with_unqualified_name(&output.columns[0].internal)?;
        let plan = match field.is_nullable() || always_one_row(&output.plan) {
            true => output.plan,
            false => {
                let value = nullable(output.columns[0].expr()).alias(self.fresh("value"));
                project(Arc::new(output.plan), vec![value])?
            }
        };
        Ok(Typed::new(Expr::ScalarSubquery(subquery(plan)), ty))
    }

    pub(super) fn exists(&mut self, query: &ast::Query, negated: bool) -> Result<Typed> {
        let output = self.inner_query(query)?;
        Ok(Typed::new(Expr::Exists(Exists { subquery: subquery(output.plan), negated }), Type::Bool))
    }

    /// ARRAY(SELECT ...): the rows in their order, an empty array for none.
    pub(super) fn array_subquery(&mut self, query: &ast::Query) -> Result<Typed> {
        let output = self.one_column(query)?;
        let mut output = self.resolve_unknown(output)?;
        let (value, item) = (output.columns[0].expr(), output.columns[0].ty.clone());
        // The query's order becomes the aggregate's own.
        let mut order_by = Vec::new();
        if let Some(ordered) = self.ordered(&output.plan)? {
            (output.plan, order_by) = (ordered.plan, ordered.keys);
        }
        let options = AggregateOptions { distinct: false, filter: None, order_by };
        let aggregate = registry::aggregate("array_agg", vec![Typed::new(value, item.clone())], options)?;
        let name = self.fresh("array");
        let plan = Aggregate::try_new(Arc::new(output.plan), Vec::new(), vec![aggregate.expr.alias(&name)])?;
        let array = Expr::ScalarSubquery(subquery(LogicalPlan::Aggregate(plan)));
        let empty = arrays::make(Vec::new(), &item)?;
        let filled = Case {
            expr: None,
            when_then_expr: vec![(Box::new(Expr::IsNotNull(Box::new(array.clone()))), Box::new(array))],
            else_expr: Some(Box::new(empty.expr)),
        };
        Ok(Typed::new(Expr::Case(filled), Type::Array(Box::new(item))))
    }

    pub(super) fn in_subquery(&mut self, expr: &ast::Expr, query: &ast::Query, negated: bool) -> Result<Typed> {
        if let Some(elements) = row_elements(expr) {
            return self.row_in_subquery(&elements, query, negated);
        }
        let value = self.expr(expr)?;
        let output = self.inner_query(query)?;
        check_columns(output.columns.len(), 1, position(expr))?;
        let (value, output) = self.comparable(value, output, ("=", Operator::Eq), position(expr))?;
        let expr = Expr::InSubquery(InSubquery { expr: Box::new(value), subquery: subquery(output.plan), negated });
        Ok(Typed::new(expr, Type::Bool))
    }

    /// Keys of both sides, of the type in which `op` compares them; 42883 if it can't.
    fn comparable(
        &mut self,
        value: Typed,
        output: Output,
        (name, op): (&str, Operator),
        at: Option<u32>,
    ) -> Result<(Expr, Output)> {
        let item = output.typed().remove(0);
        let ty = match (&value.ty, &item.ty) {
            (Type::Unknown, Type::Unknown) => Type::Text,
            _ => match registry::common_type(&[value.clone(), item.clone()]) {
                Ok(ty) => ty,
                Err(_) => {
                    // The registry's words for an operator that does not exist.
                    self.operator(name, Some(value.clone()), item, at)?;
                    return Err(Error::internal("types that compare have a common type"));
                }
            },
        };
        let value = self.coerce(value, &ty, CastContext::Implicit).map_err(|error| error.or_position(at))?;
        let mut output = self.cast_output(output, std::slice::from_ref(&ty), CastContext::Implicit)?;
        let keyed = compare::keyed_for(op);
        let column = &mut output.columns[0];
        let key = keyed(column.typed());
        if key.expr != column.expr() {
            let internal = self.fresh("key");
            output.plan = project(Arc::new(output.plan), vec![key.expr.alias(&internal)])?;
            *column = ScopeColumn { ty: key.ty, internal, ..column.clone() };
        }
        Ok((keyed(value).expr, output))
    }

    /// `(a, b) [NOT] IN (SELECT x, y ...)`: whether a row of the subquery equals in every column, with all three truth
    /// values.
    fn row_in_subquery(&mut self, elements: &[ast::Expr], query: &ast::Query, negated: bool) -> Result<Typed> {
        let at = elements.first().and_then(position);
        // Bound as the subquery sees them: as columns of a query around it.
        let values = self.with_level(Scope::default(), Clause::RowOfIn, |binder| binder.exprs(elements))?;
        let output = self.inner_query(query)?;
        check_columns(output.columns.len(), values.len(), at)?;
        let mut conditions = Vec::with_capacity(values.len());
        for (value, item) in values.into_iter().zip(output.typed()) {
            conditions.push(self.operator("=", Some(item), value, at)?.expr);
        }
        let equal = balanced(conditions, Operator::And);
        let exists = |condition: Expr| -> Result<Expr> {
            let filter = datafusion::logical_expr::Filter::try_new(condition, Arc::new(output.plan.clone()))?;
            Ok(Expr::Exists(Exists { subquery: subquery(LogicalPlan::Filter(filter)), negated: false }))
        };
        let found = exists(equal.clone())?;
        let unknown = exists(Expr::IsUnknown(Box::new(equal)))?;
        let boolean = |value: Option<bool>| Box::new(registry::bool_literal(value).expr);
        let case = Case {
            expr: None,
            when_then_expr: vec![(Box::new(found), boolean(Some(!negated))), (Box::new(unknown), boolean(None))],
            else_expr: Some(boolean(Some(negated))),
        };
        Ok(Typed::new(Expr::Case(case), Type::Bool))
    }

    /// The columns of a subquery of at most one row, each as a value.
    pub(super) fn row_subquery(&mut self, query: &ast::Query, columns: usize, at: Option<u32>) -> Result<Vec<Typed>> {
        let output = self.inner_query(query)?;
        check_columns(output.columns.len(), columns, at)?;
        let mut values = Vec::with_capacity(columns);
        for column in output.typed() {
            let name = self.fresh("value");
            let plan = project(Arc::new(output.plan.clone()), vec![nullable(column.expr).alias(name)])?;
            values.push(Typed::new(Expr::ScalarSubquery(subquery(plan)), column.ty));
        }
        Ok(values)
    }

    /// `x op ANY (SELECT ...)`, `x op ALL (SELECT ...)`.
    pub(super) fn quantified_subquery(
        &mut self,
        left: &ast::Expr,
        op: &str,
        query: &ast::Query,
        all: bool,
    ) -> Result<Typed> {
        match (op, all) {
            ("=", false) => return self.in_subquery(left, query, false),
            ("<>", true) => return self.in_subquery(left, query, true),
            _ => {}
        }
        let at = position(left);
        let comparison = match op {
            "=" => Operator::Eq,
            "<>" => Operator::NotEq,
            "<" => Operator::Lt,
            "<=" => Operator::LtEq,
            ">" => Operator::Gt,
            ">=" => Operator::GtEq,
            _ => {
                let op = match op {
                    "~~" => "LIKE",
                    "!~~" => "NOT LIKE",
                    "~~*" => "ILIKE",
                    "!~~*" => "NOT ILIKE",
                    op => op,
                };
                return Err(Error::unsupported(
                    format!("{op} with ANY or ALL over a subquery"),
                    "Write it with EXISTS.",
                )
                .or_position(at));
            }
        };
        let value = self.expr(left)?;
        let output = self.one_column(query)?;
        let output = self.resolve_unknown(output)?;
        let (value, output) = self.comparable(value, output, (op, comparison), at)?;
        let set = SetComparison {
            expr: Box::new(value),
            subquery: subquery(output.plan),
            op: comparison,
            quantifier: if all { SetQuantifier::All } else { SetQuantifier::Any },
        };
        Ok(Typed::new(Expr::SetComparison(set), Type::Bool))
    }
}

/// A condition that holds where this one does, which need not tell NULL from false: of a row's IN, on its own or among
/// AND and OR, only whether a row is found.
pub(super) fn null_as_false(condition: Expr) -> Result<Expr> {
    let boolean = |expr: &Expr, value: Option<bool>| *expr == registry::bool_literal(value).expr;
    let simpler = condition.transform_down(|node| {
        Ok(match node {
            Expr::BinaryExpr(ref binary) if matches!(binary.op, Operator::And | Operator::Or) => Transformed::no(node),
            Expr::Case(Case { expr: None, ref when_then_expr, else_expr: Some(ref other) })
                if let [(found, yes), (_, unknown)] = when_then_expr.as_slice()
                    && boolean(yes, Some(true))
                    && boolean(unknown, None)
                    && boolean(other, Some(false)) =>
            {
                Transformed::new(found.as_ref().clone(), true, TreeNodeRecursion::Jump)
            }
            other => Transformed::new(other, false, TreeNodeRecursion::Jump),
        })
    })?;
    Ok(simpler.data)
}

fn check_columns(given: usize, wanted: usize, at: Option<u32>) -> Result<()> {
    let message = match given.cmp(&wanted) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less => "subquery has too few columns",
        std::cmp::Ordering::Greater => "subquery has too many columns",
    };
    Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(at))
}

/// A plan with the outer columns it refers to.
pub(super) fn subquery(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }
}

/// Values as a plan of one row, for a query without FROM.
pub(super) fn one_row() -> LogicalPlan {
    LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
        produce_one_row: true,
        schema: Arc::new(datafusion::common::DFSchema::empty()),
    })
}
