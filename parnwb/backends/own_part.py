"""``OwnPart``: tells of a portion by this rank's part of it, where nobody tells the root of the others'."""

from __future__ import annotations

from parnwb.backends.backend import Job
from parnwb.own_tally import OwnTally
from parnwb.planning.plan import WritePlan


class OwnPart:
    """Tells the job's meter of a portion. Independent.

    Parameters
    ----------
    job
        Whose meter is told, on the root.
    tally
        Of all portions.
    plan
        Of this one.
    """

    def __init__(self, job: Job, tally: OwnTally, plan: WritePlan) -> None:
        self._job, self._tally, self._plan = job, tally, plan
        own, self._everything = plan.nbytes(job.ranks.rank), plan.remaining_bytes
        self._factor = self._everything / own if own else 0.0

    def advance(self, dataset: int, raw: int, stored: int = 0) -> None:
        """Count bytes of this rank, uncompressed and as they are stored."""
        everywhere = raw * self._factor
        self._tally.guess(dataset, everywhere)
        self._job.progress.advance(round(everywhere), round(stored * self._factor))

    def settle(self, dataset: int) -> None:
        """Count a dataset's part of the portion, which all ranks have written."""
        plan = self._plan  # one that says who has what is about one dataset, and perhaps a part of it
        nbytes = plan.remaining_of(dataset) if plan.assigned is None else self._everything
        if self._tally.settle(dataset, nbytes):
            self._job.progress.tell(self._tally.done(str(self._job.target.path), dataset))
