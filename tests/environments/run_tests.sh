#!/usr/bin/env bash
# Runs the whole suite in both environments at once, in several processes each, because tests of MPI programs wait for
# most of their time. The second environment is made meanwhile, if it has to be: its h5py takes minutes to build. What it
# prints comes after the first has ended; at the end are the failures and the closing lines of both. Arguments go to
# pytest.
source "$(dirname "$0")/common.sh"

# Two on two cores. More than one for each core make ranks wait for each other. (nproc heeds OMP_NUM_THREADS.)
processes=$(($(env -u OMP_NUM_THREADS nproc) / 2 + 1))

# run_suite DIR ARGUMENT...
run_suite() {
    PATH=$PWD/$1/bin:$PATH exec "$1/bin/python" -m pytest tests -o cache_dir="$1/.pytest_cache" -n "$processes" --durations=30 \
        --durations-min=5 --continue-on-collection-errors "${@:2}"
}

# closing FILE: failures and closing line of a suite, as pytest printed them.
closing() {
    grep -E '^(FAILED|ERROR) ' "$1" || true
    tail -n 1 "$1"
}

first=$(mktemp) second=$(mktemp)
# What is the same with any MPI and any HDF5 has run in .venv (tests/distribution.py).
(tests/environments/mpio.sh && run_suite .venv-mpio -m 'not once' "$@") > "$second" 2>&1 &
running=$!
# Whatever ends this script ends the second suite, and shows how far it came.
shown=0
finish() {
    kill -TERM "$running" 2> /dev/null || true
    if ((!shown)); then
        echo "== Tests with parallel HDF5 (.venv-mpio) were ended after"
        tail -n 20 "$second"
    fi
    rm -f "$first" "$second"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

status=0
echo "== Tests with PyPI wheels alone (.venv); those with parallel HDF5 run meanwhile"
(run_suite .venv "$@") 2>&1 | tee "$first" || status=1
echo "== Tests with parallel HDF5 (.venv-mpio)$( ((status)) && echo '; those in .venv have FAILED')"
tail -n +1 --pid="$running" -f "$second"
shown=1
ended=0
wait "$running" || ended=$?
# 5: none was left for it of those that the arguments choose
((ended == 0 || ended == 5)) || status=1
echo "== Both: .venv, then .venv-mpio"
closing "$first"
closing "$second"
exit $status
