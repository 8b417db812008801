#!/usr/bin/env bash
# Installs what tests need of node: h5wasm (HDF5 for node and the browser) and axe-core (faults of accessibility).
source "$(dirname "$0")/common.sh"

# install DIR NAME: by DIR's package-lock.json, unless that has been done.
install() {
    local hash
    hash=$(cat "$1/package.json" "$1/package-lock.json" | sha256sum)
    is_current "$1/node_modules" "$2" "$hash" && return
    echo "Installing $2 into $1/node_modules"
    (cd "$1" && npm ci --silent --no-audit --no-fund) || fail "npm could not install $2"
    mark_current "$1/node_modules" "$2" "$hash"
}

install tests/interop h5wasm
install tests/report axe-core
