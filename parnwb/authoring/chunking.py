"""``auto_chunks``: chunk shapes that NWB recommends, for data that have none of their own.

2 to 16 MB each: readers fetch whole chunks, from disks and over networks. They depend on the data alone, so that the
file is the same whatever the number of ranks, and of their buffers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parnwb.planning.plan import DEFAULT_BUFFER_MB, MiB

if TYPE_CHECKING:
    import h5py

LEAST_BYTES, MOST_BYTES = 4_000_000, 16_000_000
LEAST_OF_WIDE_BYTES = 2_000_000
LAYER_BYTES = DEFAULT_BUFFER_MB * MiB
"""Of a layer of chunks, which are all channels: a buffer of the default size, so that no row is read for two of them.

Chunks that are thinner than they would be otherwise have ``LEAST_OF_WIDE_BYTES`` at least: 2100 channels fit."""
CHANNELS = 64
"""About so many channels share a chunk, so that some of a probe's can be read without the others."""
MOST_CHUNKS = 250_000
"""What one root places in five seconds. Data of more chunks than these get larger ones, as far as ``MOST_BYTES``."""
MOST_OF_LAYERS = 1_000_000
"""What one root places in twenty seconds, in which no file system gives so much data once more: as far as this a layer
that fits goes before fewer chunks."""
GUESSED = 1024


def auto_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the chunk shape for a dataset. Independent.

    Two axes are time and channels: about 64 channels, for as long as fits and all channels fit a buffer (up to 2100 of
    them); more where there are few rows. Of three and more, images first of all, the first is counted in whole frames.

    Parameters
    ----------
    shape
        In elements; an extent of 0, which may grow, counts as 1024, as for h5py.
    itemsize
        Bytes of an element.
    """
    shape = tuple(extent or GUESSED for extent in shape)
    nbytes = math.prod(shape) * itemsize
    room = max(1, int(min(MOST_BYTES, max(LEAST_BYTES, nbytes / MOST_CHUNKS))) // itemsize)
    if len(shape) == 2:
        abreast = -(-shape[1] // CHANNELS)
        columns = -(-shape[1] // abreast)
        fits = max(LAYER_BYTES // abreast, LEAST_OF_WIDE_BYTES, nbytes // MOST_OF_LAYERS) // itemsize
        rows = max(1, min(room, fits) // columns)
        if rows < shape[0]:
            return rows, columns
        parts = -(-shape[1] // max(columns, room // shape[0]))  # of short rows more: chunks of all are small
        return shape[0], -(-shape[1] // parts)
    frame = math.prod(shape[1:])
    if frame * itemsize <= MOST_BYTES:
        return (min(shape[0], max(1, room // frame)), *shape[1:])
    return (1, *_part_of_frame(shape[1:], MOST_BYTES // itemsize))


def creation_anew(dataset: h5py.Dataset) -> h5py.h5p.PropDCID:
    """Return how a dataset whose values are in other files is created in this one. Independent."""
    import h5py

    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if dataset.maxshape != dataset.shape:
        creation.set_chunk(auto_chunks(dataset.shape, dataset.dtype.itemsize))
    return creation


def _part_of_frame(shape: tuple[int, ...], room: int) -> tuple[int, ...]:
    """Return equal parts of a frame that is too large for a chunk: runs of whole rows, or of a row."""
    row = math.prod(shape[1:])
    if row > room:
        return (1, *_part_of_frame(shape[1:], room))
    parts = -(-shape[0] // max(1, room // row))
    return (-(-shape[0] // parts), *shape[1:])
