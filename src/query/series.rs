//! generate_series over constants as a stream of rows: no array of them is ever made, a LIMIT or a cancel stops it.
//!
//! The binder's form is an Unnest of an array over one row, which is what views run. For a read [`streamed`] puts a
//! leaf in its place, which the planner makes executable.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::{LazyBatchGenerator, LazyMemoryExec};
use datafusion::scalar::ScalarValue;
use parking_lot::RwLock;

use super::constant;
use super::execution::batch_rows;
use crate::error::{Error, Result};
use crate::operators::series::Series;
use crate::sql::arrays::series_args;

/// A series in a plan: one column, no inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeriesNode {
    /// Start, stop, step and perhaps a zone.
    args: Vec<ScalarValue>,
    schema: DFSchemaRef,
}

impl PartialOrd for SeriesNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self == other).then_some(std::cmp::Ordering::Equal)
    }
}

/// The plan with a leaf for every series whose arguments are known.
pub fn streamed(plan: LogicalPlan) -> Result<LogicalPlan> {
    let streamed = plan.transform_up_with_subqueries(|node| {
        Ok(match series_of(&node)? {
            Some(series) => Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(series) })),
            None => Transformed::no(node),
        })
    })?;
    Ok(streamed.data)
}

fn series_of(plan: &LogicalPlan) -> Result<Option<SeriesNode>> {
    let LogicalPlan::Unnest(unnest) = plan else { return Ok(None) };
    let LogicalPlan::Projection(list) = unnest.input.as_ref() else { return Ok(None) };
    let (LogicalPlan::EmptyRelation(row), [Expr::Alias(only)]) = (list.input.as_ref(), list.expr.as_slice()) else {
        return Ok(None);
    };
    let Some(args) = series_args(&only.expr).filter(|_| row.produce_one_row) else { return Ok(None) };
    let values = args.iter().map(constant::value_of).collect::<Result<Option<Vec<_>>>>()?;
    Ok(values.map(|args| SeriesNode { args, schema: unnest.schema.clone() }))
}

impl SeriesNode {
    pub fn plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema.inner().clone();
        let rows = SeriesBatches::new(self.args.clone(), schema.clone())?;
        Ok(Arc::new(LazyMemoryExec::try_new(schema, vec![Arc::new(RwLock::new(rows))])?))
    }
}

impl UserDefinedLogicalNodeCore for SeriesNode {
    fn name(&self) -> &str {
        "Series"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Series: {}", shown(&self.args))
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        match inputs.is_empty() {
            true => Ok(self.clone()),
            false => Err(Error::internal("a series has no inputs").into()),
        }
    }
}

fn shown(args: &[ScalarValue]) -> String {
    args.iter().map(|arg| arg.to_string()).collect::<Vec<_>>().join(", ")
}

/// Makes a series' batches one after the other.
#[derive(Debug)]
struct SeriesBatches {
    args: Vec<ScalarValue>,
    schema: SchemaRef,
    /// `None`: an argument is NULL, which makes no rows.
    series: Option<Series>,
}

impl SeriesBatches {
    fn new(args: Vec<ScalarValue>, schema: SchemaRef) -> Result<SeriesBatches> {
        let arrays = args.iter().map(|arg| Ok(arg.to_array()?)).collect::<Result<Vec<ArrayRef>>>()?;
        Ok(SeriesBatches { series: Series::of(&arrays, 0)?, args, schema })
    }
}

impl fmt::Display for SeriesBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "series({})", shown(&self.args))
    }
}

impl LazyBatchGenerator for SeriesBatches {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn generate_next_batch(&mut self) -> DfResult<Option<RecordBatch>> {
        let Some(series) = &mut self.series else { return Ok(None) };
        let values = series.take(batch_rows(), self.schema.field(0).data_type())?;
        match values.is_empty() {
            true => Ok(None),
            false => Ok(Some(RecordBatch::try_new(self.schema.clone(), vec![values])?)),
        }
    }

    fn reset_state(&self) -> Arc<RwLock<dyn LazyBatchGenerator>> {
        let fresh = SeriesBatches::new(self.args.clone(), self.schema.clone());
        // The arguments were good the first time.
        let fresh = fresh.unwrap_or_else(|_| SeriesBatches {
            args: self.args.clone(),
            schema: self.schema.clone(),
            series: None,
        });
        Arc::new(RwLock::new(fresh))
    }
}
