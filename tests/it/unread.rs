//! Clients that ask and don't read: their results wait in bounded memory, everybody else goes on, and they find their
//! answers when they come back.

use std::time::Duration;

use crate::fixture::Server;
use crate::protocol::{Wire, bind, execute, parse, query, sync};

/// How much the server's memory may grow, in bytes; each of the results is longer.
const BOUND: u64 = 400 << 20;

/// Waits until the server has nothing to do: all is made that fits into its bounds. Its memory is looked at meanwhile.
fn at_rest(server: &Server, memory: u64) {
    let mut quiet = 0;
    let mut last = server.cpu_ticks();
    while quiet < 5 {
        std::thread::sleep(Duration::from_millis(100));
        let grown = server.memory().saturating_sub(memory) >> 20;
        assert!(grown < BOUND >> 20, "{grown} MB for clients that don't read");
        let ticks = server.cpu_ticks();
        // A tenth of a second is ten ticks.
        quiet = if ticks - last <= 3 { quiet + 1 } else { 0 };
        last = ticks;
    }
}

/// Reads up to ReadyForQuery; gives the number of rows and the last line before it.
fn finish(wire: &mut Wire) -> (usize, String) {
    let (mut rows, mut last) = (0, String::new());
    while let Some((kind, body)) = wire.message() {
        match kind {
            b'D' | b'd' => rows += 1,
            b'Z' => break,
            b'T' | b'H' | b'c' => {}
            _ => last = String::from_utf8_lossy(&body).replace('\0', " "),
        }
    }
    (rows, last)
}

#[test]
fn a_huge_result_waits_for_its_reader_in_bounded_memory() {
    let server = Server::start();
    let mut alive = Wire::connect(&server);
    alive.query("create table big (a int primary key, b text)");
    alive.query("insert into big select i, repeat('x', 500) from generate_series(1, 60000) i");
    let memory = server.memory();
    let endless = "select i, repeat('y', 1000) from generate_series(1, 1000000000) i";
    let mut cancelled = Wire::connect(&server);
    cancelled.send(&query(endless));
    let mut ended = Wire::connect(&server);
    ended.send(&[parse("", endless, &[]), bind("", "", &[]), execute("", 0), sync()].concat());
    let mut gone = Wire::connect(&server);
    gone.send(&query("copy (select a.b, b.b from big a, big b) to stdout"));
    let mut vanished = Wire::connect(&server);
    vanished.send(&query("select a.b, b.b from big a, big b"));
    let mut patient = Wire::connect(&server);
    patient.send(&query("select * from big"));
    let mut copying = Wire::connect(&server);
    copying.send(&query("copy big to stdout"));
    at_rest(&server, memory);
    // Whoever reads is answered, and writes.
    assert!(alive.query("select count(*) from big where a % 2 = 0").contains("\nD 30000\n"));
    assert!(alive.query("insert into big values (0, 'new')").contains("C INSERT 0 1"));
    assert!(alive.query("create materialized view v as select count(*) as n from big").contains("C CREATE"));
    assert!(alive.query("select n from v").contains("\nD 60001\n"));
    at_rest(&server, memory);
    // Those who come back find everything, as it was when they asked.
    let (rows, tag) = finish(&mut patient);
    assert_eq!((rows, tag.trim()), (60_000, "SELECT 60000"));
    let (rows, tag) = finish(&mut copying);
    assert_eq!((rows, tag.trim()), (60_000, "COPY 60000"));
    // One is cancelled, and goes on.
    cancelled.cancel(&server);
    let (rows, error) = finish(&mut cancelled);
    assert!(rows > 0 && error.contains("C57014 "), "{rows} rows, then {error}");
    assert!(cancelled.query("select 1").ends_with("D 1\nC SELECT 1\nZ I"));
    // One is ended from outside, and told so after what was on its way.
    assert!(alive.query(&format!("select pg_terminate_backend({})", ended.pid)).contains("\nD t\n"));
    let (_, error) = finish(&mut ended);
    assert!(error.contains("C57P01 "), "{error}");
    // Two leave.
    drop(gone);
    drop(vanished);
    let others = "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()";
    while !alive.query(others).contains("\nD 0\n") {}
    while !server.get("/metrics").1.contains("riverrun_queries_running{} 0") {}
}

#[test]
fn many_questions_of_a_client_that_does_not_read_wait_at_its_own_end() {
    const QUESTIONS: usize = 300;
    let server = Server::start();
    let mut alive = Wire::connect(&server);
    let memory = server.memory();
    let ask = format!("select repeat('z', 1000) from generate_series(1, 1000) /* {} */", "padding ".repeat(8000));
    let simple = query(&ask);
    let extended = [parse("", &ask, &[]), bind("", "", &[]), execute("", 0), sync()].concat();
    for question in [simple, extended] {
        let mut asking = Wire::connect(&server);
        let mut writing = asking.socket.try_clone().unwrap();
        let asked = std::thread::spawn(move || {
            for _ in 0..QUESTIONS {
                std::io::Write::write_all(&mut writing, &question).expect("the server takes it at last");
            }
        });
        at_rest(&server, memory);
        // They are longer than what waits on the way.
        assert!(!asked.is_finished(), "the server took questions that it did not answer");
        assert!(alive.query("select 1").ends_with("D 1\nC SELECT 1\nZ I"));
        for _ in 0..QUESTIONS {
            let (rows, tag) = finish(&mut asking);
            assert_eq!((rows, tag.trim()), (1000, "SELECT 1000"));
        }
        asked.join().unwrap();
    }
}
