"""``Growth``: rows that an existing dataset gets. The chunks that were full stay; those at its end are written anew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parnwb.codec import coder_for
from parnwb.element import NUMERIC_KINDS
from parnwb.errors import LayoutError
from parnwb.exactness import are_equal, rounded
from parnwb.given import as_array, is_list_like
from parnwb.layout import DatasetSpec
from parnwb.overlay import Overlay
from parnwb.resident.data import Resident
from parnwb.sources import Source, read_from
from parnwb.sources.adapt import as_source, is_source_like
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.sources.joined import JoinedSource
from parnwb.sources.raw_chunks import is_plain, read_spec
from parnwb.sources.sample import sample

if TYPE_CHECKING:
    import h5py

CREATE_GROWING = "Create it with H5DataIO(data, maxshape=(None, ...)), or add the values as a dataset of their own"


@dataclass(frozen=True)
class Growth:
    """New rows of one dataset.

    Parameters
    ----------
    path
        Of the dataset.
    shape
        The dataset's before.
    rows
        How many there are.
    spec
        The dataset from the first chunk on that is not full; None where HDF5 on the root writes the rows by itself.
    source
        What goes there; None where this rank cannot read it.
    values
        The rows that HDF5 writes by itself, on the root.
    kept
        Whether the root alone can read ``source``.
    """

    path: str
    shape: tuple[int, ...]
    rows: int
    spec: DatasetSpec | None = None
    source: Source | None = field(default=None, repr=False)
    values: Any = field(default=None, repr=False)
    kept: bool = False

    def begin(self, file: h5py.File) -> DatasetSpec | None:
        """Make room for the rows, and return what all ranks are to write. Independent; on the root only.

        HDF5 writes a chunk that grows to where it was, or gives its place to others. Therefore the chunks that are not
        full are removed first: they are written as new ones, and their place must not be given out before the file on
        disk has changed.

        Raises
        ------
        LayoutError
            The dataset has changed since, or does not take the rows.
        """
        dataset = file[self.path]
        if dataset.shape != self.shape:
            raise LayoutError(
                f"a dataset must stay as it is once it has been extended: it had shape {self.shape}, now it has "
                f"{dataset.shape}",
                where=self.path,
                remedy="Call extend after all other changes of it",
            )
        if self.spec is not None:
            dataset.resize(self.spec.first_row, axis=0)
        dataset.resize(self.shape[0] + self.rows, axis=0)
        if self.spec is None:
            self._write_small(dataset)
            return None
        assert self.source is not None
        return replace(self.spec, coder=coder_for(self.spec, sample(self.source, self.spec.grid, self.spec.place)))

    def _write_small(self, dataset: h5py.Dataset) -> None:
        try:
            dataset[self.shape[0] :] = self.values
        except Exception as error:
            raise LayoutError(
                f"HDF5 cannot write these rows: {type(error).__name__}: {error}",
                where=self.path,
                remedy=f"Give values that fit the dataset's type {dataset.dtype}",
            ) from error
        if dataset.dtype.kind in NUMERIC_KINDS and not are_equal(dataset[self.shape[0] :], np.asarray(self.values)):
            raise LayoutError(
                "values must be kept as they are, and HDF5 stores some of these as others",
                where=self.path,
                remedy="Give values that the dataset's type holds",
            )


def are_written_by_all(dataset: h5py.Dataset) -> bool:
    """Tell whether ranks write new rows of a dataset themselves: numbers, in chunks. Independent."""
    return dataset.dtype.kind in NUMERIC_KINDS and is_plain(dataset)


def rows_of(values: Any, dataset: h5py.Dataset) -> Any:
    """Return new rows as a source, or as they are where the root's HDF5 writes them. Independent.

    Raises
    ------
    LayoutError, SourceError
        They do not fit behind the rows of the dataset.
    """
    if not are_written_by_all(dataset):
        rows: Any = values if hasattr(values, "shape") else as_array(values, "new rows", dataset.name, dtype=object)
    else:
        is_array = is_source_like(values) and not isinstance(values, Resident)
        rows = as_source(values if is_array else _listed(values, dataset))
        if rows.dtype.kind not in NUMERIC_KINDS:
            raise LayoutError(f"numbers can only be followed by numbers, got {rows.dtype}", where=dataset.name)
    shape = tuple(rows.shape)
    if len(shape) != dataset.ndim or shape[1:] != dataset.shape[1:]:
        raise LayoutError(
            f"new rows must have the shape of those that are there, {('any', *dataset.shape[1:])}, got {shape}",
            where=dataset.name,
            remedy="Give an array of whole rows",
        )
    limit = dataset.maxshape[0]
    if limit is not None and dataset.shape[0] + shape[0] > limit:
        raise LayoutError(
            f"the dataset cannot have more than {limit} rows, it has {dataset.shape[0]} and would get {shape[0]}",
            where=dataset.name,
            remedy=CREATE_GROWING,
        )
    return rows


def _listed(values: Any, dataset: h5py.Dataset) -> Any:
    """Return a list as an array; its floats are rounded as the dataset's are, because lists have no precision."""
    if isinstance(values, Resident) or not is_list_like(values):
        raise LayoutError(
            f"new rows must be an array, a list, or an iterator that ranks can divide, got {type(values).__name__}",
            where=dataset.name,
            remedy="Give all rows on every rank, or on the root alone; rows of which each rank has a part, or that "
            "come one after another, go into a new dataset: Distributed, Stream",
        )
    return rounded(as_array(values, "new rows", dataset.name, "Give an array of whole rows"), dataset.dtype)


def check_growable(dataset: h5py.Dataset) -> None:
    """Refuse datasets that have no room for more rows. Independent.

    Raises
    ------
    LayoutError
        The dataset is not stored in chunks, or HDF5 would fill all of the new ones first.
    """
    import h5py

    if dataset.is_virtual:
        raise LayoutError(
            "only datasets in chunks can be extended, the values of this one are in other datasets (it is virtual)",
            where=dataset.name,
            remedy="Let parnwb merge make one file of it first, and extend the dataset there",
        )
    if dataset.ndim == 0 or dataset.chunks is None:
        raise LayoutError(
            f"only datasets in chunks can be extended, this one of shape {dataset.shape} has none",
            where=dataset.name,
            remedy=CREATE_GROWING,
        )
    if dataset.id.get_create_plist().get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY:
        raise LayoutError(
            "HDF5 gives all of this dataset its space at once, as parallel HDF5 does, so that it cannot be extended "
            "without writing twice",
            where=dataset.name,
            remedy="Write the dataset with backend 'direct' or with NWBHDF5IO",
        )


def growth_of(dataset: h5py.Dataset, shape: tuple[int, ...], rows: Source | None, *, kept: bool) -> Growth:
    """Return the growth of a dataset of numbers. Independent.

    Parameters
    ----------
    dataset
        As it was.
    shape
        Of the new rows.
    rows
        The new rows; None where this rank cannot read them.
    kept
        Whether the root alone can read them.
    """
    whole = read_spec(dataset)
    first = dataset.shape[0] // dataset.chunks[0] * dataset.chunks[0]
    total = dataset.shape[0] + shape[0]
    source = JoinedSource(HDF5DatasetSource(dataset), first, rows) if rows is not None else None
    spec = replace(whole, shape=(total - first, *whole.shape[1:]), first_row=first)
    spec = spec if source is None else read_from(spec, source)
    return Growth(whole.path, tuple(dataset.shape), shape[0], spec, source, kept=kept)


def grown_sources(growths: Iterable[Growth]) -> dict[str, Source]:
    """Return what this rank can read of the new rows, by path. Independent."""
    return {growth.path: growth.source for growth in growths if growth.source is not None}


def hold_end(file: h5py.File, overlay: Overlay, lowest: int) -> h5py.h5d.DatasetID | None:
    """Let HDF5's allocation not begin below ``lowest``, where a chunk has been removed. Independent; on the root.

    Returns
    -------
    held
        A dataset without a name that has the space as long as somebody refers to it; None if nothing was removed at
        the end of the file.
    """
    import h5py

    file.flush()
    gap = lowest - overlay.end
    if gap <= 0:
        return None
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    held = h5py.h5d.create(file.id, None, h5py.h5t.STD_U8LE, h5py.h5s.create_simple((gap,)), creation)
    file.flush()
    return held
