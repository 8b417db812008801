"""HDF5's chunk index of a dataset: what it lacks, and whether it is that of the manifest."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from parnwb.commits.manifest import Manifest
from parnwb.finding import Finding
from parnwb.hyperslab import Hyperslab, unravel
from parnwb.layout import ChunkGrid
from parnwb.links.tiles import Tile, by_dataset, tiles_of

Entries = npt.NDArray[np.int64]
MOST = 20  # findings of one dataset
LookUp = Callable[[], None]


def nothing() -> None:
    """Look up where nobody else is."""


def chunk_index(dataset: h5py.Dataset, look_up: LookUp = nothing) -> Entries:
    """Return the index of a chunked dataset. Independent.

    Parameters
    ----------
    look_up
        Called now and then; may raise.

    Returns
    -------
    entries
        One row for each chunk: position in the grid of chunks (C order), address, stored bytes, filter mask; by
        position.
    """
    numbers = array("q")

    def take(info: Any) -> None:
        numbers.extend((*info.chunk_offset, info.byte_offset, info.size, info.filter_mask))

    if hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(take)
    else:
        # An older HDF5, such as 1.10.8, can only be asked for the n-th chunk and counts from the first one each time,
        # in a B-tree as in the other types of index: though each is asked for once the time is quadratic, 6 s for
        # 10,000 chunks and 33 s for 20,000. With chunk_iter 100,000 take a second.
        for number in range(dataset.id.get_num_chunks()):
            look_up()
            take(dataset.id.get_chunk_info(number))
    rows = np.frombuffer(numbers, dtype=np.int64).reshape(-1, dataset.ndim + 3)
    grid = ChunkGrid(dataset.shape, dataset.chunks)
    cells = rows[:, : dataset.ndim] // np.array(grid.chunk, dtype=np.int64)
    positions = np.ravel_multi_index(tuple(cells.T), grid.extent) if len(rows) else np.empty(0, dtype=np.int64)
    entries = np.column_stack([positions, rows[:, dataset.ndim :]])
    return entries[np.argsort(positions, kind="stable")]


def missing_chunks(dataset: h5py.Dataset, look_up: LookUp = nothing) -> list[Finding]:
    """Return a finding if any part of a dataset has no place in its file. Independent.

    HDF5 reads what was never written as the fill value, so that only the index can tell. ``look_up`` is called now and
    then, and may raise.
    """
    if not dataset.size:
        return []
    creation = dataset.id.get_create_plist()
    if creation.get_layout() == h5py.h5d.CONTIGUOUS:
        if dataset.id.get_offset() is None and creation.get_external_count() == 0:
            return [Finding(dataset.name, Hyperslab.whole(dataset.shape), "was never written")]
        return []
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        return list(_missing_in_parts(dataset, look_up))
    if creation.get_layout() != h5py.h5d.CHUNKED:
        return []
    grid = ChunkGrid(dataset.shape, dataset.chunks)
    present = dataset.id.get_num_chunks()
    if present == grid.size:
        return []
    lacking = np.ones(grid.size, dtype=bool)
    lacking[chunk_index(dataset, look_up)[:, 0]] = False
    first = grid.cell(unravel(int(lacking.argmax()), grid.extent))
    return [Finding(dataset.name, first, f"{grid.size - present} of {grid.size} chunks were never written")]


def _missing_in_parts(dataset: h5py.Dataset, look_up: LookUp) -> Iterator[Finding]:
    """Iterate over the parts of a virtual dataset that lack chunks of what is taken of them. Independent.

    Parts that cannot be opened are told of by ``links.following``.
    """
    for (name, path), tiles in by_dataset(tiles_of(dataset)):
        look_up()
        try:
            with h5py.File(name, "r") as file:
                part = file[path]
                if part.chunks is None:
                    if missing_chunks(part):
                        yield Finding(dataset.name, None, f"a part of it was never written, in {Path(name).name}")
                    continue
                grid = ChunkGrid(part.shape, part.chunks)
                wanted = np.zeros(grid.extent, dtype=bool)
                for tile in tiles:
                    wanted[grid.cells(Hyperslab(tile.first, tile.count)).slices] = True
                count = int(wanted.sum())
                entries = chunk_index(part, look_up)[:, 0] if part.id.get_num_chunks() != count else None
        except (OSError, KeyError):
            continue
        lacking = wanted.reshape(-1)
        if entries is None:  # as many as are wanted: no program writes others instead
            continue
        lacking[entries] = False
        if missing := int(lacking.sum()):
            first = grid.cell(unravel(int(lacking.argmax()), grid.extent))
            what = f"{missing} of {count} chunks of its part in {Path(name).name} were never written"
            yield Finding(dataset.name, _in_whole(first, tiles), what)


def _in_whole(slab: Hyperslab, tiles: list[Tile]) -> Hyperslab:
    """Return which elements of a virtual dataset a box of its part is. Independent."""
    tile = next(one for one in tiles if slab.intersect(Hyperslab(one.first, one.count)).size)
    taken = slab.intersect(Hyperslab(tile.first, tile.count)).relative_to(tile.first)
    return Hyperslab(tuple(a + b for a, b in zip(tile.start, taken.start, strict=True)), taken.count)


def differences(file: h5py.File, manifest: Manifest, look_up: LookUp = nothing) -> list[Finding]:
    """Return the chunks that are not where they were when the manifest was written. Independent.

    ``look_up`` is called now and then, and may raise.
    """
    findings: list[Finding] = []
    for number, (path, grid) in enumerate(manifest.datasets):
        look_up()
        dataset = file.get(path)
        records = manifest.records[manifest.records[:, 0] == number][:, 1:5]
        records = records[np.argsort(records[:, 0], kind="stable")]
        if not isinstance(dataset, h5py.Dataset):
            findings.append(Finding(path, None, "has checksums, and is not in the file"))
        elif dataset.shape != grid.shape or (dataset.chunks or grid.chunk) != grid.chunk:
            what = f"has shape {dataset.shape} and chunks {dataset.chunks}, not {grid.shape} and {grid.chunk}"
            findings.append(Finding(path, None, f"{what} as when its checksums were written"))
        elif dataset.chunks is not None:
            moved = _moved(grid, records, chunk_index(dataset, look_up))
            findings += [Finding(path, slab, what) for slab, what in islice(moved, MOST)]
        elif len(records) and dataset.id.get_offset() != records[0, 1]:
            what = f"is at byte {dataset.id.get_offset()} of the file, was written at {records[0, 1]}"
            findings.append(Finding(path, Hyperslab.whole(grid.shape), what))
    return findings


def _moved(grid: ChunkGrid, records: Entries, entries: Entries) -> Iterator[tuple[Hyperslab, str]]:
    """Iterate over the chunks whose entries are not those of the records; both are sorted by position."""
    if np.array_equal(records, entries):
        return
    written = {int(row[0]): row[1:].tolist() for row in records}
    found = {int(row[0]): row[1:].tolist() for row in entries}
    for position in sorted({*written, *found}):
        then, now = written.get(position), found.get(position)
        if then != now:
            what = f"the index of the file has {_described(now)}, {_described(then)} when it was written"
            yield grid.cell(unravel(position, grid.extent)), what


def _described(entry: list[int] | None) -> str:
    if entry is None:
        return "no place"
    address, nbytes, mask = entry
    return f"{nbytes} bytes at {address}" + (f" (filter mask {mask:#x})" if mask else "")
