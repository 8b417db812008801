"""Seconds, bytes and memory in so many bins, however long it takes."""

from __future__ import annotations

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

import numpy as np
import pytest

from parnwb.timeline import BINS, FIRST_WIDTH, Timeline, anonymous_bytes


def test_seconds_are_in_the_bins_in_which_they_passed() -> None:
    timeline = Timeline(100.0, lambda: 0)
    timeline.add("reading", 100.005, 100.025)
    binned = timeline.binned()
    assert binned.width == FIRST_WIDTH
    assert binned.seconds["reading"][:4] == pytest.approx([0.005, 0.01, 0.005, 0])


def test_a_long_time_takes_no_more_bins_and_loses_nothing() -> None:
    timeline = Timeline(0.0, lambda: 0)
    random = np.random.default_rng(1)
    now, expected = 0.0, 0.0
    for length in random.exponential(3.0, 3000):
        if random.random() < 0.5:
            timeline.add("encoding", now, now + length)
            expected += length
        now += length
        timeline.count(now, 10, 3)
    binned = timeline.binned()
    assert all(len(row) == BINS for row in (*binned.seconds.values(), binned.raw, binned.stored, binned.memory))
    assert binned.seconds["encoding"].sum() == pytest.approx(expected)
    assert binned.seconds["encoding"].max() <= binned.width * (1 + 1e-9)
    assert binned.raw.sum() == pytest.approx(30_000) and binned.stored.sum() == pytest.approx(9000)
    assert BINS / 2 * binned.width <= now <= BINS * binned.width


def test_bytes_count_for_the_time_since_the_last_ones() -> None:
    timeline = Timeline(0.0, lambda: 0)
    timeline.count(0.02, 0, 0)
    timeline.count(0.06, 400, 100)
    assert timeline.binned().raw[:7] == pytest.approx([0, 0, 100, 100, 100, 100, 0])
    timeline.count(0.06, 5, 1)  # at the same moment
    assert timeline.binned().raw.sum() == pytest.approx(405)


def test_memory_is_looked_at_once_in_a_bin_and_its_most_stays() -> None:
    looks = iter([5, 9, 2, *[1] * 2000])
    timeline = Timeline(0.0, lambda: next(looks))
    for now in (0.001, 0.002, 0.011, 0.021):
        timeline.add("a", now, now)
    assert timeline.binned().memory[:4].tolist() == [5, 9, 2, 0]
    timeline.add("a", 0.03, 1000 * FIRST_WIDTH * BINS)
    assert timeline.binned().memory[0] == 9


def test_others_see_it_in_their_own_time() -> None:
    timeline = Timeline(0.0, lambda: 7)
    timeline.add("a", 0.0, 1.0)
    timeline.count(1.0, 100, 50)
    seen = timeline.binned().within(4.0, 2.0, 8)  # half a second each; this rank began two seconds late
    assert seen.width == 0.5
    assert seen.seconds["a"] == pytest.approx([0, 0, 0, 0, 0.5, 0.5, 0, 0])
    assert seen.raw == pytest.approx([0, 0, 0, 0, 50, 50, 0, 0])
    assert seen.memory.max() == 7 and seen.memory[:4].sum() == 0


def test_memory_that_is_taken_is_seen() -> None:
    before = anonymous_bytes()
    # Of the system itself: what malloc gives may be memory that an earlier test has taken and given back to it.
    with mmap(-1, 50_000_000, flags=MAP_PRIVATE | MAP_ANONYMOUS) as taken:
        taken.write(b"x" * len(taken))
        assert anonymous_bytes() - before > 40_000_000
