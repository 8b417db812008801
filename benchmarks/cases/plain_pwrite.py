"""The limit of the file system: all ranks write as many bytes with ``pwrite`` as the recording has, no more."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from measure import Measurement, stored_bytes
from recordings import BLOCK_BYTES

from cases import Case, Task

CASES = (
    Case("pwrite, from memory", {"read": False}, launch="mpi"),
    Case("pwrite, read and written", {"read": True}, launch="mpi"),
)


def write(task: Task, comm: Any) -> dict[str, Any]:
    """Write equal runs of rows into one file, each rank its own, and call fsync. Collective."""
    recording, values = task.recording, task.recording.values()
    rows, row_bytes = recording.shape[0], recording.raw_bytes // recording.shape[0]
    first, last = (rows * rank // comm.size for rank in (comm.rank, comm.rank + 1))
    block = max(1, BLOCK_BYTES // row_bytes // 4)
    memory = np.ascontiguousarray(values[first : min(first + block, last)])
    if comm.rank == 0:
        task.output.touch()
    with Measurement(comm) as measured:
        descriptor = os.open(task.output, os.O_WRONLY)
        for start in range(first, last, block):
            count = min(block, last - start)
            part = np.ascontiguousarray(values[start : start + count]) if task.options["read"] else memory[:count]
            _write_all(descriptor, part, start * row_bytes)
        os.fsync(descriptor)
        os.close(descriptor)
    comm.Barrier()
    return measured.result(stored_bytes=stored_bytes(task.output))


def _write_all(descriptor: int, values: Any, place: int) -> None:
    data = memoryview(values.reshape(-1).view(np.uint8))
    while data:
        done = os.pwrite(descriptor, data, place)
        data, place = data[done:], place + done
