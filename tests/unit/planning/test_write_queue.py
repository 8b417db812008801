"""Policies: each dataset has its turn once, and what a policy promises holds on every rank."""

from __future__ import annotations

import functools
import math
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.errors import PlanError
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.plan import Buffer, MiB, WritePlan
from parnwb.planning.write_queue import POLICIES, alternated, check_policy, described, write_queue

quickly = settings(deadline=None, max_examples=25)


def by_rows(spec: DatasetSpec) -> float:
    return float(spec.shape[0] % 3)


@st.composite
def layouts(draw: st.DrawFn) -> FileLayout:
    rows = draw(st.lists(st.integers(0, 30), max_size=6))
    found = []
    for number, count in enumerate(rows):
        access = draw(st.sampled_from(["random", "random", "gridded", "sequential"]))
        found.append(DatasetSpec(f"/d{number}/data", (count, 3), (count, 3), "<i2", (4, 2), access=access))
    return FileLayout(tuple(found))


policies = st.sampled_from([*POLICIES, {"/d[135]/*": 2, "/d4/*": -1}, by_rows])
rank_counts = st.sampled_from([1, 2, 3, 5])


def plan_of(layout: FileLayout, policy: object, ranks: int) -> WritePlan:
    return WritePlan(layout, ranks, buffer_mb=50 / MiB, queue=write_queue(policy, layout))


def of_size(*rows: int) -> FileLayout:
    return FileLayout(tuple(DatasetSpec(f"/d{n:02}", (k,), (k,), "<i2", (1,)) for n, k in enumerate(rows)))


@given(layouts(), policies, rank_counts)
@quickly
@pytest.mark.filterwarnings("ignore:queue")
def test_every_buffer_comes_once_and_each_dataset_in_order(layout, policy, ranks):
    plan = plan_of(layout, policy, ranks)
    for rank in range(ranks):
        found = list(plan.buffers(rank))
        by_dataset = [list(plan.buffers(rank, number)) for number in range(len(layout))]
        assert len(found) == len(set(found)) and set(found) == set(chain(*by_dataset))
        for number, buffers in enumerate(by_dataset):
            assert [buffer for buffer in found if buffer.dataset == number] == buffers
            if layout.datasets[number].access == "sequential":
                assert [b.slab.start for b in buffers] == sorted(b.slab.start for b in buffers)


@given(layouts(), rank_counts)
@quickly
def test_largest_first(layout, ranks):
    plan = plan_of(layout, "largest", ranks)
    for rank in range(ranks):
        sizes = [layout.datasets[buffer.dataset].nbytes for buffer in plan.buffers(rank)]
        assert sizes == sorted(sizes, reverse=True)


@given(layouts(), rank_counts)
@quickly
@pytest.mark.filterwarnings("ignore:queue")
def test_no_rank_begins_a_number_before_it_is_through_with_the_smaller_ones(layout, ranks):
    places = {"/d[135]/*": 2.0, "/d4/*": -1.0}
    plan = plan_of(layout, places, ranks)
    for rank in range(ranks):
        found = [
            2.0 if b.dataset in (1, 3, 5) else -1.0 if b.dataset == 4 else math.inf for b in plan.buffers(rank)
        ]
        assert found == sorted(found)


@given(layouts(), policies, rank_counts)
@quickly
@pytest.mark.filterwarnings("ignore:queue")
def test_each_turn_is_spread_over_all_ranks(layout, policy, ranks):
    """Else what comes first would be written by a few ranks, while the others are at what comes later."""
    plan = plan_of(layout, policy, ranks)
    for turn in plan.order.turns:
        spread = [number for number in turn if not plan.is_kept(number)]
        total, largest = 0, 0
        for number in spread:
            grains = plan.grain_grids[number]
            total += grains.size * math.prod(grains.chunk) * 2
            largest = max(largest, math.prod(grains.chunk) * 2)
        for rank in range(ranks):
            buffers = chain(*(plan.buffers(rank, number) for number in spread))
            assert sum(b.slab.size * 2 for b in buffers) <= -(-total // ranks) + largest


@given(layouts(), rank_counts)
@quickly
def test_round_robin_takes_one_buffer_of_each_dataset_that_has_any_left(layout, ranks):
    plan = plan_of(layout, "round-robin", ranks)
    for rank in range(ranks):
        found = [buffer.dataset for buffer in plan.buffers(rank)]
        totals = {number: found.count(number) for number in found}
        for end in range(len(found) + 1):
            counts = {number: found[:end].count(number) for number in totals}
            running = [count for number, count in counts.items() if count < totals[number]]
            if running:
                assert max(counts.values()) - min(running) <= 1


@given(st.integers(1, 40), rank_counts)
@quickly
def test_datasets_of_one_chunk_are_dealt_out(count, ranks):
    for policy in ("largest", "round-robin", lambda spec: int(spec.path[2:])):
        plan = plan_of(of_size(*[1] * count), policy, ranks)
        assert max(sum(1 for _ in plan.buffers(rank)) for rank in range(ranks)) == -(-count // ranks)


def test_file_order_is_the_default():
    layout = of_size(5, 9, 2)
    assert WritePlan(layout, 3).order == write_queue("file", layout)
    assert list(WritePlan(layout, 3).buffers(1)) == list(plan_of(layout, "file", 3).buffers(1)) != []


def test_turns_of_each_policy():
    layout = of_size(5, 9, 5, 1)
    turns = {
        "file": ((0, 1, 2, 3),),
        "round-robin": ((0,), (1,), (2,), (3,)),
        "largest": ((1,), (0,), (2,), (3,)),
    }
    for policy, expected in turns.items():
        queue = write_queue(policy, layout)
        assert (queue.turns, queue.commits, queue.alternates) == (expected, False, policy == "round-robin")
    for policy in ({"/d02": 1, "/d0[23]": 0}, lambda spec: {"/d02": 1, "/d03": 0}.get(spec.path, math.inf)):
        queue = write_queue(policy, layout)
        assert (queue.turns, queue.commits, queue.alternates) == (((3,), (2,), (0, 1)), True, False)
    assert write_queue("file", of_size()).datasets == ()


def test_plan_refuses_a_queue_of_another_layout():
    with pytest.raises(PlanError, match="each of 2 datasets once"):
        WritePlan(of_size(1, 2), 2, queue=write_queue("file", of_size(1)))


def test_a_pattern_that_matches_nothing_is_told():
    with pytest.warns(UserWarning, match="no bulk dataset has a path like /units"):
        assert write_queue({"/units/*": 0}, of_size(1, 2)).turns == ((0, 1),)


@pytest.mark.parametrize("policy", ["dice", 3, None, {"/a": "first"}, {"/a": math.nan}, {3: 1}, ["/a"]])
def test_what_is_no_policy_is_refused(policy):
    with pytest.raises(PlanError, match="queue must"):
        check_policy(policy)


@pytest.mark.parametrize("answer", ["first", None, math.nan])
def test_a_function_must_give_numbers(answer):
    with pytest.raises(PlanError, match="the smallest of which is first") as caught:
        write_queue(lambda spec: answer, of_size(1))
    assert caught.value.where == "/d00"


def test_a_function_that_fails_is_named_with_its_dataset():
    with pytest.raises(PlanError, match="ZeroDivisionError") as caught:
        write_queue(lambda spec: 1 / 0, of_size(1))
    assert caught.value.where == "/d00"


def test_descriptions_are_the_same_in_every_process():
    assert described("largest") == "largest"
    assert described({"/a": 1}) == {"/a": 1}
    assert described(by_rows) == f"the function {__name__}.by_rows"
    assert described(functools.partial(by_rows)) == "the function functools.partial"


def test_alternated():
    assert list(alternated(["abc", "", "de", "f"])) == list("adfbec")
    assert list(alternated([])) == []


def test_largest_first_ends_with_the_smallest():
    plan = plan_of(of_size(3, 40, 7), "largest", 2)
    assert all(
        one.dataset == other.dataset or (one.dataset, other.dataset) in ((1, 2), (2, 0))
        for one, other in pairwise(plan.buffers(0))
    )
    assert isinstance(next(plan.buffers(0)), Buffer)
