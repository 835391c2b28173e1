//! Our aggregates as DataFusion functions, so that a SELECT gives bit for bit what a view gives.
//!
//! One struct stands for every function of [`AggregateFunction`]: which one, over which argument types, with which
//! result type. DISTINCT, FILTER and ORDER BY inside the call are DataFusion's own flags. The work is done by the
//! accumulators of `operators/aggregate`. Aggregation is in a single stage, so partial states are never exchanged; asking for
//! one is an internal error. A session that runs these functions has to plan with one target partition and with
//! [`OneStage`].
//!
//! `count(*)` is [`AggregateFunction::CountRows`] called with one literal argument, because DataFusion's physical
//! aggregates need one; it is not looked at.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result};
use crate::operators::aggregate::{self, AggregateFunction, CallTypes, Failure};

/// The DataFusion function for one overload. `args` are the exact argument types (for count(*): that of the ignored
/// argument, or none), `output` the exact result type.
pub fn udaf(function: AggregateFunction, args: &[DataType], output: DataType) -> Arc<AggregateUDF> {
    let signature = Signature::any(args.len().max(1), Volatility::Immutable);
    let own = OwnAggregate { function, args: args.to_vec(), order: Vec::new(), output, signature };
    Arc::new(AggregateUDF::new_from_impl(own))
}

/// A list aggregate whose last arguments are what it orders its values by.
pub fn ordered_udaf(
    function: AggregateFunction,
    args: &[DataType],
    order: Vec<(DataType, SortOptions)>,
    output: DataType,
) -> Arc<AggregateUDF> {
    let signature = Signature::any(args.len() + order.len(), Volatility::Immutable);
    let own = OwnAggregate { function, args: args.to_vec(), order, output, signature };
    Arc::new(AggregateUDF::new_from_impl(own))
}

/// Which aggregate a function made by [`udaf`] is; `None` for others.
pub fn as_function(udf: &AggregateUDF) -> Option<AggregateFunction> {
    udf.inner().downcast_ref::<OwnAggregate>().map(|own| own.function)
}

/// Makes one aggregation of the two stages that the planner makes of each: the first stage's groups and calls, with
/// the last one's results. Left to itself DataFusion does so last, and not where the input has several partitions (UNION ALL).
#[derive(Debug)]
pub struct OneStage;

impl PhysicalOptimizerRule for OneStage {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let one_stage = |plan: Arc<dyn ExecutionPlan>| {
            let Some(last) = plan.downcast_ref::<AggregateExec>() else { return Ok(Transformed::no(plan)) };
            let Some(first) = last.input().downcast_ref::<AggregateExec>() else { return Ok(Transformed::no(plan)) };
            let is_last = matches!(last.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
            if !is_last || *first.mode() != AggregateMode::Partial {
                return Ok(Transformed::no(plan));
            }
            let one = AggregateExec::try_new(
                AggregateMode::Single,
                first.group_expr().clone(),
                first.aggr_expr().to_vec(),
                first.filter_expr().to_vec(),
                first.input().clone(),
                first.input_schema(),
            )?;
            let one: Arc<dyn ExecutionPlan> = Arc::new(one.with_limit_options(last.limit_options()));
            Ok(Transformed::yes(one))
        };
        plan.transform_down(one_stage).data()
    }

    fn name(&self) -> &str {
        "OneStage"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone)]
struct OwnAggregate {
    function: AggregateFunction,
    args: Vec<DataType>,
    /// Further arguments of a list, which order its values.
    order: Vec<(DataType, SortOptions)>,
    output: DataType,
    signature: Signature,
}

impl PartialEq for OwnAggregate {
    fn eq(&self, other: &OwnAggregate) -> bool {
        (self.function, &self.args, &self.order, &self.output)
            == (other.function, &other.args, &other.order, &other.output)
    }
}

impl Eq for OwnAggregate {}

impl Hash for OwnAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.function, &self.args, &self.output).hash(state);
        self.order.iter().for_each(|(ty, options)| (ty, options.descending, options.nulls_first).hash(state));
    }
}

impl OwnAggregate {
    fn core(&self, call: &AccumulatorArgs, append_only: bool) -> Result<Core> {
        let mut order = self.order.clone();
        // Only the lists are told their ORDER BY columns (see `order_sensitivity`).
        if self.ordered() {
            for sort in call.order_bys {
                order.push((sort.expr.data_type(call.schema)?, sort.options));
            }
        }
        let types = CallTypes {
            function: self.function,
            args: match self.function {
                AggregateFunction::CountRows => Vec::new(),
                _ => self.args.clone(),
            },
            order,
            distinct: call.is_distinct,
            output: self.output.clone(),
            append_only,
        };
        Ok(Core { inner: aggregate::accumulator(&types)?, types })
    }

    fn ordered(&self) -> bool {
        matches!(self.function, AggregateFunction::StringAgg | AggregateFunction::ArrayAgg)
    }
}

impl AggregateUDFImpl for OwnAggregate {
    fn name(&self) -> &str {
        match self.function {
            AggregateFunction::CountRows | AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Avg => "avg",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
            AggregateFunction::VarPop => "var_pop",
            AggregateFunction::VarSamp => "var_samp",
            AggregateFunction::StddevPop => "stddev_pop",
            AggregateFunction::StddevSamp => "stddev_samp",
            AggregateFunction::BoolAnd => "bool_and",
            AggregateFunction::BoolOr => "bool_or",
            AggregateFunction::BitAnd => "bit_and",
            AggregateFunction::BitOr => "bit_or",
            AggregateFunction::BitXor => "bit_xor",
            AggregateFunction::StringAgg => "string_agg",
            AggregateFunction::ArrayAgg => "array_agg",
            AggregateFunction::FirstTwo => "first_two",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.output.clone())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let core = self.core(&args, true)?;
        Ok(Box::new(Single::new(core, false)))
    }

    /// Over a moving window frame rows leave again.
    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let core = self.core(&args, false)?;
        Ok(Box::new(Single::new(core, true)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Grouped { core: self.core(&args, true)?, first: 0, groups: 0, ids: Vec::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        Ok(vec![args.return_field])
    }

    /// `Beneficial` rather than a requirement: the ORDER BY columns are handed to the accumulator, and no sort is made.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        match self.ordered() {
            true => AggregateOrderSensitivity::Beneficial,
            false => AggregateOrderSensitivity::Insensitive,
        }
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _beneficial_ordering: bool,
    ) -> DataFusionResult<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn default_value(&self, data_type: &DataType) -> DataFusionResult<ScalarValue> {
        match self.function {
            AggregateFunction::CountRows | AggregateFunction::Count => Ok(ScalarValue::Int64(Some(0))),
            _ => ScalarValue::try_from(data_type),
        }
    }
}

/// An accumulator of ours with what is needed to start afresh.
#[derive(Debug)]
struct Core {
    inner: Box<dyn aggregate::Accumulator>,
    types: CallTypes,
}

impl Core {
    /// In a SELECT a result that can't be represented fails the statement.
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef> {
        let mut failures: Vec<Failure> = Vec::new();
        let array = self.inner.finish(groups, &mut failures)?;
        match failures.into_iter().next() {
            Some(failure) => Err(failure.error),
            None => Ok(array),
        }
    }

    fn reset(&mut self) -> Result<()> {
        self.inner = aggregate::accumulator(&self.types)?;
        Ok(())
    }
}

fn no_partial_states() -> datafusion::error::DataFusionError {
    Error::internal("aggregates run in a single stage and have no partial states").into()
}

/// The aggregate of one group.
#[derive(Debug)]
struct Single {
    core: Core,
    slides: bool,
    /// Scratch: group 0 a row.
    groups: Vec<u32>,
}

impl Single {
    fn new(mut core: Core, slides: bool) -> Single {
        core.inner.grow(1);
        Single { core, slides, groups: Vec::new() }
    }

    fn rows(&mut self, values: &[ArrayRef]) -> &[u32] {
        self.groups.resize(values.first().map_or(0, |values| values.len()), 0);
        &self.groups
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.rows(values);
        Ok(self.core.inner.update(&self.groups, values, None, None)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let weights = vec![-1; self.rows(values).len()];
        Ok(self.core.inner.update(&self.groups, values, Some(&weights), None)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.slides
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        ScalarValue::try_from_array(&self.core.finish(&[0])?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.core.inner.bytes() + self.groups.capacity() * 4
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Err(no_partial_states())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> DataFusionResult<()> {
        Err(no_partial_states())
    }
}

/// The aggregates of all groups. DataFusion's group `g` is ours `first + g`: groups already emitted stay behind.
struct Grouped {
    core: Core,
    first: usize,
    groups: usize,
    /// Scratch.
    ids: Vec<u32>,
}

impl GroupsAccumulator for Grouped {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> DataFusionResult<()> {
        self.groups = total_num_groups;
        self.core.inner.grow(self.first + total_num_groups);
        self.ids.clear();
        self.ids.extend(group_indices.iter().map(|group| (self.first + group) as u32));
        Ok(self.core.inner.update(&self.ids, values, None, opt_filter)?)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let count = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(count) => count,
        };
        // Groups may have been made by the caller since the last update.
        self.core.inner.grow(self.first + count);
        let groups: Vec<u32> = (self.first as u32..(self.first + count) as u32).collect();
        let array = self.core.finish(&groups)?;
        match emit_to {
            EmitTo::All => {
                self.core.reset()?;
                (self.first, self.groups) = (0, 0);
            }
            EmitTo::First(count) => {
                self.first += count;
                self.groups = self.groups.saturating_sub(count);
            }
        }
        Ok(array)
    }

    fn state(&mut self, _emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        Err(no_partial_states())
    }

    fn merge_batch(
        &mut self,
        _values: &[ArrayRef],
        _group_indices: &[usize],
        _total_num_groups: usize,
    ) -> DataFusionResult<()> {
        Err(no_partial_states())
    }

    fn convert_to_state(
        &self,
        _values: &[ArrayRef],
        _opt_filter: Option<&BooleanArray>,
    ) -> DataFusionResult<Vec<ArrayRef>> {
        Err(no_partial_states())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.core.inner.bytes() + self.ids.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{Field, Float64Type, Int64Type, Schema};
    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::logical_expr::expr::AggregateFunction as Call;
    use datafusion::logical_expr::{Expr, ExprFunctionExt, col, lit};
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
    use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};

    use super::*;

    fn table() -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("k", DataType::Int64, true),
            Field::new("f", DataType::Float64, true),
            Field::new("t", DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 1, 1, 2, 2])),
            Arc::new(Float64Array::from(vec![Some(1e16), Some(1.0), Some(-1e16), Some(0.5), None])),
            Arc::new(StringArray::from(vec!["b", "a", "a", "x", "y"])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn context() -> SessionContext {
        let first: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(OneStage);
        let rules = std::iter::once(first).chain(PhysicalOptimizer::new().rules).collect();
        let state = SessionStateBuilder::new()
            .with_config(SessionConfig::new().with_target_partitions(1))
            .with_default_features()
            .with_physical_optimizer_rules(rules);
        SessionContext::new_with_state(state.build())
    }

    fn run(group: Vec<Expr>, calls: Vec<Expr>) -> RecordBatch {
        let frame = context().read_batch(table()).unwrap().aggregate(group.clone(), calls).unwrap();
        collect(if group.is_empty() { frame } else { frame.sort(vec![col("k").sort(true, false)]).unwrap() })
    }

    fn collect(frame: DataFrame) -> RecordBatch {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let batches = runtime.block_on(frame.collect()).unwrap();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    fn calls() -> Vec<Expr> {
        let sum = udaf(AggregateFunction::Sum, &[DataType::Float64], DataType::Float64);
        let rows = udaf(AggregateFunction::CountRows, &[DataType::Int64], DataType::Int64);
        let text = [DataType::Utf8, DataType::Utf8];
        let list = udaf(AggregateFunction::StringAgg, &text, DataType::Utf8);
        vec![
            sum.call(vec![col("f")]).alias("sum"),
            rows.call(vec![lit(1i64)]).alias("rows"),
            list.call(vec![col("t"), lit(",")])
                .order_by(vec![col("t").sort(false, false)])
                .distinct()
                .build()
                .unwrap()
                .alias("list"),
            rows.call(vec![lit(1i64)]).filter(col("f").gt(lit(0.7))).build().unwrap().alias("kept"),
        ]
    }

    #[test]
    fn datafusion_runs_them_grouped_and_not() {
        let out = run(vec![col("k")], calls());
        assert_eq!(out.column(1).as_primitive::<Float64Type>().values().as_ref(), [1.0, 0.5]);
        assert_eq!(out.column(2).as_primitive::<Int64Type>().values().as_ref(), [3, 2]);
        assert_eq!(out.column(3).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["b,a", "y,x"]);
        assert_eq!(out.column(4).as_primitive::<Int64Type>().values().as_ref(), [2, 0]);

        let out = run(vec![], calls());
        assert_eq!(out.column(0).as_primitive::<Float64Type>().values().as_ref(), [1.5]);
        assert_eq!(out.column(1).as_primitive::<Int64Type>().values().as_ref(), [5]);
        assert_eq!(out.column(2).as_string::<i32>().value(0), "y,x,b,a");
        assert_eq!(out.column(3).as_primitive::<Int64Type>().values().as_ref(), [2]);
    }

    #[test]
    fn a_union_is_aggregated_in_one_stage_too() {
        let context = context();
        let table = || context.read_batch(table()).unwrap();
        for group in [vec![], vec![col("k")]] {
            let rows = udaf(AggregateFunction::CountRows, &[DataType::Int64], DataType::Int64);
            let calls = vec![rows.call(vec![lit(1i64)]).alias("rows")];
            let out = collect(table().union(table()).unwrap().aggregate(group, calls).unwrap());
            let counts = out.columns().last().unwrap().as_primitive::<Int64Type>();
            assert_eq!(counts.values().iter().sum::<i64>(), 10);
        }
    }

    #[test]
    fn lowering_recognises_them() {
        let sum = udaf(AggregateFunction::Sum, &[DataType::Int64], DataType::Decimal128(38, 0));
        assert_eq!(as_function(&sum), Some(AggregateFunction::Sum));
        let Expr::AggregateFunction(Call { func, .. }) = sum.call(vec![col("k")]) else { panic!("a call") };
        assert_eq!(as_function(&func), Some(AggregateFunction::Sum));
        assert_eq!(sum, udaf(AggregateFunction::Sum, &[DataType::Int64], DataType::Decimal128(38, 0)));
        assert_ne!(sum, udaf(AggregateFunction::Sum, &[DataType::Int64], DataType::Int64));
        assert_eq!(as_function(&datafusion::functions_aggregate::count::count_udaf()), None);
    }

    #[test]
    fn a_sum_out_of_range_is_an_error_of_the_statement() {
        let types = CallTypes {
            function: AggregateFunction::Sum,
            args: vec![DataType::Int64],
            order: vec![],
            distinct: false,
            output: DataType::Int64,
            append_only: true,
        };
        let mut single = Single::new(Core { inner: aggregate::accumulator(&types).unwrap(), types }, false);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
        single.update_batch(&[values]).unwrap();
        let error = Error::from(single.evaluate().unwrap_err());
        assert_eq!(error.state(), crate::error::SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }

    #[test]
    fn groups_can_be_emitted_in_pieces() {
        let types = CallTypes {
            function: AggregateFunction::CountRows,
            args: vec![],
            order: vec![],
            distinct: false,
            output: DataType::Int64,
            append_only: true,
        };
        let core = Core { inner: aggregate::accumulator(&types).unwrap(), types };
        let mut grouped = Grouped { core, first: 0, groups: 0, ids: Vec::new() };
        let ones = |n: usize| vec![Arc::new(Int64Array::from(vec![1; n])) as ArrayRef];
        grouped.update_batch(&ones(4), &[0, 1, 1, 2], None, 3).unwrap();
        let first = grouped.evaluate(EmitTo::First(2)).unwrap();
        grouped.update_batch(&ones(2), &[0, 1], None, 2).unwrap();
        let rest = grouped.evaluate(EmitTo::All).unwrap();
        assert_eq!(first.as_primitive::<Int64Type>().values().as_ref(), [1, 2]);
        assert_eq!(rest.as_primitive::<Int64Type>().values().as_ref(), [2, 1]);
    }
}
