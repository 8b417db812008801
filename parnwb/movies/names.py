"""Names of movies that were brought beside an NWB file, as ``dandi organize`` gives them."""

from __future__ import annotations

import re
from pathlib import Path

PLACED = re.compile(r"/[0-9a-f-]{36}_external_file_\d+")


def placed_name(path: Path, object_id: str, number: int, suffix: str) -> str:
    """Return the name of a movie as seen from its NWB file. Independent.

    Parameters
    ----------
    path
        The NWB file.
    object_id, number
        Of the series, and of the movie among its files.
    suffix
        Of the movie.
    """
    return f"{placed_folder(path)}/{object_id}_external_file_{number}{suffix}"


def placed_folder(path: Path) -> str:
    """Return the name of the folder of movies that are brought beside an NWB file. Independent."""
    folder = Path(path.name.removesuffix(".zarr")).stem
    return f"{folder}.movies" if folder == path.name else folder  # where the file itself has that name


def are_placed(names: str) -> bool:
    """Tell whether a text has such a name in it. Independent."""
    return PLACED.search(names) is not None
