"""Nothing is lost by a file that is written once more, in its own place or beside."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from weakref import WeakValueDictionary

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.testing.mock.file import mock_NWBFile

from parnwb import NWBParallelIO
from parnwb.backends.pens import OwnPen
from parnwb.errors import LayoutError, ResumeError, SourceError, TargetError
from parnwb.hyperslab import Hyperslab
from parnwb.repacking import merge, repack
from parnwb.sources import blocks
from parnwb.sources.chunked import ChunkedSource
from parnwb.sources.sample import SAMPLE_PIECES

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


def test_a_resumed_job_tells_which_dataset_is_too_small_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, settings = tmp_path / "source.h5", {"compression": "gzip", "commit_interval": 1e-6, "buffer_mb": 0.2}
    with h5py.File(source, "w") as file:
        file["small"] = np.arange(2000.0)
        file.create_dataset("rows", data=np.arange(400_000.0), chunks=(20_000,))
    real_write, count = OwnPen.write, 0

    def write_some(*given: object) -> None:
        nonlocal count
        count += 1
        if count > 4:
            raise RuntimeError("the disk is gone")
        real_write(*given)

    monkeypatch.setattr(OwnPen, "write", write_some)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        repack(source, tmp_path / "new.h5", bulk_threshold=1, progress=False, **settings)
    monkeypatch.undo()
    with pytest.raises(ResumeError, match="too small for it now.*at /small.*bulk_threshold"):
        repack(source, tmp_path / "new.h5", resume=True, progress=False, **settings)
    repack(source, tmp_path / "new.h5", resume=True, bulk_threshold=1, progress=False, **settings)
    with h5py.File(tmp_path / "new.h5") as file:
        assert np.array_equal(file["small"], np.arange(2000)) and np.array_equal(file["rows"], np.arange(400_000))


def test_a_name_that_is_not_utf_8_stays(tmp_path: Path) -> None:
    name, values = b"caf\xe9", np.arange(40_000.0)
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file[name] = file["other"] = values
    told = repack(tmp_path / "source.h5", tmp_path / "new.h5", compression="gzip", progress=False)
    assert [change.path for change in told.changes] == ["/other"]
    with h5py.File(tmp_path / "new.h5") as file:
        assert np.array_equal(h5py.Dataset(h5py.h5d.open(file.id, name)), values)


def test_of_virtual_data_it_is_said_what_is_not_done(tmp_path: Path) -> None:
    path = write(tmp_path / "spread.nwb", backend="virtual")
    with pytest.warns(UserWarning, match=f"stay as they are.*the first is {DATA}. parnwb merge"):
        repack(path, tmp_path / "new.nwb", compression="gzip", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repack(path, tmp_path / "same.nwb", progress=False)
        merge(path, tmp_path / "merged.nwb", compression="gzip", progress=False)
    with (
        pytest.raises(LayoutError, match=f"it is virtual.*{DATA}.*parnwb merge"),
        NWBParallelIO(path, "a", progress=False) as io,
    ):
        io.extend(DATA, ROWS)


def test_large_chunks_are_decoded_once_for_many_small_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a row of them the cache keeps one at a time."""
    monkeypatch.setattr(blocks, "CACHE_BYTES", 300 * 10 * 2)
    monkeypatch.setattr(blocks, "_caches", WeakValueDictionary())
    rows, loaded, real_load = np.arange(900 * 90, dtype="u2").reshape(900, 90), [], ChunkedSource._load

    def load(source: ChunkedSource, index: tuple[int, ...], elements: Hyperslab) -> object:
        loaded.append(index)
        return real_load(source, index, elements)

    monkeypatch.setattr(ChunkedSource, "_load", load)
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file.create_dataset("rows", data=rows, chunks=(300, 10), compression="gzip")
    settings, counts = {"chunks": (50, 5), "buffer_mb": 18_000 / 2**20, "progress": False}, []
    for are_kept in (False, True):
        loaded.clear()
        monkeypatch.setattr(ChunkedSource, "keeps_rows", are_kept)
        repack(tmp_path / "source.h5", tmp_path / "new.h5", overwrite=True, **settings)
        with h5py.File(tmp_path / "new.h5") as file:
            assert np.array_equal(file["rows"], rows) and file["rows"].chunks == (50, 5)
        counts.append(len(loaded))
    sampled = 2 * SAMPLE_PIECES  # for the coder, and for a job that would go on with this one
    assert counts[0] <= 27 + sampled < 2 * 27 + sampled < counts[1]
