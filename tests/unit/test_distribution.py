"""How tests are shared out: what the lists name is there, and what belongs together stays together."""

from __future__ import annotations

import distribution
import pytest
from distribution import FOLDERS, FUNCTIONS, HERE, LONG, ONCE, Together, listed

NODE = "tests/failure/test_fuzz.py::test_drawn_files[1]"


@pytest.mark.parametrize("places", [ONCE, FOLDERS, FUNCTIONS, LONG], ids=["once", "folders", "functions", "long"])
def test_what_is_listed_is_there(places: tuple[str, ...]) -> None:
    assert [place for place in places if not (HERE / place).exists()] == []


def scope(nodeid: str) -> str:
    return Together._split_scope(None, nodeid)  # type: ignore[arg-type]


def test_files_stay_together_and_so_do_some_folders() -> None:
    assert scope(NODE) == scope("tests/failure/test_fuzz.py::test_other") == "failure/test_fuzz.py"
    assert scope("tests/cluster/test_launch.py::test_it") == scope("tests/cluster/test_requeue.py::test_it[a]")
    one, other = (f"tests/{FUNCTIONS[0]}::test_it[{name}]" for name in ("a", "b::c"))
    assert scope(one) == scope(other) != scope(one.replace("test_it", "test_more"))


def test_a_name_that_begins_like_a_folder_is_not_in_it() -> None:
    assert listed("unit/codec/test_it.py", ("unit/codec",)) == "unit/codec"
    assert listed("unit/codecs/test_it.py", ("unit/codec",)) is None
    assert distribution.path_of(NODE) == "failure/test_fuzz.py"
