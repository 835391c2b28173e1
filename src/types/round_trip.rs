//! Property tests over every scalar type: what is printed reads back as the same value, in text and in binary, alone
//! and as an element of an array.

use std::sync::Arc;

use arrow::array::ListArray;
use arrow::datatypes::{IntervalMonthDayNano, i256};
use bytes::BytesMut;
use datafusion::common::ScalarValue;
use proptest::prelude::*;

use super::datetime::DAY;
use super::text::{TextSettings, parse_scalar, print_scalar};
use super::{Type, Zone, binary, json};

/// A NUL cannot reach the server, and JSON cannot hold it.
fn text() -> impl Strategy<Value = String> {
    ".{0,12}".prop_map(|text| text.replace('\0', ""))
}

fn value() -> impl Strategy<Value = (Type, ScalarValue)> {
    let days = -700_000..2_900_000i32;
    let micros = -700_000 * DAY..2_900_000 * DAY;
    let zoned = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
    prop_oneof![
        any::<bool>().prop_map(|v| (Type::Bool, ScalarValue::Boolean(Some(v)))),
        any::<i16>().prop_map(|v| (Type::Int2, ScalarValue::Int16(Some(v)))),
        any::<i32>().prop_map(|v| (Type::Int4, ScalarValue::Int32(Some(v)))),
        any::<i64>().prop_map(|v| (Type::Int8, ScalarValue::Int64(Some(v)))),
        any::<f32>().prop_map(|v| (Type::Float4, ScalarValue::Float32(Some(v)))),
        any::<f64>().prop_map(|v| (Type::Float8, ScalarValue::Float64(Some(v)))),
        (-(10i128.pow(20))..10i128.pow(20))
            .prop_map(|v| (Type::fixed_numeric(20, 6), ScalarValue::Decimal128(Some(v), 20, 6))),
        any::<i128>().prop_map(|v| (Type::NUMERIC, ScalarValue::Decimal256(Some(i256::from_i128(v)), 76, 38))),
        text().prop_map(|v| (Type::Text, ScalarValue::Utf8(Some(v)))),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(|v| (Type::Bytea, ScalarValue::Binary(Some(v)))),
        days.prop_map(|v| (Type::Date, ScalarValue::Date32(Some(v)))),
        (0..DAY).prop_map(|v| (Type::Time, ScalarValue::Time64Microsecond(Some(v)))),
        micros.clone().prop_map(|v| (Type::Timestamp, ScalarValue::TimestampMicrosecond(Some(v), None))),
        micros.prop_map(move |v| (Type::Timestamptz, zoned(v))),
        (-10_000..10_000i32, -10_000..10_000i32, -DAY * 400..DAY * 400).prop_map(|(months, days, micros)| {
            let value = IntervalMonthDayNano::new(months, days, micros * 1000);
            (Type::Interval, ScalarValue::IntervalMonthDayNano(Some(value)))
        }),
        any::<[u8; 16]>().prop_map(|v| (Type::Uuid, ScalarValue::FixedSizeBinary(16, Some(v.to_vec())))),
        any::<u32>().prop_map(|v| (Type::Oid, ScalarValue::UInt32(Some(v)))),
        text().prop_map(|v| {
            let text = json::Value::object(vec![(v.clone(), json::Value::String(v))]).to_text();
            (Type::Jsonb, ScalarValue::Utf8(Some(text)))
        }),
    ]
}

/// NaN is itself here, and a zero keeps its sign.
fn same(a: &ScalarValue, b: &ScalarValue) -> bool {
    match (a, b) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => {
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
        }
        (ScalarValue::Float32(Some(a)), ScalarValue::Float32(Some(b))) => {
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn text_and_binary_read_back(
        (ty, value) in value(),
        zone in prop_oneof![Just("UTC"), Just("Asia/Kolkata"), Just("<+03>-03")],
    ) {
        let settings = TextSettings::in_zone(Zone::parse(zone).unwrap());
        let printed = print_scalar(&ty, &value, &settings).unwrap().unwrap();
        let back = parse_scalar(&ty, &printed, &settings).unwrap();
        prop_assert!(same(&back, &value), "{}: {printed} came back as {back:?}", ty.name());

        let mut bytes = BytesMut::new();
        binary::printer(&ty, &value.to_array().unwrap()).unwrap()(0, &mut bytes);
        let back = binary::parse_scalar(&ty, &bytes).unwrap();
        prop_assert!(same(&back, &value), "{}: {printed} came back as {back:?} from binary", ty.name());
    }

    #[test]
    fn array_elements_read_back((ty, value) in value()) {
        prop_assume!(!matches!(&value, ScalarValue::Float32(Some(v)) if v.is_nan()));
        prop_assume!(!matches!(&value, ScalarValue::Float64(Some(v)) if v.is_nan()));
        let null = ScalarValue::try_from(&ty.arrow()).unwrap();
        let list: Arc<ListArray> = ScalarValue::new_list_nullable(&[value.clone(), null, value], &ty.arrow());
        let (array_type, list) = (Type::Array(Box::new(ty)), ScalarValue::List(list));
        let settings = TextSettings::default();
        let printed = print_scalar(&array_type, &list, &settings).unwrap().unwrap();
        prop_assert_eq!(&parse_scalar(&array_type, &printed, &settings).unwrap(), &list, "{}", printed);

        let mut bytes = BytesMut::new();
        binary::printer(&array_type, &list.to_array().unwrap()).unwrap()(0, &mut bytes);
        prop_assert_eq!(binary::parse_scalar(&array_type, &bytes).unwrap(), list);
    }

    /// Whatever a client sends, reading it answers or fails; it does not panic.
    #[test]
    fn garbage_is_an_error_or_a_value(
        (ty, _) in value(),
        text in ".{0,24}",
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let settings = TextSettings::default();
        let _ = parse_scalar(&ty, &text, &settings);
        let _ = binary::parse_scalar(&ty, &bytes);
        let array = Type::Array(Box::new(ty));
        let _ = parse_scalar(&array, &text, &settings);
        let _ = binary::parse_scalar(&array, &bytes);
    }

    /// The same for texts that look like dates, times, intervals and numbers.
    #[test]
    fn near_misses_are_an_error_or_a_value(
        text in "[-+]?[0-9TZ:. +/,-]{0,20}( ?(jan|bc|am|pm|utc|mon|day|ago|e|E|\\$)[0-9:+-]{0,4})?",
    ) {
        let settings = TextSettings { zone: Zone::UTC, now: Some(0) };
        let dates = [Type::Date, Type::Time, Type::Timestamp, Type::Timestamptz];
        for ty in dates.into_iter().chain([Type::Interval, Type::NUMERIC, Type::Jsonb]) {
            let _ = parse_scalar(&ty, &text, &settings);
        }
    }
}
