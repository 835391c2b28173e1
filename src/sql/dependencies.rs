//! What DataFusion believes to be keys, kept from its rules.
//!
//! It follows through a plan which columns determine which: the groups of an aggregate are its key. But an Unnest
//! keeps the keys of rows that it repeats, and groups over a join take a key of one side for their own, whatever else
//! they are by. The rules that ask for keys would then drop a DISTINCT, group by fewer columns, or take a join for one
//! that repeats no row. What they save where a key is one is little: so they are told of none.
//!
//! A node learns its keys anew whenever it is made again: they are forgotten whenever a rule asks, not once.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, FunctionalDependencies, Result};
use datafusion::logical_expr::{Distinct, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// DataFusion's rules that ask for keys, by name.
const ASKING: [&str; 3] = ["eliminate_join", "replace_distinct_aggregate", "optimize_projections"];

/// The rules, none of which learns of a key.
pub fn without_dependencies(rules: Vec<Rule>) -> Vec<Rule> {
    let untold = |rule: Rule| match ASKING.contains(&rule.name()) {
        true => Arc::new(Untold { rule }),
        false => rule,
    };
    rules.into_iter().map(untold).collect()
}

#[derive(Debug)]
struct Untold {
    rule: Rule,
}

impl OptimizerRule for Untold {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // Of the rules that are given every node by itself, one asks, at DISTINCT.
        let asks = self.apply_order().is_none() || matches!(plan, LogicalPlan::Distinct(Distinct::All(_)));
        let plan = match asks {
            true => plan.transform_up_with_subqueries(forget)?.data,
            false => plan,
        };
        self.rule.rewrite(plan, config)
    }
}

fn forget(mut node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if node.schema().functional_dependencies().is_empty() {
        return Ok(Transformed::no(node));
    }
    // The other nodes have the schema of their input.
    let own: Option<&mut DFSchemaRef> = match &mut node {
        LogicalPlan::Unnest(unnest) => Some(&mut unnest.schema),
        LogicalPlan::Projection(projection) => Some(&mut projection.schema),
        LogicalPlan::SubqueryAlias(alias) => Some(&mut alias.schema),
        LogicalPlan::Aggregate(aggregate) => Some(&mut aggregate.schema),
        LogicalPlan::Window(window) => Some(&mut window.schema),
        LogicalPlan::Join(join) => Some(&mut join.schema),
        LogicalPlan::Union(union) => Some(&mut union.schema),
        LogicalPlan::Distinct(Distinct::On(on)) => Some(&mut on.schema),
        _ => None,
    };
    let Some(schema) = own else { return Ok(Transformed::no(node)) };
    let known = Arc::unwrap_or_clone(schema.clone());
    *schema = Arc::new(known.with_functional_dependencies(FunctionalDependencies::empty())?);
    Ok(Transformed::yes(node))
}
