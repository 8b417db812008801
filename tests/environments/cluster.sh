#!/usr/bin/env bash
# Installs what tests/cluster needs, a SLURM and the means to make hosts, where it may; without it those tests are
# skipped, and say so. No daemon is configured: the tests start their own, in network namespaces of their own.
source "$(dirname "$0")/common.sh"
install_optional SLURM bindfs iproute2 munge slurm-client slurmctld slurmd
