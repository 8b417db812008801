# Sourced by the scripts beside it: the checkout's root as working folder, and functions for virtual environments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1

# h5py on parallel HDF5 is built in this version, with the MPI of Debian's package openmpi-bin.
h5py_version=3.16.0

fail() {
    echo "parnwb: $*" >&2
    exit 1
}

# Fails with one line unless $python is new enough and can make virtual environments.
check_python() {
    command -v "$python" > /dev/null || fail "$python was not found; Debian: apt-get install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "Python >= 3.10 is needed and $python is $("$python" -V 2>&1); name a newer one with PYTHON=..."
    "$python" -c 'import venv' 2> /dev/null ||
        fail "$python cannot make virtual environments; Debian: apt-get install python3-venv"
}

# make_venv DIR: an empty environment, kept if it is there already for this Python and this folder.
make_venv() {
    local identity
    check_python
    identity="$PWD/$1 $("$python" -c 'import sys; print(sys.base_prefix, *sys.version_info[:2])')"
    if [[ -f $1/.made-for && $(< "$1/.made-for") == "$identity" ]] && "$1/bin/python" -c '' 2> /dev/null; then
        return
    fi
    [[ ! -e $1 || -f $1/.made-for ]] || fail "$1 is there but was not made by make: move it away"
    rm -rf "$1"
    mkdir "$1"
    echo incomplete > "$1/.made-for"
    if "$python" -c 'import ensurepip' 2> /dev/null; then
        "$python" -m venv "$1"
    else  # Debian and Ubuntu have it in python3-venv
        "$python" -m venv --without-pip "$1"
        "$1/bin/python" tests/environments/bootstrap_pip.py ||
            fail "pip could not be fetched from PyPI; Debian: apt-get install python3-venv"
    fi
    echo "$identity" > "$1/.made-for"
}

# What an environment depends on, as one hash. Arguments: further files.
fingerprint() {
    { echo "$h5py_version"; cat pyproject.toml parnwb/codec/planes.c "$@"; } | sha256sum | cut -d ' ' -f 1
}

# is_current DIR NAME HASH: whether `mark_current` was called with the same.
is_current() {
    [[ -f $1/.installed-$2 && $(< "$1/.installed-$2") == "$3" ]]
}

mark_current() {
    echo "$3" > "$1/.installed-$2"
}

# installed PACKAGE: whether Debian's package is.
installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null) == installed ]]
}

# quietly COMMAND...: what it says is shown only if it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" &> "$log" || status=$?
    ((status == 0)) || tail -n 60 "$log" >&2
    rm -f "$log"
    return $status
}

# install_packages PACKAGE...: Debian's, as root; says what went wrong if it does.
install_packages() {
    echo "Installing $*"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update && quietly apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# install_optional WHAT PACKAGE...: Debian's, where that is allowed; without them the tests of WHAT are skipped.
install_optional() {
    local what=$1 package missing=()
    command -v dpkg-query > /dev/null || return 0
    for package in "${@:2}"; do
        installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID)) || ! command -v apt-get > /dev/null; then
        echo "parnwb: without the Debian packages ${missing[*]} and without root the tests of $what are skipped" >&2
        return 0
    fi
    install_packages "${missing[@]}" || echo "parnwb: the tests of $what are skipped" >&2
}
