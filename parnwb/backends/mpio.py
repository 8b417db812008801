"""``mpio``: parallel HDF5 writes whole chunks, each rank on its own or all ranks together."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parnwb.backends.backend import Fill
from parnwb.backends.direct import write_overlay
from parnwb.codec.cast import in_file_dtype
from parnwb.comm import alone
from parnwb.errors import Interrupted, StorageError
from parnwb.hyperslab import Hyperslab
from parnwb.interrupts import ASKED_TO_STOP
from parnwb.iterator import CollectiveChunkIterator, IndependentChunkIterator
from parnwb.layout import DatasetSpec
from parnwb.plan import Buffer
from parnwb.progress import Extrapolated
from parnwb.target import FileBytes

if TYPE_CHECKING:
    import h5py


# Filters after which values are what they were: deflate, shuffle, fletcher32, szip, N-bit, LZF, Blosc, LZ4, bitshuffle,
# zstd. Of others it is not known.
LOSSLESS = frozenset({1, 2, 3, 4, 5, 32000, 32001, 32004, 32008, 32015})
CHECK_SPACE = "Check the free space, the quota and `ulimit -f` where the output goes"


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
        opening = "opening the file in parallel"
        with work.ranks.agreed(opening), work.ranks.doing(opening, together=True):
            file = h5py.File(work.target.partial, "r+", driver="mpio", comm=work.ranks.comm or alone())
        together: list[_ChunkWriter] = []
        try:
            for number, spec in enumerate(work.plan.layout):
                writer = _ChunkWriter(file, spec, collective=bool(spec.filters) or self.transfer == "collective")
                if writer.collective:
                    together.append(writer)
                    self._fill_collectively(work, writer, number)
                else:
                    self._fill_independently(work, writer, number)
        except BaseException as error:
            _close(work, file, error)
            raise
        _close(work, file)
        with work.ranks.agreed("reading back what was written together"):
            _read_back(work, together)
        with work.ranks.agreed("making the file safe"):
            _sync(work)

    def _fill_independently(self, work: Fill, writer: _ChunkWriter, number: int) -> None:
        with work.ranks.agreed(f"writing {writer.path}"):
            buffers = work.plan.buffers(work.ranks.rank, number)
            source = work.source(number)
            stream = IndependentChunkIterator(work.plan, work.ranks.rank, number, source, work.ranks.step)
            for buffer, chunk in zip(buffers, stream, strict=True):
                work.ranks.look_up()
                _heed(work)
                self._write_buffer(work, writer, buffer, chunk.data)

    def _write_buffer(self, work: Fill, writer: _ChunkWriter, buffer: Buffer, values: np.ndarray[Any, Any]) -> None:
        for _, elements in work.plan.chunks(buffer):
            work.ranks.step(f"writing {elements.place(writer.path)}")
            writer.write(elements, values[elements.relative_to(buffer.slab.start).slices])
        work.progress.advance(buffer.slab.size * work.plan.layout.datasets[buffer.dataset].itemsize, 0)

    def _fill_collectively(self, work: Fill, writer: _ChunkWriter, number: int) -> None:
        """Write in lockstep; a rank whose source fails says so before the next collective write."""
        with work.ranks.agreed(f"writing {writer.path}"):
            source = work.source(number)
            stream = CollectiveChunkIterator(work.plan, work.ranks.rank, number, source, work.ranks.step)
            for _ in range(work.plan.rounds(number)):
                error, chunk = None, None
                try:
                    _heed(work)
                    chunk = next(stream)
                except BaseException as caught:  # noqa: BLE001 - raised below, when no rank waits for this one
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
            with work.ranks.doing(f"writing {elements.place(writer.path)}", together=True):
                writer.write(elements, chunk.data)
        except BaseException as error:  # noqa: BLE001 - the others are inside the same call and cannot be told
            work.ranks.abort(error)
        work.progress.advance(chunk.data.nbytes, 0)


class _ChunkWriter:
    """Writes one chunk at a time from contiguous memory in the file's dtype, which is what HDF5 does quickest."""

    def __init__(self, file: h5py.File, spec: DatasetSpec, *, collective: bool) -> None:
        import h5py

        self.path = spec.path
        self.collective = collective
        self.sums: list[tuple[Hyperslab, int | None]] = []
        self._lossless = LOSSLESS.issuperset(f.identifier for f in spec.filters)
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
        try:
            self._dataset.write(memory, space, data, self._dataset.get_type(), self._transfer)
        except Exception as error:
            raise StorageError(
                f"parallel HDF5 could not write a chunk: {error}", where=elements.place(self.path), remedy=CHECK_SPACE
            ) from error
        if self.collective and elements.size:
            self.sums.append((elements, _sum(data) if self._lossless else None))


def _heed(work: Fill) -> None:
    """Leave if this rank has got a signal; the others follow it. Independent."""
    if work.interrupts.received:
        raise Interrupted(
            ASKED_TO_STOP,
            where=str(work.target.partial),
            remedy="Backend 'mpio' keeps no journal: run it again, which begins anew",
        )


def _close(work: Fill, file: h5py.File, cause: BaseException | None = None) -> None:
    """Close the file on all ranks. Collective.

    Where parallel HDF5 cannot close a file it is left in a state in which it crashes later: the job ends here.
    """
    try:
        with work.ranks.doing("closing the file in parallel", together=True):
            file.close()
    except Exception as error:  # noqa: BLE001 - told by abort
        if work.ranks.is_root:
            work.target.discard()
        failure = StorageError(
            f"parallel HDF5 could not complete the file: {error}", where=str(work.target.partial), remedy=CHECK_SPACE
        )
        try:
            work.ranks.abort(cause or failure)
        except SystemExit:  # of one process, which HDF5 would crash at its end
            alone().Abort(1)


def _read_back(work: Fill, writers: list[_ChunkWriter]) -> None:
    """Compare what this rank wrote collectively with the file. Independent.

    Collective writes may fail without an error: measured with Open MPI 4.1.4, four ranks and a full disk.
    """
    import h5py

    if not any(writer.sums for writer in writers):
        return
    with h5py.File(work.target.partial, "r") as file:
        for writer in writers:
            for elements, expected in writer.sums:
                work.ranks.look_up()
                work.ranks.step(f"reading back {elements.place(writer.path)}")
                try:
                    good = expected in (None, _sum(file[writer.path][elements.slices]))
                except OSError:
                    good = False
                if not good:
                    raise StorageError(
                        "MPI reported success, but what was written is not in the file",
                        where=elements.place(writer.path),
                        remedy=CHECK_SPACE + ", or use backend='direct'",
                    )


def _sum(values: np.ndarray[Any, Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def _sync(work: Fill) -> None:
    disk = FileBytes(work.target.partial)
    try:
        disk.sync()
    finally:
        disk.close()
