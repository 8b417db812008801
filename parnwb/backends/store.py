"""``zarr``: ranks encode chunks and write each to a file of its own in the partial folder; the root writes the rest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from parnwb.backends.backend import Job, Portion
from parnwb.backends.direct import DirectFile, addresses_of
from parnwb.backends.encoder import Batch
from parnwb.backends.requests import Numbers
from parnwb.comm import Aside, Ranks
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.sources import Access
from parnwb.sources.array import cast_to
from parnwb.target import FolderFiles

ENDLESS = 1 << 60
"""Rows of a dataset of which nobody knows how many it will have."""
MOST_UNSAFE = 10_000
"""Files of a rank that are written and not made safe: their names are in memory."""


class StoreBackend:
    """Works like ``direct``, without addresses: which file a chunk is follows from its place in the array."""

    name = "zarr"

    def open(self, job: Job) -> StoreFile:
        """Make the folders of all arrays, then open the partial folder on every rank. Collective."""
        with job.ranks.agreed("making the store's folders"):
            if job.ranks.is_root:
                _make_folders(job)
        with job.ranks.agreed("opening the partial folder"), ExitStack() as failed:
            files = FolderFiles(job.target.partial)
            failed.callback(files.close)
            pen, disk = ChunkPen(job, files), ChunkDisk(job.ranks, files)
            file = StoreFile(job, disk, pen, addresses_of(job, disk, pen, _Anywhere), complete_store)
            failed.pop_all()
            return file


class StoreFile(DirectFile):
    """The partial folder, open on all ranks."""

    def fill(self, portion: Portion) -> None:
        """Encode and write the chunks of a portion. Collective."""
        dtypes = {spec.path: spec.numpy_dtype for spec in portion.plan.layout}
        # Zarr converts values as numpy does.
        sources = {path: cast_to(source, dtypes[path]) for path, source in portion.sources.items() if path in dtypes}
        super().fill(replace(portion, sources=sources))


class ChunkDisk:
    """The chunk files of a rank, each of which is a step of its own where they are made safe: there can be many.

    Parameters
    ----------
    ranks
        Whose watchdog is told.
    files
        In the partial folder.
    """

    def __init__(self, ranks: Ranks, files: FolderFiles) -> None:
        self._ranks, self._files = ranks, files

    def sync(self) -> None:
        """Make all files safe that were written and are not."""
        for name in self._files.syncing():
            self._ranks.step(f"making {name} safe (fsync)")
            self._ranks.look_up()

    def close(self) -> None:
        """Close the folder."""
        self._files.close()


class ChunkPen:
    """Writes each chunk to the file that Zarr looks for.

    Parameters
    ----------
    job
        What is written.
    files
        In the partial folder.
    """

    def __init__(self, job: Job, files: FolderFiles) -> None:
        self._target, self._layout, self._files = job.target, job.layout, files

    def write(self, batch: Batch, addresses: Numbers, aside: Aside, meanwhile: Callable[[], bool]) -> None:
        """Write the chunks of a batch, all of one array."""
        if not len(batch.requests):
            return
        self._target.check_now_and_then()
        spec = self._layout.datasets[int(batch.requests[0, 0])]
        names = [chunk_name(spec, position) for position in batch.requests[:, 1].tolist()]
        files = list(zip(names, batch.payloads, strict=True))
        aside.do(f"writing {batch.place}", lambda: self._files.write(spec.path.strip("/"), files), meanwhile)
        while self._files.unsafe > MOST_UNSAFE:
            aside.do("making written chunks safe (fsync)", self._files.sync_some, meanwhile)

    def serve(self) -> bool:
        """Do nothing: every rank writes its own."""
        return False


class _Anywhere:
    """Takes note of how large arrays are; where their chunks go needs no telling.

    Parameters
    ----------
    job
        What is written.
    """

    def __init__(self, job: Job) -> None:
        self._specs = list(job.layout)

    @property
    def layout(self) -> FileLayout:
        """The bulk arrays as they are now."""
        return FileLayout(tuple(self._specs))

    def grow(self, dataset: int, shape: tuple[int, ...]) -> None:
        """Let an array have at least this shape."""
        old = self._specs[dataset]
        largest = tuple(max(pair) for pair in zip(old.shape, shape, strict=True))
        self._specs[dataset] = replace(old, shape=largest)

    def place_all(self, requests: Numbers) -> Numbers:
        """Return a number for each chunk."""
        return np.zeros(len(requests), dtype=np.int64)


def chunk_name(spec: DatasetSpec, position: int) -> str:
    """Return the name of a chunk's file, by its position in the whole array. Independent."""
    whole = spec.with_rows(ENDLESS) if spec.access == Access.GROWING else spec
    return ".".join(map(str, whole.grid.index(position)))


def complete_store(job: Job, layout: FileLayout) -> None:
    """Write all that is no chunk of a bulk array, and make it safe. Independent; on the root.

    Before that the folder is no store: consolidated metadata, which readers look for first, come last.
    """
    skeleton = job.store_skeleton
    for old, now in zip(job.layout, layout, strict=True):
        if old.shape != now.shape:
            skeleton.resize(now.path, now.shape)
    job.target.check_ours()
    files = FolderFiles(job.target.partial)
    try:
        for name, data in skeleton.files().items():
            folder, _, last = name.rpartition("/")
            job.ranks.step(f"writing {name}")
            job.ranks.look_up()
            files.make_folders([folder])
            files.write(folder, [(last, data)])
        ChunkDisk(job.ranks, files).sync()
    finally:
        files.close()


def _make_folders(job: Job) -> None:
    files = FolderFiles(job.target.partial)
    try:
        files.make_folders(spec.path for spec in job.layout)
    finally:
        files.close()
