//! Connectors at work: where a stream's records come from, and how the same records come again.
//!
//! The engine decides what is taken in (the cut); a connector reads ahead, in order within each partition, and can
//! read any range again, giving the same rows and the same dead letters: decoding depends on nothing but the
//! bytes, the declared schema and the decoder's version.

mod datagen;
pub mod dead_letter;
mod generated;
mod generator;
mod kafka;
mod nexmark;
pub mod options;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;

use crate::catalog::{Relation, RelationKind, StreamDef};
use crate::error::{Error, Result, SqlState};

pub use crate::log::Fingerprint;
pub use dead_letter::DeadLetter;
pub use queue::{ChunkReceiver, ChunkSender, QueueBytes, queue};

/// Some consecutive records of one partition, decoded.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub partition: i32,
    /// Positions [start, next): `next` is where reading goes on, gaps of aborted transactions and compaction included.
    pub start: i64,
    pub next: i64,
    /// Rows in the stream's stored schema, in record order.
    pub rows: RecordBatch,
    /// Records that are not rows, and why.
    pub dead: Vec<DeadLetter>,
    /// The replay's proof that it saw the same records.
    pub fingerprint: Fingerprint,
}

impl Fetched {
    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.dead.iter().map(DeadLetter::bytes).sum::<usize>()
    }
}

/// Where a partition stands, for `rr_source_partitions`.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionStatus {
    pub partition: i32,
    /// The next position to fetch.
    pub next: i64,
    /// One past the newest record, where the source knows it.
    pub end: Option<i64>,
    pub state: PartitionState,
    /// The error being retried, if any.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionState {
    Running,
    /// Nothing more will come (a bounded generator).
    Finished,
    /// The source can't be reached; reading is retried with growing pauses.
    Retrying,
    /// The topic is not the one this stream was made on, or its history is gone: an operator has to decide.
    Stopped,
}

impl PartitionStatus {
    /// Of a partition whose stream has failed.
    pub fn stopped(partition: i32, next: i64, error: &Error) -> PartitionStatus {
        PartitionStatus { partition, next, end: None, state: PartitionState::Stopped, error: Some(sentence(error)) }
    }
}

/// An error in one line, for `rr_source_partitions`.
fn sentence(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.message()),
        None => error.message().to_string(),
    }
}

/// Ends a reader: it looks at least every 100 ms, but for when it must wait for a broker's answer (ten seconds at most): before it reads
/// anything, and when what it should read is gone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }
    pub fn stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What a source tells about itself beside its records. Kept current by the reader, read by anyone.
pub type Statuses = Arc<parking_lot::Mutex<Vec<PartitionStatus>>>;

/// Positions [start, next) of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub partition: i32,
    pub start: i64,
    pub next: i64,
}

/// One connected stream.
pub trait Source: Send + Sync {
    /// A name for what is read that changes when it is deleted and made again (Kafka's topic id). It is logged with the
    /// first cut, and a replay over another one is refused.
    fn identity(&self) -> Result<String>;

    /// What makes rows of records, with its version; empty where nothing is decoded. It is logged with the identity, and a stream
    /// whose decoder has changed is refused: the same records might give other rows.
    fn decoder(&self) -> &'static str;

    /// Where each partition starts according to the options (`scan.startup.mode`). Decided once, at CREATE, and logged.
    fn start_positions(&self) -> Result<Vec<(i32, i64)>>;

    /// Reads from `from` on (partitions that are not in it, from their first record), until `stop`, into `out`, which is bounded:
    /// sending blocks when the engine is behind. Fetched chunks are in order within a partition and at most a few
    /// thousand rows or two megabytes, and a record. Errors that may pass are retried here, with growing pauses, and shown in `statuses`.
    /// An error means that reading can't go on, whoever tries: the statuses say Stopped, and why.
    fn read(&self, from: Vec<(i32, i64)>, out: ChunkSender, statuses: Statuses, stop: Stop) -> Result<()>;

    /// The records of `range` again, in chunks, in order. The fingerprint of all of them together equals that of the first reading, or
    /// the history has changed. 08001 when the source is known to be away and nothing comes for as long as `patience`.
    fn replay(&self, range: Range, patience: Duration, each: &mut dyn FnMut(Fetched) -> Result<()>) -> Result<()>;
}

/// Makes a stream's source. With an identity: of a stream that was made on what has this identity. The engine is given
/// one of these: [`connect`], or what an embedding program wraps around it.
pub type Connect = fn(&Relation, Option<&str>) -> Result<Arc<dyn Source>>;

/// 55000 where a stream was made with another decoder, or another version of it, than its source has.
pub fn check_decoder(stream: &Relation, source: &dyn Source, logged: &str) -> Result<()> {
    let now = source.decoder();
    if now == logged {
        return Ok(());
    }
    let message = format!("stream \"{}\" was made by a decoder that this release does not have", stream.name);
    Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .with_detail(format!("Its records were decoded by \"{logged}\"; \"{now}\" might make other rows of them."))
        .with_hint("Go back to the release that made it, or drop the stream with CASCADE and create it again."))
}

/// Checks the values of a stream's connector options (22023 with what is valid as hint) and makes its source. Nothing is contacted
/// yet, so this works while brokers are away. With an identity: of a stream that was made on what has this identity; whatever it is
/// found to be now, nothing else is read, and a topic made again since shows as Stopped.
pub fn connect(stream: &Relation, identity: Option<&str>) -> Result<Arc<dyn Source>> {
    if let Some(given) = generated::without(stream) {
        let inner = connect(&given, identity)?;
        return Ok(Arc::new(generated::Generated::new(stream, &given, inner)?));
    }
    let RelationKind::Stream(StreamDef { connector: Some(connector), includes, .. }) = &stream.kind else {
        return Err(Error::internal(format!("{} {} has no connector", stream.kind_name(), stream.name)));
    };
    if !includes.is_empty() && connector.name != "kafka" {
        return Err(options::invalid(format!("connector '{}' has nothing to INCLUDE", connector.name)));
    }
    let source: Arc<dyn Source> = match connector.name.as_str() {
        "kafka" => return Ok(Arc::new(kafka::source(stream, connector, identity)?)),
        "datagen" => {
            if identity.is_none() {
                datagen::check_settings(stream, connector)?;
            }
            Arc::new(datagen::source(stream, connector)?)
        }
        "nexmark" => Arc::new(nexmark::source(stream, connector)?),
        other => return Err(options::invalid(format!("connector \"{other}\" does not exist"))),
    };
    // A generator's identity is what it would make.
    let now = source.identity()?;
    if identity.is_some_and(|identity| identity != now) {
        let message = format!("stream \"{}\" was made by a generator that this release does not have", stream.name);
        return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_detail(format!(
            "Its rows are those of \"{}\"; now it would make \"{now}\".",
            identity.unwrap_or_default()
        )));
    }
    Ok(source)
}

#[cfg(test)]
mod tests;
