"""How the values of a source may be asked for."""

from __future__ import annotations

from enum import Enum


class Access(str, Enum):
    """What a source promises about reads of parts of it.

    ``RANDOM``
        Any box at any time gives the same values: arrays, files, HDF5 datasets.
    ``GRIDDED``
        Any box at any time, but the values near its borders may depend on where the borders are, as those of
        a lazily filtered recording do. Such a source is read on a grid that does not depend on the rank count.
    ``SEQUENTIAL``
        Boxes must be asked for in C order, by one reader: a movie decoder.
    ``GROWING``
        Nothing can be asked for: rows come one after another, and how many is not known: a generator, a stream.
    """

    RANDOM = "random"
    GRIDDED = "gridded"
    SEQUENTIAL = "sequential"
    GROWING = "growing"
