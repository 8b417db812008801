"""Other files that a file names by relative paths: from the folder of a new one the same must be found."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.errors import LinkError
from parnwb.links.following import MOVIES, datasets_in, movies_named
from parnwb.links.tiles import SAME_FILE, beside

if TYPE_CHECKING:

    from parnwb.rewriting.item import Item
    from parnwb.rewriting.rewriting import Rewriting

CONTAIN = "Write the new file beside the old one, or contain it (parnwb merge)"
BRING = "Write the new file beside the old one, or copy that file to the same place there first"
BLOCK, BLOCKS = 1 << 20, 64
"""Bytes of a sample, and how many of a file; smaller files are compared as they are."""


def check_found_from(content: Rewriting, output: Path) -> None:
    """Refuse relative names of other files by which these would not be found from the new file. Independent.

    Links, sources of virtual datasets, external storage, and movies; not files that are to be written with this one. A
    copy is as good; of large files samples are compared.

    Raises
    ------
    LinkError
        Names the first one that is found from where the old file is, and not from there.
    """
    for item in content.found.items:
        for name, remedy in _named(item):
            _check(name, item.file.filename, item.path, output, remedy)


def check_movies_found_from(source: Path, output: Path) -> None:
    """Refuse relative names of movies, as ``check_found_from``, of a file or Zarr store. Independent."""
    for path, names in (_movies_of_store(source) if source.is_dir() else _movies_of_file(source)).items():
        for name in names:
            _check(name, str(source), path, output, BRING)


def _named(item: Item) -> Iterator[tuple[str, str]]:
    """Iterate over the files that something names, and what can be done about each."""
    import h5py

    from parnwb.rewriting.item import Kind

    if item.kind is Kind.EXTERNAL_LINK:
        yield item.filename, CONTAIN
    if item.kind is not Kind.COPIED or not isinstance(item.opened, h5py.h5d.DatasetID):
        return
    dataset = item.dataset
    if dataset.is_virtual:
        names = dict.fromkeys(part.file_name for part in dataset.virtual_sources())
        yield from ((_first(name), CONTAIN) for name in names if name != SAME_FILE)
    yield from ((name, CONTAIN) for name, _, _ in dataset.external or ())
    yield from ((name, BRING) for name in movies_named(item.path, dataset))


def _first(name: str) -> str:
    """Return the name of a virtual dataset's source, the first one's if they are numbered."""
    return re.sub("%%|%b", lambda found: "%" if found[0] == "%%" else "0", name)


def _check(name: str, old: str, path: str, output: Path, remedy: str) -> None:
    there = beside(old, name)
    if not os.path.isfile(there) or os.path.realpath(old) == os.path.realpath(output):
        return  # nor was it found before, or the new file takes the place of the old one
    # By the name that it has until it is complete: the final one may be that of a symlink, which it replaces.
    here = beside(f"{output.absolute()}.partial", name)
    is_replaced = os.path.isfile(output) and os.path.samefile(there, output) and not os.path.samefile(old, output)
    if os.path.isfile(here) and _is_same(there, here) and not is_replaced:
        return
    why = ", which would replace it" if is_replaced else ", where that is another file" if os.path.isfile(here) else ""
    raise LinkError(
        f"{name}, which is {there}, must be found from the folder of the new file{why}",
        where=path,
        remedy="Choose another name" if is_replaced else remedy,
    )


def _is_same(one: str, other: str) -> bool:
    """Tell whether two paths lead to one file, or to copies."""
    if os.path.samefile(one, other):
        return True
    size = os.path.getsize(one)
    if os.path.getsize(other) != size:
        return False
    last, count = max(0, size - BLOCK), max(2, min(BLOCKS, -(-size // BLOCK)))
    with open(one, "rb") as first, open(other, "rb") as second:
        for number in range(count):
            at = last * number // (count - 1)
            first.seek(at)
            second.seek(at)
            if first.read(BLOCK) != second.read(BLOCK):
                return False
    return True


def _movies_of_file(source: Path) -> dict[str, list[str]]:
    import h5py

    with h5py.File(source, "r") as file:
        return {dataset.name: movies_named(dataset.name, dataset) for dataset in datasets_in(file)}


def _movies_of_store(source: Path) -> dict[str, list[str]]:
    import zarr

    from parnwb.stores.references import known_pickles

    found: dict[str, list[str]] = {}

    def look(item: object) -> None:
        if isinstance(item, zarr.Array) and item.name.rpartition("/")[2] == MOVIES and item.shape:
            found[item.name] = [name for name in map(str, item[...].reshape(-1)) if "://" not in name]

    with known_pickles():
        zarr.open_group(str(source), mode="r").visitvalues(look)
    return found
