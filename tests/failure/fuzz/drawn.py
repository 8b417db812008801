"""What is drawn: files of a few datasets of any shape, type, chunks and filters, and how they are written."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from contract.inputs import Slices, keep, values
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pynwb import H5DataIO, NWBFile

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
# Longest extent by number of dimensions: several thousand elements at most.
EXTENTS = {1: 3000, 2: 70, 3: 18, 4: 9, 5: 6}
DTYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?", ">i2", ">f4", ">i8"]
UNLIMITED = -1


@dataclass(frozen=True)
class DrawnDataset:
    """One dataset, in values that JSON can hold."""

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...] | None
    maxshape: tuple[int, ...] | None
    filters: dict[str, Any]
    fill: int | None
    iterated: bool

    def data(self) -> Any:
        """Return it as users of pynwb write it."""
        array: Any = values(self.shape, self.dtype)
        if self.iterated:
            chunk = self.chunks or tuple(max(1, extent // 2) for extent in self.shape)
            return H5DataIO(Slices(array, chunk), **self._wishes(chunked=False))
        return H5DataIO(array, **self._wishes(chunked=True))

    def _wishes(self, *, chunked: bool) -> dict[str, Any]:
        """Return the keywords of ``H5DataIO``; an iterator has chunks and maxshape of its own."""
        found = dict(self.filters)
        if chunked and self.chunks is not None:
            found["chunks"] = self.chunks
        if chunked and self.maxshape is not None:
            found["maxshape"] = tuple(None if extent == UNLIMITED else extent for extent in self.maxshape)
        if self.fill is not None:
            found["fillvalue"] = self.fill
        return found


@dataclass(frozen=True)
class DrawnFile:
    """One file and its settings."""

    datasets: tuple[DrawnDataset, ...]
    settings: dict[str, Any]

    def nwbfile(self) -> NWBFile:
        file = NWBFile(session_description="drawn", identifier="drawn", session_start_time=START)
        for number, dataset in enumerate(self.datasets):
            keep(file, f"d{number}", dataset.data())
        return file

    @property
    def skips_chunks(self) -> bool:
        """Whether a filter may skip chunks, which older parallel HDF5 cannot record."""
        return any(dataset.filters.get("compression") == "lzf" for dataset in self.datasets)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> DrawnFile:
        def made(one: dict[str, Any]) -> DrawnDataset:
            tuples = {name: tuple(one[name]) if one[name] is not None else None for name in ("chunks", "maxshape")}
            return DrawnDataset(**{**one, **tuples, "shape": tuple(one["shape"])})

        return cls(tuple(map(made, given["datasets"])), given["settings"])


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    """Draw filters as keywords of h5py."""
    compression = draw(st.sampled_from([None, None, "gzip", "gzip", "lzf"]))
    found: dict[str, Any] = {}
    if compression is not None:
        found["compression"] = compression
    if compression == "gzip" and draw(st.booleans()):
        found["compression_opts"] = draw(st.integers(0, 9))
    for name in ("shuffle", "fletcher32"):
        if draw(st.booleans()):
            found[name] = True
    return found


@st.composite
def datasets(draw: st.DrawFn) -> DrawnDataset:
    """Draw a dataset: contiguous, chunked or iterated; chunks may be larger than what is there yet."""
    shape = draw(st.integers(1, 5).flatmap(lambda rank: st.tuples(*[st.integers(0, EXTENTS[rank])] * rank)))
    dtype = draw(st.sampled_from(DTYPES))
    chunked = draw(st.booleans())
    iterated = chunked and math.prod(shape) > 0 and draw(st.booleans())
    growing = chunked and not iterated and draw(st.booleans())
    limits = tuple(
        draw(st.sampled_from([UNLIMITED, extent, extent + 7])) if growing else max(extent, 1) for extent in shape
    )
    room = [2 * extent + 1 if limit == UNLIMITED else limit for extent, limit in zip(shape, limits, strict=True)]
    chunks = tuple(draw(st.integers(max(1, most // 6), max(1, most))) for most in room)
    fill = draw(st.sampled_from([None, None, 0, 1, 100])) if dtype != "?" else None
    return DrawnDataset(
        shape,
        dtype,
        chunks if chunked and 0 not in limits else None,
        limits if growing else None,
        draw(filters()) if chunked and not (0 in limits and not growing) else {},
        fill,
        iterated,
    )


files = st.builds(
    DrawnFile,
    st.lists(datasets(), min_size=1, max_size=5).map(tuple),
    st.fixed_dictionaries(
        {
            "decomposition": st.sampled_from(["balanced", "slab", "block"]),
            "buffer_mb": st.sampled_from([1e-6, 0.0005, 0.003, 0.02, 1]),
            "bulk_threshold": st.sampled_from([0, 0, 500]),
        }
    ),
)


def drawn(count: int) -> list[DrawnFile]:
    """Return so many files, the same ones each time."""
    found: list[DrawnFile] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(files)
    def collect(file: DrawnFile) -> None:
        found.append(file)

    collect()
    return found
