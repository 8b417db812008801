"""``OwnPlaces``: places in a file that one rank alone writes. It asks nobody."""

from __future__ import annotations

import numpy as np

from parnwb.allocator import Allocator
from parnwb.backends.backend import Job, Portion, begins_anew
from parnwb.backends.encoder import STORED_BYTES, Batch
from parnwb.backends.own_part import OwnPart
from parnwb.backends.requests import Numbers
from parnwb.backends.stretch import Stretch
from parnwb.own_tally import OwnTally


class OwnPlaces:
    """Addresses from this rank's own HDF5. Independent.

    Parameters
    ----------
    job
        What is written.
    allocator
        Of the file.
    """

    def __init__(self, job: Job, allocator: Allocator) -> None:
        self._job, self._ranks, self._allocator = job, job.ranks, allocator
        self._tally = OwnTally(job.plan)
        job.progress.watch(self._tally.state)
        self._part: OwnPart | None = None
        self._heeds_signals = True
        self._written: list[Numbers] = []

    @property
    def written(self) -> dict[int, Numbers]:
        """The positions of all chunks that have a place, by number of their dataset."""
        rows = np.concatenate(self._written) if self._written else np.empty((0, 2), dtype=np.int64)
        return {int(number): rows[rows[:, 0] == number, 1] for number in np.unique(rows[:, 0])}

    def begin(self, portion: Portion) -> Stretch:
        """Give datasets the room that they need."""
        for number, growth in portion.growth.items():
            self._allocator.grow(number, growth.grid.shape)
        self._heeds_signals = not portion.in_one_piece
        plan, rank = portion.plan, self._ranks.rank
        self._part = OwnPart(self._job, self._tally, plan)
        return Stretch.own(plan, rank)

    def serve(self) -> bool:
        """Do nothing: nobody asks."""
        return False

    def attend(self) -> bool:
        """Do nothing."""
        return False

    def of(self, batch: Batch) -> Numbers:
        """Place a batch, unless a rank has failed or this one was asked to stop."""
        self._ranks.look_up()
        if self._heeds_signals and self._job.interrupts.received:
            raise begins_anew(self._job)
        with self._ranks.phases("giving addresses"):
            addresses = self._allocator.place_all(batch.requests)
        self._written.append(batch.requests[:, :2].copy())
        if self._part is not None and len(batch.requests):
            stored = int(batch.requests[:, STORED_BYTES].sum())
            self._part.advance(int(batch.requests[0, 0]), batch.raw_bytes, stored)
        return addresses

    def settle(self, portion: Portion) -> None:
        """Count all of a portion, which all ranks have written."""
        plan = portion.plan
        for dataset in plan.order.datasets:
            named = dataset not in plan.elsewhere and (plan.assigned is None or dataset in plan.assigned)
            if self._part is not None and named and dataset not in portion.growth:
                self._part.settle(dataset)

    def more(self) -> Stretch:
        """Do nothing for others: their chunks are in their files."""
        return Stretch.nothing()

    def finish(self) -> None:
        """Wait for nobody."""
