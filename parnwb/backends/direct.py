"""``direct``: ranks encode chunks, the root's HDF5 gives addresses, ranks write the bytes there themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing

from parnwb.allocator import Allocator
from parnwb.backends.addresses import Addresses
from parnwb.backends.asking import AskedAddresses
from parnwb.backends.backend import Disk, Job, Portion
from parnwb.backends.filling import fill
from parnwb.backends.giving import Allocation, RootAddresses
from parnwb.backends.pens import Pen, pen_of
from parnwb.commits.amendment import AppendTarget
from parnwb.commits.journal import Frame, StreamState, committed_records, no_records
from parnwb.commits.manifest import manifest_of
from parnwb.layout import FileLayout
from parnwb.overlay import Overlay
from parnwb.target import FileBytes


class DirectBackend:
    """Works with any h5py; the default whenever there is a filter, or h5py has no MPI."""

    name = "direct"

    def open(self, job: Job) -> DirectFile:
        """Open the partial file by its bytes on every rank. Collective."""
        with job.ranks.agreed("opening the partial file"), ExitStack() as failed:
            disk = FileBytes(job.target.partial)
            failed.callback(disk.close)
            pen = pen_of(job, disk)
            file = DirectFile(job, disk, pen, addresses_of(job, disk, pen, _allocator), complete)
            failed.pop_all()
            return file


def _allocator(job: Job) -> Allocator:
    skeleton = job.hdf5_skeleton
    return Allocator(skeleton.file, skeleton.overlay, job.layout, skeleton.lowest)


def addresses_of(job: Job, disk: Disk, pen: Pen, allocator: Callable[[Job], Allocation]) -> Addresses:
    """Return whom this rank asks where its chunks go. Independent.

    Parameters
    ----------
    allocator
        Returns what gives out addresses; called on the root.
    """
    return RootAddresses(job, disk, pen, allocator(job)) if job.ranks.is_root else AskedAddresses(job, disk, pen)


class DirectFile:
    """The partial file, into which ranks write by themselves what they have encoded. Construction is independent.

    Parameters
    ----------
    job
        What is written.
    disk, pen
        Where this rank's bytes go, and what writes them.
    addresses
        Where in the file each chunk goes.
    last
        Writes on the root what is no bulk data, when all chunks are safe.
    """

    def __init__(
        self, job: Job, disk: Disk, pen: Pen, addresses: Addresses, last: Callable[[Job, FileLayout], None]
    ) -> None:
        self._job, self._ranks = job, job.ranks
        self._disk, self._pen, self._addresses, self._last = disk, pen, addresses, last

    def fill(self, portion: Portion) -> None:
        """Encode and write the chunks of a portion. Collective."""
        fill(self._ranks, portion, self._addresses, self._pen, self._job.threads)

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Make all chunks safe, record them, and write HDF5's metadata for readers. Collective."""
        with self._ranks.agreed("making the file safe"):
            self._addresses.make_safe()
        with self._ranks.agreed("recording the commit"):
            self._addresses.commit(streams)

    def complete(self, streams: Mapping[int, StreamState]) -> None:
        """Make all chunks safe and commit them; then the root writes the rest. Collective."""
        with self._ranks.agreed("making the file safe"):
            self._addresses.make_safe()
        with self._ranks.agreed("completing the file"):
            self._addresses.close(streams)
            self.close()
            if isinstance(self._addresses, RootAddresses):
                self._last(self._job, self._addresses.layout)

    def close(self) -> None:
        """Close this rank's view of the bytes. Independent."""
        self._disk.close()


def complete(job: Job, layout: FileLayout) -> None:
    """Close HDF5, commit what it kept in memory, then write that to the file. Independent; on the root.

    The last frame comes first: whenever the job ends after it, the bytes can be written again from there. A file
    that is appended to does not change until it is closed.
    """
    skeleton = job.hdf5_skeleton
    overlay = skeleton.overlay
    object_id = str(skeleton.file.attrs.get("object_id"))
    skeleton.file.close()
    job.target.check_ours()
    if isinstance(job.target, AppendTarget):
        job.target.seal(overlay.extents(), overlay.end)
        return
    if job.journal is not None:
        changes = tuple(overlay.take_changes())
        job.journal.append(Frame({}, overlay.end, no_records(), changes, complete=True))
    job.target.check_ours()
    with closing(FileBytes(job.target.partial)) as disk:
        write_overlay(overlay, disk)
    job.target.partial_manifest.unlink(missing_ok=True)  # of an attempt that came as far as here
    if job.manifest:
        assert job.journal is not None
        chunks = committed_records(job.journal.path)
        name = job.target.path.name
        checksums = manifest_of(name, object_id, layout, chunks, overlay.extents(), overlay.end)
        checksums.write(job.target.partial_manifest)


def write_overlay(overlay: Overlay, disk: FileBytes) -> None:
    """Write the overlay's bytes to a file that is open, and make it safe. Independent."""
    for address, data in overlay.extents():
        disk.write_at([data], address)
    disk.truncate(overlay.end)
    disk.sync()
