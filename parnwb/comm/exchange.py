"""Collective exchange of Python values that never blocks inside MPI: each request is handed to a ``wait``."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mpi4py import MPI

LENGTH_BYTES, SMALL_BYTES = 8, 120
ROUND_BYTES = 256 * 1024 * 1024
MOST_BYTES = 2**31  # of a call: MPI counts them in 31 bits
Wait = Callable[["MPI.Request"], None]


def gathered(comm: MPI.Intracomm, value: object, wait: Wait) -> list[Any]:
    """Return the list of all ranks' values on every rank. Collective.

    Small values, which nearly all are, travel with their lengths in one call. Where all are the same, as they are in
    meetings that go well, they are not unpacked: with very many ranks that would take longer than the call.
    """
    from mpi4py import MPI

    own = _packed(value)
    slot = np.zeros(LENGTH_BYTES + SMALL_BYTES, dtype=np.uint8)
    slot[:LENGTH_BYTES].view(np.int64)[0] = len(own)
    if len(own) <= SMALL_BYTES:
        slot[LENGTH_BYTES : LENGTH_BYTES + len(own)] = own
    slots = np.empty((comm.Get_size(), len(slot)), dtype=np.uint8)
    wait(comm.Iallgather(slot, slots))
    lengths = np.ascontiguousarray(slots[:, :LENGTH_BYTES]).view(np.int64)[:, 0]
    if lengths.max() <= SMALL_BYTES:
        if (slots == slot).all():
            return [value] * len(slots)
        ends = (LENGTH_BYTES + lengths).tolist()
        return [pickle.loads(row[LENGTH_BYTES:end].data) for row, end in zip(slots, ends, strict=True)]
    stops = np.cumsum(lengths)
    everything = np.empty(int(stops[-1]), dtype=np.uint8)
    wait(comm.Iallgatherv(own, [everything, lengths.tolist(), (stops - lengths).tolist(), MPI.BYTE]))
    return [pickle.loads(everything[stop - n : stop].data) for stop, n in zip(stops, lengths, strict=True)]


def gathered_on_root(comm: MPI.Intracomm, value: object, wait: Wait) -> list[Any] | None:
    """Return the list of all ranks' values on the root, which alone has memory for them; None elsewhere. Collective."""
    from mpi4py import MPI

    own, is_root = _packed(value), comm.Get_rank() == 0
    lengths = np.empty(comm.Get_size() if is_root else 0, dtype=np.int64)
    wait(comm.Igather(np.array([len(own)], dtype=np.int64), lengths, root=0))
    if not is_root:
        wait(comm.Igatherv(own, None, root=0))
        return None
    stops = np.cumsum(lengths)
    everything = np.empty(int(stops[-1]), dtype=np.uint8)
    wait(comm.Igatherv(own, [everything, lengths.tolist(), (stops - lengths).tolist(), MPI.BYTE], root=0))
    return [pickle.loads(everything[stop - n : stop].data) for stop, n in zip(stops, lengths, strict=True)]


def broadcast(comm: MPI.Intracomm, value: object, wait: Wait) -> Any:
    """Return the root's value on every rank. Collective."""
    is_root = comm.Get_rank() == 0
    data = _packed(value) if is_root else np.empty(0, dtype=np.uint8)
    length = np.array([len(data)], dtype=np.int64)
    wait(comm.Ibcast(length, root=0))
    if not is_root:
        data = np.empty(int(length[0]), dtype=np.uint8)
    wait(comm.Ibcast(data, root=0))
    return value if is_root else pickle.loads(data.data)


def largest(comm: MPI.Intracomm, number: int, wait: Wait) -> int:
    """Return the largest of all ranks' numbers. Collective."""
    from mpi4py import MPI

    found = np.empty(1, dtype=np.int64)
    wait(comm.Iallreduce(np.array([number], dtype=np.int64), found, op=MPI.MAX))
    return int(found[0])


def exchanged(comm: MPI.Intracomm, numbers: list[int], wait: Wait) -> list[int]:
    """Return what each rank has for this one, of what each has for each. Collective."""
    found = np.empty(comm.Get_size(), dtype=np.int64)
    wait(comm.Ialltoall(np.array(numbers, dtype=np.int64), found))
    return [int(number) for number in found]


def sorted_out(
    comm: MPI.Intracomm, data: npt.NDArray[Any], counts: npt.NDArray[np.int64], wait: Wait
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Send each rank its run of ``data``, and return what all have sent to this one, in their order. Collective.

    Parameters
    ----------
    data
        One-dimensional and contiguous; of the same dtype on all ranks.
    counts
        Elements for each rank, in their order.

    Returns
    -------
    data, counts
        Elements from each rank, in their order.
    """
    from mpi4py import MPI

    coming = np.empty(comm.Get_size(), dtype=np.int64)
    wait(comm.Ialltoall(np.ascontiguousarray(counts, dtype=np.int64), coming))
    received = np.empty(int(coming.sum()), dtype=data.dtype)
    if largest(comm, max(data.nbytes, received.nbytes), wait) >= MOST_BYTES:
        ends = np.cumsum(np.asarray(counts, dtype=np.int64)) * data.dtype.itemsize
        parts = exchanged_bytes(comm, np.split(data.view(np.uint8), ends[:-1]), wait)
        return np.concatenate(parts).view(data.dtype), coming
    wait(comm.Ialltoallv(_runs(data, counts, MPI.BYTE), _runs(received, coming, MPI.BYTE)))
    return received, coming


def _runs(data: npt.NDArray[Any], counts: npt.NDArray[np.int64], byte: MPI.Datatype) -> list[Any]:
    nbytes = np.asarray(counts, dtype=np.int64) * data.dtype.itemsize
    return [data.view(np.uint8), nbytes.tolist(), (np.cumsum(nbytes) - nbytes).tolist(), byte]


def exchanged_bytes(
    comm: MPI.Intracomm, parts: list[npt.NDArray[np.uint8]], wait: Wait
) -> list[npt.NDArray[np.uint8]]:
    """Return the bytes that each rank has for this one, of what each has for each. Collective.

    They go in several rounds where they are many: MPI counts with 32 bits, and keeps buffers of its own.
    """
    from mpi4py import MPI

    expected = exchanged(comm, [len(part) for part in parts], wait)
    found = [np.empty(length, dtype=np.uint8) for length in expected]
    step = max(1, ROUND_BYTES // comm.Get_size())
    longest = largest(comm, max(map(len, parts)), wait)
    for begin in range(0, longest, step):
        sent = [part[begin : begin + step] for part in parts]
        counts = [len(part[begin : begin + step]) for part in found]
        received = np.empty(sum(counts), dtype=np.uint8)
        lengths, places = [len(part) for part in sent], np.cumsum([0, *counts])
        wait(
            comm.Ialltoallv(
                [np.concatenate(sent), lengths, np.cumsum([0, *lengths])[:-1].tolist(), MPI.BYTE],
                [received, counts, places[:-1].tolist(), MPI.BYTE],
            )
        )
        for part, place, count in zip(found, places, counts, strict=False):
            part[begin : begin + count] = received[place : place + count]
    return found


def _packed(value: object) -> npt.NDArray[np.uint8]:
    return np.frombuffer(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), dtype=np.uint8)
