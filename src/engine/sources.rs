//! Connected streams: their reader threads and queues, and how far each has been taken in.

use std::collections::HashMap;
use std::sync::Arc;

use super::published::Connected;
use crate::error::{Error, Result};
use crate::ingest::{self, ChunkReceiver, QueueBytes, Source, Statuses, Stop};
use crate::types::RelationId;

/// Chunks a reader may be ahead of the engine: each is at most a few thousand rows or two megabytes, and a record.
const AHEAD: usize = 16;

/// Partition, first position, next position.
pub type Position = (i32, i64, i64);

/// One running reader.
pub struct Running {
    pub chunks: ChunkReceiver,
    stop: Stop,
}

impl Running {
    /// Reads on from where the stream stands.
    pub fn start(
        stream: RelationId,
        connected: &Connected,
        positions: &[Position],
        statuses: Statuses,
        bytes: QueueBytes,
    ) -> Result<Running> {
        let (sender, chunks) = ingest::queue(AHEAD, bytes);
        let stop = Stop::default();
        let (source, until): (Arc<dyn Source>, Stop) = (connected.source.clone(), stop.clone());
        let from = positions.iter().map(|(partition, _, next)| (*partition, *next)).collect();
        std::thread::Builder::new().name(format!("stream-{stream}")).spawn(move || {
            if let Err(error) = source.read(from, sender, statuses, until) {
                tracing::error!(stream = stream.0, %error, "a stream's reader has stopped");
            }
        })?;
        Ok(Running { chunks, stop })
    }
}

impl Drop for Running {
    /// The reader looks at its stop sign within 100 ms; nothing waits for it.
    fn drop(&mut self) {
        self.stop.stop();
        // A reader that waits for room in the queue sees the stop only when there is some.
        while self.chunks.try_recv().is_ok() {}
    }
}

/// Moves a stream's positions on by one chunk.
pub fn advance(
    positions: &mut HashMap<RelationId, Vec<Position>>,
    stream: RelationId,
    partition: i32,
    start: i64,
    next: i64,
) -> Result<()> {
    let partitions = positions.entry(stream).or_default();
    match partitions.iter_mut().find(|(other, ..)| *other == partition) {
        None => partitions.push((partition, start, next)),
        Some((_, _, at)) if *at == start => *at = next,
        Some((_, _, at)) => {
            let message = format!("stream {stream}, partition {partition}: chunk from {start} where {at} was next");
            return Err(Error::internal(message));
        }
    }
    Ok(())
}
