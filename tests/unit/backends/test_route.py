"""Routes: every rank's messages reach the root, by at most one other rank, which is on its host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parnwb.backends.route import MOST_SPEAKERS, NODE_RANKS, route_of


def routes(hosts: list[str]) -> list:
    return [route_of(rank, hosts) for rank in range(len(hosts))]


def test_few_ranks_speak_for_themselves() -> None:
    few = routes(["a", "b", "b"] * 5)
    assert [route.above for route in few] == [0] * 15
    assert few[0].below == frozenset(range(1, 15)) and not any(route.below for route in few[1:])


@given(st.lists(st.sampled_from("abcdef"), min_size=MOST_SPEAKERS + 2, max_size=200))
def test_one_rank_of_each_host_speaks(hosts: list[str]) -> None:
    found = routes(hosts)
    for rank, route in enumerate(found):
        assert rank == 0 or rank in found[route.above].below
        if route.above:
            assert hosts[route.above] == hosts[rank] and found[route.above].above == 0
    on_the_first = hosts.count(hosts[0]) - 1
    assert len(found[0].below) == on_the_first + len(set(hosts)) - 1
    assert sum(len(route.below) for route in found) == len(hosts) - 1


def test_ten_thousand_ranks_leave_the_root_few_messages() -> None:
    hosts = [f"node{rank // 100}" for rank in range(10_000)]
    assert len(route_of(0, hosts).below) == 99 + 99


def test_nodes_can_be_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NODE_RANKS, "2")
    found = routes(["a"] * 5)
    assert [route.above for route in found] == [0, 0, 0, 2, 0]
    assert found[0].below == {1, 2, 4} and found[2].below == {3}
