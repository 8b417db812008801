"""Calls that fail while a file is written: one clear error, nothing wrong under the final name, and it goes on."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from failure.injected.injection import Injection, compiled
from failure.injected.program import FRESH, PLACE, RESUMED, Case
from mpi_launch import run_mpi

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "injected" / "program.py"
SECONDS = 400
PARTIAL, JOURNAL, FOLDER = ".partial", ".journal", "/" + PLACE


def cases_of_one_rank() -> list[Case]:
    """Return every kind of call on every file, with every error that it may have, early, midway and late.

    The numbers are those of the calls that an attempt makes: the first, some of each step, and the last.
    """
    found: list[Case] = []

    def add(stages: list[str], kind: str, file: str, numbers: list[int], errors: list[str], **how: Any) -> None:
        fails = how.pop("fails", True)
        for stage in stages:
            for number in numbers:
                for error in errors:
                    found.append(Case(stage, Injection(kind, file, number, error, **how), fails=fails))

    both = [FRESH, RESUMED]
    full = ["ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS"]
    add(both, "write", PARTIAL, [1, 2, 20], full)
    add(both, "write", PARTIAL, [12], full, part=5)  # the system does a part, and tells why in the next call
    add([FRESH], "write", PARTIAL, [32, 34], ["EIO"])
    add([RESUMED], "write", PARTIAL, [24, 26], ["EIO"])
    add(both, "write", JOURNAL, [1, 2, 3], full)
    add(both, "write", JOURNAL, [4], full, part=1000)
    add([FRESH], "write", JOURNAL, [8, 9], ["ENOSPC"])
    add([RESUMED], "write", JOURNAL, [6, 7], ["ENOSPC"])
    # Once only: a second fsync would succeed, as it does after the kernel has dropped what it could not write.
    add(both, "sync", PARTIAL, [1, 2, 5, 6], ["EIO", "ENOSPC", "EDQUOT", "EROFS"], times=1)
    add([FRESH], "sync", PARTIAL, [7, 8], ["EIO"], times=1)
    add(both, "sync", JOURNAL, [1, 2, 3, 7, 8], ["EIO", "ENOSPC", "EDQUOT", "EROFS"], times=1)
    add([FRESH], "sync", JOURNAL, [9], ["EIO"], times=1)
    add([FRESH], "sync", FOLDER, [1, 2], ["EIO", "ENOSPC", "EROFS"], times=1)
    add([RESUMED], "sync", FOLDER, [1], ["EIO", "ENOSPC", "EROFS"], times=1)
    add(both, "truncate", PARTIAL, [1], ["EIO", "EFBIG", "EROFS"])
    add([RESUMED], "truncate", JOURNAL, [1], ["EIO", "EROFS"])
    add(both, "rename", PARTIAL, [1], ["EIO", "EROFS", "ENOSPC", "EDQUOT", "EINTR", "EACCES"])
    add(both, "open", PARTIAL, [1, 2, 3, 4], ["EIO", "EMFILE", "EROFS", "EACCES"])
    add([FRESH], "open", JOURNAL, [1, 2], ["EIO", "ENOSPC", "EROFS"])
    add([RESUMED], "open", JOURNAL, [1, 2, 3], ["EIO", "EMFILE"])
    add([FRESH], "unlink", PARTIAL, [1], ["EIO", "EROFS"])
    add([FRESH], "unlink", JOURNAL, [1, 2], ["EIO", "EROFS"])
    # The file has its name by then; what is left of the journal, the next attempt removes.
    add([FRESH], "unlink", JOURNAL, [3], ["EIO", "EROFS"], fails=False)
    add([RESUMED], "unlink", JOURNAL, [1], ["EIO", "EROFS"], fails=False)
    add([FRESH], "read", PARTIAL, [1], ["EIO"])  # where a rank looks whether it sees the root's file
    add([RESUMED], "read", PARTIAL, [1, 8, 15], ["EIO"])  # of the committed chunks, and there
    add([RESUMED], "read", JOURNAL, [1, 4, 8], ["EIO"])
    # What Python and parnwb go on with.
    for stage in both:
        for kind, file in [("write", PARTIAL), ("write", JOURNAL)]:
            for part in (1, 1000):
                found.append(Case(stage, Injection(kind, file, part=part, times=400), fails=False))
    found.append(Case(RESUMED, Injection("read", PARTIAL, part=1, times=400), fails=False))
    add(both, "write", PARTIAL, [1, 9], ["EINTR"], times=3, fails=False)
    add(both, "write", JOURNAL, [1, 3], ["EINTR"], times=3, fails=False)
    for file in (PARTIAL, JOURNAL):
        for stage in both:
            found.append(Case(stage, Injection("sync", file, 2, "EINTR", times=3), fails=None))
    add(both, "truncate", PARTIAL, [1], ["EINTR"], times=3, fails=False)
    add(both, "open", PARTIAL, [1, 3], ["EINTR"], times=3, fails=False)
    return found


def cases_of_several_ranks() -> list[Case]:
    """Return faults on the root, and on a rank that only writes and syncs; its n-th call may not come."""
    found = []
    for rank in (0, -1):
        for stage in (FRESH, RESUMED):
            for number in (1, 3):
                for error in ("ENOSPC", "EIO", "EROFS"):
                    found.append(Case(stage, Injection("write", PARTIAL, number, error), rank, None))
            for number in (1, 2):
                found.append(Case(stage, Injection("sync", PARTIAL, number, "EIO", times=1), rank, None))
            found.append(Case(stage, Injection("write", PARTIAL, 1, "EDQUOT", part=7), rank, None))
            found.append(Case(stage, Injection("write", PARTIAL, part=1, times=200), rank, False))
            found.append(Case(stage, Injection("open", PARTIAL, 1, "EMFILE"), rank))
    for stage in (FRESH, RESUMED):
        for number in (1, 2, 4):
            found.append(Case(stage, Injection("write", JOURNAL, number, "ENOSPC", part=50), 0, None))
            found.append(Case(stage, Injection("sync", JOURNAL, number, "EIO", times=1), 0, None))
        found.append(Case(stage, Injection("rename", PARTIAL, 1, "EIO")))
        found.append(Case(stage, Injection("truncate", PARTIAL, 1, "EIO")))
    return found


CASES = {1: cases_of_one_rank(), 3: cases_of_several_ranks()}


@cache
def library() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="parnwb-failing-"))
    return compiled(folder)


@pytest.fixture(scope="module", autouse=True)
def compiler() -> Iterator[None]:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler, which makes the library that lets calls fail")
    yield
    shutil.rmtree(library().parent)
    library.cache_clear()


@cache
def launched(ranks: int) -> dict[str, Any]:
    """Run all cases in one launch and return their results by name, and how it ended."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="parnwb-injected-", dir=base) as name:
        folder = Path(name)
        cases = folder / "cases.json"
        cases.write_text(json.dumps([case.to_json() for case in CASES[ranks]]))
        environment = {"LD_PRELOAD": str(library()), "PYTHONPATH": python_path()}
        try:
            done = run_mpi(ranks, [sys.executable, PROGRAM, folder, cases], timeout=SECONDS, env=environment)
        except AssertionError as hang:
            return {"ended": str(hang)}
        results = {found["case"]: found for found in map(json.loads, done.stdout.splitlines())}
        return {**results, "ended": f"exit status {done.returncode}: {done.stderr[-3000:]}"}


def python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def check(case: Case, ranks: int) -> None:
    results = launched(ranks)
    assert str(case) in results, f"did not come to its end: {results['ended']}"
    result = results[str(case)]
    assert not result["problem"], f"{result['problem']}\n{result['outcomes']}"
    assert result["hits"] or ranks > 1, f"only {result['seen']} such calls: the test tests nothing"


@pytest.mark.once  # one process; those of three ranks run with either MPI
@pytest.mark.parametrize("case", CASES[1], ids=str)
def test_fault_on_one_rank(case: Case) -> None:
    check(case, 1)


@pytest.mark.parametrize("case", CASES[3], ids=str)
def test_fault_on_one_of_three_ranks(case: Case) -> None:
    check(case, 3)


def test_most_faults_on_three_ranks_hit() -> None:
    """Who writes how often is not the same each time, but mostly is often enough."""
    results = launched(3)
    hit = [results.get(str(case), {"hits": 0})["hits"] > 0 for case in CASES[3]]
    assert sum(hit) > 0.7 * len(hit), results["ended"]
