//! IN lists, kept from being made one where that forgets NULL.
//!
//! DataFusion's simplifier merges two lists over one value: `x IN (1, 2) AND x IN (2, 3)` becomes `x IN (2)`, and a list
//! that is left empty a literal. It compares items as they are written, and takes the value for one that is never NULL
//! and the items for constants that aren't either: `x IN (1, 2) AND x NOT IN (2, NULL)` would be `x IN (1)`, where it is
//! never true, and `x IN (1) AND x IN (2)` false where x is NULL. `x = 1 OR x = 2` becomes a list there too.
//!
//! So while it looks at an expression in which lists could meet, each is over a value that looks different: `list(x)` with a
//! number. Alternatives of one OR are left alone: to make one list of them is right, whatever is NULL.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// DataFusion's rule, for any lists.
#[derive(Debug, Default)]
pub struct SimplifyWithNulls {
    rule: SimplifyExpressions,
}

impl OptimizerRule for SimplifyWithNulls {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let told_apart = plan.map_expressions(tell_apart)?;
        let simplified = self.rule.rewrite(told_apart.data, config)?;
        if !told_apart.transformed {
            return Ok(simplified);
        }
        simplified.map_data(|plan| Ok(plan.transform_up(|node| node.map_expressions(as_it_was))?.data))
    }
}

/// The value itself, by a name that another list's value does not have.
#[derive(Debug, PartialEq, Eq, Hash)]
struct List {
    number: usize,
    signature: Signature,
}

impl ScalarUDFImpl for List {
    fn name(&self) -> &str {
        "list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(args.arg_fields[0].clone())
    }

    /// Columns keep the names they have without it.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args[0].schema_name().to_string())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}

/// A list, or a comparison that may become a part of one.
struct Part {
    value: Expr,
    is_list: bool,
    /// The OR that it is an alternative of.
    of: Option<usize>,
}

/// The parts of an expression.
#[derive(Default)]
struct Parts {
    found: Vec<Part>,
    alternatives: usize,
    /// Whether there is anything that could make comparisons lists.
    connected: bool,
}

impl Parts {
    fn collect(&mut self, expr: &Expr, of: Option<usize>) -> Result<()> {
        if let Some(value) = value_of(expr) {
            let is_list = matches!(expr, Expr::InList(_));
            let alternative = match expr {
                Expr::InList(list) => !list.negated,
                Expr::BinaryExpr(comparison) => comparison.op == Operator::Eq,
                _ => false,
            };
            self.found.push(Part { value: value.clone(), is_list, of: of.filter(|_| alternative) });
        }
        let inner = match expr {
            Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
                self.connected = true;
                self.alternatives += 1;
                Some(of.unwrap_or(self.alternatives))
            }
            Expr::Not(_) | Expr::Case(_) => {
                self.connected = true;
                None
            }
            _ => None,
        };
        expr.apply_children(|child| {
            self.collect(child, inner)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    /// Whether parts over this value could meet in another way than as alternatives of one OR.
    fn could_meet(&self, value: &Expr) -> bool {
        let mut parts = self.found.iter().filter(|part| part.value == *value);
        let Some(first) = parts.next() else { return false };
        let (mut others, mut apart, mut lists) = (false, false, first.is_list);
        for part in parts {
            others = true;
            apart |= first.of.is_none() || part.of != first.of;
            lists |= part.is_list;
        }
        others && apart && (lists || self.connected)
    }
}

/// What a list is over, or a comparison of a column with a constant: without the casts around it, which the simplifier
/// takes away.
fn value_of(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::InList(list) => Some(uncast(&list.expr)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::NotEq, right }) => {
            let (left, right) = (uncast(left), uncast(right));
            match (left, right) {
                (Expr::Column(_), other) if !other.any_column_refs() => Some(left),
                (other, Expr::Column(_)) if !other.any_column_refs() => Some(right),
                _ => None,
            }
        }
        _ => None,
    }
}

fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => uncast(expr),
        other => other,
    }
}

fn tell_apart(expr: Expr) -> Result<Transformed<Expr>> {
    let mut parts = Parts::default();
    parts.collect(&expr, None)?;
    let values: HashSet<&Expr> = parts.found.iter().map(|part| &part.value).collect();
    let meeting: Vec<Expr> = values.into_iter().filter(|value| parts.could_meet(value)).cloned().collect();
    if meeting.is_empty() {
        return Ok(Transformed::no(expr));
    }
    // Equal comparisons stay equal, so that what two sides of an OR share is still seen; of a list no two are.
    let (mut known, mut lists) = (HashMap::new(), 0..);
    expr.transform_down(|node| {
        let Some(value) = value_of(&node).filter(|value| meeting.contains(value)).cloned() else {
            return Ok(Transformed::no(node));
        };
        let mut next = || lists.next().unwrap_or_default();
        let number = match &node {
            Expr::InList(_) => next(),
            comparison => *known.entry(comparison.clone()).or_insert_with(next),
        };
        Ok(Transformed::yes(match node {
            Expr::InList(mut list) => {
                list.expr = Box::new(numbered(*list.expr, number));
                Expr::InList(list)
            }
            Expr::BinaryExpr(mut comparison) => {
                let side = match *uncast(&comparison.left) == value {
                    true => &mut comparison.left,
                    false => &mut comparison.right,
                };
                **side = numbered(std::mem::take(&mut **side), number);
                Expr::BinaryExpr(comparison)
            }
            other => other,
        }))
    })
}

/// The number goes under the casts.
fn numbered(expr: Expr, number: usize) -> Expr {
    match expr {
        Expr::Cast(mut cast) => {
            *cast.expr = numbered(std::mem::take(&mut *cast.expr), number);
            Expr::Cast(cast)
        }
        Expr::TryCast(mut cast) => {
            *cast.expr = numbered(std::mem::take(&mut *cast.expr), number);
            Expr::TryCast(cast)
        }
        value => {
            let function = List { number, signature: Signature::any(1, Volatility::Immutable) };
            let function = ScalarUDF::new_from_impl(function).into();
            Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![value]))
        }
    }
}

fn as_it_was(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|node| {
        Ok(match node {
            Expr::ScalarFunction(mut call) if call.func.inner().downcast_ref::<List>().is_some() => {
                Transformed::yes(call.args.swap_remove(0))
            }
            other => Transformed::no(other),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    fn differs(expr: Expr) -> bool {
        let changed = tell_apart(expr.clone()).unwrap();
        assert_eq!(changed.data.schema_name().to_string(), expr.schema_name().to_string());
        assert_eq!(as_it_was(changed.data).unwrap().data, expr);
        changed.transformed
    }

    fn list(column: &str, items: &[i32], negated: bool) -> Expr {
        col(column).in_list(items.iter().map(|item| lit(*item)).collect(), negated)
    }

    #[test]
    fn lists_over_one_value_are_told_apart() {
        assert!(differs(list("x", &[1, 2], false).and(list("x", &[2, 3], false))));
        assert!(differs(list("x", &[1, 2], false).and(list("x", &[2, 3], true))));
        assert!(differs(list("x", &[1, 2], true).or(list("x", &[2, 3], true))));
        let either = |a: i32, b: i32| col("x").eq(lit(a)).or(lit(b).eq(col("x")));
        assert!(differs(either(1, 2).and(either(3, 4))));
        assert!(differs(either(1, 2).and(list("x", &[3, 4], false))));
        assert!(differs(!(col("x").not_eq(lit(1)).and(col("x").not_eq(lit(2))))));
    }

    #[test]
    fn what_cannot_be_merged_wrongly_is_left_alone() {
        assert!(!differs(list("x", &[1, 2], false)));
        assert!(!differs(list("x", &[1, 2], false).and(list("y", &[2, 3], true))));
        assert!(!differs(col("x").eq(lit(1)).or(col("x").eq(lit(2))).or(list("x", &[3, 4], false))));
        assert!(!differs(!(col("x").eq(lit(1)).or(col("x").eq(lit(2))))));
        assert!(!differs(col("x").not_eq(lit(1)).and(col("x").not_eq(lit(2)))));
        assert!(!differs(col("x").eq(col("y")).or(col("x").eq(col("z")))));
    }
}
