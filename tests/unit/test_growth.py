"""Datasets that grow: readers of the last commit are not harmed by what is placed after it."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from parnwb.allocator import Allocator
from parnwb.authoring.skeleton import open_on, read_spec
from parnwb.layout import FileLayout
from parnwb.overlay import Overlay


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
