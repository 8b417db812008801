"""``WriteSettings``: how a file is written, checked as a whole before anything is done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from parnwb import site
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.codec import check_threads
from parnwb.comm import DEFAULT_WATCHDOG, check_watchdog
from parnwb.compression import Compression, check_compression
from parnwb.errors import ParnwbError, PlanError, ResumeError
from parnwb.machine import storage
from parnwb.planning.decomposition import strategy
from parnwb.planning.plan import DEFAULT_BUFFER_MB
from parnwb.planning.write_queue import Policy, check_policy

DEFAULT_COMMIT_INTERVAL = 300.0
TRANSFERS = ("independent", "collective")


@dataclass(frozen=True)
class WriteSettings:
    """How a file is written; the same on all ranks.

    Parameters
    ----------
    backend
        ``'auto'``, ``'direct'``, ``'mpio'``, ``'virtual'`` or ``'zarr'``.
    transfer
        For ``mpio``: ``'independent'`` or ``'collective'``.
    decomposition
        A strategy of ``parnwb.planning.decomposition``.
    buffer_mb
        MiB that a rank reads at once; see ``WritePlan`` for what is always allowed.
    compression
        For bulk data without a filter of their own.
    rule
        What is bulk.
    overwrite
        Whether an existing file may be replaced.
    resume
        Whether to go on where an earlier attempt ended.
    commit_interval
        Seconds between commits.
    manifest
        Whether to leave checksums beside the file.
    watchdog
        Seconds that one step of a rank may take; None or 0 for no limit.
    queue
        Which dataset is written before which; see ``parnwb.planning.write_queue``.
    writers_per_node
        How many ranks of a host write to the file; see ``parnwb.machine.storage.writers``.
    chunks
        For bulk data without chunks of their own: None or ``'auto'``.
    threads
        How many encode on each rank; see ``parnwb.codec.threads_here``.
    local
        Folder of each host for parts that are being written (``virtual``).
    """

    backend: str = "auto"
    transfer: str = "independent"
    decomposition: str = "balanced"
    buffer_mb: float = DEFAULT_BUFFER_MB
    compression: Compression = None
    rule: BulkRule = BulkRule()
    overwrite: bool = False
    resume: bool = False
    commit_interval: float = DEFAULT_COMMIT_INTERVAL
    manifest: bool = False
    watchdog: float | None = DEFAULT_WATCHDOG
    queue: Policy = "file"
    writers_per_node: int | None = None
    chunks: str | None = None
    threads: int | None = None
    local: str | None = None

    @classmethod
    def among(cls, given: Mapping[str, Any]) -> WriteSettings:
        """Return those that are among other things which are given by name, such as a command's options."""
        return cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})

    def __post_init__(self) -> None:
        if self.transfer not in TRANSFERS:
            raise ParnwbError(f"transfer must be one of {', '.join(TRANSFERS)}, got {self.transfer!r}")
        if not isinstance(self.buffer_mb, int | float) or not 0 < self.buffer_mb < math.inf:
            raise PlanError(f"buffer_mb must be positive, a number of MiB, got {self.buffer_mb!r}")
        if not isinstance(self.commit_interval, int | float) or not self.commit_interval > 0:
            raise ParnwbError(f"commit_interval must be positive, a number of seconds, got {self.commit_interval!r}")
        check_watchdog(self.watchdog)
        for name in ("overwrite", "manifest"):
            if not isinstance(getattr(self, name), bool):
                raise ParnwbError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.resume and self.backend == "mpio":
            raise ResumeError(
                "parallel HDF5 keeps no journal, so backend 'mpio' cannot resume", remedy="Use backend='direct'"
            )
        if self.manifest and self.backend == "mpio":
            raise ParnwbError(
                "parallel HDF5 gives no checksums of what it writes, so backend 'mpio' cannot leave a manifest",
                remedy="Use backend='direct' or 'auto'",
            )
        if self.queue == "round-robin" and self.backend == "mpio":
            raise PlanError(
                "parallel HDF5 writes one dataset after the other, so backend 'mpio' has no queue 'round-robin'",
                remedy="Use backend='direct' or 'auto'",
            )
        if self.writers_per_node is not None and self.backend == "mpio":
            raise PlanError(
                "MPI-IO decides which ranks write, so backend 'mpio' has no writers_per_node",
                remedy="Use backend='direct' or 'auto'",
            )
        if self.threads is not None and self.backend == "mpio":
            raise PlanError(
                "HDF5 encodes with one thread, so backend 'mpio' has no threads",
                remedy="Use backend='direct' or 'auto'",
            )
        if self.backend == "zarr":
            self._check_store()
        if self.backend == "virtual":
            self._check_virtual()
        elif self.local is not None:
            raise ParnwbError(
                f"a node-local folder is for parts of files, which backend {self.backend!r} does not write",
                where=f"local={self.local!r}",
                remedy="Use backend='virtual', or leave local out",
            )
        check_threads(self.threads)
        site.check_backend(self.backend)
        storage.check_writers_per_node(self.writers_per_node)
        check_policy(self.queue)
        strategy(self.decomposition)
        check_compression(self.compression)
        check_chunking(self.chunks)

    def _check_store(self) -> None:
        """Refuse what HDF5 files alone have."""
        if self.resume:
            raise ResumeError(
                "no journal is kept of a Zarr store, so writing one cannot be resumed",
                remedy="Write it anew, or an HDF5 file and then parnwb repack",
            )
        for name, given, what in (
            ("manifest", self.manifest, "checksums are kept of HDF5 files only"),
            ("writers_per_node", self.writers_per_node is not None, "every rank writes files of its own"),
            ("no_copy", self.rule.no_copy, "Zarr cannot leave values in another file"),
        ):
            if given:
                raise ParnwbError(f"a Zarr store is written without {name}: {what}", remedy=f"Leave {name} out")

    def _check_virtual(self) -> None:
        if self.resume:
            raise ResumeError(
                "parts keep no journal, so backend 'virtual' cannot resume", remedy="Use backend='direct'"
            )
        if self.manifest:
            raise ParnwbError(
                "checksums are kept of one file, so backend 'virtual' cannot leave a manifest",
                remedy="Use backend='direct' or 'auto', or merge the file with a manifest (parnwb merge --manifest)",
            )
        if self.writers_per_node is not None:
            raise PlanError(
                "each rank writes a file of its own, so backend 'virtual' has no writers_per_node",
                remedy="Leave it out, or use backend='direct' or 'auto'",
            )


def check_chunking(chunks: object) -> None:
    """Refuse a default for chunks that means nothing; shapes are given with the data."""
    if chunks not in (None, "auto"):
        raise ParnwbError(
            f"chunks must be None or 'auto', got {chunks!r}",
            remedy="Give a dataset's own by H5DataIO(data, chunks=...)",
        )
