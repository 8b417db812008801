"""``NWBParallelIO``: pynwb's ``NWBHDF5IO`` for MPI programs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from parnwb.bulk import DEFAULT_THRESHOLD_BYTES, BulkRule
from parnwb.comm import Ranks
from parnwb.errors import Interrupted, ParnwbError
from parnwb.interrupts import EX_TEMPFAIL
from parnwb.plan import DEFAULT_BUFFER_MB
from parnwb.process import Process
from parnwb.progress import Progress, progress_for
from parnwb.restore import is_worth_keeping
from parnwb.skeleton import Compression
from parnwb.storage import FileBytes, Target
from parnwb.writer import DEFAULT_COMMIT_INTERVAL, WriteSettings, Written, look_for_earlier, write

if TYPE_CHECKING:
    from hdmf.build import BuildManager
    from mpi4py import MPI
    from pynwb import NWBFile

CREATING_MODES = ("w", "w-", "x", "resume")


class NWBParallelIO:
    """Writes one NWB file from all ranks of a communicator. Construction and all methods are collective.

    The file is written as ``PATH.partial`` and gets its name when ``close`` has succeeded on every rank. What it
    holds is what ``pynwb.NWBHDF5IO`` would have written.

    Parameters
    ----------
    path
        The file.
    mode
        ``'w'``; ``'w-'`` and ``'x'``, which never replace an existing file; or ``'resume'``, which goes on where an
        earlier job was ended, on any number of ranks, and begins the file if there was none.
    comm
        Communicator of the ranks that take part; None for this process alone.
    manager
        As for ``NWBHDF5IO``.
    backend
        ``'direct'`` (ranks encode and write by themselves; any h5py), ``'mpio'`` (parallel HDF5) or ``'auto'``.
    transfer
        With ``mpio``, ``'independent'`` or ``'collective'`` writes.
    decomposition
        ``'balanced'``, ``'slab'`` or ``'block'``.
    buffer_mb
        MiB that each rank reads at once; one chunk is always allowed.
    compression
        For bulk data that have no filter of their own: None, ``'auto'`` (the fastest gzip whose file is at most
        10 % larger than at level 4, decided on a sample), ``'gzip'`` (level 4) or a level 0 to 9.
    overwrite
        Whether modes ``'w'`` and ``'resume'`` may replace an existing file.
    progress
        True, False, or an object with ``start``, ``advance`` and ``finish``; None shows a bar on terminals.
    commit_interval
        Seconds between commits (``direct``); what is committed survives any end of the job.
    bulk_threshold
        Numeric arrays of at least so many bytes are filled by all ranks; smaller ones ride with the metadata.
    break_lock
        Whether to take the output from a job that seems to write it (``PATH.lock``), but surely has ended.

    Raises
    ------
    LaunchError
        The ranks are not one MPI world.
    TargetError
        Another job writes this file, or there can be none of this name.
    """

    def __init__(
        self,
        path: str | Path,
        mode: str = "w",
        *,
        comm: MPI.Intracomm | None = None,
        manager: BuildManager | None = None,
        backend: str = "auto",
        transfer: str = "independent",
        decomposition: str = "balanced",
        buffer_mb: float = DEFAULT_BUFFER_MB,
        compression: Compression = None,
        overwrite: bool = False,
        progress: bool | Progress | None = None,
        commit_interval: float = DEFAULT_COMMIT_INTERVAL,
        bulk_threshold: int = DEFAULT_THRESHOLD_BYTES,
        break_lock: bool = False,
    ) -> None:
        self._ranks = Ranks(comm)
        self._closed = False
        self._written: Written | None = None
        try:
            with self._ranks.agreed("opening"):
                self._target = Target(Path(path).absolute())
                check_mode(mode, path)
                self._settings = WriteSettings(
                    backend=backend,
                    transfer=transfer,
                    decomposition=decomposition,
                    buffer_mb=buffer_mb,
                    compression=compression,
                    rule=BulkRule(threshold=bulk_threshold),
                    overwrite=overwrite and mode in ("w", "resume"),
                    resume=mode == "resume",
                    commit_interval=commit_interval,
                )
            processes = self._ranks.gather_all(Process.this())
            with self._ranks.agreed("reserving the output"):
                if self._ranks.is_root:
                    self._reserve(processes, break_lock)
        except BaseException:
            self._release()
            raise
        self._ranks.must_be_freed()
        self._manager = manager
        self._progress = progress_for(progress) if isinstance(progress, bool | None) else progress

    @property
    def path(self) -> Path:
        """Where the finished file goes."""
        return self._target.path

    @property
    def written(self) -> Written | None:
        """What ``write`` did: the plan, and the backend with the reason for it. None before."""
        return self._written

    def write(
        self,
        nwbfile: NWBFile | None,
        *,
        cache_spec: bool = True,
        link_data: bool = True,
        exhaust_dci: bool = True,
        **arguments: Any,
    ) -> None:
        """Write ``nwbfile``. Collective.

        Parameters
        ----------
        nwbfile
            The same on every rank (object ids, identifier and date of creation are the root's), or None on all
            but the root if its sources can be pickled.
        cache_spec, link_data
            As for ``NWBHDF5IO.write``. An ``h5py.Dataset`` that is linked stays where it is; one that is copied
            is copied by all ranks.
        exhaust_dci
            Accepted for compatibility: the order in which iterators are drained is the plan's.
        **arguments
            ``expandable`` and ``herd``, as for ``NWBHDF5IO.write``.

        Raises
        ------
        ParnwbError
            The same on all ranks, naming the one that failed. The partial file stays if it holds committed work.
        SystemExit
            With status 75, when a signal (SIGTERM, SIGINT, SIGUSR1) asked any rank to stop: all is committed, and
            the same program with mode ``'resume'`` goes on.
        """
        if self._closed:
            raise ParnwbError("this NWBParallelIO is closed", where=str(self.path))
        try:
            with self._ranks.agreed("write"):
                self._check_write(nwbfile, arguments)
                settings = self._with_link_data(link_data)
                manager = self._manager if self._manager is not None else _default_manager()
            self._written = write(
                self._ranks,
                self._target,
                nwbfile,
                manager,
                settings,
                {"cache_spec": cache_spec, "exhaust_dci": exhaust_dci, **arguments},
                self._progress,
            )
        except Interrupted as error:
            if self._ranks.is_root:
                print(f"parnwb: {error}", file=sys.stderr, flush=True)
            self._give_up()
            raise SystemExit(EX_TEMPFAIL) from error
        except BaseException as error:
            if not self._ranks.all_know(error):
                self._ranks.fail(error)
            self._give_up()
            raise

    def close(self) -> None:
        """Give the finished file its name. Collective; a second call does nothing."""
        if self._closed:
            return
        try:
            self._ranks.meet("close")
        except BaseException:  # a rank has failed since the writing
            self._give_up()
            raise
        try:
            with self._ranks.agreed("giving the file its name"):
                if self._written is not None and self._ranks.is_root:
                    if self._written.published:  # by an earlier attempt, which ended before it had tidied up
                        self._target.forget_journal()
                    else:
                        self._target.publish(overwrite=self._settings.overwrite)
        finally:
            self._release()

    def __enter__(self) -> NWBParallelIO:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._closed:
            if not self._ranks.all_know(error):
                self._ranks.fail(error)
            self._give_up()

    def _reserve(self, processes: list[Process], break_lock: bool) -> None:
        """Lock the output, and refuse now what would be refused after long work."""
        if not self._settings.resume:
            self._target.check(overwrite=self._settings.overwrite)
        self._target.reserve(processes, break_lock=break_lock)
        look_for_earlier(self._target, self._settings)
        if self._settings.resume and self._target.partial.exists():
            FileBytes(self._target.partial).close()  # it can be written to

    def _check_write(self, nwbfile: NWBFile | None, arguments: dict[str, Any]) -> None:
        if self._written is not None:
            raise ParnwbError("write can be called once for each NWBParallelIO", where=str(self.path))
        unknown = sorted(set(arguments) - {"expandable", "herd"})
        if unknown:
            raise ParnwbError(
                f"write takes cache_spec, link_data, exhaust_dci, expandable and herd, got {', '.join(unknown)}"
            )
        if nwbfile is not None:
            from pynwb import NWBFile as Expected

            if not isinstance(nwbfile, Expected):
                raise ParnwbError(f"write takes an NWBFile or None, got {type(nwbfile).__name__}")

    def _with_link_data(self, link_data: bool) -> WriteSettings:
        from dataclasses import replace

        return replace(self._settings, rule=replace(self._settings.rule, link_data=link_data))

    def _give_up(self) -> None:
        try:
            if self._ranks.is_root and not self._closed and not is_worth_keeping(self._target):
                self._target.discard()
        finally:
            self._release()

    def _release(self) -> None:
        if not self._closed:
            self._closed = True
            if self._ranks.is_root:
                self._target.lock.release()
            self._ranks.free()


def check_mode(mode: str, path: str | Path) -> None:
    """Refuse modes that do not create a file."""
    if mode in CREATING_MODES:
        return
    if mode == "r":
        raise ParnwbError(
            "NWBParallelIO writes; mode 'r' reads", where=str(path), remedy="Use pynwb.NWBHDF5IO to read"
        )
    raise ParnwbError(
        f"mode must be one of {', '.join(CREATING_MODES)}, got {mode!r}",
        where=str(path),
        remedy="An existing file cannot be changed in parallel yet",
    )


def _default_manager() -> BuildManager:
    from pynwb import get_manager

    manager: BuildManager = get_manager()
    return manager
