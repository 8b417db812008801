"""What a backend is: it fills a skeleton's bulk datasets by a plan, and makes the partial file complete."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from parnwb.comm import Ranks
from parnwb.commits.journal import Journal
from parnwb.interrupts import Interrupts
from parnwb.plan import WritePlan
from parnwb.progress import Progress
from parnwb.skeleton import Skeleton
from parnwb.sources import Source
from parnwb.target import Target


@dataclass(frozen=True)
class Fill:
    """Everything that a rank needs to take part in filling one file.

    Parameters
    ----------
    ranks
        Who takes part.
    plan
        Who writes what.
    sources
        By path; those of the datasets in which this rank has a share, at least.
    target
        Final and partial path.
    skeleton
        On the root; None elsewhere.
    progress
        On the root it speaks, elsewhere it is silent.
    interrupts
        Signals that ask this rank to stop.
    journal
        On the root, where commits are recorded; None for a backend that has none, and elsewhere.
    commit_interval
        Seconds between commits.
    description
        For the journal's first frame of this attempt.
    manifest
        Whether to leave checksums beside the file.
    """

    ranks: Ranks
    plan: WritePlan
    sources: Mapping[str, Source]
    target: Target
    skeleton: Skeleton | None
    progress: Progress
    interrupts: Interrupts = field(default_factory=Interrupts)
    journal: Journal | None = None
    commit_interval: float = math.inf
    description: Mapping[str, Any] = field(default_factory=dict)
    manifest: bool = False

    def source(self, dataset: int) -> Source | None:
        """Return the source of one dataset of the layout; None where this rank has none and needs none."""
        return self.sources.get(self.plan.layout.datasets[dataset].path)


class Backend(Protocol):
    """Moves buffers into the file."""

    name: str

    def fill(self, work: Fill) -> None:
        """Write all bulk data and all else into the partial file, and make it safe on disk. Collective."""
