"""Datasets that grow: readers of the last commit are not harmed by what is placed after it."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest

from parnwb.allocator import Allocator
from parnwb.authoring.skeleton import open_on, read_spec
from parnwb.errors import LayoutError
from parnwb.growth import Growth, are_written_by_all, growth_of, rows_of
from parnwb.layout import FileLayout
from parnwb.overlay import Overlay
from parnwb.sources import read_beside
from parnwb.sources.array import ArraySource
from parnwb.sources.binary import BinarySource


@pytest.mark.parametrize("commit_every", [1, 40])
def test_no_chunk_is_placed_where_the_last_commit_has_metadata(tmp_path: Path, commit_every: int) -> None:
    """A reader may open the file at any time between two commits; what it finds is complete up to the last one."""
    overlay, path = Overlay(), tmp_path / "growing.h5"
    file = open_on(overlay, path)
    for name in ("a", "b"):
        group = file.create_group(name)
        group.create_dataset("data", (0, 6), "<i2", maxshape=(None, 6), chunks=(5, 2), compression="gzip")
        group.attrs["text"] = "small things" * 20
    layout = FileLayout(tuple(read_spec(file[name]["data"]) for name in ("a", "b")))
    allocator = Allocator(file, overlay, layout)
    dice, visible, rows = np.random.default_rng(0), [], {0: 0, 1: 0}
    disk = os.open(path, os.O_RDWR | os.O_CREAT)
    for number in range(400):
        dataset = int(dice.random() < 0.3)
        rows[dataset] += 5
        allocator.grow(dataset, (rows[dataset], 6))
        for column in range(3):
            nbytes = int(dice.integers(20, 3000))
            position = (rows[dataset] // 5 - 1) * 3 + column
            address = allocator.place(dataset, position, nbytes, 0)
            assert not [at for at, n in visible if at < address + nbytes and address < at + n]
            os.pwrite(disk, bytes(nbytes), address)
        if number % commit_every == 0:
            file.flush()
            visible = [(at, len(data)) for at, data in overlay.extents()]
            for at, data in overlay.extents():
                os.pwrite(disk, data, at)
            committed = dict(rows)
        if number % 50 == 7:
            with h5py.File(path, "r") as reader:
                for dataset, name in enumerate(("a", "b")):
                    assert reader[name]["data"].shape == (committed[dataset], 6)
                    assert reader[name]["data"].id.get_num_chunks() == committed[dataset] // 5 * 3
    os.close(disk)


def test_growing_never_shrinks_and_respects_the_limit(tmp_path: Path) -> None:
    overlay = Overlay()
    file = open_on(overlay, tmp_path / "growing.h5")
    file.create_dataset("data", (7, 6), "<i2", maxshape=(20, 6), chunks=(5, 2))
    allocator = Allocator(file, overlay, FileLayout((read_spec(file["data"]),)))
    allocator.grow(0, (3, 6))
    assert file["data"].shape == allocator.layout.datasets[0].shape == (7, 6)
    allocator.grow(0, (20, 6))
    assert file["data"].shape == allocator.layout.datasets[0].shape == (20, 6)
    with pytest.raises((RuntimeError, ValueError), match="dimension cannot exceed"):
        allocator.grow(0, (21, 6))


def test_rows_of_text_stay_what_they_are(tmp_path: Path) -> None:
    """Numpy would give each as much room as the longest, make text of numbers, and cut off what ends with zeros."""
    with h5py.File(tmp_path / "text.h5", "w") as file:
        text = file.create_dataset("text", (1,), h5py.string_dtype(), maxshape=(None,), chunks=(2,))
        rows = rows_of(["a", "b" * 10_000, 1], text)
    assert rows.dtype == object and rows.tolist() == ["a", "b" * 10_000, 1]


def test_numbers_that_hdf5_would_clamp_are_refused(tmp_path: Path) -> None:
    """Of a type of 4 bits only HDF5 knows what it holds."""
    few = h5py.h5t.NATIVE_INT8.copy()
    few.set_precision(4)
    with h5py.File(tmp_path / "few.h5", "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((2,))
        space = h5py.h5s.create_simple((1,), (h5py.h5s.UNLIMITED,))
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"few", few, space, settings))
        assert not are_written_by_all(dataset)
        for values, words in (([7, -8], None), ([7, 100], "HDF5 stores some of these as others")):
            growth = Growth("/few", file["few"].shape, len(values), values=np.array(values))
            with nullcontext() if words is None else pytest.raises(LayoutError, match=words):
                growth.begin(file)
        assert file["few"][1:3].tolist() == [7, -8]


def test_the_plan_knows_how_new_rows_are_read(tmp_path: Path) -> None:
    """Those of a flat file are read whole for any of their columns; rows of an array are not."""
    np.zeros((40, 6), "<i2").tofile(tmp_path / "new")
    flat = BinarySource(tmp_path / "new", np.dtype("<i2"), (40, 6), columns=slice(0, 4))
    with h5py.File(tmp_path / "old.h5", "w") as file:
        dataset = file.create_dataset("data", (13, 4), "<i2", maxshape=(None, 4), chunks=(5, 2))
        grown = growth_of(dataset, (40, 4), flat, kept=False).spec
        assert grown.whole_rows and grown.read_beside == read_beside(flat) > 0
        assert not growth_of(dataset, (40, 4), ArraySource(np.zeros((40, 4), "<i2")), kept=False).spec.whole_rows
