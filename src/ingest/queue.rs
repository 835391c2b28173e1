//! The queue between a stream's reader and the engine: so many chunks, whose bytes are counted as they come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, bounded};

use super::Fetched;

/// Bytes between a stream's source and the engine. Kept by its reader and its queue, read by anyone.
#[derive(Clone, Debug, Default)]
pub struct QueueBytes(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicUsize,
    fetched: AtomicUsize,
}

impl QueueBytes {
    /// Decoded chunks that wait for their epoch.
    pub fn queued(&self) -> usize {
        self.0.queued.load(Ordering::Relaxed)
    }

    /// Records that the source's client has fetched ahead and nobody has decoded yet.
    pub fn fetched(&self) -> usize {
        self.0.fetched.load(Ordering::Relaxed)
    }

    pub fn set_fetched(&self, bytes: usize) {
        self.0.fetched.store(bytes, Ordering::Relaxed);
    }
}

/// The reader's end.
pub struct ChunkSender {
    chunks: Sender<(usize, Fetched)>,
    bytes: QueueBytes,
}

/// The engine's end.
pub struct ChunkReceiver {
    chunks: Receiver<(usize, Fetched)>,
    bytes: QueueBytes,
}

/// A queue of at most so many chunks.
pub fn queue(chunks: usize, bytes: QueueBytes) -> (ChunkSender, ChunkReceiver) {
    let (sender, receiver) = bounded(chunks);
    (ChunkSender { chunks: sender, bytes: bytes.clone() }, ChunkReceiver { chunks: receiver, bytes })
}

impl ChunkSender {
    /// Waits for room this long. A chunk that there is no room for, or that nobody wants any more, comes back.
    pub fn send_timeout(&self, chunk: Fetched, wait: Duration) -> Result<(), SendTimeoutError<Fetched>> {
        let bytes = chunk.bytes();
        self.bytes.0.queued.fetch_add(bytes, Ordering::Relaxed);
        let sent = self.chunks.send_timeout((bytes, chunk), wait);
        sent.map_err(|back| {
            self.bytes.0.queued.fetch_sub(bytes, Ordering::Relaxed);
            match back {
                SendTimeoutError::Timeout((_, chunk)) => SendTimeoutError::Timeout(chunk),
                SendTimeoutError::Disconnected((_, chunk)) => SendTimeoutError::Disconnected(chunk),
            }
        })
    }

    /// Waits for room. False when nobody wants chunks any more.
    pub fn send(&self, chunk: Fetched) -> bool {
        let bytes = chunk.bytes();
        self.bytes.0.queued.fetch_add(bytes, Ordering::Relaxed);
        let sent = self.chunks.send((bytes, chunk)).is_ok();
        if !sent {
            self.bytes.0.queued.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }

    pub fn bytes(&self) -> &QueueBytes {
        &self.bytes
    }
}

impl ChunkReceiver {
    pub fn try_recv(&self) -> Result<Fetched, TryRecvError> {
        self.chunks.try_recv().map(|chunk| self.taken(chunk))
    }

    pub fn recv_timeout(&self, wait: Duration) -> Result<Fetched, RecvTimeoutError> {
        self.chunks.recv_timeout(wait).map(|chunk| self.taken(chunk))
    }

    /// All chunks until the reader ends.
    pub fn iter(&self) -> impl Iterator<Item = Fetched> {
        self.chunks.iter().map(|chunk| self.taken(chunk))
    }

    /// To wait for several queues at once.
    pub fn channel(&self) -> &Receiver<(usize, Fetched)> {
        &self.chunks
    }

    fn taken(&self, (bytes, chunk): (usize, Fetched)) -> Fetched {
        self.bytes.0.queued.fetch_sub(bytes, Ordering::Relaxed);
        chunk
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;
    use crate::ingest::{DeadLetter, Fingerprint};

    fn chunk(rows: i64, dead: usize) -> Fetched {
        let column = Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let (key, value, reason) = (None, Some(vec![0; 1000]), String::new());
        let dead = vec![DeadLetter { partition: 0, offset: 0, key, value, reason, at: None }; dead];
        Fetched { partition: 0, start: 0, next: 1, rows, dead, fingerprint: Fingerprint::default() }
    }

    #[test]
    fn bytes_are_counted_while_they_wait() {
        let bytes = QueueBytes::default();
        let (sender, receiver) = queue(2, bytes.clone());
        assert!(sender.send(chunk(1000, 0)) && sender.send(chunk(0, 5)));
        assert!((13_000..16_000).contains(&bytes.queued()), "{}", bytes.queued());
        let none = Duration::ZERO;
        assert!(matches!(sender.send_timeout(chunk(1000, 0), none), Err(SendTimeoutError::Timeout(_))));
        assert!((13_000..16_000).contains(&bytes.queued()), "what found no room is not there");
        receiver.try_recv().unwrap();
        assert!((5_000..7_000).contains(&bytes.queued()), "{}", bytes.queued());
        receiver.recv_timeout(none).unwrap();
        assert_eq!(bytes.queued(), 0);
        drop(receiver);
        assert!(!sender.send(chunk(1, 0)) && sender.send_timeout(chunk(1, 0), none).is_err());
        assert_eq!(bytes.queued(), 0);
    }
}
