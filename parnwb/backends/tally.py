"""``Tally``: how far each dataset is, by the chunks that have been placed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parnwb.planning.plan import WritePlan
from parnwb.progress import DatasetDone, Extent, State


class Tally:
    """Counts chunks while the root places them, earlier attempts' included. Independent; on the root.

    Parameters
    ----------
    plan
        Of all ranks.
    """

    def __init__(self, plan: WritePlan) -> None:
        self._specs = plan.layout.datasets
        self._totals = [spec.grid.size for spec in self._specs]
        done = {number: int(chunks.sum()) for number, chunks in plan.done.items()}
        self._left = [total - done.get(number, 0) for number, total in enumerate(self._totals)]
        self._stored = np.zeros(len(self._totals), dtype=np.int64)
        turns = [turn for turn in plan.order.turns if any(self._left[number] for number in turn)]
        self._milestones = turns[:-1] if plan.order.commits else []
        self._current: int | None = None
        self.reached_milestone = False

    def add(self, datasets: npt.NDArray[np.int64], stored: npt.NDArray[np.int64]) -> list[int]:
        """Count a chunk, of so many stored bytes, for each number of a dataset; return those that are complete now."""
        complete = []
        for number, count in zip(*np.unique(datasets, return_counts=True), strict=True):
            self._left[number] -= int(count)
            if not self._left[number] and self._totals[number]:  # nobody knows how long one gets that has none
                complete.append(int(number))
        np.add.at(self._stored, datasets, stored)
        if len(datasets):
            self._current = int(datasets[0])
        ahead = [turn for turn in self._milestones if any(self._left[number] for number in turn)]
        self.reached_milestone |= len(ahead) < len(self._milestones)
        self._milestones = ahead
        return complete

    def committed(self) -> None:
        """Forget the milestones that were reached: all that has been placed is safe."""
        self.reached_milestone = False

    def state(self, waiting: int) -> State:
        """Return how far all datasets are, for views.

        Parameters
        ----------
        waiting
            How many ranks have nothing left to do.
        """
        extents = (
            Extent(spec.path, (total - left) / total if total else None)
            for spec, total, left in zip(self._specs, self._totals, self._left, strict=True)
        )
        return State(tuple(extents), self._current, waiting)

    def done(self, path: str, dataset: int) -> DatasetDone:
        """Return what is told of a dataset of the file at ``path`` that is complete."""
        spec = self._specs[dataset]
        return DatasetDone(path, spec.path, spec.nbytes, int(self._stored[dataset]))
