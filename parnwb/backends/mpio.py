"""``mpio``: parallel HDF5 writes whole chunks, each rank on its own or all ranks together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parnwb.backends.backend import Fill
from parnwb.backends.direct import write_overlay
from parnwb.codec.cutter import in_file_dtype
from parnwb.comm import alone
from parnwb.errors import StorageError
from parnwb.hyperslab import Hyperslab
from parnwb.iterator import CollectiveChunkIterator, IndependentChunkIterator
from parnwb.layout import DatasetSpec
from parnwb.plan import Buffer
from parnwb.progress import Extrapolated
from parnwb.storage import FileBytes

if TYPE_CHECKING:
    import h5py


class MpioBackend:
    """The reference: HDF5 alone decides where bytes go.

    Parameters
    ----------
    transfer
        ``'independent'`` or ``'collective'``; datasets with filters are always written collectively, which
        parallel HDF5 requires.
    """

    name = "mpio"

    def __init__(self, transfer: str = "independent") -> None:
        self.transfer = transfer

    def fill(self, work: Fill) -> None:
        """Write the skeleton, open it on all ranks and fill it. Collective."""
        import h5py

        told = Extrapolated(work.progress, work.plan.layout.nbytes, work.plan.nbytes(work.ranks.rank))
        work = replace(work, progress=told)
        with work.ranks.agreed("writing the skeleton"):
            if work.skeleton is not None:
                work.skeleton.file.close()
                write_overlay(work)
        with work.ranks.agreed("opening the file in parallel"):
            file = h5py.File(work.target.partial, "r+", driver="mpio", comm=work.ranks.comm or alone())
        try:
            for number, spec in enumerate(work.plan.layout):
                if spec.filters or self.transfer == "collective":
                    self._fill_collectively(work, file, number)
                else:
                    self._fill_independently(work, file, number)
        finally:
            file.close()
        with work.ranks.agreed("making the file safe"):
            _sync(work)

    def _fill_independently(self, work: Fill, file: h5py.File, number: int) -> None:
        spec = work.plan.layout.datasets[number]
        writer = _ChunkWriter(file, spec, collective=False)
        with work.ranks.agreed(f"writing {spec.path}"):
            buffers = work.plan.buffers(work.ranks.rank, number)
            stream = IndependentChunkIterator(work.plan, work.ranks.rank, number, work.source(number))
            for buffer, chunk in zip(buffers, stream, strict=True):
                work.ranks.look_up()
                self._write_buffer(work, writer, buffer, chunk.data)

    def _write_buffer(self, work: Fill, writer: _ChunkWriter, buffer: Buffer, values: np.ndarray[Any, Any]) -> None:
        for _, elements in work.plan.chunks(buffer):
            writer.write(elements, values[elements.relative_to(buffer.slab.start).slices])
        work.progress.advance(buffer.slab.size * work.plan.layout.datasets[buffer.dataset].itemsize, 0)

    def _fill_collectively(self, work: Fill, file: h5py.File, number: int) -> None:
        """Write in lockstep; a rank whose source fails says so before the next collective write."""
        spec = work.plan.layout.datasets[number]
        writer = _ChunkWriter(file, spec, collective=True)
        with work.ranks.agreed(f"writing {spec.path}"):
            stream = CollectiveChunkIterator(work.plan, work.ranks.rank, number, work.source(number))
            for _ in range(work.plan.rounds(number)):
                error, chunk = None, None
                try:
                    chunk = next(stream)
                except Exception as caught:  # noqa: BLE001 - raised below, when no rank waits for this one
                    error = caught
                if work.ranks.any_failed(error is not None):
                    if error is not None:
                        raise error
                    return
                assert chunk is not None
                self._write_together(work, writer, chunk)

    @staticmethod
    def _write_together(work: Fill, writer: _ChunkWriter, chunk: Any) -> None:
        start = tuple(part.start for part in chunk.selection)
        elements = Hyperslab(start, chunk.data.shape)
        try:
            writer.write(elements, chunk.data)
        except Exception as error:  # noqa: BLE001 - the others are inside the same call and cannot be told
            work.ranks.abort(StorageError(f"a collective write failed: {error}", where=writer.path))
        work.progress.advance(chunk.data.nbytes, 0)


class _ChunkWriter:
    """Writes one chunk at a time from contiguous memory in the file's dtype, which is what HDF5 does quickest."""

    def __init__(self, file: h5py.File, spec: DatasetSpec, *, collective: bool) -> None:
        import h5py

        self.path = spec.path
        self._dataset = file[spec.path].id
        self._dtype = spec.numpy_dtype
        self._transfer = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        mode = h5py.h5fd.MPIO_COLLECTIVE if collective else h5py.h5fd.MPIO_INDEPENDENT
        self._transfer.set_dxpl_mpio(mode)

    def write(self, elements: Hyperslab, values: np.ndarray[Any, Any]) -> None:
        """Write one chunk's elements; none at all is a part in a collective call all the same."""
        import h5py

        space = self._dataset.get_space()
        if elements.size == 0:
            space.select_none()
            memory = h5py.h5s.create_simple((1,) * len(elements.count))
            memory.select_none()
            data = np.empty((1,) * len(elements.count), dtype=self._dtype)
        else:
            space.select_hyperslab(elements.start, elements.count)
            memory = h5py.h5s.create_simple(elements.count)
            data = np.ascontiguousarray(in_file_dtype(values, self._dtype), dtype=self._dtype)
        self._dataset.write(memory, space, data, dxpl=self._transfer)


def _sync(work: Fill) -> None:
    disk = FileBytes(work.target.partial)
    try:
        disk.sync()
    finally:
        disk.close()
