"""Stored chunks, read from the file itself where HDF5 need not be asked: always the bytes that HDF5 would give."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from parnwb.errors import SourceError
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.sources.raw_chunks import RawChunks

SHAPE, CHUNK = (1000, 40), (130, 16)
STARTS = [(row, column) for row in range(0, SHAPE[0], CHUNK[0]) for column in range(0, SHAPE[1], CHUNK[1])]
SETTINGS: dict[str, dict[str, Any]] = {
    "gzip": {"compression": "gzip", "shuffle": True},
    "lzf, which skips chunks": {"compression": "lzf"},
    "no filter": {},
    "another index": {"maxshape": (None, 40), "compression": "gzip", "fletcher32": True},
}


def made(path: Path, settings: dict[str, Any], **of_file: Any) -> Path:
    """Write a dataset whose last chunks are missing."""
    with h5py.File(path, "w", **of_file) as file:
        data = file.create_dataset("data", SHAPE, "i2", chunks=CHUNK, **settings)
        data[:700] = np.random.default_rng(0).integers(-5000, 5000, (700, SHAPE[1]))
    return path


def by_hdf5(dataset: h5py.Dataset, start: tuple[int, int]) -> tuple[int, bytes] | None:
    """Return what HDF5 gives."""
    if dataset.id.get_chunk_info_by_coord(start).byte_offset is None:
        return None
    mask, stored = dataset.id.read_direct_chunk(start)
    return mask, bytes(stored)


@pytest.mark.parametrize("room", [10_000, 10])
@pytest.mark.parametrize("of_file", [{}, {"libver": "latest"}, {"userblock_size": 512}], ids=str)
@pytest.mark.parametrize("name", SETTINGS)
def test_bytes_are_those_that_hdf5_gives(tmp_path: Path, name: str, of_file: dict[str, Any], room: int) -> None:
    path = made(tmp_path / "source.h5", SETTINGS[name], **of_file)
    with h5py.File(path) as file:
        source = pickle.loads(pickle.dumps(HDF5DatasetSource(file["data"])))
        found = [source.read_chunk(start, np.empty(room, np.uint8)) for start in STARTS]
        pickle.dumps(source)  # also when it has been read from
        expected = [by_hdf5(file["data"], start) for start in STARTS]
    assert [None if one is None else (one[0], bytes(one[1])) for one in found] == expected
    assert None in expected and any(expected)


@pytest.mark.parametrize(
    ("of_file", "mode", "past_hdf5"),
    [({}, "r", True), ({}, "r+", False), ({"userblock_size": 512}, "r", False)],
)
def test_hdf5_is_asked_where_it_alone_knows(
    tmp_path: Path, of_file: dict[str, Any], mode: str, past_hdf5: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold chunks that are not in the file yet, and addresses count from where its own part begins."""
    read: list[int] = []
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *given: read.append(1) or preadv(*given))
    with h5py.File(made(tmp_path / "source.h5", {}, **of_file), mode) as file:
        if mode == "r+":
            file["data"][0, 0] = 77
        found = RawChunks(file["data"]).read((0, 0), np.empty(10_000, np.uint8))
        assert found is not None and bytes(found[1])[:2] == file["data"][0, :1].tobytes()
    assert bool(read) == past_hdf5


def test_a_file_that_was_cut_is_an_error(tmp_path: Path) -> None:
    """HDF5 gives zeros."""
    path = made(tmp_path / "source.h5", {})
    with h5py.File(path) as file:
        chunks = RawChunks(file["data"])
        chunks.read((0, 0), np.empty(10_000, np.uint8))
        os.truncate(path, path.stat().st_size // 2)
        assert not any(by_hdf5(file["data"], (520, 32))[1])
        with pytest.raises(SourceError, match=r"cannot be read as it is stored.*ends after 0 of its 4160 bytes"):
            chunks.read((520, 32), np.empty(10_000, np.uint8))
