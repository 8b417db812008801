"""``SignsOfLife``: small messages by which ranks that wait know that the ranks they wait for are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from parnwb.comm.watchdog import Watchdog

# A rank that is stuck itself knows where, and speaks first; then the root, which hears all; then the others.
PATIENCE, MORE_PATIENCE = 1.25, 4.0
SPEAKERS_APART = 2.0
SIGNS_IN_LIMIT = 8


@dataclass(frozen=True)
class Silence:
    """A rank that has not been heard of.

    Parameters
    ----------
    rank
        Which.
    seconds
        For how long.
    said
        What it was doing when it was last heard.
    """

    rank: int
    seconds: float
    said: str


class SignsOfLife:
    """Who was heard of when. The root listens to all and all listen to the root; on the main thread only.

    Silence is counted in ticks in which this rank has listened: what arrived while it was busy is heard first.

    Parameters
    ----------
    rank, size
        Of this process, and how many there are.
    watchdog
        Gives the time, the limit, and what this rank is doing.
    post
        Sends a text to a rank without waiting.
    collect
        Returns the ``(rank, text)`` that have arrived.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        watchdog: Watchdog,
        post: Callable[[int, str], None],
        collect: Callable[[], Iterable[tuple[int, str]]],
    ) -> None:
        self._watchdog, self._post, self._collect = watchdog, post, collect
        self._watched = range(1, size) if rank == 0 else range(1)
        later = SPEAKERS_APART * min(max(rank - 1, 0), 5)
        self._patience = PATIENCE * watchdog.limit + MORE_PATIENCE + later
        self.muted = False  # while it is counted which messages are still under way
        self._pace = watchdog.limit / SIGNS_IN_LIMIT
        self._looked = self._listened = self._posted = 0
        self._heard = dict.fromkeys(self._watched, 0)
        self._said = dict.fromkeys(self._watched, "nothing yet")

    @property
    def due(self) -> bool:
        """Whether a tick has passed since the last exchange; cheap."""
        return self._watchdog.ticks != self._looked

    def heard(self, rank: int) -> None:
        """Count any message of a rank as a sign of life."""
        if rank in self._heard:
            self._heard[rank] = self._listened

    def exchange(self) -> Silence | None:
        """Listen, tell others what this rank is doing, and return a rank that is silent for too long."""
        self._looked = self._watchdog.ticks
        self._listened += 1
        if not self.muted:
            self._listen_and_tell()
        longest = min(self._watched, key=lambda rank: self._heard[rank])
        seconds = (self._listened - self._heard[longest]) * self._watchdog.tick
        return Silence(longest, seconds, self._said[longest]) if seconds > self._patience else None

    def _listen_and_tell(self) -> None:
        for rank, text in self._collect():
            self.heard(rank)
            self._said[rank] = text or "between two steps"
        if (self._looked - self._posted) * self._watchdog.tick >= self._pace:
            self._posted = self._looked
            for rank in self._watched:
                self._post(rank, self._watchdog.doing())
