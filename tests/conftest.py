"""Fixtures for all tests, and how they are shared out."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Generator
from subprocess import CompletedProcess
from typing import Any

import pytest
from distribution import Together, arrange
from mpi_launch import run_mpi
from skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]  # hooks


def pytest_configure() -> None:
    """Let what tests start hear SIGINT, which a shell that runs them in the background lets them ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def mpiexec() -> Callable[..., CompletedProcess[str]]:
    """Return `mpi_launch.run_mpi`: `mpiexec(4, [sys.executable, "program.py"], timeout=60)`."""
    return run_mpi


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Share tests out; then undo a skip of pytest-mpi's: it takes the folder `mpi` for its marker of that name."""
    arrange(config, items)
    yield
    for item in items:
        if not any(mark.name == "mpi" for mark in item.iter_markers()):
            item.own_markers = [mark for mark in item.own_markers if not _needs_mpi(mark)]


def _needs_mpi(mark: pytest.Mark) -> bool:
    return mark.name == "skip" and "need --with-mpi" in mark.kwargs.get("reason", "")


def pytest_collection_finish() -> None:
    """Let the collector of garbage never look again through all that is imported: a sixth of what tests take."""
    gc.collect()
    gc.freeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    config.option.loadscopereorder = False  # by the number of tests, which says little
    return Together(config, log)
