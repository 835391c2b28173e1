//! A real Apache Kafka (one node, KRaft) for the tests: downloaded once from Maven, one broker a test run, one topic a test.
//!
//! The broker runs under a shell that waits for the end of its standard input: when the test process ends, however it ends,
//! the pipe closes, and the shell kills the broker and removes its folder.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::bindings as rd;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

pub const VERSION: &str = "4.3.1";
const WAIT: Duration = Duration::from_secs(30);

pub struct Broker {
    folder: PathBuf,
    port: u16,
    /// The port of the cluster's controller, and the cluster's id.
    controller: u16,
    cluster: String,
    process: parking_lot::Mutex<Option<Child>>,
}

/// One record to produce.
#[derive(Clone, Copy, Default)]
pub struct Message<'a> {
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    pub header: Option<(&'a str, &'a [u8])>,
}

/// A record with a value in partition 0.
pub fn text(value: &str) -> Message<'_> {
    Message { value: Some(value.as_bytes()), ..Message::default() }
}

impl Broker {
    /// The one of this test run, started by whoever asks first.
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Broker::start)
    }

    /// One of its own, for tests that kill it.
    pub fn start() -> Broker {
        let cluster = java(&libraries(), &["kafka.tools.StorageTool", "random-uuid"]).trim().to_string();
        Broker::node(1, "broker,controller", free_port(), cluster)
    }

    /// A second broker of this one's cluster.
    pub fn join(&self) -> Broker {
        Broker::node(2, "broker", self.controller, self.cluster.clone())
    }

    fn node(id: u32, roles: &str, controller: u16, cluster: String) -> Broker {
        let folder = std::env::temp_dir().join(format!("riverrun-kafka-{}-{}", std::process::id(), number()));
        fs::create_dir_all(&folder).expect("making the broker's folder");
        let port = free_port();
        let control =
            if roles.contains("controller") { format!(",CONTROLLER://127.0.0.1:{controller}") } else { String::new() };
        let properties = format!(
            "process.roles={roles}\nnode.id={id}\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port}{control}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=2\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=2\n\
             group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
             log.segment.delete.delay.ms=100\nallow.everyone.if.no.acl.found=true\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n",
            folder.join("log").display()
        );
        fs::write(folder.join("server.properties"), properties).expect("writing server.properties");
        let config = folder.join("server.properties").display().to_string();
        java(&libraries(), &["kafka.tools.StorageTool", "format", "-t", &cluster, "-c", &config]);
        let broker = Broker { folder, port, controller, cluster, process: parking_lot::Mutex::new(None) };
        broker.run();
        broker
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the process and waits until it answers. Its data are those it had.
    pub fn run(&self) {
        let script = "java -Xmx1g -cp \"$1/*\" kafka.Kafka \"$2/server.properties\" >\"$2/out\" 2>&1 </dev/null & \
                      broker=$!; cat >/dev/null; kill -9 $broker; wait $broker; [ -e \"$2/keep\" ] || rm -rf \"$2\"";
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(libraries())
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting the broker");
        *self.process.lock() = Some(child);
        let began = Instant::now();
        let client: BaseConsumer = self.config().set("log_level", "0").create().expect("a client");
        while client.fetch_metadata(None, Duration::from_millis(500)).is_err() {
            let said = || fs::read_to_string(self.folder.join("out")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(90), "the broker does not answer; it said:\n{}", said());
        }
    }

    /// kill -9; the data stay.
    pub fn kill(&self) {
        fs::write(self.folder.join("keep"), "").expect("marking the folder");
        let child = self.process.lock().take();
        if let Some(mut child) = child {
            drop(child.stdin.take());
            child.wait().expect("the broker's shell");
        }
        fs::remove_file(self.folder.join("keep")).expect("unmarking the folder");
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client")
    }

    /// A name nobody else uses.
    pub fn name(&self, of: &str) -> String {
        format!("{of}-{}", number())
    }

    /// Makes a topic of a new name.
    pub fn topic(&self, of: &str, partitions: i32) -> String {
        let name = self.name(of);
        self.create(&name, partitions);
        name
    }

    pub fn create(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let began = Instant::now();
        // A topic just deleted may take a moment to be gone.
        loop {
            let answer = block_on(self.admin().create_topics([&topic], &options())).expect("creating a topic");
            match &answer[0] {
                Ok(_) => break,
                Err((_, error)) => assert!(began.elapsed() < WAIT, "creating {name}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let client: BaseConsumer = self.config().create().expect("a client");
        let ready = || {
            let metadata = client.fetch_metadata(Some(name), WAIT).ok()?;
            let topic = metadata.topics().first()?;
            let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
            (topic.partitions().len() == partitions as usize && led).then_some(())
        };
        while ready().is_none() {
            assert!(began.elapsed() < WAIT, "{name} has no leaders");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes a topic with one partition on each of these nodes.
    pub fn topic_on(&self, of: &str, nodes: &[i32]) -> String {
        let name = self.name(of);
        let places: Vec<&[i32]> = nodes.iter().map(std::slice::from_ref).collect();
        let topic = NewTopic::new(&name, nodes.len() as i32, TopicReplication::Variable(&places));
        let answer = block_on(self.admin().create_topics([&topic], &options())).expect("creating a topic");
        answer[0].as_ref().expect("creating a topic");
        (0..nodes.len() as i32).for_each(|partition| self.until_led(&name, partition, true));
        name
    }

    /// Waits until a partition has a leader, or has none any more.
    pub fn until_led(&self, topic: &str, partition: i32, led: bool) {
        let client: BaseConsumer = self.config().create().expect("a client");
        let began = Instant::now();
        let is_led = || {
            let metadata = client.fetch_metadata(Some(topic), WAIT).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            Some(partitions.iter().find(|found| found.id() == partition)?.leader() >= 0)
        };
        while is_led() != Some(led) {
            assert!(began.elapsed() < WAIT, "partition {partition} of {topic}: led is {:?}", is_led());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn delete(&self, name: &str) {
        let answer = block_on(self.admin().delete_topics(&[name], &options())).expect("deleting a topic");
        answer[0].as_ref().expect("deleting a topic");
    }

    pub fn add_partitions(&self, name: &str, total: usize) {
        let partitions = NewPartitions::new(name, total);
        let answer = block_on(self.admin().create_partitions([&partitions], &options())).expect("adding partitions");
        answer[0].as_ref().expect("adding partitions");
    }

    /// Deletes the records of a partition before an offset, as retention does.
    pub fn delete_records(&self, name: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(name, partition, Offset::Offset(before)).expect("an offset");
        block_on(self.admin().delete_records(&list, &options())).expect("deleting records");
    }

    /// Bytes of a partition's first segment.
    pub fn segment_bytes(&self, topic: &str, partition: i32) -> u64 {
        fs::metadata(self.segment(topic, partition)).expect("a segment").len()
    }

    /// Takes the end of a partition away, as a disk may that loses what was not flushed: the broker must be down.
    pub fn cut_segment(&self, topic: &str, partition: i32, bytes: u64) {
        assert!(self.process.lock().is_none(), "the broker runs");
        let segment = fs::File::options().write(true).open(self.segment(topic, partition)).expect("a segment");
        segment.set_len(bytes).expect("cutting the segment");
    }

    fn segment(&self, topic: &str, partition: i32) -> PathBuf {
        self.folder.join(format!("log/{topic}-{partition}/00000000000000000000.log"))
    }

    /// Refuses everyone to read a topic; they still learn of its partitions.
    pub fn deny_reading(&self, topic: &str) {
        use rd::rd_kafka_AclOperation_t::{RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_OPERATION_READ};
        use rd::rd_kafka_AclPermissionType_t::{RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, RD_KAFKA_ACL_PERMISSION_TYPE_DENY};
        let topic = CString::new(topic).expect("a name");
        // SAFETY: a live client, terminated strings; the lists are given back after the call, which copies them.
        self.ask_admin(|client, options, queue| unsafe {
            let rule = |operation, permission| {
                rd::rd_kafka_AclBinding_new(
                    rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
                    topic.as_ptr(),
                    rd::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                    c"User:*".as_ptr(),
                    c"*".as_ptr(),
                    operation,
                    permission,
                    std::ptr::null_mut(),
                    0,
                )
            };
            let mut rules = [
                rule(RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW),
                rule(RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_ACL_PERMISSION_TYPE_DENY),
            ];
            rd::rd_kafka_CreateAcls(client, rules.as_mut_ptr(), rules.len(), options, queue);
            rules.into_iter().for_each(|rule| rd::rd_kafka_AclBinding_destroy(rule));
        });
    }

    /// Takes back what [`Broker::deny_reading`] said.
    pub fn allow_reading(&self, topic: &str) {
        let topic = CString::new(topic).expect("a name");
        // SAFETY: as above; no pointer means any.
        self.ask_admin(|client, options, queue| unsafe {
            let mut filters = [rd::rd_kafka_AclBindingFilter_new(
                rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
                topic.as_ptr(),
                rd::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                std::ptr::null(),
                std::ptr::null(),
                rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ANY,
                rd::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
                std::ptr::null_mut(),
                0,
            )];
            rd::rd_kafka_DeleteAcls(client, filters.as_mut_ptr(), filters.len(), options, queue);
            filters.into_iter().for_each(|filter| rd::rd_kafka_AclBinding_destroy(filter));
        });
    }

    /// Sends a request of librdkafka's that its Rust wrapper lacks, and waits for the answer.
    fn ask_admin(
        &self,
        send: impl FnOnce(*mut rd::rd_kafka_t, *mut rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t),
    ) {
        let admin = self.admin();
        let client = admin.inner().native_ptr();
        // SAFETY: the client outlives what is made here, and all of it is given back here.
        unsafe {
            let options = rd::rd_kafka_AdminOptions_new(client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ANY);
            let queue = rd::rd_kafka_queue_new(client);
            send(client, options, queue);
            let event = rd::rd_kafka_queue_poll(queue, WAIT.as_millis() as i32);
            assert!(!event.is_null(), "no answer");
            assert_eq!(rd::rd_kafka_event_error(event), rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
            rd::rd_kafka_event_destroy(event);
            rd::rd_kafka_queue_destroy(queue);
            rd::rd_kafka_AdminOptions_destroy(options);
        }
    }

    /// Produces, in order, and waits until all is written.
    pub fn produce(&self, topic: &str, messages: &[Message<'_>]) {
        let producer: BaseProducer = self.config().set("linger.ms", "1").create().expect("a producer");
        send(&producer, topic, messages);
        producer.flush(WAIT).expect("flushing");
    }

    /// Produces in one transaction, which is committed or aborted.
    pub fn transaction(&self, topic: &str, messages: &[Message<'_>], commit: bool) {
        let producer: BaseProducer =
            self.config().set("transactional.id", self.name("transaction")).create().expect("a producer");
        producer.init_transactions(WAIT).expect("init");
        producer.begin_transaction().expect("begin");
        send(&producer, topic, messages);
        producer.flush(WAIT).expect("flushing");
        match commit {
            true => producer.commit_transaction(WAIT).expect("commit"),
            false => producer.abort_transaction(WAIT).expect("abort"),
        }
    }

    /// Produces each of these in a transaction of its own, and commits it.
    pub fn transactions<'m>(&self, topic: &str, each: impl Iterator<Item = [Message<'m>; 2]>) {
        let producer: BaseProducer =
            self.config().set("transactional.id", self.name("transactions")).create().expect("a producer");
        producer.init_transactions(WAIT).expect("init");
        for messages in each {
            producer.begin_transaction().expect("begin");
            send(&producer, topic, &messages);
            producer.commit_transaction(WAIT).expect("commit");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.get_mut().take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

fn send(producer: &BaseProducer, topic: &str, messages: &[Message<'_>]) {
    for message in messages {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(message.partition);
        record.key = message.key;
        record.payload = message.value;
        record.timestamp = message.timestamp;
        record.headers = message
            .header
            .map(|(key, value)| OwnedHeaders::new().insert(rdkafka::message::Header { key, value: Some(value) }));
        let mut again = Some(record);
        while let Some(record) = again.take() {
            match producer.send(record) {
                Ok(()) => {}
                Err((error, record)) => {
                    let full = rdkafka::error::RDKafkaErrorCode::QueueFull;
                    assert_eq!(error.rdkafka_error_code(), Some(full), "producing: {error}");
                    producer.poll(Duration::from_millis(10));
                    again = Some(record);
                }
            }
        }
        producer.poll(Duration::ZERO);
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT))
}

/// Counts everything that needs a name of its own.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A port that nobody listens on now, and that was not given before.
fn free_port() -> u16 {
    static GIVEN: parking_lot::Mutex<BTreeSet<u16>> = parking_lot::Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        if GIVEN.lock().insert(port) {
            return port;
        }
    }
}

/// Runs a tool of Kafka's and gives what it printed.
fn java(libraries: &Path, arguments: &[&str]) -> String {
    let class_path = format!("{}/*", libraries.display());
    let output = Command::new("java").arg("-cp").arg(class_path).args(arguments).output();
    let output = output.expect("java is needed for the Kafka tests (install default-jdk-headless)");
    assert!(output.status.success(), "java {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folder of Kafka's jars.
fn libraries() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| crate::maven::libraries("org.apache.kafka", "kafka_2.13", VERSION)).clone()
}
