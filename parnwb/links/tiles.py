"""``Tile``: a box of a virtual dataset, and where its values are. All calls are independent."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py

Point = tuple[int, ...]
SAME_FILE = "."


@dataclass(frozen=True)
class Tile:
    """A box of a virtual dataset, and where its values are.

    Parameters
    ----------
    start, count
        Of the box.
    file, path
        Of the dataset that has them.
    first
        Where the box begins there.
    """

    start: Point
    count: Point
    file: str
    path: str
    first: Point


def tiles_of(dataset: h5py.Dataset) -> tuple[Tile, ...]:
    """Return the boxes that a virtual dataset consists of; nothing if it is not so simple."""
    tiles = []
    for part in dataset.virtual_sources():
        whole, box = _is_whole(part.src_space), _box(part.vspace)
        taken = box if whole else _box(part.src_space)
        if box is None or taken is None or taken[1] != box[1] or _is_pattern(part.file_name + part.dset_name):
            return ()
        name = unescaped(part.file_name)
        file = dataset.file.filename if name == SAME_FILE else beside(dataset.file.filename, name)
        first = (0,) * dataset.ndim if whole else taken[0]
        tiles.append(Tile(*box, file, unescaped(part.dset_name), first))
    return tuple(tiles)


def beside(path: str, name: str) -> str:
    """Return where HDF5 finds the file that another one names: in its folder; or, through a symlink, the real file's.

    Between these HDF5 looks in the reader's working folder, on which nobody can rely.
    """
    named = (os.path.abspath(path), os.path.realpath(path))
    first, real = (os.path.normpath(os.path.join(os.path.dirname(each), name)) for each in named)
    return real if not os.path.isfile(first) and os.path.isfile(real) else first


def sources_of(dataset: h5py.Dataset) -> dict[str, set[str]]:
    """Return the other files that hold parts of a virtual dataset, as it names them, and what is taken of each.

    Names with a number to be put in are left out.
    """
    found: dict[str, set[str]] = {}
    for part in dataset.virtual_sources():
        if part.file_name != SAME_FILE and not _is_pattern(part.file_name + part.dset_name):
            found.setdefault(unescaped(part.file_name), set()).add(unescaped(part.dset_name))
    return found


def escaped(name: str) -> str:
    """Return a name as a virtual dataset is told it: HDF5 would take ``%b`` for a number to be put in."""
    return name.replace("%", "%%")


def unescaped(name: str) -> str:
    """Return the name that ``escaped`` was given."""
    return name.replace("%%", "%")


def _is_pattern(name: str) -> bool:
    return "%" in name.replace("%%", "")


def by_dataset(tiles: tuple[Tile, ...]) -> Iterator[tuple[tuple[str, str], list[Tile]]]:
    """Iterate over file and path of each dataset that has values, and the tiles of it."""
    found: dict[tuple[str, str], list[Tile]] = {}
    for tile in tiles:
        found.setdefault((tile.file, tile.path), []).append(tile)
    yield from found.items()


def _is_whole(space: Any) -> bool:
    import h5py

    return bool(space.get_select_type() == h5py.h5s.SEL_ALL)


def _box(space: Any) -> tuple[Point, Point] | None:
    """Return start and count of a selection that is one box, None of any other."""
    try:
        if _is_whole(space):
            return (0,) * len(space.shape), tuple(space.shape)
        low, high = space.get_select_bounds()
        count = tuple(int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
        is_full = space.get_select_npoints() == math.prod(count)
    except Exception:  # noqa: BLE001 - selections without end have no bounds
        return None
    return (tuple(map(int, low)), count) if is_full else None
