"""How large a job must be: nodes, ranks, memory and time, from what is known of the plan and the site. Arithmetic."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parnwb.errors import PlanError
from parnwb.jobscript.site_file import SiteFile
from parnwb.machine.striping import advised_stripes
from parnwb.model import Prediction, Site, Work, fitted, paced, predict

MB, MiB = 1_000_000, 1024 * 1024
RANK_BYTES = 400 * MB
"""Of a rank without its buffers: Python, pynwb, neuroconv, MPI."""

MEMORY_MARGIN, TIME_MARGIN = 1.25, 2.0
PASSES = 2.0
"""The script converts, and then reads everything once more to verify."""

GAIN = 1.1
"""More ranks are not worth it for less than a tenth of the time."""

LEAST_MINUTES, ROUND_MINUTES, START_MINUTES = 10, 5, 3
LEAST_SIGNAL_SECONDS, SIGNAL_SECONDS = 120, 300


@dataclass(frozen=True)
class Needs:
    """What a plan says of a conversion.

    Parameters
    ----------
    nbytes
        Uncompressed.
    buffer_bytes
        Projected, of a rank's buffers.
    pieces
        More ranks than this would have nothing to do.
    ranks
        For which it was planned; None if for no number in particular.
    pieces_at_once
        That a rank asks the root for in one message: those of a buffer.
    filtered
        Whether anything is compressed.
    """

    nbytes: int
    buffer_bytes: int
    pieces: int
    ranks: int | None = None
    pieces_at_once: float = 1.0
    filtered: bool = True

    def work(self, ranks: int) -> Work:
        """Return what so many ranks have to do. Independent."""
        largest = math.ceil(self.pieces / ranks) * ranks / self.pieces
        at_once = max(1.0, min(self.pieces_at_once, self.pieces / ranks))
        return Work(self.nbytes, self.pieces, ranks, largest, at_once, self.filtered)


@dataclass(frozen=True)
class JobSize:
    """What the script asks for.

    Parameters
    ----------
    nodes, tasks_per_node, cpus_per_task
        As sbatch has them.
    memory_mb
        Of a node.
    minutes
        Until the limit.
    signal_seconds
        How long before that the ranks are told to commit and stop.
    estimated_seconds
        That converting and verifying may take, without margin.
    limited_by
        What converting waits for.
    stripes
        Storage servers over which the file is to be spread, on Lustre; None as its folder has it.
    asked
        Ranks that the user or the plan wants, which may be fewer: nodes have as many each. None for no number.
    """

    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    memory_mb: int
    minutes: int
    signal_seconds: int
    estimated_seconds: float
    limited_by: str
    stripes: int | None
    asked: int | None = None

    @property
    def ranks(self) -> int:
        """Of the whole job."""
        return self.nodes * self.tasks_per_node


def needs_of_plan(plan: Mapping[str, Any]) -> Needs:
    """Return what a plan's JSON says. Independent.

    Raises
    ------
    PlanError
        It is none.
    """
    try:
        nbytes, pieces = int(plan["total_bytes"]), max(1, sum(_chunks(dataset) for dataset in plan["datasets"]))
        return Needs(
            nbytes,
            int(plan["projected_memory_bytes"]),
            pieces,
            int(plan["ranks"]),
            max(1.0, float(plan["buffer_mb"]) * MiB * pieces / max(1, nbytes)),
            any(dataset["filters"] for dataset in plan["datasets"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"this is not a plan's JSON: {error!r}", remedy="Make one with parnwb plan --json > plan.json"
        ) from error


def _chunks(dataset: Mapping[str, Any]) -> int:
    shape, chunks = dataset["shape"], dataset["chunks"]
    return math.prod(math.ceil(n / c) for n, c in zip(shape, chunks, strict=True)) if chunks else 1


def job_size(
    needs: Needs,
    site: SiteFile,
    *,
    nodes: int | None = None,
    ranks: int | None = None,
    rate_mb: float | None = None,
    minutes: float = 30,
    stripes: int | None = None,
) -> JobSize:
    """Return the size of a job. Independent.

    Parameters
    ----------
    nodes, ranks
        As the user wants them; None for as few as finish in time, or where that cannot be, as gain something.
    rate_mb
        MB that a rank does in a second; None for the site's.
    minutes
        In which the conversion should end where neither nodes nor ranks are given.
    stripes
        As the user wants them.

    Raises
    ------
    PlanError
        One rank alone needs more memory than a node has; or so many nodes are too few or too many for so many ranks.
    """
    per_rank_mb = math.ceil((RANK_BYTES + needs.buffer_bytes) * MEMORY_MARGIN / MB)
    most_per_node = min(site.cores_per_node, site.memory_per_node_mb // per_rank_mb)
    if most_per_node < 1:
        raise PlanError(
            f"a rank needs about {per_rank_mb} MB of memory, a node has {site.memory_per_node_mb} MB",
            where=str(site.path),
            remedy="Use a smaller --buffer-mb",
        )
    if nodes is not None and ranks is not None:
        _check_together(nodes, ranks, most_per_node, site)
    costs = fitted(_costs(needs, site, rate_mb, most_per_node), stripes=stripes)
    wanted = ranks or (nodes * most_per_node if nodes else None) or needs.ranks
    if wanted is None:
        wanted = _enough(needs, costs, minutes * 60)
        wanted = max(wanted, min(most_per_node, needs.pieces))  # a part of a node is not worth asking for
    count = max(1, min(wanted, needs.pieces) if ranks is None else wanted)
    node_count = max(nodes or 1, math.ceil(count / most_per_node))
    per_node = math.ceil(count / node_count)
    spread = stripes or _worthwhile_stripes(needs.nbytes, node_count)
    predicted = _predicted(needs, fitted(costs, stripes=spread), node_count * per_node)
    total = PASSES * predicted.seconds
    limit = START_MINUTES + TIME_MARGIN * total / 60
    limit_minutes = max(LEAST_MINUTES, ROUND_MINUTES * math.ceil(limit / ROUND_MINUTES))
    limit_minutes = min(limit_minutes, site.longest_minutes)
    return JobSize(
        nodes=node_count,
        tasks_per_node=per_node,
        cpus_per_task=max(1, site.cores_per_node // per_node) if per_node == most_per_node else 1,
        memory_mb=per_rank_mb * per_node,
        minutes=limit_minutes,
        signal_seconds=min(SIGNAL_SECONDS, max(LEAST_SIGNAL_SECONDS, limit_minutes * 15)),
        estimated_seconds=total,
        limited_by=predicted.limit,
        stripes=spread,
        asked=count if ranks or (needs.ranks and not nodes) else None,
    )


def _worthwhile_stripes(nbytes: int, nodes: int) -> int | None:
    """Return over how many servers to spread; for one server a folder that somebody has set wider stays as it is."""
    advised = advised_stripes(nbytes, nodes)
    return advised if advised > 1 else None


def _check_together(nodes: int, ranks: int, most_per_node: int, site: SiteFile) -> None:
    """Refuse nodes that cannot hold all ranks, or some of which would have none."""
    if ranks > nodes * most_per_node:
        raise PlanError(
            f"{ranks} ranks do not fit on {nodes} node(s), by whose cores and memory each has room for {most_per_node}",
            where=str(site.path),
            remedy=f"Ask for --nodes {math.ceil(ranks / most_per_node)}, or for no nodes",
        )
    if ranks < nodes:
        raise PlanError(
            f"{ranks} rank(s) leave {nodes - ranks} of {nodes} nodes without any",
            where=str(site.path),
            remedy=f"Ask for --nodes {ranks}, or for no nodes",
        )


def _costs(needs: Needs, site: SiteFile, rate_mb: float | None, ranks_per_node: int) -> Site:
    """Return what things cost there: as measured step by step, or as a rank's pace tells."""
    known = Site.from_file(site.costs) if site.costs is not None else Site(file_system_mbs=site.file_system_mbs)
    if rate_mb is not None or site.costs is None:
        known = paced(known, rate_mb or site.rate_per_rank_mb, filtered=needs.filtered)
    return fitted(known, cores_per_node=site.cores_per_node, ranks_per_node=ranks_per_node)


def _predicted(needs: Needs, costs: Site, ranks: int) -> Prediction:
    return predict(needs.work(ranks), costs)


def _enough(needs: Needs, costs: Site, seconds: float) -> int:
    """Return the fewest ranks that finish in time; where none do, the fewest that are about as fast as any number."""

    def takes(ranks: int) -> float:
        return _predicted(needs, costs, ranks).seconds

    counts = range(1, needs.pieces + 1)
    shortest = min(takes(min(2**power, needs.pieces)) for power in range(needs.pieces.bit_length() + 1))
    target = max(seconds, GAIN * shortest)
    return counts[min(bisect_left(counts, True, key=lambda ranks: takes(ranks) <= target), len(counts) - 1)]
