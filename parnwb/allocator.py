"""``Allocator``: HDF5 on the root gives out addresses and keeps the chunk index; no payload passes through it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from parnwb.errors import LayoutError, StorageError
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.overlay import Overlay

if TYPE_CHECKING:
    import h5py


class Allocator:
    """Addresses for chunks, from the one HDF5 handle of the job. Independent; on the root only.

    Parameters
    ----------
    file
        Open on ``overlay``; its bulk datasets exist and are empty.
    overlay
        What ``file`` writes to.
    layout
        The bulk datasets.
    lowest
        No chunk may lie below this address: those bytes are those of a file that is appended to.
    """

    def __init__(self, file: h5py.File, overlay: Overlay, layout: FileLayout, lowest: int = 0) -> None:
        self._lowest = lowest
        self._file = file
        self._overlay = overlay
        self._datasets = [file[spec.path].id for spec in layout]
        # Those that grow may have grown in the job that is resumed.
        shapes = [tuple(dataset.shape) for dataset in self._datasets]
        self._specs = [replace(spec, shape=shape) for spec, shape in zip(layout, shapes, strict=True)]
        self._grids = [spec.grid for spec in self._specs]
        self._bytes = np.empty(0, dtype=np.uint8)
        self._bases = {n: self._reserve(n) for n, spec in enumerate(layout) if spec.chunks is None and spec.nbytes}

    @property
    def layout(self) -> FileLayout:
        """The bulk datasets as they are now."""
        return FileLayout(tuple(self._specs))

    def grow(self, dataset: int, shape: tuple[int, ...]) -> None:
        """Let a dataset have at least this shape; HDF5 refuses what its maxshape does not allow."""
        shape = tuple(max(old, new) for old, new in zip(self._specs[dataset].shape, shape, strict=True))
        if shape != self._specs[dataset].shape:
            self._datasets[dataset].set_extent(shape)
            self._specs[dataset] = replace(self._specs[dataset], shape=shape)
            self._grids[dataset] = self._specs[dataset].grid

    def place(self, dataset: int, position: int, nbytes: int, mask: int) -> int:
        """Record one chunk in the file's index and return the address for its bytes.

        Parameters
        ----------
        dataset
            Number in the layout.
        position
            Position in the chunk grid.
        nbytes
            Length of the filtered chunk.
        mask
            Filters that were skipped.
        """
        return int(self.place_all(np.array([[dataset, position, nbytes, mask]], dtype=np.int64))[0])

    def place_all(self, requests: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Place rows that begin with ``(dataset, position, nbytes, mask)`` and return their addresses."""
        addresses = np.empty(len(requests), dtype=np.int64)
        numbers = requests[:, 0]
        edges = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
        low = 0
        for high in (*edges.tolist(), len(requests)):
            if low < high:
                addresses[low:high] = self._place_run(int(numbers[low]), requests[low:high])
            low = high
        return addresses

    def _place_run(self, number: int, requests: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Place chunks of one dataset. What can be done for all of them at once is: HDF5's part is then most of it."""
        spec, grid = self._specs[number], self._grids[number]
        index = grid.indices(requests[:, 1])
        starts = index * np.array(grid.chunk, dtype=np.int64)
        if spec.chunks is None:
            steps = np.cumprod((spec.itemsize, *spec.shape[:0:-1]), dtype=np.int64)[::-1]
            return self._bases[number] + starts @ steps
        starts[:, 0] += spec.first_row
        lengths, masks = requests[:, 2].tolist(), requests[:, 3].tolist()
        memory, dummy = self._dummy(max(lengths))
        expect, write, claim = self._overlay.expect, self._datasets[number].write_direct_chunk, self._claim
        addresses = []
        for start, nbytes, mask in zip(map(tuple, starts.tolist()), lengths, masks, strict=True):
            expect(memory, nbytes)
            write(start, dummy[:nbytes], mask)
            addresses.append(claim(spec, nbytes))
        self._check_above(min(addresses), spec)
        return np.array(addresses, dtype=np.int64)

    def _dummy(self, nbytes: int) -> tuple[int, memoryview]:
        """Return at least so many bytes, and their address in memory."""
        if len(self._bytes) < nbytes:
            self._bytes = np.empty(nbytes + nbytes // 2, dtype=np.uint8)
        return self._bytes.__array_interface__["data"][0], self._bytes.data

    def _claim(self, spec: DatasetSpec, nbytes: int) -> int:
        if self._overlay.expecting or len(self._overlay.payload) != 1:
            raise StorageError(
                "HDF5 did not write a chunk in one piece, so its address is not known",
                where=spec.path,
                remedy="Please report this with the versions that h5py.version.info prints; backend='mpio' may work",
            )
        address, length = self._overlay.payload.pop()
        assert length == nbytes
        return address

    def _reserve(self, dataset: int) -> int:
        """Let HDF5 allocate a whole contiguous dataset and return its address.

        One element is written for that. HDF5 may fill the space with a fill value that the user set; those
        writes are dropped, since every byte of the space will be written by some rank.
        """
        import h5py

        spec, handle = self._specs[dataset], self._datasets[dataset]
        # Not by the offset: with a user block HDF5 returns one, wrong, for space that there is not.
        if handle.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED:  # by the attempt that is resumed
            return int(handle.get_offset())
        self._file.flush()  # or metadata as large as pieces of a fill would be among what is dropped: heaps of strings
        self._overlay.reserving = True
        _write_first(handle, spec)
        self._file.flush()
        self._overlay.reserving = False
        if handle.get_space_status() != h5py.h5d.SPACE_STATUS_ALLOCATED:
            raise LayoutError("a contiguous dataset got no space in the file", where=spec.path)
        address = handle.get_offset()
        self._check_above(address, spec)
        end = address + spec.nbytes
        stray = [(a, n) for a, n in self._overlay.dropped if a < address or a + n > end]
        if stray:
            raise StorageError(f"HDF5 wrote metadata of unexpected size at {stray[0]}", where=spec.path)
        self._overlay.dropped.clear()
        self._overlay.discard(address, end)
        return int(address)

    def _check_above(self, address: int, spec: DatasetSpec) -> None:
        if address < self._lowest:
            raise StorageError(
                f"HDF5 gave out space at {address}, within the first {self._lowest} bytes, which an append must not "
                "change before it is complete",
                where=spec.path,
                remedy="Please report this with the versions that h5py.version.info prints; h5repack the file first",
            )


def _write_first(dataset: h5py.h5d.DatasetID, spec: DatasetSpec) -> None:
    """Write one element of a dataset, the first, as the bytes that it has in the file."""
    import h5py

    space = dataset.get_space()
    space.select_elements([(0,) * len(spec.shape)])
    dataset.write(h5py.h5s.create_simple((1,)), space, spec.fill.reshape(1), dataset.get_type())
