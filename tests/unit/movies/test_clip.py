"""Frames are counted, and found from any on, as a player that begins at the start shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason='needs the extra "movies"')
pytest.importorskip("cv2", reason='needs the extra "test"')

import av
import cv2
from contract.media import FRAMES, HEIGHT, WIDTH, prepare_media, scene

from parnwb import MovieFrames
from parnwb.errors import SourceError
from parnwb.movies import examine
from parnwb.sources import Access
from parnwb.sources.adapt import as_source

STACKS = ("one.tif", "part1.tif")
MOVIES = ("video.avi", "video.mp4", "uneven.mp4", "closed.mp4", "open.mp4", "closed.mkv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("movies")
    prepare_media(folder)
    for name in ("closed.mp4", "open.mp4", "closed.mkv", "predicted.avi"):
        _write(folder / name, opens=name.startswith("open"))
    return folder


def _write(path: Path, *, opens: bool) -> None:
    """Write H.264, in which frames are stored in another order than they are shown."""
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.options = {"x264-params": f"bframes=2:keyint=12:scenecut=0:open-gop={int(opens)}"}
            for picture in scene():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(stream.encode())
    except (av.error.FFmpegError, ValueError):
        pytest.skip("this FFmpeg has no H.264 encoder")


def played(path: Path) -> np.ndarray:
    """Return all frames as OpenCV plays them."""
    movie, frames = cv2.VideoCapture(str(path)), []
    while (read := movie.read())[0]:
        frames.append(read[1][..., ::-1])
    return np.stack(frames)


@pytest.mark.parametrize("name", MOVIES)
def test_movies(folder: Path, name: str) -> None:
    clip, whole = examine(folder / name), played(folder / name)
    assert (clip.frames, clip.shape, clip.dtype) == (FRAMES, (HEIGHT, WIDTH, 3), np.uint8)
    assert clip.is_seekable and len(whole) == FRAMES
    for first in range(0, FRAMES, 4):
        for stop in (first + 1, min(first + 9, FRAMES)):
            assert np.array_equal(clip.read(first, stop), whole[first:stop]), (first, stop)


@pytest.mark.parametrize("name", STACKS)
def test_stacks(folder: Path, name: str) -> None:
    import tifffile

    clip, whole = examine(folder / name), tifffile.imread(folder / name)
    assert (clip.frames, clip.shape, clip.dtype) == (len(whole), whole.shape[1:], whole.dtype)
    assert np.array_equal(clip.read(3, 17), whole[3:17])


def test_times(folder: Path) -> None:
    assert examine(folder / "video.mp4").rate == pytest.approx(25)
    times = examine(folder / "uneven.mp4").times
    assert times is not None and set(np.round(np.diff(times) * 25).astype(int)) == {1, 5}


def test_several_files_are_one_array(folder: Path) -> None:
    frames = MovieFrames([folder / "video.avi", folder / "closed.mp4"])
    assert frames.maxshape == (2 * FRAMES, HEIGHT, WIDTH, 3)
    whole = np.concatenate([played(folder / "video.avi"), played(folder / "closed.mp4")])
    selection = (slice(FRAMES - 5, FRAMES + 7), slice(3, 20), slice(0, WIDTH), slice(1, 3))
    assert np.array_equal(frames._get_data(selection), whole[selection])
    assert as_source(frames).access is Access.GRIDDED


def test_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="one shape and type"):
        MovieFrames([folder / "video.avi", folder / "one.tif"])
    with pytest.raises(SourceError, match="must tell the time of each frame.*predicted.avi"):
        MovieFrames(folder / "predicted.avi")
    for name in ("text.avi", "text.tif"):
        (tmp_path / name).write_text("no movie")
        with pytest.raises(SourceError, match=f"cannot be read.*{name}"):
            examine(tmp_path / name)
    with pytest.raises(SourceError, match="must be a file"):
        examine(tmp_path / "gone.avi")
    with pytest.raises(SourceError, match="needs a file"):
        MovieFrames([])


def test_a_movie_that_was_cut_is_an_error(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    path.write_bytes((folder / "closed.mkv").read_bytes())
    clip = examine(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="frame .* is missing"):
        clip.read(0, FRAMES)
