"""``OwnTally``: how far each dataset is, guessed from what one rank has done of it."""

from __future__ import annotations

from parnwb.planning.plan import WritePlan
from parnwb.progress import DatasetDone, Extent, State

# How far a dataset can be at most by a guess.
ALMOST = 0.99


class OwnTally:
    """Takes one rank's bytes for those of all, where nobody tells the root of the others'. Independent.

    Parameters
    ----------
    plan
        Of all ranks.
    """

    def __init__(self, plan: WritePlan) -> None:
        self._specs = plan.layout.datasets
        self._totals = [plan.remaining_of(number) for number in range(len(self._specs))]
        self._settled, self._guessed = [0] * len(self._specs), [0.0] * len(self._specs)
        self._current: int | None = None

    def guess(self, dataset: int, nbytes: float) -> None:
        """Count bytes that all ranks may have written by now."""
        self._guessed[dataset] += nbytes
        self._current = dataset

    def settle(self, dataset: int, nbytes: int) -> bool:
        """Count bytes that all ranks have written, instead of guesses; tell whether the dataset is complete now."""
        self._guessed[dataset] = 0.0
        self._settled[dataset] += nbytes
        self._current = dataset
        return self._settled[dataset] == self._totals[dataset] > 0

    def state(self) -> State:
        """Return how far all datasets are, for views."""
        return State(tuple(map(self._extent, range(len(self._specs)))), self._current)

    def _extent(self, dataset: int) -> Extent:
        path, total, settled = self._specs[dataset].path, self._totals[dataset], self._settled[dataset]
        if not total:  # all of it was there, or nobody knows how long it gets
            return Extent(path, 1.0 if self._specs[dataset].nbytes else None)
        if settled >= total:
            return Extent(path, 1.0)
        return Extent(path, min((settled + self._guessed[dataset]) / total, ALMOST))

    def done(self, path: str, dataset: int) -> DatasetDone:
        """Return what is told of a dataset of the file at ``path`` that is complete."""
        return DatasetDone(path, self._specs[dataset].path, self._specs[dataset].nbytes, 0)
