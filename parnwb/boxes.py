"""Few boxes for many cells of a grid. Nothing here knows of files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from parnwb.hyperslab import Hyperslab

Numbers = npt.NDArray[np.int64]


def boxes_of(cells: Numbers) -> list[Hyperslab]:
    """Return boxes that cover cells, each once. Independent.

    Cells that are a box become one; those of a run in C order become as few as ``hyperslab.run_boxes`` has.

    Parameters
    ----------
    cells
        One row for each, its index in the grid; in any order.
    """
    starts, counts = cells, np.ones_like(cells)
    for axis in reversed(range(cells.shape[1])):
        starts, counts = _joined(starts, counts, axis)
    return [Hyperslab(tuple(a), tuple(n)) for a, n in zip(starts.tolist(), counts.tolist(), strict=True)]


def _joined(starts: Numbers, counts: Numbers, axis: int) -> tuple[Numbers, Numbers]:
    """Join boxes that follow each other along an axis and are the same in all others."""
    if not len(starts):
        return starts, counts
    others = np.column_stack([np.delete(starts, axis, axis=1), np.delete(counts, axis, axis=1)])
    order = np.lexsort((starts[:, axis], *others.T))
    starts, counts, others = starts[order], counts[order], others[order]
    ends = starts[:, axis] + counts[:, axis]
    follows = (others[1:] == others[:-1]).all(axis=1) & (starts[1:, axis] == ends[:-1])
    first = np.flatnonzero(np.concatenate([[True], ~follows]))
    joined = counts[first].copy()
    joined[:, axis] = np.add.reduceat(counts[:, axis], first)
    return starts[first], joined
