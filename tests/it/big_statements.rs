//! Statements of many parts: the right answer, or an error that says which bound was met; in reads and in views. Others
//! are answered meanwhile.

use std::io::ErrorKind;

use crate::fixture::Server;
use crate::protocol::{Wire, query};

fn list(count: usize, item: impl Fn(usize) -> String, by: &str) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(by)
}

/// The only value of an answer, or the state of the error.
fn answer(heard: &str) -> String {
    assert!(heard.ends_with("Z I"), "{heard}");
    let value = heard.lines().find_map(|line| line.strip_prefix("D "));
    let error = heard.lines().find_map(|line| line.strip_prefix("E ERROR ")).map(|error| &error[..5]);
    value.or(error).unwrap_or_default().to_string()
}

#[test]
fn many_parts_are_answered_or_refused() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    wire.query("create table t (x int primary key, y text)");
    wire.query("insert into t select i, 'v' || i from generate_series(1, 2000) i");
    let (plus, same) = (|i: usize| format!("x + {i} as c{i}"), |i: usize| format!("x = {i}"));
    // What is asked, and the first value of the answer or the error.
    let reads = [
        (format!("select count(*) as c from t where x in ({})", list(100_000, |i| i.to_string(), ", ")), "2000"),
        (format!("select count(*) as c from t where x not in ({})", list(1000, |i| i.to_string(), ", ")), "1001"),
        (format!("select count(*) as c from t where y in ({})", list(20_000, |i| format!("'v{i}'"), ", ")), "2000"),
        (format!("select count(*) as c from (values {}) v", list(50_000, |i| format!("({i}, 'v{i}')"), ", ")), "50000"),
        (format!("select count(*) as c from ({}) q", list(500, |i| format!("select {i} as a"), " union all ")), "500"),
        (
            format!("select sum(a) as c from ({}) q", list(900, |_| "select x as a from t".into(), " union all ")),
            "1800900000",
        ),
        (format!("select count(*) as c from t where {}", list(900, same, " or ")), "899"),
        (format!("select count(*) as c from t where {}", list(20_000, same, " or ")), "54001"),
        (format!("select count(*) as c from t where {}", list(20_000, |i| format!("x <> {i}"), " and ")), "54001"),
        (format!("select {} as c from t", vec!["x"; 1000].join(" + ")), "54001"),
        (
            format!(
                "select sum(case {} else 0 end) as c from t",
                list(5000, |i| format!("when x = {i} then {i} + 1"), " ")
            ),
            "2003000",
        ),
        (format!("select {} from t where x = 2", list(1600, plus, ", ")), "2"),
        (format!("select {} from t", list(1700, plus, ", ")), "54011"),
        (format!("select cardinality(array[{}]) as c", list(100_000, |i| i.to_string(), ", ")), "100000"),
        (format!("select jsonb_array_length('[{}]') as c", list(100_000, |i| i.to_string(), ", ")), "100000"),
        (
            format!("select count(*) as c from t t0{}", list(50, |i| format!(" join t t{0} using (x)", i + 1), "")),
            "2000",
        ),
    ];
    for (read, expected) in &reads {
        let shown = format!("{} ... {}", &read[..40], &read[read.len() - 40..]);
        let heard = wire.query(read);
        let first = answer(&heard);
        assert_eq!(first.split('|').next(), Some(*expected), "{shown}");
        let heard = wire.query(&format!("create materialized view v as {read}"));
        let refused = answer(&heard);
        if expected.starts_with("54") {
            assert_eq!(refused, *expected, "a view of {shown}");
            continue;
        }
        assert_eq!(refused, "", "a view of {shown}: {heard}");
        assert_eq!(answer(&wire.query("select * from v")).split('|').next(), Some(*expected), "a view of {shown}");
        wire.query("drop materialized view v");
    }
    let insert = format!("insert into t values {}", list(50_000, |i| format!("({}, 'w{i}')", i + 5000), ", "));
    assert!(wire.query(&insert).contains("C INSERT 0 50000"));
    let columns = format!("create table wide ({})", list(1700, |i| format!("c{i} int"), ", "));
    assert_eq!(answer(&wire.query(&columns)), "54011");
}

/// Reading and planning them takes long. There are more of them than threads that serve clients.
#[test]
fn a_short_statement_is_answered_while_long_ones_are_planned() {
    let server = Server::start();
    let mut short = Wire::connect(&server);
    short.query("create table t (a int primary key); insert into t values (1)");
    let long = query(&format!("select cardinality(array[{}])", list(400_000, |i| i.to_string(), ", ")));
    let count = std::thread::available_parallelism().unwrap().get() + 2;
    let mut waiting: Vec<Wire> = (0..count).map(|_| Wire::connect(&server)).collect();
    waiting.iter_mut().for_each(|wire| wire.send(&long));
    assert!(short.query("select a from t where a = 1").contains("\nD 1\n"));
    assert!(short.query("insert into t values (2)").contains("C INSERT 0 1"));
    let answered = waiting.iter().filter(|wire| has_answer(wire)).count();
    assert_eq!(answered, 0, "short statements waited for long ones");
    for wire in &mut waiting {
        assert!(wire.until_ready().contains("\nD 400000\n"));
    }
}

fn has_answer(wire: &Wire) -> bool {
    wire.socket.set_nonblocking(true).unwrap();
    let seen = wire.socket.peek(&mut [0]);
    wire.socket.set_nonblocking(false).unwrap();
    !matches!(seen, Err(error) if error.kind() == ErrorKind::WouldBlock)
}
