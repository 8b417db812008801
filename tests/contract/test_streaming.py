"""Whatever the rank count and the backend: what was appended, or came from a generator, is as pynwb would write it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
from contract.cases import START
from contract.compare import Allowed, Snapshot, differences, snapshot
from contract.streaming import BACKENDS, CASES, build
from hdmf.common import ElementIdentifiers, VectorData, VectorIndex
from mpi_launch import run_mpi

from parnwb import NWBParallelIO, Stream
from parnwb.errors import ParnwbError
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

RANKS = (1, 3, 4)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snapshot]:
    """Return what pynwb writes."""
    folder, found = tmp_path_factory.mktemp("pynwb"), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in CASES:
            with pynwb.NWBHDF5IO(folder / f"{name}.nwb", "w") as io:
                io.write(build(name, expected=True)[0], cache_spec=False)
            found[name] = snapshot(folder / f"{name}.nwb")
    return found


@pytest.fixture(scope="module", params=RANKS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all files that so many ranks have written."""
    folder = tmp_path_factory.mktemp(f"{request.param}-ranks")
    program = Path(__file__).with_name("streaming.py")
    done = run_mpi(request.param, [sys.executable, program, folder], timeout=200)
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-5000:]}"
    return folder


@pytest.mark.parametrize("given", ["all", "root"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_file_is_the_one_that_pynwb_writes(
    expected: dict[str, Snapshot], written: Path, name: str, backend: str, given: str
) -> None:
    path = written / f"{backend}-{name}-{given}.nwb"
    failed = path.with_suffix(".failed")
    if failed.exists():
        pytest.fail(failed.read_text(), pytrace=False)
    different = differences(expected[name], snapshot(path), Allowed.of(backend))
    assert not different, "\n".join(different)
    if backend == "direct":
        whole = {"short", "gaps", "nothing"}  # pynwb leaves chunks without rows away as well
        findings = [item for item in verify(path).findings if item.path.split("/")[2] not in whole]
        assert not findings, findings


def test_ragged_columns_are_a_stream_of_values_and_one_of_ends(tmp_path: Path) -> None:
    values, ends, ids = Stream("f8"), Stream("u4"), Stream("i8")
    data = VectorData(name="spike_times", description="of each unit", data=values)
    index = VectorIndex(name="spike_times_index", data=ends, target=data)
    file = pynwb.NWBFile("ragged", "ragged", START)
    file.units = pynwb.misc.Units(
        name="units", columns=[index, data], colnames=["spike_times"], id=ElementIdentifiers(name="id", data=ids)
    )
    spikes, total = [np.arange(number) / 10 for number in (3, 0, 2, 4)], 0
    with NWBParallelIO(tmp_path / "ragged.nwb", progress=False) as io:
        io.write(file)
        for number, times in enumerate(spikes):
            total += len(times)
            io.append(values, times)
            io.append(ends, [total])
            io.append(ids, [number])
    assert pynwb.validate(path=tmp_path / "ragged.nwb") == []
    with pynwb.NWBHDF5IO(tmp_path / "ragged.nwb", "r") as io:
        units = io.read().units
        assert [units["spike_times"][n].tolist() for n in range(4)] == [times.tolist() for times in spikes]


def test_streams_in_a_file_that_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "old.nwb"
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(pynwb.NWBFile("old", "old", START))
    before = path.read_bytes()
    for commits in (True, False):
        io = NWBParallelIO(path, "a", progress=False)
        file, stream = io.read(), Stream("i2", (3,), chunks=(4, 3))
        file.add_acquisition(pynwb.TimeSeries(name="new", data=stream, unit="V", rate=1.0))
        io.write(file)
        for number in range(5):
            io.append(stream, np.full((2, 3), number, "i2"))
        if commits:
            with pytest.raises(ParnwbError, match="changes when it is closed"):
                io.commit()
            assert path.read_bytes()[: len(before)] == before
        io.close()
    with h5py.File(path) as found:
        assert found["/acquisition/new/data"][:, 1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
