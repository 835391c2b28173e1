//! A value that may be NULL though the expression says it can't: that of a subquery without rows.
//!
//! DataFusion takes the nullability of a scalar subquery from the column inside it, and folds `IS NULL` and coalesce by
//! it. The function here hands its argument on and only says that it may be NULL; it counts as volatile so that no rule
//! looks through it.

use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use arrow::datatypes::DataType;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Nullable {
    signature: Signature,
}

pub fn nullable(expr: Expr) -> Expr {
    let function = Nullable { signature: Signature::any(1, Volatility::Volatile) };
    Expr::ScalarFunction(ScalarFunction::new_udf(ScalarUDF::new_from_impl(function).into(), vec![expr]))
}

/// Whether it is that function, which is not volatile at all.
pub fn is_nullable(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Nullable>().is_some()
}

/// Whether a plan gives one row whatever its inputs hold.
pub fn always_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Values(values) => values.values.len() == 1,
        LogicalPlan::Projection(projection) => always_one_row(&projection.input),
        LogicalPlan::Window(window) => always_one_row(&window.input),
        _ => false,
    }
}

impl ScalarUDFImpl for Nullable {
    fn name(&self) -> &str {
        "nullable"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(args.args.swap_remove(0))
    }
}
