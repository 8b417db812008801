"""The image whose ranks this environment's MPI can start, built once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import hosts, slurm
from cluster.account import Account
from containers.podman import BASE, FILES, ROOT, Podman, why_not
from mpi_launch import mpi_vendor


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """Give podman with a base image."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    return Podman.create(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="session")
def image(podman: Podman) -> str:
    """Give the image."""
    file = FILES[mpi_vendor()]
    return podman.build(f"localhost/parnwb-test-{mpi_vendor()}", ROOT / "docker" / file, BASE=BASE, VERSION="1.2.3")


@pytest.fixture(scope="session")
def unpacked(podman: Podman, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the image's root, for charliecloud."""
    return podman.unpack(image, tmp_path_factory.mktemp("image") / "root")


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Give a user's account on a SLURM with two nodes."""
    if (reason := hosts.why_not() or slurm.why_not()) is not None:
        pytest.skip(reason)
    with hosts.hosts_up() as made, slurm.slurm_up(made) as running:
        yield Account.create(running, tmp_path_factory.mktemp("home"))
