//! From specs to operators: one arm a kind, straight-line.

use arrow::datatypes::SchemaRef;

use super::Operator;
use super::aggregate::Aggregate;
use super::arrange::Arranged;
use super::constant::Constant;
use super::distinct::distinct;
use super::hop::Hop;
use super::join::Join;
use super::map::Map;
use super::outer_join::OuterJoin;
use super::scalar_subquery::ScalarSubquery;
use super::semi_join::{SemiJoin, SemiSpec};
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
        OpSpec::Map { exprs, filter } => Box::new(Map::new(exprs.clone(), filter.clone(), output)?),
        OpSpec::Unnest { lists, outer } => Box::new(Unnest::new(lists, *outer, output)),
        OpSpec::Hop { time, slide, size } => Box::new(Hop::new(*time, *slide, *size, output)?),
        OpSpec::Union => Box::new(Union::new(output)),
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

/// A join over the arrangements of its two inputs.
pub fn build_join(spec: &OpSpec, left: Arranged, right: Arranged, output: &SchemaRef) -> Result<Box<dyn Operator>> {
    Ok(match spec {
        OpSpec::Join { filter, null_equals_null } => {
            Box::new(Join::new(left, right, filter.clone(), *null_equals_null, output))
        }
        OpSpec::OuterJoin { preserve_left, preserve_right, filter, null_equals_null } => {
            let preserve = [*preserve_left, *preserve_right];
            Box::new(OuterJoin::new(left, right, preserve, filter.clone(), *null_equals_null, output)?)
        }
        OpSpec::SemiJoin { kind, filter, null_aware, null_equals_null } => {
            let spec = SemiSpec {
                kind: *kind,
                filter: filter.clone(),
                null_aware: *null_aware,
                null_equals_null: *null_equals_null,
            };
            Box::new(SemiJoin::new(left, right, spec, output)?)
        }
        _ => return Err(Error::internal("not a join")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use arrow::datatypes::DataType;
    use datafusion::scalar::ScalarValue;

    /// `constant union all a union all b` over built operators: the stateless rest, and that build wires each up.
    #[test]
    fn unions_and_constants_add_up() {
        let schema = schema_of(&[("x", DataType::Int16)]);
        let rows = batch_of(&schema, &[vec![ScalarValue::Int16(Some(7))], vec![ScalarValue::Int16(None)]]);
        struct Chain(Vec<Box<dyn Operator>>, Box<dyn Fn() -> Vec<Box<dyn Operator>>>);
        impl Subject for Chain {
            fn step(
                &mut self,
                inputs: &[&[crate::delta::Delta]],
                step: &mut super::super::Step,
            ) -> Result<super::super::Progress> {
                let mut run = |operator: &mut Box<dyn Operator>, inputs: &[&[crate::delta::Delta]]| {
                    let mut out = Vec::new();
                    let mut inner = super::super::Step {
                        before: step.before,
                        after: step.after,
                        oldest: step.oldest,
                        end_of_epoch: step.end_of_epoch,
                        now: step.now,
                        out: &mut out,
                        errors: step.errors,
                    };
                    operator.step(inputs, &mut inner).map(|_| out)
                };
                let constant = run(&mut self.0[0], &[])?;
                let all = run(&mut self.0[1], &[inputs[0], inputs[1], &constant])?;
                step.out.extend(all);
                Ok(super::super::Progress::Done)
            }
            fn save_and_load(&mut self) -> Result<()> {
                for (old, mut new) in std::mem::take(&mut self.0).into_iter().zip((self.1)()) {
                    new.load(&old.save()?)?;
                    self.0.push(new);
                }
                Ok(())
            }
            fn state_bytes(&self) -> usize {
                self.0.iter().map(|operator| operator.state_bytes()).sum()
            }
        }
        check(&Property {
            name: "union, constant",
            inputs: vec![Input::new(&schema, Route::Row), Input::new(&schema, Route::Row)],
            subject: &|worker| {
                let (schema, rows) = (schema.clone(), rows.clone());
                let make = move || {
                    [OpSpec::Constant { rows: rows.clone() }, OpSpec::Union]
                        .iter()
                        .map(|spec| build(spec, &[schema.clone()], &schema, &[false], worker).expect("an operator"))
                        .collect::<Vec<_>>()
                };
                Box::new(Chain(make(), Box::new(make)))
            },
            keeps: Keeps::Nothing,
            expected: &|inputs| {
                let mut rows: Vec<Row> = vec![vec![ScalarValue::Int16(Some(7))], vec![ScalarValue::Int16(None)]];
                rows.extend(inputs[0].iter().chain(&inputs[1]).cloned());
                Expected::rows(rows)
            },
        });
    }
}
