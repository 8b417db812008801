"""``Clip``: what a movie or an image stack holds, read with PyAV or tifffile; and its frames, from any on."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.movies.library import not_installed
from parnwb.movies.pixels import Frames, values_of
from parnwb.movies.stack import STACKS, Stack, examine_stack
from parnwb.target import tell_nobody

Step = Callable[[str], None]
PACKETS_IN_STEP = 256
"""So many packets are read before the watchdog hears that it goes on."""

MOST_REMEMBERED = 1024


@dataclass(frozen=True)
class Clip:
    """A movie, or a stack of images. Made by ``examine``.

    Parameters
    ----------
    path
        Absolute.
    nbytes
        Length of the file.
    frames
        How many there are: counted, not what the file says of itself.
    shape
        Of a frame: height, width, and for colours 3.
    dtype
        Of a value.
    tick
        Seconds, in which ``ticks`` count; or those between two frames, where the file lists no times. None for stacks.
    ticks
        When frames are shown, sorted; None for stacks, and where the file lists no times.
    keys
        Ticks at which decoding can begin.
    stack
        Where the frames of a stack are; None for movies.
    withheld
        Why frames cannot be read as they are, though they can be counted; None if they can.
    """

    path: Path
    nbytes: int
    frames: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    tick: float | None = None
    ticks: npt.NDArray[np.int64] | None = None
    keys: npt.NDArray[np.int64] | None = None
    stack: Stack | None = None
    withheld: SourceError | None = None

    @property
    def times(self) -> npt.NDArray[np.float64] | None:
        """Seconds at which frames are shown, sorted, from the first on; None for stacks."""
        if self.tick is None:
            return None
        counted = np.arange(self.frames) if self.ticks is None else self.ticks - self.ticks[0]
        return np.asarray(counted * self.tick, np.float64)

    @property
    def rate(self) -> float | None:
        """Frames a second on average; None where there are no times."""
        times = self.times
        if times is None or len(times) < 2 or times[-1] <= 0:
            return None
        return float((len(times) - 1) / times[-1])

    @property
    def is_seekable(self) -> bool:
        """Tell whether any frame can be read without all before it."""
        return self.stack is not None or self.ticks is not None

    def read(self, first: int, stop: int) -> Frames:
        """Return the frames from ``first`` on, before ``stop``. Independent.

        Raises
        ------
        SourceError
            They cannot be decoded.
        """
        if self.stack is not None:
            return self.stack.read(first, stop)
        out = np.empty((stop - first, *self.shape), self.dtype)
        expected = first
        for number, frame in self._decoded(first):
            if number != expected or frame.shape != self.shape or frame.dtype != self.dtype:
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

    def require_same_file(self) -> None:
        """Refuse to read a file that is not the one whose frames were counted, by its length. Independent.

        Raises
        ------
        SourceError
            It is not there, or has another length.
        """
        nbytes = _status(self.path).st_size
        if nbytes != self.nbytes:
            raise SourceError(
                f"a movie must be the one whose frames were counted: it had {self.nbytes} bytes and has {nbytes}",
                where=str(self.path),
                remedy="Let every rank see the same file, and wait until its recording has ended",
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to other ranks: times as steps between frames, mostly a byte each; days have millions."""
        state = {**self.__dict__, "all_keys": False}
        if self.ticks is not None and len(self.ticks):
            steps = np.diff(self.ticks)
            state["ticks"] = int(self.ticks[0]), steps.astype(np.min_scalar_type(int(steps.max(initial=0))))
            if self.keys is not None and np.array_equal(self.keys, self.ticks):
                state.update(keys=None, all_keys=True)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was sent."""
        all_keys = state.pop("all_keys")
        if isinstance(state["ticks"], tuple):
            begin, steps = state["ticks"]
            state["ticks"] = begin + np.concatenate([[0], np.cumsum(steps, dtype=np.int64)])
        if all_keys:
            state["keys"] = state["ticks"]
        self.__dict__.update(state)

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
                    yield number, values_of(frame)

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


_remembered: dict[tuple[Path, int, int], Clip] = {}


def examine(path: str | Path, step: Step = tell_nobody) -> Clip:
    """Count the frames of a movie or stack, and find out their shape and times. Independent.

    A movie's packets are read, one at a time, and nothing but its first frame is decoded. What was found is remembered
    as long as the file has the same length and time.

    Parameters
    ----------
    path
        The file.
    step
        Is told now and then that it goes on.

    Raises
    ------
    SourceError
        There is no such file, no library reads it, or it holds no frames.
    """
    path = Path(os.path.abspath(path))
    status = _status(path)
    seen = path, status.st_size, status.st_mtime_ns
    if seen not in _remembered:
        clip = _examine_stack(*seen[:2], step) if path.suffix.lower() in STACKS else _examine_movie(*seen[:2], step)
        while len(_remembered) >= MOST_REMEMBERED:
            _remembered.pop(next(iter(_remembered)))
        _remembered[seen] = clip
    return _remembered[seen]


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise SourceError(
            f"a movie must be a file that can be read: {error.strerror}", where=str(path), remedy="Check the path"
        ) from error


def _examine_stack(path: Path, nbytes: int, step: Step = tell_nobody) -> Clip:
    step(f"counting pages of {path}")
    stack = examine_stack(path)
    return Clip(path, nbytes, stack.frames, stack.shape, stack.dtype, stack=stack)


def _examine_movie(path: Path, nbytes: int, step: Step = tell_nobody) -> Clip:
    with _opened(path) as container:
        stream = container.streams.video[0]
        ticks, keys, all_timed = _listed(container, stream, lambda count: step(f"counting frames of {path}, {count}"))
        # AVI files list no times; they are guessed from the order of packets, which need not be that of the frames.
        has_ticks = all_timed and len(np.unique(ticks)) == len(ticks)
        has_ticks &= bool(keys.all()) or container.format.name != "avi"
        base = stream.time_base or Fraction(1, 1)
        rate = stream.average_rate or stream.base_rate
    shape, dtype, withheld = _first_frame(path)
    if not len(ticks):
        raise SourceError("a movie must have a frame", where=str(path), remedy="Check the file")
    if not has_ticks:
        return Clip(path, nbytes, len(ticks), shape, dtype, 1 / float(rate or 1), withheld=withheld)
    ordered = np.sort(ticks)
    begins = ordered if keys.all() else np.sort(ticks[keys])
    return Clip(path, nbytes, len(ticks), shape, dtype, float(base), ordered, begins, withheld=withheld)


def _listed(
    container: Any, stream: Any, tell: Callable[[int], None]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], bool]:
    """Return times and kinds of all packets, and whether all have a time; of their bytes none is kept."""
    ticks, keys, all_timed = array("q"), bytearray(), True
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard:
            continue
        if len(ticks) % PACKETS_IN_STEP == 0:
            tell(len(ticks))
        all_timed &= packet.pts is not None
        ticks.append(-1 if packet.pts is None else packet.pts)
        keys.append(packet.is_keyframe)
    return np.array(ticks, np.int64), np.frombuffer(bytes(keys), np.bool_), all_timed


def _first_frame(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], SourceError | None]:
    """Return shape and type of frames, and what keeps them from being read as they are."""
    with _opened(path) as container:
        frame = next(container.decode(container.streams.video[0]), None)
        if frame is None:
            raise SourceError("a movie must have a frame", where=str(path), remedy="Check the file")
        try:
            values = values_of(frame)
        except SourceError as error:
            reason = SourceError(error.message, where=str(path), remedy=error.remedy)
            return (frame.height, frame.width, 3), np.dtype(np.uint8), reason
        return values.shape, values.dtype, None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import av
    except ImportError as error:
        raise not_installed("PyAV", path) from error
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
