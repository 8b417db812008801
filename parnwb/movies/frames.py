"""``MovieFrames``: the frames of movies or image stacks as data, decoded by all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hdmf.data_utils import GenericDataChunkIterator

from parnwb.errors import SourceError
from parnwb.movies.clip import Clip, examine


class MovieFrames(GenericDataChunkIterator):
    """Movies (AVI, MP4, all that FFmpeg reads) or TIFF stacks, in order, as data of an ``ImageSeries``. Independent.

    ``ImageSeries(data=MovieFrames(["a.avi", "b.avi"]), rate=30.0, unit="n.a.", ...)``: time x height x width, and 3
    for colours. Values of grey movies, and of RGB with more than 8 bits, are those stored; others become RGB of 8 bits,
    and are refused where that has fewer. Each rank decodes what it writes, from the key frame before it on. Plain
    pynwb takes it as well.

    Parameters
    ----------
    paths
        One file, or several in order.
    settings
        Of hdmf's ``GenericDataChunkIterator``: ``chunk_shape``, ``buffer_gb`` and so on.

    Raises
    ------
    SourceError
        A file cannot be read, frames differ in shape or type or have more bits than can be kept, or a movie does not
        tell the times of its frames, by which they are found.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], **settings: Any) -> None:
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        self._begin(tuple(examine(path) for path in given), settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.clips, self._settings)  # movies are read to their ends on one rank only

    def _begin(self, clips: tuple[Clip, ...], settings: dict[str, Any]) -> None:
        self.clips, self._settings = clips, settings
        self._check()
        self._first = np.cumsum([0, *(clip.frames for clip in clips)])
        super().__init__(**settings)

    def _check(self) -> None:
        if not self.clips:
            raise SourceError("MovieFrames needs a file", remedy="Give the path of a movie or of a TIFF stack")
        withheld = next((clip.withheld for clip in self.clips if clip.withheld is not None), None)
        if withheld is not None:
            raise copy(withheld)
        kinds = {(clip.shape, clip.dtype): clip.path for clip in self.clips}
        if len(kinds) > 1:
            said = ", ".join(f"{path.name} has {shape} of {dtype}" for (shape, dtype), path in kinds.items())
            raise SourceError(
                f"frames of one series must have one shape and type: {said}", remedy="Make a series for each"
            )
        blind = next((clip for clip in self.clips if not clip.is_seekable), None)
        if blind is not None:
            raise SourceError(
                "a movie must tell the time of each frame, by which ranks find theirs",
                where=str(blind.path),
                remedy="Copy it into a container that does (ffmpeg -i IN -c copy OUT.mkv), or use neuroconv's "
                "InternalVideoInterface, whose frames one rank reads",
            )

    def _get_data(self, selection: tuple[slice, ...]) -> npt.NDArray[Any]:
        frames, inner = selection[0], (slice(None), *selection[1:])
        parts = []
        for clip, first in zip(self.clips, self._first.tolist(), strict=False):
            low, high = max(frames.start - first, 0), min(frames.stop - first, clip.frames)
            if low < high:
                parts.append(clip.read(low, high)[inner])
        return np.ascontiguousarray(np.concatenate(parts))

    def _get_maxshape(self) -> tuple[int, ...]:
        return (sum(clip.frames for clip in self.clips), *self.clips[0].shape)

    def _get_dtype(self) -> np.dtype[Any]:
        return self.clips[0].dtype


def _remade(clips: tuple[Clip, ...], settings: dict[str, Any]) -> MovieFrames:
    for clip in clips:
        clip.require_same_file()
    frames = MovieFrames.__new__(MovieFrames)
    frames._begin(clips, settings)
    return frames
