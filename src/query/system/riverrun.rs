//! rr_catalog: what only Riverrun has.

use super::Known;
use super::rows::{SystemRows, Value, row};
use crate::catalog::RelationKind;
use crate::error::Result;

pub fn fill(name: &str, known: &Known, rows: &mut SystemRows) -> Result<bool> {
    match name {
        "rr_relations" => relations(known, rows)?,
        "rr_source_partitions" => {
            for partition in known.facts.source_partitions() {
                let lag = partition.end_offset.map(|end| (end - partition.next_offset).max(0));
                row!(rows; stream: partition.stream, partition: partition.partition,
                    next_offset: partition.next_offset, end_offset: partition.end_offset, lag: lag,
                    state: partition.state, error: partition.error);
            }
        }
        "rr_ddl_progress" => {
            for progress in known.facts.ddl_progress() {
                row!(rows; pid: progress.pid, object: progress.object, state: progress.state,
                    rows_done: progress.rows_done, rows_total: progress.rows_total);
            }
        }
        "rr_dead_letters" => {
            for letter in known.facts.dead_letters()? {
                row!(rows; stream: letter.stream, partition: letter.partition, offset: letter.offset, key: letter.key,
                    value: letter.value, reason: letter.reason, at: letter.at);
            }
        }
        "rr_expression_errors" => {
            for error in known.facts.expression_errors() {
                row!(rows; view: error.view, sqlstate: error.sqlstate, message: error.message, count: error.count,
                    sample: error.sample);
            }
        }
        "rr_holds" => {
            for hold in known.facts.holds() {
                row!(rows; kind: hold.kind, owner: hold.owner, epoch: hold.epoch, since: hold.since);
            }
        }
        "rr_settings" => {
            for setting in known.facts.settings().iter() {
                row!(rows; name: &setting.name, setting: &setting.value, description: setting.description);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Everything the user made, views too; what the engine knows of it where it keeps rows.
fn relations(known: &Known, rows: &mut SystemRows) -> Result<()> {
    let facts = known.facts.relations();
    let epoch = i64::try_from(known.view.epoch()).ok();
    for relation in known.catalog.relations() {
        let fact = facts.iter().find(|fact| fact.id == relation.id);
        let stored = !matches!(relation.kind, RelationKind::View(_) | RelationKind::Index(_));
        let counted = known.view.row_count(relation.id).and_then(|rows| i64::try_from(rows).ok());
        let epoch: Value = if stored { fact.and_then(|fact| fact.epoch).or(epoch).into() } else { Value::Null };
        row!(rows;
            name: known.facts.name_of(relation),
            kind: relation.kind_name(),
            rows: if stored { counted.or_else(|| fact.and_then(|fact| fact.rows)) } else { None },
            state_bytes: fact.and_then(|fact| fact.state_bytes),
            epoch: epoch,
        );
    }
    Ok(())
}
