"""What a file that is written once more names outside of itself, beside what only looks like it."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from parnwb.errors import LinkError
from parnwb.repacking import repack

pytestmark = pytest.mark.mpi_skip


def with_movie(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["external_file"] = ["movie.avi"]
        file["data"] = np.arange(40000)
    return path


def test_numbers_under_the_name_of_movies_are_none(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["external_file"] = np.arange(3)
    repack(tmp_path / "a.h5", tmp_path / "other" / "b.h5", progress=False)
    with h5py.File(tmp_path / "other" / "b.h5") as file:
        assert file["external_file"][:].tolist() == [0, 1, 2]


def test_a_symlink_that_is_replaced_in_place_keeps_its_movies(tmp_path: Path) -> None:
    for folder in ("store", "seen"):
        (tmp_path / folder).mkdir()
    link = tmp_path / "seen" / "s.nwb"
    os.symlink(with_movie(tmp_path / "store" / "x.nwb"), link)
    (tmp_path / "seen" / "movie.avi").write_bytes(b"frames")
    with pytest.raises(LinkError, match="must be found from the folder of the new file"):
        repack(link, tmp_path / "other.nwb", progress=False)
    repack(link, inplace=True, compression="gzip", progress=False)
    with h5py.File(link) as file:
        assert file["data"][-1] == 39999
