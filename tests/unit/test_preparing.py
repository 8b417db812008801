"""What ranks need is compared with the memory that there is, before anything is written."""

from __future__ import annotations

import warnings
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdmf.backends.hdf5 import H5DataIO
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO, preparing
from parnwb.comm import Ranks
from parnwb.layout import FileLayout
from parnwb.planning.plan import WritePlan
from parnwb.preparing import check_memory
from parnwb.rewriting.rewriting import source_of
from parnwb.sources.blocks import CACHE_BYTES
from parnwb.sources.raw_chunks import read_spec

CHUNKS = (500, 512)
BUFFER = 2 * 500 * 512 * 2  # the chunks that a MiB has room for


def claimed(dataset: h5py.Dataset, chunks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return what a rank is said to need that writes a dataset once more."""
    there = read_spec(dataset)
    spec = type(there)(there.path, there.shape, there.shape, there.dtype, chunks, there.filters)
    claims = []
    monkeypatch.setattr("parnwb.machine.memory.check_fits", claims.extend)
    ranks = Ranks(None, None)
    check_memory(ranks, WritePlan(FileLayout((spec,)), 1, buffer_mb=1), 1, {spec.path: source_of(dataset)})
    ranks.free()
    return int(claims[0].needed)


@pytest.mark.parametrize(
    ("chunks", "kept"),
    [((1000, 1024), CACHE_BYTES), ((40_000, 1024), 40_000 * 2048), (CHUNKS, 0)],
    ids=["small", "one larger than the cache", "copied as they are"],
)
def test_decoded_chunks_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, int], kept: int
) -> None:
    with h5py.File(tmp_path / "source.h5", "w") as file:
        dataset = file.create_dataset("rows", (80_000, 1024), "i2", chunks=chunks, compression="gzip")
        assert claimed(dataset, CHUNKS, monkeypatch) == BUFFER + kept


def written(folder: Path, buffer_mb: float) -> list[str]:
    """Write a raw file of 6.4 MB in chunks of 0.4 MB, four of which make a layer; return what is warned of."""
    raw = np.lib.format.open_memmap(folder / "raw.npy", "w+", "<i2", (12_800, 256))
    nwbfile = NWBFile("Of one raw file", "raw", datetime(2024, 3, 5, tzinfo=timezone.utc))
    nwbfile.add_acquisition(TimeSeries(name="raw", data=H5DataIO(raw, chunks=(3200, 64)), unit="V", rate=1.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with NWBParallelIO(folder / "out.nwb", "w", buffer_mb=buffer_mb, progress=False, overwrite=True) as io:
            io.write(nwbfile)
    return [str(item.message) for item in caught if "is read" in str(item.message)]


def test_a_run_says_that_it_reads_a_file_several_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And which buffer would do; not where that takes no time."""
    assert written(tmp_path, 0.5) == []
    monkeypatch.setattr(preparing, "LEAST_WARNED_OF", 3 * 12_800 * 512)
    (said,) = written(tmp_path, 0.5)
    assert said.startswith("/acquisition/raw/data: its source is read 4 times") and "--buffer-mb 2 " in said
    assert written(tmp_path, 2) == []
