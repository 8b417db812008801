"""Nothing is lost by a file that is written once more, in its own place or beside."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.testing.mock.file import mock_NWBFile

from parnwb import NWBParallelIO
from parnwb.errors import SourceError, TargetError
from parnwb.repacking import repack
from parnwb.repacking.repack import merge

DATA = "/acquisition/rows/data"
ROWS = np.arange(40_000.0).reshape(-1, 2) + 1


def write(path: Path, *, fails: bool = False, **settings: object) -> Path:
    """Write a session; or fail after a commit, so that its work stays for a later job."""
    nwbfile = mock_NWBFile()
    nwbfile.add_acquisition(TimeSeries(name="rows", data=ROWS, unit="V", rate=1.0))
    with NWBParallelIO(path, "w", progress=False, **settings) as io:
        io.write(nwbfile)
        if fails:
            io.commit()
            raise RuntimeError("after a commit")
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_parts_stay_while_a_new_file_has_them(tmp_path: Path) -> None:
    path = write(tmp_path / "spread.nwb", backend="virtual")
    for _ in range(2):
        repack(path, inplace=True, backend="virtual", progress=False)
        with h5py.File(path) as file:
            assert file[DATA].is_virtual and np.array_equal(file[DATA], ROWS)
    assert names(tmp_path) == {"spread.nwb", "spread.nwb.parts"}
    write(path, backend="virtual", overwrite=True)
    assert names(tmp_path) == {"spread.nwb", "spread.nwb.parts.2"}


def test_another_jobs_work_is_not_thrown_away(tmp_path: Path) -> None:
    path = write(tmp_path / "session.nwb")
    with pytest.raises(RuntimeError, match="after a commit"):
        write(path, fails=True, overwrite=True, compression="gzip")
    before, unfinished = path.read_bytes(), path.with_name("session.nwb.partial").read_bytes()
    with pytest.raises(TargetError, match="an unfinished file of an earlier job is there.*--overwrite"):
        repack(path, inplace=True, progress=False)
    assert path.with_name("session.nwb.partial").read_bytes() == unfinished and path.read_bytes() == before
    assert names(tmp_path) == {"session.nwb", "session.nwb.partial", "session.nwb.partial.journal"}
    repack(path, inplace=True, progress=False, overwrite=True)
    assert names(tmp_path) == {"session.nwb"}


@pytest.mark.parametrize("place", ["virtual", "external"])
def test_values_of_other_files_do_not_go_to_a_store_unseen(tmp_path: Path, place: str) -> None:
    """hdmf-zarr would hold all of them at once, and fill values where a file is missing."""
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    path = write(tmp_path / "spread.nwb", backend="virtual" if place == "virtual" else "direct")
    if place == "external":
        ROWS.tofile(tmp_path / "rows.bin")
        with h5py.File(path, "r+") as file:
            attributes = dict(file[DATA].attrs)
            del file[DATA]
            file.create_dataset(DATA, ROWS.shape, "f8", external=str(tmp_path / "rows.bin")).attrs.update(attributes)
    shutil.copy(path, tmp_path / "linked.nwb")
    with h5py.File(tmp_path / "linked.nwb", "r+") as file:
        del file[DATA]
        file[DATA] = h5py.ExternalLink(path.name, DATA)
    before = names(tmp_path)
    for name in ("spread.nwb", "linked.nwb"):
        with pytest.raises(SourceError, match=f"must be in the file that is read.*spread.nwb:{DATA}.*parnwb merge"):
            repack(tmp_path / name, tmp_path / "store.nwb.zarr", progress=False)
    assert names(tmp_path) == before
    merge(path, tmp_path / "whole.nwb", progress=False)
    repack(tmp_path / "whole.nwb", tmp_path / "store.nwb.zarr", progress=False)
    import zarr

    assert np.array_equal(zarr.open(str(tmp_path / "store.nwb.zarr"), "r")[DATA[1:]], ROWS)
