# What every script here needs: tools installed, and one target folder, warm where it exists. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/riverrun/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
# rustup installs here, and a new shell may not know it yet.
[ -d "$HOME/.cargo/bin" ] && export PATH="$PATH:$HOME/.cargo/bin"

# install PACKAGE COMMAND-OR-FILE: the Debian packages of pairs whose command or file is not there.
install_missing() {
  local missing=()
  while [ $# -ge 2 ]; do
    local package=$1 sign=$2
    shift 2
    if [[ $sign == /* || $sign == *'*'* ]]; then
      compgen -G "$sign" >/dev/null || missing+=("$package")
    else
      command -v "$sign" >/dev/null || missing+=("$package")
    fi
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || {
    echo "Please install: ${missing[*]} (Debian's names; this script can do it itself on Debian and Ubuntu)." >&2
    exit 1
  }
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  echo "installing: ${missing[*]}" >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# What compiling needs.
install_build_tools() {
  command -v cargo >/dev/null || {
    echo "Rust is missing: install it with rustup (https://rustup.rs), then run this again." >&2
    exit 1
  }
  install_missing build-essential c++ cmake cmake clang clang pkg-config pkg-config mold mold \
    libclang-dev '/usr/lib/llvm-*/lib/libclang*.so*' libssl-dev /usr/include/openssl/ssl.h zlib1g-dev /usr/include/zlib.h \
    libcurl4-openssl-dev '/usr/include/*/curl/curl.h'
}

# mold links in seconds; without it the system's linker does.
with_linker() {
  if command -v mold >/dev/null; then mold -run "$@"; else "$@"; fi
}

# One build for the server, its tests and the benchmarks: other selections of targets have other features of some
# dependencies, and those would be compiled twice.
build_all() {
  with_linker cargo build --release --locked --bins --test it --benches "$@"
}
