"""What a backend is: it opens the partial file on all ranks, fills it portion by portion, and completes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from parnwb.comm import Ranks
from parnwb.commits.journal import Journal
from parnwb.interrupts import Interrupts
from parnwb.layout import FileLayout
from parnwb.plan import WritePlan
from parnwb.progress import Progress, Silent
from parnwb.skeleton import Skeleton
from parnwb.sources import Source
from parnwb.target import Target


@dataclass(frozen=True)
class Job:
    """Everything that a rank needs to take part in writing one file, from the first byte to the last.

    Parameters
    ----------
    ranks
        Who takes part.
    target
        Final and partial path.
    plan
        Of the whole file; what is filled at one time is a ``Portion`` of it.
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
    target: Target
    plan: WritePlan
    skeleton: Skeleton | None
    progress: Progress = field(default_factory=Silent)
    interrupts: Interrupts = field(default_factory=Interrupts)
    journal: Journal | None = None
    commit_interval: float = math.inf
    description: Mapping[str, Any] = field(default_factory=dict)
    manifest: bool = False

    @property
    def layout(self) -> FileLayout:
        """The bulk datasets."""
        return self.plan.layout


@dataclass(frozen=True)
class Portion:
    """What all ranks write together at one time: chunks, and where their values come from.

    Parameters
    ----------
    plan
        Who writes what.
    sources
        By path; those of the datasets in which this rank has a share, at least.
    """

    plan: WritePlan
    sources: Mapping[str, Source]

    def source(self, dataset: int) -> Source | None:
        """Return the source of one dataset of the layout; None where this rank has none and needs none."""
        return self.sources.get(self.plan.layout.datasets[dataset].path)


class PartialFile(Protocol):
    """The partial file, open on all ranks. Portions are filled one after another; no chunk is in two of them."""

    def fill(self, portion: Portion) -> None:
        """Write the chunks of a portion. Collective."""

    def complete(self) -> None:
        """Write all that is not bulk data, and make the file safe on disk. Collective; once, at the end."""

    def close(self) -> None:
        """Let go of what is open, whether or not the file is complete. Independent; a second call does nothing."""


class Backend(Protocol):
    """Moves buffers into the file."""

    name: str

    def open(self, job: Job) -> PartialFile:
        """Open the partial file, which exists, for filling. Collective."""
