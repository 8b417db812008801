"""The scaling model: what limits where, and that it grows and shrinks with what it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parnwb.errors import PlanError
from parnwb.layout import DatasetSpec, FileLayout, FilterSpec
from parnwb.model import Site, Work, fitted, paced, predict, root_suffices_to
from parnwb.planning.plan import READ_WHILE_WRITTEN, WritePlan

CLUSTER = replace(Site(), file_system_mbs=100_000.0)
TEN_TB = Work(raw_bytes=1e13, chunks=2_500_000, ranks=64)


@pytest.mark.parametrize(
    ("work", "site", "limit"),
    [
        (TEN_TB, CLUSTER, "codec"),
        (replace(TEN_TB, ranks=10_000), replace(CLUSTER, file_system_mbs=10_000.0), "file system"),
        (replace(TEN_TB, ranks=10_000, chunks=25_000_000), CLUSTER, "allocator"),
        (replace(TEN_TB, filtered=False), replace(CLUSTER, read_mbs=200.0), "source"),
        (Work(raw_bytes=1e6, chunks=1, ranks=2), Site(), "start-up"),
    ],
)
def test_what_limits(work: Work, site: Site, limit: str) -> None:
    assert predict(work, site).limit == limit


def test_twice_the_ranks_take_half_the_time_until_something_else_limits() -> None:
    one, two = (predict(replace(TEN_TB, ranks=ranks), CLUSTER).seconds for ranks in (64, 128))
    assert 1.9 < one / two < 2.01
    many, more = (predict(replace(TEN_TB, ranks=ranks), CLUSTER).seconds for ranks in (20_000, 40_000))
    assert more > 0.95 * many


def test_more_ranks_than_cores_share_them() -> None:
    site = replace(Site(), cores_per_node=2)
    alone, crowded = (predict(replace(TEN_TB, ranks=ranks), site).seconds for ranks in (2, 4))
    assert crowded == pytest.approx(alone, rel=0.1)


@pytest.mark.parametrize("filtered", [True, False])
def test_a_rank_at_a_pace_takes_as_long_on_a_full_node(filtered: bool) -> None:
    site = paced(Site(cores_per_node=16, ranks_per_node=16), 25.0, filtered=filtered)
    work = Work(raw_bytes=16e9, chunks=100, ranks=16, filtered=filtered)
    assert predict(work, site).seconds == pytest.approx(1000 / 25, rel=0.05)


def test_one_root_suffices_for_more_ranks_if_chunks_are_larger() -> None:
    # Small chunks, one for each message: both halves of the root's work count.
    found = [root_suffices_to(replace(TEN_TB, chunks=chunks), CLUSTER) for chunks in (25_000_000, 2_500_000, 600_000)]
    assert found == sorted(found) and found[1] == pytest.approx(10 * found[0], rel=0.05)
    beyond = predict(replace(TEN_TB, ranks=4 * found[1]), replace(CLUSTER, file_system_mbs=1e6))
    assert beyond.limit == "allocator" and beyond.root_suffices < 4 * found[1]


def test_work_of_a_plan() -> None:
    spec = DatasetSpec("/d", (10_000, 64), (None, 64), "<i2", (1000, 64), (FilterSpec(1, (4,), "deflate"),))
    work = Work.of(WritePlan(FileLayout((spec,)), 4))
    assert (work.raw_bytes, work.chunks, work.ranks, work.filtered) == (1_280_000, 10, 4, True)
    assert work.largest_share == pytest.approx(1.2) and work.chunks_at_once == 2.5
    beside = replace(spec, read_beside=5 * READ_WHILE_WRITTEN * spec.nbytes)
    assert Work.of(WritePlan(FileLayout((beside,)), 4)).largest_share == pytest.approx(1.2 * 6)


def test_a_site_is_kept_in_a_file(tmp_path: Path) -> None:
    site = fitted(Site(), encode_mbs=123.0, read_mbs=None, write_mbs=0.0)
    assert site == replace(Site(), encode_mbs=123.0)
    site.to_file(tmp_path / "site.json")
    assert Site.from_file(tmp_path / "site.json") == site
    for text in ("[", '{"encode": 1}', '{"encode_mbs": -1}', "[1]"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(PlanError):
            Site.from_file(tmp_path / "bad.json")
