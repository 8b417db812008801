#!/usr/bin/env bash
# Installs what tests/cluster needs, a SLURM and the means to make hosts, where it may; without it those tests are
# skipped, and say so. No daemon is configured: the tests start their own, in network namespaces of their own.
source "$(dirname "$0")/common.sh"

command -v dpkg-query > /dev/null || exit 0
missing=()
for package in bindfs iproute2 munge slurm-client slurmctld slurmd; do
    installed "$package" || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID)) || ! command -v apt-get > /dev/null; then
    echo "parnwb: without the Debian packages ${missing[*]} and without root the tests of SLURM are skipped" >&2
    exit 0
fi
install_packages "${missing[@]}" || echo "parnwb: the tests of SLURM are skipped" >&2
