"""Ranks help each other, and every buffer is written once, whoever is quick, slow or late with what."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.backends.balance import AHEAD, Balance
from parnwb.backends.stretch import Stretch

RUNS_AHEAD = 2
"""Buffers that a rank's thread has encoded beside the one whose addresses are asked for: waiting to be taken, and
waiting for room."""


class Worker:
    """A rank as the root sees it: its thread begins a buffer as soon as there is room, and looks at the end then."""

    def __init__(self, rank: int, buffers: int, balance: Balance) -> None:
        self.rank, self.balance = rank, balance
        self.stretch, self.over = Stretch(rank, 0, buffers), False
        self.done: list[tuple[int, int]] = []
        self.following = 0
        self.begun: list[int] = []
        self.told: tuple[Stretch, int] | None = None  # a reply that is under way

    def begin(self) -> None:
        """Encode one more buffer, if there is room."""
        if len(self.begun) <= RUNS_AHEAD and self.following < self.stretch.high:
            self.begun.append(self.following)
            self.following += 1

    def act(self) -> None:
        """Read the reply to the former question, or ask."""
        if self.over:
            return
        if self.told is not None:
            stretch, high = self.told
            stretch.end_at(high)
            self.done.append((stretch.owner, self.begun.pop(0)))
            self.told = None
        elif self.begun:
            self.told = self.stretch, self.balance.has_asked(self.rank, self.begun[0], self.stretch.high)
        elif self.following >= self.stretch.high:
            self.stretch = self.balance.help_for(self.rank)
            self.following = self.stretch.low
            self.over = self.stretch.low == self.stretch.high
        else:
            self.begin()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=300)
def test_every_buffer_is_written_once(buffers, seed):
    random = np.random.default_rng(seed)
    balance = Balance(len(buffers))
    workers = [Worker(rank, count, balance) for rank, count in enumerate(buffers)]
    speeds = random.random(len(workers)) ** 3 + 0.01
    while not all(worker.over for worker in workers):
        worker = workers[random.choice(len(workers), p=speeds / speeds.sum())]
        worker.begin() if random.random() < 0.6 else worker.act()
    written = Counter(one for worker in workers for one in worker.done)
    assert written == Counter((rank, number) for rank, count in enumerate(buffers) for number in range(count))


def test_half_of_what_can_be_spared_is_taken_until_little_is_left():
    balance = Balance(2)
    balance.has_asked(1, 0, 105)
    taken = []
    while (stretch := balance.help_for(0)).low < stretch.high:
        assert stretch.owner == 1
        taken.append(stretch.high - stretch.low)
    assert taken == [50, 25, 13, 6, 3, 2, 1]
    assert balance.end_of(1) == 1 + AHEAD
    assert balance.has_asked(1, 1, 105) == 1 + AHEAD  # whatever the rank still believes


def test_nothing_is_taken_from_a_rank_that_has_not_asked():
    balance = Balance(3)
    stretch = balance.help_for(1)
    assert stretch.low == stretch.high
