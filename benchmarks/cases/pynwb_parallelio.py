"""The recipe of pynwb's tutorial on parallel input and output: one process prepares the file, all ranks fill it.

The tutorial's datasets have neither chunks nor filters. A barrier that it lacks is here, since all ranks would else
open the file while the root still writes it.
"""

from __future__ import annotations

from typing import Any

from measure import Measurement, make_safe, stored_bytes
from recordings import BLOCK_BYTES

from cases import SERIES, Case, Task

CASES = (Case("pynwb, parallelio recipe", kinds=SERIES, launch="mpi", parallel_hdf5=True),)


def write(task: Task, comm: Any) -> dict[str, Any]:
    """Prepare on the root, then fill equal runs of rows, a block at a time. Collective."""
    from pynwb import NWBHDF5IO, H5DataIO

    recording, values = task.recording, task.recording.values()
    nwbfile = None
    if comm.rank == 0:
        nwbfile = recording.nwbfile(lambda data: H5DataIO(shape=recording.shape, dtype=values.dtype))
    rows = recording.shape[0]
    first, last = (rows * rank // comm.size for rank in (comm.rank, comm.rank + 1))
    block = max(1, BLOCK_BYTES // max(1, recording.raw_bytes // rows))
    with Measurement(comm) as measured:
        if comm.rank == 0:
            with NWBHDF5IO(str(task.output), "w") as io:
                io.write(nwbfile)
        comm.Barrier()
        with NWBHDF5IO(str(task.output), mode="a", comm=comm) as io:
            (series,) = io.read().acquisition.values()
            for start in range(first, last, block):
                stop = min(start + block, last)
                series.data[start:stop] = values[start:stop]
        make_safe(task.output)
    return measured.result(stored_bytes=stored_bytes(task.output))
