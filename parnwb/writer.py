"""The road of one file: check, build, agree, plan, fill. Everything collective happens here or in a backend."""

from __future__ import annotations

import hashlib
import json
import math
import socket
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb import site
from parnwb.backends import Backend, DirectBackend, Fill, MpioBackend
from parnwb.bulk import BulkRule, build, bulk_sources, signature
from parnwb.comm import Ranks
from parnwb.decomposition import strategy
from parnwb.errors import AgreementError, ParnwbError, PlanError, ResumeError
from parnwb.generation import renew
from parnwb.interrupts import Interrupts
from parnwb.journal import Journal, no_records
from parnwb.layout import FileLayout
from parnwb.permissions import Permissions
from parnwb.plan import DEFAULT_BUFFER_MB, WritePlan
from parnwb.progress import Guarded, Progress, Silent
from parnwb.restore import Earlier, check_nothing_lost, describe_attempt, described, done_chunks, find_earlier, restore
from parnwb.skeleton import AuthoringOptions, Compression, Skeleton, author, expected_bytes, own_error
from parnwb.sources import Access, Source
from parnwb.sources.sending import receive_sources
from parnwb.storage import Target

if TYPE_CHECKING:
    from hdmf.build import BuildManager
    from pynwb import NWBFile

DEFAULT_COMMIT_INTERVAL = 300.0
TRANSFERS = ("independent", "collective")


@dataclass(frozen=True)
class WriteSettings:
    """How a file is written; the same on all ranks.

    Parameters
    ----------
    backend
        ``'auto'``, ``'direct'`` or ``'mpio'``.
    transfer
        For ``mpio``: ``'independent'`` or ``'collective'``.
    decomposition
        A strategy of ``parnwb.decomposition``.
    buffer_mb
        MiB that a rank reads at once.
    compression
        For bulk data without a filter of their own.
    rule
        What is bulk.
    overwrite
        Whether an existing file may be replaced.
    resume
        Whether to go on where an earlier attempt ended.
    commit_interval
        Seconds between commits.
    """

    backend: str = "auto"
    transfer: str = "independent"
    decomposition: str = "balanced"
    buffer_mb: float = DEFAULT_BUFFER_MB
    compression: Compression = None
    rule: BulkRule = BulkRule()
    overwrite: bool = False
    resume: bool = False
    commit_interval: float = DEFAULT_COMMIT_INTERVAL

    def __post_init__(self) -> None:
        if self.transfer not in TRANSFERS:
            raise ParnwbError(f"transfer must be one of {', '.join(TRANSFERS)}, got {self.transfer!r}")
        if not isinstance(self.buffer_mb, int | float) or not 0 < self.buffer_mb < math.inf:
            raise PlanError(f"buffer_mb must be positive, a number of MiB, got {self.buffer_mb!r}")
        if not self.commit_interval > 0:
            raise ParnwbError(f"commit_interval must be positive, a number of seconds, got {self.commit_interval!r}")
        if self.resume and self.backend == "mpio":
            raise ResumeError(
                "parallel HDF5 keeps no journal, so backend 'mpio' cannot resume", remedy="Use backend='direct'"
            )
        site.check_backend(self.backend)
        strategy(self.decomposition)
        check_compression(self.compression)


def check_compression(compression: Compression) -> None:
    """Refuse a default compression that means nothing."""
    is_level = isinstance(compression, int) and not isinstance(compression, bool) and 0 <= compression <= 9
    if compression not in (None, "auto", "gzip") and not is_level:
        raise ParnwbError(f"compression must be None, 'auto', 'gzip' or a gzip level 0-9, got {compression!r}")


@dataclass(frozen=True)
class Written:
    """What ``write`` did.

    Parameters
    ----------
    plan
        By which the file was filled.
    backend
        That filled it, and why this one.
    published
        Whether an earlier attempt had given the file its name already.
    """

    plan: WritePlan
    backend: site.BackendChoice
    published: bool = False


def write(
    ranks: Ranks,
    target: Target,
    nwbfile: NWBFile | None,
    manager: BuildManager,
    settings: WriteSettings,
    arguments: Mapping[str, Any],
    progress: Progress | None = None,
) -> Written:
    """Write ``nwbfile`` into the partial file of ``target``; nothing is renamed. Collective.

    Parameters
    ----------
    nwbfile
        The same on every rank, or None on all but the root where its sources can be pickled.
    arguments
        For ``NWBHDF5IO.write``: ``cache_spec``, ``expandable`` and so on.
    progress
        Used on the root.

    Raises
    ------
    ParnwbError
        The same on all ranks, whichever failed.
    """
    small = {name: value for name, value in arguments.items() if name != "herd"}  # the root's is written
    ranks.same({"path": str(target.path), **vars(settings), **small}, "Pass the same keywords on every rank")
    earlier: Earlier | None = None
    with ranks.agreed("checking the output"):
        if ranks.is_root:
            earlier = look_for_earlier(target, settings)
    skeleton, sources = _build(ranks, target, nwbfile, manager, settings, arguments, earlier)
    layout, choice, done, published = ranks.on_root("looking at what is done", lambda: _found(skeleton, earlier))
    sources = receive_sources(ranks, sources, have_own=nwbfile is not None)
    with ranks.agreed("planning"):
        plan = WritePlan(layout, ranks.size, settings.decomposition, settings.buffer_mb, done)
    if published:
        return Written(plan, choice, published)
    journal = _prepare(ranks, target, plan, choice, earlier, skeleton)
    told = Guarded(progress) if progress is not None and ranks.is_root else Silent()
    told.start(f"writing {target.path.name} ({choice.name})", plan.remaining_bytes)
    try:
        interrupts = Interrupts()
        with interrupts if choice.name == "direct" else nullcontext():  # nobody else looks at them
            with ranks.agreed("describing the file"):
                is_new = skeleton is not None and earlier is None and choice.name == "direct"
                begun = _begun_with(settings, layout, arguments)
                description = describe_attempt(skeleton, begun) if is_new and skeleton else {}
            work = Fill(ranks, plan, sources, target, skeleton, told, interrupts, journal, settings.commit_interval)
            _backend(choice, settings).fill(replace(work, description=description))
    finally:
        told.finish()
        if journal is not None:
            journal.close()
    return Written(plan, choice)


def look_for_earlier(target: Target, settings: WriteSettings) -> Earlier | None:
    """Return what is to be resumed; refuse what would be lost. Independent; on the root."""
    earlier = find_earlier(target, overwrite=settings.overwrite) if settings.resume else None
    if earlier is None or not earlier.finished:
        target.check(overwrite=settings.overwrite)
    if earlier is None:
        check_nothing_lost(target, overwrite=settings.overwrite)
    return earlier


def _found(
    skeleton: Skeleton | None, earlier: Earlier | None
) -> tuple[FileLayout, site.BackendChoice, dict[int, npt.NDArray[np.bool_]], bool]:
    """Return what the root tells the others: layout, backend, done chunks, and whether all is done. Independent."""
    assert skeleton is not None
    if earlier is None:
        return skeleton.layout, skeleton.backend, {}, False
    return skeleton.layout, skeleton.backend, done_chunks(skeleton.layout, earlier.committed), earlier.finished


def _begun_with(settings: WriteSettings, layout: FileLayout, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings on which the file's values or coding depend, which a resuming job must share."""
    gridded = any(spec.access == Access.GRIDDED for spec in layout)
    buffer_mb = settings.buffer_mb if gridded else None
    return {"compression": settings.compression, "buffer_mb": buffer_mb, "arguments": described(arguments)}


def _build(
    ranks: Ranks,
    target: Target,
    nwbfile: NWBFile | None,
    manager: BuildManager,
    settings: WriteSettings,
    arguments: Mapping[str, Any],
    earlier: Earlier | None,
) -> tuple[Skeleton | None, dict[str, Source]]:
    """Author the skeleton on the root, find the sources on the others, and agree on what is written."""
    skeleton, own, content = None, {}, None
    with ranks.agreed("building the NWBFile"):
        if ranks.is_root:
            if nwbfile is None:
                raise AgreementError("the root must have the NWBFile, got None", where="rank 0")
            several = ranks.size > 1

            def decide(filtered: bool) -> site.BackendChoice:
                return site.choose_backend(settings.backend, filtered=filtered, several=several)

            options = AuthoringOptions(settings.rule, settings.compression, decide, arguments)
            if earlier is None:
                skeleton = author(nwbfile, target.path, manager, options)
            else:
                skeleton = restore(
                    earlier, nwbfile, target, manager, options, settings.buffer_mb
                )
            own, content = skeleton.sources, skeleton.signature
        elif nwbfile is not None:
            own, content = _catalogue(nwbfile, manager, target, settings.rule)
    agree_on_content(ranks, content)
    return skeleton, own


def _catalogue(
    nwbfile: NWBFile, manager: BuildManager, target: Target, rule: BulkRule
) -> tuple[dict[str, Source], dict[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the root, which builds the same, has warned
        try:
            builder = build(nwbfile, manager, str(target.path))
        except Exception as error:
            raise own_error(error) from error
        return bulk_sources(builder, rule), signature(builder, rule)


def agree_on_content(ranks: Ranks, content: dict[str, str] | None) -> None:
    """Check that every NWBFile says what the root's says. Collective.

    Raises
    ------
    AgreementError
        Names the first rank and field that differ, and both values.
    """
    text = None if content is None else json.dumps(content, sort_keys=True)
    digests = ranks.gather_all(None if text is None else hashlib.sha256(text.encode()).hexdigest())
    culprit = next((r for r, digest in enumerate(digests) if digest not in (None, digests[0])), None)
    if culprit is None:
        return
    reference = ranks.broadcast(content) or {}
    found = _first_difference(reference, content or {}) if ranks.rank == culprit else None
    field, there, here = next(item for item in ranks.gather_all(found) if item is not None)
    raise ranks.known_to_all(
        AgreementError(
            f"all ranks must be given the same NWBFile: at {field} rank 0 has {there}, rank {culprit} has {here}",
            remedy="Build it from the same values on every rank (broadcast what is random or a time of day), "
            "or pass None on all ranks but the root",
        )
    )


def _first_difference(reference: dict[str, str], content: dict[str, str]) -> tuple[str, str, str]:
    for field in sorted({*reference, *content}):
        there, here = reference.get(field, "nothing"), content.get(field, "nothing")
        if there != here:
            return field, there, here
    raise AssertionError("digests differ but no field does")  # pragma: no cover - would be a hash collision


def _prepare(
    ranks: Ranks,
    target: Target,
    plan: WritePlan,
    choice: site.BackendChoice,
    earlier: Earlier | None,
    skeleton: Skeleton | None,
) -> Journal | None:
    """Check what can be checked before the first byte, then create the partial file. Collective."""
    hosts = len(set(ranks.gather_all(socket.gethostname())))
    lost = ranks.on_root("looking for lost jobs", lambda: earlier is not None and target.has_lost_writers)
    if lost:
        renew(ranks, target, earlier.committed if earlier is not None else None)
    with ranks.agreed("preparing the output"):
        site.check_shared_writing(target.path.parent, hosts)
        if choice.name == "mpio":
            chunked = any(spec.chunks and not spec.filters for spec in plan.layout)
            filters = {item.identifier: item.name for spec in plan.layout for item in spec.filters}
            site.check_parallel_hdf5(chunked_unfiltered=chunked, filters=filters)
        token, journal = b"", None
        if ranks.is_root:
            unfiltered = _unfiltered_bytes(plan.layout, earlier)
            target.require_space(unfiltered)
            if skeleton is not None and earlier is None:
                target.warn_of_space(unfiltered + expected_bytes(skeleton))
            token = target.create() if earlier is None else target.adopt()
            if choice.name == "direct":
                journal = _journal(target, earlier)
    token = ranks.broadcast(token)
    with ranks.agreed("finding the output on every rank"):
        target.recognise(token)
    return journal


def _unfiltered_bytes(layout: FileLayout, earlier: Earlier | None) -> int:
    """Return what is surely still to be written; of filtered data nobody knows beforehand."""
    unfiltered = [not spec.filters for spec in layout]
    records = earlier.committed.records if earlier is not None else no_records()
    done = sum(nbytes for dataset, nbytes in records[:, [0, 3]].tolist() if unfiltered[dataset])
    return max(0, sum(spec.nbytes for spec in layout if not spec.filters) - done)


def _journal(target: Target, earlier: Earlier | None) -> Journal:
    if earlier is None:
        return Journal.create(target.journal, like=Permissions.of(target.partial))
    return Journal.reopen(target.journal, earlier.committed)


def _backend(choice: site.BackendChoice, settings: WriteSettings) -> Backend:
    return MpioBackend(settings.transfer) if choice.name == "mpio" else DirectBackend()
