"""Verify a file: re-read it in parallel, under another decomposition, through HDF5's own filters."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from parnwb.amendment import finish_append
from parnwb.bulk import BulkRule, build, bulk_sources
from parnwb.codec.cutter import in_file_dtype
from parnwb.comm import Ranks
from parnwb.errors import VerificationError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.plan import DEFAULT_BUFFER_MB, Buffer, WritePlan
from parnwb.progress import Extrapolated, Guarded, Progress, Silent
from parnwb.skeleton import own_error, read_spec
from parnwb.sources import Access, Source, read_checked
from parnwb.sources.sending import receive_sources

if TYPE_CHECKING:
    from mpi4py import MPI
    from pynwb import NWBFile

NUMERIC_KINDS = "biuf"
MAX_FINDINGS = 20


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a file: which dataset, which elements, and what."""

    path: str
    slab: Hyperslab | None
    what: str

    def __str__(self) -> str:
        if self.slab is None:
            return f"{self.path}: {self.what}"
        ranges = ", ".join(f"{low}:{high}" for low, high in zip(self.slab.start, self.slab.stop, strict=True))
        return f"{self.path}[{ranges}]: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    Parameters
    ----------
    path
        The file.
    findings
        All that is wrong; empty for a good file. At most 20 of each rank.
    datasets, nbytes
        How many datasets and uncompressed bytes were read.
    compared
        Paths of the datasets that were compared with their source.
    seconds
        How long it took.
    """

    path: Path
    findings: tuple[Finding, ...]
    datasets: int
    nbytes: int
    compared: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.findings


def verify(
    path: str | Path,
    *,
    against: NWBFile | None = None,
    comm: MPI.Intracomm | None = None,
    buffer_mb: float = DEFAULT_BUFFER_MB,
    rule: BulkRule | None = None,
    validate: bool = True,
    progress: Progress | None = None,
) -> Verdict:
    """Re-read a file and say what is wrong with it. Collective.

    Every chunk must be there and decode; where a source is given its values must be equal, bit for bit; pynwb's
    validator must have nothing to say. Each rank reads parts that it did not write.

    Parameters
    ----------
    path
        The finished file.
    against
        An NWBFile built from the source, on the root at least; its bulk data are compared.
    comm
        Communicator; None for this process alone.
    buffer_mb
        MiB that each rank reads at once. For sources whose values depend on where reads begin (lazily filtered
        recordings), as at writing.
    rule
        What counts as bulk in ``against``.
    validate
        Whether to run pynwb's validator, on the root.
    progress
        Used on the root.

    Raises
    ------
    VerificationError
        The file cannot be opened at all.
    """
    began = time.monotonic()
    ranks, path = Ranks(comm), Path(path).absolute()
    told = Guarded(progress) if progress is not None and ranks.is_root else Silent()
    try:
        ranks.on_root("finishing an interrupted append", lambda: finish_append(path))
        sources = _sources(ranks, path, against, rule or BulkRule())
        layout, findings = ranks.on_root("examining the file", lambda: _examine(path, sources))
        findings = list(findings) if ranks.is_root else []
        shapes = {spec.path: spec.shape for spec in layout}
        sources = {name: source for name, source in sources.items() if tuple(source.shape) == shapes.get(name)}
        told.start(f"verifying {path.name}", layout.nbytes)
        with ranks.agreed("reading the file back"):
            findings += _read_back(ranks, path, layout, sources, buffer_mb, told)
        with ranks.agreed("validating"):
            if ranks.is_root and validate:
                findings += _validate(path)
        everything = tuple(item for part in ranks.gather_all(findings[:MAX_FINDINGS]) for item in part)
    finally:
        told.finish()
        ranks.free()
    compared = tuple(spec.path for spec in layout if spec.path in sources)
    return Verdict(path, everything, len(layout), layout.nbytes, compared, time.monotonic() - began)


def _sources(ranks: Ranks, path: Path, against: NWBFile | None, rule: BulkRule) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    with ranks.agreed("building the NWBFile to compare with"):
        if against is not None:
            from pynwb import get_manager

            try:
                sources = bulk_sources(build(against, get_manager(), str(path)), rule)
            except Exception as error:
                raise own_error(error) from error
    return receive_sources(ranks, sources, have_own=against is not None)


def _examine(path: Path, sources: Mapping[str, Source]) -> tuple[FileLayout, list[Finding]]:
    """Return the numeric datasets of the file, and what their index lacks. Independent; on the root."""
    if path.suffix == ".partial":
        raise VerificationError(
            "a partial file is not complete",
            where=str(path),
            remedy="It is left over from a writing that failed, or is still going on",
        )
    findings: list[Finding] = []
    specs: list[DatasetSpec] = []
    with _opened(path) as file:
        try:
            for dataset in _datasets(file):
                _examine_dataset(dataset, sources, findings, specs)
        except Exception as error:
            raise VerificationError(
                f"the file cannot be examined: {type(error).__name__}: {error}",
                where=str(path),
                remedy="It is damaged: write it again",
            ) from error
    present = {spec.path for spec in specs}
    findings += [Finding(name, None, "is in the source, not in the file") for name in sources if name not in present]
    return FileLayout(tuple(sorted(specs, key=lambda spec: spec.path))), findings


def _examine_dataset(
    dataset: h5py.Dataset, sources: Mapping[str, Source], findings: list[Finding], specs: list[DatasetSpec]
) -> None:
    if dataset.dtype.kind not in NUMERIC_KINDS or dataset.ndim == 0:
        findings += _undecodable(dataset)
        return
    spec, source = read_spec(dataset), sources.get(dataset.name)
    if source is not None and tuple(source.shape) != spec.shape:
        what = f"has shape {spec.shape} in the file and {tuple(source.shape)} in the source"
        findings.append(Finding(spec.path, Hyperslab.whole(spec.shape), what))
    elif source is not None:
        spec = replace(spec, access=source.access.value)
    specs.append(spec)
    findings += missing_chunks(dataset)


def _opened(path: Path) -> h5py.File:
    try:
        _forget_cached(path)
        return h5py.File(path, "r")
    except OSError as error:
        raise VerificationError(
            f"the file cannot be opened: {error}",
            where=str(path),
            remedy="Check the name, and that it is a complete HDF5 file",
        ) from error


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda name, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


def _undecodable(dataset: h5py.Dataset) -> list[Finding]:
    """Read a small dataset of strings, references or compounds whole."""
    try:
        dataset[()]
    except Exception as error:  # noqa: BLE001 - whatever HDF5 says is the finding
        return [Finding(dataset.name, None, f"cannot be read: {error}")]
    return []


def missing_chunks(dataset: h5py.Dataset) -> list[Finding]:
    """Return a finding if any part of a dataset has no place in its file. Independent.

    HDF5 reads what was never written as the fill value, so that only the index can tell.
    """
    if dataset.size == 0:
        return []
    creation = dataset.id.get_create_plist()
    if creation.get_layout() == h5py.h5d.CONTIGUOUS:
        if dataset.id.get_offset() is None and creation.get_external_count() == 0:
            return [Finding(dataset.name, Hyperslab.whole(dataset.shape), "was never written")]
        return []
    if creation.get_layout() != h5py.h5d.CHUNKED:
        return []
    grid = read_spec(dataset).grid
    present = dataset.id.get_num_chunks()
    if present == grid.size:
        return []
    first = next((grid.cell(index) for index in _absent(dataset, grid.extent, grid.chunk)), None)
    return [Finding(dataset.name, first, f"{grid.size - present} of {grid.size} chunks were never written")]


def _absent(dataset: h5py.Dataset, extent: tuple[int, ...], chunk: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    infos = (dataset.id.get_chunk_info(number) for number in range(dataset.id.get_num_chunks()))
    present = {info.chunk_offset for info in infos}
    for index in Hyperslab.whole(extent).points():
        if tuple(i * c for i, c in zip(index, chunk, strict=True)) not in present:
            yield index


def _forget_cached(path: Path) -> None:
    """Ask the kernel to forget its copy: reading that back would prove nothing about the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _read_back(
    ranks: Ranks,
    path: Path,
    layout: FileLayout,
    sources: Mapping[str, Source],
    buffer_mb: float,
    told: Progress,
) -> list[Finding]:
    plan = WritePlan(layout, ranks.size, "slab", buffer_mb)
    buffers = list(_parts_of_another(ranks, plan))
    own = sum(buffer.slab.size * layout.datasets[buffer.dataset].itemsize for buffer in buffers)
    told = Extrapolated(told, layout.nbytes, own)
    findings: list[Finding] = []
    with _opened(path) as file:
        for buffer in buffers:
            ranks.look_up()
            spec = layout.datasets[buffer.dataset]
            source = sources.get(spec.path)
            found = _check(file[spec.path], buffer.slab, source)
            findings += [found] if found and len(findings) < MAX_FINDINGS else []
            told.advance(buffer.slab.size * spec.itemsize, 0)
    return findings


def _parts_of_another(ranks: Ranks, plan: WritePlan) -> Iterator[Buffer]:
    """Iterate over the buffers of the next rank, so that no rank reads back what it may have written itself.

    Sequential sources are the root's, which alone has them.
    """
    ordered = {number for number, spec in enumerate(plan.layout) if spec.access == Access.SEQUENTIAL}
    for buffer in plan.buffers((ranks.rank + 1) % ranks.size):
        if buffer.dataset not in ordered:
            yield buffer
    if ranks.is_root:
        for number in sorted(ordered):
            yield from plan.buffers(0, number)


def _check(dataset: h5py.Dataset, slab: Hyperslab, source: Source | None) -> Finding | None:
    # The source is read in any case, lest one that must be read in order get out of step.
    expected = read_checked(source, slab, dataset.name) if source is not None else None
    try:
        stored = dataset[slab.slices]
    except Exception as error:  # noqa: BLE001 - whatever HDF5 says is the finding
        return Finding(dataset.name, slab, f"cannot be read: {error}")
    return None if expected is None else _difference(dataset, slab, stored, expected)


def _difference(
    dataset: h5py.Dataset, slab: Hyperslab, stored: npt.NDArray[Any], expected: npt.NDArray[Any]
) -> Finding | None:
    converted = np.ascontiguousarray(in_file_dtype(expected, dataset.dtype), dtype=dataset.dtype)
    unequal = (_bits(stored) != _bits(converted)).any(axis=-1)
    if not unequal.any():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(unequal.argmax()), unequal.shape))
    place = tuple(a + b for a, b in zip(slab.start, index, strict=True))
    return Finding(
        dataset.name,
        slab,
        f"{int(unequal.sum())} values differ from the source, first at {place}: "
        f"{stored[index]!r} is stored, {converted[index]!r} was expected",
    )


def _bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(values)[..., None].view(np.uint8)


def _validate(path: Path) -> list[Finding]:
    """Return what pynwb's validator says. Independent; on the root."""
    from pynwb import validate

    try:
        result = validate(path=str(path))
    except Exception as error:  # noqa: BLE001 - what the validator cannot read is not NWB
        return [Finding("/", None, f"is not a valid NWB file: {type(error).__name__}: {error}")]
    errors = result[0] if isinstance(result, tuple) else result
    return [Finding(str(getattr(item, "location", None) or "/"), None, str(item)) for item in errors]
