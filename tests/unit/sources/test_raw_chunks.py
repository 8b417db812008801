"""Chunks as they are stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from parnwb.errors import SourceError
from parnwb.sources import as_source, takes_over
from parnwb.sources.raw_chunks import RawChunks, read_spec

SETTINGS = {"chunks": (10, 3), "compression": "gzip", "maxshape": (None, 3)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("x", (35, 3), "i2", **SETTINGS)[:15] = 7
        file["contiguous"] = np.arange(5)
    return tmp_path / "raw.h5"


def test_stored_bytes_are_those_of_the_file(path: Path) -> None:
    with h5py.File(path) as file:
        chunks, found = RawChunks(file["x"]), {}
        for start in (0, 10, 20, 30):
            found[start] = chunks.read((start, 0))
        assert found[20] is None and found[30] is None
        for start in (0, 10):
            info = file["x"].id.get_chunk_info_by_coord((start, 0))
            assert found[start] == (0, path.read_bytes()[info.byte_offset :][: info.size])
        with pytest.raises(SourceError, match=r"as it is stored.*/x, chunk at \(5, 0\)"):
            chunks.read((5, 0))


def test_they_go_only_where_they_mean_the_same(path: Path) -> None:
    with h5py.File(path) as file:
        source, spec = as_source(file["x"]), read_spec(file["x"])
        assert takes_over(source, replace(spec, path="/elsewhere", maxshape=(35, 3), access="random", coder="zlib-1"))
        for other in ({"shape": (36, 3)}, {"dtype": ">i2"}, {"chunks": (5, 3)}, {"filters": ()}, {"chunks": None}):
            assert not takes_over(source, replace(spec, **other))
        contiguous = read_spec(file["contiguous"])
        assert not takes_over(as_source(file["contiguous"]), contiguous)
        assert not takes_over(as_source(np.zeros((35, 3), "i2")), spec)
        assert not takes_over(None, spec)
