"""Which skips are no fault. All others are, where ``PARNWB_EXPECTED_SKIPS_ONLY`` is set: in continuous integration.

A test that is skipped because something is missing says so, and that helps whoever has not got it. Where all that the
tests need is there or can be installed, such a skip hides that something was not tested at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import pytest

EXPECTED = (
    # What belongs to the other of the two environments, or to an MPI or HDF5 that neither of them has.
    r"this h5py was built without MPI",
    r"plain pynwb needs parallel HDF5 to take a communicator",
    r"stops MPICH's launcher",
    r"srun starts Open MPI's ranks in all other tests of clusters",
    r"this HDF5 (records skipped filters under mpio|cannot encode szip|counts chunks from the first)",
    r"the same in both environments",
    r"backend mpio needs parallel HDF5: .venv-mpio has it",
    r"plots are drawn where matplotlib is, in the other environment",
    # What no package brings: a kernel's options, the age of Python.
    r"needs root and a kernel with CONFIG_QFMT_V2",
    r"Python 3\.11 reads TOML",
    r"the image with parallel HDF5 is Open MPI's|its nodes are the image with Open MPI",
)
# What `make containers` runs, and the rest of the suite does not.
OF_CONTAINERS = (
    r"images take minutes to build: make containers",
    r"charliecloud is not installed",
)
# What `make installed` runs, for the Pythons that there are.
OF_INSTALLED = (
    r"environments take minutes to install: make installed",
    r"there is no Python 3\.\d+: name it in PYTHONS",
)


def is_expected(reason: str) -> bool:
    """Return whether a test may be skipped for this reason wherever it runs."""
    patterns = (*EXPECTED, *OF_INSTALLED, *(() if os.environ.get("PARNWB_CONTAINERS") else OF_CONTAINERS))
    return any(re.search(pattern, reason) for pattern in patterns)


def refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Let a skip that is not expected be a failure. A test that fails as expected is "skipped" too, and stays so."""
    if not os.environ.get("PARNWB_EXPECTED_SKIPS_ONLY") or not report.skipped or hasattr(report, "wasxfail"):
        return
    assert isinstance(report.longrepr, tuple)
    path, line, text = report.longrepr
    reason = text.removeprefix("Skipped: ")
    if not is_expected(reason):
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: skipped where nothing should be missing: {reason} (tests/skips.py)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse(report)
    return report
