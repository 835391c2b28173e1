#!/bin/sh
# Runs flights.py in a Python environment of its own, made at the first use:
#   examples/flights/run.sh all
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv="${XDG_CACHE_HOME:-$HOME/.cache}/riverrun/flights-venv"
mkdir -p "$venv"
(
    # Two runs at once must not install into each other.
    if command -v flock >/dev/null; then flock 9; fi
    if ! [ -e "$venv/ready-1" ]; then
        python3 -m venv "$venv"
        "$venv/bin/pip" --quiet --disable-pip-version-check install -r "$here/requirements.txt"
        touch "$venv/ready-1"
    fi
) 9>"$venv/lock"
exec "$venv/bin/python" -W ignore::UserWarning "$here/flights.py" "$@"
