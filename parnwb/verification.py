"""Verify a file: re-read it in parallel, under another decomposition, through HDF5's own filters, or Zarr's codecs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.authoring.bulk import build, bulk_sources
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.authoring.skeleton import own_error
from parnwb.codec.cast import in_file_dtype
from parnwb.comm import DEFAULT_WATCHDOG, Ranks, check_watchdog, until_checked
from parnwb.commits.amendment import finish_append_alone
from parnwb.commits.journal import no_records
from parnwb.commits.manifest import METADATA, Datasets, Manifest
from parnwb.commits.stored import damaged, own_share
from parnwb.element import comparable
from parnwb.errors import VerificationError
from parnwb.finding import Finding
from parnwb.hyperslab import Hyperslab, unravel
from parnwb.index import differences
from parnwb.layout import ChunkGrid, FileLayout
from parnwb.on_disk import OnDisk, on_disk, one_line
from parnwb.on_disk.hdf5 import opened_hdf5
from parnwb.own_tally import OwnTally
from parnwb.planning.plan import DEFAULT_BUFFER_MB, Buffer, WritePlan
from parnwb.preflight import check_can_be_told, preflight
from parnwb.progress import Extrapolated, Meter, Progress, Started, View, meter_of, view_of
from parnwb.sources import Source, read_checked
from parnwb.sources.sending import Received, receive_sources
from parnwb.stores.rule import StoreRule
from parnwb.target import Target

if TYPE_CHECKING:
    from mpi4py import MPI
    from pynwb import NWBFile

MAX_FINDINGS = 20
# Strings, references and what else becomes Python objects take many times the memory of their entries in the file.
OBJECT_FACTOR = 16
MOST_READERS = 8
"""Ranks that share what one rank of the plan has."""


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
        How many datasets of numbers, compound values and fixed text, and uncompressed bytes of them, were read.
    compared
        Paths of the datasets that were compared with their source.
    seconds
        How long it took.
    checksums
        How many stored chunks and runs of metadata were compared with ``PATH.crc``; 0 without one.
    advice
        What DANDI would like otherwise, but takes; where that was asked for.
    """

    path: Path
    findings: tuple[Finding, ...]
    datasets: int
    nbytes: int
    compared: tuple[str, ...]
    seconds: float
    checksums: int = 0
    advice: tuple[Finding, ...] = ()

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
    dandi: bool = False,
    progress: bool | Progress | View = False,
    watchdog: float | None = DEFAULT_WATCHDOG,
) -> Verdict:
    """Re-read a file, and what it links to, and say what is wrong with it. Collective.

    Every chunk must be there and decode; where a source is given its values must be equal, bit for bit; pynwb's
    validator must have nothing to say. Links must lead somewhere, from where the file is and not from the working
    folder alone; the datasets behind them are read as well, and files with raw data or movies must be there. Parts are
    dealt out to ranks in turn, as no decomposition of writing has them. Where the checksums of the file are beside it
    (``PATH.crc``), every stored byte must be as it was written, and where.

    Parameters
    ----------
    path
        The finished file.
    against
        An NWBFile built from the source, on the root at least; its bulk data are compared.
    comm
        Communicator; None for this process alone.
    buffer_mb
        MiB that each rank reads at once, as at writing; the two need not be equal.
    rule
        What counts as bulk in ``against``.
    validate
        Whether to run pynwb's validator, on the root.
    dandi
        Whether to look for what DANDI refuses (external links, what nwbinspector finds critical, ...), on the root.
    progress
        As for ``NWBParallelIO``.
    watchdog
        Seconds that one step of a rank may take, such as reading one buffer or the validator, before it ends the job;
        None or 0 for no limit. With one rank there is none.

    Raises
    ------
    VerificationError
        The file cannot be opened at all.
    ParnwbError
        What DANDI would say cannot be known: nwbinspector is not installed, or it is a Zarr store.
    """
    began = time.monotonic()
    ranks, path = Ranks(comm, until_checked(watchdog)), Path(path).absolute()
    told = Meter()
    try:
        with ranks.agreed("opening the file"):
            check_watchdog(watchdog)
            view = view_of(progress)
            if ranks.is_root:
                told = meter_of(view, ranks.rank, ranks.host)
                if dandi:
                    check_can_be_told(path)
        ranks.on_root("finishing an interrupted append", lambda: finish_append_alone(path))
        received = _sources(ranks, path, against, rule or (StoreRule() if path.is_dir() else BulkRule()))
        sources = received.sources
        with ranks.agreed("opening the file"):
            disk = on_disk(path)
        layout, objects, findings = ranks.on_root("examining the file", lambda: disk.examine(sources, ranks))
        findings = list(findings) if ranks.is_root else []
        manifest: Manifest | None = None
        with ranks.agreed("reading the checksums"):
            if ranks.is_root:
                manifest, found = _manifest(path, ranks)
                findings += found
        specs = {spec.path: spec for spec in layout}
        sources = {
            name: disk.converted(source, specs[name])
            for name, source in sources.items()
            if name in specs and tuple(source.shape) == specs[name].shape
        }
        checksums, found = _compare_stored(ranks, path, manifest, told)
        findings += found
        label = f"verifying {path.name}"
        with told.task(Started(str(path), "verifying", label, layout.nbytes, ranks.size, ranks.host_names)):
            with ranks.agreed("reading the file back"):
                findings += _read_back(ranks, disk, layout, replace(received, sources=sources), buffer_mb, told)
                findings += _read_back(ranks, disk, objects, Received({}), buffer_mb / OBJECT_FACTOR, Meter())
        with ranks.agreed("validating"):
            if ranks.is_root and validate:
                findings += _validate(disk)
        advice: tuple[Finding, ...] = ()
        with ranks.agreed("asking for DANDI"):
            if ranks.is_root and dandi:
                said = preflight(path)
                findings, advice = [*findings, *said.refused], said.advice
        advice = ranks.broadcast(advice)
        everything = tuple(item for part in ranks.gather_all(findings[:MAX_FINDINGS]) for item in part)
    finally:
        ranks.free()
    compared = tuple(spec.path for spec in layout if spec.path in sources)
    return Verdict(path, everything, len(layout), layout.nbytes, compared, time.monotonic() - began, checksums, advice)


def _sources(ranks: Ranks, path: Path, against: NWBFile | None, rule: BulkRule) -> Received:
    sources: dict[str, Source] = {}
    with ranks.agreed("building the NWBFile to compare with"):
        if against is not None:
            from pynwb import get_manager

            try:
                sources = bulk_sources(build(against, get_manager(), str(path)), rule)
            except Exception as error:
                raise own_error(error) from error
    return receive_sources(ranks, sources, have_own=against is not None)


def _manifest(path: Path, ranks: Ranks) -> tuple[Manifest | None, list[Finding]]:
    """Return the checksums beside a file, if they are its own, and what they say of its index. Independent."""
    beside = Target(path).manifest
    if not beside.exists():
        return None, []
    try:
        manifest = Manifest.read(beside)
    except VerificationError as error:
        return None, [Finding(beside.name, None, str(error))]
    findings = []
    with opened_hdf5(path) as file:
        if str(file.attrs.get("object_id")) != manifest.object_id:
            what = f"describes another file ({manifest.file}, object {manifest.object_id}): remove it"
            return None, [Finding(beside.name, None, what)]
        if path.stat().st_size != manifest.size:
            what = f"has {path.stat().st_size} bytes, {manifest.size} when its checksums were written"
            findings.append(Finding("/", None, what))
        return manifest, findings + differences(file, manifest, ranks.look_up)


def _compare_stored(
    ranks: Ranks, path: Path, manifest: Manifest | None, told: Meter
) -> tuple[int, list[Finding]]:
    """Compare the stored bytes with their checksums, which the root has; return how many there are. Collective."""
    own = own_share(ranks, manifest.records if manifest is not None else no_records())
    counts = ranks.gather_all((len(own), int(own[:, 3].sum())))
    nbytes = sum(size for _, size in counts)
    names = ranks.broadcast(manifest.datasets if manifest is not None else ())
    label = f"checking the stored bytes of {path.name}"
    started = Started(str(path), "checking", label, nbytes, ranks.size, ranks.host_names)
    with told.task(started) if nbytes else nullcontext(), ranks.agreed("comparing checksums"):
        bad = damaged(path, own, ranks.look_up, Extrapolated(told, nbytes, counts[ranks.rank][1]))
    return sum(number for number, _ in counts), [_damage(names, row) for row in bad[:MAX_FINDINGS].tolist()]


def _damage(datasets: Datasets, row: list[int]) -> Finding:
    dataset, position, address, nbytes, _, _ = row
    what = f"the {nbytes} bytes at {address} of the file are not what was written"
    if dataset == METADATA:
        return Finding("/", None, f"{what} (metadata and small datasets)")
    path, grid = datasets[dataset]
    return Finding(path, grid.cell(unravel(position, grid.extent)), what)


def _read_back(
    ranks: Ranks,
    disk: OnDisk,
    layout: FileLayout,
    received: Received,
    buffer_mb: float,
    told: Meter,
) -> list[Finding]:
    plan = WritePlan(layout, ranks.size, "slab", buffer_mb, kept=layout.numbers_of(received.kept))
    buffers = list(_parts_of_others(ranks, plan))
    own = sum(buffer.slab.size * layout.datasets[buffer.dataset].itemsize for buffer in buffers)
    everywhere, tally = layout.nbytes / own if own else 0.0, OwnTally(plan)
    told.watch(tally.state)
    findings: list[Finding] = []
    with disk.opened(layout) as file:
        for buffer in buffers:
            spec = layout.datasets[buffer.dataset]
            ranks.step(f"reading back {buffer.slab.place(spec.path)}")
            ranks.look_up()
            source = received.sources.get(spec.path)
            found = _check(file[spec.path], spec.path, buffer.slab, source, spec.grid)
            findings += [found] if found and len(findings) < MAX_FINDINGS else []
            guessed = buffer.slab.size * spec.itemsize * everywhere
            tally.guess(buffer.dataset, guessed)
            told.advance(round(guessed), 0)
    for number in range(len(layout)):
        tally.settle(number, plan.remaining_of(number))
    return findings


def _parts_of_others(ranks: Ranks, plan: WritePlan) -> Iterator[Buffer]:
    """Iterate over what this rank reads: a buffer here and there of what each of the next ranks has in the plan.

    No strategy of writing cuts files so, whichever it was: what one rank has in the plan is read by several others and
    never by itself, with two ranks by the other one. Some sources are the root's, which alone has them.
    """
    others = max(1, min(ranks.size - 1, MOST_READERS))
    kept = {number for number in range(len(plan.layout)) if plan.is_kept(number)}
    for turn in range(others):
        owner = (ranks.rank + 1 + turn) % ranks.size
        own = (buffer for buffer in plan.buffers(owner) if buffer.dataset not in kept)
        yield from islice(own, turn, None, others)
    if ranks.is_root:
        for number in sorted(kept):
            yield from plan.buffers(0, number)


def _check(
    dataset: Any, path: str, slab: Hyperslab, source: Source | None, grid: ChunkGrid
) -> Finding | None:
    # The source is read in any case, lest one that must be read in order get out of step.
    expected = read_checked(source, slab, path) if source is not None else None
    try:
        stored = dataset[slab.slices]
    except Exception as error:  # noqa: BLE001 - whatever HDF5 says is the finding
        return Finding(path, _unreadable_part(dataset, slab, grid), f"cannot be read: {one_line(error)}")
    return None if expected is None else _difference(dataset, path, slab, stored, expected)


def _unreadable_part(dataset: Any, slab: Hyperslab, grid: ChunkGrid) -> Hyperslab:
    """Return the first chunk of a box that cannot be read; all of the box if each chunk can by itself. Independent."""
    for index in grid.cells(slab).points():
        part = grid.cell(index).intersect(slab)
        try:
            dataset[part.slices]
        except Exception:  # noqa: BLE001 - the caller has told what HDF5 says
            return part
    return slab


def _difference(
    dataset: Any, path: str, slab: Hyperslab, stored: npt.NDArray[Any], expected: npt.NDArray[Any]
) -> Finding | None:
    converted = np.ascontiguousarray(in_file_dtype(expected, dataset.dtype), dtype=dataset.dtype)
    unequal = (_bits(stored) != _bits(converted)).any(axis=-1)
    if not unequal.any():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(unequal.argmax()), unequal.shape))
    place = tuple(a + b for a, b in zip(slab.start, index, strict=True))
    count = int(unequal.sum())
    differ = "1 value differs" if count == 1 else f"{count} values differ"
    what = f"{differ} from the source, first at {place}: {stored[index]} is stored, {converted[index]} was expected"
    return Finding(path, slab, what)


def _bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(comparable(values))[..., None].view(np.uint8)


def _validate(disk: OnDisk) -> list[Finding]:
    """Return what pynwb's validator says. Independent; on the root."""
    try:
        result = disk.validate()
    except Exception as error:  # noqa: BLE001 - what the validator cannot read is not NWB
        return [Finding("/", None, f"is not a valid NWB file: {type(error).__name__}: {one_line(error)}")]
    errors = result[0] if isinstance(result, tuple) else result
    return [Finding(str(getattr(item, "location", None) or "/"), None, str(item)) for item in errors]
