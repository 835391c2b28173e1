//! What a session may keep for its client between statements, in bytes: prepared statements, portals with their parameters,
//! the rows of cursors, settings and savepoints. All of them draw on one budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result, SqlState};

pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// A part of the budget, given back when it is dropped.
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget { limit, used: AtomicUsize::new(0) })
    }

    /// 54000 if so many bytes more are too many.
    pub fn check(&self, more: usize) -> Result<()> {
        if self.used.load(Ordering::Relaxed).saturating_add(more) <= self.limit {
            return Ok(());
        }
        let message = format!("the session keeps too much: the limit is {} bytes", self.limit);
        let hint = "DEALLOCATE statements, CLOSE cursors, RESET settings; the limit is the setting max_session_memory.";
        Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).with_hint(hint))
    }

    pub fn take(self: &Arc<Budget>, bytes: usize) -> Result<Share> {
        let mut share = Share { budget: self.clone(), bytes: 0 };
        share.grow(bytes)?;
        Ok(share)
    }
}

impl Share {
    /// Takes more. What is refused is not taken.
    pub fn grow(&mut self, more: usize) -> Result<()> {
        self.budget.check(more)?;
        self.budget.used.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let budget = Budget::new(100);
        let mut first = budget.take(60).unwrap();
        assert!(budget.take(50).is_err());
        first.grow(40).unwrap();
        assert_eq!(first.grow(1).unwrap_err().state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
        drop(first);
        budget.take(100).unwrap();
    }
}
