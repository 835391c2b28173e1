//! The protocol message by message: what must be answered by what, in which order.

use std::io::Read;
use std::net::TcpStream;

use crate::fixture::{PATIENCE, Server};
use crate::protocol::{Wire, bind, bind_formats, close, describe, execute, frame, parse, query, sync};

/// The messages of one exchange that ends in one Sync.
fn exchange(wire: &mut Wire, messages: &[Vec<u8>]) -> String {
    let mut bytes = messages.concat();
    bytes.extend(sync());
    wire.send(&bytes);
    wire.until_ready()
}

#[test]
fn a_session_starts_with_what_clients_wait_for() {
    let server = Server::start();
    let mut wire = Wire::open(&server);
    // Neither kind of encryption exists; both are asked for before the start-up packet.
    wire.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
    wire.send(&[0, 0, 0, 8, 4, 210, 22, 48]);
    let mut answers = [0; 2];
    std::io::Read::read_exact(&mut wire.socket, &mut answers).unwrap();
    assert_eq!(&answers, b"NN");
    wire.send_startup(&[("user", "ann"), ("application_name", "test"), ("TimeZone", "europe/berlin")]);
    let start = wire.until_ready();
    let version = concat!("S server_version=15.0 (Riverrun ", env!("CARGO_PKG_VERSION"), ")");
    let expected = [
        "R 0",
        "S application_name=test",
        "S client_encoding=UTF8",
        "S DateStyle=ISO, MDY",
        "S default_transaction_read_only=off",
        "S in_hot_standby=off",
        "S integer_datetimes=on",
        "S IntervalStyle=postgres",
        "S is_superuser=on",
        "S server_encoding=UTF8",
        version,
        "S session_authorization=ann",
        "S standard_conforming_strings=on",
        "S TimeZone=Europe/Berlin",
        "K key",
        "Z I",
    ];
    assert_eq!(start.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn connections_that_are_refused_hear_why() {
    let server = Server::start();
    let refusal = |parameters: &[(&str, &str)]| {
        let mut wire = Wire::open(&server);
        wire.send_startup(parameters);
        wire.until_end()
    };
    insta::assert_snapshot!(refusal(&[("user", "ann"), ("database", "sales")]),
        @r#"E FATAL 3D000 database "sales" does not exist (H There is one database: psql -U ann postgres)"#);
    insta::assert_snapshot!(refusal(&[("user", "ann"), ("no_such", "1")]),
        @r#"E FATAL 42704 unrecognized configuration parameter "no_such""#);
    insta::assert_snapshot!(refusal(&[("database", "postgres")]),
        @"E FATAL 28000 no PostgreSQL user name specified in startup packet");
    let mut old = Wire::open(&server);
    old.send(&[0, 0, 0, 8, 0, 2, 0, 0]);
    insta::assert_snapshot!(old.until_end(),
        @"E FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.0");
    let mut newer = Wire::open(&server);
    newer.send(&[0, 0, 0, 18, 0, 3, 0, 2, b'u', b's', b'e', b'r', 0, b'a', b'n', b'n', 0, 0]);
    let start = newer.until_ready();
    assert!(start.starts_with("v\nR 0\n"), "a newer protocol is negotiated down: {start}");
}

#[test]
fn simple_queries() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    insta::assert_snapshot!(wire.query("select 1 as a, 'x' as b, null as c"), @"
    T a:23 b:25 c:25
    D 1|x|NULL
    C SELECT 1
    Z I
    ");
    insta::assert_snapshot!(wire.query(""), @"
    I
    Z I
    ");
    insta::assert_snapshot!(wire.query(" ; ;"), @"
    I
    Z I
    ");
    insta::assert_snapshot!(wire.query("select 1; select 2; selec 3"), @r#"
    E ERROR 42601 syntax error at or near "selec" @21
    Z I
    "#);
    insta::assert_snapshot!(wire.query("select 1; select no_such; select 3"), @r#"
    T ?column?:23
    D 1
    C SELECT 1
    E ERROR 42703 column "no_such" does not exist @18
    Z I
    "#);
}

#[test]
fn transaction_status_and_failed_blocks() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    insta::assert_snapshot!(wire.query("begin"), @"
    C BEGIN
    Z T
    ");
    insta::assert_snapshot!(wire.query("begin"), @"
    N WARNING 25001 there is already a transaction in progress
    C BEGIN
    Z T
    ");
    insta::assert_snapshot!(wire.query("select 1/0"), @"
    E ERROR 22012 division by zero
    Z E
    ");
    insta::assert_snapshot!(wire.query("select 1"), @"
    E ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block
    Z E
    ");
    insta::assert_snapshot!(wire.query("commit"), @"
    C ROLLBACK
    Z I
    ");
    insta::assert_snapshot!(wire.query("rollback"), @"
    N WARNING 25P01 there is no transaction in progress
    C ROLLBACK
    Z I
    ");
}

#[test]
fn the_extended_protocol() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    let messages = [
        parse("s", "select $1::int4 + 1 as a", &[]),
        describe(b'S', "s"),
        bind("", "s", &[Some("41")]),
        describe(b'P', ""),
        execute("", 0),
    ];
    insta::assert_snapshot!(exchange(&mut wire, &messages), @"
    1
    t 23
    T a:23
    2
    T a:23
    D 42
    C SELECT 1
    Z I
    ");
    let binary = [bind_formats("", "s", &[Some("41")], &[1]), execute("", 0)];
    insta::assert_snapshot!(exchange(&mut wire, &binary), @"
    2
    D 0000002a
    C SELECT 1
    Z I
    ");
    // The wrong number of parameters, a wrong value, what does not exist, what exists already.
    insta::assert_snapshot!(exchange(&mut wire, &[bind("", "s", &[])]), @r#"
    E ERROR 08P01 bind message supplies 0 parameters, but prepared statement "s" requires 1
    Z I
    "#);
    insta::assert_snapshot!(exchange(&mut wire, &[bind("", "s", &[Some("x")]), execute("", 0)]), @r#"
    E ERROR 22P02 invalid input syntax for type integer: "x"
    Z I
    "#);
    insta::assert_snapshot!(exchange(&mut wire, &[bind("", "nobody", &[])]), @r#"
    E ERROR 26000 prepared statement "nobody" does not exist
    Z I
    "#);
    insta::assert_snapshot!(exchange(&mut wire, &[execute("nowhere", 0)]), @r#"
    E ERROR 34000 portal "nowhere" does not exist
    Z I
    "#);
    insta::assert_snapshot!(exchange(&mut wire, &[parse("s", "select 1", &[])]), @r#"
    E ERROR 42P05 prepared statement "s" already exists
    Z I
    "#);
    insta::assert_snapshot!(exchange(&mut wire, &[close(b'S', "s"), close(b'S', "s"), parse("s", "select 1", &[])]), @"
    3
    3
    1
    Z I
    ");
    insta::assert_snapshot!(exchange(&mut wire, &[parse("", "select 1; select 2", &[])]), @"
    E ERROR 42601 cannot insert multiple commands into a prepared statement
    Z I
    ");
}

#[test]
fn after_an_error_everything_up_to_sync_is_skipped() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    let messages =
        [parse("", "select 1 +", &[]), parse("kept", "select 1", &[]), bind("", "kept", &[]), execute("", 0)];
    insta::assert_snapshot!(exchange(&mut wire, &messages), @r"
    E ERROR 42601 syntax error at end of input @11
    Z I
    ");
    insta::assert_snapshot!(exchange(&mut wire, &[bind("", "kept", &[])]), @r#"
    E ERROR 26000 prepared statement "kept" does not exist
    Z I
    "#);
}

#[test]
fn portals_stop_at_their_row_limit_and_go_on() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    let messages =
        [parse("", "values (1), (2), (3)", &[]), bind("p", "", &[]), execute("p", 2), execute("p", 2), execute("p", 2)];
    insta::assert_snapshot!(exchange(&mut wire, &messages), @"
    1
    2
    D 1
    D 2
    s
    D 3
    C SELECT 1
    C SELECT 0
    Z I
    ");
    // Outside of a block the portal ended with the transaction, at Sync.
    insta::assert_snapshot!(exchange(&mut wire, &[execute("p", 2)]), @r#"
    E ERROR 34000 portal "p" does not exist
    Z I
    "#);
    wire.query("begin");
    let open = [parse("", "values (1), (2)", &[]), bind("p", "", &[]), execute("p", 1)];
    insta::assert_snapshot!(exchange(&mut wire, &open), @"
    1
    2
    D 1
    s
    Z T
    ");
    insta::assert_snapshot!(exchange(&mut wire, &[execute("p", 0)]), @"
    D 2
    C SELECT 1
    Z T
    ");
    wire.query("commit");
}

#[test]
fn statements_without_rows_are_described_too() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    let mut described =
        |statement: &str| exchange(&mut wire, &[parse("", statement, &[]), describe(b'S', "")]).replace('\n', "; ");
    insta::assert_snapshot!(described("begin"), @"1; t; n; Z I");
    insta::assert_snapshot!(described("show timezone"), @"1; t; T TimeZone:25; Z I");
    insta::assert_snapshot!(described("explain select 1"), @"1; t; T QUERY PLAN:25; Z I");
    insta::assert_snapshot!(described(""), @"1; t; n; Z I");
    insta::assert_snapshot!(described("copy (select 1) to stdout"), @"1; t; n; Z I");
}

#[test]
fn bad_bytes_hurt_only_whoever_sent_them() {
    let server = Server::start();
    let mut wire = Wire::connect(&server);
    wire.send(&frame(b'Q', b"select '\xe4\xf6'\0"));
    insta::assert_snapshot!(wire.until_ready(), @r#"
    E ERROR 22021 invalid byte sequence for encoding "UTF8": 0xe4
    Z I
    "#);
    // A Bind message that ends early.
    wire.send(&[frame(b'B', b"\0\0\0\x01"), sync()].concat());
    insta::assert_snapshot!(wire.until_ready(), @"
    E ERROR 08P01 insufficient data left in message
    Z I
    ");
    assert!(wire.query("select 1").ends_with("Z I"), "the session lives");
    let mut other = Wire::connect(&server);
    other.send(b"GET / HTTP/1.1\r\n\r\n");
    insta::assert_snapshot!(other.until_end(), @"E FATAL 08P01 invalid frontend message type 71");
    let mut early = Wire::open(&server);
    early.send(b"GET / HTTP/1.1\r\n\r\n");
    insta::assert_snapshot!(early.until_end(), @"E FATAL 08P01 invalid length of startup packet");
    assert!(wire.query("select 1").ends_with("Z I"), "others are not disturbed");
}

#[test]
fn statements_have_a_longest_size() {
    let server = Server::start_with(&[], &[("RIVERRUN_MAX_STATEMENT_SIZE", "64kB")]);
    let mut wire = Wire::connect(&server);
    let long = format!("select '{}'", "x".repeat(70_000));
    insta::assert_snapshot!(wire.query(&long), @r"
    E ERROR 54000 statement is too long: 70014 bytes, the limit is 65536 (H The limit is the setting max_statement_size; COPY loads any amount of rows.)
    Z I
    ");
    wire.send(&[parse("", &long, &[]), bind("", "", &[]), sync()].concat());
    assert!(wire.until_ready().starts_with("E ERROR 54000"));
    assert!(wire.query("select 1").ends_with("Z I"));
}

#[test]
fn what_would_be_skipped_is_skipped_when_it_is_refused_too() {
    let server = Server::start_with(&[], &[("RIVERRUN_MAX_MESSAGE_SIZE", "64kB")]);
    let mut wire = Wire::connect(&server);
    wire.query("create table t (a text)");
    // Rows that were on their way when the COPY failed: each too long, or a reason that is not text.
    wire.send(&query("copy t from stdin"));
    assert_eq!(wire.message().unwrap().0, b'G');
    let long = frame(b'd', &[b'x'; 70_000]);
    wire.send(&[long.clone(), long.clone(), long, frame(b'f', b"\xff\0"), query("select 1")].concat());
    insta::assert_snapshot!(wire.until_ready(), @"
    E ERROR 54000 message is too long: 70004 bytes, the limit is 65536 (H The limit is the setting max_message_size; COPY loads any amount of rows.)
    Z I
    ");
    insta::assert_snapshot!(wire.until_ready(), @"
    T ?column?:23
    D 1
    C SELECT 1
    Z I
    ");
    // Messages of both protocols between an error and its Sync.
    let skipped = [parse("", "selec", &[]), frame(b'Q', b"select '\xe4'\0"), frame(b'B', &[0; 70_000]), sync()];
    wire.send(&[skipped.concat(), query("select 2")].concat());
    insta::assert_snapshot!(wire.until_ready(), @r#"
    E ERROR 42601 syntax error at or near "selec" @1
    Z I
    "#);
    insta::assert_snapshot!(wire.until_ready(), @"
    T ?column?:23
    D 2
    C SELECT 1
    Z I
    ");
}

#[test]
fn a_copy_gathers_no_more_than_it_may() {
    let server = Server::start_with(&[], &[("RIVERRUN_MAX_COPY_SIZE", "32MB")]);
    let mut wire = Wire::connect(&server);
    wire.query("create table t (a text)");
    let row = format!("{}\n", "x".repeat(1_000_000));
    for (rows, answer) in [(5, "C COPY 5\nZ I"), (60, "E ERROR 54000 COPY has more bytes than it may gather")] {
        wire.send(&query("copy t from stdin"));
        assert_eq!(wire.message().unwrap().0, b'G');
        wire.send(&[frame(b'd', row.repeat(rows).as_bytes()), frame(b'c', b"")].concat());
        let heard = wire.until_ready();
        assert!(heard.starts_with(answer), "{heard}");
    }
    assert!(wire.query("select count(*) from t").contains("D 5"));
}

#[test]
fn what_a_session_keeps_has_a_limit() {
    let server = Server::start_with(&[], &[("RIVERRUN_MAX_SESSION_MEMORY", "4MB")]);
    let text = "x".repeat(1_000_000);
    let refused = |heard: &str| heard.contains("E ERROR 54000 the session keeps too much");
    // Each kind by itself, in a session of its own, until one is refused.
    let fill = |start: &[&str], next: &dyn Fn(usize) -> Vec<u8>| {
        let mut wire = Wire::connect(&server);
        start.iter().for_each(|statement| assert!(!wire.query(statement).contains("E ERROR"), "{statement}"));
        let kept = (0..100).take_while(|number| {
            wire.send(&next(*number));
            let heard = wire.until_ready();
            assert!(refused(&heard) || !heard.contains("E ERROR"), "{}", &heard[..heard.len().min(200)]);
            !refused(&heard)
        });
        let kept = kept.count();
        assert!((1..=4).contains(&kept), "{kept} were kept");
        // What is given back is there again.
        wire.query("rollback");
        assert!(!wire.query("discard all").contains("E ERROR"));
        assert!(!refused(&wire.query(&format!("set my.own = '{text}'"))));
    };
    let portal = |number: usize| [bind(&format!("p{number}"), "s", &[Some(&text)]), sync()].concat();
    fill(&["begin", "prepare s (text) as select $1"], &portal);
    let statement = |number: usize| query(&format!("prepare s{number} as select '{}'", &text[..100_000]));
    fill(&[], &statement);
    fill(&[], &|number| query(&format!("set my.own{number} = '{text}'")));
    let savepoint = |number: usize| query(&format!("savepoint s{number}"));
    fill(&["begin", &format!("set my.own = '{text}'")], &savepoint);
    let cursor = |number: usize| {
        query(&format!("declare c{number} cursor with hold for select repeat('x', 100000) from generate_series(1, 10)"))
    };
    fill(&[], &cursor);
}

#[test]
fn too_many_sessions_are_refused_and_places_come_free() {
    let server = Server::start_with(&[], &[("RIVERRUN_MAX_CONNECTIONS", "2")]);
    let first = Wire::connect(&server);
    let _second = Wire::connect(&server);
    let mut third = Wire::open(&server);
    third.send_startup(&[("user", "ann")]);
    insta::assert_snapshot!(third.until_end(), @"E FATAL 53300 sorry, too many clients already");
    drop(first);
    // The place comes free when the server has noticed.
    let mut refused = 0;
    loop {
        let mut wire = Wire::open(&server);
        wire.send_startup(&[("user", "ann")]);
        if wire.until_ready().ends_with("Z I") {
            break;
        }
        refused += 1;
        assert!(refused < 10_000, "no place came free");
    }
}

#[test]
fn sockets_that_say_nothing_keep_nobody_out() {
    let server = Server::start_with(&[], &[("RIVERRUN_MAX_CONNECTIONS", "2")]);
    let mut busy = Wire::connect(&server);
    busy.send(&query("select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b"));
    let silent = |port: u16| -> Vec<TcpStream> {
        (0..400).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the port takes connections")).collect()
    };
    let mut on_sql = silent(server.port);
    assert!(Wire::connect(&server).query("select 1").ends_with("Z I"));
    busy.cancel(&server);
    assert!(busy.until_ready().starts_with("E ERROR 57014"));
    let mut on_http = silent(server.http_port);
    assert_eq!(server.get("/healthz").0, 200);
    // Those that were there first have made way, and heard why where there is a way to say it.
    let mut wire = Wire { socket: on_sql.swap_remove(0), pid: 0, secret: Vec::new() };
    wire.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(wire.until_end().starts_with("E FATAL 53300 too many connections are starting"));
    on_http[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(on_http[0].read(&mut [0; 1]).unwrap(), 0);
}

/// An application's pool that is filled, or all applications after a network that was away.
#[test]
fn a_burst_of_clients_is_served() {
    let server = Server::start_with(&[], &[("RIVERRUN_MAX_CONNECTIONS", "400")]);
    let mut burst: Vec<Wire> = (0..400).map(|_| Wire::open(&server)).collect();
    for (at, wire) in burst.iter_mut().enumerate() {
        wire.send_startup(&[("user", "ann")]);
        let start = wire.until_ready();
        assert!(start.ends_with("Z I"), "client {at}: {start}");
    }
}

/// Of a client whose machine is gone nobody tells: TCP must ask.
#[test]
fn silent_clients_are_asked_whether_they_are_there() {
    let server = Server::start_with(&[], &[("RIVERRUN_TCP_KEEPALIVES_IDLE", "30s")]);
    let wire = Wire::connect(&server);
    let (here, there) = (server.port, wire.socket.local_addr().unwrap().port());
    // The server's side of the connection, with its timer: kind and hundredths of a second left.
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = format!(":{here:04X} 0100007F:{there:04X} ");
    let socket = sockets.lines().find(|line| line.contains(&ends)).expect("the server's socket");
    let timer = socket.split_whitespace().nth(5).unwrap();
    let (kind, left) = timer.split_once(':').unwrap();
    assert_eq!(kind, "02", "a keepalive timer: {socket}");
    assert!(u64::from_str_radix(left, 16).unwrap() <= 3000, "{socket}");
}

#[test]
fn a_client_that_vanishes_or_never_reads_leaves_others_alone() {
    let server = Server::start();
    // Far more than any buffer holds.
    let endless = "select repeat('x', 1000) from generate_series(1, 2000000)";
    let mut deaf = Wire::connect(&server);
    deaf.send(&query(endless));
    let mut gone = Wire::connect(&server);
    gone.send(&query(endless));
    drop(gone);
    let mut other = Wire::connect(&server);
    assert!(other.query("select 1").ends_with("Z I"));
    // What the deaf one left waiting can be cancelled, and its connection goes on.
    deaf.cancel(&server);
    let heard = deaf.until_ready();
    assert!(
        heard.contains("E ERROR 57014 canceling statement due to user request"),
        "it ended with {:?}",
        &heard[heard.len() - 100..]
    );
    assert!(deaf.query("select 1").ends_with("Z I"));
}

#[test]
fn a_client_that_asks_for_all_and_reads_nothing_can_be_sent_away() {
    let server = Server::start();
    let mut deaf = Wire::connect(&server);
    // Each answer is less than the server gathers before it writes by itself; together they are more than sockets hold.
    let row = [bind("", "long", &[]), execute("", 0), frame(b'H', b"")].concat();
    deaf.send(&[parse("long", "select repeat('x', 40000)", &[]), row.repeat(1000)].concat());
    // Until it waits for us.
    let (mut before, mut now) = (None, server.metric("riverrun_rows_sent_total"));
    while now == 0.0 || before != Some(now) {
        std::thread::sleep(std::time::Duration::from_millis(100));
        (before, now) = (Some(now), server.metric("riverrun_rows_sent_total"));
    }
    assert!(now < 1000.0, "the sockets hold everything");
    let mut other = Wire::connect(&server);
    let gone = format!("select count(*) from pg_stat_activity where pid = {}", deaf.pid);
    assert!(other.query(&format!("select pg_terminate_backend({})", deaf.pid)).contains("D t"));
    let began = std::time::Instant::now();
    while !other.query(&gone).contains("D 0") {
        assert!(began.elapsed() < PATIENCE, "the session stays");
    }
}

#[test]
fn the_end_of_the_server_is_told() {
    let mut server = Server::start();
    let mut idle = Wire::connect(&server);
    let mut busy = Wire::connect(&server);
    busy.send(&query(
        "select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 10) c",
    ));
    let status = server.signal(libc::SIGTERM);
    assert!(status.success(), "the server ended with {status}");
    insta::assert_snapshot!(idle.until_end(), @"E FATAL 57P01 terminating connection due to administrator command");
    let heard = busy.until_end();
    assert!(heard.ends_with("E FATAL 57P01 terminating connection due to administrator command"), "{heard}");
}

const ENDLESS: &str =
    "select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 10) c";

#[test]
fn sessions_that_idle_too_long_are_ended() {
    let server = Server::start();
    let mut idle = Wire::connect(&server);
    let mut inside = Wire::connect(&server);
    let mut patient = Wire::connect(&server);
    // Each timeout is about its own kind of idling.
    patient.query("set idle_in_transaction_session_timeout = '100ms'");
    idle.query("set idle_session_timeout = '100ms'");
    inside.query("create table t (a int)");
    inside.query("set idle_in_transaction_session_timeout = '100ms'; set idle_session_timeout = '1h'");
    inside.query("begin; insert into t values (1)");
    insta::assert_snapshot!(idle.until_end(), @"E FATAL 57P05 terminating connection due to idle-session timeout");
    insta::assert_snapshot!(inside.until_end(), @"E FATAL 25P03 terminating connection due to idle-in-transaction timeout");
    // What the block has written is gone with it, and who waits outside of a block is still there.
    assert!(patient.query("select count(*) from t").contains("\nD 0\n"));
    // At work is not idle.
    patient.query("set statement_timeout = '300ms'");
    patient.send(&query(&format!("begin; {ENDLESS}")));
    assert!(patient.until_ready().ends_with("E ERROR 57014 canceling statement due to statement timeout\nZ E"));
}

#[test]
fn another_sessions_statement_is_cancelled_by_its_number() {
    let server = Server::start();
    let mut busy = Wire::connect(&server);
    let mut other = Wire::connect(&server);
    let cancel = format!("select pg_cancel_backend({})", busy.pid);
    // Nothing to cancel is nothing wrong, nor is a session that is not there.
    assert!(other.query(&cancel).contains("\nD t\n"));
    assert!(busy.query("select 1").ends_with("C SELECT 1\nZ I"));
    assert_eq!(other.query("select pg_cancel_backend(0)"), "T pg_cancel_backend:16\nD f\nC SELECT 1\nZ I");
    busy.send(&query(ENDLESS));
    let active = format!("select state from pg_stat_activity where pid = {}", busy.pid);
    let began = std::time::Instant::now();
    while !other.query(&active).contains("D active") {
        assert!(began.elapsed() < PATIENCE, "it is not at work");
    }
    assert!(other.query(&cancel).contains("\nD t\n"));
    insta::assert_snapshot!(busy.until_ready(), @"
    E ERROR 57014 canceling statement due to user request
    Z I
    ");
    assert!(busy.query("select 1").ends_with("C SELECT 1\nZ I"));
}
