"""Every strategy: each grain has exactly one owner, whatever the grids and the number of ranks."""

from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parnwb.errors import PlanError
from parnwb.planning.decomposition import STRATEGIES, Grains, balanced, block, process_grid, slab, strategy

quickly = settings(deadline=None, max_examples=80)
extents = st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.integers(0, 5)] * n))
grain_grids = st.builds(Grains, extents, st.integers(1, 10_000))
files = st.lists(grain_grids, max_size=5)
rank_counts = st.integers(1, 40)


def owners(name: str, datasets: list[Grains], ranks: int) -> list[np.ndarray]:
    """For each dataset, how often each grain is given away."""
    times = [np.zeros(grains.extent, dtype=int) for grains in datasets]
    for rank in range(ranks):
        for share in strategy(name)(datasets, ranks, rank):
            times[share.dataset][share.grains.slices] += 1
    return times


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(files, rank_counts)
@example([], 3)
@example([Grains((0,), 1)], 4)
@example([Grains((0,), 7), Grains((1,), 1), Grains((0, 3), 5)], 5)
@example([Grains((1,), 1)], 40)
@quickly
def test_each_grain_has_exactly_one_owner(name, datasets, ranks):
    assert all((times == 1).all() for times in owners(name, datasets, ranks))


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(files, rank_counts)
@quickly
def test_shares_are_never_empty_nor_out_of_range(name, datasets, ranks):
    for rank in range(ranks):
        for share in STRATEGIES[name](datasets, ranks, rank):
            extent = datasets[share.dataset].extent
            assert share.grains.size > 0
            assert all(stop <= n for stop, n in zip(share.grains.stop, extent, strict=True))


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@given(files)
@quickly
def test_one_rank_owns_all(name, datasets):
    shares = STRATEGIES[name](datasets, 1, 0)
    total = sum(share.grains.size for share in shares)
    assert total == sum(grains.size for grains in datasets)


# -- balanced ------------------------------------------------------------------------------------------------


def weight(datasets: list[Grains], ranks: int, rank: int) -> int:
    return sum(s.grains.size * datasets[s.dataset].cost for s in balanced(datasets, ranks, rank))


@given(files, rank_counts)
@quickly
def test_balanced_gives_no_more_than_the_equal_part_plus_one_grain(datasets, ranks):
    total = sum(grains.size * grains.cost for grains in datasets)
    largest = max((grains.cost for grains in datasets if grains.size), default=0)
    weights = [weight(datasets, ranks, rank) for rank in range(ranks)]
    assert sum(weights) == total
    assert max(weights) <= -(-total // ranks) + largest
    assert min(weights) >= total // ranks - largest


@given(files, rank_counts)
@quickly
def test_balanced_runs_follow_each_other(datasets, ranks):
    """Rank after rank goes through one sequence of all grains: few, long pieces in the order of the file."""
    sequence = []
    for rank in range(ranks):
        for share in balanced(datasets, ranks, rank):
            extent = datasets[share.dataset].extent
            sequence += [(share.dataset, int(np.ravel_multi_index(p, extent))) for p in share.grains.points()]
    assert sequence == [(n, i) for n, grains in enumerate(datasets) for i in range(grains.size)]


@given(files, rank_counts)
@quickly
def test_balanced_pieces_are_few(datasets, ranks):
    for rank in range(ranks):
        shares = balanced(datasets, ranks, rank)
        for number, grains in enumerate(datasets):
            assert sum(share.dataset == number for share in shares) <= 2 * len(grains.extent) - 1


def test_balanced_over_a_mix_of_large_and_small():
    datasets = [Grains((1000, 6), 10_000_000), *[Grains((3,), 100)] * 20, Grains((500,), 4_000_000)]
    total = sum(g.size * g.cost for g in datasets)
    for ranks in (2, 3, 7, 64):
        weights = [weight(datasets, ranks, rank) for rank in range(ranks)]
        assert max(weights) <= total / ranks + 10_000_000


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_hundred_thousand_ranks(name):
    """Planning for one of very many ranks is immediate: no rank goes through the others' shares."""
    datasets = [Grains((4_000_000, 6), 1 << 23), Grains((10_000,), 1 << 20)]
    ranks = 100_000
    some = (0, 1, 49_999, 99_999)
    tracemalloc.start()
    began = time.process_time()
    parts = [STRATEGIES[name](datasets, ranks, rank) for rank in some]
    seconds, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(parts)
    assert seconds / len(some) < 1 and most < 50e6


# -- slab and block ------------------------------------------------------------------------------------------


@given(extents.filter(lambda e: math.prod(e) > 0), rank_counts)
@quickly
def test_slab_divides_one_longest_axis_evenly(extent, ranks):
    counts = [s.grains.count for rank in range(ranks) for s in slab([Grains(extent, 1)], ranks, rank)]
    divided = {axis for count in counts for axis, n in enumerate(count) if n != extent[axis]}
    assert len(divided) <= 1 and all(extent[axis] == max(extent) for axis in divided)
    if len(counts) == ranks:
        sizes = {math.prod(count) for count in counts}
        assert max(sizes) - min(sizes) <= math.prod(extent) // max(extent)


@given(extents, rank_counts)
@quickly
def test_block_gives_at_most_one_box_for_each_dataset(extent, ranks):
    for rank in range(ranks):
        assert len(block([Grains(extent, 1)], ranks, rank)) <= 1


@given(extents, st.integers(1, 10_000))
@quickly
def test_process_grid_never_exceeds_ranks_nor_extents(extent, ranks):
    grid = process_grid(extent, ranks)
    assert len(grid) == len(extent)
    assert 1 <= math.prod(grid) <= ranks
    assert all(1 <= p <= max(1, n) for p, n in zip(grid, extent, strict=True))


@given(st.integers(1, 4), st.integers(1, 4000))
@quickly
def test_process_grid_uses_all_ranks_where_there_is_room(ndim, ranks):
    assert math.prod(process_grid((ranks,) * ndim, ranks)) == ranks


@pytest.mark.parametrize(
    ("extent", "ranks", "grid"),
    [
        ((8, 8), 4, (2, 2)),
        ((100, 2), 4, (4, 1)),
        ((8, 8, 8), 8, (2, 2, 2)),
        ((6, 4), 6, (3, 2)),
        ((1, 1), 5, (1, 1)),
    ],
)
def test_process_grid_examples(extent, ranks, grid):
    assert process_grid(extent, ranks) == grid


# -- names ---------------------------------------------------------------------------------------------------


def test_unknown_strategy_is_refused_by_name():
    with pytest.raises(PlanError, match="one of balanced, block, slab, got 'stripes'"):
        strategy("stripes")
