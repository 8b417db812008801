"""Whether the movies that an ``ImageSeries`` names are there, and are what it says. pynwb looks at none of it."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pynwb import NWBFile
from pynwb.image import ImageSeries

from parnwb.errors import LinkError, SourceError
from parnwb.links.clocks import RATE_TOLERANCE
from parnwb.links.series import place_of
from parnwb.movies.clip import Clip, Step, examine
from parnwb.movies.names import are_placed, placed_folder
from parnwb.movies.stack import STACKS
from parnwb.target import tell_nobody

MAX_SHOWN = 10


def check_movies(nwbfile: NWBFile, path: Path, policy: str, step: Step = tell_nobody) -> None:
    """Refuse series whose external files are missing or not what they say. Independent; on the root.

    Parameters
    ----------
    nwbfile
        What is written; of it the series that no file holds yet.
    path
        Final path of the file: relative names begin in its folder.
    policy
        ``'warn'`` only warns.
    step
        Is told now and then that movies are read.

    Raises
    ------
    LinkError
        Names all that is wrong.
    """
    external = external_series(nwbfile)
    _warn_of_old_copies(external, path)
    new = [item for item in external if item.container_source is None]
    for item in new:
        _warn_of_absolute_names(item)
    wrong = [f"{place_of(item)}: {what}" for item in new for what in faults(item, path.parent, step)]
    for what in wrong if policy == "warn" else []:
        warnings.warn(f"external images: {what}", stacklevel=2)
    if wrong and policy != "warn":
        raise LinkError(
            "external images must be what their series says: " + "; ".join(wrong[:MAX_SHOWN]),
            where=str(path),
            remedy="Correct the series; place_movies (convert --movies=copy) brings files beside the NWB file; "
            "on_mismatch='warn' (--on-mismatch=warn) writes it as it is",
        )


def external_series(nwbfile: NWBFile) -> list[ImageSeries]:
    """Return all series whose frames are in external files. Independent."""
    series = (item for item in nwbfile.objects.values() if isinstance(item, ImageSeries))
    return [item for item in series if item.external_file is not None]


def _warn_of_absolute_names(series: ImageSeries) -> None:
    for name in map(str, series.external_file):
        if "://" not in name and os.path.isabs(name):
            warnings.warn(
                f"{place_of(series)} names {name} by an absolute path, which no other machine has: see place_movies",
                stacklevel=2,
            )


def _warn_of_old_copies(external: list[ImageSeries], path: Path) -> None:
    """Tell of movies that were brought along for another file of this name: new copies have new names."""
    folder = path.parent / placed_folder(path)
    if not folder.is_dir():
        return
    named = {os.path.normpath(path.parent / str(name)) for item in external for name in item.external_file}
    there = sorted(entry for entry in os.listdir(folder) if are_placed(f"/{entry}"))
    old = [entry for entry in there if os.path.normpath(folder / entry) not in named]
    if old:
        more = f" and {len(old) - MAX_SHOWN} more" if len(old) > MAX_SHOWN else ""
        warnings.warn(
            f"in {folder} {', '.join(old[:MAX_SHOWN])}{more} are movies that {path.name} does not name: remove them "
            "when it is whole and no other file names them",
            stacklevel=3,
        )


def faults(series: ImageSeries, folder: Path, step: Step = tell_nobody) -> Iterator[str]:
    """Iterate over what is wrong with the external files of a series. Independent."""
    names = [str(name) for name in series.external_file]
    local = [name for name in names if "://" not in name]
    missing = [name for name in local if not (folder / name).is_file()]
    for name in missing:
        there = " (it is found from the working folder, which readers do not share)" if os.path.isfile(name) else ""
        yield f"{name} is not there, seen from {folder}{there}"
    if len(set(names)) < len(names):
        yield f"a file is named twice: {names}"
    starts = None if series.starting_frame is None else [int(frame) for frame in series.starting_frame]
    if starts is not None and (starts[:1] != [0] or any(b <= a for a, b in zip(starts, starts[1:], strict=False))):
        yield f"starting_frame must begin with 0 and rise from file to file, it is {starts}"
    elif not missing and len(local) == len(names):
        yield from _different_frames(series, [folder / name for name in names], starts, step)


def _different_frames(series: ImageSeries, paths: list[Path], starts: list[int] | None, step: Step) -> Iterator[str]:
    """Compare with what the files hold."""
    if unread := missing_libraries(paths):
        said = f'their frames are not counted without {", ".join(unread)}: pip install "parnwb[movies]"'
        warnings.warn(f"external images of {place_of(series)}: {said}", stacklevel=2)
        return
    try:
        clips = [examine(path, step) for path in paths]
    except SourceError as error:
        yield f"frames cannot be counted: {error}"
        return
    counts = [clip.frames for clip in clips]
    held = np.cumsum([0, *counts]).tolist()
    if starts is not None and len(starts) == len(counts) and starts != held[:-1]:
        yield f"starting_frame is {starts}, the files have {counts} frames, so that it must be {held[:-1]}"
    rows = None if series.timestamps is None else len(series.timestamps)
    if rows is not None and rows != held[-1]:
        yield f"there are {rows} timestamps for {held[-1]} frames"
    if series.num_samples is not None and rows is None and int(series.num_samples) != held[-1]:
        yield f"num_samples is {series.num_samples}, the files have {held[-1]} frames"
    sizes = sorted({(clip.shape[1], clip.shape[0]) for clip in clips})
    if len(sizes) > 1:
        yield f"frames differ in size (width, height): {sizes}"
    elif series.dimension is not None and tuple(int(n) for n in series.dimension)[:2] != sizes[0]:
        yield f"dimension is {[int(n) for n in series.dimension]}, frames have width and height {list(sizes[0])}"
    if series.rate is not None:
        yield from _different_rates(float(series.rate), clips, place_of(series))


def missing_libraries(paths: list[Path]) -> list[str]:
    """Return the libraries that read such files and are not installed. Independent."""
    needed = {"tifffile" if path.suffix.lower() in STACKS else "av" for path in paths}
    return [library for library in sorted(needed) if importlib.util.find_spec(library) is None]


def _different_rates(rate: float, clips: list[Clip], place: str) -> Iterator[str]:
    """Compare a series' rate with the times of frames. Cameras often note another rate than they had: a warning."""
    for clip in clips:
        times = clip.times
        if times is None or clip.rate is None:
            continue
        uneven = np.abs(times - np.arange(clip.frames) / clip.rate).max() * clip.rate
        if uneven > 1:
            yield (
                f"{clip.path.name} has frames at uneven times, up to {uneven:.3g} frames from where a rate puts them: "
                "give timestamps instead"
            )
        elif abs(clip.rate - rate) > RATE_TOLERANCE * rate:
            warnings.warn(
                f"{place}: rate is {rate:g}, {clip.path.name} plays {clip.rate:.6g} frames a second", stacklevel=2
            )
