"""The scaling model: what limits where, and that it grows and shrinks with what it should."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parnwb.errors import PlanError
from parnwb.layout import DatasetSpec, FileLayout, FilterSpec
from parnwb.model import Site, Work, fitted, paced, predict, root_suffices_to
from parnwb.planning.plan import READ_WHILE_WRITTEN, WritePlan

CLUSTER = replace(Site(), file_system_mbs=100_000.0)
TEN_TB = Work(raw_bytes=1e13, chunks=2_500_000, ranks=64)
# One rank and 1 GB: 5 s of reading and 5 s of encoding, one after the other; 8 s of the file system beside them.
FIVE_FIVE_EIGHT = replace(Site(), read_mbs=200.0, encode_mbs=200.0, ratio=1.0, file_system_mbs=125.0)
ONE_GB = Work(raw_bytes=1e9, chunks=100, ranks=1)
# What is to be quicker, so that the run is shorter.
COSTS = {
    "source": {"read_mbs"},
    "codec": {"encode_mbs"},
    "writing": {"write_mbs"},
    "file system": {"file_system_mbs", "stripe_mbs"},
    "allocator": {"chunk_seconds", "request_seconds"},
    "start-up": {"import_seconds", "author_seconds", "meeting_seconds"},
}
RATES = st.floats(1.0, 1e6)
SECONDS = st.floats(1e-6, 10.0)


def quicker(site: Site, limit: str) -> Site:
    """Return a site that is twice as quick in what limits."""
    values = {name: getattr(site, name) for name in COSTS[limit]}
    return replace(
        site, **{name: value * 2 if name.endswith("mbs") else value / 2 for name, value in values.items() if value}
    )


@st.composite
def sites(draw: st.DrawFn) -> Site:
    rates = {name: draw(RATES) for name in ("read_mbs", "encode_mbs", "write_mbs", "file_system_mbs")}
    seconds = {name: draw(SECONDS) for name in ("import_seconds", "author_seconds", "meeting_seconds")}
    root = {name: draw(st.floats(1e-6, 1e-3)) for name in ("chunk_seconds", "request_seconds")}
    spread = {"stripe_mbs": draw(st.none() | RATES), "stripes": draw(st.integers(1, 64))}
    nodes = {name: draw(st.integers(1, 128)) for name in ("cores_per_node", "ranks_per_node")}
    return Site(ratio=draw(st.floats(1.0, 10.0)), **rates, **seconds, **root, **spread, **nodes)


@st.composite
def works(draw: st.DrawFn) -> Work:
    chunks, ranks = draw(st.integers(1, 10**7)), draw(st.integers(1, 10**5))
    return Work(draw(st.floats(1e6, 1e14)), chunks, ranks, draw(st.floats(1.0, 10.0)), filtered=draw(st.booleans()))


@pytest.mark.parametrize(
    ("work", "site", "limit"),
    [
        (TEN_TB, CLUSTER, "codec"),
        (replace(TEN_TB, ranks=10_000), replace(CLUSTER, file_system_mbs=10_000.0), "file system"),
        (replace(TEN_TB, ranks=10_000, chunks=25_000_000), CLUSTER, "allocator"),
        (replace(TEN_TB, filtered=False), replace(CLUSTER, read_mbs=200.0), "source"),
        (Work(raw_bytes=1e6, chunks=1, ranks=2), Site(), "start-up"),
        (ONE_GB, FIVE_FIVE_EIGHT, "codec"),
        (ONE_GB, replace(FIVE_FIVE_EIGHT, read_mbs=180.0), "source"),
        (ONE_GB, replace(FIVE_FIVE_EIGHT, file_system_mbs=90.0), "file system"),
        (ONE_GB, replace(FIVE_FIVE_EIGHT, write_mbs=90.0), "writing"),  # by a thread beside the other
        (ONE_GB, replace(FIVE_FIVE_EIGHT, write_mbs=150.0), "codec"),
        (ONE_GB, replace(FIVE_FIVE_EIGHT, write_mbs=150.0, cores_per_node=1, ranks_per_node=1), "writing"),  # of 3
        (ONE_GB, replace(FIVE_FIVE_EIGHT, file_system_mbs=1e4, stripe_mbs=30.0, stripes=3), "file system"),
    ],
)
def test_what_limits(work: Work, site: Site, limit: str) -> None:
    assert predict(work, site).limit == limit


@given(work=works(), site=sites())
def test_a_run_is_shorter_if_what_limits_is_quicker(work: Work, site: Site) -> None:
    prediction = predict(work, site)
    better = predict(work, quicker(site, prediction.limit)).seconds
    reading, encoding, writing, *others = list(prediction.phases.values())[1:-1]
    beside = sorted([reading + encoding, reading + encoding + writing, writing, *others])
    assume(all(less < 0.999 * more for less, more in pairwise(beside)))  # of two that take just as long both limit
    assert better < prediction.seconds


def test_reading_and_encoding_add_up() -> None:
    """What is beside them does not count, though each of them is shorter."""
    prediction = predict(ONE_GB, FIVE_FIVE_EIGHT)
    assert [prediction.phases[name] for name in ("source", "codec", "file system")] == [5.0, 5.0, 8.0]
    assert predict(ONE_GB, replace(FIVE_FIVE_EIGHT, file_system_mbs=250.0)).seconds == prediction.seconds
    assert predict(ONE_GB, replace(FIVE_FIVE_EIGHT, encode_mbs=400.0)).seconds == prediction.seconds - 2


def test_a_file_takes_what_its_stripes_do_up_to_what_the_file_system_does() -> None:
    few, more, many = (replace(Site(), file_system_mbs=1e4, stripe_mbs=1e3, stripes=n) for n in (1, 4, 64))
    assert [site.taken_mbs for site in (few, more, many)] == [1e3, 4e3, 1e4]
    assert replace(few, stripe_mbs=None).taken_mbs == 1e4


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
    work = Work(raw_bytes=160e9, chunks=1000, ranks=16, filtered=filtered)
    assert predict(work, site).seconds == pytest.approx(10_000 / 25, rel=0.02)


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
