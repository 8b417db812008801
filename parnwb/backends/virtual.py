"""``virtual``: each rank writes a file of its own, and the root one in which all of them are virtual datasets.

A part is an ordinary HDF5 file with the datasets at their own paths, in their full shape, of which it has the chunks
that its rank has written. So a part has the place in the whole that it has in the file, and no rank asks another one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from parnwb.allocator import Allocator
from parnwb.backends.backend import Job, Portion
from parnwb.backends.direct import write_overlay
from parnwb.backends.filling import fill
from parnwb.backends.own import OwnPlaces
from parnwb.backends.pens import OwnPen
from parnwb.boxes import boxes_of
from parnwb.commits.journal import StreamState
from parnwb.hyperslab import Hyperslab
from parnwb.machine.open_files import SPARE, USUAL_LIMIT
from parnwb.overlay import Overlay
from parnwb.target import FileBytes, Permissions, SpreadTarget


@dataclass(frozen=True)
class Frame:
    """What each rank's part begins as.

    Parameters
    ----------
    extents, end
        An empty part: ``(address, bytes)``, and its length.
    like
        Permissions of the file that is replaced, if there is one.
    """

    extents: list[tuple[int, bytes]]
    end: int
    like: Permissions | None


class VirtualBackend:
    """For storage of each node's own, and for file systems on which hosts must not share a file; any h5py."""

    name = "virtual"

    def open(self, job: Job) -> VirtualFile:
        """Open a part on each rank, all datasets in it and empty. Collective."""
        frame = job.ranks.on_root("making an empty part", lambda: _frame(job))
        with ExitStack() as opened:
            with job.ranks.agreed("opening the parts"):
                file = VirtualFile(job, frame)
                opened.callback(file.close)  # where another host has no place for its parts
            opened.pop_all()
            return file


class VirtualFile:
    """A rank's part, and on the root the file of all of them. Construction is independent.

    Parameters
    ----------
    job
        What is written.
    frame
        What the part begins as.
    """

    def __init__(self, job: Job, frame: Frame) -> None:
        from parnwb.memory_file import reopen_on

        assert isinstance(job.target, SpreadTarget)
        self._job, self._ranks, self._target = job, job.ranks, job.target
        self._part = job.target.part(job.ranks.rank, frame.like)
        self._is_complete = False
        # Open until the end: otherwise another job's file could have the inode by which ours is recognised.
        self._whole = FileBytes(job.target.partial)
        try:
            job.target.check_ours()
            self._disk = self._part.create()
            self._overlay = Overlay(frame.extents, frame.end)
            self._file = reopen_on(self._overlay, self._part.working)
            self._allocator = Allocator(self._file, self._overlay, job.layout)
        except BaseException:
            self.close()
            raise
        self._places, self._pen = OwnPlaces(job, self._allocator), OwnPen(job, self._disk)

    def fill(self, portion: Portion) -> None:
        """Encode and write the chunks of a portion. Collective."""
        fill(self._ranks, portion, self._places, self._pen, self._job.threads)
        self._places.settle(portion)

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Do nothing: without a journal nobody could go on with it. Collective."""

    def complete(self, streams: Mapping[int, StreamState]) -> None:
        """Complete the parts and bring them beside the file; then the root writes it. Collective."""
        with self._ranks.agreed("completing the parts"):
            self._complete_part()
        everywhere = self._ranks.gather_agreed("telling what is in the parts", self._boxes)
        with self._ranks.agreed("writing the file of virtual datasets"):
            if self._ranks.is_root:
                _write_whole(self._job, self._target, self._allocator, everywhere, self._whole)

    def close(self) -> None:
        """Close the part; one that is of no use any more is removed. Independent."""
        if not self._is_complete:
            self._part.remove()
        self._part.close()
        self._whole.close()

    def _complete_part(self) -> None:
        self._file.close()
        self._target.check_ours()
        if not self._places.written:
            self._part.remove()
            return
        with self._ranks.doing("making the part safe (fsync)"), self._ranks.phases("fsync"):
            write_overlay(self._overlay, self._disk)
        with self._ranks.phases("moving the part"):
            self._part.bring(self._ranks.step)
        self._is_complete = True

    def _boxes(self) -> dict[int, list[Hyperslab]]:
        """Return the elements that this rank has written, by number of their dataset. Independent."""
        grids = [spec.grid for spec in self._allocator.layout]
        return {
            number: [grids[number].elements(box) for box in boxes_of(grids[number].indices(positions))]
            for number, positions in self._places.written.items()
        }


def _frame(job: Job) -> Frame:
    """Return an empty part. Independent; on the root."""
    from parnwb.rewriting.spreading import empty_part

    overlay = empty_part(job.hdf5_skeleton.file, job.layout)
    return Frame(list(overlay.extents()), overlay.end, Permissions.of(job.target.path))


def _write_whole(
    job: Job,
    target: SpreadTarget,
    allocator: Allocator,
    everywhere: list[dict[int, list[Hyperslab]]],
    disk: FileBytes,
) -> None:
    """Write the file, on ``disk``, whose parts are all in their folder. Independent; on the root."""
    from parnwb.rewriting.spreading import Piece, spread

    skeleton = job.hdf5_skeleton
    pieces: dict[int, list[Piece]] = {}
    for rank, boxes in enumerate(everywhere):
        name = f"{target.parts.name}/{target.part(rank).partial.name}"
        for number, slabs in boxes.items():
            pieces.setdefault(number, []).extend(Piece(name, slab) for slab in slabs)
    parts = sum(1 for boxes in everywhere if boxes)
    if parts > USUAL_LIMIT - SPARE:
        warnings.warn(
            f"{target.path.name} has {parts} parts, and HDF5 reads as fill values those that a program cannot open "
            f"beside the others: often {USUAL_LIMIT} files (ulimit -n). Merge it, with a larger limit (parnwb merge)",
            stacklevel=2,
        )
    overlay = spread(skeleton.file, target.path, allocator.layout, pieces)
    skeleton.file.close()
    target.check_ours()
    write_overlay(overlay, disk)
