"""What a backend is: it opens the partial file on all ranks, fills it portion by portion, and completes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from parnwb.comm import Ranks
from parnwb.commits.journal import Journal, StreamState
from parnwb.errors import Interrupted
from parnwb.hyperslab import Hyperslab
from parnwb.interrupts import ASKED_TO_STOP, Interrupts
from parnwb.layout import ChunkGrid, FileLayout
from parnwb.machine.storage import Writers
from parnwb.planning.plan import WritePlan
from parnwb.progress import Meter
from parnwb.sources import Source
from parnwb.target import Target

if TYPE_CHECKING:
    from parnwb.authoring.skeleton import Authored, Skeleton
    from parnwb.stores.skeleton import StoreSkeleton


NO_JOURNAL = "keeps no journal: run it again, which begins anew"


@dataclass(frozen=True)
class Job:
    """Everything that a rank needs to take part in writing one file, from the first byte to the last.

    Parameters
    ----------
    ranks
        Who takes part.
    target
        Final and partial path.
    layout
        The bulk datasets, as they were created.
    plan
        Of all whose extent is known; what is filled at one time is a ``Portion``.
    skeleton
        On the root; None elsewhere.
    progress
        On the root it shows views what is done, elsewhere it is silent.
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
    writers
        Which ranks write to the file (``direct``); None for all.
    threads
        How many encode on this rank (``direct``, ``virtual``).
    backend
        Name of the one that fills the file.
    """

    ranks: Ranks
    target: Target
    layout: FileLayout
    plan: WritePlan
    skeleton: Authored | None
    progress: Meter = field(default_factory=Meter)
    interrupts: Interrupts = field(default_factory=Interrupts)
    journal: Journal | None = None
    commit_interval: float = math.inf
    description: Mapping[str, Any] = field(default_factory=dict)
    manifest: bool = False
    writers: Writers | None = None
    threads: int = 1
    backend: str = "direct"

    @property
    def hdf5_skeleton(self) -> Skeleton:
        """The skeleton of an HDF5 file; on the root."""
        return cast("Skeleton", self.skeleton)

    @property
    def store_skeleton(self) -> StoreSkeleton:
        """The skeleton of a Zarr store; on the root."""
        return cast("StoreSkeleton", self.skeleton)


@dataclass(frozen=True)
class Growth:
    """Layers of chunks in a dataset that grows.

    Parameters
    ----------
    grid
        Of the whole dataset, with all rows that it has when these layers are written.
    first
        The first of the layers.
    """

    grid: ChunkGrid
    first: int

    def position(self, index: tuple[int, ...]) -> int:
        """Return the position in the whole of a chunk, by its index within the layers."""
        return self.grid.position(tuple(n + self.first * (a == self.grid.major) for a, n in enumerate(index)))

    def elements(self, slab: Hyperslab) -> Hyperslab:
        """Return the elements of the whole, by those within the layers."""
        row = self.first * self.grid.chunk[self.grid.major]
        return Hyperslab(tuple(n + row * (a == self.grid.major) for a, n in enumerate(slab.start)), slab.count)


@dataclass(frozen=True)
class Portion:
    """What all ranks write together at one time: chunks, and where their values come from.

    Parameters
    ----------
    plan
        Who writes what.
    sources
        By path; those of the datasets in which this rank has a share, at least.
    growth
        By number of a dataset that grows, where in it the layers lie that the plan is about.
    in_one_piece
        Whether a commit that is due waits until all of the portion is written, because half of it means nothing.
    movable
        Whether each rank has the sources of all: then one that has done its own helps another one.
    """

    plan: WritePlan
    sources: Mapping[str, Source]
    growth: Mapping[int, Growth] = field(default_factory=dict)
    in_one_piece: bool = False
    movable: bool = False

    def position(self, dataset: int, index: tuple[int, ...]) -> int:
        """Return the position in the whole dataset of a chunk of the plan."""
        if dataset in self.growth:
            return self.growth[dataset].position(index)
        return self.plan.layout.datasets[dataset].grid.position(index)

    def elements(self, dataset: int, slab: Hyperslab) -> Hyperslab:
        """Return the elements of the whole dataset that are a slab of the plan."""
        return self.growth[dataset].elements(slab) if dataset in self.growth else slab

    def source(self, dataset: int) -> Source | None:
        """Return the source of one dataset of the layout; None where this rank has none and needs none."""
        return self.sources.get(self.plan.layout.datasets[dataset].path)


class Disk(Protocol):
    """Where this rank's bytes go. Independent."""

    def sync(self) -> None:
        """Make safe what this rank has written."""

    def close(self) -> None:
        """Let go of it."""


class PartialFile(Protocol):
    """The partial file, open on all ranks. Portions are filled one after another; no chunk is in two of them."""

    def fill(self, portion: Portion) -> None:
        """Write the chunks of a portion. Collective."""

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Make safe what was written, and let others read it in the partial file. Collective.

        Parameters
        ----------
        streams
            On the root, how far each stream has come, and the rows that are in no chunk yet.
        """

    def complete(self, streams: Mapping[int, StreamState]) -> None:
        """Write all that is not bulk data, and make the file safe on disk. Collective; once, at the end."""

    def close(self) -> None:
        """Let go of what is open, whether or not the file is complete. Collective; a second call does nothing."""


class Backend(Protocol):
    """Moves buffers into the file."""

    name: str

    def open(self, job: Job) -> PartialFile:
        """Open the partial file, which exists, for filling. Collective."""


def begins_anew(job: Job) -> Interrupted:
    """Return the error of a job that was asked to stop, where no journal holds what it has done. Independent."""
    return Interrupted(ASKED_TO_STOP, where=str(job.target.partial), remedy=f"Backend '{job.backend}' {NO_JOURNAL}")
