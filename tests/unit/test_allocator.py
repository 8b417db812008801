"""Addresses from HDF5: those of its own index, and bytes put there by hand are what readers see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.allocator import Allocator
from parnwb.authoring.skeleton import open_on
from parnwb.codec import ChunkAssembler, open_pipeline
from parnwb.errors import StorageError
from parnwb.hyperslab import Hyperslab, ravel
from parnwb.layout import FileLayout
from parnwb.overlay import Overlay
from parnwb.sources.raw_chunks import read_spec


class Authored:
    """A file on an overlay, and a disk beside it on which payload is put where the allocator says."""

    def __init__(self, folder: Path) -> None:
        self.overlay = Overlay()
        self.path = folder / "out.h5"
        self.file = open_on(self.overlay, self.path)
        self._disk = os.open(self.path, os.O_RDWR | os.O_CREAT)

    def allocator(self) -> Allocator:
        """Return an allocator for all datasets at the root of the file."""
        found = [read_spec(item) for item in self.file.values() if isinstance(item, h5py.Dataset)]
        self.layout = FileLayout(tuple(sorted(found, key=lambda spec: spec.path)))
        return Allocator(self.file, self.overlay, self.layout)

    def put(
        self, allocator: Allocator, number: int, values: np.ndarray, order: Any = None
    ) -> list[tuple[int, int]]:
        """Encode, place and write all chunks of a dataset; return their addresses and lengths."""
        spec = self.layout.datasets[number]
        whole, pipeline, placed = Hyperslab.whole(spec.shape), open_pipeline(spec), []
        chunks = list(ChunkAssembler(spec).assemble(whole, [(whole, values)]))
        for at in order if order is not None else range(len(chunks)):
            index, chunk = chunks[at]
            mask, data = pipeline.encode(chunk)
            address = allocator.place(number, ravel(index, spec.grid.extent), len(data), mask)
            assert os.pwrite(self._disk, data, address) == len(data)
            placed.append((address, len(data)))
        return placed

    def finish(self) -> h5py.File:
        """Close, write the rest as the direct backend does, and open for reading."""
        self.file.close()
        for address, data in self.overlay.extents():
            os.pwrite(self._disk, data, address)
        os.truncate(self._disk, self.overlay.end)
        os.close(self._disk)
        return h5py.File(self.path, "r")


@pytest.fixture
def authored(tmp_path: Path) -> Iterator[Authored]:
    yield Authored(tmp_path)


def assert_apart(spans: list[tuple[int, int]]) -> None:
    ordered = sorted(spans)
    assert all(a + n <= b for (a, n), (b, _) in pairwise(ordered)), "two payloads overlap"


VALUES = np.random.default_rng(0).integers(0, 50, (1003, 7)).astype("<i2")


@pytest.mark.parametrize(
    "settings",
    [
        {"chunks": (100, 3)},
        {"chunks": (100, 3), "compression": "gzip", "shuffle": True},
        {"chunks": (100, 3), "compression": "gzip", "maxshape": (None, 7)},
        {"chunks": (100, 3), "fletcher32": True, "maxshape": (None, None)},
        {"chunks": (2000, 20), "maxshape": (None, None), "compression": "lzf"},
        {"chunks": (100, 3), "fillvalue": 9},
        {"chunks": (1, 1), "compression": "gzip"},
        {},
        {"fillvalue": 9},
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_bytes_at_the_addresses_are_the_dataset(authored, settings, backwards):
    authored.file.create_dataset("x", VALUES.shape, VALUES.dtype, **settings)
    allocator = authored.allocator()
    count = authored.layout.datasets[0].grid.size
    spans = authored.put(allocator, 0, VALUES, reversed(range(count)) if backwards else None)
    assert_apart(spans)
    with authored.finish() as file:
        np.testing.assert_array_equal(file["x"][...], VALUES)


def test_addresses_are_those_of_hdf5s_index(authored):
    authored.file.create_dataset("x", VALUES.shape, VALUES.dtype, chunks=(64, 4), compression="gzip")
    allocator = authored.allocator()
    spans = authored.put(allocator, 0, VALUES)
    with authored.finish() as file:
        dataset = file["x"].id
        infos = [dataset.get_chunk_info(number) for number in range(dataset.get_num_chunks())]
    assert {(info.byte_offset, info.size) for info in infos} == set(spans)
    assert len(infos) == len(spans)


def test_masks_are_recorded(authored):
    authored.file.create_dataset("x", (4,), "|u1", chunks=(1,), compression="lzf")
    allocator = authored.allocator()
    for position, mask in enumerate([0, 1, 0, 1]):
        allocator.place(0, position, 10 + position, mask)
    with authored.finish() as file:
        infos = [file["x"].id.get_chunk_info(number) for number in range(4)]
    assert [(info.filter_mask, info.size) for info in infos] == [(0, 10), (1, 11), (0, 12), (1, 13)]


@given(st.data())
@settings(deadline=None, max_examples=15)
def test_several_datasets_in_any_order(tmp_path_factory, data):
    """Requests of many ranks come mixed, lengths differ, and metadata are written in between."""
    authored = Authored(tmp_path_factory.mktemp("mixed"))
    chunks = [data.draw(st.tuples(st.integers(20, 300), st.integers(1, 7))) for _ in range(3)]
    for number, shape in enumerate(chunks):
        compression = data.draw(st.sampled_from(["gzip", "lzf", None]))
        authored.file.create_dataset(f"x{number}", VALUES.shape, "<i2", chunks=shape, compression=compression)
    authored.file.create_dataset("x3", VALUES.shape, "<i2")
    allocator = authored.allocator()
    spans = []
    for number, spec in enumerate(authored.layout):
        order = data.draw(st.permutations(range(spec.grid.size))) if spec.grid.size < 40 else None
        spans += authored.put(allocator, number, VALUES + number, order)
        authored.file.attrs[f"note {number}"] = "text " * 300
        authored.file.flush()
    assert_apart(spans)
    with authored.finish() as file:
        for number in range(4):
            np.testing.assert_array_equal(file[f"x{number}"][...], VALUES + number)


def test_thousands_of_chunks_split_the_index(authored):
    """Nodes of the B-tree lie between the chunks; none is taken for payload and none is lost."""
    values = np.arange(6000, dtype="<i4")
    authored.file.create_dataset("x", values.shape, "<i4", chunks=(1,), maxshape=(None,))
    allocator = authored.allocator()
    assert_apart(authored.put(allocator, 0, values))
    with authored.finish() as file:
        np.testing.assert_array_equal(file["x"][...], values)


@pytest.mark.parametrize(
    "length", [24, 40, 48, 96, 120, 272, 328, 512, 544, 680, 1072, 1560, 2048, 2096, 4096]
)
def test_payload_as_long_as_a_node_of_the_index(authored, length):
    """By length alone such payload was once taken for the node, and the index was ruined."""
    authored.file.create_dataset("x", (500, length), "|u1", chunks=(1, length))
    allocator = authored.allocator()
    values = np.random.default_rng(length).integers(0, 256, (500, length)).astype("|u1")
    assert_apart(authored.put(allocator, 0, values))
    with authored.finish() as file:
        np.testing.assert_array_equal(file["x"][...], values)


def test_chunk_placed_again_with_another_length(authored):
    authored.file.create_dataset("x", (1000,), "<i2", chunks=(500,), compression="gzip")
    allocator = authored.allocator()
    random = np.random.default_rng(0)
    for bits in (1, 14, 3, 9):
        values = random.integers(0, 1 << bits, 1000).astype("<i2")
        authored.put(allocator, 0, values)
    with authored.finish() as file:
        np.testing.assert_array_equal(file["x"][...], values)


def test_memory_holds_no_payload(authored):
    authored.file.create_dataset("chunked", (64 << 20,), "|u1", chunks=(1 << 20,))
    authored.file.create_dataset("filled", (64 << 20,), "|u1", fillvalue=3)
    authored.file.create_dataset("whole", (64 << 20,), "|u1")
    allocator = authored.allocator()
    for position in range(64):
        allocator.place(0, position, 1 << 20, 0)
    assert sum(len(data) for _, data in authored.overlay.extents()) < 100_000
    assert authored.overlay.end > 3 * 64 << 20


def test_one_request_gets_one_extent(authored):
    """Addresses given to one request are neighbours, so that one call writes them."""
    authored.file.create_dataset("x", (640,), "<i2", chunks=(10,), compression="gzip")
    allocator = authored.allocator()
    requests = np.array([(0, position, 1000 + position, 0) for position in range(32)], dtype=np.int64)
    addresses = allocator.place_all(requests)
    assert addresses.dtype == np.int64
    assert np.array_equal(np.diff(addresses), requests[:-1, 2])


def test_no_requests_no_addresses(authored):
    authored.file.create_dataset("x", (10,), "<i2", chunks=(10,))
    found = authored.allocator().place_all(np.empty((0, 4), np.int64))
    assert found.shape == (0,) and found.dtype == np.int64


# -- contiguous ----------------------------------------------------------------------------------------------


def test_contiguous_addresses_are_computed(authored):
    authored.file.create_dataset("x", (3, 5000, 1000), "<f4")
    allocator = authored.allocator()
    spec = authored.layout.datasets[0]
    base = authored.file["x"].id.get_offset()
    for position, index in enumerate(Hyperslab.whole(spec.grid.extent).points()):
        start = spec.grid.cell(index).start
        assert allocator.place(0, position, 1, 0) == base + ravel(start, spec.shape) * 4


def test_contiguous_of_terabytes_is_reserved_at_once(authored):
    authored.file.create_dataset("x", (1 << 38,), "<f8")
    allocator = authored.allocator()
    last = authored.layout.datasets[0].grid.size - 1
    assert allocator.place(0, last, 1, 0) > (1 << 41) - (8 << 20)


@pytest.mark.parametrize("size", [1, 100, 8_191, 8_192, 8_193, 200_000])
def test_fill_values_are_not_kept_for_reserved_space(authored, size):
    authored.file.create_dataset("before", data=np.arange(1000))
    authored.file.create_dataset("x", (size,), "<f8", fillvalue=2.5)
    layout = FileLayout((read_spec(authored.file["x"]),))
    allocator = Allocator(authored.file, authored.overlay, layout)
    base = allocator.place(0, 0, 1, 0)
    for address, data in authored.overlay.extents():
        assert address + len(data) <= base or address >= base + 8 * size
    authored.layout = layout
    authored.put(allocator, 0, np.arange(size, dtype="<f8"))
    with authored.finish() as file:
        np.testing.assert_array_equal(file["x"][...], np.arange(size))
        np.testing.assert_array_equal(file["before"][...], np.arange(1000))
        assert file["x"].fillvalue == 2.5


def test_metadata_as_large_as_a_fill_are_kept(authored):
    """Strings lie in heaps, of which HDF5 writes many at once when it flushes."""
    words = [f"word number {row} of a column of strings" for row in range(2000)]
    authored.file.create_dataset("words", data=words, chunks=(100,), dtype=h5py.string_dtype())
    authored.file.create_dataset("x", data=np.zeros(100))
    del authored.file["x"]
    authored.file.create_dataset("x", (100,), "<f8")
    authored.layout = FileLayout((read_spec(authored.file["x"]),))
    allocator = Allocator(authored.file, authored.overlay, authored.layout)
    authored.put(allocator, 0, np.arange(100.0))
    with authored.finish() as file:
        assert file["words"].asstr()[...].tolist() == words
        np.testing.assert_array_equal(file["x"][...], np.arange(100))


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0)])
@pytest.mark.parametrize("chunked", [False, True])
def test_empty_datasets_get_no_space(authored, shape, chunked):
    maxshape = (None,) * len(shape) if chunked else None
    authored.file.create_dataset("x", shape, "<i2", maxshape=maxshape)
    authored.allocator()
    with authored.finish() as file:
        assert file["x"].shape == shape
        assert file["x"].id.get_storage_size() == 0


# -- what must not be ----------------------------------------------------------------------------------------


def test_payload_that_does_not_come_in_one_piece_is_an_error(authored, monkeypatch):
    """Should a release of HDF5 copy the buffer first, then nothing is recognised, and that is noticed."""
    authored.file.create_dataset("x", (100,), "<i2", chunks=(10,))
    allocator = authored.allocator()
    monkeypatch.setattr("parnwb.overlay._address", lambda view: 12345)
    with pytest.raises(StorageError, match="not write a chunk in one piece") as caught:
        allocator.place(0, 0, 20, 0)
    assert caught.value.where == "/x"
    assert "h5py.version.info" in str(caught.value)
