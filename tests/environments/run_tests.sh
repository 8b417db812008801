#!/usr/bin/env bash
# Runs the whole suite in each environment, the second one even if the first has failed. Arguments go to pytest.
source "$(dirname "$0")/common.sh"

run_suite() {
    PATH=$PWD/$1/bin:$PATH "$1/bin/python" -m pytest tests "${@:2}"
}

status=0
echo "== Tests with PyPI wheels alone (.venv)"
run_suite .venv "$@" || status=1
echo "== Tests with parallel HDF5 (.venv-mpio)$( ((status)) && echo '; those in .venv have FAILED')"
run_suite .venv-mpio "$@" || status=1
exit $status
