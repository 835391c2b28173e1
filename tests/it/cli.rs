//! The program as an operator meets it: arguments, configuration, ports, starting and stopping.

use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};

use crate::fixture::{BINARY, Server, command};

fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    command(folder.path()).args(arguments).output().expect("the binary runs")
}

/// The one sentence of a failed start.
fn refusal(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "a server that did not start says nothing on stdout");
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap_or_default().to_string()
}

#[test]
fn version_and_help() {
    let version = Command::new(BINARY).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), concat!("riverrun ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = String::from_utf8(Command::new(BINARY).arg("--help").output().unwrap().stdout).unwrap();
    for flag in ["--data-dir", "--listen", "--http-listen", "--config", "--insecure", "127.0.0.1:7432", "RIVERRUN_"] {
        assert!(help.contains(flag), "{flag} is missing in:\n{help}");
    }
}

#[test]
fn a_wrong_configuration_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let open = Command::new(BINARY).current_dir(folder.path()).args(["--listen", "0.0.0.0:0"]).output().unwrap();
    let open = refusal(open);
    assert!(open.contains("--insecure"), "{open}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("riverrun.toml"), "no_such = 1").unwrap();
    let unknown = refusal(command(folder.path()).output().unwrap());
    assert_eq!(unknown, "riverrun: riverrun.toml names a setting that does not exist: no_such");
    let flag = refusal(run(&["--no-such-flag"]));
    assert_eq!(flag, "riverrun: unexpected argument '--no-such-flag' found; see riverrun --help");
    let missing = refusal(run(&["--config", "elsewhere.toml"]));
    assert!(missing.contains("elsewhere.toml"), "{missing}");
}

#[test]
fn others_variables_are_theirs() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let no_text = std::ffi::OsStr::from_bytes(b"\xff");
    let start = |name: &str, value: &std::ffi::OsStr| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(BINARY);
        command.current_dir(folder.path()).args(["--listen", &address, "--http-listen", "127.0.0.1:0"]);
        refusal(command.env(name, value).output().unwrap())
    };
    // It comes as far as the port.
    assert!(start("ANYTHING", no_text).contains("is taken"));
    assert!(start("RIVERRUN_SERVICE_HOST", "10.0.0.1".as_ref()).contains("is taken"));
    assert_eq!(start("RIVERRUN_LISTEN", no_text), "riverrun: the environment's RIVERRUN_LISTEN is not UTF-8");
}

#[test]
fn a_taken_port_is_named() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(BINARY)
        .current_dir(folder.path())
        .args(["--listen", &address, "--http-listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(refusal(output), format!("riverrun: port {address} is taken by another program"));
}

#[test]
fn both_signals_end_it_well() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut server = Server::start();
        assert_eq!(server.signal(signal).code(), Some(0), "{}", server.log());
    }
}
