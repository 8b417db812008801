"""Faults in external images: movies that are missing, out of order, or not what their series says."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from contract import deep_media
from failure.faults.fault import Place, fault
from failure.faults.linking import PLAIN, Plain
from failure.faults.material import session
from pynwb import NWBFile
from pynwb.image import ImageSeries

from parnwb import MovieFrames, place_movies
from parnwb.movies import placing

COUNTS = {"one.avi": 10, "two.avi": 12}
HEIGHT, WIDTH = 24, 32
TICK = Fraction(1, 25)


def prepare(folder: Path) -> None:
    """Write two movies, one with frames at uneven times, and a stack."""
    import tifffile

    for name, frames in COUNTS.items():
        write_movie(folder / name, frames)
    write_movie(folder / "uneven.mp4", 10, lambda number: number + 5 * (number > 4))
    tifffile.imwrite(folder / "stack.tif", np.zeros((7, HEIGHT, WIDTH), "u1"))
    deep_media.write_stack(folder, "loop")
    deep_media.write_stack(folder, "without_pages")
    deep_media.write_two_kinds(folder / "kinds.tif")
    (folder / "inside").mkdir()


def write_movie(path: Path, frames: int, when: Callable[[int], int] = lambda number: number) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        stream.codec_context.time_base = TICK
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 9 * number, "u1"), format="rgb24")
            frame.pts, frame.time_base = when(number), TICK
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def watching(*names: str, **said: Any) -> NWBFile:
    """Return a file with a series of external images."""
    nwbfile = session(name="own")
    timing = {} if "timestamps" in said else {"rate": 25.0, "num_samples": 22}
    settings = {"format": "external", "starting_frame": [0, 10][: len(names)], **timing, **said}
    nwbfile.add_acquisition(ImageSeries(name="movie", external_file=list(names), **settings))
    return nwbfile


def stored(path: Path) -> dict[str, Any]:
    """Return what readers are told."""
    with h5py.File(path) as file:
        series = file["/acquisition/movie"]
        names = series["external_file"].asstr()[()].tolist()
        return {
            "starts": series["external_file"].attrs["starting_frame"].tolist(),
            "there": [(path.parent / name).is_file() for name in names],
            "rows": len(series["timestamps"]) if "timestamps" in series else None,
        }


BOTH = ("one.avi", "two.avi")


def register(
    name: str, content: Callable[[], NWBFile], shows: dict[str, Any], *says: str, output: str = "out.nwb"
) -> None:
    """Register a fault for both writers."""
    damage = lambda path: {key: stored(path)[key] for key in shows}  # noqa: E731
    PLAIN[f"movie_{name}"] = Plain(lambda _: content(), damage, shows, prepare, None, output)

    @fault("LinkError", *says, name=f"movie_{name}", prepare=lambda place: prepare(place.folder))
    def run(place: Place) -> None:
        place.write(content(), path=place.folder / output)


register(
    "is_missing",
    lambda: watching("one.avi", "three.avi"),
    {"there": [True, False]},
    "/movie: three.avi is not there, seen from",
    "place_movies",
)
register(
    "is_seen_from_elsewhere",
    lambda: watching(*BOTH),
    {"there": [False, False]},
    "/movie: one.avi is not there, seen from .*inside",
    output="inside/out.nwb",
)
register(
    "order",
    lambda: watching("two.avi", "one.avi"),
    {"starts": [0, 10]},
    r"starting_frame is \[0, 10\], the files have \[12, 10\] frames, so that it must be \[0, 12\]",
)
register(
    "starts_fall",
    lambda: watching(*BOTH, starting_frame=[10, 0]),
    {"starts": [10, 0]},
    r"must begin with 0 and rise from file to file, it is \[10, 0\]",
)
register("is_named_twice", lambda: watching("one.avi", "one.avi"), {"starts": [0, 10]}, "a file is named twice")
register(
    "number_of_timestamps",
    lambda: watching(*BOTH, timestamps=np.arange(21) / 25),
    {"rows": 21},
    "there are 21 timestamps for 22 frames",
)
register(
    "number_of_samples",
    lambda: watching(*BOTH, num_samples=30),
    {"rows": None},
    "num_samples is 30, the files have 22 frames",
)
register(
    "number_of_pages",
    lambda: watching("stack.tif", timestamps=np.arange(9) / 25),
    {"rows": 9},
    "there are 9 timestamps for 7 frames",
)
register(
    "pages_that_are_series",
    lambda: watching("loop.tif", num_samples=1),
    {"rows": None},
    "num_samples is 1, the files have 7 frames",
)
register(
    "frames_without_pages",
    lambda: watching("without_pages.tif", timestamps=[0.0]),
    {"rows": 1},
    "there are 1 timestamps for 7 frames",
)
register(
    "pages_of_two_kinds",
    lambda: watching("kinds.tif", num_samples=7),
    {"rows": None},
    "frames cannot be counted: an image stack must have pages of one shape and type",
)
register(
    "dimension",
    lambda: watching(*BOTH, dimension=[HEIGHT, WIDTH]),
    {"rows": None},
    rf"dimension is \[{HEIGHT}, {WIDTH}\], frames have width and height \[{WIDTH}, {HEIGHT}\]",
)
register(
    "times_are_uneven",
    lambda: watching("uneven.mp4", num_samples=10),
    {"rows": None},
    "uneven.mp4 has frames at uneven times",
    "give timestamps instead",
)


# -- what becomes of them on request --------------------------------------------------------------------------------


@fault(None, name="movie_mismatch_is_warned_of", prepare=lambda place: prepare(place.folder), leaves=True)
def mismatch_is_warned_of(place: Place) -> None:
    """The file is written as the series says, and the root tells of all that is wrong, before and once."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        place.write(watching("one.avi", "three.avi", starting_frame=[0, 3]), on_mismatch="warn")
    told = [str(item.message) for item in warned if str(item.message).startswith("external images: /movie: ")]
    assert len(told) == (place.rank == 0), told
    if place.rank == 0:
        assert "three.avi is not there, seen from" in told[0]
        assert stored(place.path) == {"starts": [0, 3], "there": [True, False], "rows": None}


def prepare_deep(place: Place) -> None:
    """Write movies of more than 8 bits, and stacks."""
    prepare(place.folder)
    deep_media.write_deep(place.folder, deep_media.DEEP["grey12"], "grey12")
    deep_media.write_lossy_ten_bits(place.folder / "ten.mkv")


def framed(*names: str, folder: Path) -> NWBFile:
    """Return a file with a series of the frames of each file."""
    nwbfile = session(name="own")
    for name in names:
        frames = MovieFrames(folder / name)
        nwbfile.add_acquisition(ImageSeries(name=Path(name).stem, data=frames, unit="n.a.", rate=25.0))
    return nwbfile


@fault(None, name="movie_frames_are_all_there", prepare=prepare_deep, leaves=True)
def frames_are_all_there(place: Place) -> None:
    """The ranks other than the first get theirs from it, and none of them reads a movie to its end."""
    names = ("loop.tif", "without_pages.tif", "grey12.mkv")
    place.write(framed(*names, folder=place.folder) if place.rank == 0 else None, bulk_threshold=0)
    if place.rank == 0:
        with h5py.File(place.path) as file:
            for name in names:
                data = file[f"acquisition/{Path(name).stem}/data"]
                assert data.dtype == np.uint16 and np.array_equal(data, deep_media.values(12)), name


@fault("SourceError", "yuv420p10le has values that RGB of 8 bits", name="movie_has_more_bits", prepare=prepare_deep)
def has_more_bits(place: Place) -> None:
    place.write(framed("ten.mkv", folder=place.folder))


def grows(place: Place, how: str) -> None:
    """Bring a movie along to which something is added while it is copied; nothing of it may be lost."""
    film, real = place.folder / "one.avi", placing._copy_piece
    before = film.read_bytes()

    def copy_piece(*arguments: Any) -> None:
        real(*arguments)
        with film.open("ab") as file:
            file.write(b"more")

    placing._copy_piece = copy_piece if place.rank == 0 else real
    try:
        place_movies(watching("one.avi") if place.rank == 0 else None, place.path, place.comm, how)
    finally:
        placing._copy_piece = real
        if place.rank == 0:
            assert film.read_bytes() == before + b"more"
            assert not list((place.folder / "out").iterdir()), "half a movie has its name"


for how in ("copy", "move"):
    fault("LinkError", "must not change while it is copied", "one.avi", name=f"movie_grows_{how}", clean=False,
          changes=True, prepare=lambda place: prepare(place.folder))(partial(grows, how=how))  # fmt: skip
