"""What became, or would become, of the datasets of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from parnwb.codec.filters import NUMCODECS
from parnwb.codec.zarr import in_words
from parnwb.layout import DatasetSpec
from parnwb.links.following import stored_bytes
from parnwb.sources.raw_chunks import read_spec
from parnwb.sources.zarr import read_zarr_spec


@dataclass(frozen=True)
class Stored:
    """How a dataset is stored.

    Parameters
    ----------
    chunks
        Their shape, or None.
    filters
        In words.
    nbytes
        That its values take in the file.
    """

    chunks: tuple[int, ...] | None
    filters: str
    nbytes: int

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> Stored:
        """Return how an open dataset is stored."""
        if dataset.is_virtual:
            return cls(None, "virtual", stored_bytes(dataset))
        if dataset.external:
            return cls(None, "external", 0)
        return cls.expected(read_spec(dataset), dataset.id.get_storage_size())

    @classmethod
    def of_array(cls, array: Any) -> Stored:
        """Return how a Zarr array is stored."""
        return cls.expected(read_zarr_spec(array), array.nbytes_stored)

    @classmethod
    def expected(cls, spec: DatasetSpec, nbytes: int) -> Stored:
        """Return how a dataset of a layout is stored, in so many bytes."""
        return cls(spec.chunks, filters_in_words(spec), nbytes)


def filters_in_words(spec: DatasetSpec) -> str:
    """Return the filters of a dataset, with the level of deflate. Independent."""
    names = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
    told = []
    for item in spec.filters:
        if item.identifier == NUMCODECS:
            told.append(in_words(item))
            continue
        name = names.get(item.identifier) or item.name or str(item.identifier)
        told.append(f"{name}-{item.options[0]}" if name == "gzip" and item.options else name.split(";")[0])
    return " ".join(told) or "none"


@dataclass(frozen=True)
class Change:
    """A dataset before and after.

    Parameters
    ----------
    path
        In the new file.
    raw_bytes
        Of its values, uncompressed.
    before, after
        How it is stored.
    is_copied
        Whether its chunks are copied as they are stored.
    """

    path: str
    raw_bytes: int
    before: Stored
    after: Stored
    is_copied: bool


@dataclass(frozen=True)
class Repacked:
    """What became of a file; or with a dry run what would.

    Parameters
    ----------
    path
        Of the new file; with a dry run of the old one.
    changes
        The datasets that all ranks write, by path.
    before, after
        Bytes of the files: of all that were read, and the new one's.
    unused
        About how many bytes of the old file nothing refers to; None where several files are read.
    seconds
        Of the writing; 0 for a dry run.
    """

    path: Path
    changes: tuple[Change, ...]
    before: int
    after: int
    unused: int | None
    seconds: float = 0.0
