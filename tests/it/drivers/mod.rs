//! Drivers that programs use, each with a program of its own language beside this file: psycopg 3 from PyPI, pgjdbc from Maven.
//!
//! The programs are written so that they pass on PostgreSQL 15 too, but for the materialized views.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixture::{Server, wait};
use crate::maven;

const PSYCOPG: &str = "3.3.9";
const PGJDBC: &str = "42.7.8";

/// Runs a test program to its end; fails with what it printed.
fn run(command: &mut Command, server: &Server) {
    let said = server.folder().join("program.out");
    let file = fs::File::create(&said).expect("a file for the program's output");
    command.arg(server.port.to_string()).stdin(Stdio::null()).stderr(file.try_clone().unwrap()).stdout(file);
    let status = wait(&mut command.spawn().expect("the test program starts"));
    let said = fs::read_to_string(&said).unwrap_or_default();
    assert!(status.success(), "{said}");
    assert!(said.contains(" tests, 0 failed"), "{said}");
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/drivers").join(name)
}

/// A folder with psycopg for PYTHONPATH, made at the first use on this machine.
fn psycopg_packages() -> PathBuf {
    let folder = maven::cache().join(format!("psycopg-{PSYCOPG}"));
    if folder.is_dir() {
        return folder;
    }
    let part = folder.with_extension(format!("part-{}", std::process::id()));
    fs::create_dir_all(&part).expect("making the cache folder");
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(&part).output();
        let output = output.expect("python3 is needed for the tests of psycopg (install python3-venv)");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(Path::new("python3"), &["-m", "venv", "venv"]);
    let package = format!("psycopg[binary]=={PSYCOPG}");
    let install = ["--quiet", "--disable-pip-version-check", "install", "--target", "packages", package.as_str()];
    run(&part.join("venv/bin/pip"), &install);
    if fs::rename(part.join("packages"), &folder).is_err() {
        assert!(folder.is_dir(), "moving psycopg to {}", folder.display());
    }
    let _ = fs::remove_dir_all(&part);
    folder
}

#[test]
fn psycopg() {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", psycopg_packages()).env("PYTHONDONTWRITEBYTECODE", "1");
    run(python.arg(program("psycopg_test.py")), &Server::start());
}

#[test]
fn pgjdbc() {
    let jars = maven::libraries("org.postgresql", "postgresql", PGJDBC);
    // From its source: the launcher compiles it in memory, which needs a JDK.
    let mut java = Command::new("java");
    java.args(["-Dfile.encoding=UTF-8", "-cp", &format!("{}/*", jars.display())]);
    run(java.arg(program("PgjdbcTest.java")), &Server::start());
}
