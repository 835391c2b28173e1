//! The few calls of librdkafka that its Rust wrapper lacks: records in batches, the offset behind the end of a partition, topic ids.
//!
//! All `unsafe` of the connector is here. Records point into librdkafka's fetch buffers and are given back when dropped; they
//! must not outlive the consumer they come from, which [`Records`] ensures by borrowing it.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaRespErr;

use super::client::Watch;

/// What librdkafka hands over for one record or one event of a partition.
pub enum Fetch<'a> {
    Record(Record<'a>),
    /// The reader has everything up to this position, and the partition nothing more for now.
    End {
        partition: i32,
        position: i64,
    },
    Failed {
        partition: i32,
        error: RDKafkaRespErr,
        message: String,
    },
}

/// A record, valid while its batch is.
pub struct Record<'a> {
    raw: &'a rd::rd_kafka_message_t,
}

/// A batch of what was fetched.
pub struct Records<'c> {
    raw: Vec<*mut rd::rd_kafka_message_t>,
    _consumer: std::marker::PhantomData<&'c ()>,
}

/// The queue on which a consumer's records arrive. What is taken from it is gone, so it has one reader, and whoever else asks brokers
/// through the same consumer leaves it alone.
pub struct Queue<'c> {
    raw: *mut rd::rd_kafka_queue_t,
    _consumer: std::marker::PhantomData<&'c ()>,
}

impl<'c> Queue<'c> {
    /// For the consumer's reader. Also sends the consumer's log lines to its [`Watch`] from here on.
    pub fn of(consumer: &'c BaseConsumer<Watch>) -> Option<Queue<'c>> {
        consumer.context().set_reader();
        Queue::open(consumer)
    }

    fn open(consumer: &'c BaseConsumer<Watch>) -> Option<Queue<'c>> {
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive for 'c; the queue is given back in `drop`.
        let raw = unsafe {
            rd::rd_kafka_set_logger(client, Some(log_line));
            rd::rd_kafka_queue_get_consumer(client)
        };
        (!raw.is_null()).then_some(Queue { raw, _consumer: std::marker::PhantomData })
    }

    /// Waits up to `wait` for the first record, then takes what else is there, up to `most`.
    pub fn take(&self, wait: Duration, most: usize) -> Records<'c> {
        // SAFETY: a queue that is given back in `drop`.
        Records { raw: unsafe { take(self.raw, wait, most) }, _consumer: std::marker::PhantomData }
    }
}

/// SAFETY: the queue must be alive.
unsafe fn take(queue: *mut rd::rd_kafka_queue_t, wait: Duration, most: usize) -> Vec<*mut rd::rd_kafka_message_t> {
    let mut raw: Vec<*mut rd::rd_kafka_message_t> = vec![ptr::null_mut(); most.max(1)];
    let milliseconds = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the array has room for as many messages as are asked for. With a time to wait, librdkafka waits until all are
    // there: so first one with it, then the others without.
    let count = unsafe {
        let first = rd::rd_kafka_consume_batch_queue(queue, milliseconds, raw.as_mut_ptr(), 1).max(0) as usize;
        match first {
            0 => 0,
            _ if most <= 1 => 1,
            _ => 1 + rd::rd_kafka_consume_batch_queue(queue, 0, raw.as_mut_ptr().add(1), most - 1).max(0) as usize,
        }
    };
    raw.truncate(count);
    raw
}

impl Queue<'_> {
    /// How many records, and lines of the log, wait to be taken.
    pub fn waiting(&self) -> usize {
        // SAFETY: a queue that is given back in `drop`.
        unsafe { rd::rd_kafka_queue_length(self.raw) }
    }
}

/// Sends the log lines that wait on a consumer's queue to its [`Watch`], unless they come there by a reader anyway.
pub fn hear_log(consumer: &BaseConsumer<Watch>) {
    if consumer.context().has_reader() {
        return;
    }
    if let Some(queue) = Queue::open(consumer) {
        drop(queue.take(Duration::ZERO, 1));
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_queue_get_consumer`, given back once.
        unsafe { rd::rd_kafka_queue_destroy(self.raw) }
    }
}

impl Records<'_> {
    pub fn iter(&self) -> impl Iterator<Item = Fetch<'_>> {
        // SAFETY: messages we own until `drop`.
        self.raw.iter().map(|raw| fetch(unsafe { &**raw }))
    }
}

fn fetch(raw: &rd::rd_kafka_message_t) -> Fetch<'_> {
    match raw.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Fetch::Record(Record { raw }),
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            Fetch::End { partition: raw.partition, position: raw.offset }
        }
        error => {
            // SAFETY: the text belongs to the message; for an error it is its payload or a static one.
            let message = unsafe { text(rd::rd_kafka_message_errstr(raw)) };
            Fetch::Failed { partition: raw.partition, error, message }
        }
    }
}

/// The records of one partition, apart from the consumer's other ones, and those that were taken but not looked at yet.
pub struct PartitionQueue {
    raw: *mut rd::rd_kafka_queue_t,
    taken: VecDeque<*mut rd::rd_kafka_message_t>,
    /// Outlives both.
    _consumer: Arc<BaseConsumer<Watch>>,
}

// SAFETY: librdkafka's queues and messages belong to no thread.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// To be made before the partition is assigned: what is fetched later comes here and not on the consumer's queue.
    pub fn of(consumer: &Arc<BaseConsumer<Watch>>, topic: &str, partition: i32) -> Option<PartitionQueue> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: a live client, a terminated name; the queue is given back in `drop`.
        let raw = unsafe {
            let raw = rd::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition);
            if !raw.is_null() {
                rd::rd_kafka_queue_forward(raw, ptr::null_mut());
            }
            raw
        };
        (!raw.is_null()).then(|| PartitionQueue { raw, taken: VecDeque::new(), _consumer: consumer.clone() })
    }

    /// As [`Queue::take`]; what comes stands behind what was taken before.
    pub fn take(&mut self, wait: Duration, most: usize) {
        // SAFETY: a queue that is given back in `drop`.
        self.taken.extend(unsafe { take(self.raw, wait, most) });
    }

    /// The first of what was taken.
    pub fn front(&self) -> Option<Fetch<'_>> {
        // SAFETY: a message we own until `pop`, or `drop`.
        self.taken.front().map(|raw| fetch(unsafe { &**raw }))
    }

    pub fn pop(&mut self) {
        if let Some(raw) = self.taken.pop_front() {
            // SAFETY: owned by us, given back once; nobody has it borrowed.
            unsafe { rd::rd_kafka_message_destroy(raw) }
        }
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        while !self.taken.is_empty() {
            self.pop();
        }
        // SAFETY: made by `rd_kafka_queue_get_partition`, given back once.
        unsafe { rd::rd_kafka_queue_destroy(self.raw) }
    }
}

impl Drop for Records<'_> {
    fn drop(&mut self) {
        for raw in &self.raw {
            // SAFETY: each message is owned by us and given back once; no record outlives the batch.
            unsafe { rd::rd_kafka_message_destroy(*raw) }
        }
    }
}

impl<'a> Record<'a> {
    pub fn partition(&self) -> i32 {
        self.raw.partition
    }
    pub fn offset(&self) -> i64 {
        self.raw.offset
    }
    pub fn key(&self) -> Option<&'a [u8]> {
        bytes(self.raw.key as *const u8, self.raw.key_len)
    }
    pub fn value(&self) -> Option<&'a [u8]> {
        bytes(self.raw.payload as *const u8, self.raw.len)
    }

    /// Bytes of its key and value.
    pub fn bytes(&self) -> usize {
        self.raw.key_len + self.raw.len
    }

    /// Microseconds since 1970, where the record has a time.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: a live message.
        let millis = unsafe { rd::rd_kafka_message_timestamp(self.raw, &mut kind) };
        match kind {
            rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => None,
            _ => millis.checked_mul(1000).filter(|_| millis >= 0),
        }
    }

    /// Name and value of each header, in order.
    pub fn headers(&self) -> Vec<(String, Option<&'a [u8]>)> {
        let mut found = Vec::new();
        let mut headers: *mut rd::rd_kafka_headers_t = ptr::null_mut();
        // SAFETY: a live message; headers, names and values belong to it. The headers are parsed at the first call, which librdkafka allows
        // through a const pointer.
        unsafe {
            if rd::rd_kafka_message_headers(self.raw, &mut headers) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return found;
            }
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            while rd::rd_kafka_header_get_all(headers, found.len(), &mut name, &mut value, &mut size)
                == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                found.push((text(name), bytes(value as *const u8, size)));
            }
        }
        found
    }
}

/// A piece of a message; no pointer means NULL, which is not the same as empty.
fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: callers pass pointer and length of one piece of a live message.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, length) })
}

/// A C string as text; nothing for a null pointer.
unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: the caller passes a terminated string.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

/// One past the newest record of a partition, as of the last fetch. Asks nobody.
pub fn cached_end(consumer: &BaseConsumer<Watch>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: a live client, a terminated name, two integers to write to.
    let error = unsafe {
        rd::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// librdkafka's name of an error.
pub fn describe(error: RDKafkaRespErr) -> String {
    // SAFETY: gives a static string.
    unsafe { text(rd::rd_kafka_err2str(error)) }
}

/// Why a topic's id is not known.
pub enum NoTopicId {
    Missing,
    Failed(String),
}

/// The id that Kafka gave the topic when it was made; empty for brokers older than 2.8, which give none.
pub fn topic_id(consumer: &BaseConsumer<Watch>, topic: &str, wait: Duration) -> Result<String, NoTopicId> {
    let failed = |message: &str| NoTopicId::Failed(message.to_string());
    let name = CString::new(topic).map_err(|_| NoTopicId::Missing)?;
    let client = consumer.client().native_ptr();
    let milliseconds = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: every object made here is given back here; what the result points to is copied before that.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let options = rd::rd_kafka_AdminOptions_new(client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let mut problem = [0 as c_char; 256];
        rd::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, problem.as_mut_ptr(), problem.len());
        let queue = rd::rd_kafka_queue_new(client);
        rd::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = rd::rd_kafka_queue_poll(queue, milliseconds.saturating_add(500));
        let answer = if event.is_null() {
            Err(failed("no answer"))
        } else if rd::rd_kafka_event_error(event) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            Err(NoTopicId::Failed(text(rd::rd_kafka_event_error_string(event))))
        } else {
            let mut count = 0;
            let result = rd::rd_kafka_event_DescribeTopics_result(event);
            match result.is_null() {
                true => Err(failed("an answer to another question")),
                false => match rd::rd_kafka_DescribeTopics_result_topics(result, &mut count) {
                    found if found.is_null() || count == 0 => Err(NoTopicId::Missing),
                    found => described_id(*found),
                },
            }
        };
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_queue_destroy(queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_TopicCollection_destroy(topics);
        answer
    }
}

/// SAFETY: the description must be alive.
unsafe fn described_id(description: *const rd::rd_kafka_TopicDescription_t) -> Result<String, NoTopicId> {
    // SAFETY: as above.
    unsafe {
        let error = rd::rd_kafka_TopicDescription_error(description);
        match rd::rd_kafka_error_code(error) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                let id = text(rd::rd_kafka_Uuid_base64str(rd::rd_kafka_TopicDescription_topic_id(description)));
                // The id of no topic is all zeros.
                Ok(if id.bytes().all(|byte| byte == b'A') { String::new() } else { id })
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION => Err(NoTopicId::Missing),
            _ => Err(NoTopicId::Failed(text(rd::rd_kafka_error_string(error)))),
        }
    }
}

/// librdkafka's log callback. Lines are queued with the records and come out of [`Queue::take`], before any record that was
/// fetched after them.
unsafe extern "C" fn log_line(
    client: *const rd::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: the opaque pointer of every client made by `client.rs` is its Watch, which lives as long as the client.
    unsafe {
        let watch = rd::rd_kafka_opaque(client) as *const Watch;
        if let Some(watch) = watch.as_ref() {
            watch.log_line(level, &text(facility), &text(line));
        }
    }
}
