"""The scaling model: how long a plan takes at a site, by phase, and what limits it. Arithmetic only; nothing is run.

A rank reads, encodes and writes its share; the first two in one thread, beside which the other writes. Where no core is
to spare the two threads share one, so that all three add up. The root gives addresses, one chunk after the other; the
file system takes so many bytes a second of all ranks together; and beginning costs what it costs. The slowest of these
is what a run waits for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from parnwb.errors import PlanError
from parnwb.planning.plan import WritePlan

MB = 1e6


@dataclass(frozen=True)
class Site:
    """What things cost somewhere.

    The defaults of what a rank and the root do are what ``benchmarks/calibrate.py`` has measured on two cores (about
    the medians of three times); those of nodes and the file system are made up. It measures a site's own.

    Parameters
    ----------
    read_mbs, encode_mbs, write_mbs
        MB/s of one rank: of uncompressed bytes read and encoded, and of stored bytes written. Encoding has with it that
        chunks are put together from rows, and their checksums.
    file_system_mbs
        MB/s of stored bytes that the file system takes from all ranks together, at most.
    stripe_mbs, stripes
        MB/s of stored bytes that one storage server takes, None if that is not known; and over how many the file is
        spread.
    ratio
        Uncompressed over stored bytes; 1 without a filter.
    chunk_seconds, request_seconds
        Of the root: to place a chunk, and to receive and answer one message of requests.
    import_seconds
        Until a rank's program has begun, its libraries imported.
    author_seconds
        The root's write of all that is small.
    meeting_seconds
        Of one collective step, for each doubling of the number of ranks.
    tail_seconds
        To commit, complete and rename the file.
    cores_per_node, ranks_per_node
        More ranks than cores share them.
    """

    read_mbs: float = 4000.0
    encode_mbs: float = 600.0
    write_mbs: float = 1900.0
    file_system_mbs: float = 2000.0
    stripe_mbs: float | None = None
    stripes: int = 1
    ratio: float = 2.5
    chunk_seconds: float = 14e-6
    request_seconds: float = 150e-6
    import_seconds: float = 1.7
    author_seconds: float = 0.15
    meeting_seconds: float = 0.003
    tail_seconds: float = 0.04
    cores_per_node: int = 64
    ranks_per_node: int = 64

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None and item.name == "stripe_mbs":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise PlanError(
                    f"{item.name} of a site must be a positive number, got {value!r}",
                    remedy="Measure it with benchmarks/calibrate.py, or leave it out",
                )

    @property
    def taken_mbs(self) -> float:
        """MB/s that one file takes from all ranks: what its stripes do, and no more than the file system does."""
        spread = math.inf if self.stripe_mbs is None else self.stripes * self.stripe_mbs
        return min(self.file_system_mbs, spread)

    def crowd(self, ranks: int) -> float:
        """Return how many ranks share a core of a node, 1 at least."""
        return max(1.0, min(ranks, self.ranks_per_node) / self.cores_per_node)

    @classmethod
    def from_file(cls, path: Path) -> Site:
        """Read what ``to_file`` wrote; what is not there has its default.

        Raises
        ------
        PlanError
            The file is none of a site.
        """
        try:
            values = json.loads(path.read_text())
            return cls(**values)
        except (OSError, ValueError, TypeError) as error:
            raise PlanError(
                f"this file describes no site: {error}",
                where=str(path),
                remedy="Write one with benchmarks/calibrate.py --output FILE",
            ) from error

    def to_file(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True)
class Work:
    """What a run has to do, as the model sees it.

    Parameters
    ----------
    raw_bytes, chunks
        Of all ranks.
    ranks
        Number of ranks.
    largest_share
        Bytes of the rank that has most, over the average; with what is read beside them, at what that costs.
    chunks_at_once
        Chunks of one request: those of a buffer.
    filtered
        Whether chunks are encoded at all.
    """

    raw_bytes: float
    chunks: int
    ranks: int
    largest_share: float = 1.0
    chunks_at_once: float = 16.0
    filtered: bool = True

    @classmethod
    def of(cls, plan: WritePlan) -> Work:
        """Return the work of a plan. Independent."""
        large = [spec for spec in plan.layout if spec.nbytes]
        chunks = sum(spec.grid.size for spec in large)
        buffers = sum(max(1, spec.nbytes // plan.buffer_bytes(n)) for n, spec in enumerate(plan.layout) if spec.nbytes)
        # A rank asks at least once for what it has.
        at_once = chunks / max(1, buffers, min(plan.ranks, chunks)) if chunks else 1.0
        filtered = any(spec.filters for spec in large)
        share = plan.balance() * plan.total_cost / max(1, plan.layout.nbytes) if large else 1.0
        return cls(plan.layout.nbytes, chunks, plan.ranks, share, max(1.0, at_once), filtered)


MEETINGS = 40
"""Collective steps of one write, about."""


@dataclass(frozen=True)
class Prediction:
    """How long a run takes.

    Parameters
    ----------
    seconds
        In all, from the start of the program to the finished file.
    phases
        Seconds of each thing that ranks do or wait for; those of the middle run beside each other.
    limit
        Which of them decides, so that the run is shorter if that is quicker: ``'codec'``, ``'source'``, ``'writing'``,
        ``'file system'``, ``'allocator'`` or ``'start-up'``.
    root_suffices
        Number of ranks up to which one root gives addresses as fast as the ranks need them.
    raw_bytes
        Of the run.
    """

    seconds: float
    phases: Mapping[str, float]
    limit: str
    root_suffices: int
    raw_bytes: float

    @property
    def mbs(self) -> float:
        """Uncompressed MB/s."""
        return self.raw_bytes / MB / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "seconds": self.seconds,
            "MB/s": self.mbs,
            "phases": dict(self.phases),
            "limit": self.limit,
            "ranks for which one root suffices": self.root_suffices,
        }


@dataclass(frozen=True)
class _Steps:
    """What one rank does with some bytes, in seconds.

    Parameters
    ----------
    source, codec, writing
        Of reading, of encoding, and of writing what is stored.
    busy
        Whether no core is to spare: then the thread that writes takes time from the one that encodes.
    """

    source: float
    codec: float
    writing: float
    busy: bool

    @classmethod
    def of(cls, megabytes: float, work: Work, site: Site) -> _Steps:
        shared = megabytes * site.crowd(work.ranks)
        encoding, ratio = (shared / site.encode_mbs, site.ratio) if work.filtered else (0.0, 1.0)
        busy = min(work.ranks, site.ranks_per_node) >= site.cores_per_node
        return cls(shared / site.read_mbs, encoding, shared / ratio / site.write_mbs, busy)

    @property
    def threads(self) -> tuple[tuple[str, ...], ...]:
        """Which steps come one after the other."""
        return (("codec", "source", "writing"),) if self.busy else (("codec", "source"), ("writing",))

    def slowest(self) -> tuple[float, str]:
        """Return the seconds of the thread that has most to do, and which step has the largest part in them."""
        seconds, steps = max((sum(getattr(self, step) for step in thread), thread) for thread in self.threads)
        return seconds, max(steps, key=lambda step: float(getattr(self, step)))


def predict(work: Work, site: Site) -> Prediction:
    """Return how long ``work`` takes at ``site``. Independent; takes no time."""
    own = _Steps.of(work.raw_bytes / MB / work.ranks * work.largest_share, work, site)
    own_seconds, own_limit = own.slowest()
    allocating = work.chunks * _seconds_per_chunk(work, site)
    shared = work.raw_bytes / MB / (site.ratio if work.filtered else 1.0) / site.taken_mbs
    # What ranks do, what they share, and the root: beside each other.
    filling, limit = max((own_seconds, own_limit), (shared, "file system"), (allocating, "allocator"))
    doublings = math.log2(work.ranks) if work.ranks > 1 else 0.0
    importing = site.crowd(work.ranks) * site.import_seconds
    starting = importing + site.author_seconds + MEETINGS * site.meeting_seconds * doublings
    middle = {"source": own.source, "codec": own.codec, "writing": own.writing}
    middle |= {"file system": shared, "allocator": allocating}
    phases = {"start-up": starting, **middle, "completing": site.tail_seconds}
    seconds = starting + filling + site.tail_seconds
    limit = "start-up" if starting > filling else limit
    return Prediction(seconds, phases, limit, root_suffices_to(work, site), work.raw_bytes)


def paced(site: Site, rate_mbs: float, *, filtered: bool) -> Site:
    """Return a site where one rank reads, encodes and writes so many MB in a second. Independent.

    For who knows only what a rank does in all, as a scaling test on full nodes measures it. Steps stay in proportion.

    Parameters
    ----------
    rate_mbs
        Uncompressed MB/s of one rank.
    filtered
        Whether chunks were encoded.
    """
    encoding, ratio = (1 / site.encode_mbs, site.ratio) if filtered else (0.0, 1.0)
    slower = rate_mbs * (1 / site.read_mbs + encoding + 1 / site.write_mbs / ratio)
    return replace(
        site,
        read_mbs=site.read_mbs * slower,
        encode_mbs=site.encode_mbs * slower,
        write_mbs=site.write_mbs * slower,
    )


def root_suffices_to(work: Work, site: Site) -> int:
    """Return the number of ranks whose chunks one root can place as fast as they come. Independent.

    Beyond it ranks wait for addresses, and the run is no faster than that number of ranks is: larger chunks move the
    limit in proportion.
    """
    if not work.chunks:
        return work.ranks
    # So many ranks that one of each node asks for all.
    many = replace(work, ranks=max(work.ranks, site.ranks_per_node + 1))
    seconds_of_a_chunk, _ = _Steps.of(work.raw_bytes / work.chunks / MB, many, site).slowest()
    return max(1, int(seconds_of_a_chunk / _seconds_per_chunk(many, site)))


def _seconds_per_chunk(work: Work, site: Site) -> float:
    """Return the root's seconds for a chunk, its part of a message included; speakers ask for a node together."""
    together = min(work.ranks, site.ranks_per_node) if work.ranks > site.ranks_per_node else 1
    return site.chunk_seconds + site.request_seconds / (work.chunks_at_once * together)


def fitted(site: Site, **values: float | None) -> Site:
    """Return a site with some values known; what is None, or was too short to be measured, stays. Independent."""
    known: dict[str, Any] = {name: value for name, value in values.items() if value and 0 < value < math.inf}
    return replace(site, **known)
