"""``StoreOnDisk``: a finished Zarr store, to be examined and read back through Zarr itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import DirectoryStore

from parnwb.comm import Ranks
from parnwb.element import is_self_contained
from parnwb.errors import VerificationError
from parnwb.finding import Finding
from parnwb.layout import ChunkGrid, DatasetSpec, FileLayout
from parnwb.on_disk.words import forget_cached, matched, missing_from, one_line, sorted_layout
from parnwb.sources import Source
from parnwb.sources.array import cast_to
from parnwb.sources.zarr import read_zarr_spec
from parnwb.stores.references import known_pickles

CONSOLIDATED = ".zmetadata"
METADATA = (".zarray", ".zattrs", ".zgroup")
LINKS = "zarr_link"
"""Where hdmf-zarr keeps the links of a group."""


class StoreOnDisk:
    """A finished store.

    Parameters
    ----------
    path
        Of its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def opened(self, layout: FileLayout) -> Iterator[zarr.Group]:
        """Open it for reading; codecs are looked for when chunks are read. Independent.

        Raises
        ------
        VerificationError
            It cannot be opened.
        """
        try:
            root = zarr.open_group(_Disk(str(self.path)), mode="r")
        except Exception as error:
            raise VerificationError(
                f"the store cannot be opened: {type(error).__name__}: {one_line(error)}",
                where=str(self.path),
                remedy="Check the name, and that it is a complete Zarr store of version 2",
            ) from error
        with known_pickles():
            yield root

    def validate(self) -> Any:
        """Return what pynwb's validator returns. Independent; on the root."""
        from hdmf_zarr import NWBZarrIO
        from pynwb import validate

        with known_pickles(), NWBZarrIO(str(self.path), "r") as io:
            return validate(io=io)

    @staticmethod
    def converted(source: Source, spec: DatasetSpec) -> Source:
        """Return a source whose values numpy converts, as Zarr does."""
        return cast_to(source, spec.numpy_dtype)

    def examine(
        self, sources: Mapping[str, Source], ranks: Ranks
    ) -> tuple[FileLayout, FileLayout, list[Finding]]:
        """Return the arrays whose elements are their bytes, the others, and what is missing. Independent; on the root.

        Zarr reads chunks that are not there as the fill value, so that only the names of files can tell.
        """
        findings: list[Finding] = []
        specs: list[DatasetSpec] = []
        objects: list[DatasetSpec] = []
        try:
            findings += _unlike_consolidated(self.path)
            with self.opened(FileLayout(())) as root:
                for _, array in root.arrays(recurse=True):
                    name = f"/{array.path}"
                    ranks.step(f"examining {name}")
                    ranks.look_up()
                    findings += _missing_chunks(name, array, self.path / array.path)
                    spec = read_zarr_spec(array, name)
                    if is_self_contained(array.dtype):
                        specs.append(matched(spec, sources, findings))
                    else:
                        objects.append(spec)
                findings += _broken_links(root, self.path)
        except VerificationError:
            raise
        except Exception as error:
            raise VerificationError(
                f"the store cannot be examined: {type(error).__name__}: {one_line(error)}",
                where=str(self.path),
                remedy="It is damaged: write it again",
            ) from error
        findings += missing_from(specs, sources)
        return sorted_layout(specs), sorted_layout(objects), findings


class _Disk(DirectoryStore):
    """A folder whose files are read from the disk, as far as that can be."""

    def _fromfile(self, fn: str) -> bytes:
        with open(fn, "rb", buffering=0) as file:
            forget_cached(file.fileno())
            return file.read()


def _missing_chunks(name: str, array: Any, folder: Path) -> list[Finding]:
    """Return a finding if a chunk has no file. Independent."""
    if 0 in array.shape:
        return []
    grid = ChunkGrid(tuple(array.shape), tuple(array.chunks))
    separator = json.loads((folder / ".zarray").read_text()).get("dimension_separator", ".")
    there = set(_files(folder))
    missing = [index for index in product(*map(range, grid.extent)) if separator.join(map(str, index)) not in there]
    if not missing:
        return []
    return [Finding(name, grid.cell(missing[0]), f"{len(missing)} of {grid.size} chunks have no file")]


def _files(folder: Path) -> Iterator[str]:
    """Iterate over the names of files in a folder and below, relative to it."""
    for place, _, names in os.walk(folder):
        inner = os.path.relpath(place, folder)
        yield from (names if inner == "." else (f"{inner}/{name}" for name in names))


def _unlike_consolidated(path: Path) -> list[Finding]:
    """Return where consolidated metadata, which readers look at, are not those of groups and arrays. Independent."""
    if not (path / CONSOLIDATED).exists():
        return []
    consolidated = json.loads((path / CONSOLIDATED).read_text())["metadata"]
    there = {name for name in _files(path) if name.rpartition("/")[2] in METADATA}
    findings = []
    for name in sorted({*consolidated, *there}):
        place = f"/{name.rpartition('/')[0]}"
        if name not in there:
            findings.append(Finding(place, None, f"is in the consolidated metadata, and {name} is missing"))
        elif name not in consolidated:
            findings.append(Finding(place, None, f"{name} is not in the consolidated metadata, where readers look"))
        elif json.loads((path / name).read_text()) != consolidated[name]:
            findings.append(Finding(place, None, f"{name} is not what the consolidated metadata have of it"))
    return findings


def _broken_links(root: Any, path: Path) -> list[Finding]:
    """Return links, in the form of hdmf-zarr, that lead nowhere. Independent."""
    findings: list[Finding] = []

    def look(group: Any) -> None:
        for link in group.attrs.get(LINKS, ()) if isinstance(group, zarr.Group) else ():
            store = Path(os.path.normpath(path / link["source"]))
            target = store / str(link["path"]).strip("/")
            if not any((target / mark).exists() for mark in METADATA):
                place = f"/{group.path}/{link['name']}".replace("//", "/")
                what = f"links to {link['path']} of {link['source']}, which is not there"
                findings.append(Finding(place, None, what))

    look(root)
    root.visitvalues(look)
    return findings
