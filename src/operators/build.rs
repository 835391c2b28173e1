//! From specs to operators: one arm a kind, straight-line.

use arrow::datatypes::SchemaRef;

use super::Operator;
use super::aggregate::Aggregate;
use super::constant::Constant;
use super::distinct::distinct;
use super::hop::Hop;
use super::map::Map;
use super::negate::Negate;
use super::scalar_subquery::ScalarSubquery;
use super::set_operation::set_operation;
use super::spec::OpSpec;
use super::top_n::TopN;
use super::union::Union;
use super::unnest::Unnest;
use crate::error::{Error, Result};

/// The operator of a node on one worker. Sources, exchanges and arrangements are the circuit's own.
///
/// `input_schemas` and `inputs_append_only` are those of the node's inputs, in order; `output` is the node's schema.
/// What exists once for all workers (constants, a global aggregate, a scalar subquery) is made to show on worker 0.
pub fn build(
    spec: &OpSpec,
    input_schemas: &[SchemaRef],
    output: &SchemaRef,
    inputs_append_only: &[bool],
    worker: usize,
) -> Result<Box<dyn Operator>> {
    let input = || input_schemas.first().ok_or_else(|| Error::internal("an operator without input"));
    let append_only = inputs_append_only.first().copied().unwrap_or(false);
    let here = worker == 0;
    Ok(match spec {
        OpSpec::Constant { rows } => Box::new(Constant::new(rows, here, output)?),
        OpSpec::Map { exprs, filter } => Box::new(Map::new(exprs.clone(), filter.clone(), output)),
        OpSpec::Unnest { columns, outer } => Box::new(Unnest::new(columns, *outer, output)),
        OpSpec::Hop { time, slide, size } => Box::new(Hop::new(*time, *slide, *size, output)?),
        OpSpec::Union => Box::new(Union::new(output)),
        OpSpec::Negate => Box::new(Negate),
        OpSpec::Aggregate { group, calls, global } => {
            Box::new(Aggregate::new(group, calls, *global && here, input()?, output, append_only)?)
        }
        OpSpec::Distinct => Box::new(distinct(output)?),
        OpSpec::SetOp { kind, all } => Box::new(set_operation(*kind, *all, output)?),
        OpSpec::TopN { partition, order, offset, limit, rank } => {
            Box::new(TopN::new(partition, order, *offset, *limit, *rank, input()?, output, append_only)?)
        }
        OpSpec::ScalarSubquery => Box::new(ScalarSubquery::new(here, output)?),
        OpSpec::Source { .. } | OpSpec::Exchange { .. } | OpSpec::Arrange { .. } => {
            return Err(Error::internal("sources, exchanges and arrangements are not operators"));
        }
        OpSpec::Join { .. } | OpSpec::OuterJoin { .. } | OpSpec::SemiJoin { .. } => {
            return Err(Error::internal("joins are built over their arrangements"));
        }
    })
}
