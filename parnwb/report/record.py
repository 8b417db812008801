"""What all ranks know of a file that they have written, gathered for one page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parnwb.comm import Ranks
from parnwb.drawing.plan import MOST_RANKS, Plan
from parnwb.report.environment import environment
from parnwb.report.stored import Contents, contents
from parnwb.timeline import Binned
from parnwb.writer import Written

BINS = 128
LANES = 32
"""Of so many ranks it is shown when they did what; of the others, how much of it."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RankRecord:
    """What one rank did.

    Parameters
    ----------
    host
        Where it ran.
    seconds
        By phase.
    spans
        The same in bins, of all ranks' time; its ``seconds`` are empty for ranks that are not shown.
    projected_memory
        Bytes of buffers that the plan allows.
    """

    host: str
    seconds: Mapping[str, float]
    spans: Binned
    projected_memory: int

    @property
    def raw_bytes(self) -> float:
        """Uncompressed bytes that it wrote."""
        return float(self.spans.raw.sum())

    @property
    def memory(self) -> float:
        """The most anonymous memory that was seen."""
        return float(self.spans.memory.max(initial=0.0))


@dataclass(frozen=True)
class Record:
    """What all ranks did, and what came of it.

    Parameters
    ----------
    path
        The file.
    plan
        As ``WritePlan.to_json`` returns it, with the shares of some ranks.
    backend
        Name and reason.
    written_bytes
        Uncompressed bytes that this job wrote; fewer than the file's where it resumed another.
    seconds
        From the first rank's beginning to the last one's end.
    ranks
        In their order.
    contents
        Of the file.
    environment
        What it was made with.
    """

    path: Path
    plan: Plan
    backend: tuple[str, str]
    written_bytes: float
    seconds: float
    ranks: tuple[RankRecord, ...]
    contents: Contents
    environment: Mapping[str, str]


def gather(ranks: Ranks, path: Path, written: Written) -> Record | None:
    """Return the record of a finished file on the root, None elsewhere. Collective."""
    own = written.timeline
    ranks.meet("making the report")
    age = time.perf_counter() - own.began
    ages = ranks.gather_all((age, own.ended - own.began))
    oldest = max(age for age, _ in ages)
    frame = max(oldest - age + lasted for age, lasted in ages)
    binned = own.binned().within(frame, oldest - age, BINS)
    if not _is_shown(ranks.rank, ranks.size):
        binned = replace(binned, seconds={})
    with ranks.agreed("describing what this rank did"):
        memory = written.plan.projected_memory(ranks.rank)
    host = ranks.hosts[ranks.rank]
    everything = ranks.gather(RankRecord(host, dict(written.phases), binned, memory))

    def record(everything: list[RankRecord]) -> Record:
        drawn = range(min(ranks.size, MOST_RANKS))
        choice = written.backend
        total = sum(each.raw_bytes for each in everything)
        plan, held = written.plan.to_json(ranks=drawn), contents(path, ranks.look_up)
        said = environment(ranks, path.parent, "Written")
        return Record(path, plan, (choice.name, choice.reason), total, frame, tuple(everything), held, said)

    found: Record | None = None
    with ranks.agreed("describing the file"):
        found = record(everything) if everything is not None else None
    return found


def _is_shown(rank: int, size: int) -> bool:
    """Tell whether the timeline of a rank is shown: of many ranks that of the first one, and of others evenly."""
    return rank in {size * number // min(size, LANES) for number in range(min(size, LANES))}
