"""``repack`` may end after any call that changes a folder: the old file or the new one is there, with all values."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from contract.odd_files import nwb
from contract.rewritten import STORAGE, assert_same
from failure.calls import KILLED, EndAfter, Log, in_child, unwatch, watch
from failure.resuming import (
    assert_goes_on,
    commits_every,
    committed_in,
    journal_of,
    open_and_close,
    session,
    write_plainly,
)
from mpi_launch import run_mpi

from parnwb.errors import ResumeError
from parnwb.repacking import repack
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once, pytest.mark.filterwarnings("ignore::UserWarning")]

ASKED = {"compression": "gzip-1", "chunks": "auto", "bulk_threshold": 1, "progress": False, "commit_interval": 1}
# The end, where names change, call by call; every so many of those before, with a commit after every second batch.
LAST, STEP = 8, 7


@pytest.mark.parametrize("inplace", [True, False], ids=["inplace", "beside"])
def test_ended_after_any_call(tmp_path: Path, inplace: bool) -> None:
    original = write_plainly(tmp_path / "original.nwb", session(1), specs=False)
    folder = tmp_path / "folder"
    folder.mkdir()

    def run(*, resume: bool = False) -> None:
        with commits_every(2):
            if inplace:
                repack(folder / "in.nwb", inplace=True, resume=resume, **ASKED)
            else:
                repack(folder / "in.nwb", folder / "out.nwb", resume=resume, **ASKED)

    def ended(number: int) -> None:
        watch(folder, EndAfter(number))
        run()
        unwatch()

    output, made = folder / ("in.nwb" if inplace else "out.nwb"), []
    lay_out(folder, original)
    watch(folder, Log(made))
    run()
    unwatch()
    size = output.stat().st_size
    for number in (*range(1, len(made) - LAST, STEP), *range(len(made) - LAST, len(made) + 1)):
        lay_out(folder, original)
        assert in_child(lambda number=number: ended(number)) == KILLED
        for path in folder.glob("*.nwb"):
            assert_same(original, path, without=STORAGE)
        if not inplace:
            assert (folder / "in.nwb").read_bytes() == original.read_bytes()
        if inplace or not output.exists() or journal_of(output).exists():
            run(resume=True)
        else:
            open_and_close(output)
        assert_same(original, output, without=STORAGE)
        assert {item.name for item in folder.iterdir()} == {"in.nwb", output.name}
        assert output.stat().st_size < 1.1 * size


def lay_out(folder: Path, original: Path) -> None:
    for item in folder.iterdir():
        item.unlink()
    shutil.copy(original, folder / "in.nwb")


PROGRAM = """
import os, sys
from mpi4py import MPI
from parnwb.backends.pens import OwnPen
from parnwb.repacking import repack
from parnwb.target import FolderFiles
source, output, last, resume = sys.argv[1:]
comm, count = MPI.COMM_WORLD, 0

def ending(write):
    def counted(*given):
        global count
        count += 1
        if comm.rank == 1 and count > int(last):
            os.kill(os.getpid(), 9)
        return write(*given)
    return counted

OwnPen.write, FolderFiles.write = ending(OwnPen.write), ending(FolderFiles.write)
settings = {"compression": "gzip-1", "bulk_threshold": 1, "progress": False, "commit_interval": 1e-6, "buffer_mb": 0.02}
told = repack(source, output, comm, resume=bool(resume), break_lock=True, **settings)
assert told.changes
"""
RANKS, FOREVER = 3, 10**9


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "in.nwb"
    nwb(path)
    return path


def launch(source: Path, output: Path, last: int, *, resume: bool) -> int:
    argv = [sys.executable, "-W", "ignore", "-c", PROGRAM, source, output, str(last), "yes" if resume else ""]
    done = run_mpi(RANKS, argv, timeout=100)
    assert done.returncode == 0 or last != FOREVER, done.stderr[-3000:]
    return done.returncode


def test_a_killed_rank_of_three_costs_nothing_that_is_committed(large: Path, tmp_path: Path) -> None:
    output, before = tmp_path / "out.nwb", None
    for attempt in range(2):
        assert launch(large, output, 2, resume=attempt > 0) != 0
        assert not output.exists()
        committed = committed_in(output)
        assert committed is not None and len(committed.records) > (len(before.records) if before else 0)
        assert_goes_on(before, committed)
        before = committed
    launch(large, output, FOREVER, resume=True)
    assert_same(large, output, without=STORAGE)
    assert [item.name for item in tmp_path.iterdir()] == [output.name]


def test_a_store_of_a_killed_job_is_begun_anew(large: Path, tmp_path: Path) -> None:
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    output = tmp_path / "out.nwb.zarr"
    assert launch(large, output, 2, resume=False) != 0
    assert [item.name for item in tmp_path.glob("*.zarr*") if item.is_dir()] == ["out.nwb.zarr.partial"]
    with pytest.raises(ResumeError, match="no journal is kept"):
        repack(large, output, resume=True, progress=False)
    launch(large, output, FOREVER, resume=False)
    assert verify(output).ok
    assert [item.name for item in tmp_path.iterdir()] == [output.name]
    repack(output, tmp_path / "back.nwb", progress=False)
    with h5py.File(large) as there, h5py.File(tmp_path / "back.nwb") as here:
        for name in ("acquisition/left/data", "acquisition/right/timestamps", "units/spike_times"):
            assert np.array_equal(there[name], here[name]), name
