//! What every source owes the engine; and the makings of a stream for the connectors' own tests.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::*;
use crate::catalog::{Connector, Include, RelationId};
use crate::types::{Column, Type};

/// A stream with a connector.
pub fn relation(columns: Vec<Column>, connector: &str, options: &[(&str, &str)], includes: &[Include]) -> Relation {
    let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Relation {
        id: RelationId(1),
        schema: "public".to_string(),
        name: "s".to_string(),
        kind: RelationKind::Stream(StreamDef {
            connector: Some(Connector { name: connector.to_string(), options }),
            defaults: vec![None; columns.len()],
            generated: vec![None; columns.len()],
            includes: includes.to_vec(),
        }),
        columns,
        depends_on: Vec::new(),
    }
}

/// The rows of a range of partition 0.
pub fn rows_of(source: &dyn Source, start: i64, next: i64) -> RecordBatch {
    let mut batches = Vec::new();
    let mut position = start;
    source
        .replay(Range { partition: 0, start, next }, Duration::ZERO, &mut |chunk| {
            assert_eq!(chunk.start, position);
            position = chunk.next;
            batches.push(chunk.rows);
            Ok(())
        })
        .unwrap();
    assert_eq!(position, next);
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn counter(rate: &str) -> Relation {
    let options = [
        ("fields.n.kind", "sequence"),
        ("rows.per.second", rate),
        ("number.of.rows", "20000"),
        ("fields.n.start", "0"),
    ];
    relation(vec![Column::new("n", Type::Int8)], "datagen", &options, &[])
}

#[test]
fn a_reader_gives_what_a_replay_gives() {
    let source = connect(&counter("0"), None).unwrap();
    assert_eq!(source.start_positions().unwrap(), [(0, 0)]);
    let (sender, receiver) = queue(1, QueueBytes::default());
    let statuses = Statuses::default();
    let reader = {
        let (source, statuses) = (source.clone(), statuses.clone());
        std::thread::spawn(move || source.read(vec![(0, 5_000)], sender, statuses, Stop::default()))
    };
    let mut fingerprint = Fingerprint::default();
    let mut position = 5_000;
    let mut rows = Vec::new();
    for chunk in receiver.iter() {
        assert_eq!(chunk.start, position);
        position = chunk.next;
        fingerprint.extend(chunk.fingerprint);
        rows.push(chunk.rows);
    }
    reader.join().unwrap().unwrap();
    assert_eq!(position, 20_000);
    assert_eq!(statuses.lock()[0].state, PartitionState::Finished);
    let rows = concat_batches(&rows[0].schema(), &rows).unwrap();
    assert_eq!(rows, rows_of(&*source, 5_000, 20_000));

    let mut again = Fingerprint::default();
    for (start, next) in [(5_000, 5_001), (5_001, 19_000), (19_000, 20_000)] {
        source
            .replay(Range { partition: 0, start, next }, Duration::ZERO, &mut |chunk| {
                again.extend(chunk.fingerprint);
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(again, fingerprint);
}

#[test]
fn a_generator_of_another_kind_does_not_take_over() {
    let identity = connect(&counter("0"), None).unwrap().identity().unwrap();
    connect(&counter("10"), Some(&identity)).unwrap();
    let error = connect(&counter("0"), Some("datagen 0")).err().unwrap();
    assert_eq!(error.state().0, "55000");
}

/// n counts; before it 100 / (n % 4), not NULL, and after it n as text.
fn generated() -> Relation {
    let options =
        [("fields.n.kind", "sequence"), ("fields.n.start", "0"), ("number.of.rows", "20000"), ("rows.per.second", "0")];
    let mut quotient = Column::new("quotient", Type::Int8);
    quotient.not_null = true;
    let columns = vec![quotient, Column::new("n", Type::Int8), Column::new("shown", Type::Text)];
    let mut stream = relation(columns, "datagen", &options, &[]);
    if let RelationKind::Stream(def) = &mut stream.kind {
        def.generated[0] = Some("100 / nullif(n % 4, 3)".to_string());
        def.generated[2] = Some("'no. ' || n".to_string());
    }
    stream
}

#[test]
fn generated_columns_are_computed_and_rows_they_fail_on_are_dead_letters() {
    let source = connect(&generated(), None).unwrap();
    assert_eq!(source.identity().unwrap(), connect(&without_generated(), None).unwrap().identity().unwrap());
    let mut chunks = Vec::new();
    let range = Range { partition: 0, start: 0, next: 8 };
    let mut keep = |chunk| {
        chunks.push(chunk);
        Ok(())
    };
    source.replay(range, Duration::ZERO, &mut keep).unwrap();
    let [chunk] = chunks.as_slice() else { panic!("one chunk") };
    assert_eq!(chunk.rows.schema(), generated().stored_schema());
    let shown = arrow::util::pretty::pretty_format_batches(std::slice::from_ref(&chunk.rows)).unwrap().to_string();
    let cells = shown.lines().skip(3).map(|line| line.replace([' ', '|'], "")).collect::<Vec<_>>();
    assert_eq!(cells[..4], ["1001no.1", "502no.2", "1005no.5", "506no.6"]);
    let dead: Vec<(i64, &str)> = chunk.dead.iter().map(|dead| (dead.offset, dead.reason.as_str())).collect();
    let expected = [
        (0, "generated column \"quotient\": division by zero; the row is (0)"),
        (3, "generated column \"quotient\" is NULL; the row is (3)"),
        (4, "generated column \"quotient\": division by zero; the row is (4)"),
        (7, "generated column \"quotient\" is NULL; the row is (7)"),
    ];
    assert_eq!(dead, expected);
}

/// The stream as the connector is given it.
fn without_generated() -> Relation {
    let mut stream = generated();
    stream.columns = vec![Column::new("n", Type::Int8)];
    if let RelationKind::Stream(def) = &mut stream.kind {
        def.generated = vec![None];
        def.defaults = vec![None];
    }
    stream
}

#[test]
fn a_reader_of_generated_columns_gives_what_a_replay_gives_and_stops() {
    let source = connect(&generated(), None).unwrap();
    let (sender, receiver) = queue(1, QueueBytes::default());
    let reader = {
        let source = source.clone();
        std::thread::spawn(move || source.read(vec![(0, 5_000)], sender, Statuses::default(), Stop::default()))
    };
    let rows: Vec<RecordBatch> = receiver.iter().map(|chunk| chunk.rows).collect();
    reader.join().unwrap().unwrap();
    assert_eq!(concat_batches(&rows[0].schema(), &rows).unwrap(), rows_of(&*source, 5_000, 20_000));
    // Nobody takes what is read.
    let (sender, receiver) = queue(1, QueueBytes::default());
    let reader = std::thread::spawn(move || source.read(Vec::new(), sender, Statuses::default(), Stop::default()));
    drop(receiver);
    reader.join().unwrap().unwrap();
}

#[test]
fn a_reader_keeps_its_pace_and_stops() {
    let source = connect(&counter("1000"), None).unwrap();
    let (sender, receiver) = queue(16, QueueBytes::default());
    let stop = Stop::default();
    let reader = {
        let (source, stop) = (source.clone(), stop.clone());
        std::thread::spawn(move || source.read(Vec::new(), sender, Statuses::default(), stop))
    };
    std::thread::sleep(std::time::Duration::from_millis(300));
    stop.stop();
    let rows: usize = receiver.iter().map(|chunk| chunk.rows.num_rows()).sum();
    reader.join().unwrap().unwrap();
    assert!((1..2_000).contains(&rows), "{rows} rows in 0.3 s at 1000 rows a second");
}

#[test]
fn a_reader_that_nobody_listens_to_ends() {
    let source = connect(&counter("0"), None).unwrap();
    let (sender, receiver) = queue(1, QueueBytes::default());
    drop(receiver);
    source.read(Vec::new(), sender, Statuses::default(), Stop::default()).unwrap();
}

#[test]
fn fingerprints_tell_records_apart() {
    let of = |records: &[(i64, Option<&[u8]>, Option<&[u8]>)]| {
        let mut fingerprint = Fingerprint::default();
        for (position, key, value) in records {
            fingerprint.add(*position, *key, *value);
        }
        fingerprint
    };
    let base = of(&[(1, Some(b"k"), Some(b"v")), (2, None, None)]);
    assert_eq!(base, of(&[(2, None, None), (1, Some(b"k"), Some(b"v"))]));
    assert_ne!(base, of(&[(1, Some(b"kv"), Some(b"")), (2, None, None)]));
    assert_ne!(base, of(&[(1, Some(b"k"), Some(b"v")), (2, None, Some(b""))]));
    assert_ne!(base, of(&[(1, Some(b"k"), Some(b"v")), (3, None, None)]));
}
