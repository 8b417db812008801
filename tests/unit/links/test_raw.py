"""What may stay in a flat binary file, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from failure.faults.material import session
from pynwb import H5DataIO

from parnwb import NWBParallelIO
from parnwb.errors import LinkError
from parnwb.verification import verify

SHAPE = (5000, 8)


@pytest.fixture
def mapped(tmp_path: Path) -> Any:
    np.arange(40000, dtype="<i2").tofile(tmp_path / "raw.bin")
    return np.memmap(tmp_path / "raw.bin", dtype="<i2", mode="r", shape=SHAPE)


def write(data: Any, folder: Path, **settings: Any) -> None:
    with NWBParallelIO(folder / "out.nwb", no_copy=True, bulk_threshold=1000, progress=False, **settings) as io:
        io.write(session(data))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("offset", "dtype"), [(0, "<i2"), (16, ">i2")])
def test_values_stay(mapped: Any, tmp_path: Path, offset: int, dtype: str) -> None:
    rows = np.memmap(tmp_path / "raw.bin", dtype=dtype, mode="r", offset=offset, shape=(4000, 8))
    write(rows, tmp_path)
    with h5py.File(tmp_path / "out.nwb") as file:
        assert np.array_equal(file["/acquisition/probe/data"], rows)
        assert file["/acquisition/probe/data"].external == [(str(tmp_path / "raw.bin"), offset, 64000)]
        assert file["/acquisition/probe/data"].attrs["unit"] == "V"
    assert (tmp_path / "out.nwb").stat().st_size < 400_000


def test_the_trap_is_warned_of(mapped: Any, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="HDF5_EXTFILE_PREFIX"):
        write(mapped, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:, :7], "it has 8 columns, the dataset 7.*synchronisation"),
        (lambda data: H5DataIO(data, compression="gzip"), "neither chunks nor filters, asked for are compression"),
        (lambda data: H5DataIO(data, chunks=(100, 8)), "asked for are chunks"),
        (lambda data: np.array(data), "none of these are in one"),
        (lambda data: data[::2], "none of these are in one|columns"),
    ],
)
def test_refused(mapped: Any, tmp_path: Path, change: Any, words: str) -> None:
    with pytest.raises(LinkError, match=words):
        write(change(mapped), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.bin"]


def test_what_hdf5_makes_of_other_columns_and_types(mapped: Any, tmp_path: Path) -> None:
    """It says nothing, and reads other values."""
    where = [(str(tmp_path / "raw.bin"), 0, mapped.nbytes)]
    with h5py.File(tmp_path / "out.h5", "w") as file:
        file.create_dataset("without_the_last", (5000, 7), "<i2", external=where)
        file.create_dataset("of_another_type", SHAPE, ">i2", external=where)
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["without_the_last"][0], mapped[0, :7])
        assert not np.array_equal(file["without_the_last"][1], mapped[1, :7])
        assert not np.array_equal(file["of_another_type"], mapped)


def test_what_hdf5_makes_of_a_relative_name(mapped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the file of that name in the reader's folder; without one there are no values."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with h5py.File(tmp_path / "out.h5", "w") as file:
        file.create_dataset("x", SHAPE, "<i2", external=[("raw.bin", 0, mapped.nbytes)])
    monkeypatch.chdir(tmp_path)
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["x"], mapped)
    monkeypatch.chdir(elsewhere)
    with h5py.File(tmp_path / "out.h5") as file, pytest.raises(OSError, match="raw"):
        file["x"][...]
    np.full(40000, 7, "<i2").tofile("raw.bin")
    with h5py.File(tmp_path / "out.h5") as file:
        assert (file["x"][...] == 7).all()
    (finding,) = verify(tmp_path / "out.h5", validate=False).findings
    assert "HDF5_EXTFILE_PREFIX" in finding.what
