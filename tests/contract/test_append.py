"""Whatever the rank count: a file that is appended to becomes the one that pynwb makes of it."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import h5py
import pynwb
import pytest
from contract.appending import APPENDS, append, prepare
from contract.compare import Allowed, differences, snapshot
from contract.roads import numbers_of_ranks
from mpi_launch import run_mpi

from parnwb import NWBParallelIO
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

RANKS = numbers_of_ranks(1, 2, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all cases before (``before``), by pynwb (``pynwb``) and by each number of ranks."""
    folder = tmp_path_factory.mktemp("append")
    (folder / "before").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in APPENDS:
            prepare(name, folder / "before" / f"{name}.nwb")
        shutil.copytree(folder / "before", folder / "pynwb")
        for name in APPENDS:
            path = folder / "pynwb" / f"{name}.nwb"
            append(name, path, 0, lambda path: pynwb.NWBHDF5IO(path, "a"))
    for ranks in RANKS:
        shutil.copytree(folder / "before", folder / str(ranks))
        program = Path(__file__).with_name("appending.py")
        done = run_mpi(ranks, [sys.executable, program, folder / str(ranks)], timeout=200)
        assert done.returncode == 0, f"{ranks} ranks\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
    return folder


def appended(folder: Path, ranks: int, case: str) -> Path:
    path = folder / str(ranks) / f"{case}.nwb"
    failed = path.with_suffix(".failed")
    if failed.exists():
        pytest.fail(failed.read_text(), pytrace=False)
    assert not path.with_name(f"{path.name}.append.journal").exists()
    return path


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("case", APPENDS)
def test_file_is_the_one_that_pynwb_makes(folder: Path, case: str, ranks: int) -> None:
    expected = snapshot(folder / "pynwb" / f"{case}.nwb")
    different = differences(expected, snapshot(appended(folder, ranks, case)), Allowed(size_ratio=1.1))
    assert not different, "\n".join(different)
    if case != "nothing":
        assert set(expected) > set(snapshot(folder / "before" / f"{case}.nwb"))


@pytest.mark.parametrize("case", APPENDS)
def test_pynwb_and_verify_have_nothing_to_say(folder: Path, case: str) -> None:
    path = appended(folder, 3, case)
    verdict = verify(path)
    assert not verdict.findings, verdict.findings
    with pynwb.NWBHDF5IO(path, "r") as io:
        assert io.read().acquisition["timed"].data.shape == (300, 4)


def test_it_is_not_larger_than_it_must_be(folder: Path) -> None:
    """HDF5 leaves some space unused when it opens a file anew."""
    for case in APPENDS:
        expected = (folder / "pynwb" / f"{case}.nwb").stat().st_size
        assert appended(folder, 3, case).stat().st_size < expected * 1.05 + 8192


def test_mode_a_begins_a_file_that_is_not_there(tmp_path: Path) -> None:
    from contract.cases import build

    with NWBParallelIO(tmp_path / "new.nwb", "a", progress=False) as io:
        io.write(build("no_bulk", tmp_path))
    with h5py.File(tmp_path / "new.nwb") as file:
        assert file.attrs["neurodata_type"] == "NWBFile"
    assert [item.name for item in tmp_path.iterdir()] == ["new.nwb"]
