"""Whatever the rank count and the backend: what was appended, or came from a generator, is as pynwb would write it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pynwb
import pytest
from contract.compare import Allowed, Snapshot, differences, snapshot
from contract.streaming import CASES, build
from mpi_launch import run_mpi

from parnwb.site import parallel_hdf5
from parnwb.verify import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

RANKS = (1, 3, 4)
BACKENDS = ("direct", "mpio") if parallel_hdf5() else ("direct",)


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
    is_mpio = backend == "mpio"
    allowed = Allowed(fill_and_allocation_time=is_mpio, early_allocation=is_mpio)
    different = differences(expected[name], snapshot(path), allowed)
    assert not different, "\n".join(different)
    if backend == "direct":
        whole = {"short", "gaps", "nothing"}  # pynwb leaves chunks without rows away as well
        findings = [item for item in verify(path).findings if item.path.split("/")[2] not in whole]
        assert not findings, findings
