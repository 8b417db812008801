"""``convert --backend virtual --local FOLDER``, ``verify`` and ``merge``: one recording, on four ranks and on one."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi_launch import run_mpi

from parnwb.repacking import merge
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def spread(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of four parts that were written in a folder which ranks know by a variable."""
    folder = tmp_path_factory.mktemp("spread")
    local = folder / "local"
    local.mkdir()
    argv = ["convert", recording, folder / "out.nwb", "--backend", "virtual", "--local", "$OF_THIS_NODE", "--verify"]
    argv += ["--buffer-mb", "0.2"]
    done = run_mpi(4, [sys.executable, "-m", "parnwb", *argv], timeout=90, env={"OF_THIS_NODE": str(local)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "backend virtual: as asked for" in done.stdout
    assert "GOOD:" in done.stdout and "compared with the source" in done.stdout
    assert not list(local.iterdir())
    return folder / "out.nwb"


def test_every_rank_has_a_part(spread: Path) -> None:
    beside = {item.name for item in spread.parent.iterdir()} - {"local"}
    assert beside == {"out.nwb", "out.nwb.parts"}
    assert sorted(item.name for item in (spread.parent / "out.nwb.parts").iterdir()) == [f"000{n}.h5" for n in range(4)]


def test_merged_it_is_one_file_with_the_same_chunks(spread: Path, tmp_path: Path) -> None:
    merged = merge(spread, tmp_path / "one.nwb", progress=False)
    assert merged.changes and all(change.is_copied for change in merged.changes)
    assert merged.before > sum(part.stat().st_size for part in (spread.parent / "out.nwb.parts").iterdir())
    assert list(tmp_path.iterdir()) == [tmp_path / "one.nwb"]
    with h5py.File(spread) as there, h5py.File(tmp_path / "one.nwb") as here:
        for change in merged.changes:
            assert there[change.path].is_virtual and not here[change.path].is_virtual
            assert np.array_equal(here[change.path], there[change.path])
    assert verify(tmp_path / "one.nwb").ok


def test_verify_tells_of_a_part_that_is_gone(spread: Path) -> None:
    part = spread.parent / "out.nwb.parts" / "0002.h5"
    aside = part.rename(spread.parent / "aside.h5")
    try:
        findings = verify(spread, validate=False).findings
    finally:
        aside.rename(part)
    assert findings and all("a part of it is in out.nwb.parts/0002.h5" in item.what for item in findings)
    assert verify(spread, validate=False).ok
