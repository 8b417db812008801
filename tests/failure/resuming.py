"""What tests of resume share: a session with every kind of bulk data, commits at known moments, and what must hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from contract.compare import Allowed, Snapshot, comparable, differences
from contract.inputs import Movie
from hdmf.data_utils import GenericDataChunkIterator
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.backends import encoder, giving
from parnwb.commits.journal import Committed, crc32c, frames, replay

START = datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc)
# Contiguous data are cut into pieces of 4 MiB: here into such that there are several.
PIECE_BYTES = 8192
# The same for data of iterators.
READ_GRID_BYTES = 10_000
SETTINGS: dict[str, Any] = {"bulk_threshold": 4096, "buffer_mb": 10_000 / 2**20}
# What HDF5's own bookkeeping may take more, if the rest is only a few hundred kB.
UNREFERENCED = 0.01


class Slices(GenericDataChunkIterator):
    """An array behind hdmf's iterator."""

    def __init__(self, array: np.ndarray[Any, Any], piece: tuple[int, ...]) -> None:
        self.array = array
        super().__init__(chunk_shape=piece, buffer_shape=piece)

    def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        return self.array[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.array.shape

    def _get_dtype(self) -> np.dtype[Any]:
        return self.array.dtype


def noise(shape: tuple[int, ...], dtype: str = "i2", seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 30, shape).astype(dtype)


def session(scale: int = 4, *, description: str = "resuming", seed: int = 0, movie: bool = True) -> NWBFile:
    """Return a file with bulk data of every kind: about 60 kB times ``scale``, in 17 buffers times ``scale``."""
    nwbfile = NWBFile(description, "resuming", START)

    def add(name: str, data: Any, **keywords: Any) -> None:
        nwbfile.add_acquisition(TimeSeries(name=name, data=data, unit="V", **{"rate": 30.0, **keywords}))

    gzip = {"compression": "gzip", "shuffle": True}
    add("filtered", H5DataIO(noise((500 * scale, 24), seed=seed), chunks=(100, 12), **gzip))
    times = np.arange(1000 * scale, dtype="f4") / 7
    add("bare", noise((500 * scale, 8), "f4", seed + 1), timestamps=times[: 500 * scale], rate=None)
    add("filled", H5DataIO(noise((600 * scale, 10), "i2", seed + 2), fillvalue=7))
    chunked = noise((200 * scale, 13), "f8", seed + 3)
    add("chunked", H5DataIO(chunked, chunks=(77, 5), fillvalue=3.0, maxshape=(None, 13)))
    add("iterated", H5DataIO(Slices(noise((300 * scale, 16), "i4", seed + 4), (60, 16)), compression="gzip"))
    if movie:
        add("movie", H5DataIO(Movie(noise((12 * scale, 10, 9), "i2", seed + 5) % 100, 4), compression="gzip"))
    add("small", np.arange(10))
    return nwbfile


def write_plainly(path: Path, nwbfile: NWBFile, *, specs: bool = True) -> Path:
    """Write with pynwb alone."""
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile, cache_spec=specs)
    return path


def write(
    path: Path, nwbfile: NWBFile, mode: str = "resume", *, specs: bool = True, **settings: Any
) -> NWBParallelIO:
    """Write with parnwb, contiguous data in small pieces; without pynwb's schema it takes a quarter less time."""
    with small_pieces(), NWBParallelIO(path, mode, **{**SETTINGS, **settings}) as io:
        io.write(nwbfile, cache_spec=specs)
    return io


def open_and_close(path: Path, **settings: Any) -> None:
    """Be the next job at a finished file, which takes over what an ended one has left, and changes nothing else."""
    with NWBParallelIO(path, "a", progress=False, **settings):
        pass


@contextmanager
def small_pieces() -> Iterator[None]:
    """Cut contiguous data and the read grid into small pieces, for a while."""
    constants = ("parnwb.layout.CONTIGUOUS_PIECE_BYTES", "parnwb.planning.plan.READ_GRID_BYTES")
    with patch(constants[0], PIECE_BYTES), patch(constants[1], READ_GRID_BYTES):
        yield


@contextmanager
def commits_every(batches: int) -> Iterator[None]:
    """Let a second pass with every placed batch, so that ``commit_interval`` counts batches."""
    placed = 0
    place = giving.RootAddresses._place

    def counted(self: giving.RootAddresses, *arguments: Any) -> Any:
        nonlocal placed
        placed += 1
        return place(self, *arguments)

    clock = SimpleNamespace(monotonic=lambda: placed / batches)
    with patch.object(giving.RootAddresses, "_place", counted), patch.object(giving, "time", clock):
        yield


class Stop(Exception):
    """Ends an attempt, in tests that need an end at a known place."""


@contextmanager
def stopped_at(batch: int) -> Iterator[list[tuple[int, int]]]:
    """Let the encoding of a batch fail; give the ``(dataset, position)`` of all chunks that were encoded before."""
    encoded: list[tuple[int, int]] = []
    calls = 0
    real = encoder.encode

    def encode(*arguments: Any) -> encoder.Batch:
        nonlocal calls
        calls += 1
        if calls > batch:
            raise Stop("here the test ends the attempt")
        found = real(*arguments)
        encoded.extend((int(dataset), int(position)) for dataset, position in found.requests[:, :2])
        return found

    with patch.object(encoder, "encode", encode):
        yield encoded


# -- what must hold --------------------------------------------------------------------------------------------


def partial_of(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".partial.journal")


def committed_in(path: Path) -> Committed | None:
    """Return the last commit of an unfinished file, after a look at every chunk that it names; None without one."""
    journal, partial = journal_of(path), partial_of(path)
    if not journal.exists() or not any(frames(journal)):
        return None
    committed = replay(journal)
    if committed.complete and not partial.exists():
        assert path.exists(), "neither the file nor its partial one is there"
        partial = path
    content = partial.read_bytes()
    places = set()
    for dataset, position, address, nbytes, _, checksum in committed.records.tolist():
        assert (dataset, position) not in places, f"chunk {position} of dataset {dataset} is committed twice"
        places.add((dataset, position))
        found = content[address : address + nbytes]
        assert len(found) == nbytes and crc32c(found) == checksum, f"chunk {position} of dataset {dataset} is damaged"
    assert_apart(committed)
    return committed


def assert_apart(committed: Committed) -> None:
    """Check that no two chunks share a byte."""
    rows = committed.records[np.argsort(committed.records[:, 2], kind="stable")]
    assert (rows[1:, 2] >= rows[:-1, 2] + rows[:-1, 3]).all(), "two chunks have bytes in common"


def assert_goes_on(before: Committed | None, after: Committed | None) -> None:
    """Check that a later attempt kept all that an earlier one had committed, where it was."""
    if before is not None and len(before.records):
        assert after is not None, "a journal with chunks was lost"
        assert after.sequence >= before.sequence
        assert np.array_equal(after.records[: len(before.records)], before.records), "committed chunks have moved"


def assert_same(path: Path, expected: Snapshot) -> None:
    """Check that a file equals pynwb's; how well a deflate program does on tiny chunks does not count."""
    different = differences(expected, comparable(path), Allowed(size_ratio=2.0))
    assert not different, "\n".join(different)


def assert_finished(path: Path, expected: Snapshot, uninterrupted_size: int) -> None:
    """Check that a file is right, that nothing is left over, and that it is not larger than it must be."""
    assert_same(path, expected)
    left = sorted(item.name for item in path.parent.iterdir() if item.name.startswith(path.name) and item != path)
    assert not left, f"left over: {left}"
    size = path.stat().st_size
    assert size <= uninterrupted_size * (1 + UNREFERENCED), f"{size} bytes, {uninterrupted_size} without interruption"
