"""``Clip``: what a movie or an image stack holds, read with PyAV or tifffile; and its frames, from any on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError

if TYPE_CHECKING:
    import av

STACKS = (".tif", ".tiff", ".btf", ".tf8")
Frames = npt.NDArray[Any]


@dataclass(frozen=True)
class Clip:
    """A movie, or a stack of images. Made by ``examine``.

    Parameters
    ----------
    path
        Absolute.
    frames
        How many there are: counted, not what the file says of itself.
    shape
        Of a frame: height, width, and for colours 3.
    dtype
        Of a value.
    times
        Seconds at which frames are shown, sorted, from the first on; None for stacks.
    ticks
        The same in the stream's own units, for finding frames; None for stacks, and where the file has none.
    keys
        Ticks at which decoding can begin.
    """

    path: Path
    frames: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    times: npt.NDArray[np.float64] | None = None
    ticks: npt.NDArray[np.int64] | None = None
    keys: npt.NDArray[np.int64] | None = None

    @property
    def rate(self) -> float | None:
        """Frames a second on average; None where there are no times."""
        if self.times is None or len(self.times) < 2 or self.times[-1] <= 0:
            return None
        return float((len(self.times) - 1) / self.times[-1])

    @property
    def is_seekable(self) -> bool:
        """Tell whether any frame can be read without all before it."""
        return self.times is None or self.ticks is not None

    def read(self, first: int, stop: int) -> Frames:
        """Return the frames from ``first`` on, before ``stop``. Independent.

        Raises
        ------
        SourceError
            They cannot be decoded.
        """
        if self.times is None:
            return _read_stack(self.path, first, stop)
        out = np.empty((stop - first, *self.shape), self.dtype)
        expected = first
        for number, frame in self._decoded(first):
            if number != expected or frame.shape != self.shape:
                break
            out[number - first] = frame
            expected += 1
            if expected == stop:
                return out
        raise SourceError(
            f"a movie must have the frames that were counted: of {first} to {stop - 1}, frame {expected} is missing",
            where=str(self.path),
            remedy="It is damaged, or has changed: play it to the end with another program",
        )

    def _decoded(self, first: int) -> Iterator[tuple[int, Frames]]:
        """Iterate over frames with their numbers, from ``first`` on: decoded from the key frame before it."""
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            if self.ticks is not None and self.keys is not None and first > 0:
                key = self.keys[max(0, int(np.searchsorted(self.keys, self.ticks[first], side="right")) - 1)]
                container.seek(int(key), stream=stream, backward=True, any_frame=False)
            for count, frame in enumerate(container.decode(stream)):
                number = count if self.ticks is None else self._number_at(frame.pts)
                if number >= first:
                    yield number, _values(frame)

    def _number_at(self, tick: int | None) -> int:
        """Return which frame is shown at a time; none of them is no frame that was counted."""
        assert self.ticks is not None
        number = int(np.searchsorted(self.ticks, -1 if tick is None else tick))
        if number == len(self.ticks) or self.ticks[number] != tick:
            raise SourceError(
                f"a movie must show its frames at the times that it lists, one comes at {tick}",
                where=str(self.path),
                remedy="Copy it into another container: ffmpeg -i IN -c copy OUT.mkv",
            )
        return number


@lru_cache(maxsize=256)
def _examined(path: Path, size: int, changed: int) -> Clip:
    return _examine_stack(path) if path.suffix.lower() in STACKS else _examine_movie(path)


def examine(path: str | Path) -> Clip:
    """Count the frames of a movie or stack, and find out their shape and times. Independent.

    A movie's packets are read, and nothing but its first frame is decoded.

    Raises
    ------
    SourceError
        There is no such file, no library reads it, or it holds no frames.
    """
    path = Path(os.path.abspath(path))
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(
            f"a movie must be a file that can be read: {error.strerror}", where=str(path), remedy="Check the path"
        ) from error
    return _examined(path, status.st_size, status.st_mtime_ns)


def _examine_stack(path: Path) -> Clip:
    with _stack(path) as file:
        series = file.series[0]
        pages = len(series.pages)
        shape = tuple(int(extent) for extent in series.keyframe.shape)
        return Clip(path, pages, shape, np.dtype(series.dtype))


def _examine_movie(path: Path) -> Clip:
    with _opened(path) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        ticks = np.array([-1 if packet.pts is None else packet.pts for packet in packets], np.int64)
        keys = np.array([packet.is_keyframe for packet in packets], bool)
        # AVI files list no times; they are guessed from the order of packets, which need not be that of the frames.
        has_ticks = all(packet.pts is not None for packet in packets) and len(np.unique(ticks)) == len(ticks)
        has_ticks &= bool(keys.all()) or container.format.name != "avi"
        base = stream.time_base or Fraction(1, 1)
        rate = stream.average_rate or stream.base_rate
    with _opened(path) as container:
        frame = next(container.decode(container.streams.video[0]), None)
        if frame is None or not packets:
            raise SourceError("a movie must have a frame", where=str(path), remedy="Check the file")
        shape, dtype = _values(frame).shape, _values(frame).dtype
    if not has_ticks:
        times = np.arange(len(packets)) / float(rate or 1)
        return Clip(path, len(packets), shape, dtype, times)
    ordered = np.sort(ticks)
    times = (ordered - ordered[0]) * float(base)
    return Clip(path, len(packets), shape, dtype, times, ordered, np.sort(ticks[keys]))


def _values(frame: av.VideoFrame) -> Frames:
    """Return a frame as others decode it: grey where the movie is, else RGB."""
    grey = {"gray": "gray", "gray8": "gray", "gray16le": "gray16le"}.get(frame.format.name)
    values: Frames = frame.to_ndarray(format=grey or "rgb24")
    return values


def _read_stack(path: Path, first: int, stop: int) -> Frames:
    with _stack(path) as file:
        pages = file.series[0].pages
        try:
            return np.stack([pages[number].asarray() for number in range(first, stop)])
        except Exception as error:
            raise SourceError(
                f"pages {first} to {stop - 1} of an image stack cannot be read: {type(error).__name__}: {error}",
                where=str(path),
                remedy="It is damaged, or has changed",
            ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import av
    except ImportError as error:
        raise _missing("PyAV", path) from error
    try:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "NONE"  # ranks are the unit of parallelism
            yield container
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise SourceError(
            f"a movie cannot be read: {type(error).__name__}: {error}",
            where=str(path),
            remedy="It is damaged, of a kind that FFmpeg does not know, or no movie",
        ) from error


@contextmanager
def _stack(path: Path) -> Iterator[Any]:
    try:
        import tifffile
    except ImportError as error:
        raise _missing("tifffile", path) from error
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except (tifffile.TiffFileError, OSError, IndexError) as error:
        raise SourceError(
            f"an image stack cannot be read: {type(error).__name__}: {error}",
            where=str(path),
            remedy="It is damaged, or no TIFF file",
        ) from error


def _missing(library: str, path: Path) -> SourceError:
    return SourceError(
        f"{library}, which reads such files, is not installed", where=str(path), remedy='pip install "parnwb[movies]"'
    )
