//! Filling a new view, or several that read each other, beside the live circuit.
//!
//! The filler reads what the view's sources held at one epoch and feeds it, slice by slice, to the view's own circuit on the
//! same workers, between the live epochs. Then it feeds what changed since, again and again, until little is left; the
//! epoch thread feeds that little and lets the view join between two epochs.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::published::{PATIENCE, Published, Reader, WorkerDeltas};
use crate::circuit::{CircuitPlan, Fill, FillInput};
use crate::error::Result;
use crate::types::RelationId;

/// Rows fed in one pass: a pass is what a live epoch may have to wait for.
const SLICE_ROWS: usize = 4 * 1024;
/// Changes few enough to leave to the epoch thread.
const LITTLE: u64 = 16 * 1024;

/// Builds the view's circuit and feeds it all that `state` holds. `progress` hears of rows done and may end the fill: it is asked
/// after every pass, for what follows from one slice may be many of them, and while a source is waited for.
pub fn fill(
    inner: &Inner,
    plans: &[(RelationId, CircuitPlan)],
    state: &Published,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Fill> {
    let mut fill = inner.circuit.begin_fill(plans)?;
    let outcome = fill_from(inner, &mut fill, state, progress);
    abandon_unless(inner, fill, outcome)
}

fn fill_from(
    inner: &Inner,
    fill: &mut Fill,
    state: &Published,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    drain(inner, fill, Vec::new(), progress)?;
    for relation in sources(fill) {
        feed(inner, fill, relation, state.rows(relation, &inner.commits, None)?, progress)?;
    }
    Ok(())
}

/// Feeds what changed between two states.
pub fn catch_up(
    inner: &Inner,
    fill: &mut Fill,
    seen: &Published,
    state: &Published,
    patience: Duration,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    for relation in sources(fill) {
        // Made by the transaction that makes the view, and not there yet; or dropped, which the install will find.
        if state.catalog.relation(relation).is_none() {
            continue;
        }
        feed(inner, fill, relation, state.changes(seen, relation, &inner.commits, patience)?, progress)?;
    }
    Ok(())
}

/// Fills a view while epochs go on. Gives the fill and the last state it has seen, close to the present.
pub fn fill_live(
    inner: &Inner,
    plans: &[(RelationId, CircuitPlan)],
    start: Arc<Reader>,
    next: impl Fn() -> Arc<Reader>,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<(Fill, Arc<Reader>)> {
    let mut filled = fill(inner, plans, &start.state, progress)?;
    let (mut seen, mut before) = (start, u64::MAX);
    loop {
        let now = next();
        let mut rows = 0;
        let outcome = catch_up(inner, &mut filled, &seen.state, &now.state, PATIENCE, &mut |done| {
            rows += done;
            progress(done)
        });
        filled = abandon_unless(inner, filled, outcome)?;
        seen = now;
        // Where each round leaves as much as it found, more comes than is fed: the epoch thread, which takes in nothing meanwhile,
        // feeds what is left.
        if rows <= LITTLE || rows >= before {
            return Ok((filled, seen));
        }
        before = rows;
    }
}

fn abandon_unless(inner: &Inner, fill: Fill, outcome: Result<()>) -> Result<Fill> {
    match outcome {
        Ok(()) => Ok(fill),
        Err(error) => {
            inner.circuit.abandon(fill)?;
            Err(error)
        }
    }
}

fn sources(fill: &Fill) -> Vec<RelationId> {
    let mut sources = fill.sources();
    sources.sort_unstable();
    sources.dedup();
    sources
}

fn feed(
    inner: &Inner,
    fill: &mut Fill,
    relation: RelationId,
    rows: WorkerDeltas,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    for part in rows {
        let (worker, delta) = part?;
        progress(0)?;
        for slice in delta.pieces(SLICE_ROWS) {
            let rows = slice.len() as u64;
            drain(inner, fill, vec![FillInput { relation, worker, deltas: vec![slice] }], progress)?;
            progress(rows)?;
        }
    }
    Ok(())
}

/// Feeds a slice and lets everything that follows from it through.
fn drain(
    inner: &Inner,
    fill: &mut Fill,
    input: Vec<FillInput>,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let mut more = inner.circuit.feed(fill, input, 0)?;
    while more {
        progress(0)?;
        more = inner.circuit.feed(fill, Vec::new(), 0)?;
    }
    Ok(())
}
