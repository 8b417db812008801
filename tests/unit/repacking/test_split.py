"""What an earlier job has finished stays when a split is resumed, if it is surely of the source as it is now."""

from __future__ import annotations

import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from parnwb.comm import Ranks
from parnwb.errors import ResumeError
from parnwb.repacking import split

NAMES = ["master.nwb", "master_a.nwb", "master_b.nwb"]


def make(path: Path, offset: float = 0) -> Path:
    with h5py.File(path, "w") as file:
        for name in "ab":
            group = file.create_group(f"acquisition/{name}")
            group.attrs.update(neurodata_type="TimeSeries", object_id=name)
            group["data"] = np.arange(20_000.0) + offset
    return path


def split_again(source: Path, **settings: bool) -> list[str]:
    return [one.path.name for one in split(source, source.with_name("master.nwb"), progress=False, **settings)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file that was split, of which one part and the file of links were lost."""
    source = make(tmp_path / "source.nwb")
    assert sorted(split_again(source)) == NAMES
    for name in ("master.nwb", "master_b.nwb"):
        (tmp_path / name).unlink()
    return source


def firsts(folder: Path) -> list[float]:
    with h5py.File(folder / "master.nwb") as file:
        return [file[f"acquisition/{name}/data"][0] for name in "ab"]


def test_what_is_finished_stays(source: Path) -> None:
    kept = source.with_name("master_a.nwb").stat()
    assert split_again(source, resume=True) == ["master_b.nwb", "master.nwb"]
    assert source.with_name("master_a.nwb").stat() == kept
    assert split_again(source, resume=True) == []
    assert firsts(source.parent) == [0, 0]


def test_each_part_that_is_looked_at_is_a_sign_of_life(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Ranks, "going_on", lambda ranks, text: told.append(text))
    split_again(source, resume=True)
    told.clear()
    split_again(source, resume=True)
    assert [text for text in told if "made from" in text] == [
        f"comparing {name} with what it is made from" for name in ("master_a.nwb", "master_b.nwb", "master.nwb")
    ]


def test_a_part_of_another_source_is_refused_or_replaced(source: Path) -> None:
    make(source, 5000)
    with pytest.raises(ResumeError, match=r"source\.nwb has changed since.*master_a\.nwb.*overwrite"):
        split_again(source, resume=True)
    assert {path.name for path in source.parent.iterdir()} == {"source.nwb", "master_a.nwb"}
    assert sorted(split_again(source, resume=True, overwrite=True)) == NAMES
    assert firsts(source.parent) == [5000, 5000]


def test_a_part_of_a_source_that_an_older_file_has_replaced_is_refused(source: Path) -> None:
    """Moved to its place it keeps its time."""
    older = make(source.with_name("older.nwb"), 7)
    os.utime(older, (1e9, 1e9))
    older.replace(source)
    with pytest.raises(ResumeError, match="has changed since"):
        split_again(source, resume=True)


@pytest.mark.parametrize("what", ["values", "objects", "type"])
def test_a_part_that_holds_something_else_is_refused(source: Path, what: str) -> None:
    """However young it is."""
    part = source.with_name("master_a.nwb")
    with h5py.File(part, "r+") as file:
        group = file["acquisition/a"]
        if what == "values":
            group["data"][...] = 7
        elif what == "objects":
            group["more"] = 1
        else:
            del group["data"]
            group["data"] = np.arange(20_000, dtype="f4")
    in_future = time.time() + 100
    os.utime(part, (in_future, in_future))
    with pytest.raises(ResumeError, match=f"differs in /acquisition/a/{'more' if what == 'objects' else 'data'}"):
        split_again(source, resume=True)
