//! Scans: how a plan's `TableScan` reads a relation's rows from the view of one epoch.
//!
//! Before the rules run, [`ScanSource`] stands for the relation and tells which filters it answers exactly (those that
//! a
//! lookup by key covers). When the plan is made executable, [`ScanPlanner`] looks such keys up, or puts a [`ScanExec`]
//! that reads batches one by one, only as far as somebody asks. The exact number of rows lets `count(*)` answer from
//! it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, Statistics};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, LogicalPlan, TableProviderFilterPushDown, TableScan, TableSource, UserDefinedLogicalNode,
};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::Stream;

use super::keys::{self, KeyFilter, Keys};
use super::series::SeriesNode;
use super::system::{self, RuntimeFacts};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::engine::ReadView;
use crate::engine::read::Batches;
use crate::error::{Error, Result};
use crate::sql::RelationSource;

/// A relation in a plan being optimised.
#[derive(Debug)]
pub struct ScanSource {
    source: RelationSource,
    /// Sets of columns it can be looked up by.
    lookups: Vec<Vec<usize>>,
}

impl ScanSource {
    pub fn new(source: RelationSource, catalog: &Catalog) -> ScanSource {
        let lookups = keys::lookups(&source.relation, catalog);
        ScanSource { source, lookups }
    }

    /// Each filter as a condition on a column of the relation, where it is one.
    fn key_filters<'a>(&self, filters: impl IntoIterator<Item = &'a Expr>) -> Vec<Option<KeyFilter<usize>>> {
        let column = |filter: &Expr| {
            let filter = keys::key_filter(filter, &[])?;
            let column = self.source.schema.index_of(&filter.column.name).ok()?;
            Some(filter.at(column))
        };
        filters.into_iter().map(column).collect()
    }
}

impl TableSource for ScanSource {
    fn schema(&self) -> SchemaRef {
        self.source.schema.clone()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let mut answers = vec![TableProviderFilterPushDown::Unsupported; filters.len()];
        if !self.lookups.is_empty() {
            let filters = self.key_filters(filters.iter().copied());
            if let Some((_, used)) = keys::choose(&self.lookups, &filters, &self.source.schema)? {
                used.into_iter().for_each(|place| answers[place] = TableProviderFilterPushDown::Exact);
            }
        }
        Ok(answers)
    }
}

/// Makes scans executable over one read view.
pub struct ScanPlanner {
    view: ReadView,
    facts: Arc<dyn RuntimeFacts>,
}

impl ScanPlanner {
    pub fn new(view: ReadView, facts: Arc<dyn RuntimeFacts>) -> ScanPlanner {
        ScanPlanner { view, facts }
    }

    /// Rows that the filters' keys have, and which filters that answers.
    fn look_up(&self, source: &ScanSource, filters: &[Expr]) -> Result<Option<(Vec<RecordBatch>, Keys, Vec<usize>)>> {
        let key_filters = source.key_filters(filters);
        let Some((keys, used)) = keys::choose(&source.lookups, &key_filters, &source.source.schema)? else {
            return Ok(None);
        };
        let rows = self.view.lookup(source.source.relation.id, &keys.columns, &keys.rows)?;
        Ok(rows.map(|rows| (rows, keys, used)))
    }

    fn rows(&self, relation: &Arc<Relation>) -> Rows {
        match relation.kind {
            RelationKind::System => Rows::System(self.view.clone(), self.facts.clone()),
            _ => Rows::Scan(self.view.clone()),
        }
    }

    fn plan(&self, scan: &TableScan, source: &ScanSource, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let relation = &source.source.relation;
        let found = self.look_up(source, &scan.filters)?;
        let (rows, keys, used) = match found {
            Some((batches, keys, used)) => (Rows::Found(batches), Some(keys), used),
            None => (self.rows(relation), None, Vec::new()),
        };
        let all: Vec<usize> = (0..source.source.schema.fields().len()).collect();
        let wanted = scan.projection.clone().unwrap_or_else(|| all.clone());
        let rest: Vec<Expr> =
            scan.filters.iter().enumerate().filter(|(i, _)| !used.contains(i)).map(|(_, f)| f.clone()).collect();
        let Some(predicate) = conjunction(rest) else {
            let schema = scan.projected_schema.inner().clone();
            return Ok(Arc::new(ScanExec::new(relation.clone(), rows, keys, wanted, schema, scan.fetch)));
        };
        // Filters that no lookup answers any more: read all columns, filter, then project.
        let schema = source.source.schema.clone();
        let read = ScanExec::new(relation.clone(), rows, keys, all, schema.clone(), None);
        let columns = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &schema)?;
        let filter = FilterExec::try_new(session.create_physical_expr(predicate, &columns)?, Arc::new(read))?;
        let project = wanted.into_iter().map(|column| {
            let name = schema.field(column).name();
            let expr: Arc<dyn PhysicalExpr> =
                Arc::new(datafusion::physical_expr::expressions::Column::new(name, column));
            ProjectionExpr::new(expr, name.clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(project.collect::<Vec<_>>(), Arc::new(filter))?))
    }
}

#[async_trait]
impl ExtensionPlanner for ScanPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        match node.as_any().downcast_ref::<SeriesNode>() {
            Some(series) => Ok(Some(series.plan()?)),
            None => Ok(None),
        }
    }

    async fn plan_table_scan(
        &self,
        _planner: &dyn PhysicalPlanner,
        scan: &TableScan,
        session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        match scan.source.downcast_ref::<ScanSource>() {
            Some(source) => Ok(Some(self.plan(scan, source, session)?)),
            None => Ok(None),
        }
    }
}

/// Where a scan's rows come from.
#[derive(Clone)]
enum Rows {
    Scan(ReadView),
    Found(Vec<RecordBatch>),
    System(ReadView, Arc<dyn RuntimeFacts>),
}

/// Reads a relation: some of its columns, at most `fetch` rows, batch by batch.
pub struct ScanExec {
    relation: Arc<Relation>,
    rows: Rows,
    /// Of a lookup, for EXPLAIN.
    keys: Option<Keys>,
    /// Columns of the stored rows that are given, in order.
    columns: Vec<usize>,
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    fn new(
        relation: Arc<Relation>,
        rows: Rows,
        keys: Option<Keys>,
        columns: Vec<usize>,
        schema: SchemaRef,
        fetch: Option<usize>,
    ) -> ScanExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        ScanExec { relation, rows, keys, columns, fetch, properties: Arc::new(properties), metrics }
    }

    fn row_count(&self) -> Precision<usize> {
        let rows = match &self.rows {
            Rows::Scan(view) => view.row_count(self.relation.id).and_then(|rows| usize::try_from(rows).ok()),
            Rows::Found(batches) => Some(batches.iter().map(RecordBatch::num_rows).sum()),
            Rows::System(..) => None,
        };
        match (rows, self.fetch) {
            (Some(rows), Some(fetch)) => Precision::Exact(rows.min(fetch)),
            (Some(rows), None) => Precision::Exact(rows),
            (None, _) => Precision::Absent,
        }
    }
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.properties.equivalence_properties().schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let verb = if self.keys.is_some() { "Lookup" } else { "Scan" };
        write!(f, "{verb}: {}.{}, columns=[{}]", self.relation.schema, self.relation.name, columns.join(", "))?;
        if let Some(keys) = &self.keys {
            let names: Vec<String> = keys.rows.schema().fields().iter().map(|field| field.name().clone()).collect();
            write!(f, ", keys={} by ({})", keys.rows.num_rows(), names.join(", "))?;
        }
        match self.fetch {
            Some(fetch) => write!(f, ", limit={fetch}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let stream = ScanStream {
            relation: self.relation.clone(),
            rows: self.rows.clone(),
            batches: None,
            columns: self.columns.clone(),
            schema: self.schema(),
            left: self.fetch.unwrap_or(usize::MAX),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        // Reading never waits, so it has to give way by itself.
        Ok(Box::pin(datafusion::physical_plan::coop::cooperative(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = self.row_count();
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let (rows, keys, columns) = (self.rows.clone(), self.keys.clone(), self.columns.clone());
        Some(Arc::new(ScanExec::new(self.relation.clone(), rows, keys, columns, self.schema(), fetch)))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }
}

struct ScanStream {
    relation: Arc<Relation>,
    rows: Rows,
    /// Opened at the first poll.
    batches: Option<Batches>,
    columns: Vec<usize>,
    schema: SchemaRef,
    /// Rows still wanted.
    left: usize,
    metrics: BaselineMetrics,
}

impl ScanStream {
    fn open(&self) -> Result<Batches> {
        match &self.rows {
            Rows::Scan(view) => view.scan(self.relation.id),
            Rows::Found(batches) => Ok(Box::new(batches.clone().into_iter().map(Ok))),
            Rows::System(view, facts) => system::rows(&self.relation, view, facts),
        }
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.left == 0 {
            return Ok(None);
        }
        let batches = match &mut self.batches {
            Some(batches) => batches,
            None => {
                let opened = self.open()?;
                self.batches.insert(opened)
            }
        };
        let Some(batch) = batches.next().transpose()? else { return Ok(None) };
        let rows = batch.num_rows().min(self.left);
        self.left -= rows;
        Ok(Some(self.project(&batch.slice(0, rows))?))
    }

    /// The wanted columns, under the plan's names for them.
    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let Some(array) = batch.columns().get(*column) else {
                let message = format!("a batch of {} has no column {column}", self.relation.name);
                return Err(Error::internal(message));
            };
            columns.push(array.clone());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

impl Stream for ScanStream {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let timer = elapsed.timer();
        let next = self.next().map_err(DataFusionError::from);
        timer.done();
        self.metrics.record_poll(Poll::Ready(next.transpose()))
    }
}

impl RecordBatchStream for ScanStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
