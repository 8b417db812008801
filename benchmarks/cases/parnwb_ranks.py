"""parnwb's NWBParallelIO on all ranks."""

from __future__ import annotations

import json
from typing import Any

from measure import Measurement, stored_bytes

from cases import Case, Task

GZIP_SHUFFLE = {"compression": "gzip", "compression_opts": 4, "shuffle": True}

CASES = (
    Case("parnwb, auto", {"io": {"compression": "auto"}}, launch="mpi"),
    Case("parnwb, auto, 2 threads", {"io": {"compression": "auto", "threads": 2}}, launch="mpi", processes=1),
    Case("parnwb, gzip-4", {"io": {"compression": "gzip"}}, launch="mpi"),
    Case("parnwb, gzip-4 + shuffle", {"data": GZIP_SHUFFLE}, launch="mpi"),
    Case("parnwb, none", {}, launch="mpi"),
    Case("parnwb zarr, gzip-4", {"io": {"compression": "gzip", "backend": "zarr"}}, launch="mpi"),
    Case("parnwb zarr, its default codec", {"io": {"backend": "zarr"}}, launch="mpi"),
    Case(
        "parnwb mpio, gzip-4",
        {"io": {"compression": "gzip", "backend": "mpio"}},
        launch="mpi",
        parallel_hdf5=True,
    ),
    Case("parnwb mpio, none", {"io": {"backend": "mpio"}}, launch="mpi", parallel_hdf5=True),
)


def _program(spec: Any) -> str:
    """Return what encodes where parnwb has not chosen a program: a codec of Zarr, or HDF5."""
    last = spec.filters[-1]
    return json.loads(last.name)["id"] if last.identifier < 0 else "HDF5"


def write(task: Task, comm: Any) -> dict[str, Any]:
    """Write with ``NWBParallelIO``; the root alone has the NWBFile. Collective."""
    from pynwb import H5DataIO

    from parnwb import NWBParallelIO

    settings = task.options.get("data")
    wrap = (lambda data: H5DataIO(data, **settings)) if settings else None
    nwbfile = task.recording.nwbfile(wrap) if comm.rank == 0 else None
    with Measurement(comm) as measured:
        with NWBParallelIO(task.output, "w", comm=comm, progress=False, **task.options.get("io", {})) as io:
            io.write(nwbfile)
    spec = max(io.written.plan.layout, key=lambda item: item.nbytes)
    shuffled = any(one.identifier == 2 for one in spec.filters)
    return measured.result(
        stored_bytes=stored_bytes(task.output),
        coding=f"{spec.coder or _program(spec) if spec.filters else 'none'}{' + shuffle' * shuffled}",
        backend=io.written.backend.name,
        phases=comm.gather(dict(io.written.phases)),
        buffer_bytes=max(map(io.written.plan.buffer_bytes, range(len(io.written.plan.layout)))),
    )
