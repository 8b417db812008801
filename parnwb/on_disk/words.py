"""What is the same for all formats: what is said of sources, and of errors; and that it is the disk which is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from parnwb.finding import Finding
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.sources import Source


def one_line(error: Exception) -> str:
    """Return the text of an error, for which HDF5 takes several lines."""
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())


def sorted_layout(specs: list[DatasetSpec]) -> FileLayout:
    """Return datasets as a layout. Independent."""
    return FileLayout(tuple(sorted(specs, key=lambda spec: spec.path)))


def matched(spec: DatasetSpec, sources: Mapping[str, Source], findings: list[Finding]) -> DatasetSpec:
    """Return a dataset as it can be compared with its source, if it has one; find sources of another shape.

    Independent.
    """
    source = sources.get(spec.path)
    if source is None:
        return spec
    if tuple(source.shape) != spec.shape:
        what = f"has shape {spec.shape} in the file and {tuple(source.shape)} in the source"
        findings.append(Finding(spec.path, Hyperslab.whole(spec.shape), what))
        return spec
    return replace(spec, access=source.access.value)


def missing_from(specs: Iterable[DatasetSpec], sources: Mapping[str, Source]) -> list[Finding]:
    """Return a finding for each source whose dataset is not there. Independent."""
    present = {spec.path for spec in specs}
    return [Finding(name, None, "is in the source, not in the file") for name in sources if name not in present]


def forget_cached(descriptor: int) -> None:
    """Ask the kernel to forget its copy of an open file: reading that back would prove nothing about the disk.

    It forgets only what the disk has. Independent.
    """
    with suppress(OSError):  # some file systems do not do it for those who only read
        os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
