//! Joins: both sides brought together by the keys, arranged, joined; the condition that is left filters pairs.
//!
//! Without keys (cross and non-equi joins) the right side goes to every worker and the left one stays where it is,
//! unless right rows are preserved: then both go to worker 0.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{Expr, Join, LogicalPlan};

use super::{Lowering, Rel, Sharding, schema_of};
use crate::circuit::plan::{ExchangeTo, OpSpec, SemiKind};
use crate::error::Result;
use crate::operators::PhysicalExpr;
use crate::sql::refusals;

/// One side of a join: its rows with the key's columns among them.
struct Side {
    rel: Rel,
    key: Vec<usize>,
    /// Columns of the plan's schema; those behind them are keys that had to be computed.
    width: usize,
}

impl Lowering {
    pub(super) fn join(&mut self, join: &Join) -> Result<Rel> {
        if matches!(join.right.as_ref(), LogicalPlan::Subquery(_))
            || matches!(join.left.as_ref(), LogicalPlan::Subquery(_))
        {
            return Err(refusals::CORRELATED.error());
        }
        let has_scalar = |expr: &Expr| expr.exists(|node| Ok(matches!(node, Expr::ScalarSubquery(_)))).unwrap_or(false);
        if let (JoinType::Inner, Some(filter)) =
            (join.join_type, join.filter.as_ref().filter(|filter| has_scalar(filter)))
        {
            // The value of a subquery is a column beside the pairs.
            let mut plain = join.clone();
            plain.filter = None;
            let filter = datafusion::logical_expr::Filter::try_new(filter.clone(), Arc::new(LogicalPlan::Join(plain)))?;
            return self.filter(&filter);
        }
        // Semi joins that keep the right side's rows are those of the left with the sides exchanged.
        let flipped = matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark);
        let (left_plan, right_plan) = if flipped { (&join.right, &join.left) } else { (&join.left, &join.right) };
        let (left_keys, right_keys): (Vec<&Expr>, Vec<&Expr>) =
            join.on.iter().map(|(l, r)| if flipped { (r, l) } else { (l, r) }).unzip();

        let mut left = self.side(left_plan, &left_keys)?;
        let mut right = self.side(right_plan, &right_keys)?;
        self.bring_together(&mut left, &mut right, join.join_type, join.null_aware)?;

        let (left_schema, right_schema) = (self.schema(left.rel.node), self.schema(right.rel.node));
        let filter = join.filter.as_ref();
        let filter = filter.map(|filter| self.pair_filter(filter, left_plan, &left, right_plan)).transpose()?;
        let arrange_left =
            self.add(OpSpec::Arrange { key: left.key.clone() }, vec![left.rel.node], left_schema.clone())?;
        let arrange_right =
            self.add(OpSpec::Arrange { key: right.key.clone() }, vec![right.rel.node], right_schema.clone())?;
        let null_equals_null = join.null_equality == NullEquality::NullEqualsNull;
        let semi =
            |kind| OpSpec::SemiJoin { kind, filter: filter.clone(), null_aware: join.null_aware, null_equals_null };
        let outer = |preserve_left, preserve_right| OpSpec::OuterJoin {
            preserve_left,
            preserve_right,
            filter: filter.clone(),
            null_equals_null,
        };
        let (op, pairs) = match join.join_type {
            JoinType::Inner => (OpSpec::Join { filter: filter.clone(), null_equals_null }, true),
            JoinType::Left => (outer(true, false), true),
            JoinType::Right => (outer(false, true), true),
            JoinType::Full => (outer(true, true), true),
            JoinType::LeftSemi | JoinType::RightSemi => (semi(SemiKind::Semi), false),
            JoinType::LeftAnti | JoinType::RightAnti => (semi(SemiKind::Anti), false),
            JoinType::LeftMark | JoinType::RightMark => (semi(SemiKind::Mark), false),
        };
        let schema = match (pairs, join.join_type) {
            (true, _) => both(&left_schema, &right_schema),
            (false, JoinType::LeftMark | JoinType::RightMark) => {
                let mut fields: Vec<_> = left_schema.fields().iter().cloned().collect();
                fields.push(Arc::new(Field::new("mark", arrow::datatypes::DataType::Boolean, true)));
                Arc::new(Schema::new(fields))
            }
            (false, _) => left_schema.clone(),
        };
        let node = self.add(op, vec![arrange_left, arrange_right], schema)?;
        let sharding = match (&left.rel.sharding, join.join_type) {
            (Sharding::One, _) => Sharding::One,
            // Preserved right rows have no left key, and the other way round.
            (_, JoinType::Full) => Sharding::Any,
            (_, JoinType::Right) => match &right.rel.sharding {
                Sharding::Key(key) => {
                    Sharding::Key(key.iter().map(|column| left_schema.fields().len() + column).collect())
                }
                _ => Sharding::Any,
            },
            (Sharding::Key(key), _) => Sharding::Key(key.clone()),
            _ => Sharding::Any,
        };
        self.drop_keys(Rel { node, sharding }, &left, &right, join, pairs)
    }

    /// A side's rows, with columns for those keys that are more than a column.
    fn side(&mut self, plan: &LogicalPlan, keys: &[&Expr]) -> Result<Side> {
        let rel = self.rel(plan)?;
        let schema = plan.schema();
        let rel = self.exactly(rel, schema)?;
        let width = schema.fields().len();
        let mut key = Vec::with_capacity(keys.len());
        let mut exprs: Vec<PhysicalExpr> = (0..width).map(|column| self.column(rel.node, column)).collect();
        let mut fields: Vec<_> = self.schema(rel.node).fields().iter().cloned().collect();
        for expr in keys {
            let physical = self.physical(expr, schema)?;
            if let Some(column) = super::exprs::as_column(&physical) {
                key.push(column);
                continue;
            }
            let ty = physical.data_type(&schema_of(schema))?;
            fields.push(Arc::new(Field::new(format!("key{}", exprs.len() - width + 1), ty, true)));
            key.push(exprs.len());
            exprs.push(physical);
        }
        let rel = match exprs.len() == width {
            true => rel,
            false => self.map(rel, exprs, None, Arc::new(Schema::new(fields)))?,
        };
        Ok(Side { rel, key, width })
    }

    /// Rows with equal keys on one worker, of both sides.
    ///
    /// NOT IN asks whether there is any NULL on the right: every worker needs the whole right side.
    fn bring_together(&mut self, left: &mut Side, right: &mut Side, kind: JoinType, null_aware: bool) -> Result<()> {
        if left.rel.sharding == Sharding::One && right.rel.sharding == Sharding::One {
            return Ok(());
        }
        if left.key.is_empty() || null_aware {
            if matches!(kind, JoinType::Right | JoinType::Full) {
                left.rel = self.on_one_worker(left.rel.clone())?;
                right.rel = self.on_one_worker(right.rel.clone())?;
            } else {
                let node = self.exchange(right.rel.node, ExchangeTo::All)?;
                right.rel = Rel { node, sharding: Sharding::Any };
                if left.rel.sharding == Sharding::Row {
                    left.rel.sharding = Sharding::Any;
                }
            }
            return Ok(());
        }
        // Where each side lies by the same places of the key already, nothing moves.
        let places = |side: &Side| -> Option<Vec<usize>> {
            let Sharding::Key(columns) = &side.rel.sharding else { return None };
            columns.iter().map(|column| side.key.iter().position(|key| key == column)).collect()
        };
        match (places(left), places(right)) {
            (Some(l), Some(r)) if l == r => Ok(()),
            // One side is laid out as the other one lies.
            (Some(l), _) => {
                let columns: Vec<usize> = l.iter().map(|place| right.key[*place]).collect();
                let node = self.exchange(right.rel.node, ExchangeTo::Key(columns.clone()))?;
                right.rel = Rel { node, sharding: Sharding::Key(columns) };
                Ok(())
            }
            (None, Some(r)) => {
                let columns: Vec<usize> = r.iter().map(|place| left.key[*place]).collect();
                let node = self.exchange(left.rel.node, ExchangeTo::Key(columns.clone()))?;
                left.rel = Rel { node, sharding: Sharding::Key(columns) };
                Ok(())
            }
            (None, None) => {
                for side in [left, right] {
                    let node = self.exchange(side.rel.node, ExchangeTo::Key(side.key.clone()))?;
                    side.rel = Rel { node, sharding: Sharding::Key(side.key.clone()) };
                }
                Ok(())
            }
        }
    }

    /// The rest of the condition, over the columns of a pair: left ones, computed keys, right ones.
    fn pair_filter(
        &mut self,
        filter: &Expr,
        left_plan: &LogicalPlan,
        left: &Side,
        right_plan: &LogicalPlan,
    ) -> Result<PhysicalExpr> {
        let mut fields: Vec<_> = left_plan.schema().iter().map(|(q, field)| (q.cloned(), field.clone())).collect();
        let computed = self.schema(left.rel.node).fields().len() - left.width;
        for key in 0..computed {
            let ty = self.schema(left.rel.node).field(left.width + key).data_type().clone();
            fields.push((None, Arc::new(Field::new(format!("\u{0}key{key}"), ty, true))));
        }
        fields.extend(right_plan.schema().iter().map(|(q, field)| (q.cloned(), field.clone())));
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        self.physical(filter, &schema)
    }

    /// The plan's columns without computed keys, in the plan's order.
    fn drop_keys(&mut self, rel: Rel, left: &Side, right: &Side, join: &Join, pairs: bool) -> Result<Rel> {
        let left_width = match pairs {
            true => self.schema(left.rel.node).fields().len(),
            false => self.schema(rel.node).fields().len(),
        };
        let mut columns: Vec<usize> = (0..left.width).collect();
        if pairs {
            columns.extend(left_width..left_width + right.width);
        } else if matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
            columns.push(left_width - 1);
        }
        let exprs = columns.iter().map(|column| self.column(rel.node, *column)).collect();
        self.map(rel, exprs, None, schema_of(&join.schema))
    }
}

fn both(left: &SchemaRef, right: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>()))
}
