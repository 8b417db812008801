"""What ranks need is compared with the memory that there is, before anything is written."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

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
