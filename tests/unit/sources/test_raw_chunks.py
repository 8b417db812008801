"""Chunks as they are stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.errors import SourceError
from parnwb.layout import DatasetSpec
from parnwb.sources import as_source, takes_over
from parnwb.sources.raw_chunks import RawChunks, read_spec

SETTINGS = {"chunks": (10, 3), "compression": "gzip", "maxshape": (None, 3)}
FILLED = {"fillvalue": b"\xff\xff"}


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
        others = ({"shape": (36, 3)}, {"dtype": ">i2"}, {"chunks": (5, 3)}, {"filters": ()}, {"chunks": None}, FILLED)
        for other in others:
            assert not takes_over(source, replace(spec, **other))
        contiguous = read_spec(file["contiguous"])
        assert not takes_over(as_source(file["contiguous"]), contiguous)
        assert not takes_over(as_source(np.zeros((35, 3), "i2")), spec)
        assert not takes_over(None, spec)


@pytest.mark.parametrize("fill", [b"", np.float32(np.nan).tobytes()])
def test_a_fill_value_is_its_bytes(fill: bytes) -> None:
    spec = DatasetSpec("/x", (4,), (4,), "<f4", (2,), fillvalue=fill)
    assert spec.means_as_stored(replace(spec, path="/y", fillvalue=fill or bytes(4)))
    assert not spec.means_as_stored(replace(spec, fillvalue=np.float32(1).tobytes()))


@pytest.mark.filterwarnings("ignore:.*in H5DataIO will be ignored")
@pytest.mark.parametrize("asked", [{}, {"fillvalue": 5}])
def test_what_was_never_written_is_what_the_source_reads(tmp_path: Path, asked: dict[str, int]) -> None:
    """Also where the new dataset is to have another fill value; as with pynwb, which copies whatever is asked."""
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file.create_dataset("x", (40, 3), "i2", chunks=(10, 3), compression="gzip", fillvalue=-1)[:15] = 7
    with h5py.File(tmp_path / "source.h5") as file:
        for name, kind in (("plain.nwb", NWBHDF5IO), ("new.nwb", partial(NWBParallelIO, bulk_threshold=0))):
            nwbfile = NWBFile("a session", name, datetime(2026, 1, 2, tzinfo=timezone.utc))
            data = H5DataIO(file["x"], compression="gzip", compression_opts=4, chunks=(10, 3), **asked)
            nwbfile.add_acquisition(TimeSeries(name="x", data=data, unit="V", rate=1.0))
            with kind(tmp_path / name, "w") as io:
                io.write(nwbfile)
        expected = file["x"][:]
    with h5py.File(tmp_path / "plain.nwb") as plain, h5py.File(tmp_path / "new.nwb") as new:
        place = "acquisition/x/data"
        assert (expected[15:] == -1).all() and plain[place].fillvalue == -1
        assert new[place].fillvalue == asked.get("fillvalue", -1)
        np.testing.assert_array_equal(plain[place], expected)
        np.testing.assert_array_equal(new[place], expected)
