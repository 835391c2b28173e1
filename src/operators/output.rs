//! Output: a materialized view's rows.
//!
//! ```text
//!   rows  += delta                          (every step)
//!   out    = rows(now) - rows(epoch before)  (once an epoch, consolidated)
//! ```
//!
//! Keeps: the view's rows in an arrangement that readers share. A step costs its delta; the epoch's end costs the rows born
//! and dead within it, and nothing where nobody reads the view's changes. State goes as rows die.

use std::sync::Arc;

use super::{Progress, Step};
use crate::delta::{Delta, consolidate};
use crate::error::Result;
use crate::state::{Arrangement, Version};

pub struct Output {
    rows: Arc<Arrangement>,
    /// The version before this epoch's first change, once there was one.
    since: Option<Version>,
}

impl Output {
    pub fn new(rows: Arc<Arrangement>) -> Output {
        Output { rows, since: None }
    }

    /// A filled view joins the live circuit: what it was filled with is no epoch's change.
    pub fn join(&mut self) {
        self.since = None;
    }

    /// Takes in a step's deltas.
    pub fn append(&mut self, deltas: &[Delta], step: &Step) -> Result<Progress> {
        if !deltas.is_empty() {
            self.since.get_or_insert(step.before);
            self.rows.append(deltas, step.after, step.oldest)?;
        }
        Ok(Progress::Done)
    }

    /// Emits the epoch's net change, if it is `wanted`: views on top read it.
    pub fn end_epoch(&mut self, wanted: bool, step: &mut Step) -> Result<Progress> {
        if let Some(since) = self.since.take()
            && wanted
        {
            let changes = self.rows.changes(since, step.after)?.collect::<Result<Vec<_>>>()?;
            step.out.extend(consolidate(changes)?);
        }
        Ok(Progress::Done)
    }
}
