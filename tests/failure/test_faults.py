"""Every fault, on each backend and on several numbers of ranks: one clear error on all ranks, and no file."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from failure.faults import (  # noqa: F401
    in_appends,
    in_calls,
    in_content,
    in_copies,
    in_growth,
    in_links,
    in_movies,
    in_other_files,
    in_places,
    in_pynwb,
    in_rank_data,
    in_sources,
    in_target,
)
from failure.faults.fault import FAULTS, Fault, applicable
from failure.mounts import SMALL_BYTES, mounted
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip

PROGRAM = Path(__file__).parent / "program.py"
SECONDS = 420
# What no fault may take: far above what the slowest needs on a busy machine.
FAULT_SECONDS = 30

WAYS = [
    ("direct", "independent", 1),
    ("direct", "independent", 2),
    ("direct", "independent", 3),
    ("direct", "independent", 4),
    ("mpio", "independent", 3),
    ("mpio", "collective", 1),
    ("mpio", "collective", 4),
]
# These are refused before a backend is chosen, so that one number of ranks on one backend is enough.
EARLY = ("keyword_", "refused_", "differs_in", "ranks_differ", "folder_is", "name_", "output_is", "partial_name")
EARLY += ("existing_file_mode", "existing_dangling", "error_of", "error_that", "error_with", "no_communicator")
EARLY += ("append_to_",)
# These are refused by the root before a backend is chosen: a single rank, and three.
OF_ONE_AND_THREE = ("link_", "movie_")


def chosen(backend: str, transfer: str, ranks: int) -> list[Fault]:
    """Return the faults of one launch: those that know no backend only once, on three ranks."""
    faults = applicable(ranks, backend)
    everything = (backend, ranks) == ("direct", 3)
    here = EARLY if (backend, ranks) == ("direct", 1) else (*EARLY, *OF_ONE_AND_THREE)
    return [fault for fault in faults if everything or not fault.name.startswith(here)]


# What needs no parallel HDF5 is the same with any MPI but for the number of ranks that it is tried on with the second.
BOTH_MPIS = ("direct", "independent", 3)


def given(way: tuple[str, str, int], *more: Any, name: str = "") -> Any:
    """Return the parameters of a test of one way."""
    marks = [pytest.mark.once] if way[0] == "direct" and way != BOTH_MPIS else []
    return pytest.param(way, *more, id="-".join([*map(str, way), *([name] if name else [])]), marks=marks)


CASES = [given(way, fault, name=fault.name) for way in WAYS for fault in chosen(*way)]


def parallel_hdf5() -> bool:
    import h5py

    return bool(h5py.get_config().mpi)


@pytest.fixture(scope="module")
def mounts() -> Iterator[dict[str, str]]:
    """Mount a file system that soon is full and one that is read-only; what is refused is missing."""
    with ExitStack() as made:
        folders = {
            "PARNWB_TEST_SMALL": made.enter_context(mounted(f"size={SMALL_BYTES}")),
            "PARNWB_TEST_READ_ONLY": made.enter_context(mounted("ro")),
        }
        yield {name: str(folder) for name, folder in folders.items() if folder is not None}


@cache
def launched(backend: str, transfer: str, ranks: int, mounts: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """Run all faults of one way in one launch and return what each rank caught, by fault."""
    names = [fault.name for fault in chosen(backend, transfer, ranks) if needs(fault) <= dict(mounts).keys()]
    folder = Path(tempfile.mkdtemp(prefix="parnwb-failure-"))
    try:
        done = run_mpi(
            ranks,
            [sys.executable, PROGRAM, folder, backend, transfer, *names],
            timeout=SECONDS,
            env={**dict(mounts), "PARNWB_TEST_SECONDS": str(SECONDS - 10), "PYTHONPATH": python_path()},
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        results: dict[str, Any] = {line["name"]: line for line in lines}
        results["ended"] = f"exit status {done.returncode}; standard error ends with\n{done.stderr[-4000:]}"
        results["status"] = done.returncode
        return results
    except AssertionError as hang:
        return {"ended": str(hang), "status": None}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def python_path() -> str:
    return os.pathsep.join(filter(None, [str(PROGRAM.parents[2]), os.environ.get("PYTHONPATH")]))


def needs(fault: Fault) -> set[str]:
    """Return the mounts that a fault uses."""
    return {
        "PARNWB_TEST_" + name
        for name, prefix in {"SMALL": "disk_is_full", "READ_ONLY": "folder_is_read_only"}.items()
        if fault.name.startswith(prefix)
    }


@pytest.mark.parametrize(("way", "fault"), CASES)
def test_fault(way: tuple[str, str, int], fault: Fault, mounts: dict[str, str]) -> None:
    if way[0] == "mpio" and not parallel_hdf5():
        pytest.skip("this h5py was built without MPI")
    if not needs(fault) <= mounts.keys():
        pytest.skip("mounting a file system is refused here; it needs root")
    results = launched(*way, frozenset(mounts.items()))
    assert fault.name in results, f"{fault.name} did not come to its end: {results['ended']}"
    check(fault, results[fault.name])


@pytest.mark.parametrize("way", [given(way) for way in WAYS])
def test_program_ends_well_after_its_faults(way: tuple[str, str, int], mounts: dict[str, str]) -> None:
    """No fault leaves anything behind that fails, hangs or crashes at the end of the program."""
    if way[0] == "mpio" and not parallel_hdf5():
        pytest.skip("this h5py was built without MPI")
    results = launched(*way, frozenset(mounts.items()))
    assert results["status"] == 0, results["ended"]


def check(fault: Fault, result: dict[str, Any]) -> None:
    """Check what all ranks caught, and the folder."""
    outcomes = result["outcomes"]
    assert max(one["seconds"] for one in outcomes) < FAULT_SECONDS, outcomes
    kinds, texts = [one["kind"] for one in outcomes], [one["text"] for one in outcomes]
    if fault.error is None:
        assert kinds == [None] * len(kinds), list(zip(kinds, texts, strict=True))
    else:
        assert all(kind and re.fullmatch(fault.error, kind) for kind in kinds), list(zip(kinds, texts, strict=True))
        for pattern in fault.says:
            assert all(re.search(pattern, text, re.DOTALL) for text in texts), f"not said: {pattern}\n{texts[0]}"
        assert fault.own_text or len(set(texts)) == 1, f"ranks say different things: {texts}"
    check_folder(fault, result["before"], result["after"])


def check_folder(fault: Fault, before: dict[str, str], after: dict[str, str]) -> None:
    """Check that nothing came into being under a final name, nothing was changed and nothing is left over."""
    assert fault.changes or {name: after.get(name) for name in before} == before, "an existing file was changed"
    new = after.keys() - before.keys()
    if not fault.leaves:
        assert not {name for name in new if name.endswith(".nwb")}, "a file has the final name"
    elif fault.error is None:
        assert "out.nwb" in after, "no file has the final name"
    if fault.clean:
        assert not {name for name in new if not name.endswith(".nwb")}, "something is left over"


def test_names_say_something() -> None:
    assert len(FAULTS) > 100
