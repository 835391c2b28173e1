//! The epoch log: what each epoch took in. Everything downstream is a function of it.
//!
//! A cut is tens of bytes: which commits of the embedded log, which range of each source partition (with count and hash of
//! the records, so that a replay knows whether it saw the same), which DDL, and the value of `now()`. A stream's topic and the
//! version of its decoder stand in the DDL that connects it, its schema in the one that creates it. Where an epoch's steps ended is
//! not logged: nothing depends on it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::error::{Error, Result, SqlState};
use crate::store::{Batch, Entry, Family, Store};
use crate::types::RelationId;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    pub epoch: u64,
    /// Microseconds since 1970 UTC.
    pub now: i64,
    /// Commits [first, next) of the embedded log.
    pub commits: (u64, u64),
    pub sources: Vec<SourceCut>,
    /// Changes of the catalog as the catalog encodes them, applied in order before the rows.
    pub ddl: Vec<Vec<u8>>,
}

/// A range of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceCut {
    pub stream: RelationId,
    pub partition: i32,
    pub start: i64,
    pub next: i64,
    pub fingerprint: Fingerprint,
}

#[derive(Serialize, Deserialize)]
struct Versioned {
    version: u8,
    cut: Cut,
}

const VERSION: u8 = 1;

#[derive(Clone)]
pub struct EpochLog {
    store: Arc<Store>,
}

impl EpochLog {
    pub fn new(store: Arc<Store>) -> EpochLog {
        EpochLog { store }
    }

    /// Makes a cut durable.
    pub fn append(&self, cut: &Cut) -> Result<()> {
        let mut batch = Batch::default();
        EpochLog::put(&mut batch, cut)?;
        self.store.write(batch)
    }

    /// Adds a cut to a batch.
    pub fn put(batch: &mut Batch, cut: &Cut) -> Result<()> {
        let bytes = postcard::to_stdvec(&Versioned { version: VERSION, cut: cut.clone() }).map_err(Error::internal)?;
        batch.put(Family::Epochs, cut.epoch.to_be_bytes().to_vec(), bytes);
        Ok(())
    }

    /// All cuts from epoch `from` on, in order.
    pub fn read(&self, from: u64) -> Result<impl Iterator<Item = Result<Cut>>> {
        let entries = self.store.range(Family::Epochs, &from.to_be_bytes(), &u64::MAX.to_be_bytes())?;
        Ok(entries.map(|entry| decode(entry?)))
    }
}

fn decode((key, value): Entry) -> Result<Cut> {
    let corrupt = |what: String| {
        let epoch = key.as_ref().try_into().map_or(0, u64::from_be_bytes);
        Error::new(SqlState::DATA_CORRUPTED, format!("epoch {epoch} of the epoch log is corrupt")).with_detail(what)
    };
    let versioned: Versioned = postcard::from_bytes(&value).map_err(|error| corrupt(error.to_string()))?;
    match versioned.version {
        VERSION => Ok(versioned.cut),
        other => Err(corrupt(format!("version {other}"))),
    }
}
