#!/usr/bin/env bash
# Runs the whole suite in both environments at once, because either leaves a core idle half of the time. What the second
# one prints comes after the first has ended. Arguments go to pytest.
source "$(dirname "$0")/common.sh"

run_suite() {
    PATH=$PWD/$1/bin:$PATH exec "$1/bin/python" -m pytest tests -o cache_dir="$1/.pytest_cache" "${@:2}"
}

printed=$(mktemp)
(run_suite .venv-mpio "$@" >"$printed" 2>&1) &
second=$!
# Whatever ends this script ends the second suite.
trap 'kill -TERM "$second" 2>/dev/null || true; rm -f "$printed"' EXIT

status=0
echo "== Tests with PyPI wheels alone (.venv); those with parallel HDF5 run meanwhile"
(run_suite .venv "$@") || status=1
echo "== Tests with parallel HDF5 (.venv-mpio)$( ((status)) && echo '; those in .venv have FAILED')"
tail -n +1 --pid="$second" -f "$printed"
wait "$second" || status=1
exit $status
