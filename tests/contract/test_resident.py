"""Data that are spread over ranks: the file is the one that pynwb writes from the whole arrays.

Each rank count is one launch, which writes all cases with all backends; the tests compare what it left.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pynwb
import pytest
from contract.compare import Allowed, Snapshot, differences, snapshot
from contract.resident_content import CASES, Whole, build
from mpi_launch import run_mpi

from parnwb.errors import ParnwbError
from parnwb.resident.data import Distributed
from parnwb.site import parallel_hdf5

pytestmark = pytest.mark.mpi_skip
RANKS = (1, 3, 4)
BACKENDS = ["direct", "virtual", *(["mpio"] if parallel_hdf5() else [])]
TOLD = {
    "dtype": "dtype must be the same on all ranks: rank 0 has 'float64', rank 2 has 'float32'",
    "shape": "shape beside the axis must be the same on all ranks: rank 0 has [2], rank 2 has [3]",
    "axis": "axis must be the same on all ranks: rank 0 has 0, rank 2 has 1",
    "kind": "Distributed takes numbers and booleans, got dtype <U4",
    "twice": "index must be 0 to 5 over all ranks, each exactly once: 0 is there twice (rank 0 has it twice), "
    "3 is missing",
    "outside": "index must be 0 to 2 over all ranks, as many as there are: rank 2 has 3",
    "length": "index must have one whole number for each of 2, got int64 of (1,)",
    "overlap": "blocks must not overlap: rank 0 has [0:3, 0:2], rank 1 has [2:5, 0:2]",
    "gap": "blocks must cover the whole array of shape (10, 2): nobody has element (6, 0)",
    "beyond": "blocks must lie within shape (6,): rank 2 has [6:9]",
    "rows": "index must be 0 to 2 over all ranks, each exactly once: 0 is there twice (ranks 0 and 1 have it), "
    "1 is missing",
    "row dtype": "dtype must be the same on all ranks: rank 0 has float64, rank 2 has int32",
    "row with gaps": "a row takes numbers and booleans, got dtype {'names': ['x', 'weight']",
    "fields": "data that are spread over ranks must have their column's fields, [('x', '<u4'), ('y', '<u4'), "
    "('weight', '<f4')], not [('x', '<u2'), ('y', '<u2'), ('weight', '<f4')]",
    "swapped": "data that are spread over ranks must be the same array on all ranks: rank 2 has another than rank 0",
    "other comm": "data that are spread over ranks must be made on the communicator of NWBParallelIO: rank 0 of 3 was "
    "rank 0 of 1",
    "no file": "data that are spread over ranks must be in the NWBFile of all ranks",
    "a rank without the call": "all ranks must make the same collective calls",
}


class Launches:
    """What was written, and told, when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._told: dict[int, dict[str, list[str]] | AssertionError] = {}

    def written(self, ranks: int) -> Path:
        self.told(ranks)
        return self.folder / str(ranks)

    def told(self, ranks: int) -> dict[str, list[str]]:
        if ranks not in self._told:
            program = Path(__file__).with_name("resident_program.py")
            unfinished = [] if ranks == 1 else [self.folder / "unfinished.nwb"]
            try:
                argv = [sys.executable, program, self.folder / str(ranks), *unfinished]
                done = run_mpi(ranks, argv, timeout=300)
                assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-5000:]}"
                self._told[ranks] = json.loads(done.stdout.rpartition("RESULT ")[2])
            except AssertionError as error:
                self._told[ranks] = error
        told = self._told[ranks]
        if isinstance(told, AssertionError):
            pytest.fail(str(told), pytrace=False)
        return told

    def expected(self, case: str) -> Snapshot:
        path = self.folder / "pynwb" / f"{case}.nwb"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            with warnings.catch_warnings(), pynwb.NWBHDF5IO(path, "w") as io:
                warnings.simplefilter("ignore")
                io.write(build(case, Whole()), cache_spec=False)
        return snapshot(path)


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Launches:
    return Launches(tmp_path_factory.mktemp("resident"))


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_file_is_the_one_that_pynwb_writes(launches: Launches, case: str, backend: str, ranks: int) -> None:
    found = snapshot(launches.written(ranks) / backend / f"{case}.nwb")
    different = differences(launches.expected(case), found, Allowed.of(backend))
    assert not different, "\n".join(different)


def test_automatic_compression_is_the_same_whatever_the_ranks(launches: Launches) -> None:
    one, *others = (snapshot(launches.written(ranks) / "direct" / "auto.nwb") for ranks in RANKS)
    for other in others:
        assert not (different := differences(one, other, Allowed(size_ratio=1.0))), "\n".join(different)
    assert one["/acquisition/bare/data"]["filters"]


@pytest.mark.parametrize("ranks", RANKS)
def test_existing_file_is_appended_to(launches: Launches, ranks: int) -> None:
    with pynwb.NWBHDF5IO(launches.written(ranks) / "direct" / "appended.nwb", "r") as io:
        assert (io.read().acquisition["new"].data[:] == np.eye(50)).all()


def test_interrupted_file_is_resumed_on_another_number_of_ranks(launches: Launches) -> None:
    for ranks in (3, 4):  # whichever comes first is interrupted
        launches.written(ranks)
    found = snapshot(launches.folder / "unfinished.nwb")
    assert not (different := differences(launches.expected("kinds"), found, Allowed())), "\n".join(different)


@pytest.mark.parametrize("wrong", TOLD)
def test_ranks_that_disagree_are_told_the_same(launches: Launches, wrong: str) -> None:
    told = launches.told(3)[wrong]
    assert TOLD[wrong] in told[0], told
    assert len(set(told)) == 1, told


def test_plain_pynwb_refuses_them(tmp_path: Path) -> None:
    file = pynwb.NWBFile("resident", "resident", build("units", Whole()).session_start_time)
    file.add_acquisition(pynwb.TimeSeries("new", data=Distributed(np.eye(3), comm=None), unit="V", rate=1.0))
    with pytest.raises(ParnwbError, match="Write with NWBParallelIO"), pynwb.NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(file)
