//! A bound query and a read view in, batches out.
//!
//! ```text
//!   constants, point lookup -> their rows, at once
//!   else                    -> parameters in, optimise -> physical plan with our scans -> stream
//! ```

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::scalar::ScalarValue;

use super::optimize::Subqueries;
use super::provider::ScanPlanner;
use super::system::{NoFacts, RuntimeFacts};
use super::{Parameters, constant, execution, optimize, point};
use crate::engine::ReadView;
use crate::error::Result;
use crate::sql::BoundQuery;

/// Runs a query over a read view. Batches come as they are made; dropping the stream stops the work.
pub fn run(query: &BoundQuery, parameters: &Parameters, view: ReadView) -> Result<SendableRecordBatchStream> {
    run_with(query, parameters, view, Arc::new(NoFacts))
}

/// The same, where subqueries that the rules leave standing are run for each row of the query around them. For tests: views and reads
/// join them by the same code, which this does without.
pub fn run_each_row(query: &BoundQuery, parameters: &Parameters, view: ReadView) -> Result<SendableRecordBatchStream> {
    let facts: Arc<dyn RuntimeFacts> = Arc::new(NoFacts);
    let logical = optimize::optimize(query.plan.clone(), parameters, &view, &facts, Subqueries::EachRow)?;
    execution::stream(plan_physical(&logical, view, facts)?)
}

/// The same, with someone to ask for the rows of `rr_catalog`, `pg_settings` and `pg_stat_activity`.
pub fn run_with(
    query: &BoundQuery,
    parameters: &Parameters,
    view: ReadView,
    facts: Arc<dyn RuntimeFacts>,
) -> Result<SendableRecordBatchStream> {
    if let Some(batch) = at_once(&query.plan, parameters, &view)? {
        return at_hand(batch);
    }
    execution::stream(physical_plan(query, parameters, view, facts)?)
}

/// The rows of a query that takes so little that it need not be planned and run on threads of its own.
pub fn run_quick(
    query: &BoundQuery,
    parameters: &Parameters,
    view: &ReadView,
) -> Result<Option<SendableRecordBatchStream>> {
    /// Bytes of parameters that are little.
    const SHORT: usize = 64 * 1024;
    if parameters.iter().map(ScalarValue::size).sum::<usize>() > SHORT {
        return Ok(None);
    }
    let rows = match constant::is_plain(&query.plan) {
        true => constant::rows(&query.plan, parameters)?,
        false => point::run_unique(&query.plan, parameters, view)?,
    };
    rows.map(at_hand).transpose()
}

fn at_hand(rows: RecordBatch) -> Result<SendableRecordBatchStream> {
    let schema = rows.schema();
    Ok(Box::pin(MemoryStream::try_new(vec![rows], schema, None)?))
}

/// A query's batches, made on this thread as they are asked for. For the jobs of writes.
pub fn pull(
    query: &BoundQuery,
    parameters: &Parameters,
    view: ReadView,
) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>>>> {
    Ok(match at_once(&query.plan, parameters, &view)? {
        Some(batch) => Box::new(std::iter::once(Ok(batch))),
        None => Box::new(execution::pull(physical_plan(query, parameters, view, Arc::new(NoFacts))?)?),
    })
}

/// Runs a query on this thread and gives all its rows.
pub fn collect(query: &BoundQuery, parameters: &Parameters, view: ReadView) -> Result<Vec<RecordBatch>> {
    let facts: Arc<dyn RuntimeFacts> = Arc::new(NoFacts);
    match at_once(&query.plan, parameters, &view)? {
        Some(batch) => Ok(vec![batch]),
        None => execution::collect(physical_plan(query, parameters, view, facts)?),
    }
}

/// The rows of a plan without parameters, on this thread.
pub fn collect_plan(
    plan: &LogicalPlan,
    view: &ReadView,
    facts: &Arc<dyn RuntimeFacts>,
    subqueries: Subqueries,
) -> Result<Vec<RecordBatch>> {
    let none: Parameters = Arc::from([]);
    if let Some(batch) = at_once(plan, &none, view)? {
        return Ok(vec![batch]);
    }
    let logical = optimize::optimize(plan.clone(), &none, view, facts, subqueries)?;
    execution::collect(plan_physical(&logical, view.clone(), facts.clone())?)
}

/// The rows of what needs no plan: constants and point lookups.
fn at_once(plan: &LogicalPlan, parameters: &Parameters, view: &ReadView) -> Result<Option<RecordBatch>> {
    match constant::rows(plan, parameters)? {
        Some(rows) => Ok(Some(rows)),
        None => point::run(plan, parameters, view),
    }
}

/// The plan that will be executed, parameters put in.
pub fn physical_plan(
    query: &BoundQuery,
    parameters: &Parameters,
    view: ReadView,
    facts: Arc<dyn RuntimeFacts>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let logical = optimize::optimize(query.plan.clone(), parameters, &view, &facts, Subqueries::Joined)?;
    plan_physical(&logical, view, facts)
}

pub fn plan_physical(
    logical: &LogicalPlan,
    view: ReadView,
    facts: Arc<dyn RuntimeFacts>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ScanPlanner::new(view, facts))]);
    let state = execution::session_state()?;
    // Planning awaits nothing but itself.
    Ok(execution::block_on(planner.create_physical_plan(logical, state))?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use arrow::array::{Int32Array, StringArray};
    use datafusion::functions_aggregate::expr_fn::{count, max};
    use datafusion::logical_expr::{LogicalPlanBuilder, placeholder, scalar_subquery};
    use datafusion::prelude::{JoinType, col, lit};
    use futures::StreamExt;

    use super::*;
    use crate::error::SqlState;
    use crate::query::testing::{Memory, bound, scan, shown};
    use crate::types::Type;

    /// accounts(id primary key, owner): six rows; index on owner.
    fn memory() -> (Memory, Arc<crate::catalog::Relation>) {
        let mut memory = Memory::new();
        let accounts = memory.table("accounts", &[("id", Type::Int4), ("owner", Type::Text)], &[0]);
        memory.index("accounts_owner", &accounts, &[1]);
        let owners = StringArray::from(vec![Some("ann"), Some("bob"), Some("ann"), None, Some("eve"), Some("bob")]);
        memory.fill(&accounts, vec![Arc::new(Int32Array::from_iter_values(1..=6)), Arc::new(owners)]);
        (memory, accounts)
    }

    fn none() -> Parameters {
        Arc::from([])
    }

    fn answer(memory: &Memory, plan: LogicalPlan, parameters: &Parameters) -> Result<Vec<String>> {
        let query = bound(plan);
        let streamed = execution::block_on(async {
            let mut stream = run(&query, parameters, memory.view())?;
            let mut batches = Vec::new();
            while let Some(batch) = stream.next().await {
                batches.push(batch?);
            }
            Ok::<_, crate::error::Error>(batches)
        })?;
        let collected = collect(&query, parameters, memory.view())?;
        assert_eq!(shown(&streamed), shown(&collected));
        Ok(shown(&streamed))
    }

    #[test]
    fn filters_joins_and_groups() {
        let (memory, accounts) = memory();
        let plan = scan(&accounts, false).filter(col("id").gt(lit(2))).unwrap();
        let plan = plan.aggregate(vec![col("owner")], vec![count(lit(1i64)).alias("n")]).unwrap();
        let plan = plan.filter(col("owner").is_not_null()).unwrap().build().unwrap();
        assert_eq!(answer(&memory, plan, &none()).unwrap(), ["ann 1", "bob 1", "eve 1"]);

        let right = scan(&accounts, false).alias("b").unwrap().build().unwrap();
        let plan = scan(&accounts, false).alias("a").unwrap();
        let plan = plan.join(right, JoinType::Inner, (vec!["a.owner"], vec!["b.owner"]), None).unwrap();
        let plan = plan.filter(col("a.id").lt(col("b.id"))).unwrap();
        let plan = plan.project(vec![col("a.id"), col("b.id")]).unwrap().build().unwrap();
        assert_eq!(answer(&memory, plan, &none()).unwrap(), ["1 3", "2 6"]);
    }

    #[test]
    fn keys_are_looked_up_through_the_planner() {
        let (memory, accounts) = memory();
        // An aggregate keeps it from being a point lookup.
        let plan = scan(&accounts, false).filter(col("owner").in_list(vec![lit("ann"), lit("eve")], false)).unwrap();
        let plan = plan.filter(col("id").gt(lit(1))).unwrap();
        let plan = plan.aggregate(Vec::<datafusion::prelude::Expr>::new(), vec![max(col("id"))]).unwrap();
        assert_eq!(answer(&memory, plan.build().unwrap(), &none()).unwrap(), ["5"]);
        assert_eq!(memory.lookups.load(Ordering::Relaxed), 2, "one lookup for each of the two runs");
        assert_eq!(memory.batches_read.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn point_lookups_take_parameters() {
        let (memory, accounts) = memory();
        let id = placeholder("$1");
        let plan = scan(&accounts, false).filter(col("id").eq(id)).unwrap();
        let plan = plan.project(vec![col("owner").alias("who"), col("id")]).unwrap().build().unwrap();
        let parameters: Parameters = Arc::from([ScalarValue::Int32(Some(5))]);
        assert!(point::run(&plan, &parameters, &memory.view()).unwrap().is_some());
        assert_eq!(answer(&memory, plan.clone(), &parameters).unwrap(), ["eve 5"]);
        let missing: Parameters = Arc::from([ScalarValue::Int32(None)]);
        assert!(answer(&memory, plan, &missing).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_point_lookup_takes_the_general_path() {
        let (memory, accounts) = memory();
        let view = memory.view();
        let not_all = scan(&accounts, false).filter(col("id").eq(lit(1)).and(col("owner").is_null())).unwrap();
        assert!(point::run(&not_all.build().unwrap(), &[], &view).unwrap().is_none());
        let computed = scan(&accounts, false).filter(col("id").eq(lit(1))).unwrap();
        let computed = computed.project(vec![col("id") + lit(1)]).unwrap().build().unwrap();
        assert!(point::run(&computed, &[], &view).unwrap().is_none());
        assert_eq!(answer(&memory, computed, &none()).unwrap(), ["2"]);
        let both = scan(&accounts, false).filter(col("id").eq(lit(1)).and(col("owner").eq(lit("bob")))).unwrap();
        assert!(answer(&memory, both.build().unwrap(), &none()).unwrap().is_empty());
    }

    #[test]
    fn a_limit_stops_reading_and_a_count_does_not_read() {
        let (memory, accounts) = memory();
        let plan = scan(&accounts, false).limit(0, Some(3)).unwrap().build().unwrap();
        assert_eq!(answer(&memory, plan, &none()).unwrap().len(), 3);
        assert!(memory.batches_read.load(Ordering::Relaxed) <= 4, "two batches of two rows for each run");
        let before = memory.batches_read.load(Ordering::Relaxed);
        let plan = scan(&accounts, false);
        let plan = plan.aggregate(Vec::<datafusion::prelude::Expr>::new(), vec![count(lit(1i64))]).unwrap();
        assert_eq!(answer(&memory, plan.build().unwrap(), &none()).unwrap(), ["6"]);
        assert_eq!(memory.batches_read.load(Ordering::Relaxed), before);
    }

    #[test]
    fn a_dropped_stream_stops_reading() {
        let (memory, accounts) = memory();
        let plan = scan(&accounts, false).filter(col("id").gt(lit(0))).unwrap().build().unwrap();
        let mut stream = run(&bound(plan), &none(), memory.view()).unwrap();
        assert_eq!(memory.batches_read.load(Ordering::Relaxed), 0, "nothing starts before the first poll");
        execution::block_on(stream.next()).unwrap().unwrap();
        drop(stream);
    }

    #[test]
    fn a_subquery_with_two_rows_is_refused() {
        let (memory, accounts) = memory();
        let many = scan(&accounts, false).project(vec![col("id")]).unwrap().build().unwrap();
        let plan = scan(&accounts, false).filter(col("id").eq(scalar_subquery(Arc::new(many)))).unwrap();
        let error = answer(&memory, plan.build().unwrap(), &none()).unwrap_err();
        assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
        assert_eq!(error.message(), "more than one row returned by a subquery used as an expression");
        let one = scan(&accounts, false).project(vec![col("id")]).unwrap().filter(col("id").gt(lit(5))).unwrap();
        let plan =
            scan(&accounts, false).filter(col("id").eq(scalar_subquery(Arc::new(one.build().unwrap())))).unwrap();
        assert_eq!(answer(&memory, plan.build().unwrap(), &none()).unwrap(), ["6 bob"]);
    }

    #[test]
    fn constants_need_no_plan() {
        let (memory, _) = memory();
        let plan = LogicalPlanBuilder::empty(true).project(vec![lit(1), lit("x")]).unwrap().build().unwrap();
        assert!(constant::rows(&plan, &[]).unwrap().is_some());
        assert_eq!(answer(&memory, plan, &none()).unwrap(), ["1 x"]);
        let rows = vec![vec![lit(1), lit(2)], vec![lit(3), placeholder("$1")]];
        let plan = LogicalPlanBuilder::values(rows).unwrap().build().unwrap();
        let parameters: Parameters = Arc::from([ScalarValue::Int32(Some(9))]);
        assert_eq!(answer(&memory, plan, &parameters).unwrap(), ["1 2", "3 9"]);
    }

    #[test]
    fn sorting_more_than_memory_allows_is_53200() {
        let error = crate::error::Error::from(datafusion::error::DataFusionError::ResourcesExhausted("pool".into()));
        assert_eq!(error.state(), SqlState::OUT_OF_MEMORY);
    }
}
