"""What a series of external movies is warned of, because it may be right all the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

pytest.importorskip("av", reason='needs the extra "movies"')
pytest.importorskip("cv2", reason='needs the extra "test"')

import cv2
from failure.faults.in_movies import watching, write_movie
from pynwb import NWBFile

from parnwb import NWBParallelIO, place_movies
from parnwb.comm import Ranks
from parnwb.errors import LinkError
from parnwb.movies import clip as clips
from parnwb.movies import counted_otherwise, say_counted
from parnwb.movies.checks import check_movies
from parnwb.recordings.conversion import write_built
from parnwb.recordings.dry_run import plan_conversion
from parnwb.recordings.movies import ingest_movies_here

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


def check_without_warnings(nwbfile: NWBFile, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_movies(nwbfile, path, "raise")


def test_what_is_right_is_not_warned_of(folder: Path) -> None:
    check_without_warnings(watching("even.mp4", rate=25.0, num_samples=FRAMES), folder / "out.nwb")


def test_a_movie_that_cannot_be_read_is_only_warned_of_on_request(folder: Path) -> None:
    (folder / "text.mp4").write_text("no movie")
    nwbfile = watching("text.mp4", rate=25.0, num_samples=FRAMES)
    with pytest.raises(LinkError, match="frames cannot be counted: a movie cannot be read.*--on-mismatch=warn"):
        check_movies(nwbfile, folder / "out.nwb", "raise")
    with pytest.warns(UserWarning, match="external images: /movie: frames cannot be counted"):
        check_movies(nwbfile, folder / "out.nwb", "warn")


@pytest.mark.parametrize("suffix", [".nwb", ".nwb.zarr"])
def test_movies_are_looked_at_whatever_the_format(folder: Path, suffix: str) -> None:
    if suffix == ".nwb.zarr":
        pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    path = folder / f"out{suffix}"
    with pytest.raises(LinkError, match="gone.mp4 is not there") as caught, NWBParallelIO(path) as io:
        io.write(watching("gone.mp4", rate=25.0, num_samples=FRAMES))
    assert str(folder) in str(caught.value)
    (folder / "gone.mp4").write_bytes((folder / "even.mp4").read_bytes())
    with NWBParallelIO(path) as io:
        io.write(watching("gone.mp4", rate=25.0, num_samples=FRAMES))
    assert path.exists()


# -- copies of files that were replaced -------------------------------------------------------------------------------


def test_copies_of_another_file_are_told_of(folder: Path) -> None:
    path = folder / "out.nwb"
    old = [f"{uuid4()}_external_file_{number}.mp4" for number in range(2)]
    nwbfile = watching("even.mp4", rate=25.0, num_samples=FRAMES)
    (own,) = place_movies(nwbfile, path)["/movie"]
    (folder / "out" / "notes.txt").touch()
    check_without_warnings(nwbfile, path)
    for name in old:
        (folder / "out" / name).touch()
    with pytest.warns(UserWarning, match=r"are movies that out\.nwb does not name") as warned:
        check_movies(nwbfile, path, "raise")
    (said,) = (str(item.message) for item in warned)
    assert all(name in said for name in old) and Path(own).name not in said and "notes" not in said


def test_a_file_that_replaces_another_tells_of_its_copies(folder: Path) -> None:
    path = folder / "out.nwb"

    def write() -> str:
        nwbfile = watching("even.mp4", rate=25.0, num_samples=FRAMES)
        (name,) = place_movies(nwbfile, path)["/movie"]
        with NWBParallelIO(path, "w", overwrite=True, progress=False) as io:
            io.write(nwbfile)
        return Path(name).name

    first = write()
    with pytest.warns(UserWarning, match=f"in .*/out {first} are movies"):
        write()


# -- what neuroconv takes from the headers of movies ------------------------------------------------------------------


def test_counted_frames_go_before_what_a_header_says(folder: Path) -> None:
    """A camera that dropped a frame, and one that began a second later: headers estimate from the length in time."""
    write_movie(folder / "dropped.mkv", FRAMES, lambda number: number + (number > 4))
    write_movie(folder / "later.mkv", FRAMES, lambda number: number + 25)
    for name, more in (("dropped.mkv", 1), ("later.mkv", 25)):
        movie = cv2.VideoCapture(str(folder / name))
        header = int(movie.get(cv2.CAP_PROP_FRAME_COUNT))
        assert header == FRAMES + more
        nwbfile = watching(name, rate=25.0, num_samples=header)
        with pytest.warns(UserWarning, match=rf"{FRAMES} frames of /movie are counted.*num_samples was {header}"):
            found = counted_otherwise(nwbfile, folder)
        assert found == {"/movie": FRAMES} and nwbfile.acquisition["movie"].num_samples == header
        say_counted(nwbfile, found)
        assert nwbfile.acquisition["movie"].num_samples == FRAMES
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the rate, which is another where a frame was dropped
            check_movies(nwbfile, folder / "out.nwb", "raise")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("even.mp4",), {"num_samples": FRAMES}),
        (("even.mp4",), {"timestamps": np.arange(3) / 25}),
        (("even.mp4", "even.mp4"), {"num_samples": 3, "starting_frame": [0, 4]}),
        (("even.mp4", "gone.mp4"), {"num_samples": 3, "starting_frame": [0, FRAMES]}),
        (("text.mp4",), {"num_samples": 3}),
        (("https://example.org/even.mp4",), {"num_samples": 3}),
    ],
)
def test_what_else_series_say_is_left_to_the_check(folder: Path, names: tuple[str, ...], said: dict[str, Any]) -> None:
    (folder / "text.mp4").write_text("no movie")
    timing = {} if "timestamps" in said else {"rate": 25.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert counted_otherwise(watching(*names, **{"starting_frame": [0], **timing, **said}), folder) == {}


def test_several_files_are_counted_together(folder: Path) -> None:
    write_movie(folder / "more.mp4", 12)
    nwbfile = watching("even.mp4", "more.mp4", rate=25.0, num_samples=3, starting_frame=[0, FRAMES])
    with pytest.warns(UserWarning, match="num_samples was 3"):
        assert counted_otherwise(nwbfile, folder) == {"/movie": FRAMES + 12}


def test_plans_are_made_with_the_counted_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    uneven = lambda number: number + 9 * (number > 4)  # noqa: E731
    write_movie(folder / "uneven.mkv", FRAMES, uneven)
    for name, policy in (("even.mp4", "raise"), ("uneven.mkv", "warn")):
        source = SimpleNamespace(
            nwbfile=lambda name=name: watching(name, rate=25.0, num_samples=FRAMES + 1), on_mismatch=policy
        )
        with pytest.warns(UserWarning, match=f"{FRAMES} frames of /movie are counted"):
            assert plan_conversion(source, 2).layout.nbytes == 0
    source.on_mismatch = "raise"
    with pytest.raises(LinkError, match="has frames at uneven times"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan_conversion(source, 2)


def test_the_watchdog_hears_of_movies_that_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each write, and where neuroconv's series are counted or read into the file."""
    told: list[str] = []
    monkeypatch.setattr(clips, "_remembered", {})
    monkeypatch.setattr(Ranks, "going_on", lambda self, text: told.append(text))
    expected = f"counting frames of {folder / 'even.mp4'}, 0"

    def filmed() -> NWBFile:
        return watching("even.mp4", rate=25.0, num_samples=FRAMES)

    with NWBParallelIO(folder / "told.nwb", "w", progress=False) as io:
        io.write(filmed())
    assert told.count(expected) == 1
    clips._remembered.clear()
    ranks = Ranks(None)
    write_built(ranks, filmed, folder / "built.nwb", "w", progress=False)
    ranks.free()
    assert told.count(expected) == 2
    monkeypatch.chdir(folder)
    clips._remembered.clear()
    ingest_movies_here(filmed(), step=told.append)
    assert told.count(expected) == 3
