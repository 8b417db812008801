"""``Coding``: with which chunks and filters a dataset is written that has others now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import h5py

from parnwb.authoring.chunking import auto_chunks
from parnwb.authoring.skeleton import check_chunks, warn_of_plugin, whole_extents
from parnwb.codec import choose_coding, coder_for
from parnwb.codec.cast import in_file_dtype
from parnwb.codec.filters import DEFLATE, FLETCHER32, SHUFFLE
from parnwb.compression import Compression, check_compression, filter_settings, is_none, needs_plugin
from parnwb.errors import LayoutError, ParnwbError
from parnwb.layout import ChunkGrid, DatasetSpec
from parnwb.sources import Source, takes_over
from parnwb.sources.raw_chunks import is_outside, read_spec
from parnwb.sources.sample import sample
from parnwb.timing import Phases

Chunks = str | tuple[int, ...] | None
OWN = "own"
"""What a dataset has now."""


@dataclass(frozen=True)
class Coding:
    """What is asked for; None asks for nothing, ``'own'`` for what a dataset has now.

    Parameters
    ----------
    chunks
        A shape, or ``'auto'``.
    compression
        As for ``NWBParallelIO``; ``'none'`` takes all filters away.
    """

    chunks: Chunks = None
    compression: Compression = None

    def __post_init__(self) -> None:
        if self.compression != OWN:
            check_compression(self.compression)
        if isinstance(self.chunks, str) and self.chunks not in ("auto", OWN):
            raise ParnwbError(f"chunks must be 'auto', 'own', a shape or None, got {self.chunks!r}")

    def or_else(self, other: Coding) -> Coding:
        """Return this, and where it asks for nothing what another asks for; None where that is what there is."""
        chunks = other.chunks if self.chunks is None else self.chunks
        compression = other.compression if self.compression is None else self.compression
        return Coding(None if chunks == OWN else chunks, None if compression == OWN else compression)


@dataclass(frozen=True)
class Recoding:
    """What is asked for of each dataset.

    Parameters
    ----------
    default
        Of all.
    patterns
        Of datasets whose path matches, before the default; the first that matches.
    """

    default: Coding = field(default_factory=Coding)
    patterns: tuple[tuple[str, Coding], ...] = ()

    def of(self, path: str) -> Coding:
        """Return what is asked for of the dataset at ``path``."""
        own = next((coding for pattern, coding in self.patterns if fnmatchcase(path, pattern)), Coding())
        return own.or_else(self.default)

    def check_used(self, paths: Sequence[str]) -> None:
        """Refuse a pattern that no dataset matches.

        Raises
        ------
        ParnwbError
            Names the pattern and the datasets there are.
        """
        for pattern, _ in self.patterns:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise ParnwbError(
                    f"a pattern must match a dataset that is large enough to be written by all ranks, {pattern!r} "
                    "matches none",
                    remedy=f"Choose from {', '.join(paths)}" if paths else "Choose a smaller bulk_threshold",
                )


def like(dataset: h5py.Dataset, source: Source) -> DatasetSpec:
    """Return the layout from which a dataset begins: its own, or that of what is behind a virtual one. Independent."""
    own = read_spec(dataset)
    parts = getattr(source, "common_spec", None)
    if parts is None:
        return own
    return replace(own, chunks=parts.chunks, filters=parts.filters)


def create(
    group: h5py.h5g.GroupID,
    name: bytes,
    kind: h5py.h5t.TypeID,
    dataset: h5py.Dataset,
    source: Source,
    coding: Coding,
    link: Any,
    phases: Phases,
) -> DatasetSpec:
    """Create a dataset, empty, and return its layout, with the program that is to encode it. Independent.

    Parameters
    ----------
    group, name, link
        Where; with the properties of the link.
    kind
        The type.
    dataset
        That it is written from.
    source
        Of its values.
    coding
        What is asked for.
    phases
        Where the seconds of sampling count.

    Raises
    ------
    LayoutError
        HDF5 cannot have such a dataset.
    """
    path = str(dataset.name)
    now = like(dataset, source)
    chunks = _chunks(now, coding, path)
    with phases("sampling"):
        shuffle, settings, coder = _compressor(now, chunks, coding, source, path)
    try:
        creation = _creation(dataset, now, chunks, settings, shuffle=shuffle)
        made = h5py.h5d.create(group, name, kind, dataset.id.get_space(), creation, link)
    except Exception as error:
        raise LayoutError(
            f"HDF5 cannot create a dataset of shape {now.shape} with chunks {chunks} and {coding.compression}: {error}",
            where=path,
            remedy="Ask for other chunks or another compression",
        ) from error
    spec = replace(read_spec(h5py.Dataset(made)), coder=coder)
    if coder or takes_over(source, spec) or DEFLATE not in {item.identifier for item in spec.filters}:
        return spec
    with phases("sampling"):
        return replace(spec, coder=coder_for(spec, _sample(spec, source)))


def _chunks(now: DatasetSpec, coding: Coding, path: str) -> tuple[int, ...] | None:
    wanted = coding.chunks
    needs_chunks = not is_none(coding.compression) or now.maxshape != now.shape
    if wanted is None and (now.chunks is not None or not needs_chunks):
        return now.chunks
    if wanted is None or wanted == "auto":
        return auto_chunks(now.shape, now.itemsize)
    extents: tuple[int, ...] = whole_extents(wanted, now.shape, path)
    check_chunks(extents, now.shape, now.maxshape, path)
    return extents


def _compressor(
    now: DatasetSpec, chunks: tuple[int, ...] | None, coding: Coding, source: Source, path: str
) -> tuple[bool, dict[str, Any] | None, str]:
    """Return whether to shuffle, h5py's settings of the compressor (None: all filters stay), and a coder's name."""
    if coding.compression is None:
        return False, None, ""
    if coding.compression == "auto":
        assert chunks is not None
        choice = choose_coding(list(_sample(replace(now, chunks=chunks), source)))
        return choice.shuffle, {"compression": "gzip", "compression_opts": choice.level}, choice.coder
    if is_none(coding.compression):
        return False, {}, ""
    if needs_plugin(coding.compression):
        warn_of_plugin(coding.compression)
    settings = filter_settings(coding.compression)
    own_shuffle = str(coding.compression).partition("-")[0] in ("blosc2", "bitshuffle")
    was_shuffled = SHUFFLE in {item.identifier for item in now.filters}
    return was_shuffled and not own_shuffle, settings, ""


def _sample(spec: DatasetSpec, source: Source) -> Iterable[Any]:
    dtype = spec.numpy_dtype
    grid = ChunkGrid(spec.shape, spec.grid.chunk)
    return (in_file_dtype(piece, dtype).astype(dtype) for piece in sample(source, grid, spec.path))


def _creation(
    dataset: h5py.Dataset,
    now: DatasetSpec,
    chunks: tuple[int, ...] | None,
    settings: dict[str, Any] | None,
    *,
    shuffle: bool,
) -> h5py.h5p.PropDCID:
    """Return the properties of the old dataset, with others chunks and filters."""
    creation = dataset.id.get_create_plist()
    if is_outside(dataset):
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if now.fillvalue:
            creation.set_fill_value(now.fill)
    flags = {}
    for number in reversed(range(creation.get_nfilters())):
        identifier, flag, _, _ = creation.get_filter(number)
        flags[identifier] = flag
        creation.remove_filter(identifier)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_DEFAULT)  # or HDF5 would write it all at once
    if chunks is None:
        return creation
    creation.set_chunk(chunks)
    if settings is None:
        for item in now.filters:
            optional = h5py.h5z.FLAG_OPTIONAL
            is_there = h5py.h5z.filter_avail(item.identifier)  # what is not can be copied all the same
            flag = flags.get(item.identifier, optional) if is_there else optional
            creation.set_filter(item.identifier, flag, item.given_options)
        return creation
    if shuffle:
        creation.set_shuffle()
    if settings.get("compression") == "gzip":
        creation.set_deflate(settings["compression_opts"])
    elif settings:
        options = tuple(settings.get("compression_opts") or ())
        creation.set_filter(settings["compression"], h5py.h5z.FLAG_OPTIONAL, options)
    if FLETCHER32 in {item.identifier for item in now.filters}:
        creation.set_fletcher32()
    return creation
