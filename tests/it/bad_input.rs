//! What nobody should send: an error to whoever does, and nothing for anyone else.

use std::io::Write;
use std::process::Output;

use crate::fixture::{Server, command};
use crate::protocol::{Wire, bind, close, describe, execute, frame, parse, query, sync};

/// The state of the error that a statement gives, or "" for an answer. The session must live on either way.
fn state(wire: &mut Wire, statement: &str) -> String {
    let heard = wire.query(statement);
    let shown: String = statement.chars().take(60).collect();
    assert!(heard.ends_with("Z I"), "{shown}: the session ended after {heard:?}");
    heard.lines().find_map(|line| line.strip_prefix("E ERROR ")).map_or(String::new(), |line| line[..5].to_string())
}

#[test]
fn nesting_of_every_kind_is_answered_or_refused_but_never_overflows() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    wire.query("create table t (a int primary key, b boolean, j jsonb)");
    let repeat = |before: &str, times: usize, middle: &str, after: &str| {
        format!("{}{middle}{}", before.repeat(times), after.repeat(times))
    };
    let chain = |count: usize, term: &str, by: &str| vec![term; count].join(by);
    let kinds: &[(&str, &dyn Fn(usize) -> String)] = &[
        ("brackets", &|n| format!("select {}", repeat("(", n, "1", ")"))),
        ("unclosed brackets", &|n| format!("select {}", "(".repeat(n))),
        ("closed brackets", &|n| format!("select 1{}", ")".repeat(n))),
        ("minus", &|n| format!("select {}1", "- ".repeat(n))),
        ("not", &|n| format!("select {}true", "not ".repeat(n))),
        ("casts", &|n| format!("select 1{}", "::int".repeat(n))),
        ("is null", &|n| format!("select 1{}", " is null".repeat(n))),
        ("in", &|n| format!("select true{}", " in (true)".repeat(n))),
        ("like", &|n| format!("select {}", chain(n, "'a'", " like "))),
        ("between", &|n| format!("select 1{}", " between 1 and 2".repeat(n))),
        ("case", &|n| format!("select {}", repeat("case when true then ", n, "1", " end"))),
        ("arrays", &|n| format!("select {}", repeat("array[", n, "1", "]"))),
        ("array text", &|n| format!("select '{}'::int[]", repeat("{", n, "1", "}"))),
        ("array types", &|n| format!("select null::int{}", "[]".repeat(n))),
        ("subscripts", &|n| format!("select (array[1]){}", "[1]".repeat(n))),
        ("json", &|n| format!("select '{}'::jsonb", repeat("[", n, "1", "]"))),
        ("json objects", &|n| format!("select '{}'::jsonb", repeat("{\"a\":", n, "1", "}"))),
        ("unclosed json", &|n| format!("select '{}'::jsonb", "[".repeat(n))),
        ("json arrows", &|n| format!("select j{} from t", "->'a'".repeat(n))),
        ("calls", &|n| format!("select {}", repeat("abs(", n, "1", ")"))),
        ("subqueries", &|n| format!("select {}", repeat("(select ", n, "1", ")"))),
        ("derived tables", &|n| format!("select * from {}", repeat("(select * from ", n, "t", ") q"))),
        ("exists", &|n| format!("select {}", repeat("exists (select ", n, "1", ")"))),
        ("with", &|n| format!("{}", repeat("with q as (", n, "select 1", ") select * from q"))),
        ("and", &|n| format!("select {}", chain(n, "true", " and "))),
        ("or", &|n| format!("select * from t where {}", chain(n, "a = 1", " or "))),
        ("plus", &|n| format!("select {}", chain(n, "1", " + "))),
        ("concatenation", &|n| format!("select {}", chain(n, "'x'", " || "))),
        ("comparisons", &|n| format!("select {}", chain(n, "1", " = "))),
    ];
    for (kind, make) in kinds {
        for times in [10, 100_000] {
            let statement = make(times);
            let state = state(&mut wire, &statement);
            let known = [
                "", "54000", "54001", "42601", "0A000", "22P02", "42P01", "42846", "42883", "42804", "42809", "42803",
                "42704", "42712", "54011", "2202E", "22003",
            ];
            assert!(known.contains(&state.as_str()), "{kind} x {times}: {state}");
            if times == 100_000 {
                assert_ne!(state, "", "{kind} x {times} was answered");
            }
        }
    }
    assert!(Wire::connect(&server).query("select 1").ends_with("Z I"));
}

#[test]
fn text_that_is_not_utf8() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    wire.query("create table t (a text)");
    // A parameter in text and in binary form.
    for format in [0_u16, 1] {
        let mut body = vec![0, 0];
        body.extend([0, 1]);
        body.extend(format.to_be_bytes());
        body.extend([0, 1, 0, 0, 0, 2, b'a', 0xff, 0, 0]);
        wire.send(&[parse("", "select $1::text", &[]), frame(b'B', &body), execute("", 0), sync()].concat());
        let heard = wire.until_ready();
        assert!(heard.contains("E ERROR 22021 invalid byte sequence for encoding \"UTF8\""), "{heard}");
    }
    // COPY, in text and in CSV.
    for options in ["", " csv"] {
        wire.send(&query(&format!("copy t from stdin{options}")));
        assert_eq!(wire.message().unwrap().0, b'G');
        wire.send(&[frame(b'd', b"fine\nb\xffd\n"), frame(b'c', b"")].concat());
        let heard = wire.until_ready();
        assert!(heard.starts_with("E ERROR 22021 invalid byte sequence for encoding \"UTF8\": 0xff"), "{heard}");
        assert!(heard.contains("COPY t, line 2"), "{heard}");
    }
    // A NUL has no place in text.
    wire.send(&[parse("", "select $1::text", &[]), bind("", "", &[Some("a\0b")]), execute("", 0), sync()].concat());
    assert!(wire.until_ready().contains("E ERROR 22021"));
    assert_eq!(state(&mut wire, "select chr(0)"), "54000");
    // The name of a prepared statement, and a start-up packet.
    wire.send(&[frame(b'P', b"n\xff\0select 1\0\0\0"), sync()].concat());
    assert!(wire.until_ready().starts_with("E ERROR 22021"));
    let mut start = Wire::open(&server);
    let body = b"\0\x03\0\0user\0\xff\xfe\0\0";
    start.send(&[&(body.len() as u32 + 4).to_be_bytes()[..], body].concat());
    let heard = start.until_end();
    assert!(heard.starts_with("E FATAL"), "{heard}");
    assert_eq!(state(&mut wire, "select count(*) from t"), "");
}

#[test]
fn messages_that_are_none() {
    let server = Server::start();
    let mut alive = Wire::connect(&server);
    let fatal: &[&[u8]] = &[
        b"Q\xff\xff\xff\xff",
        b"Q\x80\0\0\0select",
        b"Q\0\0\0\0",
        b"Q\0\0\0\x03",
        b"Q\x7f\xff\xff\xffselect 1",
        b"\0\0\0\0\0",
        b"z\0\0\0\x04",
        b"R\0\0\0\x08\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for bytes in fatal {
        let mut wire = Wire::connect(&server);
        wire.send(bytes);
        let heard = wire.until_end();
        assert!(heard.starts_with("E FATAL 08P01"), "{bytes:?}: {heard:?}");
    }
    // Whole frames with nonsense in them: an error, and the session goes on.
    let frames: &[(u8, &[u8])] = &[
        (b'P', b""),
        (b'P', b"a\0b\0\0\x05\0\0"),
        (b'P', b"a\0b\0\xff\xff"),
        (b'B', b"\0\0\0\x01\0\x07\0\0"),
        (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
        (b'B', b"\0\0\0\0\xff\xff"),
        (b'D', b""),
        (b'D', b"Xname\0"),
        (b'E', b"\0\0"),
        (b'C', b"S"),
    ];
    for (kind, body) in frames {
        let mut wire = Wire::connect(&server);
        wire.send(&[frame(*kind, body), sync()].concat());
        let heard = wire.until_ready();
        assert!(
            ["08P01", "26000", "22023"].iter().any(|state| heard.contains(state)),
            "{}{body:?}: {heard:?}",
            *kind as char
        );
    }
    // What belongs to COPY, or to authentication, comes when there is none.
    let mut wire = Wire::connect(&server);
    wire.send(&[frame(b'd', b"1\n"), frame(b'c', b""), frame(b'f', b"no\0")].concat());
    assert!(wire.query("select 1").ends_with("D 1\nC SELECT 1\nZ I"));
    wire.send(&[frame(b'p', b"secret\0"), query("select 1")].concat());
    assert!(wire.until_ready().contains("08P01"));
    // Close and Describe of what is not there; Execute without Bind; a hundred Syncs.
    let mut wire = Wire::connect(&server);
    wire.send(&[close(b'P', "none"), sync(), describe(b'P', "none"), sync(), execute("", 0), sync()].concat());
    assert_eq!(wire.until_ready(), "3\nZ I");
    assert!(wire.until_ready().starts_with("E ERROR 34000"));
    assert!(wire.until_ready().starts_with("E ERROR 34000"));
    wire.send(&sync().repeat(100));
    for _ in 0..100 {
        assert_eq!(wire.until_ready(), "Z I");
    }
    assert!(alive.query("select 1").ends_with("Z I"));
}

/// Bytes that look random, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length).map(|_| (next() >> 24) as u8).collect()
}

#[test]
fn noise_hurts_nobody() {
    let server = Server::start();
    let mut alive = Wire::connect(&server);
    let kinds = b"QPBDEHSCdcfFp";
    for seed in 0..300 {
        let mut wire = if seed % 3 == 0 { Wire::open(&server) } else { Wire::connect(&server) };
        let noise = noise(seed, 400);
        let bytes = match seed % 3 {
            // Bytes without form, frames with a body of noise, real messages with some bytes changed.
            0 => noise,
            1 => noise.chunks(40).flat_map(|body| frame(kinds[body[0] as usize % kinds.len()], &body[1..])).collect(),
            _ => {
                let mut bytes = [
                    parse("s", "select $1::int, $2::text from generate_series(1, 3)", &[23]),
                    bind("p", "s", &[Some("1"), None]),
                    describe(b'P', "p"),
                    execute("p", 2),
                    sync(),
                ]
                .concat();
                for pair in noise.chunks(2).take(4) {
                    let at = (pair[0] as usize * 7 + seed as usize) % bytes.len();
                    bytes[at] = pair[1];
                }
                bytes
            }
        };
        // The server may already have closed.
        let _ = wire.socket.write_all(&bytes);
        let _ = wire.socket.shutdown(std::net::Shutdown::Write);
        wire.drain();
    }
    assert!(alive.query("select 1").ends_with("Z I"));
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn who_vanishes_in_a_copy_or_a_block_leaves_nothing() {
    let server = Server::start();
    let mut alive = Wire::connect(&server);
    alive.query("create table t (a int primary key)");
    let mut copying = Wire::connect(&server);
    copying.send(&query("copy t from stdin"));
    assert_eq!(copying.message().unwrap().0, b'G');
    copying.send(&frame(b'd', b"1\n2\n3\n"));
    drop(copying);
    let mut half = Wire::connect(&server);
    half.send(&query("copy t from stdin"));
    assert_eq!(half.message().unwrap().0, b'G');
    half.send(b"d\0\0\x10\0half a frame");
    drop(half);
    let mut block = Wire::connect(&server);
    assert!(block.query("begin; insert into t values (10)").ends_with("Z T"));
    drop(block);
    let mut half = Wire::connect(&server);
    half.send(b"Q\0\0\0\x40insert into t values (11)");
    drop(half);
    // Their sessions end.
    let others = "select count(*) from pg_stat_activity where pid <> pg_backend_pid()";
    while !alive.query(others).contains("\nD 0\n") {}
    assert!(alive.query("select count(*) from t").contains("\nD 0\n"));
    assert!(alive.query("insert into t values (1), (10)").contains("C INSERT 0 2"));
}

#[test]
fn a_thousand_idle_connections() {
    // Each takes a file of this process too.
    let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a valid pointer.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut files), 0);
        files.rlim_cur = files.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &files), 0);
    }
    let server = Server::start();
    let mut idle: Vec<Wire> = (0..1000).map(|_| Wire::connect(&server)).collect();
    let mut over = Wire::open(&server);
    over.send_startup(&[("user", "ann")]);
    assert_eq!(over.until_end(), "E FATAL 53300 sorry, too many clients already");
    for wire in idle.iter_mut().step_by(97) {
        assert!(wire.query("select count(*) from pg_stat_activity").ends_with("D 1000\nC SELECT 1\nZ I"));
    }
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("riverrun_sessions 1000"), "{metrics}");
}

#[test]
fn wrong_values() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    wire.query("create table t (a int primary key, b int2 not null, c numeric(4,2), d varchar(3), e date, f boolean)");
    for (statement, expected) in [
        ("select 2147483647 + 1", "22003"),
        ("select 9223372036854775807 + 1", "22003"),
        ("select (-32768)::int2 / (-1)::int2", "22003"),
        ("select abs((-2147483648)::int)", "22003"),
        ("select 99999999999999999999999999999::int8", "22003"),
        ("select 1e400::float8", "22003"),
        ("select exp(1000000)", "22003"),
        ("select 10::numeric ^ 100000", "22003"),
        ("select 1 / 0", "22012"),
        ("select 1 % 0", "22012"),
        ("select 1.0 / 0", "22012"),
        ("select 1::float8 / 0", "22012"),
        ("select ln(0)", "2201E"),
        ("select sqrt(-1)", "2201F"),
        ("select 'x'::int", "22P02"),
        ("select '1.5'::int", "22P02"),
        ("select ''::int", "22P02"),
        ("select 'maybe'::boolean", "22P02"),
        ("select 'not-a-uuid'::uuid", "22P02"),
        ("select '{'::jsonb", "22P02"),
        ("select '{1,2'::int[]", "22P02"),
        ("select '2024-02-30'::date", "22008"),
        ("select '25:00'::time", "22008"),
        ("select 'soon'::timestamp", "22007"),
        ("select '999999999-01-01'::date", "22008"),
        ("select timestamp '2024-01-01' + interval '1000000000 years'", "22008"),
        ("select 'x' at time zone 'Nowhere'", "22007"),
        ("select repeat('x', 2000000000)", "54000"),
        ("select '\\xzz'::bytea", "22023"),
        ("select 'a' ~ '('", "2201B"),
        ("select 1 + true", "42883"),
        ("select no_such(1)", "42883"),
        ("select a from t group by b", "42803"),
        ("select sum(count(*)) from t", "42803"),
        ("select 1 where 1", "42804"),
        ("select case when 1 then 2 end", "42804"),
        ("select 1 union select 'x'", "22P02"),
        ("select 1 union select true", "42804"),
        ("select 1, 2 union select 1", "42601"),
        ("select t.a from t u", "42P01"),
        ("select a from t, t u", "42702"),
        ("select 1::no_such_type", "42704"),
        ("select $1", "42P02"),
        ("insert into t values ($1, 1)", "42P02"),
        ("insert into t values (1)", "23502"),
        ("insert into t (a, b) values (1, 40000)", "22003"),
        ("insert into t (a, b, c) values (1, 1, 100)", "22003"),
        ("insert into t (a, b, d) values (1, 1, 'long')", "22001"),
        ("insert into t (a, b, f) values (1, 1, 1)", "42804"),
        ("insert into t (a, b) values (1, 1), (1, 2)", "23505"),
        ("insert into t (a, b) values (1, 1, 1)", "42601"),
        ("insert into t (a, nope) values (1, 1)", "42703"),
        ("insert into t (a, a) values (1, 1)", "42701"),
        ("update t set nope = 1", "42703"),
        ("delete from nope", "42P01"),
        ("create table t (a int)", "42P07"),
        ("create table u (a int, a int)", "42701"),
        ("create table u (a no_such)", "42704"),
        ("create table nope.u (a int)", "3F000"),
        ("create materialized view v as select nope from t", "42703"),
        ("drop table nope", "42P01"),
        ("select * from t limit -1", "2201W"),
        ("select * from t offset -1", "2201X"),
        ("select (select a from generate_series(1, 2) a)", "21000"),
        ("set no_such_setting = 1", "42704"),
        ("set statement_timeout = 'soon'", "22023"),
        ("set timezone = 'Nowhere/Land'", "22023"),
        ("fetch 1 from nowhere", "34000"),
        ("execute nothing", "26000"),
        ("select generate_series(1, 5, 0)", "22023"),
        ("select 'unterminated", "42601"),
        ("select \"unterminated", "42601"),
        ("select /* unterminated", "42601"),
        ("select $$unterminated", "42601"),
        ("\u{feff}select 1", "42601"),
        ("select 1 2", "42601"),
        ("copy t from '/etc/passwd'", "0A000"),
        ("copy t from program 'id'", "0A000"),
    ] {
        assert_eq!(state(&mut wire, statement), expected, "{statement}");
    }
    assert!(wire.query("select count(*) from t").contains("\nD 0\n"));
}

/// The one sentence of a failed start.
fn refusal(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty(), "a server that did not start says nothing on stdout");
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap_or_default().to_string()
}

#[test]
fn a_start_that_can_not_be_is_refused_in_one_sentence() {
    // Another server on the same folder.
    let server = Server::start();
    let second = refusal(command(server.folder()).output().unwrap());
    assert_eq!(
        second,
        "riverrun: data folder ./riverrun-data is in use by another riverrun: Stop it, or start this one with another --data-dir."
    );
    // A folder that can't be one.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for data in ["file", "file/below", "/proc/riverrun", ""] {
        let refused = refusal(command(folder.path()).args(["--data-dir", data]).output().unwrap());
        assert!(refused.starts_with("riverrun: ") && refused.contains(data), "{data}: {refused}");
    }
    // Garbage where a configuration should be.
    for (text, says) in [
        ("max_connections = \"many\"", "max_connections"),
        ("max_connections = -5", "max_connections"),
        ("max_connections = 0", "max_connections"),
        ("memory_limit = \"12 parsecs\"", "memory_limit"),
        ("listen = \"not an address\"", "listen"),
        ("data_dir = [1, 2]", "data_dir"),
        ("timezone = \"Nowhere\"", "imezone"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("riverrun.toml"), text).unwrap();
        let run = std::process::Command::new(crate::fixture::BINARY).current_dir(folder.path()).output().unwrap();
        let refused = refusal(run);
        assert!(
            refused.starts_with("riverrun: ") && refused.to_lowercase().contains(&says.to_lowercase()),
            "{text}: {refused}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("riverrun.toml"), b"\xff\xfe").unwrap();
    assert!(refusal(command(folder.path()).output().unwrap()).contains("riverrun.toml"));
}
