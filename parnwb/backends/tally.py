"""``Tally``: how far each dataset is, by the chunks that have been placed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parnwb.plan import WritePlan


class Tally:
    """Counts chunks while the root places them, earlier attempts' included. Independent; on the root.

    Parameters
    ----------
    plan
        Of all ranks.
    """

    def __init__(self, plan: WritePlan) -> None:
        self._paths = [spec.path for spec in plan.layout]
        self._totals = [spec.grid.size for spec in plan.layout]
        done = {number: int(chunks.sum()) for number, chunks in plan.done.items()}
        self._left = [total - done.get(number, 0) for number, total in enumerate(self._totals)]
        turns = [turn for turn in plan.order.turns if any(self._left[number] for number in turn)]
        self._milestones = turns[:-1] if plan.order.commits else []
        self.reached_milestone = False

    def add(self, datasets: npt.NDArray[np.int64]) -> None:
        """Count one chunk for each number of a dataset."""
        for number, count in zip(*np.unique(datasets, return_counts=True), strict=True):
            self._left[number] -= int(count)
        ahead = [turn for turn in self._milestones if any(self._left[number] for number in turn)]
        self.reached_milestone |= len(ahead) < len(self._milestones)
        self._milestones = ahead

    def committed(self) -> None:
        """Forget the milestones that were reached: all that has been placed is safe."""
        self.reached_milestone = False

    def tell(self, dataset: int) -> str:
        """Return how far a dataset is, and how many are complete, in words."""
        total = self._totals[dataset]
        known = [left for left, chunks in zip(self._left, self._totals, strict=True) if chunks]
        share = f" {100 * (total - self._left[dataset]) // total} %" if total else ""  # nobody knows how long it gets
        complete = sum(not left for left in known)
        return f"{self._paths[dataset]}{share}, {complete} of {len(known)} datasets complete"
