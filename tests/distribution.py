"""Which tests run in one environment only, which of them share a process, and what is begun with.

`make test` runs the suite in two environments at once, and in each of them in several processes, because tests of MPI
programs wait for most of their time.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

HERE = Path(__file__).parent

# What is the same with any MPI and any HDF5, and so is run once, in `.venv`. Nothing that starts ranks or that looks
# at what HDF5 reads and writes is of these, unless it bears the mark `once` itself.
ONCE = (
    "benchmarks/test_goals.py",
    "cli/test_first_import.py",
    "report",
    "unit/backends",
    "unit/codec",
    "unit/commits/test_journal.py",
    "unit/drawing",
    "unit/sources/test_array.py",
    "unit/sources/test_binary.py",
    "unit/sources/test_growing.py",
    "unit/sources/test_iterator.py",
    "unit/sources/test_joined.py",
    "unit/sources/test_listed.py",
    "unit/sources/test_recording.py",
    "unit/target",
    "unit/test_allocator.py",
    "unit/planning/test_decomposition.py",
    "unit/test_element.py",
    "unit/test_exactness.py",
    "unit/test_errors.py",
    "unit/test_hyperslab.py",
    "unit/recordings/test_interfaces.py",
    "unit/test_interrupts.py",
    "unit/test_iterator.py",
    "unit/streaming/test_layers.py",
    "unit/test_layout.py",
    "unit/jobscript",
    "unit/recordings/test_made_recording.py",
    "unit/machine",
    "unit/recordings/test_metadata.py",
    "unit/test_model.py",
    "unit/test_neuroconv.py",
    "unit/planning/test_plan.py",
    "unit/progress",
    "unit/test_timeline.py",
    "unit/test_timing.py",
    "unit/planning/test_write_queue.py",
)
# Files are the units that processes are given, because their tests share launches. Those of these folders share hosts
# and recordings ...
FOLDERS = ("cluster", "unit/sources", "unit/codec", "unit/commits", "unit/target")
# ... and those of these files share little.
FUNCTIONS = ("failure/test_boundaries.py", "failure/test_watchdog.py")
# What takes longest: no process is to be alone with it in the end.
LONG = (
    "cluster",
    "docs/test_site.py",
    "failure/test_boundaries.py",
    "failure/test_kill.py",
    "contract/test_contract.py",
    "failure/test_faults.py",
    "failure/test_storage_faults.py",
    "failure/test_bad_disk.py",
    "failure",
    "benchmarks",
    "contract",
)


def path_of(nodeid: str) -> str:
    """Return the file of a test, seen from the folder of the tests."""
    return nodeid.partition("::")[0].removeprefix("tests/")


def listed(path: str, places: tuple[str, ...]) -> str | None:
    """Return the first of these files and folders that a path is, or lies in."""
    return next((place for place in places if path == place or path.startswith(f"{place}/")), None)


@cache
def order(path: str) -> int:
    place = listed(path, LONG)
    return LONG.index(place) if place else len(LONG)


class Together(LoadScopeScheduling):
    """Gives a process all tests of a file, of a folder, or of a function."""

    def _split_scope(self, nodeid: str) -> str:
        path = path_of(nodeid)
        if listed(path, FUNCTIONS):
            return nodeid.partition("[")[0]
        return listed(path, FOLDERS) or path


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what runs once, and put what takes longest first where several processes share the tests."""
    for item in items:
        if listed(path_of(item.nodeid), ONCE):
            item.add_marker(pytest.mark.once)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: order(path_of(item.nodeid)))
