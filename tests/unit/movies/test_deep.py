"""All frames, with all their bits: of TIFF files however they were written, and of movies of more than 8 bits."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason='needs the extra "movies"')
pytest.importorskip("tifffile", reason='needs the extra "movies"')

import av
import tifffile
from contract.deep_media import (
    DEEP,
    FRAMES,
    HEIGHT,
    STACKS,
    WIDTH,
    values,
    write_deep,
    write_lossy_ten_bits,
    write_stack,
    write_two_kinds,
)

from parnwb import MovieFrames
from parnwb.errors import SourceError
from parnwb.movies import clip as clips
from parnwb.movies import examine


def part(frames: MovieFrames, first: int, stop: int) -> np.ndarray:
    """Return some frames, as they are asked for."""
    return frames._get_data((slice(first, stop), *(slice(0, extent) for extent in frames.maxshape[1:])))


@pytest.mark.parametrize("name", STACKS)
def test_every_page_of_a_stack_is_a_frame(name: str, tmp_path: Path) -> None:
    path, frames = write_stack(tmp_path, name)
    told: list[str] = []
    clip = examine(path, told.append)
    assert told == [f"counting pages of {path}"]
    assert (clip.frames, clip.shape, clip.dtype) == (FRAMES, (HEIGHT, WIDTH), np.uint16)
    for first in range(FRAMES):
        assert np.array_equal(clip.read(first, FRAMES), frames[first:])
    assert np.array_equal(part(pickle.loads(pickle.dumps(MovieFrames(path))), 2, 4), frames[2:4])


def test_how_stacks_differ_as_tifffile_sees_them(tmp_path: Path) -> None:
    """Or these tests would be of one kind only: pages that are series, and one page for all."""
    for name, series, pages in (("loop", FRAMES, FRAMES), ("appended", FRAMES, FRAMES), ("without_pages", 1, 1)):
        with tifffile.TiffFile(write_stack(tmp_path, name)[0]) as file:
            assert (len(file.series), len(file.pages)) == (series, pages), name


def test_stacks_that_are_refused(tmp_path: Path) -> None:
    write_two_kinds(tmp_path / "two.tif")
    with pytest.raises(SourceError, match=r"of one shape and type: there are .8, 36. of uint16, .24, 36. of uint16"):
        examine(tmp_path / "two.tif")
    path, _ = write_stack(tmp_path, "without_pages")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(SourceError, match="of 7 frames 1 have a page|cannot be read"):
        examine(path)


def test_a_stack_that_loses_its_end_is_an_error(tmp_path: Path) -> None:
    path, _ = write_stack(tmp_path, "without_pages")
    frames = MovieFrames(path)
    packed = pickle.dumps(frames)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(SourceError, match="pages 5 to 6 of an image stack cannot be read: EOFError"):
        part(frames, 5, 7)
    with pytest.raises(SourceError, match="must be the one whose frames were counted: it had .* bytes and has"):
        pickle.loads(packed)


@pytest.mark.parametrize("name", DEEP)
def test_values_of_movies_keep_their_bits(name: str, tmp_path: Path) -> None:
    deep = DEEP[name]
    frames = MovieFrames(write_deep(tmp_path, deep, name))
    assert frames.maxshape == deep.frames.shape and frames.dtype == np.uint16
    assert np.array_equal(part(frames, 0, FRAMES), deep.frames)
    assert np.array_equal(part(frames, 3, 5), deep.frames[3:5])


def test_movies_whose_bits_cannot_be_kept_are_counted_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ten.mkv"
    write_lossy_ten_bits(path)
    assert examine(path).frames == FRAMES and examine(path).shape[:2] == (HEIGHT, WIDTH)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"yuv420p10le has values that RGB of 8 bits.*ten\.mkv.*-pix_fmt rgb24"):
            MovieFrames(path)


# -- counting ---------------------------------------------------------------------------------------------------------

LONG, BYTES = 600, 2**17


@pytest.fixture(scope="module")
def long_movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("long") / "raw.nut"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 512, BYTES // 512, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((BYTES // 512, 512), "u1"), format="gray")
        for number in range(LONG):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert path.stat().st_size > LONG * BYTES
    return path


def anonymous() -> int:
    """Return bytes that this process has in memory of its own."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


def test_counting_keeps_no_packets_and_tells_that_it_goes_on(long_movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_remembered", {})
    seen: list[int] = []
    told: list[str] = []

    def step(text: str) -> None:
        seen.append(anonymous())
        told.append(text)

    assert examine(long_movie, step).frames == LONG
    assert len(told) == 3 and told[-1].endswith("raw.nut, 512") and told[0].startswith("counting frames of /")
    assert seen[-1] - seen[0] < 16e6 < 512 * BYTES


def test_other_ranks_count_nothing(long_movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pickle.dumps(MovieFrames(long_movie))
    monkeypatch.setattr(clips, "_remembered", {})

    def counts(*_: Any) -> Any:
        raise AssertionError("a movie was counted again")

    monkeypatch.setattr(clips, "_examine_movie", counts)
    frames = pickle.loads(packed)
    assert frames.maxshape == (LONG, BYTES // 512, 512) and not part(frames, LONG - 1, LONG).any()
    assert len(packed) < 40 * LONG


def test_what_is_remembered_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_remembered", {})
    monkeypatch.setattr(clips, "MOST_REMEMBERED", 2)
    for number in range(4):
        tifffile.imwrite(tmp_path / f"{number}.tif", values(8)[: number + 1], photometric="minisblack")
        assert examine(tmp_path / f"{number}.tif").frames == number + 1
    assert len(clips._remembered) == 2


@pytest.mark.parametrize("ticks", [None, np.array([5]), np.arange(-3, 100_000) * 7, np.arange(5) * 70_000])
@pytest.mark.parametrize("all_keys", [False, True])
def test_times_of_millions_of_frames_are_sent_as_a_byte_each(ticks: Any, all_keys: bool) -> None:
    keys = ticks if ticks is None or all_keys else ticks[:1]
    clip = clips.Clip(Path("/movie"), 1, 0 if ticks is None else len(ticks), (8, 8), np.dtype("u1"), 0.04, ticks, keys)
    packed = pickle.dumps(clip)
    found = pickle.loads(packed)
    assert len(packed) < 1000 + clip.frames * 1.1
    for had, has in ((clip.ticks, found.ticks), (clip.keys, found.keys)):
        assert (had is None and has is None) or (has.dtype == np.int64 and np.array_equal(had, has))
    assert vars(found).keys() == vars(clip).keys()
