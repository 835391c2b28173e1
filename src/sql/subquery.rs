//! What views and reads do alike with subqueries in expressions.

use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt32Array};
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, Spans};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery,
    Volatility,
};
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};

use super::aggregates::udaf;
use crate::error::{Error, Result};
use crate::operators::aggregate::AggregateFunction;
use crate::operators::scalar_subquery::several_rows;

/// The subquery that an expression is about, if it is one itself.
pub fn subquery_in(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(inside) => Some(&inside.subquery),
        Expr::SetComparison(set) => Some(&set.subquery),
        _ => None,
    }
}

/// Whether there are subqueries in an expression.
pub fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|node| Ok(subquery_in(node).is_some())).unwrap_or(false)
}

/// Rewrites every expression of a plan, and of the plans of its subqueries if `nested`; column names stay.
pub fn map_expressions(
    plan: LogicalPlan,
    nested: bool,
    change: &mut dyn FnMut(Expr, &[DFSchemaRef]) -> DfResult<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let each = |node: LogicalPlan| {
        let names = NamePreserver::new(&node);
        let schemas: Vec<DFSchemaRef> = node.inputs().iter().map(|input| input.schema().clone()).collect();
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| change(expr, &schemas))?;
            Ok(match changed.transformed {
                true => changed.update_data(|expr| name.restore(expr)),
                false => changed,
            })
        })
    };
    let changed = match nested {
        true => plan.transform_up_with_subqueries(each)?,
        false => plan.transform_up(each)?,
    };
    Ok(match changed.transformed {
        true => changed.data.recompute_schema()?,
        false => changed.data,
    })
}

/// `op ANY` and `op ALL` over subqueries as EXISTS, with all three truth values.
pub fn comparisons_as_exists(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(RewriteSetComparison::new().rewrite(plan, &OptimizerContext::new())?.data)
}

/// The columns of the query around it that a subquery names, however deep inside it; `inputs` is where they are from.
pub fn outer_columns(subquery: &LogicalPlan, inputs: &[DFSchemaRef]) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    subquery.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::OuterReferenceColumn(_, column) = expr
                    && inputs.iter().any(|schema| schema.has_column(column))
                    && !columns.contains(column)
                {
                    columns.push(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(columns)
}

/// Functions that stand for subqueries: what is asked of their rows.
pub mod asks {
    /// The value of a joined one that has one row or none: [`super::only_row`].
    pub const ONLY: &str = "only";
    /// The others run it for each row (`query/subquery.rs`).
    pub const VALUE: &str = "subquery";
    pub const EXISTS: &str = "exists";
    pub const IN: &str = "in_subquery";
    pub const ROWS: &str = "rows";
}

/// Whether a call of a function that is none of PostgreSQL's stands for a subquery: one that may have several rows, or in which
/// anything may fail.
pub fn stands_for_subquery(call: &ScalarFunction) -> bool {
    [asks::ONLY, asks::VALUE, asks::EXISTS, asks::IN, asks::ROWS].contains(&call.func.name())
}

/// Whether a subquery never has more than one row.
pub fn has_one_row(subquery: &Subquery) -> bool {
    subquery.subquery.max_rows().is_some_and(|rows| rows <= 1)
}

/// The value of a scalar subquery that may have several rows, by one that always has one: `only(first_two(value))`. The
/// error is raised above the join that this becomes, so only for an outer row that really has several.
pub fn only_row(subquery: Subquery) -> Result<Expr> {
    let (qualifier, field) = subquery.subquery.schema().qualified_field(0);
    let value = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    let item = field.data_type().clone();
    let list = DataType::List(Arc::new(Field::new_list_field(item.clone(), true)));
    let two = udaf(AggregateFunction::FirstTwo, std::slice::from_ref(&item), list);
    let two = two.call(vec![value]).alias(format!("rows#{}", field.name()));
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(subquery.subquery.clone(), Vec::new(), vec![two])?);
    let outer_ref_columns = plan.all_out_ref_exprs();
    let rows = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() };
    let only = Arc::new(ScalarUDF::new_from_impl(Only::new(item)));
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(only, vec![Expr::ScalarSubquery(rows)])))
}

/// The element of a list of at most one; NULL for none; 21000 for more.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Only {
    item: DataType,
    signature: Signature,
}

impl Only {
    fn new(item: DataType) -> Only {
        Only { item, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Only {
    fn name(&self) -> &str {
        asks::ONLY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.item.clone())
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let list = args.args[0].to_array(args.number_rows)?;
        let Some(list) = list.as_list_opt::<i32>() else {
            return Err(Error::internal("only() is of a list").into());
        };
        let mut places = Vec::with_capacity(list.len());
        for row in 0..list.len() {
            places.push(match list.value_length(row) {
                _ if list.is_null(row) => None,
                0 => None,
                1 => Some(list.value_offsets()[row] as u32),
                _ => return Err(several_rows().into()),
            });
        }
        let places = UInt32Array::from(places);
        Ok(ColumnarValue::Array(arrow::compute::take(list.values(), &places, None)?))
    }
}
