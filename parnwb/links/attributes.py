"""Whether a dataset that is linked to is what the container says of it.

A link has no attributes: who opens the file finds those of the dataset that it leads to, whatever unit or conversion
the container was given. hdmf's writer has a comment at the place where it would have to look, and no code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from hdmf.build import Builder, DatasetBuilder, GroupBuilder

from parnwb.builders import location, unwrapped
from parnwb.links.clocks import Clock, Difference, different_clocks
from parnwb.links.values import equal, shown

# What readers take where a dataset has no such attribute.
DEFAULTS = {"conversion": 1.0, "offset": 0.0, "resolution": -1.0, "interval": 1}
# Each object has its own.
OWN = ("object_id",)


@dataclass(frozen=True)
class Mismatch:
    """One thing in which the container and the dataset that it links to differ.

    Parameters
    ----------
    path
        Of the link in the file.
    target
        Where it leads to.
    name
        What differs: an attribute, ``dtype``, ``rate`` and so on.
    asked, found
        The container's value, and the dataset's.
    copy_mends
        Whether a copy is what the container says. It has as many rows and channels as what it is copied from.
    """

    path: str
    target: str
    name: str
    asked: str
    found: str
    copy_mends: bool = False

    def __str__(self) -> str:
        return f"{self.path} -> {self.target}: {self.name} is {self.asked} in the container, {self.found} there"


def mismatches(builder: DatasetBuilder) -> tuple[Mismatch, ...]:
    """Return in what a dataset of another place differs from what is said of it. Independent.

    Parameters
    ----------
    builder
        Whose data are an ``h5py.Dataset``.
    """
    dataset: h5py.Dataset = unwrapped(builder.data)
    path, target = location(builder), f"{dataset.file.filename}:{dataset.name}"
    mended = (
        *_different_types(builder, dataset),
        *_different_attributes(builder.attributes, dataset),
        *_different_dimensions(builder, dataset),
        *_different_times(builder, dataset),
    )
    lasting = _different_lengths(builder, dataset)
    return (
        *(Mismatch(path, target, *item, copy_mends=True) for item in mended),
        *(Mismatch(path, target, *item) for item in lasting),
    )


def _different_types(builder: DatasetBuilder, dataset: h5py.Dataset) -> Iterator[Difference]:
    """Compare with the type that the same values would get in an array."""
    if isinstance(builder.dtype, type) and dataset.dtype.kind in "biuf":
        wanted = np.dtype(builder.dtype)
        if wanted.newbyteorder("=") != dataset.dtype.newbyteorder("="):
            yield "dtype", str(wanted), str(dataset.dtype)


def _different_attributes(wanted: Mapping[str, Any], dataset: h5py.Dataset) -> Iterator[Difference]:
    for name, asked in wanted.items():
        if name in OWN or isinstance(asked, Builder):
            continue
        if name not in dataset.attrs:
            if name not in DEFAULTS or not equal(asked, DEFAULTS[name]):
                yield name, shown(asked), "missing"
        elif not equal(asked, dataset.attrs[name]):
            yield name, shown(asked), shown(dataset.attrs[name])


def _different_lengths(builder: DatasetBuilder, dataset: h5py.Dataset) -> Iterator[Difference]:
    """Compare the extents with those of what lies beside it: timestamps, data, electrodes."""
    shape = tuple(dataset.shape or ())
    other = {"data": "timestamps", "timestamps": "data"}.get(builder.name)
    length = _length(_beside(builder, other)) if other is not None else None
    if length and shape and shape[0] != length:  # no data at all: they are in movies
        yield "length", f"{length} ({other})", f"{shape[0]}"
    channels = _length(_beside(builder, "electrodes")) if builder.name == "data" else None
    if channels is not None and len(shape) > 1 and shape[1] != channels:
        yield "shape", f"(..., {channels}) (electrodes)", str(shape)


def _different_dimensions(builder: DatasetBuilder, dataset: h5py.Dataset) -> Iterator[Difference]:
    """Compare HDF5's labels of axes, where the dataset has any, with the names that the schema gives to them."""
    labels = tuple(axis.label for axis in dataset.dims) if dataset.shape else ()
    names = tuple(builder.dimension_labels or ())
    if not any(labels) or not names:
        return
    same = len(labels) == len(names) and all(
        not label or _plain(label) == _plain(name) for label, name in zip(labels, names, strict=True)
    )
    if not same:
        yield "dimensions", str(names), str(labels)


def _plain(name: str) -> str:
    return name.lower().removeprefix("num_").rstrip("s")


def _different_times(builder: DatasetBuilder, dataset: h5py.Dataset) -> Iterator[Difference]:
    """Compare when the rows were taken with the series of which the dataset is the data."""
    if builder.name == "data" and "neurodata_type" in dataset.parent.attrs:
        yield from different_clocks(_asked_clock(builder), _clock_there(dataset.parent))


def _asked_clock(builder: DatasetBuilder) -> Clock | None:
    start = _beside(builder, "starting_time")
    if isinstance(start, DatasetBuilder):
        return Clock.of(start.attributes["rate"], start.data, None)
    return Clock.of(None, None, _data(_beside(builder, "timestamps")))


def _clock_there(series: h5py.Group) -> Clock | None:
    start, times = series.get("starting_time"), series.get("timestamps")
    if isinstance(start, h5py.Dataset):
        return Clock.of(start.attrs.get("rate", np.nan), start[()], None)
    return Clock.of(None, None, times) if isinstance(times, h5py.Dataset) else None


def _beside(builder: DatasetBuilder, name: str) -> Any:
    parent = builder.parent
    return parent.get(name) if isinstance(parent, GroupBuilder) else None


def _length(builder: Any) -> int | None:
    """Return the extent of a dataset's first axis, None where that cannot be known yet."""
    data = _data(builder)
    shape = getattr(data, "shape", None) or getattr(data, "maxshape", None)
    if shape is None and isinstance(data, list | tuple):
        return len(data)
    return int(shape[0]) if shape and shape[0] is not None else None


def _data(builder: Any) -> Any:
    """Return what a dataset beside this one holds; of a link what it leads to."""
    return unwrapped(getattr(getattr(builder, "builder", builder), "data", None))
