"""How ranks are divided into teams, so that all sessions together end early. Plain arithmetic."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parnwb import estimate

STEPS = 60
STEP = 1.05


@dataclass(frozen=True)
class Arrangement:
    """Teams, and the order in which they take sessions.

    Team ``j`` begins with the session ``order[j]``; whoever has finished takes the next that nobody has.

    Parameters
    ----------
    teams
        Ranks of each team, the largest first.
    order
        Numbers of the sessions, the largest first.
    seconds
        After which all may have ended.
    """

    teams: tuple[int, ...]
    order: tuple[int, ...]
    seconds: float

    def team_of(self, rank: int) -> int:
        """Return the number of the team of a rank, which are given out in their order."""
        for number, size in enumerate(self.teams):
            rank -= size
            if rank < 0:
                return number
        return len(self.teams) - 1


def arrange(sizes: Sequence[int], ranks: int, rate: float = estimate.RATE) -> Arrangement:
    """Return the division of ranks that ends soonest, as far as sizes tell. Independent.

    For a time that everything might take, each session gets the fewest ranks that would finish it by then; ranks that
    are left work alone. Tried are some such times, from the least that is possible upwards.

    Parameters
    ----------
    sizes
        Bytes of each session.
    ranks
        How many there are.
    rate
        Bytes that one rank does in a second.
    """
    order = tuple(sorted(range(len(sizes)), key=lambda number: (-sizes[number], number)))
    if not order:
        return Arrangement((ranks,), order, 0.0)
    ordered = [sizes[number] for number in order]
    tried = [Arrangement(teams, order, _makespan(ordered, teams, rate)) for teams in _divisions(ordered, ranks, rate)]
    return min(tried, key=lambda arrangement: arrangement.seconds)


def _divisions(sizes: Sequence[int], ranks: int, rate: float) -> Iterator[tuple[int, ...]]:
    yield (ranks,)
    least = max(sum(sizes) / (ranks * rate), estimate.seconds(sizes[0], ranks, rate))
    for step in range(STEPS):
        if (teams := _for_time(sizes, ranks, least * STEP**step, rate)) is not None:
            yield teams
    alone = min(ranks, len(sizes))
    share, more = divmod(ranks, alone)
    yield tuple(share + (number < more) for number in range(alone))


def _for_time(sizes: Sequence[int], ranks: int, seconds: float, rate: float) -> tuple[int, ...] | None:
    """Return teams so that each session could end in time; None where there are too few ranks."""
    free = seconds - estimate.seconds(0, 1, rate)
    if free <= 0:
        return None
    teams: list[int] = []
    for size in sizes:
        wanted = max(1, -int(-size // (rate * free)))
        if sum(teams) + wanted > ranks:
            break  # it waits for a team that has finished
        teams.append(wanted)
    if not teams:
        return None
    left = ranks - sum(teams)
    # Ranks that are left make the largest sessions' teams larger, where all sessions have begun.
    for number in range(left):
        teams[number % len(teams)] += 1
    return tuple(sorted(teams, reverse=True))


def _makespan(sizes: Sequence[int], teams: Sequence[int], rate: float) -> float:
    """Return when the last session ends, if teams take the largest that is left whenever they are free."""
    free = [(estimate.seconds(size, team, rate), team) for size, team in zip(sizes, teams, strict=False)]
    heapq.heapify(free)
    for size in sizes[len(teams) :]:
        when, team = heapq.heappop(free)
        heapq.heappush(free, (when + estimate.seconds(size, team, rate), team))
    return max(when for when, _ in free)
