//! The Kafka connector against a real broker: what is read, what is refused, and what happens when brokers and topics come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use crossbeam_channel::RecvTimeoutError;
use riverrun::catalog::{Connector, Include, IncludeKind, Relation, RelationId, RelationKind, StreamDef};
use riverrun::ingest::{
    ChunkReceiver, DeadLetter, Fetched, Fingerprint, PartitionState, QueueBytes, Range, Source, Statuses, Stop,
    connect, queue,
};
use riverrun::types::{Column, Type};

use crate::broker::{Broker, Message, text};

const WAIT: Duration = Duration::from_secs(60);

/// `CREATE STREAM s (n bigint, note text) INCLUDE ... WITH (connector = 'kafka', ...)`.
pub fn stream(broker: &Broker, topic: &str, options: &[(&str, &str)], includes: &[IncludeKind]) -> Relation {
    let mut columns = vec![Column::new("n", Type::Int8), Column::new("note", Type::Text)];
    let includes = includes.iter().map(|kind| {
        let ty = match kind {
            IncludeKind::Key => Type::Bytea,
            IncludeKind::Partition => Type::Int4,
            IncludeKind::Offset => Type::Int8,
            IncludeKind::Timestamp => Type::Timestamptz,
            IncludeKind::Headers => Type::Jsonb,
        };
        columns.push(Column::new(format!("kafka_{kind:?}").to_lowercase(), ty));
        Include { kind: *kind, column: columns.len() - 1 }
    });
    let includes = includes.collect();
    let address = broker.address();
    let mut all = vec![("topic", topic), ("bootstrap.servers", address.as_str()), ("format", "json")];
    all.extend(options);
    Relation {
        id: RelationId(7),
        schema: "public".to_string(),
        name: "s".to_string(),
        kind: RelationKind::Stream(StreamDef {
            connector: Some(Connector {
                name: "kafka".to_string(),
                options: all.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            }),
            defaults: vec![None; columns.len()],
            generated: vec![None; columns.len()],
            includes,
        }),
        columns,
        depends_on: Vec::new(),
    }
}

fn source(broker: &Broker, topic: &str) -> Arc<dyn Source> {
    connect(&stream(broker, topic, &[], &[]), None).unwrap()
}

/// A reader at work, and what it has given so far.
struct Reading {
    source: Arc<dyn Source>,
    receiver: ChunkReceiver,
    bytes: QueueBytes,
    statuses: Statuses,
    stop: Stop,
    thread: Option<std::thread::JoinHandle<riverrun::error::Result<()>>>,
    chunks: Vec<Fetched>,
}

impl Reading {
    /// From the start positions.
    fn start(source: Arc<dyn Source>) -> Reading {
        let from = source.start_positions().unwrap();
        Reading::from(source, from)
    }

    fn from(source: Arc<dyn Source>, from: Vec<(i32, i64)>) -> Reading {
        let bytes = QueueBytes::default();
        let (sender, receiver) = queue(4, bytes.clone());
        let (statuses, stop) = (Statuses::default(), Stop::default());
        let thread = {
            let (source, statuses, stop) = (source.clone(), statuses.clone(), stop.clone());
            std::thread::spawn(move || source.read(from, sender, statuses, stop))
        };
        Reading { source, receiver, bytes, statuses, stop, thread: Some(thread), chunks: Vec::new() }
    }

    /// Takes chunks until this holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Reading) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < WAIT, "waiting for {what}: {:?} {:?}", self.numbers(), self.statuses.lock());
            match self.receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(chunk) => self.chunks.push(chunk),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn until_rows(&mut self, count: usize) {
        self.until(&format!("{count} rows"), |reading| reading.numbers().len() >= count);
    }

    /// Column `n` of all rows, by partition and offset.
    fn numbers(&self) -> Vec<i64> {
        let mut chunks: Vec<&Fetched> = self.chunks.iter().collect();
        chunks.sort_by_key(|chunk| (chunk.partition, chunk.start));
        chunks.iter().flat_map(|chunk| chunk.rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    fn dead(&self) -> Vec<DeadLetter> {
        self.chunks.iter().flat_map(|chunk| chunk.dead.clone()).collect()
    }

    /// Next position of a partition; checks on the way that chunks join without gap or overlap.
    fn next(&self, partition: i32) -> i64 {
        let mut chunks = self.chunks.iter().filter(|chunk| chunk.partition == partition);
        let Some(first) = chunks.next() else { return -1 };
        chunks.fold(first.next, |next, chunk| {
            assert_eq!(chunk.start, next, "chunks of partition {partition}");
            assert!(chunk.next > chunk.start);
            chunk.next
        })
    }

    fn fingerprint(&self, partition: i32) -> Fingerprint {
        let mut all = Fingerprint::default();
        for chunk in self.chunks.iter().filter(|chunk| chunk.partition == partition) {
            all.extend(chunk.fingerprint);
        }
        all
    }

    fn state(&self, partition: i32) -> Option<(PartitionState, Option<String>)> {
        let statuses = self.statuses.lock();
        let status = statuses.iter().find(|status| status.partition == partition)?;
        Some((status.state, status.error.clone()))
    }

    /// Ends the reader, soon; gives how it ended.
    fn stop(&mut self) -> riverrun::error::Result<()> {
        self.stop.stop();
        let began = Instant::now();
        let thread = self.thread.take().expect("stopped once");
        while !thread.is_finished() {
            if let Ok(chunk) = self.receiver.recv_timeout(Duration::from_millis(5)) {
                self.chunks.push(chunk);
            }
            assert!(began.elapsed() < Duration::from_secs(5), "the reader does not stop");
        }
        thread.join().unwrap()
    }
}

/// The fingerprint and rows of a range read again, in pieces of this many positions.
fn replayed(source: &dyn Source, partition: i32, start: i64, next: i64, piece: i64) -> (Fingerprint, Vec<i64>) {
    let (mut all, mut rows, mut position) = (Fingerprint::default(), Vec::new(), start);
    while position < next {
        let to = next.min(position + piece);
        let mut at = position;
        source
            .replay(Range { partition, start: position, next: to }, WAIT, &mut |chunk| {
                assert_eq!(chunk.start, at);
                at = chunk.next;
                all.extend(chunk.fingerprint);
                rows.extend(chunk.rows.column(0).as_primitive::<Int64Type>().values());
                Ok(())
            })
            .unwrap();
        assert_eq!(at, to);
        position = to;
    }
    (all, rows)
}

fn numbered(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|n| format!("{{\"n\": {n}, \"note\": \"record {n}\"}}")).collect()
}

fn messages(texts: &[String]) -> Vec<Message<'_>> {
    texts.iter().map(|value| text(value)).collect()
}

#[test]
fn kafka_rows_with_what_surrounds_them() {
    let broker = Broker::shared();
    let topic = broker.topic("include", 2);
    let key = Some(&b"k\xff"[..]);
    broker.produce(
        &topic,
        &[
            Message { key, timestamp: Some(1_700_000_000_123), header: Some(("trace", b"t1")), ..text("{\"n\": 1}") },
            Message {
                partition: 1,
                timestamp: Some(1_700_000_000_456),
                ..text("{\"N\": 2, \"note\": \"x\", \"o\": []}")
            },
        ],
    );
    use IncludeKind::*;
    let relation = stream(broker, &topic, &[], &[Key, Partition, Offset, Timestamp, Headers]);
    let mut reading = Reading::start(connect(&relation, None).unwrap());
    reading.until_rows(2);
    reading.stop().unwrap();
    let row = |partition: i32| reading.chunks.iter().find(|chunk| chunk.partition == partition).unwrap().rows.clone();
    let (first, second) = (row(0), row(1));
    assert_eq!(first.schema(), relation.stored_schema());
    assert!(first.column(1).is_null(0));
    assert_eq!(first.column(2).as_binary::<i32>().value(0), b"k\xff");
    assert!(second.column(2).is_null(0));
    assert_eq!(second.column(3).as_primitive::<Int32Type>().value(0), 1);
    assert_eq!(second.column(4).as_primitive::<Int64Type>().value(0), 0);
    assert_eq!(first.column(5).as_primitive::<TimestampMicrosecondType>().value(0), 1_700_000_000_123_000);
    assert_eq!(first.column(6).as_string::<i32>().value(0), "{\"trace\": \"t1\"}");
    assert_eq!(second.column(6).as_string::<i32>().value(0), "{}");
    assert_eq!(second.column(0).as_primitive::<Int64Type>().value(0), 2);
}

#[test]
fn kafka_records_that_are_no_rows_are_dead_letters() {
    let broker = Broker::shared();
    let topic = broker.topic("dead", 1);
    broker.produce(
        &topic,
        &[
            text("{\"n\": 1}"),
            Message { key: Some(b"k"), ..Message::default() },
            text(""),
            text("{\"n\": \"one\"}"),
            text("{\"n\": 2"),
            Message {
                value: Some(b"{\"n\": 3, \"note\": \"\xff\"}"),
                timestamp: Some(1_700_000_000_000),
                ..Message::default()
            },
            text("{\"n\": 4}"),
        ],
    );
    let mut reading = Reading::start(source(broker, &topic));
    reading.until_rows(2);
    reading.stop().unwrap();
    assert_eq!(reading.numbers(), [1, 4]);
    let dead = reading.dead();
    let reasons: Vec<(i64, &str)> = dead.iter().map(|letter| (letter.offset, letter.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (1, "a tombstone (a record without a value) is no event of a stream"),
            (2, "the record is empty, expected a JSON object"),
            (3, "field \"n\": \"one\" is not a bigint"),
            (4, "not valid JSON: ends after 7 bytes, expected \",\" or \"}\""),
            (5, "not valid UTF-8: broken at byte 18"),
        ]
    );
    assert_eq!((dead[0].key.as_deref(), dead[0].value.as_deref()), (Some(&b"k"[..]), None));
    assert_eq!(dead[1].value.as_deref(), Some(&b""[..]));
    assert_eq!(dead[4].at, Some(1_700_000_000_000_000));
    // A replay gives the same letters.
    let mut again = Vec::new();
    reading
        .source
        .replay(Range { partition: 0, start: 0, next: 7 }, WAIT, &mut |chunk| {
            again.extend(chunk.dead);
            Ok(())
        })
        .unwrap();
    assert_eq!(again, dead);
}

#[test]
fn kafka_startup_modes() {
    let broker = Broker::shared();
    let topic = broker.topic("startup", 1);
    for n in 0..4_i64 {
        let value = format!("{{\"n\": {n}}}");
        broker.produce(&topic, &[Message { timestamp: Some(1_000_000 + n * 1000), ..text(&value) }]);
    }
    let start = |options: &[(&str, &str)]| {
        connect(&stream(broker, &topic, options, &[]), None).unwrap().start_positions().unwrap()
    };
    assert_eq!(start(&[]), [(0, 0)]);
    assert_eq!(start(&[("scan.startup.mode", "latest")]), [(0, 4)]);
    let at = |millis: &str| start(&[("scan.startup.mode", "timestamp"), ("scan.startup.timestamp.millis", millis)]);
    assert_eq!(at("1002000"), [(0, 2)]);
    assert_eq!(at("1001001"), [(0, 2)]);
    assert_eq!(at("9999999"), [(0, 4)]);
    broker.delete_records(&topic, 0, 3);
    assert_eq!(start(&[]), [(0, 3)]);
}

#[test]
fn kafka_reads_committed_records_only_and_replays_them_alike() {
    let broker = Broker::shared();
    let topic = broker.topic("transactions", 1);
    let produce = |range: std::ops::Range<i64>, commit: bool| {
        broker.transaction(&topic, &messages(&numbered(range)), commit);
    };
    broker.produce(&topic, &messages(&numbered(0..10)));
    produce(100..150, false);
    produce(10..20, true);
    broker.produce(&topic, &messages(&numbered(20..25)));
    produce(200..203, false);
    // 25 records, 53 aborted ones, 3 markers: the position goes to the very end, past what is no record.
    let mut reading = Reading::start(source(broker, &topic));
    reading.until("the end", |reading| reading.next(0) == 81);
    assert_eq!(reading.numbers(), (0..25).collect::<Vec<_>>());
    broker.produce(&topic, &messages(&numbered(25..27)));
    reading.until_rows(27);
    reading.stop().unwrap();
    assert_eq!(reading.next(0), 83);
    assert_eq!(reading.fingerprint(0).records, 27);
    for piece in [1_000, 7, 1] {
        let again = connect(&stream(broker, &topic, &[], &[]), None).unwrap();
        let (fingerprint, rows) = replayed(&*again, 0, 0, 83, piece);
        assert_eq!(rows, (0..27).collect::<Vec<_>>(), "in pieces of {piece}");
        assert_eq!(fingerprint, reading.fingerprint(0));
    }
    // Reading on from the middle of a gap.
    let mut rest = Reading::from(reading.source.clone(), vec![(0, 30)]);
    rest.until_rows(17);
    rest.stop().unwrap();
    assert_eq!(rest.numbers(), (10..27).collect::<Vec<_>>());
}

#[test]
fn kafka_partition_added_while_running_is_read_from_its_start() {
    let broker = Broker::shared();
    let topic = broker.topic("grows", 1);
    let first = numbered(0..3);
    broker.produce(&topic, &messages(&first));
    let relation = stream(broker, &topic, &[("scan.startup.mode", "latest")], &[]);
    let mut reading = Reading::start(connect(&relation, None).unwrap());
    broker.add_partitions(&topic, 3);
    let later = numbered(10..12);
    let to = |partition: i32, value: &'static str| Message { partition, ..text(value) };
    broker.produce(&topic, &[to(1, "{\"n\": 20}"), to(2, "{\"n\": 30}"), to(1, "{\"n\": 21}")]);
    broker.produce(&topic, &messages(&later));
    reading.until_rows(5);
    reading.stop().unwrap();
    assert_eq!(reading.numbers(), [10, 11, 20, 21, 30]);
    assert_eq!((reading.next(0), reading.next(1), reading.next(2)), (5, 2, 1));
    let starts: Vec<i64> = reading.chunks.iter().filter(|chunk| chunk.partition > 0).map(|chunk| chunk.start).collect();
    assert!(starts.contains(&0));
}

#[test]
fn kafka_topic_or_broker_missing_is_an_error_in_time() {
    let broker = Broker::shared();
    let began = Instant::now();
    let missing = source(broker, "no-such-topic");
    for error in [missing.identity().err(), missing.start_positions().err()] {
        let error = error.expect("a topic that is not there");
        assert_eq!(error.state().0, "42704");
        assert_eq!(error.message(), "topic \"no-such-topic\" does not exist");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let mut relation = stream(broker, "t", &[], &[]);
    if let RelationKind::Stream(StreamDef { connector: Some(connector), .. }) = &mut relation.kind {
        connector.options[1].1 = "127.0.0.1:1".to_string();
    }
    let began = Instant::now();
    let error = connect(&relation, None).unwrap().identity().expect_err("no broker there");
    assert_eq!(error.state().0, "08001");
    assert!(error.detail().is_some_and(|detail| detail.contains("refused")), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn kafka_topic_made_again_stops_the_stream() {
    let broker = Broker::shared();
    let topic = broker.topic("again", 1);
    broker.produce(&topic, &messages(&numbered(0..10)));
    let old = source(broker, &topic);
    let identity = old.identity().unwrap();
    let mut reading = Reading::start(old.clone());
    reading.until_rows(10);
    broker.delete(&topic);
    broker.create(&topic, 1);
    // More records than before: offset 10 exists again, but it is another record.
    broker.produce(&topic, &messages(&numbered(1000..1030)));
    reading.until("the stop", |reading| matches!(reading.state(0), Some((PartitionState::Stopped, _))));
    let (_, error) = reading.state(0).unwrap();
    assert!(error.is_some_and(|error| error.contains("was deleted and made again")));
    let error = reading.stop().expect_err("the reader ends with the reason");
    assert_eq!(error.state().0, "55000");
    assert_eq!(reading.numbers(), (0..10).collect::<Vec<_>>(), "nothing of the new topic");
    let error = old
        .replay(Range { partition: 0, start: 0, next: 10 }, WAIT, &mut |_| Ok(()))
        .expect_err("a replay over another topic");
    assert!(error.message().contains("was deleted and made again"), "{error:?}");
    assert_ne!(source(broker, &topic).identity().unwrap(), identity);
    // A server that was down meanwhile finds it out too, before it reads anything.
    let late = connect(&stream(broker, &topic, &[], &[]), Some(&identity)).unwrap();
    let mut reading = Reading::from(late, vec![(0, 10)]);
    reading.until("the stop", |reading| matches!(reading.state(0), Some((PartitionState::Stopped, _))));
    assert!(reading.stop().is_err());
    assert!(reading.chunks.is_empty());
}

#[test]
fn kafka_history_that_is_gone_stops_the_stream() {
    let broker = Broker::shared();
    let topic = broker.topic("gone", 2);
    broker.produce(&topic, &messages(&numbered(0..10)));
    let source = source(broker, &topic);
    broker.delete_records(&topic, 0, 6);
    let mut reading = Reading::from(source.clone(), vec![(0, 2), (1, 0)]);
    reading.until("the stop", |reading| matches!(reading.state(0), Some((PartitionState::Stopped, _))));
    let (_, error) = reading.state(0).unwrap();
    let error = error.unwrap();
    assert!(error.contains("no longer has the record at offset 2 of partition 0"), "{error}");
    assert!(error.contains("holds offsets 6 to 10"), "{error}");
    assert!(reading.stop().is_err());
    assert!(reading.numbers().is_empty());
    let error = source
        .replay(Range { partition: 0, start: 2, next: 8 }, WAIT, &mut |_| Ok(()))
        .expect_err("a replay of what is gone");
    assert_eq!(error.state().0, "55000");
}

#[test]
fn kafka_broker_killed_and_back_loses_and_repeats_nothing() {
    let broker = Broker::start();
    let topic = broker.topic("outage", 2);
    let batch = |range: std::ops::Range<i64>| {
        let texts = numbered(range);
        let mut both = messages(&texts);
        for (number, message) in both.iter_mut().enumerate() {
            message.partition = (number % 2) as i32;
        }
        broker.produce(&topic, &both);
    };
    batch(0..5000);
    let mut reading = Reading::start(source(&broker, &topic));
    reading.until_rows(2000);
    broker.kill();
    reading
        .until("the outage to show", |reading| matches!(reading.state(0), Some((PartitionState::Retrying, Some(_)))));
    broker.run();
    reading.until_rows(5000);
    reading.until("reading again", |reading| matches!(reading.state(0), Some((PartitionState::Running, None))));
    batch(5000..6000);
    reading.until_rows(6000);
    reading.stop().unwrap();
    let mut numbers = reading.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..6000).collect::<Vec<_>>());
    assert_eq!((reading.next(0), reading.next(1)), (3000, 3000));
}

#[test]
fn kafka_reader_that_nobody_empties_waits_and_stops() {
    let broker = Broker::shared();
    let topic = broker.topic("full", 1);
    let long = "x".repeat(10_000);
    let value = format!("{{\"n\": 1, \"note\": \"{long}\"}}");
    let many: Vec<Message<'_>> = (0..2_000).map(|_| text(&value)).collect();
    broker.produce(&topic, &many);
    let mut reading = Reading::start(source(broker, &topic));
    std::thread::sleep(Duration::from_millis(1500));
    // Four chunks of a megabyte wait in the channel, and no more than that is taken from librdkafka.
    let (queued, fetched) = (reading.bytes.queued(), reading.bytes.fetched());
    assert!((4_000_000..16_000_000).contains(&queued), "{queued} bytes wait decoded");
    assert!((4_000_000..20_000_000).contains(&fetched), "{fetched} bytes wait in librdkafka");
    let chunks = std::iter::from_fn(|| reading.receiver.try_recv().ok());
    let waiting: i64 = chunks.map(|chunk| chunk.next - chunk.start).sum();
    assert!((100..1_000).contains(&waiting), "{waiting} records waiting");
    std::thread::sleep(Duration::from_millis(300));
    let _ = reading.stop();
}

/// While nobody leads a partition that was added, the others are read without a pause and without a gap; once someone does, it is read from
/// its first record.
#[test]
fn kafka_partition_without_a_leader_holds_up_nothing() {
    let broker = Broker::start();
    let second = broker.join();
    let topic = broker.topic_on("leaderless", &[1, 2]);
    broker.produce(&topic, &[Message { partition: 1, ..text("{\"n\": -1}") }]);
    second.kill();
    broker.until_led(&topic, 1, false);
    let mut reading = Reading::from(source(&broker, &topic), vec![(0, 0)]);
    let (began, mut sent, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(14) {
        broker.produce(&topic, &messages(&numbered(sent..sent + 50)));
        sent += 50;
        let produced = Instant::now();
        reading.until_rows(sent as usize);
        slowest = slowest.max(produced.elapsed());
    }
    assert_eq!(reading.numbers(), (0..sent).collect::<Vec<_>>());
    assert!(slowest < Duration::from_secs(3), "records waited {slowest:?}");
    second.run();
    reading.until_rows(sent as usize + 1);
    reading.stop().unwrap();
    assert_eq!((reading.numbers().last(), reading.next(0), reading.next(1)), (Some(&-1), sent, 1));
}

/// A broker comes back without the newest records of a partition: neither a reader nor a replay waits for them for ever.
#[test]
fn kafka_topic_that_lost_its_end_stops_the_stream() {
    let broker = Broker::start();
    let topic = broker.topic("lost", 1);
    broker.produce(&topic, &messages(&numbered(0..10)));
    let kept = broker.segment_bytes(&topic, 0);
    broker.produce(&topic, &messages(&numbered(10..20)));
    let source = source(&broker, &topic);
    let mut reading = Reading::start(source.clone());
    reading.until_rows(20);
    broker.kill();
    broker.cut_segment(&topic, 0, kept);
    broker.run();
    for start in [0, 10, 15] {
        let began = Instant::now();
        let error = source
            .replay(Range { partition: 0, start, next: 20 }, WAIT, &mut |_| Ok(()))
            .expect_err("a replay of what is lost");
        assert_eq!(error.state().0, "55000", "{error:?}");
        let wanted = start.max(10);
        assert!(
            error.message().contains(&format!("no longer has the record at offset {wanted} of partition 0")),
            "{error:?}"
        );
        assert!(
            error.detail().is_some_and(|detail| detail.contains("lost: partition 0 holds offsets 0 to 10")),
            "{error:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    reading.until("the stop", |reading| matches!(reading.state(0), Some((PartitionState::Stopped, _))));
    assert!(reading.stop().is_err());
    assert_eq!(reading.numbers(), (0..20).collect::<Vec<_>>());
    // What is left can be read again, up to its last record.
    assert_eq!(replayed(&*source, 0, 0, 10, 4).1, (0..10).collect::<Vec<_>>());
}

/// An error of a partition that has nothing more to read goes with its cause, not with the next record.
#[test]
fn kafka_partition_error_that_passes_does_not_stay() {
    let broker = Broker::shared();
    let topic = broker.topic("denied", 1);
    broker.produce(&topic, &messages(&numbered(0..3)));
    let mut reading = Reading::start(source(broker, &topic));
    reading.until_rows(3);
    broker.deny_reading(&topic);
    reading.until("the error", |reading| {
        matches!(reading.state(0), Some((PartitionState::Retrying, Some(error))) if error.contains("uthorization"))
    });
    broker.allow_reading(&topic);
    reading.until("reading again", |reading| matches!(reading.state(0), Some((PartitionState::Running, None))));
    broker.produce(&topic, &messages(&numbered(3..5)));
    reading.until_rows(5);
    reading.stop().unwrap();
    assert_eq!(reading.numbers(), [0, 1, 2, 3, 4]);
}
