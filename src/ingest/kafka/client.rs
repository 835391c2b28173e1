//! Consumers: how they are configured, and what they tell beside records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::native::{self, NoTopicId};
use crate::catalog::Connector;
use crate::error::{Error, Result, SqlState};
use crate::ingest::options::{invalid, required};

/// How long a statement waits for a broker.
pub const WAIT: Duration = Duration::from_secs(10);

/// Where and what to read.
#[derive(Clone)]
pub struct Topic {
    pub name: String,
    pub brokers: String,
    config: ClientConfig,
}

/// One of the topic's partitions.
pub struct Partition {
    pub id: i32,
    /// Some broker leads it, as far as the one that was asked knows.
    pub led: bool,
}

/// The properties of librdkafka that may be set: how brokers are reached, who is who, and how records are fetched. A point at the end
/// stands for all that begin so. Everything else is refused, for librdkafka also has properties that load libraries into the server or run
/// commands, and those that a stream's promises rest on, some under several names.
const ALLOWED: [&str; 37] = [
    "security.protocol",
    "ssl.ca.",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.",
    "ssl.curves.list",
    "ssl.endpoint.",
    "ssl.key.",
    "ssl.keystore.",
    "ssl.sigalgs.list",
    "enable.ssl.certificate.verification",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.config",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "client.id",
    "client.rack",
    "client.dns.lookup",
    "group.id",
    "fetch.",
    "max.partition.fetch.bytes",
    "queued.",
    "receive.message.max.bytes",
    "check.crcs",
    "socket.",
    "connections.max.idle.ms",
    "reconnect.",
    "retry.",
    "metadata.max.age.ms",
    "metadata.recovery.",
    "topic.metadata.",
    "broker.address.",
    "enable.metrics.push",
    "debug",
];

/// Of the others, those that someone may well expect to be able to set: a stream's promises rest on them.
const OURS: [&str; 12] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "enable.auto.commit",
    "auto.commit.enable",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "isolation.level",
    "enable.partition.eof",
    "allow.auto.create.topics",
    "group.protocol",
    "partition.assignment.strategy",
    "max.poll.interval.ms",
];

/// Properties with values of ours; what is allowed above may be overridden.
const DEFAULTS: [(&str, &str); 11] = [
    ("client.id", "riverrun"),
    // Needed by librdkafka to have a consumer queue; nothing is ever committed to it.
    ("group.id", "riverrun"),
    // The prefetch of one stream: its bound in memory.
    ("queued.max.messages.kbytes", "16384"),
    ("queued.min.messages", "20000"),
    // A reader waits as long as the database is behind.
    ("max.poll.interval.ms", "86400000"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.error.backoff.ms", "100"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "2000"),
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("topic.metadata.propagation.max.ms", "3000"),
];

impl Topic {
    /// Checks the options that concern the connection.
    pub fn new(connector: &Connector) -> Result<Topic> {
        let name = required(connector, "topic")?.to_string();
        let brokers = required(connector, "bootstrap.servers")?.to_string();
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(name, value);
        }
        let mut debug = "metadata".to_string();
        for (name, value) in &connector.options {
            let Some(property) = name.strip_prefix("properties.") else { continue };
            if OURS.contains(&property) {
                return Err(invalid(format!("option \"{name}\" is set by Riverrun"))
                    .with_hint("Brokers are named by \"bootstrap.servers\"; offsets are kept by Riverrun, and only committed records are read."));
            }
            if !is_allowed(property) {
                let shown = ALLOWED.map(|name| if name.ends_with('.') { format!("{name}*") } else { name.to_string() });
                return Err(invalid(format!("option \"{name}\" is no property of a Kafka client that may be set"))
                    .with_hint(format!("Properties are {}.", shown.join(", "))));
            }
            match property {
                "debug" => debug = format!("{debug},{value}"),
                _ => {
                    config.set(property, value);
                }
            }
        }
        config
            .set("bootstrap.servers", &brokers)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            // `Watch` learns from a debug line of this kind when the topic's id changes.
            .set("debug", &debug)
            .set_log_level(RDKafkaLogLevel::Debug);
        let topic = Topic { name, brokers, config };
        // An unknown property or a bad value shows when librdkafka reads the configuration.
        topic.config.create_native_config().map_err(|error| match error {
            KafkaError::ClientConfig(_, reason, name, value) => {
                invalid(format!("invalid option \"properties.{name}\" = '{value}': {reason}"))
                    .with_hint("The value must be one that librdkafka takes for this property.")
            }
            other => invalid(format!("invalid Kafka properties: {other}")),
        })?;
        Ok(topic)
    }

    /// The same topic for a consumer that keeps the records of each partition apart and fetches up to so many bytes of each ahead. What it
    /// is to read is there already, so brokers need not wait for more.
    pub fn with_prefetch(&self, bytes: usize) -> Topic {
        let mut small = self.clone();
        let piece = bytes.min(1 << 20).to_string();
        small
            .config
            .set("queued.max.messages.kbytes", (bytes >> 10).max(1).to_string())
            .set("fetch.message.max.bytes", &piece)
            .set("max.partition.fetch.bytes", &piece)
            .set("fetch.wait.max.ms", "20");
        small
    }

    /// A consumer; `expected` is the topic id it should meet, where that is known. Nothing is contacted yet.
    pub fn consumer(&self, expected: Option<String>) -> Result<BaseConsumer<Watch>> {
        let watch = Watch {
            topic: self.name.clone(),
            expected,
            replaced: AtomicBool::new(false),
            has_reader: AtomicBool::new(false),
            trouble: Mutex::default(),
        };
        self.config.create_with_context(watch).map_err(|error| match error {
            KafkaError::ClientConfig(_, reason, name, _) => {
                invalid(format!("invalid option \"properties.{name}\": {reason}"))
            }
            other => invalid(format!("Kafka client could not be made: {other}")),
        })
    }

    /// The topic's id: 42704 if there is no such topic, 08001 if no broker answers in time.
    pub fn id(&self, consumer: &BaseConsumer<Watch>) -> Result<String> {
        native::topic_id(consumer, &self.name, WAIT).map_err(|error| match error {
            NoTopicId::Missing => self.missing(),
            NoTopicId::Failed(reason) => self.unreachable(consumer, &reason),
        })
    }

    /// The topic's partitions, by number: 42704 if there is no such topic, 08001 if no broker answers in time.
    pub fn partitions(&self, consumer: &BaseConsumer<Watch>, wait: Duration) -> Result<Vec<Partition>> {
        let no_answer = |reason: String| self.unreachable(consumer, &reason);
        let metadata = consumer.fetch_metadata(Some(&self.name), wait).map_err(|error| no_answer(reason(&error)))?;
        let Some(found) = metadata.topics().iter().find(|topic| topic.name() == self.name) else {
            return Err(self.missing());
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic) => {
                return Err(self.missing());
            }
            Some(error) => return Err(no_answer(error.to_string())),
        }
        let found = found.partitions().iter();
        let mut partitions: Vec<Partition> =
            found.map(|partition| Partition { id: partition.id(), led: partition.leader() >= 0 }).collect();
        partitions.sort_unstable_by_key(|partition| partition.id);
        if partitions.is_empty() { Err(self.missing()) } else { Ok(partitions) }
    }

    /// First position of a partition and one past its last, within about this long. A topic just made may have no leader for a
    /// moment: that is waited for.
    pub fn bounds(&self, consumer: &BaseConsumer<Watch>, partition: i32, wait: Duration) -> Result<(i64, i64)> {
        let began = Instant::now();
        loop {
            let error = match consumer.fetch_watermarks(&self.name, partition, wait) {
                Ok(bounds) => return Ok(bounds),
                Err(error) => error,
            };
            let passes = matches!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable)
            );
            if !passes || began.elapsed() > wait {
                return Err(self.unreachable(consumer, &reason(&error)));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn missing(&self) -> Error {
        Error::new(SqlState::UNDEFINED_OBJECT, format!("topic \"{}\" does not exist", self.name))
            .with_detail(format!("The Kafka brokers at {} know no topic of this name.", self.brokers))
            .with_hint("Create the topic first; topic names are case-sensitive.")
    }

    /// 55000: what was read of the topic can't be read again.
    pub fn deleted(&self) -> Error {
        Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("topic \"{}\" was deleted", self.name))
            .with_detail(format!("The Kafka brokers at {} know no topic of this name.", self.brokers))
            .with_hint("Drop the stream; its records can't be read again.")
    }

    /// 08001, with what librdkafka says in its log where that is more than "timed out".
    pub fn unreachable(&self, consumer: &BaseConsumer<Watch>, reason: &str) -> Error {
        native::hear_log(consumer);
        self.no_contact(consumer.context().trouble().unwrap_or_else(|| reason.to_string()))
    }

    fn no_contact(&self, detail: String) -> Error {
        Error::new(SqlState::CONNECTION_FAILURE, format!("could not reach Kafka at {}", self.brokers))
            .with_detail(detail)
            .with_hint("Check \"bootstrap.servers\" and the properties.* of the stream, and that the broker runs.")
    }
}

fn is_allowed(property: &str) -> bool {
    ALLOWED.iter().any(|allowed| match allowed.strip_suffix('.') {
        Some(_) => property.len() > allowed.len() && property.starts_with(allowed),
        None => property == *allowed,
    })
}

fn reason(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => code.to_string(),
        None => error.to_string(),
    }
}

/// Listens to a client's log: for trouble with brokers, and for the sign that the topic is not the same any more.
pub struct Watch {
    topic: String,
    expected: Option<String>,
    replaced: AtomicBool,
    /// Someone takes all that arrives on the client's queue: see [`native::Queue`].
    has_reader: AtomicBool,
    /// The newest line about a broker that could not be reached.
    trouble: Mutex<Option<String>>,
}

impl Watch {
    /// The topic has another id than expected: it was deleted and made again. Records fetched under the new id come after the line that
    /// sets this.
    pub fn replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    pub fn has_reader(&self) -> bool {
        self.has_reader.load(Ordering::Acquire)
    }

    pub fn set_reader(&self) {
        self.has_reader.store(true, Ordering::Release);
    }

    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// The id the topic had when the stream was made.
    pub fn expected_id(&self) -> Option<&String> {
        self.expected.as_ref()
    }

    /// Brokers answer again.
    pub fn forget_trouble(&self) {
        *self.trouble.lock() = None;
    }

    /// One line of librdkafka's log; levels are syslog's.
    pub fn log_line(&self, level: i32, facility: &str, line: &str) {
        if let Some(id) = new_topic_id(line, &self.topic)
            && self.expected.as_ref().is_some_and(|expected| !expected.is_empty() && expected != id)
        {
            tracing::error!(topic = self.topic, id, "the topic was deleted and made again");
            self.replaced.store(true, Ordering::Release);
        }
        match level {
            0..=3 => {
                tracing::warn!(topic = self.topic, facility, "{line}");
                if matches!(facility, "FAIL" | "ERROR") {
                    *self.trouble.lock() = Some(plain(line));
                }
            }
            4..=6 => tracing::info!(topic = self.topic, facility, "{line}"),
            _ => tracing::trace!(topic = self.topic, facility, "{line}"),
        }
    }
}

/// The new id in librdkafka's line `Topic T changed id from A to B`, if it is about this topic.
fn new_topic_id<'l>(line: &'l str, topic: &str) -> Option<&'l str> {
    let (_, rest) = line.split_once("Topic ")?;
    let rest = rest.strip_prefix(topic)?.strip_prefix(" changed id from ")?;
    rest.split_once(" to ").map(|(_, id)| id.trim())
}

/// A log line without the client's name and thread.
fn plain(line: &str) -> String {
    let line = match line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => line,
    };
    line.trim().to_string()
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log_line(level as i32, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is news to nobody: events that nobody has taken come here when a client goes.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(topic = self.topic, "{error}: {reason}");
        *self.trouble.lock() = Some(reason.to_string());
    }
}

impl ConsumerContext for Watch {}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(options: &[(&str, &str)]) -> Result<Topic> {
        let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Topic::new(&Connector { name: "kafka".to_string(), options })
    }

    #[test]
    fn properties_reach_librdkafka_and_wrong_ones_are_named() {
        let base = [("topic", "t"), ("bootstrap.servers", "localhost:1")];
        let with = |name: &'static str, value: &'static str| topic(&[base[0], base[1], (name, value)]);
        let made = with("properties.client.id", "me").unwrap();
        assert_eq!(made.config.get("client.id"), Some("me"));
        assert_eq!(made.config.get("isolation.level"), Some("read_committed"));
        for (name, value, message) in [
            ("properties.no.such.thing", "1", "properties.no.such.thing"),
            ("properties.fetch.no.such.thing", "1", "properties.fetch.no.such.thing"),
            ("properties.fetch.wait.max.ms", "soon", "properties.fetch.wait.max.ms"),
            ("properties.isolation.level", "read_uncommitted", "is set by Riverrun"),
            ("properties.enable.auto.commit", "true", "is set by Riverrun"),
        ] {
            let error = with(name, value).err().unwrap();
            assert_eq!(error.state(), SqlState::INVALID_PARAMETER_VALUE);
            assert!(error.message().contains(message), "{error:?}");
            assert!(error.hint().is_some(), "{error:?}");
        }
        assert!(topic(&[("topic", "t")]).err().unwrap().message().contains("bootstrap.servers"));
        assert!(topic(&[("bootstrap.servers", "h:1")]).err().unwrap().message().contains("connector"));
    }

    /// What loads a library, runs a command or points elsewhere never reaches librdkafka, whatever name it has.
    #[test]
    fn properties_that_are_not_allowed_are_refused() {
        let base = [("topic", "t"), ("bootstrap.servers", "localhost:1")];
        for property in [
            "plugin.library.paths",
            "ssl.engine.location",
            "ssl.engine.id",
            "ssl.providers",
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.principal",
            "interceptors",
            "opaque",
            "open_cb",
            "default_topic_conf",
            "internal.termination.signal",
            "test.mock.num.brokers",
            "metadata.broker.list",
            "auto.commit.enable",
            "offset.store.path",
            "log_level",
            "Plugin.Library.Paths",
            "fetch.",
            "debugging",
        ] {
            let option = format!("properties.{property}");
            let error = topic(&[base[0], base[1], (&option, "/tmp/x")]).err().unwrap_or_else(|| panic!("{property}"));
            assert_eq!(error.state(), SqlState::INVALID_PARAMETER_VALUE, "{property}");
            assert!(error.message().contains(&option), "{error:?}");
            assert!(error.hint().is_some(), "{error:?}");
        }
        for (property, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
            ("ssl.ca.location", "/etc/ssl/certs"),
            ("ssl.endpoint.identification.algorithm", "none"),
            ("ssl.key.password", "p"),
            ("socket.timeout.ms", "1000"),
            ("fetch.min.bytes", "1"),
            ("reconnect.backoff.ms", "50"),
            ("metadata.max.age.ms", "60000"),
            ("topic.metadata.refresh.interval.ms", "1000"),
            ("queued.max.messages.kbytes", "1024"),
            ("client.rack", "r1"),
            ("group.id", "g"),
        ] {
            let option = format!("properties.{property}");
            let made = topic(&[base[0], base[1], (&option, value)]).unwrap();
            assert_eq!(made.config.get(property), Some(value));
        }
    }

    #[test]
    fn the_line_about_a_new_topic_id_is_understood() {
        let line = "[thrd:main]: Topic my.topic changed id from Vt3tYZ9nQ3 to 8Xk-0_aBcD";
        assert_eq!(new_topic_id(line, "my.topic"), Some("8Xk-0_aBcD"));
        assert_eq!(new_topic_id(line, "my"), None);
        assert_eq!(new_topic_id("[thrd:main]: Topic my.topic [0] Leader 1 Epoch 0", "my.topic"), None);
    }

    #[test]
    fn an_unreachable_broker_is_08001() {
        let topic = topic(&[("topic", "t"), ("bootstrap.servers", "127.0.0.1:1")]).unwrap();
        let consumer = topic.consumer(None).unwrap();
        let error = topic.partitions(&consumer, Duration::from_millis(500)).err().unwrap();
        assert_eq!(error.state(), SqlState::CONNECTION_FAILURE);
        assert_eq!(error.message(), "could not reach Kafka at 127.0.0.1:1");
    }
}
