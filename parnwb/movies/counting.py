"""How many frames the movies of a series have, where its number was taken from what they say of themselves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.errors import SourceError
from parnwb.links.series import place_of
from parnwb.movies.checks import external_series, missing_libraries
from parnwb.movies.clip import Step, examine
from parnwb.target import tell_nobody

if TYPE_CHECKING:
    from pynwb import NWBFile
    from pynwb.image import ImageSeries


def counted_otherwise(nwbfile: NWBFile, folder: Path, step: Step = tell_nobody) -> dict[str, int]:
    """Return how many frames there are for series that say another number, and nothing else against it; warn of these.

    neuroconv takes the number from the headers of movies. There it is an estimate from the length in time, which is too
    high where the camera dropped a frame or began later. Independent.

    Parameters
    ----------
    nwbfile
        Made by neuroconv.
    folder
        Where relative names begin.
    step
        Is told now and then that movies are read.

    Returns
    -------
    counted
        By place of the series. Those whose files are not there or cannot be read are left to ``check_movies``.
    """
    counted = {}
    for series in external_series(nwbfile):
        frames = _counted(series, folder, step)
        if frames is not None:
            counted[place_of(series)] = frames
            said = f"and so the series says; num_samples was {series.num_samples}, as the header of the movie has it"
            warnings.warn(f"{frames} frames of {place_of(series)} are counted, {said}", stacklevel=2)
    return counted


def _counted(series: ImageSeries, folder: Path, step: Step) -> int | None:
    names = [str(name) for name in series.external_file]
    paths = [folder / name for name in names]
    if series.num_samples is None or series.timestamps is not None or any("://" in name for name in names):
        return None
    if not all(path.is_file() for path in paths) or missing_libraries(paths):
        return None
    try:
        counts = [examine(path, step).frames for path in paths]
    except SourceError:
        return None
    starts = [0] if series.starting_frame is None else [int(frame) for frame in series.starting_frame]
    fits = starts == [0, *accumulate(counts)][:-1]
    return sum(counts) if fits and sum(counts) != int(series.num_samples) else None


def say_counted(nwbfile: NWBFile, counted: Mapping[str, int]) -> None:
    """Let series say how many frames there are. Independent."""
    for series in external_series(nwbfile) if counted else []:
        series._num_samples = counted.get(place_of(series), series._num_samples)
