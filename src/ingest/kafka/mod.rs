//! `connector = 'kafka'`: a topic as a stream. Offsets are ours (the epoch log's), partitions are assigned by hand, and only committed
//! records are read.
//!
//! | what happens                        | what the stream does |
//! |-------------------------------------|----------------------|
//! | no such topic at CREATE             | 42704 |
//! | no broker answers at CREATE         | 08001 within ten seconds |
//! | brokers go away                     | Retrying, for as long as it takes; goes on where it was |
//! | a partition is added                | read from its first record |
//! | the topic is deleted                | Retrying, saying so |
//! | the topic is made again             | Stopped: another topic id means other records, whatever the offsets say |
//! | records not yet read were deleted   | Stopped, naming the partition and what is left |
//! | records to be read again are gone   | 55000: the stream has failed, Stopped as above |
//! | a record is no row                  | a dead letter |

mod client;
mod native;
mod reader;
mod replay;
mod rows;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use self::client::{Topic, WAIT, Watch};
use self::replay::Replays;
use self::rows::Layout;
use super::options::invalid;
use super::{ChunkSender, Fetched, Range, Source, Statuses, Stop};
use crate::catalog::{Connector, Relation};
use crate::error::{Error, Result};

pub struct KafkaSource {
    topic: Topic,
    layout: Layout,
    startup: Startup,
    /// The topic's id as given or first seen: everything this source reads is from that topic.
    id: OnceLock<String>,
    replays: Arc<Replays>,
}

/// Where partitions start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Startup {
    Earliest,
    Latest,
    /// The first record at or after this time, milliseconds since 1970.
    Timestamp(i64),
}

/// Checks the options and the columns; nothing is contacted yet. `identity` is the topic's id, if the stream was made on one.
pub fn source(stream: &Relation, connector: &Connector, identity: Option<&str>) -> Result<KafkaSource> {
    let topic = Topic::new(connector)?;
    match connector.option("format").map(str::to_ascii_lowercase).as_deref() {
        Some("json") => {}
        None => {
            return Err(
                invalid("option \"format\" is missing for connector 'kafka'").with_hint("Add format = 'json' to WITH.")
            );
        }
        Some(other) => {
            return Err(
                invalid(format!("format \"{other}\" is not supported")).with_hint("The only format so far is 'json'.")
            );
        }
    }
    let startup = Startup::new(connector)?;
    let layout = Layout::new(stream)?;
    let id = identity.map_or_else(OnceLock::new, |identity| OnceLock::from(identity.to_string()));
    Ok(KafkaSource { topic, layout, startup, id, replays: Arc::default() })
}

impl Startup {
    fn new(connector: &Connector) -> Result<Startup> {
        let timestamp = connector.option("scan.startup.timestamp.millis");
        let mode = connector.option("scan.startup.mode").map(str::to_ascii_lowercase);
        match (mode.as_deref(), timestamp) {
            (None | Some("earliest"), None) => Ok(Startup::Earliest),
            (Some("latest"), None) => Ok(Startup::Latest),
            (None | Some("timestamp"), Some(text)) => match text.trim().parse::<i64>() {
                Ok(millis) if millis >= 0 => Ok(Startup::Timestamp(millis)),
                _ => Err(invalid(format!("invalid value for option \"scan.startup.timestamp.millis\": \"{text}\""))
                    .with_hint("It is milliseconds since 1970.")),
            },
            (Some("timestamp"), None) => Err(invalid("scan.startup.mode = 'timestamp' needs a time")
                .with_hint("Add \"scan.startup.timestamp.millis\" = '...', milliseconds since 1970.")),
            (Some("earliest" | "latest"), Some(_)) => {
                Err(invalid("\"scan.startup.timestamp.millis\" goes with scan.startup.mode = 'timestamp' only"))
            }
            (Some(other), _) => Err(invalid(format!("invalid value for option \"scan.startup.mode\": \"{other}\""))
                .with_hint("It is earliest (the default), latest or timestamp.")),
        }
    }
}

impl KafkaSource {
    /// The topic's id, looked up once in this source's life.
    fn first_id(&self) -> Result<String> {
        if let Some(id) = self.id.get() {
            return Ok(id.clone());
        }
        let consumer = self.topic.consumer(None)?;
        let id = self.topic.id(&consumer)?;
        Ok(self.id.get_or_init(|| id).clone())
    }

    fn start_of(&self, consumer: &BaseConsumer<Watch>, partition: i32) -> Result<i64> {
        let (first, end) = self.topic.bounds(consumer, partition, WAIT)?;
        match self.startup {
            Startup::Earliest => Ok(first),
            Startup::Latest => Ok(end),
            Startup::Timestamp(millis) => {
                let mut question = TopicPartitionList::new();
                let problem = |error: rdkafka::error::KafkaError| self.topic.unreachable(consumer, &error.to_string());
                question.add_partition_offset(&self.topic.name, partition, Offset::Offset(millis)).map_err(problem)?;
                let answer = consumer.offsets_for_times(question, WAIT).map_err(problem)?;
                match answer.find_partition(&self.topic.name, partition).map(|found| found.offset()) {
                    Some(Offset::Offset(position)) => Ok(position),
                    // No record is that young.
                    _ => Ok(end),
                }
            }
        }
    }
}

impl Source for KafkaSource {
    fn identity(&self) -> Result<String> {
        self.first_id()
    }

    fn decoder(&self) -> &'static str {
        rows::DECODER
    }

    fn start_positions(&self) -> Result<Vec<(i32, i64)>> {
        let consumer = self.topic.consumer(None)?;
        let partitions = self.topic.partitions(&consumer, WAIT)?;
        partitions.iter().map(|partition| Ok((partition.id, self.start_of(&consumer, partition.id)?))).collect()
    }

    fn read(&self, from: Vec<(i32, i64)>, out: ChunkSender, statuses: Statuses, stop: Stop) -> Result<()> {
        reader::read(self, from, &out, &statuses, &stop)
    }

    fn replay(&self, range: Range, patience: Duration, each: &mut dyn FnMut(Fetched) -> Result<()>) -> Result<()> {
        let id = self.first_id()?;
        self.replays.replay(&self.topic, &self.layout, id, (range, patience), each)
    }
}

/// The topic was deleted and made again.
fn replaced(topic: &str) -> Error {
    Error::new(
        crate::error::SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("topic \"{topic}\" was deleted and made again: it is not the topic this stream was made on"),
    )
    .with_hint("Drop the stream and create it again to read the new topic.")
}

/// What a record that is gone was needed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NeededFor {
    Reading,
    /// It was read once, and a restart or a new view reads it again.
    Replay,
}

/// Records that are still needed are not in the topic: deleted at its beginning, or lost at its end.
fn history_gone(topic: &str, partition: i32, wanted: i64, bounds: Option<(i64, i64)>, needed: NeededFor) -> Error {
    let left = match bounds {
        Some((first, end)) => format!("partition {partition} holds offsets {first} to {end} (not included)"),
        None => format!("what partition {partition} holds is not known"),
    };
    let error = Error::new(
        crate::error::SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("topic \"{topic}\" no longer has the record at offset {wanted} of partition {partition}"),
    );
    match (bounds, needed) {
        (Some((_, end)), _) if end <= wanted => error
            .with_detail(format!("Records that were there are lost: {left}."))
            .with_hint("Drop the stream and create it again to read what is left; topics with several replicas and min.insync.replicas lose nothing when a broker fails."),
        (_, NeededFor::Reading) => error
            .with_detail(format!("Records were deleted before they were read: {left}."))
            .with_hint("Drop the stream and create it again to read what is left; keep records longer (retention.ms) than a stream may be behind."),
        (_, NeededFor::Replay) => error
            .with_detail(format!("Records that are needed again were deleted: {left}."))
            .with_hint("Drop the stream and create it again to read what is left; give the topic retention.ms=-1, for Riverrun keeps no copy of it."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Include, IncludeKind};
    use crate::ingest::connect;
    use crate::ingest::tests::relation;
    use crate::types::{Column, Type};

    fn connected(options: &[(&str, &str)], columns: Vec<Column>, includes: &[Include]) -> Result<()> {
        let mut all = vec![("topic", "t"), ("bootstrap.servers", "127.0.0.1:1")];
        all.extend(options);
        connect(&relation(columns, "kafka", &all, includes), None).map(|_| ())
    }

    #[test]
    fn options_are_checked_before_anything_is_contacted() {
        let columns = || vec![Column::new("a", Type::Int4), Column::new("k", Type::Bytea)];
        let good: &[&[(&str, &str)]] = &[
            &[("format", "JSON")],
            &[("format", "json"), ("scan.startup.mode", "Latest")],
            &[("format", "json"), ("scan.startup.mode", "timestamp"), ("scan.startup.timestamp.millis", "5")],
        ];
        let key = [Include { kind: IncludeKind::Key, column: 1 }];
        for options in good {
            connected(options, columns(), &key).unwrap();
        }
        let bad: &[&[(&str, &str)]] = &[
            &[],
            &[("format", "avro")],
            &[("format", "json"), ("scan.startup.mode", "yesterday")],
            &[("format", "json"), ("scan.startup.mode", "timestamp")],
            &[("format", "json"), ("scan.startup.mode", "latest"), ("scan.startup.timestamp.millis", "5")],
            &[("format", "json"), ("scan.startup.timestamp.millis", "-5")],
        ];
        for options in bad {
            let error = connected(options, columns(), &key).unwrap_err();
            assert_eq!(error.state().0, "22023", "{options:?} {error:?}");
        }
        let wrong = [Include { kind: IncludeKind::Offset, column: 1 }];
        assert_eq!(connected(&[("format", "json")], columns(), &wrong).unwrap_err().state().0, "42804");
    }
}
