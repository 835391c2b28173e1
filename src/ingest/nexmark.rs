//! `connector = 'nexmark'`: the events of the Nexmark benchmark (persons, auctions, bids; 1 : 3 : 46), made by the `nexmark` crate, whose
//! event n is a function of n and the options.
//!
//! Offsets are event numbers. Columns are found by name, without regard to case and underscores:
//!
//! | column                                 | holds |
//! |----------------------------------------|-------|
//! | `event_type`                           | 0 person, 1 auction, 2 bid |
//! | `person`, `auction`, `bid` as STRUCTs  | the event of that kind, else NULL; fields by name |
//! | `person_FIELD`, `auction_FIELD`, `bid_FIELD` | one field, NULL for the other kinds |
//! | `date_time`                            | the event's time, whatever its kind |
//!
//! With `table.type` = `person`, `auction` or `bid` only those events are rows, and columns are their fields.
//! Event time runs at `event.rate` events a second from `base.time.millis`; `rows.per.second` is how fast events come (as fast, by
//! default; 0: as fast as they are taken).

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, SchemaRef};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Event, EventType};

use super::generator::{Generator, GeneratorSource};
use super::options::{invalid, number};
use crate::catalog::{Connector, Relation};
use crate::error::{Error, Result, SqlState};
use crate::types::{Column, Type};

/// 2015-07-15 00:00 UTC, where the Java generator begins as well.
const BASE_TIME_MILLIS: u64 = 1_436_918_400_000;
const EVENT_RATE: u64 = 10_000;

pub struct Nexmark {
    schema: SchemaRef,
    columns: Vec<Plan>,
    /// With `table.type`: the kind whose events are rows.
    only: Option<Who>,
    config: NexmarkConfig,
    /// Made at the first rows: its tables take a moment.
    generator: OnceLock<EventGenerator>,
}

/// Whose field: of one kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Person,
    Auction,
    Bid,
}

/// What a column holds.
enum Plan {
    EventType(Type),
    /// The time of any event.
    DateTime(Type),
    Field(Who, Field, Type),
    Struct(Who, Vec<(Field, Type)>, DataType),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Name,
    EmailAddress,
    CreditCard,
    City,
    State,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    Auction,
    Bidder,
    Price,
    Channel,
    Url,
    DateTime,
    Extra,
}

const PERSON: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("name", Field::Name),
    ("emailaddress", Field::EmailAddress),
    ("creditcard", Field::CreditCard),
    ("city", Field::City),
    ("state", Field::State),
    ("datetime", Field::DateTime),
    ("extra", Field::Extra),
];
const AUCTION: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("itemname", Field::ItemName),
    ("description", Field::Description),
    ("initialbid", Field::InitialBid),
    ("reserve", Field::Reserve),
    ("datetime", Field::DateTime),
    ("expires", Field::Expires),
    ("seller", Field::Seller),
    ("category", Field::Category),
    ("extra", Field::Extra),
];
const BID: &[(&str, Field)] = &[
    ("auction", Field::Auction),
    ("bidder", Field::Bidder),
    ("price", Field::Price),
    ("channel", Field::Channel),
    ("url", Field::Url),
    ("datetime", Field::DateTime),
    ("extra", Field::Extra),
];

/// Checks the options and the columns.
pub fn source(stream: &Relation, connector: &Connector) -> Result<GeneratorSource<Nexmark>> {
    let only = match connector.option("table.type").map(str::to_ascii_lowercase).as_deref() {
        None => None,
        Some("person") => Some(Who::Person),
        Some("auction") => Some(Who::Auction),
        Some("bid") => Some(Who::Bid),
        Some(other) => {
            return Err(invalid(format!("invalid value for option \"table.type\": \"{other}\""))
                .with_hint("It is person, auction or bid; without it all three kinds come in one stream."));
        }
    };
    let config = config(connector)?;
    let columns = stream.columns.iter().map(|column| Plan::new(column, only));
    let columns = columns.collect::<Result<_>>()?;
    let rate = number(connector, "rows.per.second", config.first_rate as u64, 0..=1_000_000_000)?;
    let events = match number(connector, "events.num", u64::MAX, 0..=i64::MAX as u64) {
        Ok(u64::MAX) => None,
        other => Some(other?),
    };
    let mut identity = "nexmark 0.2 1".to_string();
    for (name, value) in connector.options.iter().filter(|(name, _)| name != "events.num" && name != "rows.per.second")
    {
        let _ = write!(identity, "; {name} = {value}");
    }
    let nexmark = Nexmark { schema: stream.stored_schema(), columns, only, config, generator: OnceLock::new() };
    Ok(GeneratorSource::new(nexmark, identity, rate, events))
}

fn config(connector: &Connector) -> Result<NexmarkConfig> {
    let get = |name: &str, default: usize, most: u64| -> Result<usize> {
        Ok(number(connector, name, default as u64, 1..=most)? as usize)
    };
    let base = NexmarkConfig::default();
    let rate = get("event.rate", EVENT_RATE as usize, 1_000_000_000)?;
    Ok(NexmarkConfig {
        base_time: number(connector, "base.time.millis", BASE_TIME_MILLIS, 0..=4_102_444_800_000)?,
        first_rate: rate,
        next_rate: rate,
        person_proportion: get("person.proportion", base.person_proportion, 1000)?,
        auction_proportion: get("auction.proportion", base.auction_proportion, 1000)?,
        bid_proportion: get("bid.proportion", base.bid_proportion, 1000)?,
        hot_auction_ratio: get("hot.auction.ratio", base.hot_auction_ratio, 1_000_000)?,
        hot_bidder_ratio: get("hot.bidder.ratio", base.hot_bidder_ratio, 1_000_000)?,
        hot_seller_ratio: get("hot.seller.ratio", base.hot_seller_ratio, 1_000_000)?,
        hot_channel_ratio: get("hot.channel.ratio", base.hot_channel_ratio, 1_000_000)?,
        active_people: get("active.people", base.active_people, 1_000_000_000)?,
        in_flight_auctions: get("in.flight.auctions", base.in_flight_auctions, 1_000_000_000)?,
        out_of_order_group_size: get("out.of.order.group.size", 1, 1_000_000)?,
        ..base
    })
}

/// A name without case and underscores.
fn folded(name: &str) -> String {
    name.to_lowercase().replace('_', "")
}

impl Who {
    fn fields(self) -> &'static [(&'static str, Field)] {
        match self {
            Who::Person => PERSON,
            Who::Auction => AUCTION,
            Who::Bid => BID,
        }
    }

    fn field(self, name: &str) -> Option<Field> {
        let name = folded(name);
        self.fields().iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    fn of(event: &Event) -> Who {
        match event.event_type() {
            EventType::Person => Who::Person,
            EventType::Auction => Who::Auction,
            EventType::Bid => Who::Bid,
        }
    }
}

impl Plan {
    fn new(column: &Column, only: Option<Who>) -> Result<Plan> {
        let name = folded(&column.name);
        let unknown = || {
            let hint = match only {
                Some(who) => {
                    format!(
                        "Columns are {}.",
                        who.fields().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
                    )
                }
                None => "Columns are event_type, date_time, the structs person, auction and bid, or their fields with \
                         the kind in front, as in bid_price."
                    .to_string(),
            };
            Error::new(SqlState::UNDEFINED_COLUMN, format!("connector 'nexmark' has no column \"{}\"", column.name))
                .with_hint(hint)
        };
        if let Some(who) = only {
            let field = who.field(&name).ok_or_else(unknown)?;
            return Ok(Plan::Field(who, field, field.checked(&column.name, &column.ty)?));
        }
        if name == "eventtype" {
            return match column.ty {
                Type::Int4 | Type::Int8 => Ok(Plan::EventType(column.ty.clone())),
                _ => Err(wrong_type(&column.name, "integer or bigint")),
            };
        }
        if name == "datetime" {
            return Ok(Plan::DateTime(Field::DateTime.checked(&column.name, &column.ty)?));
        }
        for (prefix, who) in [("person", Who::Person), ("auction", Who::Auction), ("bid", Who::Bid)] {
            if name == prefix {
                let Type::Struct(fields) = &column.ty else { return Err(wrong_type(&column.name, "a STRUCT")) };
                let fields = fields.iter().map(|field| {
                    let known = who.field(&field.name).ok_or_else(unknown)?;
                    Ok((known, known.checked(&field.name, &field.ty)?))
                });
                return Ok(Plan::Struct(who, fields.collect::<Result<_>>()?, column.ty.arrow()));
            }
            // `bidder` is no field of a bid called `der`: a prefix is one only where a field follows.
            if let Some(field) = name.strip_prefix(prefix).and_then(|rest| who.field(rest)) {
                return Ok(Plan::Field(who, field, field.checked(&column.name, &column.ty)?));
            }
        }
        Err(unknown())
    }

    fn array(&self, events: &[Event]) -> Result<ArrayRef> {
        Ok(match self {
            Plan::EventType(ty) => {
                let kinds = events.iter().map(|event| Some(Who::of(event) as i64));
                integers(kinds, ty)?
            }
            Plan::DateTime(ty) => times(events.iter().map(|event| Some(event.timestamp())), ty)?,
            Plan::Field(who, field, ty) => field.array(*who, events, ty)?,
            Plan::Struct(who, fields, arrow) => {
                let arrays =
                    fields.iter().map(|(field, ty)| field.array(*who, events, ty)).collect::<Result<Vec<_>>>()?;
                let DataType::Struct(fields) = arrow else { return Err(Error::internal("a struct is no struct")) };
                let present: NullBuffer = events.iter().map(|event| Who::of(event) == *who).collect();
                Arc::new(StructArray::try_new(fields.clone(), arrays, Some(present))?)
            }
        })
    }
}

fn wrong_type(column: &str, expected: &str) -> Error {
    Error::new(SqlState::DATATYPE_MISMATCH, format!("column \"{column}\" of connector 'nexmark' must be {expected}"))
}

impl Field {
    /// The type, if the field can have it (42804).
    fn checked(self, column: &str, ty: &Type) -> Result<Type> {
        use Field::*;
        let (fits, expected) = match self {
            DateTime | Expires => {
                (matches!(ty, Type::Timestamp | Type::Timestamptz | Type::Int8), "timestamp, timestamptz or bigint")
            }
            Id | InitialBid | Reserve | Seller | Category | Auction | Bidder | Price => {
                (matches!(ty, Type::Int8 | Type::Int4), "bigint or integer")
            }
            _ => (matches!(ty, Type::Text | Type::Varchar(None)), "text or varchar"),
        };
        if fits { Ok(ty.clone()) } else { Err(wrong_type(column, expected)) }
    }

    fn array(self, who: Who, events: &[Event], ty: &Type) -> Result<ArrayRef> {
        match ty {
            Type::Text | Type::Varchar(_) => {
                let mut builder = StringBuilder::with_capacity(events.len(), events.len() * 16);
                for event in events {
                    builder.append_option(self.text(who, event));
                }
                Ok(Arc::new(builder.finish()))
            }
            _ if matches!(self, Field::DateTime | Field::Expires) => {
                times(events.iter().map(|event| self.number(who, event)), ty)
            }
            _ => integers(events.iter().map(|event| self.number(who, event).map(|number| number as i64)), ty),
        }
    }

    fn number(self, who: Who, event: &Event) -> Option<u64> {
        let number = match (who, event) {
            (Who::Person, Event::Person(person)) => match self {
                Field::Id => person.id as u64,
                Field::DateTime => person.date_time,
                _ => return None,
            },
            (Who::Auction, Event::Auction(auction)) => match self {
                Field::Id => auction.id as u64,
                Field::InitialBid => auction.initial_bid as u64,
                Field::Reserve => auction.reserve as u64,
                Field::DateTime => auction.date_time,
                Field::Expires => auction.expires,
                Field::Seller => auction.seller as u64,
                Field::Category => auction.category as u64,
                _ => return None,
            },
            (Who::Bid, Event::Bid(bid)) => match self {
                Field::Auction => bid.auction as u64,
                Field::Bidder => bid.bidder as u64,
                Field::Price => bid.price as u64,
                Field::DateTime => bid.date_time,
                _ => return None,
            },
            _ => return None,
        };
        Some(number)
    }

    fn text(self, who: Who, event: &Event) -> Option<&str> {
        let text = match (who, event) {
            (Who::Person, Event::Person(person)) => match self {
                Field::Name => &person.name,
                Field::EmailAddress => &person.email_address,
                Field::CreditCard => &person.credit_card,
                Field::City => &person.city,
                Field::State => &person.state,
                Field::Extra => &person.extra,
                _ => return None,
            },
            (Who::Auction, Event::Auction(auction)) => match self {
                Field::ItemName => &auction.item_name,
                Field::Description => &auction.description,
                Field::Extra => &auction.extra,
                _ => return None,
            },
            (Who::Bid, Event::Bid(bid)) => match self {
                Field::Channel => &bid.channel,
                Field::Url => &bid.url,
                Field::Extra => &bid.extra,
                _ => return None,
            },
            _ => return None,
        };
        Some(text)
    }
}

fn integers(values: impl Iterator<Item = Option<i64>>, ty: &Type) -> Result<ArrayRef> {
    if *ty == Type::Int8 {
        return Ok(Arc::new(values.collect::<Int64Array>()));
    }
    let narrow = values.map(|value| match value {
        None => Ok(None),
        Some(value) => i32::try_from(value).map(Some).map_err(|_| {
            Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{value} is out of range for integer"))
        }),
    });
    Ok(Arc::new(narrow.collect::<Result<Int32Array>>()?))
}

/// Milliseconds as the type wants them.
fn times(values: impl Iterator<Item = Option<u64>>, ty: &Type) -> Result<ArrayRef> {
    if *ty == Type::Int8 {
        return Ok(Arc::new(values.map(|millis| millis.map(|millis| millis as i64)).collect::<Int64Array>()));
    }
    let micros = values.map(|millis| millis.map(|millis| millis as i64 * 1000));
    Ok(Arc::new(micros.collect::<TimestampMicrosecondArray>().with_data_type(ty.arrow())))
}

impl Generator for Nexmark {
    fn rows(&self, start: i64, next: i64) -> Result<RecordBatch> {
        let generator = self.generator.get_or_init(|| EventGenerator::new(self.config.clone()));
        let events = generator.clone().with_offset(start as u64).take((next - start).max(0) as usize);
        let events: Vec<Event> = match self.only {
            Some(who) => events.filter(|event| Who::of(event) == who).collect(),
            None => events.collect(),
        };
        let columns = self.columns.iter().map(|column| column.array(&events)).collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

    use super::*;
    use crate::ingest::connect;
    use crate::ingest::tests::{relation, rows_of};
    use crate::types::StructField;

    fn structure(fields: &[(&str, Type)]) -> Type {
        Type::Struct(fields.iter().map(|(name, ty)| StructField { name: name.to_string(), ty: ty.clone() }).collect())
    }

    fn wide() -> Vec<Column> {
        vec![
            Column::new("event_type", Type::Int8),
            Column::new("person", structure(&[("id", Type::Int8), ("emailAddress", Type::Text)])),
            Column::new("auction", structure(&[("id", Type::Int8), ("expires", Type::Timestamp)])),
            Column::new("bid_auction", Type::Int8),
            Column::new("bid_bidder", Type::Int8),
            Column::new("dateTime", Type::Timestamp),
        ]
    }

    #[test]
    fn one_stream_of_all_three_kinds() {
        let stream = relation(wide(), "nexmark", &[("events.num", "5000")], &[]);
        let rows = rows_of(&*connect(&stream, None).unwrap(), 0, 5_000);
        let kinds = rows.column(0).as_primitive::<Int64Type>();
        let count = |kind: i64| kinds.values().iter().filter(|found| **found == kind).count();
        assert_eq!((count(0), count(1), count(2)), (100, 300, 4_600));
        for (column, kind) in [(1, 0), (2, 1), (3, 2)] {
            for row in 0..5_000 {
                assert_eq!(rows.column(column).is_valid(row), kinds.value(row) == kind, "{row}");
            }
        }
        // The first person, as the crate's own test has it; times follow the rate: 10,000 a second.
        let person = rows.column(1).as_struct();
        assert_eq!(person.column(0).as_primitive::<Int64Type>().value(0), 1000);
        assert_eq!(person.column(1).as_string::<i32>().value(0), "yplkvgz@qbxfg.com");
        let times = rows.column(5).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), 1_436_918_400_000_000);
        assert_eq!(times.value(4_990) - times.value(0), 499_000);
    }

    #[test]
    fn events_come_again_the_same_and_by_kind() {
        let stream = relation(wide(), "nexmark", &[], &[]);
        let whole = rows_of(&*connect(&stream, None).unwrap(), 0, 10_000);
        let again = connect(&stream, None).unwrap();
        for (start, next) in [(0, 3), (4_000, 4_200), (8_190, 10_000)] {
            assert_eq!(rows_of(&*again, start, next), whole.slice(start as usize, (next - start) as usize));
        }
        let bids = vec![Column::new("auction", Type::Int8), Column::new("url", Type::Text)];
        let stream = relation(bids, "nexmark", &[("table.type", "Bid")], &[]);
        let bids = rows_of(&*connect(&stream, None).unwrap(), 0, 10_000);
        assert_eq!(bids.num_rows(), 9_200);
        let wide: Vec<i64> = whole.column(3).as_primitive::<Int64Type>().iter().flatten().collect();
        assert_eq!(bids.column(0).as_primitive::<Int64Type>().values().as_ref(), wide.as_slice());
    }

    #[test]
    fn columns_and_options_are_checked() {
        let cases = [
            (vec![Column::new("colour", Type::Text)], vec![], "42703"),
            (vec![Column::new("person", structure(&[("price", Type::Int8)]))], vec![], "42703"),
            (vec![Column::new("bid", Type::Text)], vec![], "42804"),
            (vec![Column::new("bid_price", Type::Text)], vec![], "42804"),
            (vec![Column::new("bid_price", Type::Int8)], vec![("table.type", "seller")], "22023"),
            (vec![Column::new("bid_price", Type::Int8)], vec![("event.rate", "0")], "22023"),
        ];
        for (columns, options, state) in cases {
            let stream = relation(columns.clone(), "nexmark", &options, &[]);
            let error = connect(&stream, None).err().unwrap_or_else(|| panic!("{columns:?} {options:?} was accepted"));
            assert_eq!(error.state().0, state, "{error:?}");
        }
    }
}
