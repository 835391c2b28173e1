//! A disk that fills up: writes are refused with 53100, reads go on, and with room made writes are taken again; a kill
//! meanwhile loses nothing that was acknowledged and brings nothing back that was refused.
//!
//! The disk is a real one, though small: a file system in memory, mounted in a namespace in which the server runs. Where a
//! machine does not allow that the tests fail and say so; `RIVERRUN_NO_SMALL_DISK=1` leaves them out on purpose.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use tokio_postgres::Client;

use crate::ask::{WAIT, refused, rows, run, until, value};
use crate::fixture::Server;

/// The disk; gone when this is.
struct SmallDisk {
    folder: tempfile::TempDir,
    /// Keeps the namespace, until its standard input ends.
    holder: Child,
}

impl SmallDisk {
    /// None when the tester wants to do without.
    fn new(megabytes: u32) -> Option<SmallDisk> {
        if std::env::var_os("RIVERRUN_NO_SMALL_DISK").is_some() {
            eprintln!("NOT TESTED: a full disk (RIVERRUN_NO_SMALL_DISK is set)");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mount =
            format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$1\" && echo mounted && cat; umount -l \"$1\"");
        let mut complaints = String::new();
        // As an administrator, as the administrator of a namespace of users, and in a chroot, whose root is no mount that could be made private.
        for namespaces in
            [&["--mount"][..], &["--user", "--map-root-user", "--mount"], &["--mount", "--propagation", "unchanged"]]
        {
            let mut holder = Command::new("unshare")
                .args(namespaces)
                .args(["sh", "-c", &mount, "sh"])
                .arg(folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("unshare is needed for this test (util-linux)");
            let mut line = String::new();
            BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).expect("the holder's output");
            if line == "mounted\n" {
                return Some(SmallDisk { folder, holder });
            }
            let output = holder.wait_with_output().expect("the holder's end");
            complaints += &String::from_utf8_lossy(&output.stderr);
        }
        panic!(
            "a full disk can't be tested here, because no small file system can be mounted: run the tests as root or allow \
             namespaces of users, or leave this out with RIVERRUN_NO_SMALL_DISK=1. unshare said:\n{complaints}"
        );
    }

    /// What runs a command where the disk is mounted.
    fn inside(&self) -> Vec<String> {
        let holder = self.holder.id();
        let same_users =
            std::fs::read_link(format!("/proc/{holder}/ns/user")).ok() == std::fs::read_link("/proc/self/ns/user").ok();
        let mut command = vec!["nsenter".to_string(), "--target".to_string(), holder.to_string()];
        if !same_users {
            command.extend(["--user".to_string(), "--preserve-credentials".to_string()]);
        }
        command.extend(["--mount".to_string(), "--root".to_string()]);
        command
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn server(&self, environment: &[(&str, &str)]) -> Server {
        Server::start_inside(&self.inside(), &["--data-dir", &self.data()], environment)
    }

    fn shell(&self, script: &str) -> Output {
        let (inside, folder) = (self.inside(), self.folder.path());
        let mut command = Command::new(&inside[0]);
        command.args(&inside[1..]).args(["sh", "-c", script, "sh"]).arg(folder).output().expect("nsenter runs")
    }

    /// Not a byte is left.
    fn fill(&self) {
        let output = self.shell("cat /dev/zero > \"$1/ballast\"");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{output:?}");
    }

    fn make_room(&self) {
        assert!(self.shell("rm \"$1/ballast\"").status.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

const RELATIONS: &str = "
    CREATE TABLE t (id bigint PRIMARY KEY, name text);
    CREATE STREAM clicks (id bigint) WITH (connector = 'datagen', rows.per.second = '50', fields.id.kind = 'sequence');
    CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n, sum(id) AS ids FROM t;
    CREATE MATERIALIZED VIEW clicked AS SELECT count(*) AS n, count(DISTINCT id) AS ids FROM clicks;";

/// Streams that are only read go on.
async fn clicks_come(client: &Client) {
    let clicked = "SELECT n FROM clicked WHERE n = ids";
    let before: i64 = value(client, clicked).await.parse().expect("clicks, each once");
    until(client, &format!("SELECT n > {before} FROM clicked"), "t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_reads_go_on() {
    let Some(disk) = SmallDisk::new(320) else { return };
    let server = disk.server(&[]);
    let client = server.connect().await;
    run(&client, RELATIONS).await;
    run(&client, "INSERT INTO t SELECT i, 'name ' || i FROM generate_series(1, 100) i").await;
    let rest = server.connect().await;
    run(&rest, "BEGIN; INSERT INTO t VALUES (1000, 'in a block')").await;
    disk.fill();
    for statement in [
        "INSERT INTO t VALUES (101, 'more')",
        "UPDATE t SET name = 'other' WHERE id = 1",
        "DELETE FROM t",
        "CREATE TABLE u (a int)",
        "CREATE MATERIALIZED VIEW m AS SELECT name FROM t",
        "DROP MATERIALIZED VIEW n",
    ] {
        let (state, message) = refused(&client, statement).await;
        assert_eq!(state, "53100", "{statement}: {message}");
    }
    assert_eq!(refused(&rest, "COMMIT").await.0, "53100");
    for client in [&client, &rest, &server.connect().await] {
        assert_eq!(rows(client, "SELECT * FROM n").await, ["100 | 5050"]);
        assert_eq!(value(client, "SELECT count(*) FROM t WHERE name LIKE 'name %'").await, "100");
        clicks_come(client).await;
    }
    disk.make_room();
    run(&client, "INSERT INTO t VALUES (101, 'more'); CREATE MATERIALIZED VIEW m AS SELECT name FROM t WHERE id > 100")
        .await;
    assert_eq!(rows(&client, "SELECT * FROM n").await, ["101 | 5151"]);
    assert_eq!(rows(&client, "SELECT * FROM m").await, ["more"]);
    clicks_come(&client).await;

    disk.fill();
    assert_eq!(refused(&client, "INSERT INTO t VALUES (102, 'refused')").await.0, "53100");
    let (remains, _) = server.kill();
    let (status, log) = remains.begin().end(None);
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("riverrun: ") && last.contains("no space left"), "{log}");
    disk.make_room();
    let server = remains.start();
    let client = server.connect().await;
    assert_eq!(rows(&client, "SELECT * FROM n").await, ["101 | 5151"]);
    run(&client, "INSERT INTO t VALUES (103, 'after')").await;
    assert_eq!(rows(&client, "SELECT * FROM m ORDER BY name").await, ["after", "more"]);
    clicks_come(&client).await;
}

/// Writes rows of 2 MB, each of its own statement, until it is refused. Gives the ids that were acknowledged.
async fn write_until_refused(client: &Client, first: i64) -> BTreeSet<i64> {
    let mut written = BTreeSet::new();
    for id in first.. {
        let insert = format!("INSERT INTO t SELECT {id}, repeat(md5('{id}'), 65536)");
        match client.batch_execute(&insert).await {
            Ok(()) => written.insert(id),
            Err(error) => {
                assert_eq!(error.code().map(|code| code.code()), Some("53100"), "{error:?}");
                return written;
            }
        };
    }
    unreachable!("the disk is never full")
}

/// Without a reserve RocksDB itself meets the end of the disk, in the middle of a write.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_full_to_the_last_byte_loses_nothing() {
    let Some(disk) = SmallDisk::new(300) else { return };
    let server = disk.server(&[("RIVERRUN_DISK_RESERVE", "0")]);
    let client = server.connect().await;
    run(&client, RELATIONS).await;
    let writers = [server.connect().await, server.connect().await, server.connect().await];
    let all_refused = async |writers: &[Client; 3], first: i64| {
        let firsts = [first, first + 1_000, first + 2_000];
        let written = futures::future::join_all((0..3).map(|n| write_until_refused(&writers[n], firsts[n]))).await;
        written.into_iter().flatten().collect::<BTreeSet<i64>>()
    };
    let ids = async |client: &Client| -> BTreeSet<i64> {
        rows(client, "SELECT id FROM t").await.iter().map(|id| id.parse().expect("an id")).collect()
    };
    disk.fill();
    let mut written = all_refused(&writers, 0).await;
    assert!(!written.is_empty(), "the log has no room of its own any more");
    let (remains, _) = server.kill();
    disk.make_room();
    let server = remains.start();
    let client = server.connect().await;
    assert_eq!(ids(&client).await, written, "after the kill");
    clicks_come(&client).await;

    let writers = [server.connect().await, server.connect().await, server.connect().await];
    disk.fill();
    written.extend(all_refused(&writers, 10_000).await);
    disk.make_room();
    // No restart: the store finds out by itself.
    let began = Instant::now();
    while let Err(error) = client.batch_execute("INSERT INTO t VALUES (-1, 'room')").await {
        assert_eq!(error.code().map(|code| code.code()), Some("53100"), "{error:?}");
        assert!(began.elapsed() < WAIT, "writes are not taken again");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    written.insert(-1);
    assert_eq!(ids(&client).await, written, "with room again");
    clicks_come(&client).await;
    let server = server.kill_and_restart();
    let client = server.connect().await;
    assert_eq!(ids(&client).await, written, "after another kill");
    assert_eq!(value(&client, "SELECT n FROM n").await, written.len().to_string());
}
