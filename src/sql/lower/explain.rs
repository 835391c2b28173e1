//! EXPLAIN of a circuit: the operators from the output down, with keys, exchanges, and what each keeps.

use std::collections::HashSet;
use std::fmt::Write;

use crate::catalog::Catalog;
use crate::circuit::plan::{CircuitPlan, Elements, ExchangeTo, NodeIndex, OpSpec, RankKind, SemiKind, SetOpKind};
use crate::operators::SortKey;
use crate::operators::aggregate::AggregateCall;

/// One line a node, inputs indented below; a node that is read more than once is shown once and then named by number.
pub fn explain(plan: &CircuitPlan, catalog: &Catalog) -> String {
    let mut text = String::new();
    let mut readers = vec![0; plan.nodes.len()];
    plan.nodes.iter().flat_map(|node| &node.inputs).for_each(|input| readers[*input] += 1);
    let mut shown = HashSet::new();
    // Depth first with a stack of our own: circuits may be deep.
    let mut stack = vec![(plan.output, 0)];
    while let Some((node, depth)) = stack.pop() {
        let indent = "  ".repeat(depth);
        let mark = if readers[node] > 1 { format!("#{node} ") } else { String::new() };
        if !shown.insert(node) {
            let _ = writeln!(text, "{indent}-> {mark}(shown above)");
            continue;
        }
        let _ = writeln!(text, "{indent}-> {mark}{}", line(plan, node, catalog));
        stack.extend(plan.nodes[node].inputs.iter().rev().map(|input| (*input, depth + 1)));
    }
    text.truncate(text.trim_end().len());
    text
}

fn line(plan: &CircuitPlan, index: NodeIndex, catalog: &Catalog) -> String {
    let node = &plan.nodes[index];
    let input = |n: usize| {
        node.inputs.get(n).map(|input| plan.nodes[*input].schema.clone()).unwrap_or_else(|| node.schema.clone())
    };
    let names = |n: usize, columns: &[usize]| {
        let schema = input(n);
        columns.iter().map(|column| schema.field(*column).name().clone()).collect::<Vec<_>>().join(", ")
    };
    let appended = if node.append_only { "; append-only" } else { "" };
    let with_filter = |filter: &Option<crate::operators::PhysicalExpr>| match filter {
        Some(filter) => format!(" where {filter}"),
        None => String::new(),
    };
    let counts = |kept: bool| if kept { "; keeps match counts" } else { "" };
    match &node.op {
        OpSpec::Source { relation } => {
            let name = match catalog.relation(*relation) {
                Some(relation) => format!("{} {}", relation.kind_name(), relation.name),
                None => format!("relation {relation}"),
            };
            format!("Source {name}{appended}")
        }
        OpSpec::Constant { rows } => format!("Constant {} rows", rows.num_rows()),
        OpSpec::Map { exprs, filter } => {
            let shown: Vec<String> = exprs
                .iter()
                .zip(node.schema.fields())
                .map(|(expr, field)| match expr.to_string() {
                    text if text.rsplit_once('@').is_some_and(|(name, _)| name == field.name()) => field.name().clone(),
                    text => format!("{text} as {}", field.name()),
                })
                .collect();
            format!("Map [{}]{}", shown.join(", "), with_filter(filter))
        }
        OpSpec::Unnest { lists, outer } => {
            let shown = lists.iter().map(|list| match list {
                Elements::List(column) => names(0, &[*column]),
                Elements::Series(args) => format!("series({})", names(0, args)),
            });
            let shown: Vec<String> = shown.collect();
            format!("Unnest [{}]{}", shown.join(", "), if *outer { " outer" } else { "" })
        }
        OpSpec::Hop { time, slide, size } => {
            format!("Windows of {} by {} every {}", micros(*size), names(0, &[*time]), micros(*slide))
        }
        OpSpec::Union => "Union".to_string(),
        OpSpec::Exchange { to } => match to {
            ExchangeTo::Key(key) => format!("Exchange by [{}]", names(0, key)),
            ExchangeTo::Row => "Exchange by row".to_string(),
            ExchangeTo::One => "Exchange to one worker".to_string(),
            ExchangeTo::All => "Exchange to all workers".to_string(),
        },
        OpSpec::Arrange { key } => format!("Arrange by [{}]; keeps its rows{appended}", names(0, key)),
        OpSpec::Join { filter, .. } => format!("Join{}{appended}", with_filter(filter)),
        OpSpec::OuterJoin { preserve_left, preserve_right, filter, .. } => {
            let kind = match (preserve_left, preserve_right) {
                (true, false) => "Left",
                (false, true) => "Right",
                _ => "Full",
            };
            format!("{kind} Join{}{}", with_filter(filter), counts(filter.is_some()))
        }
        OpSpec::SemiJoin { kind, filter, null_aware, .. } => {
            let kind = match (kind, null_aware) {
                (SemiKind::Semi, _) => "Semi Join",
                (SemiKind::Anti, false) => "Anti Join",
                (SemiKind::Anti, true) => "Anti Join (NOT IN)",
                (SemiKind::Mark, _) => "Mark Join",
            };
            let one_key = node
                .inputs
                .first()
                .is_some_and(|left| matches!(&plan.nodes[*left].op, OpSpec::Arrange { key } if key.len() == 1));
            format!("{kind}{}{}", with_filter(filter), counts(filter.is_some() || (*null_aware && !one_key)))
        }
        OpSpec::Aggregate { group, calls, .. } => {
            let calls: Vec<String> = calls.iter().map(|call| call_text(call, &|column| names(0, &[column]))).collect();
            format!("Aggregate by [{}]: {}; keeps its groups", names(0, group), calls.join(", "))
        }
        OpSpec::Distinct => "Distinct; keeps its rows".to_string(),
        OpSpec::SetOp { kind, all } => {
            let kind = match kind {
                SetOpKind::Intersect => "Intersect",
                SetOpKind::Except => "Except",
            };
            format!("{kind}{}; keeps both inputs' rows", if *all { " All" } else { "" })
        }
        OpSpec::TopN { partition, order, offset, limit, rank } => {
            let rank = match rank {
                RankKind::Rows => "rows",
                RankKind::RowNumber => "row numbers",
                RankKind::Rank => "ranks",
                RankKind::DenseRank => "dense ranks",
            };
            let count = match limit {
                Some(limit) => format!("{} to {}", offset + 1, offset.saturating_add(*limit)),
                None => format!("from {}", offset + 1),
            };
            let order: Vec<String> = order.iter().map(|key| order_text(key, &names(0, &[key.column]))).collect();
            let per = if partition.is_empty() { String::new() } else { format!(" per [{}]", names(0, partition)) };
            format!("Top {rank} {count}{per} order by [{}]; keeps its rows", order.join(", "))
        }
        OpSpec::ScalarSubquery => "Single value".to_string(),
    }
}

fn call_text(call: &AggregateCall, name: &dyn Fn(usize) -> String) -> String {
    let args: Vec<String> = call.args.iter().map(|arg| name(*arg)).collect();
    let mut text = format!("{:?}({}{})", call.function, if call.distinct { "distinct " } else { "" }, args.join(", "));
    if !call.order_by.is_empty() {
        let order: Vec<String> = call.order_by.iter().map(|key| order_text(key, &name(key.column))).collect();
        let _ = write!(text, " order by {}", order.join(", "));
    }
    if let Some(filter) = call.filter {
        let _ = write!(text, " filter {}", name(filter));
    }
    text
}

fn order_text(key: &SortKey, name: &str) -> String {
    let direction = if key.descending { " desc" } else { "" };
    let nulls = match (key.descending, key.nulls_first) {
        (false, true) => " nulls first",
        (true, false) => " nulls last",
        _ => "",
    };
    format!("{name}{direction}{nulls}")
}

fn micros(value: i64) -> String {
    const UNITS: [(i64, &str); 5] = [
        (86_400_000_000, "day"),
        (3_600_000_000, "hour"),
        (60_000_000, "minute"),
        (1_000_000, "second"),
        (1_000, "millisecond"),
    ];
    match UNITS.iter().find(|(unit, _)| value % unit == 0) {
        Some((unit, name)) if value / unit == 1 => format!("1 {name}"),
        Some((unit, name)) => format!("{} {name}s", value / unit),
        None => format!("{value} microseconds"),
    }
}
