#!/usr/bin/env bash
# Makes .venv from PyPI wheels alone, MPI included: no compiler, no system packages.
# `wheels.sh demo` is enough to convert recordings, `wheels.sh docs` adds what the pages need, `wheels.sh test` also what
# tests and lint do.
source "$(dirname "$0")/common.sh"

case ${1:-} in
    demo) extras=demo levels=demo ;;
    docs) extras=demo,docs levels="demo docs" ;;
    test) extras=demo,inspect,test,lint,bench,docs levels="demo docs test" ;;
    *) fail "usage: wheels.sh demo|docs|test" ;;
esac

check_python
"$python" -c 'import sys; sys.exit(sys.version_info >= (3, 14))' ||
    fail "$python is $("$python" -V 2>&1), for which neuroconv has not all that it needs; name 3.10 to 3.13 with PYTHON=..."
make_venv .venv
hash=$(fingerprint)
if ! is_current .venv "$1" "$hash"; then
    echo "Installing parnwb[$extras] into .venv"
    quietly .venv/bin/pip install --quiet --only-binary :all: --editable ".[$extras]" ||
        fail "pip could not install parnwb[$extras]: see what it says above"
    for level in $levels; do
        mark_current .venv "$level" "$hash"
    done
fi
