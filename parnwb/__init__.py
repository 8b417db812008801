"""parnwb: write Neurodata Without Borders files from MPI programs.

``NWBParallelIO`` is the way in. Names are imported when they are first used, so that ``parnwb --help`` need not
wait for HDF5.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parnwb.errors import ParnwbError
    from parnwb.hyperslab import Hyperslab
    from parnwb.io import NWBParallelIO
    from parnwb.iterator import CollectiveChunkIterator, IndependentChunkIterator
    from parnwb.layout import DatasetSpec, FileLayout
    from parnwb.modular import write_modular
    from parnwb.movies import MovieFrames, place_movies
    from parnwb.planning.plan import WritePlan
    from parnwb.repacking.repack import merge, repack
    from parnwb.repacking.split import split
    from parnwb.report import make_report
    from parnwb.resident.data import Distributed, DistributedRagged, Owned
    from parnwb.sources.dask_iterator import DaskArrayIterator
    from parnwb.sources.growing import Stream
    from parnwb.verification import verify

    __version__: str

_HOMES = {
    "CollectiveChunkIterator": "iterator",
    "DaskArrayIterator": "sources.dask_iterator",
    "DatasetSpec": "layout",
    "Distributed": "resident.data",
    "DistributedRagged": "resident.data",
    "FileLayout": "layout",
    "Hyperslab": "hyperslab",
    "IndependentChunkIterator": "iterator",
    "MovieFrames": "movies",
    "NWBParallelIO": "io",
    "Owned": "resident.data",
    "ParnwbError": "errors",
    "Stream": "sources.growing",
    "WritePlan": "planning.plan",
    "make_report": "report",
    "merge": "repacking",
    "place_movies": "movies",
    "repack": "repacking",
    "split": "repacking",
    "verify": "verification",
    "write_modular": "modular",
}

__all__ = [
    "CollectiveChunkIterator",
    "DaskArrayIterator",
    "DatasetSpec",
    "Distributed",
    "DistributedRagged",
    "FileLayout",
    "Hyperslab",
    "IndependentChunkIterator",
    "MovieFrames",
    "NWBParallelIO",
    "Owned",
    "ParnwbError",
    "Stream",
    "WritePlan",
    "make_report",
    "merge",
    "place_movies",
    "repack",
    "split",
    "verify",
    "write_modular",
]


logging.getLogger("parnwb").addHandler(logging.NullHandler())  # who wants to hear it says so


def __getattr__(name: str) -> Any:
    if name == "__version__":
        globals()[name] = found = _version()
        return found
    if name not in _HOMES:
        raise AttributeError(f"module 'parnwb' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"parnwb.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES, "__version__"]


def _version() -> str:
    """Return the version that is installed, which came from git's tags when it was built."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("parnwb")
    except PackageNotFoundError:  # used from a folder of sources that was never installed
        return "0+unknown"
