"""Flat files are read once where a buffer has a layer of chunks, else as often as the plan says: bytes are counted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parnwb.authoring.chunking import auto_chunks
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.layers import said_of_readings
from parnwb.planning.plan import READ_WHILE_WRITTEN, MiB, WritePlan
from parnwb.sources import read_beside, reads_whole_rows
from parnwb.sources.binary import BinarySource
from parnwb.sources.source import read_pieces

NEUROCONV = (78_125, 64)
HOUR = 30_000 * 3600


@dataclass
class Disk:
    """What is asked of it; it gives nothing."""

    asked: int = 0

    def preadv(self, _descriptor: int, buffers: Sequence[memoryview], _position: int) -> int:
        nbytes = sum(map(len, buffers))
        self.asked += nbytes
        return nbytes


@dataclass(frozen=True)
class Recorded:
    """A raw file that takes no space, and by which plan it is read."""

    source: BinarySource
    plan: WritePlan

    @property
    def times(self) -> float:
        """Return how many times all ranks together read the file."""
        disk = Disk()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "preadv", disk.preadv)
            for rank in range(self.plan.ranks):
                for buffer in self.plan.buffers(rank):
                    for _ in read_pieces(self.source, buffer.slab, "/data"):
                        pass
        return disk.asked / self.source.path.stat().st_size


def recorded(
    folder: Path,
    shape: tuple[int, ...],
    chunks: tuple[int, ...] | None = None,
    ranks: int = 1,
    buffer_mb: float = 64,
    beside: int = 0,
) -> Recorded:
    """Return a file with some more columns than those of the dataset, and its plan; its chunks are chosen or given."""
    in_file = (*shape[:-1], shape[-1] + beside)
    (folder / "raw.bin").touch()
    os.truncate(folder / "raw.bin", int(np.prod(in_file)) * 2)
    source = BinarySource(folder / "raw.bin", np.dtype("<i2"), in_file, 0, slice(0, shape[-1]))
    spec = DatasetSpec("/data", shape, shape, "<i2", chunks or auto_chunks(shape, 2))
    spec = DatasetSpec(
        **{**vars(spec), "read_beside": read_beside(source), "whole_rows": reads_whole_rows(source)},
    )
    return Recorded(source, WritePlan(FileLayout((spec,)), ranks, buffer_mb=buffer_mb))


@pytest.mark.parametrize("ranks", [1, 2, 16])
@pytest.mark.parametrize("channels", [384, 1536])
def test_chosen_chunks_let_ranks_read_a_file_once(tmp_path: Path, channels: int, ranks: int) -> None:
    found = recorded(tmp_path, (HOUR // 8, channels), ranks=ranks, beside=1)
    assert 1 <= found.times <= 1.05
    assert found.plan.readings == (1,) and not list(said_of_readings(found.plan))


@pytest.mark.parametrize(
    ("channels", "chunks", "buffer_mb", "times"),
    [
        (384, NEUROCONV, 64, 1),
        (384, NEUROCONV, 16, 6),
        (384, (125_000, 64), 64, 2),
        (1536, NEUROCONV, 64, 4),
        (1536, NEUROCONV, 228, 2),
        (1536, NEUROCONV, 229, 1),
    ],
)
def test_how_often_given_chunks_are_read_is_known(
    tmp_path: Path, channels: int, chunks: tuple[int, int], buffer_mb: float, times: int
) -> None:
    found = recorded(tmp_path, (16 * chunks[0], channels), chunks, 2, buffer_mb)
    assert found.times == times
    assert found.plan.readings == (times,) == tuple(found.plan.to_json()["readings"])
    nbytes = found.plan.layout.nbytes
    assert found.plan.total_cost == pytest.approx(nbytes * (1 + (times - 1) / READ_WHILE_WRITTEN))


def test_what_would_help_is_said_and_helps(tmp_path: Path) -> None:
    found = recorded(tmp_path, (10 * NEUROCONV[0], 1536), NEUROCONV, 2)
    ((path, words),) = said_of_readings(found.plan)
    assert path == "/data"
    assert "read 4 times" in words and "--buffer-mb 229 " in words and "240.0 MB" in words
    again = 3 * found.plan.layout.nbytes
    assert list(said_of_readings(found.plan, again)) and not list(said_of_readings(found.plan, again + 1))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ranks=st.integers(1, 7), room=st.integers(1, 12), beside=st.integers(0, 2))
def test_layers_are_read_as_often_as_is_said(
    tmp_path: Path, data: st.DataObject, ranks: int, room: int, beside: int
) -> None:
    """And for each border of two ranks that lies within a layer, that layer once more at most."""
    ndim = data.draw(st.integers(2, 3)) if ranks == 1 else 2
    chunks = tuple(data.draw(st.integers(1, 4)) for _ in range(ndim))
    shape = tuple(data.draw(st.integers(1, 20)) for _ in range(ndim))
    buffer_mb = (room * np.prod(chunks) * 2 + 0.5) / MiB
    found = recorded(tmp_path, shape, chunks, ranks, float(buffer_mb), beside)
    (times,) = found.plan.readings
    layer = min(1.0, chunks[0] / shape[0])
    assert times - (0 if ranks == 1 else 1e-9) <= found.times <= times + (ranks - 1) * layer + 1e-9


def test_other_sources_read_what_they_are_asked_for() -> None:
    spec = DatasetSpec("/data", (10**6, 1536), (10**6, 1536), "<i2", NEUROCONV)
    assert WritePlan(FileLayout((spec,)), 2).readings == (1,)
    in_order = DatasetSpec(**{**vars(spec), "access": "sequential", "whole_rows": True})
    assert WritePlan(FileLayout((in_order,)), 2).readings == (1,)
    rows = DatasetSpec(**{**vars(spec), "whole_rows": True})
    assert WritePlan(FileLayout((rows,)), 2).readings == (4,)
    assert WritePlan(FileLayout((rows,)), 2, blocks={0: (78_125, 64)}).readings == (1,)
