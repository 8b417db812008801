"""What is told of a job while it runs: small values, which views show and the log keeps."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

MB = 1e6
DONE, FAILED, STOPPED = "done", "failed", "stopped"


@dataclass(frozen=True)
class Extent:
    """How far one dataset is.

    Parameters
    ----------
    path
        Of the dataset.
    share
        What is done of it, from 0 to 1; None where nobody knows how long it gets.
    """

    path: str
    share: float | None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.share is not None and self.share >= 1


@dataclass(frozen=True)
class State:
    """How far all datasets are, and who has nothing left to do.

    Parameters
    ----------
    extents
        In the order of the file.
    current
        Number of the dataset that was last added to; None where nobody knows.
    waiting
        Ranks that have done their part and wait for the last; None where nobody knows.
    """

    extents: tuple[Extent, ...] = ()
    current: int | None = None
    waiting: int | None = None

    @property
    def complete(self) -> int:
        """How many datasets are complete."""
        return sum(extent.is_complete for extent in self.extents)

    @property
    def known(self) -> int:
        """How many datasets have a length that is known."""
        return sum(extent.share is not None for extent in self.extents)

    @property
    def under_way(self) -> tuple[Extent, ...]:
        """The datasets that are begun and not complete."""
        return tuple(e for e in self.extents if e.share is not None and 0 < e.share < 1)

    def __str__(self) -> str:
        words = []
        if self.current is not None:
            extent = self.extents[self.current]
            share = "" if extent.share is None else f" {int(100 * extent.share + 1e-9)} %"
            words += [f"{extent.path}{share}", f"{self.complete} of {self.known} datasets complete"]
        if self.waiting:
            words.append(f"{self.waiting} rank(s) wait")
        return ", ".join(words)


@dataclass(frozen=True)
class Event:
    """Something that happened to one file."""

    name: ClassVar[str] = ""
    level: ClassVar[int] = logging.INFO
    path: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return {"event": self.name, **asdict(self)}


@dataclass(frozen=True)
class Started(Event):
    """A task begins.

    Parameters
    ----------
    task
        ``writing``, ``appending``, ``checking`` (what an earlier job has committed, or stored bytes) or ``verifying``.
    label
        The same in words for people, with the file's name.
    total_bytes
        Uncompressed bytes that are to come; 0 where nobody knows.
    ranks, hosts
        How many take part, and where.
    """

    name: ClassVar[str] = "start"
    task: str
    label: str
    total_bytes: int
    ranks: int = 1
    hosts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.label}: {self.total_bytes / MB:.0f} MB on {self.ranks} rank(s)"


@dataclass(frozen=True)
class Planned(Event):
    """How a file is to be written.

    Parameters
    ----------
    backend, reason
        Which fills it, and why.
    decomposition
        By which ranks share the work.
    ranks
        How many.
    remaining_bytes
        That no earlier job has written.
    datasets
        Of each its ``path``, ``shape``, ``dtype``, ``chunks``, ``filters`` and ``bytes``.
    """

    name: ClassVar[str] = "plan"
    backend: str
    reason: str
    decomposition: str
    ranks: int
    remaining_bytes: int
    datasets: tuple[Mapping[str, Any], ...]

    def __str__(self) -> str:
        count = len(self.datasets)
        return f"plan: {count} dataset(s) on {self.ranks} rank(s), {self.decomposition}; {self.backend}: {self.reason}"


@dataclass(frozen=True)
class Progressed(Event):
    """How far a task is.

    Parameters
    ----------
    task, label, total_bytes
        As they were started.
    raw_bytes, stored_bytes
        Done in this task, uncompressed and as they are in the file; stored ones are 0 where nobody counts them.
    seconds
        Since the task began.
    recent_rate
        Uncompressed bytes per second in the last seconds.
    state
        How far each dataset is.
    """

    name: ClassVar[str] = "progress"
    level: ClassVar[int] = logging.DEBUG
    task: str
    label: str
    total_bytes: int
    raw_bytes: int
    stored_bytes: int
    seconds: float
    recent_rate: float
    state: State

    @property
    def rate(self) -> float:
        """Uncompressed bytes per second since the task began."""
        return self.raw_bytes / max(self.seconds, 1e-9)

    @property
    def stored_rate(self) -> float:
        """Bytes per second as they are stored, since the task began."""
        return self.stored_bytes / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """How long it will take still; None where nobody knows."""
        left = self.total_bytes - self.raw_bytes
        return left / self.rate if left >= 0 and self.raw_bytes else None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's types; of the datasets those that are under way."""
        state = self.state
        return {
            "event": self.name,
            "path": self.path,
            "task": self.task,
            "total_bytes": self.total_bytes,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "seconds": round(self.seconds, 3),
            "raw_mbs": round(self.rate / MB, 3),
            "recent_mbs": round(self.recent_rate / MB, 3),
            "stored_mbs": round(self.stored_rate / MB, 3),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left, 1),
            "ranks_waiting": state.waiting,
            "datasets": state.known,
            "datasets_complete": state.complete,
            "under_way": [{"path": extent.path, "share": round(extent.share or 0, 4)} for extent in state.under_way],
        }

    def __str__(self) -> str:
        share = 100 * self.raw_bytes / self.total_bytes if self.total_bytes else 100.0
        ratio = f", ratio {self.raw_bytes / self.stored_bytes:.2f}" if self.stored_bytes else ""
        eta = f", {self.seconds_left:.0f} s left" if self.seconds_left else ""
        now = f"; {self.state}" if str(self.state) else ""
        done = f"{share:.0f} % of {self.total_bytes / MB:.0f} MB"
        if self.raw_bytes > self.total_bytes:  # data whose length was not known
            done = f"{self.raw_bytes / MB:.0f} MB"
        return f"{self.label}: {done}, {self.rate / MB:.0f} MB/s{ratio}{eta}{now}"


@dataclass(frozen=True)
class DatasetDone(Event):
    """All chunks of a dataset have their places in the file.

    Parameters
    ----------
    dataset
        Its path.
    raw_bytes, stored_bytes
        Of all of it, uncompressed; and as this job has stored it, 0 where nobody counts.
    """

    name: ClassVar[str] = "dataset"
    dataset: str
    raw_bytes: int
    stored_bytes: int

    def __str__(self) -> str:
        stored = f" in {self.stored_bytes / MB:.1f} MB" if self.stored_bytes else ""
        return f"{self.dataset} is complete: {self.raw_bytes / MB:.1f} MB{stored}"


@dataclass(frozen=True)
class Committed(Event):
    """What is written so far survives any end of the job.

    Parameters
    ----------
    number
        Of the commit, in this job.
    chunks
        That it is about.
    end
        Bytes of the file up to which space is taken.
    """

    name: ClassVar[str] = "commit"
    number: int
    chunks: int
    end: int

    def __str__(self) -> str:
        return f"commit {self.number}: {self.chunks} chunks, {self.end / MB:.1f} MB of the file"


@dataclass(frozen=True)
class Ended(Event):
    """A task ends.

    Parameters
    ----------
    task
        As it was started.
    status
        ``done``, ``failed`` or ``stopped`` (by a signal, with all committed).
    raw_bytes, stored_bytes, seconds
        Of the task.
    error
        In words; empty where there was none.
    """

    name: ClassVar[str] = "end"
    task: str
    status: str
    raw_bytes: int
    stored_bytes: int
    seconds: float
    error: str = ""

    def __str__(self) -> str:
        why = f": {self.error}" if self.error else ""
        return f"{self.task} {self.status}, {self.raw_bytes / MB:.1f} MB in {self.seconds:.1f} s{why}"


@dataclass(frozen=True)
class Published(Event):
    """A file is complete and has its name.

    Parameters
    ----------
    file_bytes
        Its size.
    """

    name: ClassVar[str] = "file"
    file_bytes: int

    def __str__(self) -> str:
        return f"{self.path} is complete, {self.file_bytes / MB:.1f} MB"
