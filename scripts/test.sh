#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests: those in process, then those against the real server, psql,
# psycopg, pgjdbc, Apache Kafka and PostgreSQL. Arguments go to the tests (a name to select some). The tests of a full disk mount a
# small file system, as root or in a namespace of users; RIVERRUN_NO_SMALL_DISK=1 leaves them out.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
install_build_tools
install_missing postgresql-client psql default-jdk-headless javac maven mvn python3-venv '/usr/lib/python3*/ensurepip' \
  postgresql '/usr/lib/postgresql/*/bin/postgres'
# The tests in process are our crate compiled once more: without optimisation that takes a fifth of the time.
with_linker cargo test --release --locked --lib --config 'profile.release.package.riverrun.opt-level=0' "$@"
build_all
with_linker cargo test --release --locked --test it "$@"
