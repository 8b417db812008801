"""What a file holds, as its own index says: datasets, and how far their chunks were compressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from parnwb.codec.zarr import in_words
from parnwb.index import chunk_index
from parnwb.layout import ChunkGrid
from parnwb.links.following import datasets_in, parts_of, stored_bytes
from parnwb.sources.zarr import read_zarr_spec
from parnwb.target import stored_bytes as folder_bytes

COLUMNS = 120
"""Of chunks that are one after another, so many averages are kept."""
MOST_SLOWLY = 4000
"""Chunks that an old HDF5 is asked for one by one, which takes longer the more there are: a second for so many."""
MOST_DATASETS = 40
FILTERS = {
    1: "gzip",
    2: "shuffle",
    3: "fletcher32",
    32000: "lzf",
    32008: "bitshuffle",
    32015: "zstd",
    32026: "blosc2",
}


@dataclass(frozen=True)
class Stored:
    """One dataset of a file.

    Parameters
    ----------
    path, shape, dtype, chunks, filters
        As the file says.
    raw_bytes, stored_bytes
        Without and with compression.
    count
        How many chunks were looked at; 0 for none.
    ratios
        Uncompressed over stored bytes of chunks in C order, averages of so many one after another that these are few.
    lowest, highest
        Of single chunks.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...] | None
    filters: str
    raw_bytes: int
    stored_bytes: int
    count: int = 0
    ratios: tuple[float, ...] = ()
    lowest: float = 0.0
    highest: float = 0.0

    @property
    def ratio(self) -> float:
        """Uncompressed over stored bytes."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes else 1.0


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Parameters
    ----------
    file_bytes
        Its size, and that of the files that have parts of its virtual datasets.
    session
        Who and when, by the file's own words.
    datasets
        The largest ones.
    others
        How many smaller ones there are.
    raw_bytes
        Of all datasets, without compression.
    chunks_are_files
        Of a store: its chunks are not looked at one by one.
    """

    file_bytes: int
    session: Mapping[str, str]
    datasets: tuple[Stored, ...]
    others: int
    raw_bytes: int
    chunks_are_files: bool = False


def contents(path: Path, look_up: Callable[[], None] = lambda: None) -> Contents:
    """Return what a file, or a store, holds. Independent; ``look_up`` is called now and then, and may raise."""
    if path.is_dir():
        return _contents_of_store(path, look_up)
    with h5py.File(path, "r") as file:
        found = [dataset for dataset in datasets_in(file) if dataset.shape]
        found.sort(key=_raw_bytes, reverse=True)
        shown = tuple(_stored(dataset, look_up) for dataset in found[:MOST_DATASETS])
        size = sum(one.stat().st_size for one in (path, *parts_of(path)) if one.is_file())
        return Contents(size, _session(file), shown, len(found) - len(shown), sum(map(_raw_bytes, found)))


def _contents_of_store(path: Path, look_up: Callable[[], None]) -> Contents:
    import zarr

    root = zarr.open_group(str(path), mode="r")
    found = [array for _, array in root.arrays(recurse=True) if array.dtype.kind != "O"]
    found.sort(key=lambda array: array.nbytes, reverse=True)
    shown = []
    for array in found[:MOST_DATASETS]:
        look_up()
        spec = read_zarr_spec(array)
        words = ", ".join(in_words(item) for item in spec.filters)
        sizes = (spec.nbytes, array.nbytes_stored)
        shown.append(Stored(spec.path, spec.shape, str(array.dtype), spec.chunks, words, *sizes))
    raw = sum(array.nbytes for array in found)
    size, others = folder_bytes(path, lambda _: look_up()), len(found) - len(shown)
    return Contents(size, _session(root), tuple(shown), others, raw, chunks_are_files=True)


def _raw_bytes(dataset: h5py.Dataset) -> int:
    return int(dataset.size * dataset.dtype.itemsize)


def _session(file: Any) -> dict[str, str]:
    names = {
        "session_description": "Session",
        "identifier": "Identifier",
        "session_start_time": "Started",
        "general/subject/subject_id": "Subject",
    }
    return {label: text for name, label in names.items() if (text := _text(file, name))}


def _text(file: Any, name: str) -> str:
    value: Any = file[name][()] if name in file else b""
    value = value.item() if getattr(value, "shape", None) == (1,) else value  # Zarr has no scalars
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _stored(dataset: h5py.Dataset, look_up: Callable[[], None]) -> Stored:
    look_up()
    known: dict[str, Any] = {
        "path": dataset.name,
        "shape": tuple(dataset.shape),
        "dtype": str(dataset.dtype),
        "chunks": dataset.chunks,
        "filters": _filters(dataset),
        "raw_bytes": _raw_bytes(dataset),
        "stored_bytes": stored_bytes(dataset),
    }
    is_quick = hasattr(dataset.id, "chunk_iter")
    if not dataset.chunks or not known["filters"] or not dataset.size:
        return Stored(**known)
    if not is_quick and dataset.id.get_num_chunks() > MOST_SLOWLY:
        return Stored(**known)
    entries = chunk_index(dataset, look_up)
    if not len(entries):
        return Stored(**known)
    raw, stored = _raw_sizes(dataset, entries[:, 0]), np.maximum(entries[:, 2], 1).astype(float)
    parts = np.array_split(np.arange(len(stored)), min(COLUMNS, len(stored)))
    means = tuple(float(raw[part].sum() / stored[part].sum()) for part in parts)
    single = raw / stored
    return Stored(**known, count=len(raw), ratios=means, lowest=float(single.min()), highest=float(single.max()))


def _raw_sizes(dataset: h5py.Dataset, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the bytes of chunks by their positions, of those at the end as far as they are filled."""
    grid = ChunkGrid(dataset.shape, dataset.chunks)
    sizes = np.full(len(positions), float(dataset.dtype.itemsize))
    for index, extent, chunk in zip(np.unravel_index(positions, grid.extent), grid.shape, grid.chunk, strict=True):
        sizes *= np.minimum(chunk, extent - chunk * index)
    return sizes


def _filters(dataset: h5py.Dataset) -> str:
    creation = dataset.id.get_create_plist()
    found = []
    for number in range(creation.get_nfilters()):
        code, _, values, _ = creation.get_filter(number)
        name = FILTERS.get(code, f"filter {code}")
        found.append(f"{name} {values[0]}" if code == 1 and values else name)
    return ", ".join(found)
