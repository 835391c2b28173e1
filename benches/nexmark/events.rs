//! Nexmark's events as JSON, and the columns a decoder may want of them.

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;
use riverrun::types::{Column, StructField, Type};

/// 2015-07-15 00:00 UTC, as the connector `nexmark` has it.
const BASE_TIME: u64 = 1_436_918_400_000;

/// `count` messages from event `first` on, as a Kafka producer of Nexmark events writes them; event time runs at `rate` events a second.
pub fn messages(first: usize, count: usize, rate: usize) -> Vec<Vec<u8>> {
    let config = NexmarkConfig {
        base_time: BASE_TIME,
        first_rate: rate,
        next_rate: rate,
        out_of_order_group_size: 1,
        ..NexmarkConfig::default()
    };
    let events = EventGenerator::new(config).with_offset(first as u64);
    events.take(count).map(|event| to_json(&event).to_string().into_bytes()).collect()
}

fn to_json(event: &Event) -> serde_json::Value {
    use serde_json::json;
    match event {
        Event::Person(p) => json!({"event_type": 0, "person": {
            "id": p.id, "name": p.name, "email_address": p.email_address, "credit_card": p.credit_card,
            "city": p.city, "state": p.state, "date_time": p.date_time, "extra": p.extra}}),
        Event::Auction(a) => json!({"event_type": 1, "auction": {
            "id": a.id, "item_name": a.item_name, "description": a.description, "initial_bid": a.initial_bid,
            "reserve": a.reserve, "date_time": a.date_time, "expires": a.expires, "seller": a.seller,
            "category": a.category, "extra": a.extra}}),
        Event::Bid(b) => json!({"event_type": 2, "bid": {
            "auction": b.auction, "bidder": b.bidder, "price": b.price, "channel": b.channel, "url": b.url,
            "date_time": b.date_time, "extra": b.extra}}),
    }
}

fn structure(fields: &[(&str, Type)]) -> Type {
    Type::Struct(fields.iter().map(|(name, ty)| StructField { name: name.to_string(), ty: ty.clone() }).collect())
}

pub fn all_columns() -> Vec<Column> {
    use Type::{Int8, Text, Timestamp};
    let person = [
        ("id", Int8),
        ("name", Text),
        ("email_address", Text),
        ("credit_card", Text),
        ("city", Text),
        ("state", Text),
        ("date_time", Timestamp),
        ("extra", Text),
    ];
    let auction = [
        ("id", Int8),
        ("item_name", Text),
        ("description", Text),
        ("initial_bid", Int8),
        ("reserve", Int8),
        ("date_time", Timestamp),
        ("expires", Timestamp),
        ("seller", Int8),
        ("category", Int8),
        ("extra", Text),
    ];
    let bid = [
        ("auction", Int8),
        ("bidder", Int8),
        ("price", Int8),
        ("channel", Text),
        ("url", Text),
        ("date_time", Timestamp),
        ("extra", Text),
    ];
    vec![
        Column::new("event_type", Int8),
        Column::new("person", structure(&person)),
        Column::new("auction", structure(&auction)),
        Column::new("bid", structure(&bid)),
    ]
}

pub fn two_columns() -> Vec<Column> {
    vec![Column::new("bid", structure(&[("auction", Type::Int8), ("price", Type::Int8)]))]
}
