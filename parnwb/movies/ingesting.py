"""``ingest_movies``: series of external files hold the frames of these instead."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.errors import LinkError
from parnwb.links.series import place_of
from parnwb.movies.checks import external_series, faults
from parnwb.movies.clip import Step
from parnwb.movies.frames import MovieFrames
from parnwb.target import tell_nobody

if TYPE_CHECKING:
    from pynwb import NWBFile
    from pynwb.image import ImageSeries


def ingest_movies(nwbfile: NWBFile, folder: Path, policy: str = "raise", step: Step = tell_nobody) -> int:
    """Let all series of external files hold the frames of these as data, to be decoded where they are written.

    Independent; nothing is decoded here but what counting frames needs.

    Parameters
    ----------
    nwbfile
        Made, not read from a file.
    folder
        Where relative names begin.
    policy
        ``'warn'`` only warns of movies that are not what their series says.
    step
        Is told now and then that movies are read.

    Returns
    -------
    series
        How many they were.

    Raises
    ------
    LinkError
        Movies are not there, or not what their series says.
    SourceError
        Frames cannot be read, or not in parts.
    """
    series = external_series(nwbfile)
    for item in series:
        _ingest(item, folder, policy, step)
    return len(series)


def _ingest(series: ImageSeries, folder: Path, policy: str, step: Step) -> None:
    names = [str(name) for name in series.external_file]
    absent = [f"{name} is no file" for name in names if "://" in name]
    wrong = absent or list(faults(series, folder, step))
    if wrong and policy == "warn" and not absent:
        warnings.warn(f"frames of {place_of(series)} are read all the same: {'; '.join(wrong)}", stacklevel=2)
    elif wrong:
        raise LinkError(
            "movies whose frames are to be read must be what their series says: " + "; ".join(wrong),
            where=place_of(series),
            remedy="Correct the series, or leave them outside of the file; on_mismatch='warn' (--on-mismatch=warn) "
            "reads them as they are",
        )
    frames = MovieFrames([folder / name for name in names])
    series._num_samples = None  # that of the data counts from now on
    series.fields.update(data=frames, format="raw", external_file=None, starting_frame=None)
