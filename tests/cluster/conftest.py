"""Hosts and a SLURM for all tests of a folder, where root and the packages allow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import hosts, slurm
from cluster.account import Account


@pytest.fixture(scope="session")
def two_hosts() -> Iterator[hosts.Hosts]:
    """Give a head and two nodes."""
    if (reason := hosts.why_not()) is not None:
        pytest.skip(reason)
    with hosts.hosts_up() as made:
        yield made


@pytest.fixture(scope="session")
def cluster() -> Iterator[slurm.Slurm]:
    """Give a SLURM with two nodes, hosts of its own."""
    if (reason := hosts.why_not() or slurm.why_not()) is not None:
        pytest.skip(reason)
    with hosts.hosts_up() as made, slurm.slurm_up(made) as running:
        yield running


@pytest.fixture(scope="module")
def account(cluster: slurm.Slurm, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """Give a user's account on the cluster."""
    return Account.create(cluster, tmp_path_factory.mktemp("home"))
