"""The road of one file: check, build, agree, plan, fill. Everything collective happens here or in a backend."""

from __future__ import annotations

import hashlib
import json
import math
import socket
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb import memory, site
from parnwb.append import Opened
from parnwb.backends import Backend, DirectBackend, Job, MpioBackend, PartialFile, Portion
from parnwb.bulk import BulkRule, Predicate, build, bulk_sources, none_written, signature
from parnwb.comm import DEFAULT_WATCHDOG, Ranks, check_watchdog
from parnwb.commits.generation import renew
from parnwb.commits.journal import Journal, StreamState, no_records
from parnwb.decomposition import strategy
from parnwb.errors import AgreementError, Interrupted, ParnwbError, PlanError, ResumeError
from parnwb.generators import Drain, positions
from parnwb.interrupts import ASKED_TO_STOP, Interrupts
from parnwb.layers import settled
from parnwb.layout import FileLayout
from parnwb.plan import DEFAULT_BUFFER_MB, WritePlan
from parnwb.progress import Guarded, Progress, Silent
from parnwb.restore import (
    Earlier,
    Samples,
    check_committed,
    check_nothing_lost,
    describe_attempt,
    described,
    done_chunks,
    find_earlier,
    fingerprints,
    restore,
)
from parnwb.skeleton import AuthoringOptions, Compression, Skeleton, author, expected_bytes, own_error
from parnwb.sources import Access, Source
from parnwb.sources.growing import GrowingSource, Stream
from parnwb.sources.sending import receive_sources
from parnwb.streams import OpenStream, OpenStreams, reopened
from parnwb.target import Target
from parnwb.target.permissions import Permissions

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
        MiB that a rank reads at once; see ``WritePlan`` for what is always allowed.
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
    manifest
        Whether to leave checksums beside the file.
    watchdog
        Seconds that one step of a rank may take; None or 0 for no limit.
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
    manifest: bool = False
    watchdog: float | None = DEFAULT_WATCHDOG

    def __post_init__(self) -> None:
        if self.transfer not in TRANSFERS:
            raise ParnwbError(f"transfer must be one of {', '.join(TRANSFERS)}, got {self.transfer!r}")
        if not isinstance(self.buffer_mb, int | float) or not 0 < self.buffer_mb < math.inf:
            raise PlanError(f"buffer_mb must be positive, a number of MiB, got {self.buffer_mb!r}")
        if not isinstance(self.commit_interval, int | float) or not self.commit_interval > 0:
            raise ParnwbError(f"commit_interval must be positive, a number of seconds, got {self.commit_interval!r}")
        check_watchdog(self.watchdog)
        for name in ("overwrite", "manifest"):
            if not isinstance(getattr(self, name), bool):
                raise ParnwbError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.resume and self.backend == "mpio":
            raise ResumeError(
                "parallel HDF5 keeps no journal, so backend 'mpio' cannot resume", remedy="Use backend='direct'"
            )
        if self.manifest and self.backend == "mpio":
            raise ParnwbError(
                "parallel HDF5 gives no checksums of what it writes, so backend 'mpio' cannot leave a manifest",
                remedy="Use backend='direct' or 'auto'",
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
    streams
        What rows can be appended to; None where there is nothing, or all is published.
    """

    plan: WritePlan
    backend: site.BackendChoice
    published: bool = False
    streams: OpenStreams | None = None


@dataclass(frozen=True)
class Found:
    """What the root tells the others before they plan.

    Parameters
    ----------
    layout, backend
        Of the skeleton.
    done
        Chunks that an earlier attempt has written, by number of a dataset.
    published
        Whether that attempt has given the file its name.
    streams
        By number of a dataset, dtype and shape of a row, and how far the last commit has it, without the tail.
    """

    layout: FileLayout
    backend: site.BackendChoice
    done: dict[int, npt.NDArray[np.bool_]]
    published: bool
    streams: dict[int, tuple[str, tuple[int, ...], StreamState | None]]


def write(
    ranks: Ranks,
    target: Target,
    nwbfile: NWBFile | None,
    manager: BuildManager,
    settings: WriteSettings,
    arguments: Mapping[str, Any],
    interrupts: Interrupts,
    progress: Progress | None = None,
    opened: Opened | None = None,
) -> Written:
    """Write ``nwbfile`` into the partial file of ``target``; nothing is renamed. Collective.

    Parameters
    ----------
    nwbfile
        The same on every rank, or None on all but the root where its sources can be pickled.
    arguments
        For ``NWBHDF5IO.write``: ``cache_spec``, ``expandable`` and so on.
    interrupts
        Tells whether this rank was asked to stop.
    progress
        Used on the root.
    opened
        This rank's view of the file that is appended to; None for a new one.

    Raises
    ------
    ParnwbError
        The same on all ranks, whichever failed; ``Interrupted`` if any rank was asked to stop.
    """
    small = {name: value for name, value in arguments.items() if name != "herd"}  # the root's is written
    ranks.same({"path": str(target.path), **vars(settings), **small}, "Pass the same keywords on every rank")
    earlier: Earlier | None = None
    with ranks.agreed("checking the output"):
        if ranks.is_root and opened is None:
            earlier = look_for_earlier(target, settings)
    skeleton, sources = _build(ranks, target, nwbfile, manager, settings, arguments, earlier, opened)
    found = ranks.on_root("looking at what is done", lambda: _found(skeleton, earlier))
    layout, choice, done, published = found.layout, found.backend, found.done, found.published
    if not published:
        _heed(ranks, target, interrupts)
    received = receive_sources(ranks, sources, have_own=nwbfile is not None)
    sources = received.sources
    with ranks.agreed("planning"):
        kept = layout.numbers_of(received.kept)
        plan = WritePlan(settled(layout), ranks.size, settings.decomposition, settings.buffer_mb, done, kept)
    if published:
        _appended(found, sources, earlier, ranks)  # so that streams tell their rows
        return Written(plan, choice, published)
    _check_memory(ranks, plan)
    samples = _sampled(ranks, layout, sources, have_own=nwbfile is not None)
    _heed(ranks, target, interrupts)
    told = Guarded(progress) if progress is not None and ranks.is_root else Silent()

    def look_up() -> None:
        ranks.look_up()
        if interrupts.received:
            raise _stopped_early(target)

    if done:
        check_committed(ranks, target, layout, earlier, told, look_up)
    keeps_journal = choice.name == "direct" and opened is None
    journal = _prepare(ranks, target, plan, choice, earlier, skeleton, keeps_journal=keeps_journal)
    told.start(f"writing {target.path.name} ({choice.name})", plan.remaining_bytes)
    try:
        with ranks.agreed("describing the file"):
            is_new, begun = journal is not None and earlier is None, _begun_with(settings, arguments)
            description = describe_attempt(skeleton, samples, begun) if is_new and skeleton else {}
        job = Job(ranks, target, layout, skeleton, told, interrupts, journal, settings.commit_interval)
        job = replace(job, description=description, manifest=settings.manifest)
        with ExitStack() as opened_here:
            if journal is not None:
                opened_here.callback(journal.close)
            file = opened_here.enter_context(closing(_backend(choice, settings).open(job)))
            file.fill(Portion(plan, sources))
            _drain(job, file, choice, settings, sources, found, earlier)
            streams = _appended(found, sources, earlier, ranks)
            if not streams:
                file.complete({})
                return Written(plan, choice)
            opened_here.pop_all()  # they stay open until the streams are complete
            return Written(plan, choice, streams=OpenStreams(job, file, streams, plan.decomposition, plan.buffer_mb))
    finally:
        told.finish()


def _drain(
    job: Job,
    file: PartialFile,
    choice: site.BackendChoice,
    settings: WriteSettings,
    sources: Mapping[str, Source],
    found: Found,
    earlier: Earlier | None,
) -> None:
    """Write the datasets whose rows come from generators, one after another. Collective."""
    numbers = [n for n, spec in enumerate(found.layout) if spec.access == Access.GROWING and n not in found.streams]
    # Parallel HDF5 allocates chunks when a dataset grows, and would not fill those that nobody writes.
    drain = Drain(job, file, settings.decomposition, settings.buffer_mb, every_layer=choice.name == "mpio")
    records = earlier.committed.records if earlier is not None else no_records()
    for number, done in positions(records, numbers).items():
        drain.run(number, sources.get(found.layout.datasets[number].path), done)


def _appended(
    found: Found, sources: Mapping[str, Source], earlier: Earlier | None, ranks: Ranks
) -> dict[str, OpenStream]:
    """Return the streams of the file as this rank appends to them, by path. Independent."""
    streams = {}
    for number, (dtype, row_shape, state) in found.streams.items():
        spec = found.layout.datasets[number]
        source = sources.get(spec.path)
        own = source.stream if isinstance(source, GrowingSource) else None
        known = own if own is not None else Stream(dtype, row_shape)
        if earlier is not None:
            state = earlier.committed.streams.get(number)
        streams[spec.path] = reopened(number, spec, known, state, leads=ranks.is_root)
    return streams


def _heed(ranks: Ranks, target: Target, interrupts: Interrupts) -> None:
    """Stop before anything is written if any rank was asked to. Collective."""
    if ranks.any_failed(interrupts.received):
        raise ranks.known_to_all(_stopped_early(target))


def _stopped_early(target: Target) -> Interrupted:
    return Interrupted(
        ASKED_TO_STOP,
        where=str(target.partial),
        remedy="It had written nothing yet: run it again with --resume (mode 'resume')",
    )


def look_for_earlier(target: Target, settings: WriteSettings) -> Earlier | None:
    """Return what is to be resumed; refuse what would be lost. Independent; on the root."""
    earlier = find_earlier(target, overwrite=settings.overwrite) if settings.resume else None
    if earlier is None or not earlier.finished:
        target.check(overwrite=settings.overwrite)
    if earlier is None:
        check_nothing_lost(target, overwrite=settings.overwrite)
    return earlier


def _found(skeleton: Skeleton | None, earlier: Earlier | None) -> Found:
    """Return what the root tells the others. Independent."""
    assert skeleton is not None
    streams = {}
    for number, spec in enumerate(skeleton.layout):
        source = skeleton.sources[spec.path]
        if isinstance(source, GrowingSource) and source.stream is not None:
            state = earlier.committed.streams.get(number) if earlier is not None else None
            brief = replace(state, tail=b"") if state is not None else None
            streams[number] = (source.dtype.str, source.stream.row_shape, brief)
    if earlier is None:
        return Found(skeleton.layout, skeleton.backend, {}, False, streams)
    done = done_chunks(skeleton.layout, earlier.committed)
    return Found(skeleton.layout, skeleton.backend, done, earlier.finished, streams)


def _begun_with(settings: WriteSettings, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings on which the file's values or coding depend, which a resuming job must share."""
    return {"compression": settings.compression, "arguments": described(arguments)}


def _build(
    ranks: Ranks,
    target: Target,
    nwbfile: NWBFile | None,
    manager: BuildManager,
    settings: WriteSettings,
    arguments: Mapping[str, Any],
    earlier: Earlier | None,
    opened: Opened | None,
) -> tuple[Skeleton | None, dict[str, Source]]:
    """Author the skeleton on the root, find the sources on the others, and agree on what is written."""
    skeleton, own, content = None, {}, None
    with ranks.agreed("building the NWBFile"):
        if ranks.is_root:
            if nwbfile is None:
                raise AgreementError("the root must have the NWBFile, got None", where="rank 0")
            backend = site.choose_backend(settings.backend)
            options = AuthoringOptions(settings.rule, settings.compression, backend, arguments)
            if opened is not None:
                skeleton = opened.extend(nwbfile, options)
            elif earlier is None:
                skeleton = author(nwbfile, target.path, manager, options)
            else:
                skeleton = restore(earlier, nwbfile, target, manager, options)
            own, content = skeleton.sources, skeleton.signature
        elif nwbfile is not None:
            is_written = none_written if opened is None else opened.is_written
            own, content = _catalogue(nwbfile, manager, target, settings.rule, is_written)
    agree_on_content(ranks, content)
    return skeleton, own


def _catalogue(
    nwbfile: NWBFile, manager: BuildManager, target: Target, rule: BulkRule, is_written: Predicate
) -> tuple[dict[str, Source], dict[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the root, which builds the same, has warned
        try:
            builder = build(nwbfile, manager, str(target.path))
        except Exception as error:
            raise own_error(error) from error
        return bulk_sources(builder, rule, is_written), signature(builder, rule, is_written)


def _sampled(ranks: Ranks, layout: FileLayout, sources: Mapping[str, Source], *, have_own: bool) -> Samples:
    """Return checksums of a sample of the data, and check that ranks with an NWBFile of their own agree. Collective.

    A rank whose array has other values, made at random perhaps, would have its share of the file filled with them.
    """
    with ranks.agreed("sampling the data"):
        samples = fingerprints(layout, sources) if have_own else {}
    told = {path: f"data whose sample has the CRC-32C {', '.join(map(str, sums))}" for path, sums in samples.items()}
    agree_on_content(ranks, told if have_own else None)
    return samples


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


def _check_memory(ranks: Ranks, plan: WritePlan) -> None:
    """Refuse what cannot fit into the memory of the ranks' hosts. Collective."""
    with ranks.agreed("measuring memory"):
        claim = memory.Claim(plan.least_memory(ranks.rank), memory.rooms())
    claims = ranks.gather_all(claim)
    with ranks.agreed("comparing memory"):
        memory.check_fits(claims)


def _prepare(
    ranks: Ranks,
    target: Target,
    plan: WritePlan,
    choice: site.BackendChoice,
    earlier: Earlier | None,
    skeleton: Skeleton | None,
    *,
    keeps_journal: bool,
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
            if keeps_journal:
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
