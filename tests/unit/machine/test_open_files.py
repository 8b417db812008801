"""HDF5 reads parts that it may not open as fill values: parnwb must see to it that it may, or say so."""

from __future__ import annotations

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
from failure.calls import in_child

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.verification import verify

PARTS = 150


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    layout = h5py.VirtualLayout((PARTS, 4), "i2")
    for number in range(PARTS):
        with h5py.File(folder / f"{number:04d}.h5", "w") as file:
            file["x"] = np.full((1, 4), number + 1, "i2")
        layout[number] = h5py.VirtualSource(f"{number:04d}.h5", "x", (1, 4))[0]
    with h5py.File(folder / "many.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    return folder / "many.h5"


def limited(soft: int, hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def values_of(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return HDF5DatasetSource(file["x"]).read(Hyperslab.whole((PARTS, 4)))


def test_hdf5_says_nothing(many: Path) -> None:
    def read() -> None:
        limited(100, 100)
        with h5py.File(many) as file:
            assert (file["x"][()] == 0).any()

    assert in_child(read) == 0, "HDF5 has become better: what is here to guard against it may go"


def test_the_limit_is_raised_where_it_may_be(many: Path) -> None:
    def read() -> None:
        limited(100, 1000)
        assert (values_of(many) > 0).all()

    def look() -> None:
        limited(100, 1000)
        assert verify(many, validate=False).ok

    assert in_child(read) == in_child(look) == 0


def test_what_cannot_be_read_is_told(many: Path) -> None:
    def read() -> None:
        limited(100, 180)
        with pytest.raises(SourceError, match="a virtual dataset of 150 files cannot be read where 180 can be open"):
            values_of(many)

    def look() -> None:
        limited(100, 180)
        (finding,) = verify(many, validate=False).findings
        assert "has 150 parts, and 180 files can be open" in finding.what

    assert in_child(read) == in_child(look) == 0
