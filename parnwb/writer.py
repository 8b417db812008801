"""The road of one file: build, agree, plan, prepare, fill. What is collective happens in these, or in a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb import site
from parnwb.agreement import agree_on_samples
from parnwb.authoring.growing_tables import GrowingTable, check_tables, growing_tables
from parnwb.backends import (
    Backend,
    DirectBackend,
    Job,
    MpioBackend,
    PartialFile,
    Portion,
    StoreBackend,
    VirtualBackend,
)
from parnwb.building import build
from parnwb.codec import threads_here
from parnwb.comm import Ranks
from parnwb.commits.journal import StreamState, no_records
from parnwb.errors import Interrupted, LayoutError
from parnwb.growth import Growth, grown_sources
from parnwb.interrupts import ASKED_TO_STOP, Interrupts
from parnwb.layout import FileLayout
from parnwb.machine.memory import give_back
from parnwb.machine.storage import Writers
from parnwb.planning.plan import WritePlan
from parnwb.planning.write_queue import WriteQueue, write_queue
from parnwb.planning.write_queue import described as described_policy
from parnwb.preparing import check_memory, prepare, writers_of
from parnwb.progress import Meter, Planned, Started, View, meter_of
from parnwb.resident.exchange import find_residents, rounds
from parnwb.resident.gathering import Asking
from parnwb.restore import (
    Earlier,
    check_committed,
    check_nothing_lost,
    describe_attempt,
    done_chunks,
    find_earlier,
    said,
)
from parnwb.settings import WriteSettings
from parnwb.sources import Access, Source, takes_over
from parnwb.sources.blocks import BlockedSource
from parnwb.sources.growing import GrowingSource, StreamedRows
from parnwb.sources.sending import receive_sources
from parnwb.streaming.generators import Drain, positions
from parnwb.streaming.layers import settled
from parnwb.streaming.streams import OpenStream, OpenStreams, reopened
from parnwb.target import Target
from parnwb.timeline import Timeline

if TYPE_CHECKING:
    from hdmf.build import BuildManager

    from parnwb.append import Opened
    from parnwb.authoring.export import Content
    from parnwb.authoring.skeleton import Authored
    from parnwb.rewriting.rewriting import Rewriting

NAMED_HOSTS = 4


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
    phases
        Seconds of this rank by phase; a view, to which ``close`` adds its own. The names of those of the thread that
        reads and encodes begin with ``encoder:``; they run beside the others.
    timeline
        When they passed, and the bytes that this rank wrote meanwhile; goes on until ``close`` has returned.
    """

    plan: WritePlan
    backend: site.BackendChoice
    published: bool = False
    streams: OpenStreams | None = None
    phases: Mapping[str, float] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=partial(Timeline, 0.0), repr=False, compare=False)


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
    tables
        Those with columns whose rows are still to come.
    blocks
        By number of a dataset, the shape of blocks of which its source keeps no row.
    """

    layout: FileLayout
    backend: site.BackendChoice
    done: dict[int, npt.NDArray[np.bool_]]
    published: bool
    streams: dict[int, tuple[str, tuple[int, ...], StreamState | None]]
    tables: tuple[GrowingTable, ...]
    blocks: dict[int, tuple[int, ...]]


def write(
    ranks: Ranks,
    target: Target,
    content: Content | Rewriting | None,
    manager: BuildManager | None,
    settings: WriteSettings,
    arguments: Mapping[str, Any],
    interrupts: Interrupts,
    view: View | None = None,
    opened: Opened | None = None,
    earlier: Earlier | None = None,
    growths: Sequence[Growth] = (),
) -> Written:
    """Write an NWBFile, or what is exported, into the partial file of ``target``; nothing is renamed. Collective.

    Parameters
    ----------
    content
        The same on every rank, or None on all but the root where its sources can be pickled.
    manager
        hdmf's, for those who have ``content``; None for pynwb's own.
    arguments
        For ``NWBHDF5IO.write``: ``cache_spec``, ``expandable`` and so on.
    interrupts
        Tells whether this rank was asked to stop.
    view
        What the root shows its events to.
    opened
        This rank's view of the file that is appended to; None for a new one.
    earlier
        What is resumed, as ``look_for_earlier`` has found it; on the root.
    growths
        Existing datasets that get more rows; with them, or with changes of ``opened``, ``content`` may be None
        everywhere.

    Raises
    ------
    ParnwbError
        The same on all ranks, whichever failed; ``Interrupted`` if any rank was asked to stop.
    """
    small = {name: value for name, value in arguments.items() if name != "herd"}  # the root's is written
    keywords = {**vars(settings), "queue": described_policy(settings.queue)}
    rule = keywords.pop("rule")
    keywords |= {"bulk_threshold": rule.threshold, "link_data": rule.link_data}
    keywords |= {"on_mismatch": rule.on_mismatch, "no_copy": rule.no_copy}
    ranks.same({"path": str(target.path), **keywords, **small}, "Pass the same keywords on every rank")
    asking, have_own = Asking(ranks), content is not None
    skeleton, sources = build(ranks, target, content, manager, settings, arguments, earlier, opened, growths, asking)
    found = ranks.on_root("looking at what is done", lambda: _found(skeleton, earlier))
    layout, choice, done, published = found.layout, found.backend, found.done, found.published
    queue = ranks.on_root("arranging the queue", lambda: write_queue(settings.queue, layout))
    if not published:
        _heed(ranks, target, interrupts)
    residents = find_residents(ranks, sources, have_own=have_own)
    received = receive_sources(ranks, sources, have_own=have_own)
    sources = {**received.sources, **grown_sources(growths)}
    with ranks.agreed("planning"):
        kept = layout.numbers_of(received.kept | {growth.path for growth in growths if growth.kept})
        plan = replace(plan_of(layout, ranks.size, settings, queue), done=done, kept=kept, blocks=found.blocks)
    written = Written(plan, choice, published, phases=ranks.phases.seconds, timeline=ranks.phases.timeline)
    if published:
        _appended(found, sources, earlier, ranks)  # so that streams tell their rows
        return written
    threads = threads_here(settings.threads) if choice.name != "mpio" else 1
    movable = check_memory(ranks, plan, threads, sources)
    new = layout.without(growth.path for growth in growths)
    samples = agree_on_samples(ranks, new, sources, residents, asking, have_own=have_own)
    _heed(ranks, target, interrupts)
    told = meter_of(view, ranks.rank, ranks.host) if view is not None and ranks.is_root else Meter()

    def look_up() -> None:
        ranks.look_up()
        if interrupts.received:
            raise _stopped_early(target)

    if done:
        check_committed(ranks, target, layout, earlier, told, look_up)
    keeps_journal = choice.name == "direct" and opened is None
    has_one_file = choice.name in ("direct", "mpio")
    writers = writers_of(ranks, target, settings) if has_one_file else Writers.each(ranks.size)
    choice = replace(choice, reason="; ".join(filter(None, [choice.reason, writers.reason])))
    journal = prepare(ranks, target, plan, choice, earlier, skeleton, writers, keeps_journal=keeps_journal)
    with told.task(_started(target, plan, choice, ranks)):
        told.tell(_planned(target, plan, choice))
        with ranks.agreed("describing the file"):
            is_new, begun = journal is not None and earlier is None, _begun_with(settings, arguments)
            description = describe_attempt(skeleton, samples, begun) if is_new and skeleton else {}
        job = Job(ranks, target, layout, plan, skeleton, told, interrupts, journal, settings.commit_interval)
        job = replace(job, description=description, manifest=settings.manifest, writers=writers, threads=threads)
        job = replace(job, backend=choice.name)
        with ExitStack() as opened_here:
            if journal is not None:
                opened_here.callback(journal.close)
            file = opened_here.enter_context(closing(_backend(choice, settings).open(job)))
            for portion in portions(ranks, plan, sources, residents, movable=movable):
                file.fill(portion)
            give_back()
            rows = _drain(job, file, choice, settings, sources, found, earlier)
            streams = _appended(found, sources, earlier, ranks)
            if not streams:
                with ranks.agreed("looking at tables"):
                    check_tables(found.tables, rows, {}, "Let generators of columns give as many rows")
                file.complete({})
                return replace(written, backend=choice)
            opened_here.pop_all()  # they stay open until the streams are complete
            tables = [replace(table, rows={**table.rows, **rows}) for table in found.tables]
            open_streams = OpenStreams(job, file, streams, plan.decomposition, plan.buffer_mb, tables)
            written = replace(written, backend=choice, streams=open_streams)
    told.begin(_started_appending(target, ranks))
    return written


def _drain(
    job: Job,
    file: PartialFile,
    choice: site.BackendChoice,
    settings: WriteSettings,
    sources: Mapping[str, Source],
    found: Found,
    earlier: Earlier | None,
) -> dict[str, int]:
    """Write the datasets whose rows come from generators, one after another; return their rows, by path. Collective."""
    growing = {n for n, spec in enumerate(found.layout) if spec.access == Access.GROWING}
    numbers = [n for n in job.plan.order.datasets if n in growing and n not in found.streams]
    # Parallel HDF5 allocates chunks when a dataset grows, and would not fill those that nobody writes.
    drain = Drain(job, file, settings.decomposition, settings.buffer_mb, every_layer=choice.name == "mpio")
    records = earlier.committed.records if earlier is not None else no_records()
    paths = {number: found.layout.datasets[number].path for number in numbers}
    return {
        paths[number]: drain.run(number, sources.get(paths[number]), done)
        for number, done in positions(records, numbers).items()
    }


def _appended(
    found: Found, sources: Mapping[str, Source], earlier: Earlier | None, ranks: Ranks
) -> dict[str, OpenStream]:
    """Return the streams of the file as this rank appends to them, by path. Independent."""
    streams = {}
    for number, (dtype, row_shape, state) in found.streams.items():
        spec = found.layout.datasets[number]
        source = sources.get(spec.path)
        own = source.stream if isinstance(source, GrowingSource) else None
        known = own if own is not None else StreamedRows(dtype, row_shape)
        if earlier is not None:
            state = earlier.committed.streams.get(number)
        streams[spec.path] = reopened(number, spec, known, state, leads=ranks.is_root)
    return streams


def portions(
    ranks: Ranks, plan: WritePlan, sources: Mapping[str, Source], residents: Mapping[str, Source], *, movable: bool
) -> Iterator[Portion]:
    """Iterate over what is written one after another: what any rank can read, then what is spread. Collective.

    What is spread comes dataset by dataset, in the order of the queue.

    Parameters
    ----------
    residents
        Those of the sources that are spread over ranks, by path.
    movable
        Whether each rank has the memory for what any other has to do.
    """
    spread = plan.layout.numbers_of(residents)
    yield Portion(replace(plan, elsewhere=spread), sources, movable=movable)
    for number in (number for number in plan.order.datasets if number in spread):
        source = residents[plan.layout.datasets[number].path]
        for part, received in rounds(ranks, plan.layout, plan.open_runs(number), number, source, plan.buffer_mb):
            yield Portion(part, received)


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


def _found(skeleton: Authored | None, earlier: Earlier | None) -> Found:
    """Return what the root tells the others. Independent."""
    from parnwb.authoring.skeleton import Skeleton

    assert skeleton is not None
    streams = {}
    places: dict[int, str] = {}
    for number, spec in enumerate(skeleton.layout):
        source = skeleton.sources[spec.path]
        if isinstance(source, GrowingSource) and source.stream is not None:
            if (other := places.setdefault(id(source.stream), spec.path)) != spec.path:
                raise LayoutError(
                    f"a Stream can be the data of one dataset, this one is also that of {other}",
                    where=spec.path,
                    remedy="Make a Stream for each, or link: TimeSeries(data=other_series)",
                )
            state = earlier.committed.streams.get(number) if earlier is not None else None
            brief = replace(state, tail=b"") if state is not None else None
            streams[number] = (source.dtype.str, source.stream.row_shape, brief)
    tables = growing_tables(skeleton.file, skeleton.sources) if isinstance(skeleton, Skeleton) else ()
    blocks = _large_blocks(skeleton)
    if earlier is None:
        return Found(layout_of(skeleton), skeleton.backend, {}, False, streams, tables, blocks)
    done = done_chunks(skeleton.layout, earlier.committed)
    return Found(skeleton.layout, skeleton.backend, done, earlier.finished, streams, tables, blocks)


def _large_blocks(skeleton: Authored) -> dict[int, tuple[int, ...]]:
    """Return the shapes of blocks after which buffers are to be shaped; not of chunks that are copied. Independent."""
    own = [(number, spec, skeleton.sources[spec.path]) for number, spec in enumerate(skeleton.layout)]
    return {
        number: source.block_shape
        for number, spec, source in own
        if isinstance(source, BlockedSource) and not source.keeps_rows and not takes_over(source, spec)
    }


def layout_of(skeleton: Authored) -> FileLayout:
    """Return the layout by which a new file is planned. Independent."""
    # Of a contiguous dataset no part could have some elements, and take no space for the others.
    return skeleton.layout.in_chunks() if skeleton.backend.name == "virtual" else skeleton.layout


def plan_of(layout: FileLayout, ranks: int, settings: WriteSettings, queue: WriteQueue) -> WritePlan:
    """Return the plan of a layout, of which rows that are still to come are no part. Independent."""
    return WritePlan(settled(layout), ranks, settings.decomposition, settings.buffer_mb, queue=queue)


def _begun_with(settings: WriteSettings, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings on which the file's values or coding depend, which a resuming job must share."""
    return {"compression": settings.compression, "arguments": said(arguments)}


def _started(target: Target, plan: WritePlan, choice: site.BackendChoice, ranks: Ranks) -> Started:
    """Return what is told when the writing begins."""
    names = ranks.host_names
    more = f" and {len(names) - NAMED_HOSTS} more" if len(names) > NAMED_HOSTS else ""
    where = f" on {', '.join(names[:NAMED_HOSTS])}{more}" if len(names) > 1 else ""
    label = f"writing {target.path.name} ({choice.name}{where})"
    return Started(str(target.path), "writing", label, plan.remaining_bytes, ranks.size, names)


def _started_appending(target: Target, ranks: Ranks) -> Started:
    """Return what is told when a program may begin to append rows to streams."""
    label = f"appending to {target.path.name}"
    return Started(str(target.path), "appending", label, 0, ranks.size, ranks.host_names)


def _planned(target: Target, plan: WritePlan, choice: site.BackendChoice) -> Planned:
    """Return what is told of a plan. Independent."""
    datasets = tuple(
        {
            "path": spec.path,
            "shape": list(spec.shape),
            "dtype": spec.dtype,
            "chunks": list(spec.chunks) if spec.chunks else None,
            "filters": [item.name for item in spec.filters],
            "bytes": spec.nbytes,
        }
        for spec in plan.layout
    )
    return Planned(
        str(target.path), choice.name, choice.reason, plan.decomposition, plan.ranks, plan.remaining_bytes, datasets
    )


def _backend(choice: site.BackendChoice, settings: WriteSettings) -> Backend:
    others: dict[str, Callable[[], Backend]] = {"virtual": VirtualBackend, "zarr": StoreBackend}
    if choice.name in others:
        return others[choice.name]()
    return MpioBackend(settings.transfer) if choice.name == "mpio" else DirectBackend()
