"""What stands before the first byte: room in memory and on disk, who writes, the partial file and its journal."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from parnwb import site
from parnwb.codec import runs_in_threads
from parnwb.comm import Ranks
from parnwb.commits.generation import renew
from parnwb.commits.journal import Journal
from parnwb.errors import LaunchError, ParnwbError
from parnwb.machine import memory, storage
from parnwb.machine.storage import Writers
from parnwb.machine.striping import Striping, striping_for
from parnwb.planning.layers import said_of_readings
from parnwb.planning.plan import WritePlan
from parnwb.restore import Earlier
from parnwb.settings import WriteSettings
from parnwb.sources import Source, takes_over
from parnwb.sources.blocks import BlockedSource, kept_bytes
from parnwb.target import Target
from parnwb.target.permissions import Permissions

if TYPE_CHECKING:
    from parnwb.authoring.skeleton import Authored

LEAST_WARNED_OF = 10**9
"""Bytes that are read more than once of which a run warns: fewer take less than a second or two."""


def check_memory(ranks: Ranks, plan: WritePlan, threads: int, sources: Mapping[str, Source]) -> bool:
    """Refuse what cannot fit into the hosts' memory; tell whether any rank could do any other's part. Collective.

    Parameters
    ----------
    threads
        Of each rank, that compress.
    sources
        That this rank can read, by path.
    """
    with ranks.agreed("measuring memory"):
        needed = plan.least_memory(ranks.rank) + _of_threads(plan, ranks.rank, threads)
        claim = memory.Claim(needed + _of_blocks(plan, ranks.rank, sources), memory.rooms())
    claims = ranks.gather_all(claim)
    with ranks.agreed("comparing memory"):
        memory.check_fits(claims)
    largest = max(claim.needed for claim in claims)
    try:
        memory.check_fits([replace(claim, needed=largest) for claim in claims])
    except ParnwbError:
        return False
    return True


def _of_threads(plan: WritePlan, rank: int, threads: int) -> int:
    """Return the bytes that a rank's further threads need: each has room for what its largest chunk may become."""
    own = {share.dataset for share in plan.shares(rank)}
    specs = [plan.layout.datasets[number] for number in own]
    return (threads - 1) * max((spec.chunk_bytes for spec in specs if runs_in_threads(spec)), default=0)


def _of_blocks(plan: WritePlan, rank: int, sources: Mapping[str, Source]) -> int:
    """Return the bytes of decoded blocks that a rank keeps of what it reads; of chunks that are copied it has none."""
    specs = [plan.layout.datasets[number] for number in {share.dataset for share in plan.shares(rank)}]
    own = [(spec, sources.get(spec.path)) for spec in specs]
    blocked = [(spec, source) for spec, source in own if isinstance(source, BlockedSource)]
    return kept_bytes(source for spec, source in blocked if not takes_over(source, spec))


def writers_of(ranks: Ranks, target: Target, settings: WriteSettings) -> Writers:
    """Return which ranks write to the file. Collective."""
    folder = target.path.parent
    host = ranks.hosts[ranks.rank]
    clients = ranks.gather_agreed("looking at the file system", lambda: storage.Client.of(host, folder))
    with ranks.agreed("choosing who writes"):
        return storage.writers(clients, settings.writers_per_node)


def prepare(
    ranks: Ranks,
    target: Target,
    plan: WritePlan,
    choice: site.BackendChoice,
    earlier: Earlier | None,
    skeleton: Authored | None,
    writers: Writers,
    *,
    keeps_journal: bool,
) -> Journal | None:
    """Check what can be checked before the first byte, then create the partial file and the journal. Collective."""
    if writers.root_alone and choice.name == "mpio":
        raise ranks.known_to_all(
            LaunchError(
                f"backend 'mpio' has all ranks write, but here {writers.reason}",
                where=str(target.path.parent),
                remedy="Use backend='direct', run all ranks on one host, or write to a parallel file system",
            )
        )
    lost = ranks.on_root("looking for lost jobs", lambda: earlier is not None and target.has_lost_writers)
    if lost:
        committed = earlier.committed if earlier is not None else None
        renew(ranks, target, committed, root_alone=writers.root_alone)
    with ranks.agreed("preparing the output"):
        if choice.name == "mpio":
            chunked = any(spec.chunks and not spec.filters for spec in plan.layout)
            filters = {item.identifier: item.name for spec in plan.layout for item in spec.filters}
            site.check_parallel_hdf5(chunked_unfiltered=chunked, filters=filters)
        token, journal = b"", None
        if ranks.is_root:
            from parnwb.authoring.skeleton import expected_bytes

            assert skeleton is not None
            expected = expected_bytes(skeleton, [plan.remaining_of(number) for number in range(len(plan.layout))])
            target.require_space(expected.least)
            target.warn_of_space(expected.about)
            for path, words in said_of_readings(plan, LEAST_WARNED_OF):
                warnings.warn(f"{path}: {words}", stacklevel=2)
            token = target.create(_striping(target, expected.about, ranks)) if earlier is None else target.adopt()
            if keeps_journal:
                journal = _journal(target, earlier)
    token = ranks.broadcast(token)
    with ranks.agreed("finding the output on every rank"):
        target.recognise(token)
    return journal


def _striping(target: Target, nbytes: int, ranks: Ranks) -> Striping | None:
    folder = target.path.parent
    if storage.kind_of(storage.file_system(folder)) is not storage.LUSTRE:
        return None
    return striping_for(folder, nbytes, len(set(ranks.hosts)))


def _journal(target: Target, earlier: Earlier | None) -> Journal:
    if earlier is None:
        return Journal.create(target.journal, like=Permissions.of(target.partial))
    return Journal.reopen(target.journal, earlier.committed)
