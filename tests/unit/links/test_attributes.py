"""What counts as another value, another dimension and another rate."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from failure.faults import linking
from hypothesis import given
from hypothesis import strategies as some
from pynwb import get_manager

from parnwb.authoring.bulk import build, link_mismatches
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.builders import datasets_of, location
from parnwb.errors import LinkError, ParnwbError
from parnwb.links.clocks import Clock, different_clocks, regular_rate
from parnwb.links.policy import heed
from parnwb.links.values import equal

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("links")
    linking.prepare(folder)
    with h5py.File(folder / "raw.h5", "r+") as file:
        file["labelled_right"] = file["data"][...]
        file["labelled_right"].attrs.update(linking.RIGHT)
        file["labelled_right"].dims[0].label = "Time"
    return folder


def found(nwbfile: object, rule: BulkRule | None = None) -> list[str]:
    root = build(nwbfile, get_manager(), "out.nwb")
    return [item.name for item in link_mismatches(root, rule or BulkRule())]


@given(some.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30))
def test_other_precision_is_the_same_value(number: float) -> None:
    assert equal(number, np.float32(number)) or abs(number) < 1e-30
    assert equal(number, np.array([number])[0]) and equal(np.float64(number), number)


def test_values() -> None:
    assert equal("V", b"V") and equal("V", np.array("V")) and equal(float("nan"), np.nan)
    assert equal([1, 2], np.array([1, 2])) and not equal([1, 2], [1, 3]) and not equal([1, 2], [1, 2, 3])
    assert not equal("V", "mV") and not equal(1.0, 1.001) and not equal("1", 1)


def test_rate_of_timestamps() -> None:
    assert regular_rate(np.arange(10) / 25) == pytest.approx(25)
    assert regular_rate(np.zeros(1)) is None and regular_rate(np.zeros(5)) is None


TIMES = 5 + np.arange(100) / 25


@pytest.mark.parametrize(
    ("asked", "there", "differs"),
    [
        ((25, 5.0, None), (25.0, 5, None), []),
        ((25, None, None), (25, 0.0, None), []),
        ((25, 6.0, None), (24, 5.0, None), ["rate", "starting_time"]),
        ((25, 5.0, None), (None, None, TIMES), []),
        ((25, 0.0, None), (None, None, TIMES), ["starting_time"]),
        ((None, None, TIMES), (25, 5.0, None), []),
        ((None, None, TIMES), (30, 0.0, None), ["rate", "starting_time"]),
        ((None, None, TIMES.astype("f4")), (None, None, TIMES + 0.01), []),
        ((None, None, TIMES[:-1]), (None, None, TIMES), ["timestamps"]),
        ((None, None, TIMES), (None, None, 5 + np.arange(100) / 24.8), ["timestamps[68]"]),
        ((None, None, [3.0]), (None, None, [4.0]), ["timestamps[0]"]),
        ((None, None, [3.0]), (25, 0.0, None), []),
        ((None, None, None), (25, 0.0, None), []),
        ((None, None, iter(TIMES)), (25, 0.0, None), []),
        ((25, 0.0, None), (None, None, []), []),
    ],
)
def test_clocks(asked: tuple, there: tuple, differs: list[str]) -> None:
    assert [name for name, _, _ in different_clocks(Clock.of(*asked), Clock.of(*there))] == differs


@pytest.mark.parametrize("name", ["data", "labelled_right"])
def test_what_fits_is_no_mismatch(folder: Path, name: str) -> None:
    nwbfile = linking.linking(linking.raw(folder, name), timestamps=linking.raw(folder, "times"))
    assert found(nwbfile) == []


def test_only_links_are_compared(folder: Path) -> None:
    nwbfile = linking.linking(linking.raw(folder), unit="mA")
    assert found(nwbfile) == ["unit"]
    assert found(nwbfile, BulkRule(link_data=False)) == []


def test_what_differs_is_copied_whatever_its_size(folder: Path) -> None:
    nwbfile = linking.linking(linking.raw(folder), timestamps=linking.raw(folder, "short_times"))
    rule = BulkRule(threshold=10**9, on_mismatch="copy")
    applies = [location(item) for item in datasets_of(build(nwbfile, get_manager(), "out.nwb")) if rule.applies(item)]
    assert applies == ["/acquisition/linked/timestamps"]


def test_policies(folder: Path) -> None:
    nwbfile = linking.linking(linking.raw(folder), unit="mA", conversion=5.0)
    mismatches = link_mismatches(build(nwbfile, get_manager(), "out.nwb"), BulkRule())
    with pytest.raises(LinkError, match=r"conversion is 5.0 .* 2.0 there.*unit is 'mA' .*'V' there"):
        heed(mismatches, "raise")
    with pytest.warns(UserWarning) as warned:
        heed(mismatches, "warn")
    assert len(warned) == 2
    heed([], "raise")
    with pytest.raises(ParnwbError, match="on_mismatch must be one of raise, warn, copy"):
        BulkRule(on_mismatch="never")
