"""The cases of the contract: each is one file's content and how it is written."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

from contract.contents import sessions, settings, shapes, sources
from contract.contents.types import ephys, extended, imaging, mocks, series, tables
from pynwb import NWBFile

from parnwb import DatasetSpec

Content = Callable[[NWBFile, Path], None]
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
# So little that every rank has several buffers, of several chunks each.
SMALL_BUFFERS = {"bulk_threshold": 0, "buffer_mb": 0.002}


@dataclass(frozen=True)
class Case:
    """One file.

    Parameters
    ----------
    content
        Fills an NWBFile; its second argument is the folder that ``inputs.prepare`` filled.
    settings
        For ``NWBParallelIO``.
    arguments
        For ``write``, of pynwb as of parnwb.
    expected
        What pynwb is given to write the same file, where that is not ``content``.
    everywhere
        Whether all ranks have the NWBFile, or the root alone.
    free_filters
        Whether parnwb chooses the filters.
    size_ratio
        How much larger than pynwb's a compressed dataset may be.
    skips_chunks
        Whether a filter skips chunks, which ``mpio`` must refuse with HDF5 before 1.14.
    """

    content: Content
    settings: dict[str, Any] = field(default_factory=lambda: dict(SMALL_BUFFERS))
    arguments: dict[str, Any] = field(default_factory=lambda: {"cache_spec": False})
    expected: Content | None = None
    everywhere: bool = True
    free_filters: bool = False
    size_ratio: float = 1.05
    skips_chunks: bool = False


def build(name: str, inputs: Path, *, rank: int = 0, expected: bool = False) -> NWBFile:
    """Return the NWBFile of a case."""
    case = (CASES | TYPES)[name]
    content = case.expected if expected and case.expected is not None else case.content
    return filled(content, name, inputs, rank=rank)


def filled(content: Content, name: str, inputs: Path, *, rank: int = 0) -> NWBFile:
    """Return an NWBFile with some content.

    What every process makes anew (object ids, identifier, date) is the same in every root and in pynwb's, and
    another on every other rank: where it gets into the file, the comparison shows it.
    """
    dice = random.Random(f"{name} on rank {rank}")
    with patch("hdmf.container.uuid4", lambda: uuid.UUID(int=dice.getrandbits(128), version=4)):
        file = NWBFile(
            session_description="a contract",
            identifier=f"made on rank {rank}",
            session_start_time=START,
            file_create_date=START + timedelta(seconds=rank),
        )
        content(file, inputs)
    return file


def _by_default(compression: str | int, coding: dict[str, Any], **more: Any) -> Case:
    given = {**SMALL_BUFFERS, "compression": compression}
    return Case(settings.default_compression, given, expected=settings.compressed_by_hand(**coding), **more)


def _gzip(level: int) -> dict[str, Any]:
    return {"compression": "gzip", "compression_opts": level}


def _zstd(level: int) -> dict[str, Any]:
    return {"compression": 32015, "compression_opts": (level,), "allow_plugin_filters": True}


def by_shape(spec: DatasetSpec) -> float:
    """Give shapes of few axes, and of few rows among them, the first turns."""
    return float(len(spec.shape) + spec.shape[0] % 2)


def _queued(queue: Any, **more: Any) -> Case:
    return Case(sources.queued, {**SMALL_BUFFERS, "queue": queue, **more})


CASES: dict[str, Case] = {
    "arrays": Case(sources.arrays),
    "default_threshold": Case(sources.default_threshold, settings={}),
    "memmaps": Case(sources.memmaps),
    "copies": Case(sources.copies, arguments={"link_data": False, "cache_spec": False}),
    "native_copies": Case(sources.native_copies),
    "links": Case(sources.links),
    "iterators": Case(sources.iterators),
    "sequential": Case(sources.sequential),
    "root_only": Case(sources.root_only, everywhere=False),
    "chunk_shapes": Case(settings.chunk_shapes),
    "gzip_levels": Case(settings.gzip_levels, settings={"bulk_threshold": 0}),
    "filters": Case(settings.filters),
    "lzf": Case(settings.lzf, skips_chunks=True),
    "plugins": Case(settings.plugins, skips_chunks=True),
    "fill_values": Case(settings.fill_values),
    "preallocated": Case(settings.preallocated),
    "compression_auto": _by_default("auto", _gzip(4), free_filters=True, size_ratio=1.10),
    "compression_gzip": _by_default("gzip", _gzip(4)),
    "compression_3": _by_default(3, _gzip(3)),
    "compression_gzip_3": _by_default("gzip-3", _gzip(3)),
    "compression_zstd": _by_default("zstd-2", _zstd(2), skips_chunks=True),
    "dimensions": Case(shapes.dimensions),
    "small_shapes": Case(shapes.small_shapes),
    "no_bulk": Case(shapes.no_bulk),
    "dtypes": Case(shapes.dtypes),
    "converted": Case(shapes.converted),
    "different_sizes": Case(shapes.different_sizes, settings={"bulk_threshold": 0, "buffer_mb": 0.1}),
    "linked_series": Case(sessions.linked_series),
    "images": Case(sessions.images),
    "session": Case(sessions.session, arguments={"cache_spec": True}),
    "session_defaults": Case(sessions.session, settings={}, arguments={}),
    "not_expandable": Case(sessions.tables, arguments={"expandable": [], "cache_spec": False}),
    "zarr_arrays": Case(sources.zarr_arrays),
    "dask_arrays": Case(sources.dask_arrays),
    "dask_root_only": Case(sources.dask_arrays, everywhere=False),
    "queue_largest": _queued("largest"),
    "queue_function": _queued(by_shape),
    "queue_round_robin": _queued("round-robin", backend="direct"),  # the one that mpio does not have
}

# Every neurodata type; docs/types.md says where each is.
TYPES: dict[str, Case] = {
    "mocks": Case(mocks.mocks),
    "series": Case(series.series),
    "behavior": Case(series.behavior),
    "ecephys": Case(ephys.ecephys),
    "icephys": Case(ephys.icephys),
    "ogen": Case(ephys.ogen),
    "ophys": Case(imaging.ophys),
    "pictures": Case(imaging.pictures),
    "retinotopy": Case(imaging.retinotopy),
    "tables": Case(tables.tables),
    "odd": Case(tables.odd),
    "extension": Case(extended.extension, arguments={"cache_spec": True}),
    "resources": Case(tables.resources),
}
