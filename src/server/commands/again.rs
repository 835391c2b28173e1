//! Statements that DDL of others has overtaken between their binding and their place in the order.
//!
//! In Postgres a lock holds the names still. Here a statement that fails for a name is bound again if the catalog is not the one that it was
//! bound against; only then is it told.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::server::session::{Failure, Session};

/// Times that one statement is bound again: where four replace one view as fast as they can, one of them may lose twenty times in a row.
const TIMES: usize = 100;

pub struct Again {
    /// What it was bound against, or an older one.
    catalog: Arc<Catalog>,
    left: usize,
}

impl Again {
    pub fn new(session: &Session) -> Result<Again> {
        Ok(Again { catalog: session.catalog()?, left: TIMES })
    }

    /// Whether to bind it again. What has failed has changed nothing.
    pub fn overtaken(&mut self, session: &Session, failure: &Failure) -> bool {
        let Failure::Statement(error) = failure else { return false };
        // Missing and taken names, schemas, and what depends on something.
        let of_names = ["42", "3F", "2B"].iter().any(|class| error.state().0.starts_with(class));
        let Ok(now) = session.catalog() else { return false };
        let moved = !Arc::ptr_eq(&now, &self.catalog);
        self.catalog = now;
        self.left = self.left.saturating_sub(1);
        of_names && moved && self.left > 0
    }
}
