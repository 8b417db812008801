#!/usr/bin/env bash
# Installs h5wasm, HDF5 for node and the browser, into tests/interop/node_modules.
source "$(dirname "$0")/common.sh"

cd tests/interop
hash=$(cat package.json package-lock.json | sha256sum)
is_current node_modules h5wasm "$hash" && exit 0
echo "Installing h5wasm into tests/interop/node_modules"
npm ci --silent --no-audit --no-fund || fail "npm could not install h5wasm"
mark_current node_modules h5wasm "$hash"
