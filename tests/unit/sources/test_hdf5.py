"""Datasets of other HDF5 files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources import Access, as_source, file_ranges, read_checked
from parnwb.sources.hdf5 import HDF5DatasetSource

DTYPES = ["?", "i1", "u1", "<i2", ">i2", "u4", "<i8", ">u8", "f2", "<f4", ">f8", "c8", "c16"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunks", [None, (2, 3)])
def test_every_dtype_here_and_elsewhere(tmp_path: Path, dtype: str, chunks: tuple[int, ...] | None) -> None:
    values = (np.arange(35) % 3).astype(dtype).reshape(5, 7)
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_dataset("group/data", data=values, chunks=chunks)
    box = Hyperslab((1, 2), (3, 5))
    with h5py.File(tmp_path / "in.h5") as file:
        source = as_source(file["group/data"])
        assert isinstance(source, HDF5DatasetSource)
        assert (source.shape, source.dtype, source.access) == ((5, 7), values.dtype, Access.RANDOM)
        assert np.array_equal(read_checked(source, box, "/x"), values[box.slices])
        pickled = pickle.dumps(source)
    assert len(pickled) < 1000
    assert np.array_equal(read_checked(pickle.loads(pickled), box, "/x"), values[box.slices])


def test_enumerations_and_scalars(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_dataset("enum", data=[0, 1], dtype=h5py.enum_dtype({"no": 0, "yes": 1}, "i1"))
        file["scalar"] = 2.5
        assert read_checked(as_source(file["enum"]), Hyperslab((0,), (2,)), "/x").tolist() == [0, 1]
        assert read_checked(as_source(file["scalar"]), Hyperslab((), ()), "/x") == 2.5


def test_a_file_in_memory_cannot_be_sent() -> None:
    with h5py.File("none.h5", "w", driver="core", backing_store=False) as file:
        source = as_source(file.create_dataset("data", data=[1, 2]))
        with pytest.raises(SourceError, match="build the NWBFile on every rank"):
            pickle.dumps(source)


def test_a_file_that_is_open_for_writing_cannot_be_sent(tmp_path: Path) -> None:
    """Others would read what is on disk: HDF5 keeps the rest until it is flushed or closed."""
    with h5py.File(tmp_path / "in.h5", "w") as file:
        source = as_source(file.create_dataset("data", data=np.arange(10)))
        assert source.read(Hyperslab((0,), (10,)))[9] == 9
        with pytest.raises(SourceError, match=r"open for writing.*in\.h5:/data.*open it in mode 'r'"):
            pickle.dumps(source)
    with h5py.File(tmp_path / "in.h5") as file:
        there = pickle.loads(pickle.dumps(as_source(file["data"])))
    assert pickle.loads(pickle.dumps(there)).read(Hyperslab((0,), (10,)))[9] == 9


def test_a_vanished_or_changed_file_is_an_error_when_read(tmp_path: Path) -> None:
    path = tmp_path / "in.h5"
    with h5py.File(path, "w") as file:
        file["data"] = [1, 2]
    with h5py.File(path) as file:
        pickled = pickle.dumps(as_source(file["data"]))
    with h5py.File(path, "w") as file:
        file["data"] = [1.0, 2.0, 3.0]
    with pytest.raises(SourceError, match="must not change"):
        pickle.loads(pickled).read(Hyperslab((0,), (2,)))
    path.unlink()
    with pytest.raises(SourceError, match=r"in\.h5:/data"):
        pickle.loads(pickled).read(Hyperslab((0,), (2,)))


def test_a_contiguous_dataset_tells_where_it_is_in_the_file(tmp_path: Path) -> None:
    values = np.arange(60, dtype="<i4").reshape(20, 3)
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["contiguous"] = values
        file.create_dataset("chunked", data=values, chunks=(5, 3))
        file.create_dataset("empty", (20, 3), "<i4")
        file.create_dataset("outside", (20, 3), "<i4", external=[("raw", 0, 240)])
    box = Hyperslab((4, 1), (7, 2))
    with h5py.File(tmp_path / "in.h5") as file:
        for name in ("chunked", "empty", "outside"):
            assert file_ranges(as_source(file[name]), box) == [], name
        source = as_source(file["contiguous"])
        for opened in (source, pickle.loads(pickle.dumps(source))):
            (found,) = file_ranges(opened, box)
            assert os.pread(found.descriptor, found.nbytes, found.offset) == values[4:11].tobytes()


def test_of_wide_rows_only_what_hdf5_reads_is_announced(tmp_path: Path) -> None:
    """It reads a selection, and rows as a whole only if they are short; flat files have wider ones read whole."""
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["data"] = np.zeros((3, 50_000), "<i2")
    with h5py.File(tmp_path / "in.h5") as file:
        found = file_ranges(as_source(file["data"]), Hyperslab((0, 100), (3, 64)))
    assert [item.nbytes for item in found] == [128] * 3


def test_files_whose_bytes_are_elsewhere_are_not_announced(tmp_path: Path) -> None:
    """HDF5 counts from the end of a user block, has what others write in memory, and files in memory no descriptor."""
    for name, how in {"block.h5": {"userblock_size": 512}, "memory.h5": {"driver": "core"}}.items():
        with h5py.File(tmp_path / name, "w", **how) as file:
            file["d"] = np.arange(10)
        with h5py.File(tmp_path / name, "r", driver=how.get("driver")) as file:
            assert file_ranges(as_source(file["d"]), Hyperslab((0,), (10,))) == []
    with h5py.File(tmp_path / "written.h5", "w") as file:
        file["d"] = np.arange(10)
        assert file_ranges(as_source(file["d"]), Hyperslab((0,), (10,))) == []
