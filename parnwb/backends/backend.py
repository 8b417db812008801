"""What a backend is: it fills a skeleton's bulk datasets by a plan, and makes the partial file complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from parnwb.comm import Ranks
from parnwb.plan import WritePlan
from parnwb.progress import Progress
from parnwb.skeleton import Skeleton
from parnwb.sources import Source
from parnwb.storage import Target


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
    """

    ranks: Ranks
    plan: WritePlan
    sources: Mapping[str, Source]
    target: Target
    skeleton: Skeleton | None
    progress: Progress

    def source(self, dataset: int) -> Source | None:
        """Return the source of one dataset of the layout; None where this rank has none and needs none."""
        return self.sources.get(self.plan.layout.datasets[dataset].path)


class Backend(Protocol):
    """Moves buffers into the file."""

    name: str

    def fill(self, work: Fill) -> None:
        """Write all bulk data and all else into the partial file, and make it safe on disk. Collective."""
