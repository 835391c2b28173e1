//! What librdkafka gives when nobody, or nobody but the decoder, looks at the records: the ceilings of everything that reads Kafka.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message as _};
use riverrun::formats::json::JsonDecoder;
use riverrun::types::Column;

/// Records decoded into one batch.
const BATCH: usize = 4096;

/// Reads `count` records of all partitions, and decodes these columns of them, if any.
pub fn consume(brokers: &str, topic: &str, partitions: i32, count: usize, columns: Option<&[Column]>) {
    let mut decoder = columns.map(|columns| JsonDecoder::new(columns).expect("a decoder"));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "bench").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
    let mut seen = 0;
    while seen < count {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => {
                seen += 1;
                if let Some(decoder) = &mut decoder {
                    decoder.push(message.payload().unwrap_or_default()).expect("a row");
                    if seen % BATCH == 0 {
                        std::hint::black_box(decoder.finish());
                    }
                }
            }
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}
