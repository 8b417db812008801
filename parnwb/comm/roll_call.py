"""``RollCall``: who is still there, asked when a job has to end and none of its usual messages can tell."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mpi4py import MPI

ROLL_TAG = 27182  # far from what programs use: the first meeting is on a communicator of the user's
HERE, CALL = 0, 1


@dataclass(frozen=True)
class Attendance:
    """What a roll call found.

    Parameters
    ----------
    missing
        Ranks that did not answer.
    first
        The lowest rank that has called, which is to speak.
    """

    missing: tuple[int, ...]
    first: int


class RollCall:
    """Questions and answers over a communicator; independent. Off the main thread MPI must allow that."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm
        self._present, self._callers = {comm.Get_rank()}, {comm.Get_rank()}
        self._sent: list[object] = []  # requests and their buffers, which nobody waits for
        self._tick = 0

    def is_due(self, tick: int) -> bool:
        """Tell whether a tick is a new one."""
        new, self._tick = tick != self._tick, tick
        return new

    def answer(self) -> None:
        """Answer those who have called; cheap where nobody has."""
        from mpi4py import MPI

        status, kind = MPI.Status(), np.empty(1, dtype=np.int64)
        while (message := self._comm.Improbe(source=MPI.ANY_SOURCE, tag=ROLL_TAG, status=status)) is not None:
            message.Recv(kind)
            caller = status.Get_source()
            self._present.add(caller)
            if kind[0] == CALL:
                self._callers.add(caller)
                self._send(caller, HERE)

    def call(self, seconds: float) -> Attendance:
        """Ask all ranks, and listen for so long."""
        everyone = range(self._comm.Get_size())
        for rank in everyone:
            if rank != self._comm.Get_rank():
                self._send(rank, CALL)
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self._present) < len(everyone):
            self.answer()
            time.sleep(0.01)
        return Attendance(tuple(sorted(set(everyone) - self._present)), min(self._callers))

    def _send(self, rank: int, kind: int) -> None:
        number = np.array([kind], dtype=np.int64)
        self._sent += [self._comm.Isend(number, dest=rank, tag=ROLL_TAG), number]
