"""``direct``: ranks encode chunks, the root's HDF5 gives addresses, ranks write the bytes there themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parnwb.allocator import Allocator
from parnwb.backends.backend import Fill
from parnwb.backends.encoder import REQUEST_COLUMNS, Batch, Encoder
from parnwb.storage import FileBytes

REQUEST_TAG = 1
ADDRESS_TAG = 2


class DirectBackend:
    """Works with any h5py; the default whenever there is a filter, or h5py has no MPI."""

    name = "direct"

    def fill(self, work: Fill) -> None:
        """Encode and write all bulk data, then the root writes the rest. Collective."""
        with work.ranks.agreed("writing"):
            addresses = _RootAddresses(work) if work.ranks.is_root else _AskedAddresses(work)
            disk = FileBytes(work.target.partial)
            try:
                _write_batches(work, addresses, disk)
                addresses.finish()
                disk.sync()
            finally:
                disk.close()
        with work.ranks.agreed("completing the file"):
            if work.skeleton is not None:
                _complete(work)


def _write_batches(work: Fill, addresses: _RootAddresses | _AskedAddresses, disk: FileBytes) -> None:
    with Encoder(work) as encoder:
        while True:
            work.ranks.wait_until(encoder.ready, addresses.serve)
            batch = encoder.take()
            if batch is None:
                return
            write(batch, addresses.of(batch), disk)


def write(batch: Batch, addresses: npt.NDArray[np.int64], disk: FileBytes) -> None:
    """Write the chunks of a batch, neighbours in the file with one call. Independent."""
    lengths = batch.requests[:, 2]
    order = np.argsort(addresses, kind="stable")
    breaks = np.flatnonzero(addresses[order][1:] != (addresses + lengths)[order][:-1]) + 1
    for run in np.split(order, breaks):
        if len(run):
            disk.write_at([batch.payloads[i] for i in run], int(addresses[run[0]]))


class _AskedAddresses:
    """Addresses by request to the root and reply; at most one request is under way."""

    def __init__(self, work: Fill) -> None:
        self._ranks = work.ranks

    def serve(self) -> bool:
        """Nobody asks here."""
        return False

    def of(self, batch: Batch) -> npt.NDArray[np.int64]:
        """Return where the batch's chunks go."""
        request = np.append(batch.requests.reshape(-1), batch.raw_bytes)
        self._ranks.send(request, 0, REQUEST_TAG)
        reply: list[npt.NDArray[np.int64]] = []

        def replied() -> bool:
            message = self._ranks.receive(ADDRESS_TAG, source=0)
            if message is not None:
                reply.append(message[1])
            return bool(reply)

        self._ranks.wait_until(replied)
        return reply[0]

    def finish(self) -> None:
        """Tell the root that no more requests come."""
        self._ranks.send(np.zeros(1, dtype=np.int64), 0, REQUEST_TAG)


class _RootAddresses:
    """Addresses from HDF5, for this rank and for all that ask."""

    def __init__(self, work: Fill) -> None:
        assert work.skeleton is not None
        self._work = work
        self._allocator = Allocator(work.skeleton.file, work.skeleton.overlay, work.plan.layout)
        self._asking = work.ranks.size - 1

    def serve(self) -> bool:
        """Answer one request if there is one."""
        message = self._work.ranks.receive(REQUEST_TAG)
        if message is None:
            return False
        sender, numbers = message
        requests, raw_bytes = numbers[:-1].reshape(-1, REQUEST_COLUMNS), int(numbers[-1])
        if len(requests) == 0:
            self._asking -= 1
        else:
            self._work.ranks.send(self._place(requests, raw_bytes), sender, ADDRESS_TAG)
        return True

    def of(self, batch: Batch) -> npt.NDArray[np.int64]:
        """Return where the batch's chunks go."""
        return self._place(batch.requests, batch.raw_bytes)

    def finish(self) -> None:
        """Answer until nobody asks any more."""
        self._work.ranks.wait_until(lambda: self._asking == 0, self.serve)

    def _place(self, requests: npt.NDArray[np.int64], raw_bytes: int) -> npt.NDArray[np.int64]:
        addresses = self._allocator.place_all(requests)
        self._work.progress.advance(raw_bytes, int(requests[:, 2].sum()))
        return addresses


def _complete(work: Fill) -> None:
    """Close HDF5 and write what it kept in memory: metadata, index, small datasets. Independent; on the root."""
    assert work.skeleton is not None
    work.skeleton.file.close()
    write_overlay(work)


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
