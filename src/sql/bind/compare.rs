//! Comparisons: of rows, with lists, ranges and patterns, ANY and ALL over arrays.

use arrow::array::{Array, AsArray};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use sqlparser::ast;

use super::Binder;
use super::expr::{balanced, operator_name, operator_position, position, row_elements};
use crate::error::{Error, Result, SqlState};
use crate::sql::arrays;
use crate::sql::registry::{self, CastContext, Typed};
use crate::types::Type;

impl Binder<'_> {
    pub(super) fn distinct_from(&mut self, left: &ast::Expr, right: &ast::Expr, distinct: bool) -> Result<Typed> {
        let name = if distinct { "is distinct from" } else { "is not distinct from" };
        if let (Some(left), Some(right)) = (row_elements(left), row_elements(right)) {
            check_row_lengths(&left, &right)?;
            let mut parts = Vec::with_capacity(left.len());
            for (left, right) in left.iter().zip(right.iter()) {
                parts.push(self.distinct_from(left, right, distinct)?.expr);
            }
            let op = if distinct { Operator::Or } else { Operator::And };
            return Ok(Typed::new(balanced(parts, op), Type::Bool));
        }
        let at = position(right);
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        self.operator(name, Some(left), right, at)
    }

    pub(super) fn between(
        &mut self,
        expr: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
    ) -> Result<Typed> {
        let at = position(expr);
        let (value, low, high) = (self.expr(expr)?, self.expr(low)?, self.expr(high)?);
        let (first, second, op) = match negated {
            false => (">=", "<=", Operator::And),
            true => ("<", ">", Operator::Or),
        };
        let lower = self.operator(first, Some(value.clone()), low, at)?;
        let upper = self.operator(second, Some(value), high, at)?;
        Ok(Typed::new(balanced(vec![lower.expr, upper.expr], op), Type::Bool))
    }

    pub(super) fn in_list(&mut self, expr: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Typed> {
        if let [ast::Expr::Subquery(query)] = list {
            return self.in_subquery(expr, query, negated);
        }
        let at = position(expr);
        let equal = match row_elements(expr) {
            Some(left) => {
                let mut alternatives = Vec::with_capacity(list.len());
                for item in list {
                    let Some(right) = row_elements(item) else {
                        return Err(Error::new(SqlState::UNDEFINED_FUNCTION, "a row is compared with a single value")
                            .or_position(position(item)));
                    };
                    alternatives.push(self.row_comparison(&left, "=", &right)?.expr);
                }
                balanced(alternatives, Operator::Or)
            }
            None => {
                let value = self.expr(expr)?;
                let items = self.exprs(list)?;
                self.equals_any(value, items, at)?
            }
        };
        Ok(Typed::new(if negated { Expr::Not(Box::new(equal)) } else { equal }, Type::Bool))
    }

    /// `value = item OR ...`: an IN list where every comparison is Arrow's own over the same value.
    pub(super) fn equals_any(&mut self, value: Typed, items: Vec<Typed>, at: Option<u32>) -> Result<Expr> {
        // As with =ANY(ARRAY[...]), the items take one type first, if they have one.
        let mut all = vec![value.clone()];
        all.extend(items.iter().cloned());
        let (value, items) = match registry::common_type(&all) {
            Ok(ty) if all.iter().any(|typed| typed.ty != Type::Unknown) => {
                let context = CastContext::Implicit;
                let value = if value.ty == Type::Unknown { self.coerce(value, &ty, context)? } else { value };
                let mut cast = Vec::with_capacity(items.len());
                for item in items {
                    cast.push(if item.ty == Type::Unknown { self.coerce(item, &ty, context)? } else { item });
                }
                (value, cast)
            }
            _ => (value, items),
        };
        let mut comparisons = Vec::with_capacity(items.len());
        for item in items {
            comparisons.push(self.operator("=", Some(value.clone()), item, at)?.expr);
        }
        Ok(in_list_of(comparisons))
    }

    pub(super) fn like(
        &mut self,
        operator: &str,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        escape_function: &str,
    ) -> Result<Typed> {
        let at = operator_position(expr, "like", pattern);
        let value = self.expr(expr)?;
        let mut pattern = self.expr(pattern)?;
        let similar = escape_function == "similar_to_escape";
        if escape.is_some() || similar {
            let mut args = vec![pattern];
            if let Some(escape) = escape {
                args.push(self.value(escape)?);
            }
            pattern = self.scalar_call(escape_function, args, at)?;
        }
        self.operator(operator, Some(value), pattern, at)
    }

    /// Rows compare field by field, from the left.
    pub(super) fn row_comparison(&mut self, left: &[ast::Expr], op: &str, right: &[ast::Expr]) -> Result<Typed> {
        check_row_lengths(left, right)?;
        let at = left.first().and_then(position);
        let (left, right) = (self.exprs(left)?, self.exprs(right)?);
        self.rows_compared(left, op, right, at)
    }

    /// `(a, b) op (SELECT x, y ...)`: with the one row of the subquery.
    pub(super) fn row_with_subquery(&mut self, left: &[ast::Expr], op: &str, query: &ast::Query) -> Result<Typed> {
        let at = left.first().and_then(position);
        let right = self.row_subquery(query, left.len(), at)?;
        let left = self.exprs(left)?;
        self.rows_compared(left, op, right, at)
    }

    fn rows_compared(&mut self, left: Vec<Typed>, op: &str, right: Vec<Typed>, at: Option<u32>) -> Result<Typed> {
        let pair = |binder: &mut Self, index: usize, op: &str| -> Result<Expr> {
            Ok(binder.operator(op, Some(left[index].clone()), right[index].clone(), at)?.expr)
        };
        let expr = match op {
            "=" | "<>" => {
                let parts = (0..left.len()).map(|index| pair(self, index, op)).collect::<Result<Vec<_>>>()?;
                balanced(parts, if op == "=" { Operator::And } else { Operator::Or })
            }
            "<" | "<=" | ">" | ">=" => {
                let strict = &op[..1];
                let mut result = pair(self, left.len() - 1, op)?;
                for index in (0..left.len() - 1).rev() {
                    let before = pair(self, index, strict)?;
                    let equal = pair(self, index, "=")?;
                    let rest = balanced(vec![equal, result], Operator::And);
                    result = balanced(vec![before, rest], Operator::Or);
                }
                result
            }
            _ => {
                let message = format!("could not determine interpretation of row comparison operator {op}");
                return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
        };
        Ok(Typed::new(expr, Type::Bool))
    }

    /// `(start, end or length) OVERLAPS (start, end or length)`.
    pub(super) fn overlaps(&mut self, left: &ast::Expr, right: &ast::Expr) -> Result<Typed> {
        let at = position(left);
        let mut args = Vec::with_capacity(4);
        for (side, row) in [("left", left), ("right", right)] {
            let elements = row_elements(row).unwrap_or_default();
            let [start, end] = elements.as_ref() else {
                let message = format!("wrong number of parameters on {side} side of OVERLAPS expression");
                return Err(Error::new(SqlState::SYNTAX_ERROR, message).or_position(position(row)));
            };
            let (start, end) = (self.expr(start)?, self.expr(end)?);
            let end = match end.ty {
                Type::Interval => self.operator("+", Some(start.clone()), end, at)?,
                _ => end,
            };
            args.extend([start, end]);
        }
        self.scalar_call("overlaps", args, at)
    }

    /// `x op ANY (...)`, `x op ALL (...)`: over a subquery or an array.
    pub(super) fn quantified(
        &mut self,
        left: &ast::Expr,
        op: &ast::BinaryOperator,
        right: &ast::Expr,
        all: bool,
    ) -> Result<Typed> {
        let name = operator_name(op);
        let inner = match right {
            ast::Expr::Nested(inner) => inner.as_ref(),
            other => other,
        };
        if let ast::Expr::Subquery(query) = inner {
            return self.quantified_subquery(left, &name, query, all);
        }
        let at = operator_position(left, &name, right);
        let value = self.expr(left)?;
        // A list that is written out compares element by element.
        if let ast::Expr::Array(array) = inner
            && array.named
            && !array.elem.iter().any(|element| matches!(element, ast::Expr::Array(nested) if !nested.named))
        {
            let items = self.exprs(&array.elem)?;
            if !items.is_empty() {
                // An array of literals only is one of text.
                let texts = items.iter().all(|item| item.ty == Type::Unknown) && value.ty != Type::Unknown;
                let items = match texts {
                    true => items.into_iter().map(|item| self.coerce_unknown(item)).collect::<Result<Vec<_>>>()?,
                    false => items,
                };
                if name == "=" && !all {
                    return Ok(Typed::new(self.equals_any(value, items, at)?, Type::Bool));
                }
                let mut parts = Vec::with_capacity(items.len());
                for item in items {
                    parts.push(self.operator(&name, Some(value.clone()), item, at)?.expr);
                }
                let connective = if all { Operator::And } else { Operator::Or };
                return Ok(Typed::new(balanced(parts, connective), Type::Bool));
            }
        }
        let array = self.expr(inner)?;
        let array = match &array.ty {
            Type::Unknown => {
                let item = item_type(&value, &array)?;
                self.coerce(array, &Type::Array(Box::new(item)), CastContext::Implicit)?
            }
            _ => array,
        };
        let Type::Array(item) = array.ty.clone() else {
            let message = "op ANY/ALL (array) requires array on right side";
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).or_position(position(right)));
        };
        let comparisons = ["=", "<>", "<", "<=", ">", ">="];
        if let Expr::Literal(ScalarValue::List(list), _) = &array.expr
            && !comparisons.contains(&name.as_str())
            && list.len() == 1
            && list.is_valid(0)
            && !list.value(0).is_empty()
        {
            let values = list.value(0);
            let mut parts = Vec::with_capacity(values.len());
            for row in 0..values.len() {
                let literal = Expr::Literal(ScalarValue::try_from_array(&values, row)?, None);
                let literal = Typed::new(literal, item.as_ref().clone());
                parts.push(self.operator(&name, Some(value.clone()), literal, at)?.expr);
            }
            let connective = if all { Operator::And } else { Operator::Or };
            return Ok(Typed::new(balanced(parts, connective), Type::Bool));
        }
        // What `value op item` means is asked of the registry with a stand-in for the item.
        let stand_in = Typed::new(super::scope::column_expr("item"), item.as_ref().clone());
        let comparison = self.operator(&name, Some(value), stand_in, at)?;
        arrays::quantified(comparison.expr, array, all).map_err(|error| error.or_position(at))
    }
}

/// The type of the elements of an array literal or a parameter that a value is compared with: the value's own, without
/// a length; a numeric wide enough for them all.
fn item_type(value: &Typed, array: &Typed) -> Result<Type> {
    if value.ty == Type::Unknown {
        return Ok(Type::Text);
    }
    let mut common = registry::CommonType::default();
    common.add(value, "ARRAY")?;
    let texts = match (&value.ty, &array.expr) {
        (Type::Numeric(_), Expr::Literal(ScalarValue::Utf8(Some(_)), _)) => {
            registry::coerce(array.clone(), &Type::Array(Box::new(Type::Text)), CastContext::Implicit)?.expr
        }
        (_, other) => other.clone(),
    };
    match texts {
        Expr::Literal(ScalarValue::List(list), _) if list.len() == 1 && list.is_valid(0) => {
            if let Some(items) = list.value(0).as_string_opt::<i32>() {
                for item in items {
                    common.add(
                        &Typed::new(Expr::Literal(ScalarValue::Utf8(item.map(str::to_string)), None), Type::Unknown),
                        "ARRAY",
                    )?;
                }
            }
        }
        other => common.add(&Typed::new(other, Type::Unknown), "ARRAY")?,
    }
    Ok(common.finish())
}

/// `a OR b OR ...` of comparisons: an IN list if all are `same = other`.
fn in_list_of(comparisons: Vec<Expr>) -> Expr {
    let same_left = |a: &Expr, b: &Expr| match (a, b) {
        (Expr::BinaryExpr(a), Expr::BinaryExpr(b)) => a.op == Operator::Eq && b.op == Operator::Eq && a.left == b.left,
        _ => false,
    };
    let uniform = comparisons.len() > 1 && comparisons.iter().all(|comparison| same_left(&comparisons[0], comparison));
    if !uniform {
        return balanced(comparisons, Operator::Or);
    }
    let mut value = None;
    let mut list = Vec::with_capacity(comparisons.len());
    for comparison in comparisons {
        if let Expr::BinaryExpr(BinaryExpr { left, right, .. }) = comparison {
            value = Some(left);
            list.push(*right);
        }
    }
    match value {
        Some(expr) => Expr::InList(InList { expr, list, negated: false }),
        None => Expr::Literal(ScalarValue::Boolean(Some(false)), None),
    }
}

fn check_row_lengths(left: &[ast::Expr], right: &[ast::Expr]) -> Result<()> {
    match left.len() == right.len() {
        true => Ok(()),
        false => Err(Error::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions")
            .or_position(left.first().and_then(position))),
    }
}
