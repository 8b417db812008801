"""``repack`` may end after any call that changes a folder: the old file or the new one is there, with all values."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from contract.rewritten import STORAGE, assert_same
from failure.calls import KILLED, EndAfter, Log, in_child, unwatch, watch
from failure.resuming import commits_every, journal_of, open_and_close, session, write_plainly

from parnwb.repacking import repack

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
