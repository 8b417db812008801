"""``direct``: ranks encode chunks, the root's HDF5 gives addresses, ranks write the bytes there themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parnwb.backends.addresses import Addresses, AskedAddresses, RootAddresses
from parnwb.backends.backend import Fill
from parnwb.backends.encoder import Batch, Encoder
from parnwb.commits.amendment import AppendTarget
from parnwb.commits.journal import Frame, committed_records, no_records
from parnwb.commits.manifest import manifest_of
from parnwb.target import FileBytes


class DirectBackend:
    """Works with any h5py; the default whenever there is a filter, or h5py has no MPI."""

    name = "direct"

    def fill(self, work: Fill) -> None:
        """Encode and write all bulk data, then the root writes the rest. Collective."""
        with work.ranks.agreed("writing"):
            disk = FileBytes(work.target.partial)
            try:
                addresses: Addresses = RootAddresses(work, disk) if work.ranks.is_root else AskedAddresses(work, disk)
                _write_batches(work, addresses, disk)
                addresses.finish()
            finally:
                disk.close()
        with work.ranks.agreed("completing the file"):
            if work.skeleton is not None:
                complete(work)


def _write_batches(work: Fill, addresses: Addresses, disk: FileBytes) -> None:
    with Encoder(work) as encoder:
        while True:
            work.ranks.wait_until(encoder.ready, addresses.serve)
            batch = encoder.take()
            if batch is None:
                return
            places = addresses.of(batch)
            work.ranks.step(f"writing {batch.place}")
            work.target.check_now_and_then()
            write(batch, places, disk)


def write(batch: Batch, addresses: npt.NDArray[np.int64], disk: FileBytes) -> None:
    """Write the chunks of a batch, neighbours in the file with one call. Independent."""
    lengths = batch.requests[:, 2]
    order = np.argsort(addresses, kind="stable")
    breaks = np.flatnonzero(addresses[order][1:] != (addresses + lengths)[order][:-1]) + 1
    for run in np.split(order, breaks):
        if len(run):
            disk.write_at([batch.payloads[i] for i in run], int(addresses[run[0]]))


def complete(work: Fill) -> None:
    """Close HDF5, commit what it kept in memory, then write that to the file. Independent; on the root.

    The last frame comes first: whenever the job ends after it, the bytes can be written again from there. A file
    that is appended to does not change until it is closed.
    """
    assert work.skeleton is not None
    overlay = work.skeleton.overlay
    object_id = str(work.skeleton.file.attrs.get("object_id"))
    work.skeleton.file.close()
    work.target.check_ours()
    if isinstance(work.target, AppendTarget):
        work.target.seal(overlay.extents(), overlay.end)
        return
    if work.journal is not None:
        changes = tuple(overlay.take_changes())
        work.journal.append(Frame({}, overlay.end, no_records(), changes, complete=True))
    write_overlay(work)
    work.target.partial_manifest.unlink(missing_ok=True)  # of an attempt that came as far as here
    if work.manifest:
        assert work.journal is not None
        chunks = committed_records(work.journal.path)
        name = work.target.path.name
        checksums = manifest_of(name, object_id, work.plan.layout, chunks, overlay.extents(), overlay.end)
        checksums.write(work.target.partial_manifest)


def write_overlay(work: Fill) -> None:
    """Write the overlay's bytes to the partial file and make them safe. Independent; on the root."""
    assert work.skeleton is not None
    work.target.check_ours()
    disk = FileBytes(work.target.partial)
    try:
        for address, data in work.skeleton.overlay.extents():
            disk.write_at([data], address)
        disk.truncate(work.skeleton.overlay.end)
        disk.sync()
    finally:
        disk.close()
