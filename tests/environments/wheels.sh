#!/usr/bin/env bash
# Makes .venv from PyPI wheels alone, MPI included: no compiler, no system packages.
# `wheels.sh demo` is enough to convert recordings, `wheels.sh test` adds what tests and lint need.
source "$(dirname "$0")/common.sh"

case ${1:-} in
    demo) extras=demo levels=demo ;;
    test) extras=demo,inspect,test,lint,bench levels="demo test" ;;
    *) fail "usage: wheels.sh demo|test" ;;
esac

make_venv .venv
hash=$(fingerprint)
if ! is_current .venv "$1" "$hash"; then
    echo "Installing parnwb[$extras] into .venv"
    .venv/bin/pip install --quiet --only-binary :all: --editable ".[$extras]" ||
        fail "pip could not install parnwb[$extras]: see its message above"
    for level in $levels; do
        mark_current .venv "$level" "$hash"
    done
fi
