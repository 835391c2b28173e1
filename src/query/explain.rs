//! EXPLAIN of a read: the plan that would run, or with ANALYZE did run, one line a row or as one JSON value.
//!
//! ```text
//! Sort: expr=[n@1 DESC]  (actual rows=3, time=0.041 ms)
//!   ->  Aggregate: mode=Single, gby=[owner@0], aggr=[count]  (actual rows=3, time=0.210 ms)
//!         ->  Scan: public.accounts, columns=[owner]  (actual rows=6, time=0.004 ms)
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch, StringArray};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use serde_json::{Value, json};

use super::forgets::remembering;
use super::run::physical_plan;
use super::show::Table;
use super::{Parameters, RuntimeFacts, execution, long_constants, stop};
use crate::catalog::ROW_ID_COLUMN;
use crate::engine::ReadView;
use crate::error::Result;
use crate::sql::BoundQuery;
use crate::types::{Column, Type, arrow_schema};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    /// Run the query and show what it did.
    pub analyze: bool,
    pub json: bool,
}

/// The column of an EXPLAIN's answer.
pub fn column() -> Column {
    Column::new("QUERY PLAN", Type::Text)
}

/// Explains a read, or the reading part of a write; then `write` says what is done with the rows (`Insert on accounts`).
/// ANALYZE is of reads only: it would not write.
pub fn explain(
    query: &BoundQuery,
    parameters: &Parameters,
    view: ReadView,
    facts: Arc<dyn RuntimeFacts>,
    write: Option<&str>,
    options: ExplainOptions,
) -> Result<Table> {
    let start = Instant::now();
    let mut plan = physical_plan(query, parameters, view, facts)?;
    let planning = start.elapsed();
    let execution = match options.analyze {
        true => {
            let start = Instant::now();
            plan = stop::stoppable(plan)?;
            for batch in execution::pull(plan.clone())? {
                batch?;
            }
            Some(start.elapsed())
        }
        false => None,
    };
    let lines = match options.json {
        true => vec![as_json(&plan, write, planning, execution)?],
        false => as_text(&plan, write, planning, execution),
    };
    let columns = vec![column()];
    let rows = RecordBatch::try_new(arrow_schema(&columns), vec![Arc::new(StringArray::from(lines))])?;
    Ok(Table { columns, rows })
}

fn as_text(
    plan: &Arc<dyn ExecutionPlan>,
    write: Option<&str>,
    planning: Duration,
    execution: Option<Duration>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut depth = 0;
    if let Some(write) = write {
        lines.push(write.to_string());
        depth = 1;
    }
    push_lines(plan, depth, execution.is_some(), &mut lines);
    if let Some(execution) = execution {
        lines.push(format!("Planning Time: {:.3} ms", milliseconds(planning)));
        lines.push(format!("Execution Time: {:.3} ms", milliseconds(execution)));
    }
    lines
}

/// The operator, without what stands around it for the planner's or the query threads' sake.
fn shown(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    stop::unchecked(remembering(stop::unchecked(long_constants::whole(plan))))
}

fn push_lines(plan: &Arc<dyn ExecutionPlan>, depth: usize, analyze: bool, lines: &mut Vec<String>) {
    let plan = shown(plan);
    let arrow = if depth == 0 { String::new() } else { format!("{}->  ", " ".repeat(6 * depth - 4)) };
    let node = Node::of(plan);
    let mut line = format!("{arrow}{}", node.kind);
    if !node.detail.is_empty() {
        line.push_str(&format!(": {}", node.detail));
    }
    if analyze {
        line.push_str(&format!("  (actual rows={}, time={:.3} ms)", node.rows, milliseconds(node.time)));
    }
    lines.push(line);
    for child in plan.children() {
        push_lines(child, depth + 1, analyze, lines);
    }
}

fn as_json(
    plan: &Arc<dyn ExecutionPlan>,
    write: Option<&str>,
    planning: Duration,
    execution: Option<Duration>,
) -> Result<String> {
    let mut root = json_node(plan, execution.is_some());
    if let Some(write) = write {
        root = json!({ "Node Type": write, "Plans": [root] });
    }
    let mut top = json!({ "Plan": root });
    if let Some(execution) = execution {
        top["Planning Time"] = json!(milliseconds(planning));
        top["Execution Time"] = json!(milliseconds(execution));
    }
    serde_json::to_string_pretty(&Value::Array(vec![top])).map_err(crate::error::Error::internal)
}

fn json_node(plan: &Arc<dyn ExecutionPlan>, analyze: bool) -> Value {
    let plan = shown(plan);
    let node = Node::of(plan);
    let mut value = json!({ "Node Type": node.kind });
    if !node.detail.is_empty() {
        value["Detail"] = json!(node.detail);
    }
    if analyze {
        value["Actual Rows"] = json!(node.rows);
        value["Actual Total Time"] = json!(milliseconds(node.time));
    }
    let children = plan.children();
    if !children.is_empty() {
        value["Plans"] = children.into_iter().map(|child| json_node(child, analyze)).collect();
    }
    value
}

/// What is shown of an operator.
struct Node {
    kind: String,
    detail: String,
    rows: usize,
    /// Spent in the operator itself.
    time: Duration,
}

impl Node {
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Node {
        let line = DisplayableExecutionPlan::new(plan.as_ref()).one_line().to_string();
        let (kind, detail) = match line.trim().split_once(": ") {
            Some((kind, detail)) => (kind, detail),
            None => (line.trim(), ""),
        };
        let metrics = plan.metrics();
        let rows = metrics.as_ref().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
        let nanoseconds = metrics.as_ref().and_then(|metrics| metrics.elapsed_compute()).unwrap_or(0);
        Node {
            kind: kind.strip_suffix("Exec").unwrap_or(kind).to_string(),
            // The id of a row of a table without key has no name that could be written.
            detail: detail.replace(ROW_ID_COLUMN, "(row id)"),
            rows,
            time: Duration::from_nanos(nanoseconds as u64),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Int32Array, StringArray};
    use datafusion::functions_aggregate::expr_fn::count;
    use datafusion::prelude::{col, lit};

    use super::*;
    use crate::query::testing::{Memory, bound, scan};

    fn lines(options: ExplainOptions, write: Option<&str>) -> Vec<String> {
        let mut memory = Memory::new();
        let table = memory.table("t", &[("id", Type::Int4), ("v", Type::Text)], &[0]);
        let values = StringArray::from(vec!["a", "b", "a"]);
        memory.fill(&table, vec![Arc::new(Int32Array::from(vec![1, 2, 3])), Arc::new(values)]);
        let plan = scan(&table, false).filter(col("id").in_list(vec![lit(1), lit(3)], false)).unwrap();
        let plan = plan.aggregate(vec![col("v")], vec![count(lit(1i64)).alias("n")]).unwrap().build().unwrap();
        let facts = Arc::new(crate::query::system::NoFacts);
        let table = explain(&bound(plan), &Arc::from([]), memory.view(), facts, write, options).unwrap();
        let lines = table.rows.column(0).as_string::<i32>();
        (0..lines.len()).map(|row| lines.value(row).to_string()).collect()
    }

    #[test]
    fn the_plan_as_text_shows_lookups_and_what_was_done() {
        let plan = lines(ExplainOptions::default(), Some("Insert on t"));
        assert_eq!(plan[0], "Insert on t");
        assert!(plan.last().unwrap().trim_start().starts_with("->  "), "{plan:?}");
        let scan = plan.iter().find(|line| line.contains("Lookup: public.t")).unwrap();
        assert!(scan.contains("keys=2 by (id)") && !scan.contains("actual"), "{scan}");
        let analyzed = lines(ExplainOptions { analyze: true, json: false }, None);
        assert!(analyzed.iter().any(|line| line.contains("Lookup") && line.contains("actual rows=2")), "{analyzed:?}");
        assert!(analyzed.last().unwrap().starts_with("Execution Time: "));
    }

    #[test]
    fn the_plan_as_json_parses() {
        let text = lines(ExplainOptions { analyze: true, json: true }, None);
        let value: Value = serde_json::from_str(&text[0]).unwrap();
        assert_eq!(value[0]["Plan"]["Actual Rows"], 1);
        assert!(value[0]["Execution Time"].is_number());
    }
}
