"""hdmf-zarr's NWBZarrIO with ``number_of_jobs``: many files instead of one, written by a pool of processes.

It writes in one process without saying so unless the iterator can be pickled, hence an iterator of our own; and with
one buffer there is work for one job only. Both are looked at after each run: one that was not parallel has failed.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any

from hdmf.data_utils import GenericDataChunkIterator
from measure import Measurement, make_safe, stored_bytes
from recordings import Recording

from cases import Case, Task

CASES = (
    Case("hdmf-zarr, gzip-4", {"gzip": 4}, launch="jobs"),
    Case("hdmf-zarr, its default codec", {}, launch="jobs"),
)
BUFFER_BYTES = 64 * 2**20


class PickledIterator(GenericDataChunkIterator):
    """Reads a recording by whole rows, and can be sent to another process, which opens the recording anew."""

    def __init__(self, recording: Recording, processes: int) -> None:
        self.recording, self.processes = recording, processes
        self.reads_here = 0
        super().__init__(chunk_shape=recording.chunk, buffer_shape=_buffer_shape(recording, processes))

    @cached_property
    def _values(self) -> Any:
        return self.recording.values()

    def _get_data(self, selection: tuple[slice, ...]) -> Any:
        self.reads_here += 1
        return self._values[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.recording.shape

    def _get_dtype(self) -> Any:
        return self._values.dtype

    def _to_dict(self) -> dict[str, Any]:
        return {"recording": self.recording.to_json(), "processes": self.processes}

    @staticmethod
    def _from_dict(dictionary: dict[str, Any]) -> PickledIterator:
        return PickledIterator(Recording.from_json(dictionary["recording"]), dictionary["processes"])


def _buffer_shape(recording: Recording, processes: int) -> tuple[int, ...]:
    """Return whole rows of chunks: as many as a buffer takes, and at least one buffer for each job if there are."""
    thickness, rows = recording.chunk[0], recording.shape[0]
    layer = thickness * max(1, recording.raw_bytes // rows)
    layers = max(1, min(BUFFER_BYTES // layer, -(-rows // thickness) // (2 * processes)))
    return (min(rows, layers * thickness), *recording.shape[1:])


def write(task: Task, comm: None) -> dict[str, Any]:
    """Write with as many jobs as there are processes."""
    from hdmf_zarr import NWBZarrIO, ZarrDataIO
    from numcodecs import GZip

    iterator = PickledIterator(task.recording, task.processes)
    codec = {"compressor": GZip(level=task.options["gzip"])} if "gzip" in task.options else {}
    nwbfile = task.recording.nwbfile(lambda data: ZarrDataIO(data=iterator, **codec))
    with Measurement() as measured:
        with NWBZarrIO(str(task.output), mode="w") as io:
            io.write(nwbfile, number_of_jobs=task.processes)
        make_safe(task.output)
    buffers = -(-task.recording.shape[0] // iterator.buffer_shape[0])
    if iterator.reads_here and task.processes > 1:
        raise SystemExit("hdmf-zarr has written in one process: it could not pickle the iterator")
    note = "" if buffers >= task.processes else f"{buffers} buffer(s): not all jobs had work"
    assert prod(iterator.maxshape) == prod(task.recording.shape)
    return measured.result(stored_bytes=stored_bytes(task.output), note=note, buffers=buffers)
