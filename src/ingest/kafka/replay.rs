//! Reading ranges of partitions again.
//!
//! Recovery asks for one range after the other, a few records of each partition in turn. One client serves them all: each partition has a
//! queue of its own, in which librdkafka keeps what it has fetched beyond the range, and the next range usually begins there. A range that
//! begins elsewhere (a view filled from the beginning) goes to another client; few are kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;

use super::client::{Topic, WAIT, Watch};
use super::native::{Fetch, PartitionQueue, Queue};
use super::rows::{Layout, PartitionRows};
use super::{NeededFor, history_gone, replaced};
use crate::error::{Error, Result, SqlState};
use crate::ingest::{Fetched, Range};

const LOOK: Duration = Duration::from_millis(100);
const TAKE: usize = 2048;
/// A replay fails when nothing arrives for this long without a word why.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// How long to wait for the answer to whether the topic is still there, or where it ends.
const ASK_WAIT: Duration = Duration::from_secs(1);
/// Clients kept.
const KEPT: usize = 2;
/// Bytes that a client fetches ahead, its partitions together, and of one partition at least and at most.
const AHEAD: usize = 32 << 20;
const PARTITION_AHEAD: (usize, usize) = (64 << 10, 4 << 20);

#[derive(Default)]
pub struct Replays {
    /// The one used last comes last.
    idle: Mutex<Vec<Replay>>,
}

/// A client and the partitions that it has.
struct Replay {
    partitions: BTreeMap<i32, Following>,
    consumer: Arc<BaseConsumer<Watch>>,
    used: Instant,
}

/// A partition under way: the next record in the queue is that at `rows.next()`, or a later one if there is none.
struct Following {
    rows: PartitionRows,
    queue: PartitionQueue,
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
        if range.start >= range.next {
            return Ok(());
        }
        let mut replay = match self.idle_for(range) {
            Some(replay) => replay,
            None => Replay::start(topic, id, patience)?,
        };
        replay.run(topic, layout, range, patience, each)?;
        replay.used = Instant::now();
        let mut idle = self.idle.lock();
        idle.push(replay);
        let too_many = (idle.len() > KEPT).then(|| idle.remove(0));
        drop(idle);
        drop(too_many);
        Ok(())
    }

    /// Lets go of all idle clients.
    pub fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    /// Lets go of what was not used for this long. In recovery nobody asks for it.
    pub fn let_go_after(&self, idle_for: Duration) {
        let mut idle = self.idle.lock();
        let old: Vec<Replay> = idle.extract_if(.., |replay| replay.used.elapsed() > idle_for).collect();
        drop(idle);
        drop(old);
    }

    /// The client that stands where the range begins, or else one that has not read of this partition yet.
    fn idle_for(&self, Range { partition, start, .. }: Range) -> Option<Replay> {
        let mut idle = self.idle.lock();
        let position = |replay: &Replay| replay.partitions.get(&partition).map(|following| following.rows.next());
        let stands_there = idle.iter().rposition(|replay| position(replay) == Some(start));
        let found = stands_there.or_else(|| idle.iter().rposition(|replay| position(replay).is_none()))?;
        Some(idle.remove(found))
    }
}

impl Replay {
    fn start(topic: &Topic, id: String, patience: Duration) -> Result<Replay> {
        tracing::info!(topic = topic.name, "a client reads records again");
        let partitions = {
            let asking = topic.consumer(Some(id.clone()))?;
            match topic.partitions(&asking, patience.min(WAIT)) {
                Ok(partitions) => partitions.len(),
                // A broker that has just come back may not know its topics yet; if they stay away, that shows when nothing arrives.
                Err(error) if error.state() == SqlState::UNDEFINED_OBJECT => 1,
                Err(error) => return Err(error),
            }
        };
        let (least, most) = PARTITION_AHEAD;
        let consumer = topic.with_prefetch((AHEAD / partitions).clamp(least, most)).consumer(Some(id))?;
        Ok(Replay { partitions: BTreeMap::new(), consumer: Arc::new(consumer), used: Instant::now() })
    }

    /// Begins to fetch a partition.
    fn follow(&mut self, topic: &Topic, layout: &Layout, partition: i32, start: i64) -> Result<()> {
        let rows = PartitionRows::new(layout, partition, start)?;
        let Some(queue) = PartitionQueue::of(&self.consumer, &topic.name, partition) else {
            return Err(Error::internal("librdkafka has no queue for the partition"));
        };
        let mut list = TopicPartitionList::new();
        let problem = |error: rdkafka::error::KafkaError| Error::internal(format!("assigning a partition: {error}"));
        list.add_partition_offset(&topic.name, partition, Offset::Offset(start)).map_err(problem)?;
        self.consumer.incremental_assign(&list).map_err(problem)?;
        self.partitions.insert(partition, Following { rows, queue });
        Ok(())
    }

    /// Reads a range. What was taken beyond it stays for the next one: positions are not records (markers of transactions and holes of
    /// compaction have some too), so how many to take is not known.
    fn run(
        &mut self,
        topic: &Topic,
        layout: &Layout,
        Range { partition, start, next }: Range,
        patience: Duration,
        each: &mut dyn FnMut(Fetched) -> Result<()>,
    ) -> Result<()> {
        if !self.partitions.contains_key(&partition) {
            self.follow(topic, layout, partition, start)?;
        }
        let Replay { partitions, consumer, .. } = self;
        let (Some(events), Some(Following { rows, queue })) = (Queue::of(consumer), partitions.get_mut(&partition))
        else {
            return Err(Error::internal("librdkafka has no queue for the consumer"));
        };
        let watch = consumer.context();
        let mut progress = Instant::now();
        let mut complaint = None;
        // Nothing more is there to read for now: when the topic is to be asked where it ends.
        let mut ask_for_end = None;
        while rows.next() < next {
            if queue.front().is_none() {
                let left = usize::try_from(next - rows.next()).unwrap_or(TAKE);
                queue.take(LOOK, left.min(TAKE));
                // The log's lines come here, those about a fetch before its records come there.
                for event in events.take(Duration::ZERO, TAKE).iter() {
                    if let Fetch::Failed { message, .. } = event {
                        complaint = Some(message);
                    }
                }
                if watch.replaced() {
                    return Err(replaced(&topic.name));
                }
            }
            while rows.next() < next {
                match queue.front() {
                    None => break,
                    // Everything up to it has been seen, and it is for the next range.
                    Some(Fetch::Record(record)) if record.offset() >= next => {
                        rows.advance(next);
                        break;
                    }
                    Some(Fetch::End { position, .. }) if position >= next => {
                        rows.advance(next);
                        break;
                    }
                    Some(Fetch::Record(record)) => {
                        rows.push(&record);
                        (progress, ask_for_end) = (Instant::now(), None);
                        watch.forget_trouble();
                    }
                    Some(Fetch::End { position, .. }) => {
                        rows.advance(position);
                        (progress, ask_for_end) = (Instant::now(), Some(Instant::now()));
                        watch.forget_trouble();
                    }
                    Some(Fetch::Failed { error, message, .. }) => {
                        if matches!(
                            error,
                            RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
                                | RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
                        ) {
                            let bounds = topic.bounds(consumer, partition, WAIT).ok();
                            return Err(history_gone(&topic.name, partition, rows.next(), bounds, NeededFor::Replay));
                        }
                        complaint = Some(message);
                    }
                }
                queue.pop();
                if rows.is_full() {
                    each(rows.take()?)?;
                }
            }
            // All of the range was there once. Brokers that have just come back may show less for a moment, but where a partition ends
            // they say only when they know.
            if rows.next() < next && ask_for_end.is_some_and(|when| when <= Instant::now()) {
                ask_for_end = Some(Instant::now() + ASK_WAIT);
                match topic.bounds(consumer, partition, ASK_WAIT) {
                    Ok(bounds) if bounds.1 < next => {
                        let at = rows.next();
                        return Err(history_gone(&topic.name, partition, at, Some(bounds), NeededFor::Replay));
                    }
                    _ => {}
                }
            }
            let patience = match complaint.is_some() || watch.trouble().is_some() {
                true => patience,
                false => LONGEST_SILENCE,
            };
            if progress.elapsed() > patience {
                let reason = complaint.unwrap_or_else(|| format!("nothing arrived for {} s", patience.as_secs()));
                return Err(match topic.partitions(consumer, ASK_WAIT) {
                    Err(missing) if missing.state() == SqlState::UNDEFINED_OBJECT => topic.deleted(),
                    _ => topic.unreachable(consumer, &reason),
                });
            }
        }
        if !rows.is_empty() {
            each(rows.take()?)?;
        }
        Ok(())
    }
}
