"""Resume: the skeleton as the journal's last commit left it, for a job that must be the same one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from parnwb.bulk import BulkRule, build, bulk_sources, signature
from parnwb.errors import ResumeError
from parnwb.hyperslab import Hyperslab
from parnwb.journal import Committed, check_covered, crc32c, replay
from parnwb.layout import FileLayout
from parnwb.overlay import Overlay
from parnwb.site import BackendChoice
from parnwb.skeleton import Skeleton, own_error
from parnwb.sources import Access, Source
from parnwb.sources.sample import sample
from parnwb.storage import Target

if TYPE_CHECKING:
    from hdmf.build import BuildManager
    from pynwb import NWBFile

REMEDY = "Resume with the recording and settings that the file was begun with, or start anew (without --resume)"


@dataclass(frozen=True)
class Earlier:
    """An earlier attempt at the same file.

    Parameters
    ----------
    committed
        What its journal holds.
    finished
        Whether it had given the file its final name already.
    """

    committed: Committed
    finished: bool


def find_earlier(target: Target) -> Earlier | None:
    """Return what there is to resume, or None. Independent; on the root.

    Raises
    ------
    ResumeError
        The journal is damaged beyond its first commit.
    StorageError
        The partial file has lost bytes that were committed.
    """
    if not target.journal.exists():
        return None
    committed = replay(target.journal)
    if committed.complete and not target.partial.exists() and target.path.exists():
        return Earlier(committed, finished=True)
    check_covered(target.partial, committed)
    return Earlier(committed, finished=False)


def describe_attempt(skeleton: Skeleton, compression: object) -> dict[str, Any]:
    """Return what a resuming job must agree with, for the journal's first frame. Independent; on the root."""
    return {
        "layout": skeleton.layout.to_json(),
        "signature": skeleton.signature,
        "samples": fingerprints(skeleton.layout, skeleton.sources),
        "compression": compression,
    }


def fingerprints(layout: FileLayout, sources: Mapping[str, Source]) -> dict[str, list[int]]:
    """Return checksums of a sample of every dataset's values, by path. Independent."""
    return {
        spec.path: [crc32c(np.ascontiguousarray(piece)) for piece in sample(sources[spec.path], spec.grid, spec.path)]
        for spec in layout
        if spec.access != Access.SEQUENTIAL
    }


def restore(
    earlier: Earlier, nwbfile: NWBFile, target: Target, manager: BuildManager, rule: BulkRule, compression: object
) -> Skeleton:
    """Return the skeleton of the last commit, its data coming from ``nwbfile``. Independent; on the root.

    Raises
    ------
    ResumeError
        The NWBFile, its data or the settings are not those that the file was begun with.
    """
    try:
        builder = build(nwbfile, manager, str(target.path))
    except Exception as error:
        raise own_error(error) from error
    committed, sources, content = earlier.committed, bulk_sources(builder, rule), signature(builder, rule)
    begun = committed.description
    layout = FileLayout.from_json(begun["layout"])
    _check_same("the NWBFile", begun["signature"], content)
    _check_same("the compression", {"compression": begun["compression"]}, {"compression": compression})
    _check_same("the data", begun["samples"], fingerprints(layout, sources))
    overlay = Overlay(committed.extents, committed.end)
    for address, size in committed.records[:, [2, 3]]:
        overlay.discard(int(address), int(address + size))  # it may have been metadata's in an earlier frame
    file = reopen_on(overlay, target.path)
    choice = BackendChoice("direct", "the file was begun with it")
    return Skeleton(file, overlay, layout, sources, content, choice)


def reopen_on(overlay: Overlay, path: Path) -> h5py.File:
    """Open the HDF5 file that ``overlay`` holds, for writing. Independent."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_libver_bounds(h5py.h5f.LIBVER_EARLIEST, h5py.h5f.LIBVER_LATEST)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, overlay)
    return h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDWR, fapl=access))


def done_chunks(layout: FileLayout, committed: Committed) -> dict[int, npt.NDArray[np.bool_]]:
    """Return which chunks of each dataset are safe, in C order of its chunk grid. Independent."""
    done = {}
    for number, spec in enumerate(layout):
        positions = committed.records[committed.records[:, 0] == number, 1]
        if len(positions):
            done[number] = np.zeros(Hyperslab.whole(spec.grid.extent).size, dtype=bool)
            done[number][positions] = True
    return done


def _check_same(what: str, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for field in sorted({*begun, *now}):
        if begun.get(field) != now.get(field):
            raise ResumeError(
                f"{what} must be the same as when the file was begun: "
                f"it was {begun.get(field)!r}, now it is {now.get(field)!r}",
                where=field,
                remedy=REMEDY,
            )
