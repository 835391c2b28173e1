//! Joins in which NULL meets NULL, kept from rules that would make one of it that doesn't, or of others one that does.
//!
//! DataFusion keeps for a join whether NULLs are equal, for all of its keys. But `ExtractEquijoinPredicate` adds keys to
//! such a join from a condition in which NULLs are not equal, and `EliminateCrossJoin` puts joins of both kinds together
//! as one. So while the rules run a key is `same(x)`, a value that is never NULL, and the join an ordinary one; then
//! [`null_equals_null`] says it as it is.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::NullEquality;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::error::Result;
use crate::operators::ordered_rows;

/// The value as bytes that are equal where values are, and where both are NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Same {
    signature: Signature,
}

pub fn same(expr: Expr) -> Expr {
    let function = Same { signature: Signature::any(1, Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(ScalarUDF::new_from_impl(function).into(), vec![expr]))
}

fn inside(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Same>().is_some() => call.args.first(),
        _ => None,
    }
}

impl ScalarUDFImpl for Same {
    fn name(&self) -> &str {
        "same"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Binary)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), DataType::Binary, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        let key = ordered_rows::Field::key(values.data_type().clone(), SortOptions::default());
        let encoding = ordered_rows::OrderedRows::new(vec![key])?;
        let mut rows = encoding.scratch();
        encoding.encode(&[values], &mut rows)?;
        let mut bytes = BinaryBuilder::new();
        rows.iter().for_each(|row| bytes.append_value(row.data()));
        Ok(ColumnarValue::Array(Arc::new(bytes.finish()) as ArrayRef))
    }
}

/// Joins by `same(l) = same(r)` become joins by `l = r` in which NULLs are equal. Keys beside these of which both sides
/// may be NULL go to the condition, where they keep their meaning.
pub fn null_equals_null(plan: LogicalPlan) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Join(mut join) = node else { return Ok(Transformed::no(node)) };
        let known = |(l, r): &(Expr, Expr)| Some((inside(l)?.clone(), inside(r)?.clone()));
        if join.null_equality == NullEquality::NullEqualsNull
            || join.null_aware
            || !join.on.iter().any(|on| known(on).is_some())
        {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let (mut on, mut conditions) = (Vec::with_capacity(join.on.len()), Vec::new());
        for pair in std::mem::take(&mut join.on) {
            if let Some(pair) = known(&pair) {
                on.push(pair);
            } else if pair.0.nullable(join.left.schema())? && pair.1.nullable(join.right.schema())? {
                conditions.push(pair.0.eq(pair.1));
            } else {
                on.push(pair);
            }
        }
        conditions.extend(join.filter.take());
        join.on = on;
        join.filter = conjunction(conditions);
        join.null_equality = NullEquality::NullEqualsNull;
        Ok(Transformed::yes(LogicalPlan::Join(join)))
    })?;
    Ok(changed.data)
}
