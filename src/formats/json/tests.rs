//! Records of every kind, good and bad, judged by the declared schema alone.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::*;
use crate::types::{Numeric, StructField, Type, arrow_schema};

fn column(name: &str, ty: Type) -> Column {
    Column::new(name, ty)
}

fn required(name: &str, ty: Type) -> Column {
    Column { not_null: true, ..Column::new(name, ty) }
}

/// The rows and the reasons, in order.
fn decode(columns: &[Column], records: &[&str]) -> (RecordBatch, Vec<String>) {
    let mut decoder = JsonDecoder::new(columns).unwrap();
    let reasons = records.iter().filter_map(|record| decoder.push(record.as_bytes()).err()).collect();
    (RecordBatch::try_new(arrow_schema(columns), decoder.finish()).unwrap(), reasons)
}

/// The only column's only value as text, or the reason why there is none.
fn one(ty: Type, value: &str) -> Result<String, String> {
    let columns = [column("v", ty)];
    let (rows, reasons) = decode(&columns, &[&format!("{{\"v\": {value}}}")]);
    match reasons.into_iter().next() {
        Some(reason) => Err(reason),
        None => {
            let options = FormatOptions::new().with_null("NULL");
            Ok(ArrayFormatter::try_new(rows.column(0), &options).unwrap().value(0).to_string())
        }
    }
}

fn rejects(columns: &[Column], record: &[u8]) -> String {
    let mut decoder = JsonDecoder::new(columns).unwrap();
    let reason = decoder.push(record).expect_err(&String::from_utf8_lossy(record));
    assert_eq!(decoder.rows(), 0);
    reason
}

#[test]
fn every_type_from_its_json_form() {
    let numeric = || Type::fixed_numeric(10, 2);
    let cases = [
        (Type::Bool, "true", "true"),
        (Type::Int2, "-32768", "-32768"),
        (Type::Int4, "2147483647", "2147483647"),
        (Type::Int8, "-9223372036854775808", "-9223372036854775808"),
        (Type::Int8, "9007199254740993", "9007199254740993"),
        (Type::Int8, "\"9007199254740993\"", "9007199254740993"),
        (Type::Int4, "5.0", "5"),
        (Type::Int4, "1.2e1", "12"),
        (Type::Float8, "0.1", "0.1"),
        (Type::Float8, "1e308", "1e308"),
        (Type::Float8, "\"NaN\"", "NaN"),
        (Type::Float8, "\"-Infinity\"", "-inf"),
        (Type::Float4, "1.5", "1.5"),
        (numeric(), "12345678.90", "12345678.90"),
        (numeric(), "\"-0.005\"", "-0.01"),
        (Type::Text, "\"a\\u00e9\\\"\"", "aé\""),
        (Type::Varchar(Some(3)), "\"abc  \"", "abc"),
        (Type::Char(3), "\"a  \"", "a"),
        (Type::Bytea, "\"\\\\x6869\"", "6869"),
        (Type::Bytea, "\"aGk=\"", "6869"),
        (Type::Date, "\"2026-02-28\"", "2026-02-28"),
        (Type::Time, "\"12:30\"", "12:30:00"),
        (Type::Timestamp, "\"2026-02-28T12:30:00.5\"", "2026-02-28T12:30:00.500"),
        (Type::Timestamp, "1700000000123", "2023-11-14T22:13:20.123"),
        (Type::Timestamptz, "\"2026-02-28 12:30:00+02:00\"", "2026-02-28T10:30:00Z"),
        (Type::Timestamptz, "1700000000123.4565", "2023-11-14T22:13:20.123457Z"),
        (Type::Date, "\"Feb 28 2026\"", "2026-02-28"),
        (Type::Timestamptz, "\"Feb 28 2026 3:00 PM +01\"", "2026-02-28T14:00:00Z"),
        (Type::Interval, "\"1 day 02:00\"", "1 days 2 hours"),
        (Type::Uuid, "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
        (Type::Jsonb, "{\"b\":[1,2],\"a\":null}", "{\"a\": null, \"b\": [1, 2]}"),
        (Type::Jsonb, "\"x\"", "\"x\""),
        (Type::Jsonb, "null", "NULL"),
        (Type::Array(Box::new(Type::Int4)), "[1, null, 3]", "[1, NULL, 3]"),
        (Type::Array(Box::new(Type::Text)), "[]", "[]"),
        (Type::Text, "null", "NULL"),
    ];
    for (ty, value, expected) in cases {
        assert_eq!(one(ty.clone(), value).as_deref(), Ok(expected), "{ty:?} {value}");
    }
}

#[test]
fn numerics_keep_every_digit() {
    let digits = "12345678901234567890123456789012345678.12345678901234567890123456789012345678";
    let (rows, reasons) = decode(&[column("v", Type::NUMERIC)], &[&format!("{{\"v\":{digits}}}")]);
    assert!(reasons.is_empty());
    let value = rows.column(0).as_primitive::<Decimal256Type>().value_as_string(0);
    assert_eq!(value, digits);
    let (rows, _) = decode(&[column("v", Type::fixed_numeric(38, 0))], &[&format!("{{\"v\":{}}}", "9".repeat(38))]);
    assert_eq!(rows.column(0).as_primitive::<Decimal128Type>().value_as_string(0), "9".repeat(38));
}

#[test]
fn wrong_values_are_rejected_with_the_field_and_the_reason() {
    let list = Type::Array(Box::new(Type::Int4));
    let cases = [
        (Type::Bool, "1", "field \"v\": found the number 1, expected true or false"),
        (Type::Int4, "\"abc\"", "field \"v\": \"abc\" is not an integer"),
        (Type::Int4, "true", "field \"v\": found true, expected an integer"),
        (Type::Int4, "1.5", "field \"v\": 1.5 is not a whole number"),
        (Type::Int4, "2147483648", "field \"v\": 2147483648 is out of range for integer"),
        (Type::Int2, "40000", "field \"v\": 40000 is out of range for smallint"),
        (Type::Int8, "9223372036854775808", "field \"v\": 9223372036854775808 is out of range for bigint"),
        (Type::Float8, "1e400", "field \"v\": 1e400 is out of range for double precision"),
        (Type::Float8, "1e-400", "field \"v\": 1e-400 is out of range for double precision"),
        (Type::Float4, "1e39", "field \"v\": 1e39 is out of range for real"),
        (Type::Float8, "\"one\"", "field \"v\": \"one\" is not a number"),
        (Type::fixed_numeric(4, 2), "100", "field \"v\": 100 is out of range for numeric(4,2)"),
        (Type::Text, "5", "field \"v\": found the number 5, expected text"),
        (Type::Text, "{\"a\":1}", "field \"v\": found an object, expected text"),
        (Type::Varchar(Some(3)), "\"abcd\"", "field \"v\": \"abcd\" is too long for character varying(3)"),
        (Type::Bytea, "\"?\"", "field \"v\": \"?\" is not bytea as text in base64 or \\x hex"),
        (Type::Date, "20000", "field \"v\": found the number 20000, expected a date as text, like \"2026-01-31\""),
        (Type::Date, "\"2026-02-30\"", "field \"v\": \"2026-02-30\" is not a date as text, like \"2026-01-31\""),
        (
            Type::Timestamp,
            "\"soon\"",
            "field \"v\": \"soon\" is not a timestamp without time zone as ISO text or milliseconds since 1970",
        ),
        (Type::Timestamptz, "1e30", "field \"v\": 1e30 is out of range for timestamp with time zone"),
        (Type::Uuid, "\"12\"", "field \"v\": \"12\" is not a uuid"),
        (list.clone(), "[1, \"x\"]", "field \"v[2]\": \"x\" is not an integer"),
        (list, "{}", "field \"v\": found an object, expected an array for integer[]"),
        (Type::Jsonb, "[1e999999]", "field \"v\": [1e999999] is not jsonb: value overflows numeric format"),
    ];
    for (ty, value, reason) in cases {
        assert_eq!(one(ty.clone(), value), Err(reason.to_string()), "{ty:?} {value}");
    }
}

#[test]
fn objects_fill_structs() {
    let point = Type::Struct(vec![
        StructField { name: "x".to_string(), ty: Type::Int4 },
        StructField { name: "tags".to_string(), ty: Type::Array(Box::new(Type::Text)) },
    ]);
    let columns = [column("p", point.clone()), column("all", Type::Array(Box::new(point)))];
    let (rows, reasons) = decode(
        &columns,
        &[
            r#"{"p": {"x": 1, "tags": ["a", "b"], "more": {"y": 2}}, "all": [{"x": 1}, null, {"X": 2}]}"#,
            r#"{"p": null}"#,
            r#"{"p": {}}"#,
            r#"{"p": {"x": "?"}}"#,
            r#"{"all": [{"x": 1}, {"tags": [1]}]}"#,
            r#"{"p": [1]}"#,
            r#"{"p": {"x": 4}, "all": []}"#,
        ],
    );
    let shown: Vec<String> = (0..rows.num_rows())
        .map(|row| {
            let options = FormatOptions::new().with_null("NULL");
            let show = |c: usize| ArrayFormatter::try_new(rows.column(c), &options).unwrap().value(row).to_string();
            format!("{} {}", show(0), show(1))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "{x: 1, tags: [a, b]} [{x: 1, tags: NULL}, NULL, {x: 2, tags: NULL}]",
            "NULL NULL",
            "{x: NULL, tags: NULL} NULL",
            "{x: 4, tags: NULL} []",
        ]
    );
    assert_eq!(
        reasons,
        [
            "field \"p.x\": \"?\" is not an integer",
            "field \"all[2].tags[1]\": found the number 1, expected text",
            "field \"p\": found an array, expected an object",
        ]
    );
}

#[test]
fn fields_match_exactly_or_else_without_case() {
    let columns = [column("price", Type::Int4), column("datetime", Type::Int4)];
    let (rows, reasons) = decode(
        &columns,
        &[
            r#"{"Price": 1, "dateTime": 10}"#,
            r#"{"price": 2, "PRICE": 99, "datetime": 20}"#,
            r#"{"PRICE": "not even a number", "price": 3}"#,
            r#"{"PRICE": 98, "PRICE": 4}"#,
            r#"{"pr\u0069ce": 5}"#,
            r#"{"Price": 1, "PRICE": 2}"#,
            r#"{"PRICE": "x"}"#,
        ],
    );
    let prices = rows.column(0).as_primitive::<Int32Type>();
    assert_eq!(prices.values().as_ref(), &[1, 2, 3, 4, 5]);
    let times: Vec<Option<i32>> = rows.column(1).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(times, [Some(10), Some(20), None, None, None]);
    assert_eq!(
        reasons,
        ["fields \"Price\" and \"PRICE\" both match column \"price\"", "field \"price\": \"x\" is not an integer"]
    );
    // Two columns that differ in case only: a third spelling belongs to neither.
    let columns = [column("a", Type::Int4), column("A", Type::Int4)];
    let (rows, _) = decode(&columns, &[r#"{"A": 2, "a": 1}"#]);
    assert_eq!(rows.column(0).as_primitive::<Int32Type>().value(0), 1);
    assert_eq!(rows.column(1).as_primitive::<Int32Type>().value(0), 2);
}

#[test]
fn not_null_is_part_of_the_schema() {
    let columns = [required("id", Type::Int8), column("note", Type::Text)];
    for record in [r#"{"note": "x"}"#, r#"{"id": null}"#, "{}"] {
        assert_eq!(rejects(&columns, record.as_bytes()), "field \"id\": null or missing, but the column is NOT NULL");
    }
    let (rows, _) = decode(&columns, &[r#"{"id": 1}"#]);
    assert!(rows.column(1).is_null(0));
}

#[test]
fn the_last_of_equal_fields_counts() {
    let columns = [column("a", Type::Text), column("b", Type::Array(Box::new(Type::Int4)))];
    let (rows, reasons) = decode(&columns, &[r#"{"a":"x","b":[1,2],"a":"y","b":[3]}"#, r#"{"a":1,"a":"y"}"#]);
    assert_eq!(rows.column(0).as_string::<i32>().value(0), "y");
    assert_eq!(rows.column(1).as_list::<i32>().value(0).as_primitive::<Int32Type>().values().as_ref(), &[3]);
    assert_eq!(reasons, ["field \"a\": found the number 1, expected text"]);
}

/// Work grows with the record, not with its square, whatever fields it repeats.
#[test]
fn many_fields_for_one_column_are_read_in_time() {
    let columns = [column("a", Type::Int4)];
    let repeated = |name: &str| format!("\"{name}\":1,").repeat(100_000);
    let began = std::time::Instant::now();
    let same = format!("{{{}\"A\":7}}", repeated("A"));
    let (rows, reasons) = decode(&columns, &[&same]);
    assert!(reasons.is_empty());
    assert_eq!(rows.column(0).as_primitive::<Int32Type>().value(0), 7);
    let exact = format!("{{{}\"a\":8}}", repeated("A"));
    assert_eq!(decode(&columns, &[&exact]).0.column(0).as_primitive::<Int32Type>().value(0), 8);
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn what_is_not_one_object_is_no_record() {
    let columns = [column("a", Type::Int4)];
    let cases: [(&[u8], &str); 13] = [
        (b"", "the record is empty, expected a JSON object"),
        (b" \n\t", "the record is empty, expected a JSON object"),
        (b"[{\"a\":1}]", "the record is an array, expected a JSON object"),
        (b"5", "the record is a number, expected a JSON object"),
        (b"null", "the record is null, expected a JSON object"),
        (b"{\"a\":1}{\"a\":2}", "the record goes on after its JSON object, at byte 7"),
        (b"{\"a\":1}\n{\"a\":2}", "the record goes on after its JSON object, at byte 8"),
        (b"{\"a\":1} x", "the record goes on after its JSON object, at byte 8"),
        (b"{\"a\":1", "not valid JSON: ends after 6 bytes, expected \",\" or \"}\""),
        (b"{\"a\" 1}", "not valid JSON: found '1' at byte 5, expected \":\""),
        (b"{\"a\":1,}", "not valid JSON: found '}' at byte 7, expected a field name in quotes"),
        (b"{\"a\":\"\xff\"}", "not valid UTF-8: broken at byte 6"),
        (b"a=1", "not valid JSON: found 'a' at byte 0, expected a value"),
    ];
    for (record, reason) in cases {
        assert_eq!(rejects(&columns, record), reason, "{}", String::from_utf8_lossy(record));
    }
    // A trailing newline is no second document.
    assert!(decode(&columns, &["{\"a\":1}\n"]).1.is_empty());
}

/// The syntax of fields that no column has counts too: what a record is does not depend on who reads which columns.
#[test]
fn fields_without_a_column_are_checked_too() {
    let columns = [column("a", Type::Int4)];
    for bad in [r#"{"a":1,"x":01}"#, r#"{"a":1,"x":[1 2]}"#, r#"{"a":1,"x":"\q"}"#, r#"{"x":{"y":tru},"a":1}"#] {
        assert!(rejects(&columns, bad.as_bytes()).starts_with("not valid JSON"), "{bad}");
    }
    assert!(decode(&columns, &[r#"{"x":{"y":[1,{"z":null}]},"a":1,"y":-0.5e+3}"#]).1.is_empty());
}

#[test]
fn nesting_is_bounded() {
    let deep = |levels: usize| format!("{{\"v\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    for ty in [Type::Jsonb, Type::Int4] {
        let columns = [column("v", ty)];
        let reason = rejects(&columns, deep(100_000).as_bytes());
        assert!(reason.contains("nested deeper than 128 levels"), "{reason}");
    }
}

#[test]
fn jsonb_does_not_swell() {
    let columns = [column("v", Type::Jsonb)];
    let bomb = format!("{{\"v\": [{}1]}}", "1e16000,".repeat(10_000));
    assert!(rejects(&columns, bomb.as_bytes()).contains("numbers with exponents make this too long"));
    assert!(decode(&columns, &[r#"{"v": [1e300, 1e-300, "e9e9e9", 1.5E+3]}"#]).1.is_empty());
    // What looks like an exponent in a string is none: hex digits, say.
    let digest = "5e999999e888888e777777e666666e55";
    let record = format!(r#"{{"v": {{"a": "e999999", "b": "e999999", "sha": ["{digest}", "{digest}"]}}}}"#);
    assert_eq!(decode(&columns, &[&record]).1, [""; 0]);
    // What is written out counts for the size of a batch.
    let mut decoder = JsonDecoder::new(&columns).unwrap();
    decoder.push(br#"{"v": [1e10000, 1e5]}"#).unwrap();
    assert!((9_900..10_100).contains(&decoder.grown()), "{}", decoder.grown());
    decoder.finish();
    assert_eq!(decoder.grown(), 0);
}

#[test]
fn a_small_record_is_no_huge_row() {
    let field = |number: usize| StructField { name: format!("c{number}"), ty: Type::Numeric(Numeric::Free) };
    let wide = Type::Struct((0..100).map(field).collect());
    let columns = [column("a", Type::Array(Box::new(wide)))];
    let items = |item: &str, count: usize| format!("{{\"a\": [{}{item}]}}", format!("{item},").repeat(count - 1));
    for item in ["{}", "null", "{\"c7\":1}", "{\"C7\":1}"] {
        let mut decoder = JsonDecoder::new(&columns).unwrap();
        let reason = decoder.push(items(item, 330_000).as_bytes()).unwrap_err();
        assert_eq!(reason, "its row would take more than 1 MB and 16 times its text");
        assert!(decoder.bytes() < 256 << 20, "{item}: {}", decoder.bytes());
        // Nothing of it is left, and the next one is judged by itself. What it takes beside its text counts for the size of the batch.
        decoder.push(items(item, 300).as_bytes()).unwrap();
        assert_eq!((decoder.rows(), decoder.grown()), (1, 4 + 300 * 3200));
        assert_eq!(decoder.finish()[0].as_list::<i32>().value(0).len(), 300);
    }
    // Values are no reason, however short they are.
    for ty in [Type::Bool, Type::Int8, Type::Numeric(Numeric::Free), Type::Text, Type::Array(Box::new(Type::Int2))] {
        let short = match ty {
            Type::Bool => "true",
            Type::Text => "\"\"",
            Type::Array(_) => "[]",
            _ => "1",
        };
        let mut decoder = JsonDecoder::new(&[column("a", Type::Array(Box::new(ty)))]).unwrap();
        decoder.push(items(short, 300_000).as_bytes()).unwrap();
        assert!(decoder.grown() >= 300_000, "{}", decoder.grown());
    }
}

#[test]
fn topics_whose_keys_are_data_are_bounded() {
    let columns = [column("a", Type::Int4)];
    let mut decoder = JsonDecoder::new(&columns).unwrap();
    for number in 0..20_000 {
        decoder.push(format!("{{\"key{number}\":{number},\"A\":1}}").as_bytes()).unwrap();
    }
    assert!(decoder.bytes() < 4 << 20, "{}", decoder.bytes());
    assert_eq!(decoder.finish()[0].as_primitive::<Int32Type>().values().iter().sum::<i32>(), 20_000);
}

#[test]
fn types_no_json_value_has_are_refused() {
    let error = JsonDecoder::new(&[column("r", Type::Regclass)]).err().unwrap();
    assert_eq!(error.state().0, "0A000");
}

/// One record: the values it holds, and how it may be broken.
#[derive(Clone, Debug)]
struct Case {
    id: i64,
    small: Option<i16>,
    ratio: Option<f64>,
    single: Option<f32>,
    name: Option<String>,
    tags: Option<Vec<Option<i32>>>,
    at: Option<i64>,
    /// Cut off here, or a byte replaced.
    damage: Option<(usize, u8)>,
}

fn case() -> impl Strategy<Value = Case> {
    let tags = prop::option::of(prop::collection::vec(prop::option::of(any::<i32>()), 0..4));
    let damage = prop::option::weighted(0.3, (any::<usize>(), any::<u8>()));
    let floats = (prop::option::of(-1e300..1e300), prop::option::of(-1e30_f32..1e30));
    let at = prop::option::of(0_i64..4_000_000_000_000);
    (any::<i64>(), prop::option::of(any::<i16>()), floats, prop::option::of("\\PC{0,12}"), tags, at, damage).prop_map(
        |(id, small, (ratio, single), name, tags, at, damage)| Case {
            id,
            small,
            ratio,
            single,
            name,
            tags,
            at,
            damage,
        },
    )
}

impl Case {
    fn json(&self) -> Vec<u8> {
        let value = serde_json::json!({
            "id": self.id, "small": self.small, "ratio": self.ratio, "single": self.single,
            "name": self.name, "tags": self.tags, "at": self.at,
        });
        let mut text = value.to_string().into_bytes();
        if let Some((position, byte)) = self.damage {
            let position = position % text.len();
            if byte < 64 {
                text.truncate(position);
            } else {
                text[position] = byte;
            }
        }
        text
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Good records come through whole whatever bad ones stand between them, and batches do not matter: the rows of a batch
    /// are those of its records decoded one by one.
    #[test]
    fn bad_records_leave_their_neighbours_alone(cases in prop::collection::vec(case(), 0..40)) {
        let columns = [
            required("id", Type::Int8), column("small", Type::Int2), column("ratio", Type::Float8),
            column("single", Type::Float4), column("name", Type::Text),
            column("tags", Type::Array(Box::new(Type::Int4))), column("at", Type::Timestamptz),
        ];
        let schema = arrow_schema(&columns);
        let mut together = JsonDecoder::new(&columns).unwrap();
        let mut alone = Vec::new();
        let mut good = Vec::new();
        for case in &cases {
            let record = case.json();
            let mut single = JsonDecoder::new(&columns).unwrap();
            let apart = single.push(&record);
            prop_assert_eq!(&together.push(&record), &apart);
            if apart.is_ok() {
                alone.push(RecordBatch::try_new(schema.clone(), single.finish()).unwrap());
            }
            if case.damage.is_none() {
                prop_assert!(apart.is_ok(), "{:?}", apart);
                good.push((alone.len() - 1, case));
            }
        }
        let together = RecordBatch::try_new(schema.clone(), together.finish()).unwrap();
        prop_assert_eq!(&together, &arrow::compute::concat_batches(&schema, &alone).unwrap());
        for (row, case) in good {
            let value = |column: usize| together.column(column);
            prop_assert_eq!(value(0).as_primitive::<Int64Type>().value(row), case.id);
            let small = value(1).is_valid(row).then(|| value(1).as_primitive::<Int16Type>().value(row));
            prop_assert_eq!(small, case.small);
            let ratio = value(2).is_valid(row).then(|| value(2).as_primitive::<Float64Type>().value(row));
            prop_assert_eq!(ratio, case.ratio);
            let single = value(3).is_valid(row).then(|| value(3).as_primitive::<Float32Type>().value(row));
            prop_assert_eq!(single, case.single);
            let name = value(4).is_valid(row).then(|| value(4).as_string::<i32>().value(row).to_string());
            prop_assert_eq!(&name, &case.name);
            let tags = value(5).is_valid(row).then(|| {
                value(5).as_list::<i32>().value(row).as_primitive::<Int32Type>().iter().collect::<Vec<_>>()
            });
            prop_assert_eq!(&tags, &case.tags);
            let at = value(6).is_valid(row).then(|| value(6).as_primitive::<TimestampMicrosecondType>().value(row));
            prop_assert_eq!(at, case.at.map(|millis| millis * 1000));
        }
    }
}
