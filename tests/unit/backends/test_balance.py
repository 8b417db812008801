"""Ranks help each other, and every part is written once, whoever is quick, slow or late with what; and soon."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.backends.balance import Balance
from parnwb.backends.stretch import PARTS, Stretch

RUNS_AHEAD = 2
"""Items that a rank's thread has encoded beside the one whose addresses are asked for: waiting to be taken, and
waiting for room."""


class Worker:
    """A rank as the root sees it: its thread begins what it may as soon as there is room."""

    def __init__(self, rank: int, buffers: int, balance: Balance) -> None:
        self.rank, self.balance = rank, balance
        high = PARTS * buffers
        self.stretch, self.over = Stretch(rank, 0, high, high).shared(), False
        self.done: list[tuple[int, int]] = []
        self.following = 0
        self.begun: list[range] = []
        self.told: Stretch | None = None  # a reply that is under way

    def begin(self) -> None:
        """Encode a little more, if there is room."""
        count = self.stretch.count_at(self.following)
        if len(self.begun) <= RUNS_AHEAD and count:
            self.begun.append(range(self.following, self.following + count))
            self.following += count

    def act(self) -> None:
        """Read the reply to the former question, or ask."""
        if self.over:
            return
        if self.told is not None:
            self.stretch.go_on(self.told)
            self.done += [(self.stretch.owner, part) for part in self.begun.pop(0)]
            self.told = None
        elif self.begun:
            self.told = self.balance.has_asked(self.rank, self.begun[0].stop, self.stretch.high)
        elif self.following >= self.stretch.high:
            self.stretch = self.balance.help_for(self.rank)
            self.following = self.stretch.low
            self.over = self.stretch.low == self.stretch.high
        else:
            self.begin()


@given(st.lists(st.integers(0, 16), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=250)
def test_every_part_is_written_once(buffers, seed):
    random = np.random.default_rng(seed)
    balance = Balance(len(buffers))
    workers = [Worker(rank, count, balance) for rank, count in enumerate(buffers)]
    speeds = random.random(len(workers)) ** 3 + 0.01
    while not all(worker.over for worker in workers):
        worker = workers[random.choice(len(workers), p=speeds / speeds.sum())]
        worker.begin() if random.random() < 0.6 else worker.act()
    written = Counter(one for worker in workers for one in worker.done)
    assert written == Counter((rank, part) for rank, count in enumerate(buffers) for part in range(PARTS * count))


class Run:
    """A run in simulated time: ranks encode, ask, read replies and help, and nothing else takes time.

    Parameters
    ----------
    seconds
        That each rank takes for a buffer.
    buffers
        Of each rank.
    latency
        Seconds from a question to its reply.
    """

    def __init__(self, seconds: list[float], buffers: int, latency: float) -> None:
        self.seconds, self.latency = seconds, latency
        self.balance = Balance(len(seconds))
        high = PARTS * buffers
        self.stretches = [Stretch(rank, 0, high, high).shared() for rank in range(len(seconds))]
        self.following = [0] * len(seconds)
        self.busy, self.asking = [False] * len(seconds), [0] * len(seconds)
        self.items, self.waited = [0] * len(seconds), 0.0
        self.now, self.end, self.events = 0.0, 0.0, []
        for rank in range(len(seconds)):
            self.begin(rank)
        while self.events:
            self.now, _, happens = heapq.heappop(self.events)
            happens()
        self.over_ideal = self.end / (buffers * len(seconds) / sum(1 / one for one in seconds))

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + seconds, len(self.events) + 1000 * sum(self.items), happens))

    def begin(self, rank: int) -> None:
        if self.busy[rank]:
            return
        count = self.stretches[rank].count_at(self.following[rank])
        if count:
            self.busy[rank] = True
            self.items[rank] += 1
            self.following[rank] += count
            behind = self.following[rank]
            self.after(self.seconds[rank] * count / PARTS, lambda: self.encoded(rank, behind))
        elif not self.asking[rank]:
            self.asking[rank] += 1
            self.after(self.latency / 2, lambda: self.asks_for_work(rank))

    def encoded(self, rank: int, behind: int) -> None:
        self.busy[rank], self.end = False, self.now
        self.asking[rank] += 1
        self.after(self.latency / 2, lambda: self.asks(rank, behind))
        self.begin(rank)

    def asks(self, rank: int, behind: int) -> None:
        stretch = self.stretches[rank]
        reply = self.balance.has_asked(rank, behind, stretch.high)
        self.after(self.latency / 2, lambda: self.goes_on(rank, stretch, reply))

    def goes_on(self, rank: int, stretch: Stretch, reply: Stretch) -> None:
        self.asking[rank] -= 1
        stretch.go_on(reply)
        self.begin(rank)

    def asks_for_work(self, rank: int) -> None:
        stretch = self.balance.help_for(rank)
        self.after(self.latency / 2, lambda: self.helps(rank, stretch))

    def helps(self, rank: int, stretch: Stretch) -> None:
        self.asking[rank] -= 1
        self.stretches[rank], self.following[rank] = stretch, stretch.low
        if stretch.low < stretch.high:
            self.begin(rank)


def nearly_alike(ranks: int, seed: int) -> list[float]:
    """Return what each rank takes for a buffer: about a second."""
    return np.random.default_rng(seed).uniform(0.97, 1.03, ranks).tolist()


@pytest.mark.parametrize("ranks", [2, 3, 4, 8, 16, 64])
@pytest.mark.parametrize(("buffers", "most"), [(8, 1.15), (16, 1.1), (32, 1.05), (107, 1.02)])
def test_a_rank_at_half_speed_holds_the_others_up_by_little(ranks, buffers, most):
    for seed in range(10):
        seconds = nearly_alike(ranks, seed)
        seconds[seed % ranks] *= 2
        assert Run(seconds, buffers, latency=0.005).over_ideal <= most


@pytest.mark.parametrize("ranks", [2, 16])
def test_ranks_of_one_speed_take_whole_buffers(ranks):
    for seed in range(10):
        run = Run(nearly_alike(ranks, seed), 16, latency=0.005)
        assert run.items == [16] * ranks
        assert run.over_ideal <= 1.05


def test_half_of_what_can_be_spared_is_taken_until_little_is_left():
    balance = Balance(2)
    kept = balance.has_asked(1, PARTS, 200).limit
    taken = []
    while (stretch := balance.help_for(0)).low < stretch.high:
        assert stretch.owner == 1
        taken.append(stretch.high - stretch.low)
    assert taken == [92, 46, 23, 12, 6, 3, 1, 1]
    assert balance.end_of(1) == kept
    rest = balance.has_asked(1, 2 * PARTS, 200)  # whatever the rank still believes
    assert (rest.high, rest.limit) == (kept, kept)


def test_many_who_ask_at_once_get_a_little_each():
    balance = Balance(9)
    for rank in range(8):
        balance.has_asked(rank, 400, 400)
    balance.has_asked(8, 200, 400)
    helped = [balance.help_for(rank) for rank in range(8)]
    assert [stretch.high - stretch.low for stretch in helped[:7]] == [22] * 7


def test_nothing_is_taken_from_a_rank_that_has_not_asked():
    balance = Balance(3)
    stretch = balance.help_for(1)
    assert stretch.low == stretch.high


def test_nothing_is_taken_that_may_have_been_begun():
    balance = Balance(2)
    limit = balance.has_asked(1, PARTS, 100).limit
    while (stretch := balance.help_for(0)).low < stretch.high:
        assert stretch.low >= limit
