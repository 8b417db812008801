"""HDF5's own collective write of filtered chunks: a file that pynwb has prepared, filled by all ranks in lockstep.

Each call writes whole chunks, a row of them for each rank, from contiguous memory; ranks that have run out take part
with an empty selection.
"""

from __future__ import annotations

from typing import Any

from measure import Measurement, make_safe, stored_bytes

from cases import SERIES, Case, Task

GZIP = {"compression": "gzip", "compression_opts": 4}

CASES = (
    Case("HDF5 collective, gzip-4", GZIP, kinds=SERIES, launch="mpi", parallel_hdf5=True),
    Case("HDF5 collective, gzip-4 + shuffle", {**GZIP, "shuffle": True}, SERIES, "mpi", parallel_hdf5=True),
)


def write(task: Task, comm: Any) -> dict[str, Any]:
    """Prepare on the root, then write together. Collective."""
    import h5py
    from pynwb import NWBHDF5IO, H5DataIO

    recording, values = task.recording, task.recording.values()
    name = None
    if comm.rank == 0:
        settings = {"shape": recording.shape, "dtype": values.dtype, "chunks": recording.chunk, **task.options}
        nwbfile = recording.nwbfile(lambda data: H5DataIO(**settings))
        (name,) = nwbfile.acquisition
    with Measurement(comm) as measured:
        if comm.rank == 0:
            with NWBHDF5IO(str(task.output), "w") as io:
                io.write(nwbfile)
        name = comm.bcast(name)
        with h5py.File(task.output, "r+", driver="mpio", comm=comm) as file:
            _fill(file[f"acquisition/{name}/data"], values, recording.chunk[0], comm)
        make_safe(task.output)
    return measured.result(stored_bytes=stored_bytes(task.output))


def _fill(dataset: Any, values: Any, thickness: int, comm: Any) -> None:
    """Write rows of chunks in turn, one for each rank and call."""
    import h5py
    import numpy as np

    transfer = h5py.h5p.create(h5py.h5p.DATASET_XFER)
    transfer.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)
    rows = dataset.shape[0]
    for start in range(0, rows, thickness * comm.size):
        first = start + thickness * comm.rank
        count = max(0, min(thickness, rows - first))
        space = dataset.id.get_space()
        if count:
            block = np.ascontiguousarray(values[first : first + count])
            space.select_hyperslab((first,) + (0,) * (block.ndim - 1), block.shape)
            memory = h5py.h5s.create_simple(block.shape)
        else:
            block = np.empty((1,) * len(dataset.shape), dataset.dtype)
            memory = h5py.h5s.create_simple(block.shape)
            space.select_none()
            memory.select_none()
        dataset.id.write(memory, space, block, dxpl=transfer)
