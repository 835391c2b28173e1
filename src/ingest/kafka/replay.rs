//! Reading a range of a partition again.
//!
//! Recovery asks for one range after the other, so each partition's consumer is kept, with what it has fetched beyond the range: the next
//! range usually begins there. Idle consumers are few, and go when others are needed.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;

use super::client::{Topic, WAIT, Watch};
use super::native::{Fetch, Queue};
use super::rows::{Layout, PartitionRows};
use super::{history_gone, replaced};
use crate::error::{Error, Result, SqlState};
use crate::ingest::{Fetched, Range};

const LOOK: Duration = Duration::from_millis(100);
const TAKE: usize = 2048;
/// A replay fails when nothing arrives for this long without a word why.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// How long to wait for the answer to whether the topic is still there, or where it ends.
const ASK_WAIT: Duration = Duration::from_secs(1);
/// Consumers kept.
const KEPT: usize = 16;

#[derive(Default)]
pub struct Replays {
    idle: Mutex<Vec<Replay>>,
}

/// A consumer of one partition, which delivers from this position on (-1: it has delivered more than was asked for).
struct Replay {
    partition: i32,
    position: i64,
    consumer: BaseConsumer<Watch>,
}

impl Replays {
    /// The records of `range` in chunks.
    pub fn replay(
        &self,
        topic: &Topic,
        layout: &Layout,
        id: String,
        (range, patience): (Range, Duration),
        each: &mut dyn FnMut(Fetched) -> Result<()>,
    ) -> Result<()> {
        let Range { partition, start, next } = range;
        if start >= next {
            return Ok(());
        }
        let mut replay = match self.idle_at(partition, start) {
            Some(replay) => replay,
            None => Replay::start(topic, id, partition, start)?,
        };
        replay.run(topic, layout, next, patience, each)?;
        if replay.position == next {
            let mut idle = self.idle.lock();
            if idle.len() >= KEPT {
                idle.remove(0);
            }
            idle.push(replay);
        }
        Ok(())
    }

    /// Lets go of all idle consumers.
    pub fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    fn idle_at(&self, partition: i32, start: i64) -> Option<Replay> {
        let mut idle = self.idle.lock();
        let found = idle.iter().position(|replay| replay.partition == partition && replay.position == start)?;
        Some(idle.remove(found))
    }
}

impl Replay {
    fn start(topic: &Topic, id: String, partition: i32, start: i64) -> Result<Replay> {
        let consumer = topic.with_small_prefetch().consumer(Some(id))?;
        let mut list = TopicPartitionList::new();
        let problem = |error: rdkafka::error::KafkaError| Error::internal(format!("assigning a partition: {error}"));
        list.add_partition_offset(&topic.name, partition, Offset::Offset(start)).map_err(problem)?;
        consumer.assign(&list).map_err(problem)?;
        Ok(Replay { partition, position: start, consumer })
    }

    /// Reads up to `next`. librdkafka hands over no more than asked for, so that what lies beyond stays queued.
    fn run(
        &mut self,
        topic: &Topic,
        layout: &Layout,
        next: i64,
        patience: Duration,
        each: &mut dyn FnMut(Fetched) -> Result<()>,
    ) -> Result<()> {
        let Some(queue) = Queue::of(&self.consumer) else {
            return Err(Error::internal("librdkafka has no queue for the consumer"));
        };
        let mut rows = PartitionRows::new(layout, self.partition, self.position)?;
        let mut progress = Instant::now();
        let mut complaint = None;
        // Nothing more is there to read for now: when the topic is to be asked where it ends.
        let mut ask_for_end = None;
        while rows.next() < next {
            // At most as many records as there are positions left: none beyond `next`, unless the last ones are no records.
            let left = usize::try_from(next - rows.next()).unwrap_or(TAKE);
            let records = queue.take(LOOK, left.min(TAKE));
            if self.consumer.context().replaced() {
                return Err(replaced(&topic.name));
            }
            for fetch in records.iter() {
                if !matches!(fetch, Fetch::Failed { .. }) {
                    progress = Instant::now();
                    self.consumer.context().forget_trouble();
                }
                match fetch {
                    Fetch::Record(record) if record.offset() >= next => {
                        // Everything up to it has been seen. It belongs to the next range, whose consumer starts anew.
                        rows.advance(next);
                        self.position = -1;
                    }
                    Fetch::Record(record) => {
                        rows.push(&record);
                        ask_for_end = None;
                    }
                    Fetch::End { position, .. } => {
                        ask_for_end = Some(Instant::now());
                        if position > next {
                            self.position = -1;
                        }
                        rows.advance(position.min(next));
                    }
                    Fetch::Failed { error, message, .. } => {
                        if matches!(
                            error,
                            RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
                                | RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
                        ) {
                            let bounds = topic.bounds(&self.consumer, self.partition, WAIT).ok();
                            return Err(history_gone(&topic.name, self.partition, rows.next(), bounds));
                        }
                        complaint = Some(message);
                    }
                }
                if rows.is_full() {
                    each(rows.take()?)?;
                }
            }
            // All of the range was there once. Brokers that have just come back may show less for a moment, but where a partition ends
            // they say only when they know.
            if rows.next() < next && ask_for_end.is_some_and(|when| when <= Instant::now()) {
                ask_for_end = Some(Instant::now() + ASK_WAIT);
                match topic.bounds(&self.consumer, self.partition, ASK_WAIT) {
                    Ok(bounds) if bounds.1 < next => {
                        return Err(history_gone(&topic.name, self.partition, rows.next(), Some(bounds)));
                    }
                    _ => {}
                }
            }
            let patience = match complaint.is_some() || self.consumer.context().trouble().is_some() {
                true => patience,
                false => LONGEST_SILENCE,
            };
            if progress.elapsed() > patience {
                let reason = complaint.unwrap_or_else(|| format!("nothing arrived for {} s", patience.as_secs()));
                return Err(match topic.partitions(&self.consumer, ASK_WAIT) {
                    Err(missing) if missing.state() == SqlState::UNDEFINED_OBJECT => missing,
                    _ => topic.unreachable(&self.consumer, &reason),
                });
            }
        }
        if !rows.is_empty() {
            each(rows.take()?)?;
        }
        if self.position >= 0 {
            self.position = next;
        }
        Ok(())
    }
}
