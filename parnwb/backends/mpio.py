"""``mpio``: parallel HDF5 writes whole chunks, each rank on its own or all ranks together."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parnwb.backends.backend import Job, Portion, begins_anew
from parnwb.backends.direct import write_overlay
from parnwb.backends.own_part import OwnPart
from parnwb.codec.cast import in_file_dtype
from parnwb.comm import alone, information
from parnwb.commits.journal import StreamState
from parnwb.errors import StorageError
from parnwb.hyperslab import Hyperslab
from parnwb.iterator import CollectiveChunkIterator, IndependentChunkIterator
from parnwb.layout import DatasetSpec
from parnwb.machine.storage import LUSTRE, file_system, kind_of
from parnwb.machine.striping import striping_of
from parnwb.own_tally import OwnTally
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

    def open(self, job: Job) -> MpioFile:
        """Write the skeleton and open it on all ranks. Collective."""
        import h5py

        with job.ranks.agreed("writing the skeleton"):
            if job.skeleton is not None:
                job.hdf5_skeleton.file.close()
                job.target.check_ours()
                with closing(FileBytes(job.target.partial)) as disk:
                    write_overlay(job.hdf5_skeleton.overlay, disk)
        told = job.ranks.on_root("looking at the file's striping", lambda: hints(job.target.partial, job.ranks.size))
        opening = "opening the file in parallel"
        with job.ranks.agreed(opening), job.ranks.doing(opening, together=True):
            comm = job.ranks.comm or alone()
            file = h5py.File(job.target.partial, "r+", driver="mpio", comm=comm, info=information(told))
        return MpioFile(job, file, transfer=self.transfer)


class MpioFile:
    """The partial file, open in parallel HDF5 on all ranks. Construction is independent.

    Parameters
    ----------
    job
        What is written.
    file
        With the skeleton in it.
    transfer
        As for ``MpioBackend``.
    """

    def __init__(self, job: Job, file: h5py.File, *, transfer: str) -> None:
        self._job, self._ranks, self._file = job, job.ranks, file
        self._tally = OwnTally(job.plan)
        job.progress.watch(self._tally.state)
        self._writers = [
            _ChunkWriter(file, spec, collective=bool(spec.filters) or transfer == "collective") for spec in job.layout
        ]

    def fill(self, portion: Portion) -> None:
        """Write the chunks of a portion, one dataset after the other. Collective."""
        plan = portion.plan
        if not portion.in_one_piece and self._ranks.any_failed(self._job.interrupts.received):
            raise self._ranks.known_to_all(begins_anew(self._job))
        for number, growth in portion.growth.items():
            with self._ranks.doing(f"extending {self._writers[number].path}", together=True):
                self._writers[number].grow(growth.grid.shape)
        self._ranks.phases.count(0, 0)
        with self._ranks.agreed("looking at what is to be written"):
            told = OwnPart(self._job, self._tally, plan)
            numbers = [number for number in plan.order.datasets if plan.rounds(number)]
        try:
            for number in numbers:
                writer = self._writers[number]
                fill = self._fill_collectively if writer.collective else self._fill_independently
                fill(portion, writer, number, told)
                with self._ranks.agreed(f"counting {writer.path}", "writing"):
                    told.settle(number)
        except BaseException as error:  # of all ranks: one that is alone here would close what the others write to
            self._close(error)
            raise

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Let parallel HDF5 write all that it holds, and make it safe. Collective; rows in no chunk yet are not."""
        with self._ranks.agreed("committing"), self._ranks.doing("flushing the file in parallel", together=True):
            self._file.flush()
        with self._ranks.agreed("making the file safe"):
            _sync(self._job)

    def complete(self, streams: Mapping[int, StreamState]) -> None:
        """Close the file, look at what was written together, and make all safe. Collective."""
        self._close()
        with self._ranks.agreed("reading back what was written together"):
            _read_back(self._job, [writer for writer in self._writers if writer.collective])
        with self._ranks.agreed("making the file safe"):
            _sync(self._job)

    def close(self) -> None:
        """Close the file if it is open. Collective: parallel HDF5 can be closed by all ranks together only."""
        if self._file:
            self._close()

    def _fill_independently(self, portion: Portion, writer: _ChunkWriter, number: int, told: OwnPart) -> None:
        plan, rank = portion.plan, self._ranks.rank
        with self._ranks.agreed(f"writing {writer.path}", "writing"):
            stream = IndependentChunkIterator(plan, rank, number, portion.source(number), self._ranks.step)
            buffers = self._ranks.phases.each("reading", stream)
            for buffer, chunk in zip(plan.buffers(rank, number), buffers, strict=True):
                self._ranks.look_up()
                _heed(self._job, portion)
                for _, elements in plan.chunks(buffer):
                    place = portion.elements(number, elements)
                    self._ranks.step(f"writing {place.place(writer.path)}")
                    writer.write(place, chunk.data[elements.relative_to(buffer.slab.start).slices])
                nbytes = buffer.slab.size * plan.layout.datasets[number].itemsize
                self._ranks.phases.count(nbytes, 0)
                told.advance(number, nbytes)

    def _fill_collectively(self, portion: Portion, writer: _ChunkWriter, number: int, told: OwnPart) -> None:
        """Write in lockstep; a rank whose source fails says so before the next collective write."""
        plan = portion.plan
        with self._ranks.agreed(f"writing {writer.path}", "writing"):
            source = portion.source(number)
            stream = CollectiveChunkIterator(plan, self._ranks.rank, number, source, self._ranks.step)
            for _ in range(plan.rounds(number)):
                error, chunk = None, None
                try:
                    self._ranks.look_up()
                    _heed(self._job, portion)
                    with self._ranks.phases("reading"):
                        chunk = next(stream)
                except BaseException as caught:  # noqa: BLE001 - raised below, when no rank waits for this one
                    error = caught
                if self._ranks.any_failed(error is not None):
                    if error is not None:
                        raise error
                    return
                assert chunk is not None
                self._write_together(writer, chunk, portion, number)
                self._ranks.phases.count(chunk.data.nbytes, 0)
                told.advance(number, chunk.data.nbytes)

    def _write_together(self, writer: _ChunkWriter, chunk: Any, portion: Portion, number: int) -> None:
        start = tuple(part.start for part in chunk.selection)
        elements = portion.elements(number, Hyperslab(start, chunk.data.shape))
        try:
            with self._ranks.doing(f"writing {elements.place(writer.path)}", together=True):
                writer.write(elements, chunk.data)
        except BaseException as error:  # noqa: BLE001 - the others are inside the same call and cannot be told
            self._ranks.abort(error)

    def _close(self, cause: BaseException | None = None) -> None:
        """Close the file on all ranks. Collective.

        Where parallel HDF5 cannot close a file it is left in a state in which it crashes later: the job ends here.
        """
        try:
            with self._ranks.doing("closing the file in parallel", together=True):
                self._file.close()
        except Exception as error:  # noqa: BLE001 - told by abort
            partial = self._job.target.partial
            if self._ranks.is_root:
                self._job.target.discard()
            failure = StorageError(
                f"parallel HDF5 could not complete the file: {error}", where=str(partial), remedy=CHECK_SPACE
            )
            try:
                self._ranks.abort(cause or failure)
            except SystemExit:  # of one process, which HDF5 would crash at its end
                alone().Abort(1)


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

    def grow(self, shape: tuple[int, ...]) -> None:
        """Let the dataset have at least this shape. Collective in HDF5."""
        old = self._dataset.shape
        new = tuple(max(pair) for pair in zip(old, shape, strict=True))
        if new != old:
            self._dataset.set_extent(new)

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


def hints(path: Path, ranks: int) -> dict[str, str]:
    """Return what MPI-IO is told of a file; a library passes over what it does not know. Independent.

    Chunks are contiguous, so nobody need read what lies between them, which others may be writing. On Lustre one
    process for each storage server writes what was collected.
    """
    told = {"romio_ds_write": "disable"}
    if kind_of(file_system(path.parent)) is LUSTRE and (found := striping_of(path)) is not None:
        told |= {"striping_factor": str(found.count), "striping_unit": str(found.size)}
        if found.count > 0:
            told["cb_nodes"] = str(min(found.count, ranks))
    return told


def _heed(job: Job, portion: Portion) -> None:
    """Leave if this rank has got a signal; the others follow it. Independent."""
    if job.interrupts.received and not portion.in_one_piece:
        raise begins_anew(job)


def _read_back(job: Job, writers: list[_ChunkWriter]) -> None:
    """Compare what this rank wrote collectively with the file. Independent.

    Collective writes may fail without an error: measured with Open MPI 4.1.4, four ranks and a full disk.
    """
    import h5py

    if not any(writer.sums for writer in writers):
        return
    with h5py.File(job.target.partial, "r") as file:
        for writer in writers:
            for elements, expected in writer.sums:
                job.ranks.look_up()
                job.ranks.step(f"reading back {elements.place(writer.path)}")
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


def _sync(job: Job) -> None:
    disk = FileBytes(job.target.partial)
    try:
        disk.sync()
    finally:
        disk.close()
