"""Ranks are divided so that all sessions end together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parnwb import estimate
from parnwb.campaign.teams import arrange

MB = 10**6
SIZES = st.lists(st.integers(0, 10**12), min_size=1, max_size=40)


@given(SIZES, st.integers(1, 200))
def test_every_rank_has_a_team_and_every_session_a_turn(sizes: list[int], ranks: int) -> None:
    found = arrange(sizes, ranks)
    assert sum(found.teams) == ranks and min(found.teams) >= 1
    assert list(found.teams) == sorted(found.teams, reverse=True)
    assert sorted(found.order) == list(range(len(sizes)))
    assert [sizes[n] for n in found.order] == sorted(sizes, reverse=True)
    counted = [found.team_of(rank) for rank in range(ranks)]
    assert [counted.count(team) for team in range(len(found.teams))] == list(found.teams)


@given(SIZES, st.integers(1, 200))
def test_it_is_never_worse_than_one_after_another(sizes: list[int], ranks: int) -> None:
    in_turn = sum(estimate.seconds(size, ranks) for size in sizes)
    assert arrange(sizes, ranks).seconds <= in_turn * (1 + 1e-9)


@pytest.mark.parametrize("ranks", [4, 8, 16, 64])
def test_uneven_sessions_end_together(ranks: int) -> None:
    sizes = [n * 10**11 for n in (30, 24, 20, 16, 12, 10, 8, 6, 4, 3, 2, 1)]
    ideal = sum(sizes) / (ranks * estimate.RATE)
    assert arrange(sizes, ranks).seconds <= 1.3 * ideal


def test_the_larger_session_gets_more_ranks() -> None:
    assert arrange([10_000 * MB, 30_000 * MB], 16).teams == (12, 4)


def test_small_ones_are_done_side_by_side() -> None:
    assert arrange([MB] * 8, 8).teams == (1,) * 8


def test_without_sessions_there_is_one_team() -> None:
    assert arrange([], 3).teams == (3,)
