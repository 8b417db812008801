"""pynwb's NWBHDF5IO in one process: what users of NWB have."""

from __future__ import annotations

from typing import Any

from measure import Measurement, make_safe, stored_bytes

from cases import Case, Task

GZIP = {"compression": "gzip", "compression_opts": 4}

CASES = (
    Case("pynwb, gzip-4", GZIP),
    Case("pynwb, gzip-4 + shuffle", {**GZIP, "shuffle": True}),
    Case("pynwb, none", {}),
)


def write(task: Task, comm: None) -> dict[str, Any]:
    """Write the data wrapped in ``H5DataIO``."""
    from pynwb import NWBHDF5IO, H5DataIO

    # Bare arrays, unlike iterators, do not say in which chunks they want to be stored.
    chunks = {"chunks": task.recording.chunk} if task.options and task.recording.kind == "spikes" else {}
    nwbfile = task.recording.nwbfile(lambda data: H5DataIO(data, **task.options, **chunks))
    with Measurement() as measured:
        with NWBHDF5IO(str(task.output), "w") as io:
            io.write(nwbfile)
        make_safe(task.output)
    return measured.result(stored_bytes=stored_bytes(task.output))
