//! Generators as sources: rows that are a function of their position, given out at a rate.
//!
//! One partition, whose offsets are row (or event) numbers. Any range can be made again, so nothing is stored; the clock
//! decides only when rows come, never what they are.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use crossbeam_channel::SendTimeoutError;

use super::{ChunkSender, Fetched, Fingerprint, PartitionState, PartitionStatus, Range, Source, Statuses, Stop};
use crate::error::Result;

/// Positions in one chunk.
const CHUNK: i64 = 4096;
/// A reader looks this often whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// What a generator makes.
pub trait Generator: Send + Sync {
    /// The rows of positions [start, next), in order; some positions may have none.
    fn rows(&self, start: i64, next: i64) -> Result<RecordBatch>;
}

/// A generator with its pace and end.
pub struct GeneratorSource<G> {
    generator: G,
    /// Everything that the rows depend on, in words.
    identity: String,
    /// Positions a second; `None`: as fast as they are taken.
    rate: Option<f64>,
    /// One past the last position.
    end: i64,
}

impl<G: Generator> GeneratorSource<G> {
    /// `rate` in positions a second, 0 for no limit.
    pub fn new(generator: G, identity: String, rate: u64, end: Option<u64>) -> GeneratorSource<G> {
        let end = end.and_then(|end| i64::try_from(end).ok()).unwrap_or(i64::MAX);
        let rate = (rate > 0).then_some(rate as f64);
        GeneratorSource { generator, identity, rate, end }
    }

    pub fn generator(&self) -> &G {
        &self.generator
    }

    fn chunk(&self, start: i64, next: i64) -> Result<Fetched> {
        let rows = self.generator.rows(start, next)?;
        Ok(Fetched { partition: 0, start, next, rows, dead: Vec::new(), fingerprint: self.fingerprint(start, next) })
    }

    /// The sum over the positions p of a * p + b, where a and b come from the identity: the same for a range
    /// however it is cut, another for other options, and no work a row.
    fn fingerprint(&self, start: i64, next: i64) -> Fingerprint {
        let count = (next - start).max(0) as u128;
        let positions = (start as u128 + next.max(1) as u128 - 1) * count / 2;
        let a = xxhash_rust::xxh3::xxh3_64(self.identity.as_bytes()) | 1;
        let hash = a.wrapping_mul(positions as u64).wrapping_add(a.rotate_left(32).wrapping_mul(count as u64));
        Fingerprint { records: count as u64, hash }
    }

    fn report(&self, statuses: &Statuses, next: i64) {
        let state = if next >= self.end { PartitionState::Finished } else { PartitionState::Running };
        let end = (self.end != i64::MAX).then_some(self.end);
        *statuses.lock() = vec![PartitionStatus { partition: 0, next, end, state, error: None }];
    }
}

impl<G: Generator> Source for GeneratorSource<G> {
    fn identity(&self) -> Result<String> {
        Ok(self.identity.clone())
    }

    fn decoder(&self) -> &'static str {
        ""
    }

    fn start_positions(&self) -> Result<Vec<(i32, i64)>> {
        Ok(vec![(0, 0)])
    }

    fn read(&self, from: Vec<(i32, i64)>, out: ChunkSender, statuses: Statuses, stop: Stop) -> Result<()> {
        let first = from.iter().find(|(partition, _)| *partition == 0).map_or(0, |(_, position)| *position);
        let mut position = first;
        let began = Instant::now();
        self.report(&statuses, position);
        while position < self.end && !stop.stopped() {
            let due = match self.rate {
                Some(rate) => first.saturating_add((began.elapsed().as_secs_f64() * rate) as i64),
                None => i64::MAX,
            };
            let next = due.min(self.end).min(position.saturating_add(CHUNK));
            if next <= position {
                let rate = self.rate.unwrap_or(1.0);
                let wait = (position + 1 - first) as f64 / rate - began.elapsed().as_secs_f64();
                std::thread::sleep(Duration::from_secs_f64(wait.clamp(0.001, LOOK.as_secs_f64())));
                continue;
            }
            let mut chunk = self.chunk(position, next)?;
            loop {
                match out.send_timeout(chunk, LOOK) {
                    Ok(()) => break,
                    Err(SendTimeoutError::Timeout(back)) if !stop.stopped() => chunk = back,
                    Err(_) => return Ok(()),
                }
            }
            position = next;
            self.report(&statuses, position);
        }
        Ok(())
    }

    fn replay(&self, range: Range, _patience: Duration, each: &mut dyn FnMut(Fetched) -> Result<()>) -> Result<()> {
        let Range { partition, start, next } = range;
        if partition != 0 {
            return Err(crate::error::Error::internal(format!("a generator has no partition {partition}")));
        }
        let mut position = start;
        while position < next {
            let to = next.min(position + CHUNK);
            each(self.chunk(position, to)?)?;
            position = to;
        }
        Ok(())
    }
}
