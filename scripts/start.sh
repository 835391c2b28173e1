#!/usr/bin/env bash
# Installs what is missing, builds, and starts the server on its embedded log. Arguments go to riverrun.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
install_build_tools
install_missing postgresql-client psql
build_all
exec "$CARGO_TARGET_DIR/release/riverrun" "$@"
