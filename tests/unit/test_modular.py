"""Which ranks write which data files, and what is left when one fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from failure.faults.material import session
from hypothesis import given
from hypothesis import strategies as some

from parnwb import write_modular
from parnwb.errors import ParnwbError
from parnwb.modular import teams


@given(some.integers(1, 6), some.integers(1, 20), some.data())
def test_teams(files: int, ranks: int, data: some.DataObject) -> None:
    names = [f"{number}.nwb" for number in range(files)]
    weights = {name: data.draw(some.floats(0.1, 100)) for name in names}
    divided = teams(names, weights, ranks)
    assert len(divided) == ranks
    assert {name for own in divided for name in own} == set(names)
    for name in names:  # a file has one team, of neighbours
        numbers = [rank for rank, own in enumerate(divided) if name in own]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert len({tuple(divided[rank]) for rank in numbers}) == 1


def test_weights() -> None:
    assert [own for (own,) in teams(["a", "b"], {"a": 3.0}, 4)] == ["a", "a", "a", "b"]
    assert teams(["a", "b", "c"], {"b": 5.0}, 2) == [["b"], ["a", "c"]]


@pytest.mark.parametrize(
    ("parts", "settings", "words"),
    [
        ({}, {}, "needs a data file"),
        ({"out.nwb": session}, {}, "names of their own"),
        ({"a.nwb": session}, {"weights": {"b.nwb": 1}}, "weights must be positive"),
        ({"there.nwb": session}, {}, "is there already: there.nwb"),
    ],
)
def test_refused(tmp_path: Path, parts: dict, settings: dict, words: str) -> None:
    (tmp_path / "there.nwb").write_text("another's")
    with pytest.raises(ParnwbError, match=words):
        write_modular(tmp_path / "out.nwb", parts, lambda files: session(), progress=False, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["there.nwb"]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(files: object) -> None:
        raise KeyError("no such series")

    with pytest.raises(KeyError, match="no such series"):
        write_modular(tmp_path / "out.nwb", {"a.nwb": session}, fail, progress=False)
    assert not list(tmp_path.iterdir())
