//! Scans: how a plan's `TableScan` reads a relation's rows from the view of one epoch.
//!
//! Before the rules run, [`ScanSource`] stands for the relation and tells which filters it answers exactly (those that a lookup by
//! an index covers). When the plan is made executable, [`ScanPlanner`] puts a [`ScanExec`] in its place, which looks the rows up
//! or scans for them, batch by batch, only as far as somebody asks. The exact number of rows lets `count(*)` answer from it.

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
use parking_lot::Mutex;

use super::execution::batch_rows;
use super::keys::{self, KeyFilter, Path};
use super::series::SeriesNode;
use super::system::{self, RuntimeFacts};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::engine::ReadView;
use crate::engine::read::{Batches, ChunkFilter, Lookup};
use crate::error::{Error, Result};
use crate::sql::RelationSource;

/// A relation in a plan being optimised.
#[derive(Debug)]
pub struct ScanSource {
    source: RelationSource,
    /// Indexes it can be read by.
    paths: Vec<Path>,
}

impl ScanSource {
    pub fn new(source: RelationSource, catalog: &Catalog) -> ScanSource {
        let paths = keys::paths(&source.relation, catalog);
        ScanSource { source, paths }
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
        if !self.paths.is_empty() {
            let filters = self.key_filters(filters.iter().copied());
            if let Some((_, used)) = keys::choose(&self.paths, &filters, &self.source.schema)? {
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

    /// The rows that the filters want, if an index leads to them, and which filters that answers.
    fn look_up(&self, source: &ScanSource, filters: &[Expr]) -> Result<Option<(RowSource, Vec<usize>)>> {
        let key_filters = source.key_filters(filters);
        let Some((wanted, used)) = keys::choose(&source.paths, &key_filters, &source.source.schema)? else {
            return Ok(None);
        };
        let opened = self.view.lookup(source.source.relation.id, &wanted)?;
        let rows = |opened| {
            RowSource::Lookup(Arc::new(Found { view: self.view.clone(), wanted, opened: Mutex::new(Some(opened)) }))
        };
        Ok(opened.map(|opened| (rows(opened), used)))
    }

    fn rows(&self, relation: &Arc<Relation>) -> RowSource {
        match relation.kind {
            RelationKind::System => RowSource::System(self.view.clone(), self.facts.clone()),
            _ => RowSource::Scan(self.view.clone()),
        }
    }

    fn plan(&self, scan: &TableScan, source: &ScanSource, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let relation = &source.source.relation;
        let found = self.look_up(source, &scan.filters)?;
        let (rows, used) = found.unwrap_or_else(|| (self.rows(relation), Vec::new()));
        let all: Vec<usize> = (0..source.source.schema.fields().len()).collect();
        let wanted = scan.projection.clone().unwrap_or_else(|| all.clone());
        let rest: Vec<Expr> =
            scan.filters.iter().enumerate().filter(|(i, _)| !used.contains(i)).map(|(_, f)| f.clone()).collect();
        let Some(predicate) = conjunction(rest) else {
            let schema = scan.projected_schema.inner().clone();
            return Ok(Arc::new(ScanExec::new(relation.clone(), rows, wanted, schema, scan.fetch)));
        };
        // Filters that no lookup answers any more: read all columns, filter, then project.
        let schema = source.source.schema.clone();
        let read = ScanExec::new(relation.clone(), rows, all, schema.clone(), None);
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
enum RowSource {
    Scan(ReadView),
    Lookup(Arc<Found>),
    System(ReadView, Arc<dyn RuntimeFacts>),
}

/// A lookup that was found to be worth it, open for who reads it first.
struct Found {
    view: ReadView,
    wanted: Lookup,
    opened: Mutex<Option<Batches>>,
}

impl Found {
    fn open(&self, relation: &Relation) -> Result<Batches> {
        if let Some(opened) = self.opened.lock().take() {
            return Ok(opened);
        }
        // The index may have gone meanwhile.
        match self.view.lookup(relation.id, &self.wanted)? {
            Some(found) => Ok(found),
            None => {
                let wanted = self.wanted.clone();
                Ok(Box::new(self.view.scan(relation.id)?.map(move |batch| wanted.filter(&batch?))))
            }
        }
    }
}

/// Reads a relation: some of its columns, at most `fetch` rows, batch by batch.
pub struct ScanExec {
    relation: Arc<Relation>,
    rows: RowSource,
    /// What the rows are for, if it is known.
    wanted: Option<Arc<dyn ChunkFilter>>,
    /// Columns of the stored rows that are given, in order.
    columns: Vec<usize>,
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    fn new(
        relation: Arc<Relation>,
        rows: RowSource,
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
        ScanExec { relation, rows, wanted: None, columns, fetch, properties: Arc::new(properties), metrics }
    }

    /// For each column that it gives, which of the relation's it is.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The same scan, which may leave out rows that the filter does not want; `None` if it reads no chunks.
    pub fn skipping(&self, wanted: Arc<dyn ChunkFilter>) -> Option<ScanExec> {
        let RowSource::Scan(_) = self.rows else { return None };
        let (relation, rows, columns) = (self.relation.clone(), self.rows.clone(), self.columns.clone());
        let scan = ScanExec::new(relation, rows, columns, self.schema(), self.fetch);
        Some(ScanExec { wanted: Some(wanted), ..scan })
    }

    fn row_count(&self) -> Precision<usize> {
        let rows = match &self.rows {
            RowSource::Scan(view) => view.row_count(self.relation.id).and_then(|rows| usize::try_from(rows).ok()),
            RowSource::Lookup(_) | RowSource::System(..) => None,
        };
        match (rows, self.fetch) {
            (Some(rows), _) if self.wanted.is_some() => Precision::Inexact(rows),
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
        let verb = if matches!(self.rows, RowSource::Lookup(_)) { "Lookup" } else { "Scan" };
        write!(f, "{verb}: {}.{}, columns=[{}]", self.relation.schema, self.relation.name, columns.join(", "))?;
        if let RowSource::Lookup(found) = &self.rows {
            let Lookup { columns, keys, between } = &found.wanted;
            if !columns.is_empty() {
                let names: Vec<String> = keys.schema().fields().iter().map(|field| field.name().clone()).collect();
                write!(f, ", keys={} by ({})", keys.num_rows(), names.join(", "))?;
            }
            if let Some(column) = between.as_ref().and_then(|between| self.relation.columns.get(between.column)) {
                write!(f, ", range of {}", column.name)?;
            }
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
            wanted: self.wanted.clone(),
            batches: None,
            rest: None,
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

    // `supports_limit_pushdown` stays false: it would say that a limit goes on to inputs, of which there are none, and an OFFSET
    // would be forgotten.
    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let (rows, columns) = (self.rows.clone(), self.columns.clone());
        let scan = ScanExec::new(self.relation.clone(), rows, columns, self.schema(), fetch);
        Some(Arc::new(ScanExec { wanted: self.wanted.clone(), ..scan }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }
}

struct ScanStream {
    relation: Arc<Relation>,
    rows: RowSource,
    wanted: Option<Arc<dyn ChunkFilter>>,
    /// Opened at the first poll.
    batches: Option<Batches>,
    /// Of the last batch, what was not given yet.
    rest: Option<RecordBatch>,
    columns: Vec<usize>,
    schema: SchemaRef,
    /// Rows still wanted.
    left: usize,
    metrics: BaselineMetrics,
}

impl ScanStream {
    fn open(&self) -> Result<Batches> {
        match &self.rows {
            RowSource::Scan(view) => match &self.wanted {
                Some(wanted) => view.scan_for(self.relation.id, wanted.as_ref()),
                None => view.scan(self.relation.id),
            },
            RowSource::Lookup(found) => found.open(&self.relation),
            RowSource::System(view, facts) => system::rows(&self.relation, view, facts),
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
        let batch = match self.rest.take() {
            Some(rest) => Some(rest),
            None => batches.next().transpose()?,
        };
        let Some(batch) = batch else { return Ok(None) };
        let rows = batch.num_rows().min(self.left).min(batch_rows());
        self.left -= rows;
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
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
