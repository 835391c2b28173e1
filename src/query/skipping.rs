//! Scans under a filter leave out chunks in which nothing can pass it, by what their columns lie between.
//!
//! The filter stays: a chunk that is read holds other rows too. Which chunks may hold something is DataFusion's to say
//! (`PruningPredicate`); it is shown only conditions that mean the same of a column's ends as of its rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column as ColumnName, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};

use super::provider::ScanExec;
use crate::engine::read::{ChunkFilter, Chunks};
use crate::error::Result;

/// Shows each scan that stands directly under a filter what it is for. Runs before rules that put something between.
#[derive(Debug)]
pub struct SkipChunks;

impl PhysicalOptimizerRule for SkipChunks {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let show = |node: Arc<dyn ExecutionPlan>| {
            let Some(filter) = node.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(node)) };
            let Some(scan) = filter.input().downcast_ref::<ScanExec>() else { return Ok(Transformed::no(node)) };
            let wanted = Wanted::new(filter.predicate(), scan.schema(), scan.columns());
            let Some(scan) = wanted.and_then(|wanted| scan.skipping(Arc::new(wanted))) else {
                return Ok(Transformed::no(node));
            };
            let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
            Ok(Transformed::yes(node.replace_children(vec![Arc::new(scan)], keep)?))
        };
        plan.transform_up(show).data()
    }

    fn name(&self) -> &str {
        "skip_chunks"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The rows for which a condition on a scan's columns is true.
pub struct Wanted {
    condition: PruningPredicate,
    schema: SchemaRef,
    /// The stored column of each of the scan's.
    stored: HashMap<String, usize>,
}

impl Wanted {
    /// `None` if the condition says nothing of single columns. `stored`: for each column of the scan which of the relation's it is.
    fn new(condition: &Arc<dyn PhysicalExpr>, schema: SchemaRef, stored: &[usize]) -> Option<Wanted> {
        let plain = split_conjunction(condition).into_iter().filter(|part| is_plain(part)).cloned();
        let builder = PruningPredicateBuilder::new().with_file_schema(schema.clone());
        let condition = builder.try_build(conjunction_opt(plain)?).ok()?;
        if condition.always_true() {
            return None;
        }
        let names = schema.fields().iter().map(|field| field.name().clone());
        let stored = names.zip(stored.iter().copied()).collect();
        Some(Wanted { condition, schema, stored })
    }
}

/// Whether it is made of columns, constants and comparisons only.
fn is_plain(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let itself = expr.is::<Column>()
        || expr.is::<Literal>()
        || expr.is::<BinaryExpr>()
        || expr.is::<InListExpr>()
        || expr.is::<IsNullExpr>()
        || expr.is::<IsNotNullExpr>()
        || expr.is::<NotExpr>()
        || expr.is::<CastExpr>();
    itself && expr.children().into_iter().all(is_plain)
}

impl ChunkFilter for Wanted {
    fn may_hold(&self, chunks: &Chunks<'_>) -> Result<Vec<bool>> {
        // What can't be judged is read.
        let judged = self.condition.prune(&Ends { wanted: self, chunks });
        Ok(judged.unwrap_or_else(|_| vec![true; chunks.count()]))
    }
}

/// The ends of the chunks' columns, as DataFusion asks for them.
struct Ends<'a> {
    wanted: &'a Wanted,
    chunks: &'a Chunks<'a>,
}

impl Ends<'_> {
    /// One end of a column in each chunk; NULL where it isn't known.
    fn ends(&self, column: &ColumnName, end: impl Fn(&(ArrayRef, ArrayRef)) -> &ArrayRef) -> Option<ArrayRef> {
        let stored = *self.wanted.stored.get(&column.name)?;
        let unknown = new_null_array(self.wanted.schema.field_with_name(&column.name).ok()?.data_type(), 1);
        let bounds = self.chunks.bounds(stored);
        let ends: Vec<&ArrayRef> =
            bounds.map(|bounds| bounds.and_then(|bounds| bounds.range.as_ref()).map_or(&unknown, &end)).collect();
        let ends: Vec<_> = ends.into_iter().map(|end| end.as_ref()).collect();
        concat(&ends).ok()
    }
}

impl PruningStatistics for Ends<'_> {
    fn min_values(&self, column: &ColumnName) -> Option<ArrayRef> {
        self.ends(column, |(least, _)| least)
    }

    fn max_values(&self, column: &ColumnName) -> Option<ArrayRef> {
        self.ends(column, |(_, greatest)| greatest)
    }

    fn num_containers(&self) -> usize {
        self.chunks.count()
    }

    fn null_counts(&self, column: &ColumnName) -> Option<ArrayRef> {
        let stored = *self.wanted.stored.get(&column.name)?;
        let nulls = self.chunks.bounds(stored).map(|bounds| bounds.map(|bounds| bounds.nulls as u64));
        Some(Arc::new(nulls.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.chunks.rows().map(|rows| Some(rows as u64)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &ColumnName, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::DFSchema;
    use datafusion::execution::context::ExecutionProps;
    use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
    use datafusion::physical_expr::create_physical_expr;
    use datafusion::prelude::{Expr, col, lit};

    use super::*;
    use crate::delta::Delta;
    use crate::state::{Arrangement, Deletes, Limits, Spec};

    /// Ten chunks of 100 rows: id ascends, name repeats, group is one value a chunk and NULL in the fourth.
    fn arrangement() -> Arc<Arrangement> {
        let fields = [("id", DataType::Int32), ("name", DataType::Utf8), ("group", DataType::Int32)];
        let schema = Arc::new(Schema::new(fields.map(|(name, ty)| Field::new(name, ty, true)).to_vec()));
        let limits = Limits { chunk_rows: 100, ..Limits::default() };
        let arrangement = Arrangement::new(schema.clone(), Spec { deletes: Deletes::None, limits }).unwrap();
        for chunk in 0..10 {
            let id = Int32Array::from_iter_values(chunk * 100..chunk * 100 + 100);
            let name = StringArray::from_iter_values((0..100).map(|row| format!("n{row:02}")));
            let group = Int32Array::from(vec![(chunk != 3).then_some(chunk); 100]);
            let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(id), Arc::new(name), Arc::new(group)]);
            let version = chunk as u64 + 1;
            arrangement.append(&[Delta::insertions(rows.unwrap())], version, version - 1).unwrap();
        }
        arrangement
    }

    /// Rows that a scan for the condition reads; all where it isn't judged.
    fn read(condition: Expr) -> usize {
        let arrangement = arrangement();
        let schema = arrangement.schema().clone();
        let columns = DFSchema::try_from(schema.as_ref().clone()).unwrap();
        let condition =
            create_physical_expr(&condition, &columns, &ExecutionProps::new(), &PhysicalPlanningContext::default())
                .unwrap();
        let rows = match Wanted::new(&condition, schema, &[0, 1, 2]) {
            Some(wanted) => arrangement.snapshot_of(10, &wanted).unwrap(),
            None => arrangement.snapshot(10).unwrap(),
        };
        rows.map(|delta| delta.unwrap().len()).sum()
    }

    #[test]
    fn only_chunks_that_may_hold_something_are_read() {
        assert_eq!(read(col("id").gt(lit(849))), 200);
        assert_eq!(read(col("id").between(lit(150), lit(320)).and(col("name").gt(lit("n5")))), 300);
        assert_eq!(read(col("id").lt(lit(0)).or(col("group").eq(lit(5)))), 100);
        assert_eq!(read(col("id").in_list(vec![lit(3), lit(950)], false)), 200);
        assert_eq!(read(col("group").is_null()), 100);
        assert_eq!(read(col("name").eq(lit("x"))), 0);
    }

    #[test]
    fn what_cannot_be_judged_is_read() {
        assert_eq!(read(col("name").gt(lit("n50"))), 1000);
        assert_eq!(read((col("id") % lit(100)).eq(lit(7))), 1000);
        assert_eq!(read(col("id").eq(col("group"))), 1000);
        assert_eq!(read(col("id").not_eq(lit(5)).or(col("id").is_null())), 1000);
    }
}
