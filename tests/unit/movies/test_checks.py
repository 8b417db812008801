"""What a series of external movies is warned of, because it may be right all the same."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

pytest.importorskip("av", reason='needs the extra "movies"')

from failure.faults.in_movies import watching, write_movie

from parnwb.movies.checks import check_movies

FRAMES = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_movie(tmp_path / "even.mp4", FRAMES)
    return tmp_path


def check(folder: Path, name: str, rate: float) -> None:
    check_movies(watching(name, rate=rate, num_samples=FRAMES), folder / "out.nwb", "raise")


def test_another_rate_than_the_movie_has(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"/movie: rate is 30, even\.mp4 plays 25 frames a second"):
        check(folder, "even.mp4", 30.0)


def test_an_absolute_path(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"/movie names /.*even\.mp4 by an absolute path.*see place_movies"):
        check(folder, str(folder / "even.mp4"), 25.0)


def test_what_is_right_is_not_warned_of(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(folder, "even.mp4", 25.0)
