"""How large a file would become that is written once more, by a sample of its chunks, and what it wastes now."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from parnwb.authoring.skeleton import AuthoringOptions, Skeleton
from parnwb.codec import open_pipeline
from parnwb.codec.cast import in_file_dtype
from parnwb.hyperslab import unravel
from parnwb.layout import DatasetSpec
from parnwb.links.mosaic import MosaicSource
from parnwb.repacking.result import Change, Repacked, Stored
from parnwb.rewriting.item import Item
from parnwb.rewriting.rewriting import Rewriting
from parnwb.sources import Access, Source, read_checked, takes_over

SAMPLED_CHUNKS = 4
# Of HDF5's B-tree: a key has the bytes, the filter mask and the offsets of a chunk; nodes are half full.
INDEX_WORDS, FILL_OF_NODES = 3, 2


def forecast(content: Rewriting, path: Path) -> Repacked:
    """Return what would become of a file. Independent; nothing is written, and a few chunks are read.

    Parameters
    ----------
    content
        What would be written.
    path
        Of the file that is looked at.
    """
    skeleton = content.author(path, AuthoringOptions())
    skeleton.file.close()
    items = {item.path: item for item in content.found.bulk}
    changes = tuple(_change(spec, skeleton.sources[spec.path], items[spec.path]) for spec in skeleton.layout)
    indexed = sum(_index_bytes(spec) for spec in skeleton.layout)
    return Repacked(
        path=path,
        changes=changes,
        before=sum(os.path.getsize(name) for name in content.found.files),
        after=skeleton.overlay.end + indexed + sum(change.after.nbytes for change in changes),
        unused=unused_bytes(content, skeleton),
    )


def unused_bytes(content: Rewriting, skeleton: Skeleton) -> int | None:
    """Return about how many bytes of the file that is read nothing refers to; None of several files. Independent.

    What is referred to takes as much as in a new file that has just been written, but for the chunks and their index.
    Of several files some may be read only in part.
    """
    if len(content.found.files) > 1:
        return None
    used = skeleton.overlay.end
    for item in content.found.bulk:
        used += item.dataset.id.get_storage_size() + h5py.h5o.get_info(item.opened).meta_size.obj.index_size
    return max(0, os.path.getsize(content.found.file.filename) - used)


def _change(spec: DatasetSpec, source: Source, item: Item) -> Change:
    before, is_copied = Stored.of(item.dataset), takes_over(source, spec)
    if is_copied:
        nbytes = source.stored_bytes if isinstance(source, MosaicSource) else before.nbytes
    else:
        nbytes = _expected_bytes(spec, source)
    return Change(spec.path, spec.nbytes, before, Stored.expected(spec, nbytes), is_copied)


def _expected_bytes(spec: DatasetSpec, source: Source) -> int:
    if spec.chunks is None:
        return spec.nbytes
    whole = spec.grid.size * spec.chunk_bytes
    if not spec.filters or source.access is not Access.RANDOM:
        return whole
    pipeline, sampled, stored = open_pipeline(spec), 0, 0
    count = min(SAMPLED_CHUNKS, spec.grid.size)
    for number in range(count):
        cell = spec.grid.cell(unravel((2 * number + 1) * spec.grid.size // (2 * count), spec.grid.extent))
        chunk = np.full(spec.grid.chunk, spec.fill, dtype=spec.numpy_dtype)
        values = in_file_dtype(read_checked(source, cell, spec.path), spec.numpy_dtype)
        chunk[tuple(slice(extent) for extent in cell.count)] = values
        stored += len(pipeline.encode(chunk)[1])
        sampled += chunk.nbytes
    return whole * stored // sampled


def _index_bytes(spec: DatasetSpec) -> int:
    if spec.chunks is None:
        return 0
    return spec.grid.size * FILL_OF_NODES * 8 * (INDEX_WORDS + len(spec.shape))
