//! The reader of a topic: one thread takes records from librdkafka and hands on chunks; a second asks the brokers now and then which
//! partitions there are and where new ones begin, so that waiting for an answer never holds up records.
//!
//! A chunk leaves as soon as no more records are waiting, or when it is full. Between two chunks of a partition nothing is
//! lost or repeated: each partition knows its next position, and what librdkafka delivers from before it is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::SendTimeoutError;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;

use super::client::{Partition, Topic, Watch};
use super::native::{self, Fetch, Queue};
use super::replay::Replays;
use super::rows::{Layout, PartitionRows};
use super::{KafkaSource, NeededFor, history_gone, replaced};
use crate::error::{Error, Result, SqlState};
use crate::ingest::{ChunkSender, Fetched, PartitionState, PartitionStatus, Statuses, Stop, sentence};

/// Longest wait for records or for room in the queue: how soon a reader sees that it is to stop.
const LOOK: Duration = Duration::from_millis(50);
/// Records taken from librdkafka at once.
const TAKE: usize = 2048;
/// How often brokers are asked for the topic's partitions while all is well, and the longest pause while it is not.
const ASK: Duration = Duration::from_millis(1000);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const ASK_WAIT: Duration = Duration::from_secs(3);
/// How often statuses are renewed.
const REPORT: Duration = Duration::from_millis(200);
/// How long a client that read for a new view is kept for what the view asks next.
const REPLAYS_IDLE: Duration = Duration::from_secs(3);

/// What the brokers last said about the topic.
#[derive(Default)]
struct News {
    /// Partitions that came after the reader's start, and the first record of each.
    added: Vec<(i32, i64)>,
    /// Why they could not be asked, or that the topic is gone.
    error: Option<String>,
    /// Answers so far.
    answers: u64,
}

struct Reader<'a> {
    topic: &'a Topic,
    layout: &'a Layout,
    consumer: &'a BaseConsumer<Watch>,
    partitions: BTreeMap<i32, Reading>,
    out: &'a ChunkSender,
    statuses: &'a Statuses,
    stop: &'a Stop,
    /// The topic or the brokers were not there when last asked.
    was_away: bool,
}

struct Reading {
    rows: PartitionRows,
    error: Option<String>,
}

/// What librdkafka has fetched and this reader has not taken yet. Its records can be counted, but not measured: they are taken to be as
/// large as those so far.
struct Ahead<'a> {
    queue: &'a Queue<'a>,
    taken: usize,
    taken_bytes: usize,
}

impl Ahead<'_> {
    fn count(&mut self, bytes: usize) {
        self.taken += 1;
        self.taken_bytes += bytes;
    }

    fn bytes(&self) -> usize {
        self.queue.waiting() * (self.taken_bytes / self.taken.max(1))
    }
}

/// Reads until `stop`, or until reading can't go on; then the statuses say why.
pub fn read(
    source: &KafkaSource,
    from: Vec<(i32, i64)>,
    out: &ChunkSender,
    statuses: &Statuses,
    stop: &Stop,
) -> Result<()> {
    // Recovery is over: what it kept for its next range is of no more use.
    source.replays.clear();
    let Some(id) = known_id(source, &from, statuses, stop) else { return Ok(()) };
    let consumer = Arc::new(source.topic.consumer(Some(id.clone()))?);
    // Before anyone asks through this consumer: from here on its queue is this thread's.
    let Some(queue) = Queue::of(&consumer) else {
        return Err(Error::internal("librdkafka has no queue for the consumer"));
    };
    let news = Arc::new(Mutex::new(News::default()));
    let done = Stop::default();
    {
        let (topic, consumer, news, done) = (source.topic.clone(), consumer.clone(), news.clone(), done.clone());
        let replays = source.replays.clone();
        let known = from.iter().map(|(partition, _)| *partition).collect();
        // Ends by itself soon after the reader; nobody waits for its last question.
        std::thread::Builder::new()
            .name("rr-kafka-ask".to_string())
            .spawn(move || ask_brokers(&topic, &consumer, known, &news, (&replays, &done)))?;
    }
    let mut reader = Reader {
        topic: &source.topic,
        layout: &source.layout,
        consumer: &consumer,
        partitions: BTreeMap::new(),
        out,
        statuses,
        stop,
        was_away: false,
    };
    let outcome = reader.run(&queue, from, &news);
    if let Err(error) = &outcome {
        tracing::error!(topic = source.topic.name, "reading stopped: {error}");
        reader.report_stopped(error);
    }
    done.stop();
    outcome
}

/// The topic's id, asked for again and again while brokers can't be reached. `None` when told to stop.
fn known_id(source: &KafkaSource, from: &[(i32, i64)], statuses: &Statuses, stop: &Stop) -> Option<String> {
    let mut pause = ASK / 4;
    loop {
        let error = match source.first_id() {
            Ok(id) => return Some(id),
            Err(error) => error,
        };
        tracing::warn!(topic = source.topic.name, "{error}: trying again in {pause:?}");
        *statuses.lock() = from
            .iter()
            .map(|(partition, next)| PartitionStatus {
                partition: *partition,
                next: *next,
                end: None,
                state: PartitionState::Retrying,
                error: Some(sentence(&error)),
            })
            .collect();
        if sleep(pause, stop) {
            return None;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Sleeps, in pieces; true when told to stop.
fn sleep(pause: Duration, stop: &Stop) -> bool {
    let end = Instant::now() + pause;
    while !stop.stopped() && Instant::now() < end {
        std::thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
    }
    stop.stopped()
}

/// Keeps `news` current, until stopped, and lets go of clients that read for views no more. `known` are the partitions that the reader has.
fn ask_brokers(
    topic: &Topic,
    consumer: &BaseConsumer<Watch>,
    mut known: BTreeSet<i32>,
    news: &Mutex<News>,
    (replays, stop): (&Replays, &Stop),
) {
    let mut pause = ASK;
    let mut unread = BTreeSet::new();
    while !stop.stopped() {
        replays.let_go_after(REPLAYS_IDLE);
        let asked = topic.partitions(consumer, ASK_WAIT);
        let added = asked.map(|partitions| first_records(topic, consumer, &partitions, &known, &mut unread, stop));
        {
            let mut news = news.lock();
            news.answers += 1;
            match added {
                Ok(added) => {
                    known.extend(added.iter().map(|(partition, _)| *partition));
                    news.added.extend(added);
                    news.error = None;
                    pause = ASK;
                }
                Err(error) => {
                    if news.error.is_none() {
                        tracing::warn!(topic = topic.name, "{error}");
                    }
                    news.error = Some(match error.state() {
                        SqlState::UNDEFINED_OBJECT => format!("topic \"{}\" was deleted", topic.name),
                        _ => sentence(&error),
                    });
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        if sleep(pause, stop) {
            return;
        }
    }
}

/// Where the partitions that are not known begin. Those that no broker leads, or whose leader does not answer, are left for the next time,
/// and warned about once.
fn first_records(
    topic: &Topic,
    consumer: &BaseConsumer<Watch>,
    partitions: &[Partition],
    known: &BTreeSet<i32>,
    unread: &mut BTreeSet<i32>,
    stop: &Stop,
) -> Vec<(i32, i64)> {
    let mut added = Vec::new();
    for Partition { id, led } in partitions.iter().filter(|partition| !known.contains(&partition.id)) {
        if stop.stopped() {
            break;
        }
        let bounds = led.then(|| topic.bounds(consumer, *id, ASK_WAIT));
        match bounds {
            Some(Ok((first, _))) => added.push((*id, first)),
            other if unread.insert(*id) => {
                let reason = other.and_then(Result::err).map_or("no broker leads it".to_string(), |e| sentence(&e));
                tracing::warn!(topic = topic.name, partition = id, "a new partition can't be read yet: {reason}");
            }
            _ => {}
        }
    }
    added
}

impl Reader<'_> {
    fn run(&mut self, queue: &Queue<'_>, from: Vec<(i32, i64)>, news: &Mutex<News>) -> Result<()> {
        for (partition, position) in from {
            self.add(partition, position)?;
        }
        self.assign()?;
        let mut heard = 0;
        let mut ahead = Ahead { queue, taken: 0, taken_bytes: 0 };
        let mut reported = Instant::now();
        self.report(None);
        while !self.stop.stopped() {
            let (answers, added, error) = {
                let mut news = news.lock();
                (news.answers, std::mem::take(&mut news.added), news.error.clone())
            };
            if answers != heard {
                heard = answers;
                self.hear(added, error.as_deref())?;
            }
            let records = queue.take(LOOK, TAKE);
            if self.consumer.context().replaced() {
                return Err(replaced(&self.topic.name));
            }
            let mut quiet = true;
            for fetch in records.iter() {
                quiet = false;
                match fetch {
                    Fetch::Record(record) => {
                        let Some(reading) = self.partitions.get_mut(&record.partition()) else { continue };
                        reading.error = None;
                        ahead.count(record.bytes());
                        reading.rows.push(&record);
                        if reading.rows.is_full() && !send(self.out, self.stop, &ahead, reading.rows.take()?) {
                            return Ok(());
                        }
                    }
                    Fetch::End { partition, position } => {
                        if let Some(reading) = self.partitions.get_mut(&partition) {
                            reading.error = None;
                            reading.rows.advance(position);
                        }
                    }
                    Fetch::Failed { partition, error, message } => self.failed(partition, error, message)?,
                }
            }
            for reading in self.partitions.values_mut() {
                if !reading.rows.is_empty() && !send(self.out, self.stop, &ahead, reading.rows.take()?) {
                    return Ok(());
                }
            }
            if reported.elapsed() >= REPORT || (quiet && reported.elapsed() >= LOOK) {
                reported = Instant::now();
                self.out.bytes().set_fetched(ahead.bytes());
                self.report(error.as_deref());
            }
        }
        Ok(())
    }

    /// News from the brokers: new partitions are read from their first record; after trouble all are assigned again. What failed for one
    /// partition is tried anew: librdkafka does so by itself, but where there is nothing to read it never says that all is well again.
    fn hear(&mut self, added: Vec<(i32, i64)>, error: Option<&str>) -> Result<()> {
        for (partition, first) in &added {
            tracing::info!(topic = self.topic.name, partition, first, "reading a partition that was added");
            self.add(*partition, *first)?;
        }
        if error.is_some() {
            self.was_away = true;
            return Ok(());
        }
        self.consumer.context().forget_trouble();
        // librdkafka forgets the partitions of a topic that is gone for a while; asking for all again costs one fetch.
        if !added.is_empty() || self.was_away {
            self.was_away = false;
            return self.assign();
        }
        self.seek_failed()
    }

    fn add(&mut self, partition: i32, position: i64) -> Result<()> {
        let rows = PartitionRows::new(self.layout, partition, position)?;
        self.partitions.insert(partition, Reading { rows, error: None });
        Ok(())
    }

    /// Tells librdkafka what to fetch: every partition from its next position.
    fn assign(&self) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(self.partitions.len());
        let problem = |error: rdkafka::error::KafkaError| Error::internal(format!("assigning partitions: {error}"));
        for (partition, reading) in &self.partitions {
            let position = Offset::Offset(reading.rows.next());
            list.add_partition_offset(&self.topic.name, *partition, position).map_err(problem)?;
        }
        self.consumer.assign(&list).map_err(problem)
    }

    /// Fetches the partitions with an error from their next position, as if for the first time: what comes is a record, their end, or
    /// an error again.
    fn seek_failed(&self) -> Result<()> {
        let mut list = TopicPartitionList::new();
        let problem = |error: rdkafka::error::KafkaError| Error::internal(format!("reading partitions again: {error}"));
        for (partition, reading) in self.partitions.iter().filter(|(_, reading)| reading.error.is_some()) {
            let position = Offset::Offset(reading.rows.next());
            list.add_partition_offset(&self.topic.name, *partition, position).map_err(problem)?;
        }
        // Without waiting; what is not assigned is left out, and comes with the next assignment.
        if list.count() > 0
            && let Err(error) = self.consumer.seek_partitions(list, Duration::ZERO)
        {
            tracing::warn!(topic = self.topic.name, "partitions can't be read again yet: {error}");
        }
        Ok(())
    }

    /// An error of one partition: most pass by themselves, a lost history does not.
    fn failed(&mut self, partition: i32, error: RDKafkaRespErr, message: String) -> Result<()> {
        let out_of_range = matches!(
            error,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
        );
        let Some(reading) = self.partitions.get_mut(&partition) else { return Ok(()) };
        let wanted = reading.rows.next();
        if !out_of_range {
            let message = if message.is_empty() { native::describe(error) } else { message };
            if reading.error.as_ref() != Some(&message) {
                tracing::warn!(topic = self.topic.name, partition, "{message}");
            }
            reading.error = Some(message);
            return Ok(());
        }
        // Offsets out of range are also how a topic looks that was made again.
        if self.consumer.context().replaced() || self.has_another_id() {
            return Err(replaced(&self.topic.name));
        }
        let bounds = self.topic.bounds(self.consumer, partition, ASK_WAIT).ok();
        Err(history_gone(&self.topic.name, partition, wanted, bounds, NeededFor::Reading))
    }

    fn has_another_id(&self) -> bool {
        let expected = self.consumer.context().expected_id();
        matches!(self.topic.id(self.consumer), Ok(id) if Some(&id) != expected)
    }

    fn report(&self, trouble: Option<&str>) {
        let statuses = self.partitions.iter().map(|(partition, reading)| {
            let error = reading.error.clone().or_else(|| trouble.map(str::to_string));
            let state = if error.is_some() { PartitionState::Retrying } else { PartitionState::Running };
            self.status(*partition, reading, state, error)
        });
        *self.statuses.lock() = statuses.collect();
    }

    fn report_stopped(&self, error: &Error) {
        let statuses = self.partitions.iter().map(|(partition, reading)| {
            let error = reading.error.clone().unwrap_or_else(|| sentence(error));
            self.status(*partition, reading, PartitionState::Stopped, Some(error))
        });
        *self.statuses.lock() = statuses.collect();
    }

    fn status(
        &self,
        partition: i32,
        reading: &Reading,
        state: PartitionState,
        error: Option<String>,
    ) -> PartitionStatus {
        let next = reading.rows.next();
        let end = native::cached_end(self.consumer, &self.topic.name, partition).map(|end| end.max(next));
        PartitionStatus { partition, next, end, state, error }
    }
}

/// Hands a chunk over, waiting for room. False when nobody wants it any more.
fn send(out: &ChunkSender, stop: &Stop, ahead: &Ahead<'_>, chunk: Fetched) -> bool {
    let mut chunk = chunk;
    loop {
        out.bytes().set_fetched(ahead.bytes());
        match out.send_timeout(chunk, LOOK) {
            Ok(()) => return true,
            Err(SendTimeoutError::Timeout(back)) if !stop.stopped() => chunk = back,
            Err(_) => return false,
        }
    }
}
