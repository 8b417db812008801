#!/usr/bin/env bash
# Sees that the Debian packages are there which the tests need: installs what is missing when it may,
# and names it otherwise.
source "$(dirname "$0")/common.sh"

command -v dpkg-query > /dev/null ||
    fail "make test needs Debian or Ubuntu (elsewhere: tests/environments/wheels.sh test, then .venv/bin/pytest)"

missing=()
for package in gcc hdf5-tools libhdf5-openmpi-dev libopenmpi-dev openmpi-bin; do
    installed "$package" || missing+=("$package")
done
# These may come from elsewhere: pyenv, nodesource.
command -v "$python" > /dev/null || missing+=(python3)
"$python" -c 'import venv, ensurepip' 2> /dev/null || missing+=(python3-venv)
"$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2> /dev/null ||
    missing+=(python3-dev)
command -v node > /dev/null || missing+=(nodejs)
command -v npm > /dev/null || missing+=(npm)
((${#missing[@]})) || exit 0

if ((EUID)) || ! command -v apt-get > /dev/null; then
    fail "missing Debian packages: ${missing[*]}; install them with: sudo apt-get install ${missing[*]}"
fi
install_packages "${missing[@]}" || fail "missing Debian packages, and apt-get failed: ${missing[*]}"
