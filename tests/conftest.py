"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
from mpi_launch import run_mpi


@pytest.fixture
def mpiexec() -> Callable[..., CompletedProcess[str]]:
    """Return `mpi_launch.run_mpi`: `mpiexec(4, [sys.executable, "program.py"], timeout=60)`."""
    return run_mpi


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Undo a skip of pytest-mpi's: it takes the name of the folder `mpi` for its marker of that name."""
    for item in items:
        if item.get_closest_marker("mpi") is None:
            item.own_markers = [mark for mark in item.own_markers if not _needs_mpi(mark)]


def _needs_mpi(mark: pytest.Mark) -> bool:
    return mark.name == "skip" and "need --with-mpi" in mark.kwargs.get("reason", "")
