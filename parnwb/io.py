"""``NWBParallelIO``: pynwb's ``NWBHDF5IO`` for MPI programs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from parnwb.agreement import agree_on_changes, agree_on_growth
from parnwb.authoring.bulk_rule import DEFAULT_THRESHOLD_BYTES, BulkRule
from parnwb.authoring.extensions import extension_manager
from parnwb.calls import check_appending, check_commit, check_export, check_nwbfile, check_write
from parnwb.comm import DEFAULT_WATCHDOG, Ranks, until_checked
from parnwb.commits.amendment import AppendTarget
from parnwb.compression import Compression
from parnwb.errors import Interrupted, ParnwbError
from parnwb.growth import Growth
from parnwb.herd import check_place, herd_place, leave, zipped
from parnwb.interrupts import EX_TEMPFAIL, Interrupts
from parnwb.modes import check_mode, is_appended_to, target_of
from parnwb.planning.plan import DEFAULT_BUFFER_MB
from parnwb.planning.write_queue import Policy
from parnwb.progress import Progress, Published, View, meter_of, view_of
from parnwb.pynwb_keywords import check_pynwb_keywords
from parnwb.restore import Earlier, is_worth_keeping
from parnwb.settings import DEFAULT_COMMIT_INTERVAL, WriteSettings
from parnwb.site import HDF5_EVERYWHERE, backend_for, versions
from parnwb.stores.rule import StoreRule
from parnwb.target import FileBytes, Target, sync_folder
from parnwb.target.process import Process
from parnwb.voice import last_words
from parnwb.writer import Written, look_for_earlier, write

if TYPE_CHECKING:
    import h5py
    import numpy.typing as npt
    from hdmf.build import BuildManager
    from hdmf.container import Data
    from mpi4py import MPI
    from pynwb import NWBHDF5IO, NWBFile

    from parnwb.append import Opened
    from parnwb.authoring.export import Content, Export
    from parnwb.authoring.extensions import Extensions
    from parnwb.rewriting.rewriting import Rewriting
    from parnwb.sources.growing import Stream
    from parnwb.streaming.streams import OpenStreams


class NWBParallelIO:
    """Writes one NWB file from all ranks of a communicator. Construction and all methods are collective.

    A new file is written as ``PATH.partial`` and gets its name when ``close`` has succeeded on every rank; an existing
    one is changed then. What it holds is what ``pynwb.NWBHDF5IO`` would have written.

    Parameters
    ----------
    path
        The file; a name that ends in ``.zarr`` is a Zarr store's, as ``hdmf_zarr.NWBZarrIO`` writes it.
    mode
        ``'w'``; ``'w-'`` and ``'x'``, which never replace an existing file; ``'resume'``, which goes on where an
        earlier job was ended, on any number of ranks, and begins the file if there was none; ``'r+'``, which adds to
        an existing file what is new in the NWBFile that ``read`` returns; or ``'a'``: ``'r+'`` if the file exists,
        else ``'w-'``.
    comm
        Communicator of the ranks that take part; None for this process alone.
    manager
        As for ``NWBHDF5IO``.
    extensions
        Instead of ``manager``, what ``NWBHDF5IO`` took in pynwb 2: the path of an extension's
        ``NAME.namespace.yaml``, a ``TypeMap``, or a list of these. What ``pynwb.load_namespaces`` or an installed
        ``ndx`` package has registered needs neither.
    backend
        ``'direct'`` (ranks encode and write by themselves; any h5py), ``'mpio'`` (parallel HDF5), ``'virtual'`` (a file
        for each rank in ``PATH.parts``, and one of virtual datasets at ``PATH``), ``'zarr'`` (a Zarr store, whatever
        its name) or ``'auto'``.
    transfer
        With ``mpio``, ``'independent'`` or ``'collective'`` writes.
    decomposition
        ``'balanced'``, ``'slab'`` or ``'block'``.
    buffer_mb
        MiB that each rank reads at once. Always allowed are one chunk; of data that come in order a layer of chunks,
        which is whole rows as thick as a chunk; of iterators and filtered recordings 32 MiB.
    compression
        For bulk data that have no filter of their own: None or ``'none'``, ``'auto'`` (the fastest gzip whose file is
        at most 10 % larger than at level 4, decided on a sample), ``'gzip'`` (level 4) or a level 0 to 9; or filters of
        ``hdf5plugin``, which readers then need too: ``'zstd'``, ``'blosc2-zstd'`` or ``'bitshuffle-lz4'``. A level may
        follow the name: ``'zstd-5'``. In Zarr None and ``'auto'`` are its default, Blosc, and there are ``'gzip'``,
        ``'zstd'`` and ``'none'``.
    overwrite
        Whether modes ``'w'`` and ``'resume'`` may replace an existing file.
    progress
        True, False, or an object with ``start``, ``advance``, ``finish`` and perhaps ``show``, or with ``heed``; None
        shows something on terminals. The logger ``parnwb`` is told all the same.
    commit_interval
        Seconds between commits (``direct``); what is committed survives any end of the job.
    watchdog
        Seconds that one step of a rank may take, such as reading one buffer, and that ranks wait for one that is in
        code between two calls; then the job ends with a message. None or 0 for no limit; with one rank there is none.
    bulk_threshold
        Arrays and lists of numbers, booleans or compound values of at least so many bytes are filled by all ranks;
        smaller ones, text and references ride with the metadata.
    manifest
        Whether to leave ``PATH.crc`` beside the file (``direct``): checksums of all that it holds, for ``verify``.
    queue
        Which data are written first: ``'file'`` (the order of paths), ``'round-robin'``, ``'largest'``, a mapping of
        patterns of paths to numbers (``{'/processing/*': 0}``: the smallest number first, what no pattern matches
        last), or a function that gives a ``DatasetSpec`` its number. What has the same number is written, and with
        ``direct`` committed, before anything that has a larger one. No reader can tell what the queue was.
    link_data
        What becomes of an ``h5py.Dataset`` that is not wrapped, unless ``write`` says otherwise: True links to it,
        False copies it. ``H5DataIO(link_data=...)`` goes before both.
    on_mismatch
        What becomes of a link to a dataset that is not what the container says (its unit, conversion, dtype, rate and
        so on): ``'raise'``; ``'warn'``; or ``'copy'``: the values come into this file, with the container's attributes.
    no_copy
        Whether data that are all of a flat binary file stay there, as HDF5's external storage; readers need that file
        under the same name. Refused where a file is not exactly the dataset, or nothing is in one.
    writers_per_node
        How many ranks of each host write to the file (``direct``); the others send them what they have encoded. 0: the
        root alone writes, for all hosts. None: all write, but where hosts would damage each other's bytes, as on NFS,
        the root alone; ``written.backend.reason`` says so.
    threads
        How many threads of each rank compress (``direct``). None: as many processors as SLURM gives to a task
        (``--cpus-per-task``), otherwise one.
    break_lock
        Whether to take the output from a job that seems to write it (``PATH.lock``), but surely has ended.
    chunks
        For bulk data that have no chunks of their own: None for what pynwb would do, or ``'auto'`` for 2 to 16 MB, of
        about 64 channels or whole frames. A file that is resumed keeps its chunks.
    local
        With ``virtual``, a folder that each host has of its own, such as ``'$TMPDIR'``, which each rank looks up for
        itself: parts are written there, and moved to ``PATH.parts`` in the end. None: written there from the beginning.
    of_pynwb
        Further keywords of ``NWBHDF5IO``, for programs that were written for it: ``herd_path`` of a new file, where the
        root leaves ``herd`` of ``write`` as a zip when the file has its name; ``load_namespaces``; and ``file``,
        ``driver`` and ``aws_region`` if they are None.

    Raises
    ------
    LaunchError
        The ranks are not one MPI world.
    TargetError
        The file cannot be written, or in modes ``'a'`` and ``'r+'`` not be read; or another job writes it.
    """

    def __init__(
        self,
        path: str | Path,
        mode: str = "w",
        *,
        comm: MPI.Intracomm | None = None,
        manager: BuildManager | None = None,
        extensions: Extensions | None = None,
        backend: str = "auto",
        transfer: str = "independent",
        decomposition: str = "balanced",
        buffer_mb: float = DEFAULT_BUFFER_MB,
        compression: Compression = None,
        overwrite: bool = False,
        progress: bool | Progress | View | None = None,
        commit_interval: float = DEFAULT_COMMIT_INTERVAL,
        watchdog: float | None = DEFAULT_WATCHDOG,
        bulk_threshold: int = DEFAULT_THRESHOLD_BYTES,
        manifest: bool = False,
        queue: Policy = "file",
        link_data: bool = True,
        on_mismatch: str = "raise",
        no_copy: bool = False,
        writers_per_node: int | None = None,
        threads: int | None = None,
        break_lock: bool = False,
        chunks: str | None = None,
        local: str | Path | None = None,
        **of_pynwb: Any,
    ) -> None:
        self._ranks = self._gathered(comm, until_checked(watchdog))
        self._interrupts, self._handlers = Interrupts(), ExitStack()
        self._closed = self._committed = False
        self._written: Written | None = None
        self._reserved: Target | None = None
        self._opened: Opened | None = None
        self._earlier: Earlier | None = None
        self._growths: list[Growth] = []
        self._herd = b""
        try:
            with self._ranks.agreed("opening"):
                check_pynwb_keywords(of_pynwb, mode)
                check_mode(mode, path)
                self._herd_place = herd_place(of_pynwb.get("herd_path"), mode)
                backend = backend_for(path, backend)
                self._target = target_of(path, mode, backend, local)
                self._target.step = self._ranks.going_on
                self._manager = manager = _manager(manager, extensions)
                self._settings = WriteSettings(
                    backend=backend,
                    transfer=transfer,
                    decomposition=decomposition,
                    buffer_mb=buffer_mb,
                    compression=compression,
                    rule=(StoreRule if backend == "zarr" else BulkRule)(
                        threshold=bulk_threshold, link_data=link_data, on_mismatch=on_mismatch, no_copy=no_copy
                    ),
                    overwrite=overwrite if mode in ("w", "resume") else False,
                    resume=mode == "resume",
                    commit_interval=commit_interval,
                    manifest=manifest,
                    watchdog=watchdog,
                    queue=queue,
                    writers_per_node=writers_per_node,
                    threads=threads,
                    chunks=chunks,
                    local=None if local is None else str(local),
                )
                self._view = view_of(progress)
                if not isinstance(break_lock, bool):
                    raise ParnwbError(f"break_lock must be True or False, got {break_lock!r}")
            opened_with = {"mode": mode, "herd_path": str(self._herd_place)}
            self._ranks.same(opened_with, "Pass the same keywords on every rank")
            leads = self._ranks.is_root or self._settings.backend in HDF5_EVERYWHERE
            self._ranks.same(versions(leads=leads), "Install the same on every host: see parnwb doctor")
            processes = self._ranks.gather_all(Process.this())
            with self._ranks.agreed("reserving the output"):
                if self._ranks.is_root:
                    if self._herd_place is not None:
                        check_place(self._herd_place, overwrite=self._settings.overwrite)
                    self._reserved = self._target
                    self._target.reserve(processes, break_lock=break_lock)
            token = self._ranks.broadcast(self._target.lock.token)
            with self._ranks.agreed("finding the output on every host"):
                if self._ranks.leads_host and not self._ranks.is_root:
                    self._target.lock.check_seen(token)
            if self._ranks.on_root("looking at the output", lambda: self._is_appended_to(mode)):
                with self._ranks.agreed("opening the existing file"):
                    self._open(manager)
        except BaseException as error:
            if self._ranks.size > 1 and not self._ranks.all_know(error):  # such as a signal's, between two agreements
                self._ranks.abort(error)
            self._release()
            raise
        self._ranks.must_be_freed()

    def _gathered(self, comm: MPI.Intracomm | None, watchdog: float | None) -> Ranks:
        """Return the ranks that write the file. Collective."""
        return Ranks(comm, watchdog)

    @property
    def path(self) -> Path:
        """Where the finished file goes; of one that is appended to, its own name, whatever links to it. Independent."""
        return self._target.path

    @property
    def closed(self) -> bool:
        """Whether ``close`` has been called, or a call has failed."""
        return self._closed

    @property
    def written(self) -> Written | None:
        """What ``write`` did: the plan, and the backend with the reason for it. None before. Independent."""
        return self._written

    def read(self) -> NWBFile:
        """Return the NWBFile of the existing file, in modes ``'a'`` and ``'r+'``. Collective.

        Every rank has a view of its own, whose changes stay in memory: what is added on every rank in the same way
        (or on the root, if the others give None to ``write``) is written by ``write``.

        Raises
        ------
        ParnwbError
            There is nothing to read, or pynwb cannot read it. The same on all ranks.
        """
        try:
            with self._ranks.agreed("read"):
                self._check_open()
                if self._opened is None:
                    raise ParnwbError(
                        "only an existing file opened in mode 'a' or 'r+' can be read",
                        where=str(self.path),
                        remedy="Use pynwb.NWBHDF5IO to read",
                    )
                return self._opened.read()
        except BaseException as error:
            self._fail(error)
            raise

    def extend(self, dataset: str | h5py.Dataset | Data, values: Any) -> None:
        """Give more rows to a dataset of the existing file, in modes ``'a'`` and ``'r+'``. Collective.

        All ranks write them, with the chunks and filters that the dataset has, when ``write`` is called, or by
        ``close`` if it is not. Until ``close`` the file on disk is as it was. Rows of text, references and structures
        stay in memory until then, and the root writes them.

        Parameters
        ----------
        dataset
            Its path in the file, or what ``read`` has returned of it: ``series.data``, ``series.timestamps``, a column
            of a table. Columns of one table must be extended one by one, its ``id`` as well.
        values
            The new rows, of the shape of the old but for their number: an array, ``np.memmap``, ``h5py.Dataset``,
            iterator that ranks can divide, or list; the same on every rank, or None on any but the root. Numbers
            that the dataset's type has not are refused; floats of a list are rounded to its precision.

        Raises
        ------
        ParnwbError
            The dataset has no room for them (it needs chunks and a ``maxshape`` of None), or they do not fit. The same
            on all ranks.
        """
        with self._agreed("extend"):
            if self._opened is None or self._written is not None:
                raise ParnwbError(
                    "only datasets of an existing file opened in mode 'a' or 'r+' can be extended, before write",
                    where=str(self.path),
                    remedy="Open the file that has the dataset in mode 'r+', and call extend before write",
                )
            opened = self._opened
        try:
            growth = agree_on_growth(self._ranks, opened, dataset, values)
        except BaseException as error:
            self._fail(error)
            raise
        with self._agreed("extend"):
            if growth.path in {earlier.path for earlier in self._growths}:
                raise ParnwbError(
                    "a dataset can be extended once before each write",
                    where=growth.path,
                    remedy="Give all rows at once, or open the file again",
                )
        if growth.rows:
            self._growths.append(growth)

    def write(
        self,
        container: NWBFile | None = None,
        *,
        cache_spec: bool = True,
        link_data: bool | None = None,
        exhaust_dci: bool = True,
        **arguments: Any,
    ) -> None:
        """Write an NWBFile. Collective.

        From here until ``close`` has returned, SIGTERM, SIGINT and SIGUSR1 are remembered and do not end the process:
        as long as data are missing all ranks stop, later it is too late and the file is completed.

        Parameters
        ----------
        container
            The NWBFile, the same on every rank (object ids, identifier and date of creation are the root's), or None
            on all but the root if its sources can be pickled. For an existing file, what ``read`` returned, or None on
            all ranks if there is nothing new but the rows given to ``extend``.
        cache_spec, link_data
            As for ``NWBHDF5IO.write``; None: as this object was told. An ``h5py.Dataset`` that is linked stays where it
            is and is compared with its container first (``on_mismatch``); one that is copied is copied by all ranks.
        exhaust_dci
            Changes nothing: the order in which iterators are read is the plan's.
        **arguments
            ``expandable`` and ``herd``, as for ``NWBHDF5IO.write``: ``herd`` counts with ``herd_path`` only; the
            NWBFile's own HERD (``get_external_resources``) is part of the file.

        Raises
        ------
        ParnwbError
            The same on all ranks, naming the one that failed. The partial file stays if it holds committed work.
        SystemExit
            With status 75, when a signal asked any rank to stop: with ``direct`` all is committed, and the same
            program with mode ``'resume'`` goes on; with ``mpio`` and ``virtual`` it begins anew.
        """
        with self._agreed("write"):
            self._check_not_written()
            check_write(self.path, self._settings, arguments)
            check_nwbfile(self.path, container, self._opened)
            rule = self._settings.rule
            rule = rule if link_data is None else replace(rule, link_data=link_data)
            if self._herd_place is not None and container is not None:
                self._herd = zipped(arguments.get("herd"), container, self._manager)
        self._write(container, rule, {"cache_spec": cache_spec, "exhaust_dci": exhaust_dci, **arguments})

    def export(
        self,
        src_io: NWBHDF5IO | str | Path | None,
        nwbfile: NWBFile | None = None,
        write_args: Mapping[str, Any] | None = None,
        cache_spec: bool = True,
    ) -> None:
        """Write what another NWB file holds, as ``NWBHDF5IO.export`` does. Collective.

        All ranks copy its large datasets: chunks as they are stored where the new file has the same chunks and filters
        (with ``direct``), which it has unless they were replaced. Links, references and object ids stay. Signals are
        treated as by ``write``, and mode ``'resume'`` goes on with an export.

        Parameters
        ----------
        src_io
            The ``NWBHDF5IO`` that has the file open for reading, on every rank or on the root alone (None elsewhere);
            or the file's path.
        nwbfile
            What ``src_io`` has read and the program has changed, on every rank that gives ``src_io``; None for the file
            as it is.
        write_args
            ``link_data``, ``exhaust_dci`` and ``expandable``, as for ``NWBHDF5IO.export``.
        cache_spec
            As for ``NWBHDF5IO.export``.

        Raises
        ------
        ParnwbError, SystemExit
            As ``write``.
        """
        with ExitStack() as files:
            with self._agreed("export"):
                self._check_not_written()
                check_export(self.path, write_args or {}, self._opened)
                check_nwbfile(self.path, nwbfile, None)
                arguments = {"cache_spec": cache_spec, **(write_args or {})}
                link_data = arguments.pop("link_data", self._settings.rule.link_data)
                content = None if src_io is None else _export(src_io, nwbfile, files)
                rule = self._settings.rule
                rule = rule if content is None else content.rule(rule, link_data=link_data)
            self._agree_on("link_data", link_data)
            self._write(content, self._ranks.broadcast(rule), arguments)

    def rewrite(self, content: Rewriting | None) -> None:
        """Write what was found in other HDF5 files, for ``repack``, ``merge`` and ``split``. Collective.

        Parameters
        ----------
        content
            On the root; None on all others, who read the same files.

        Raises
        ------
        ParnwbError, SystemExit
            As ``write``.
        """
        with self._agreed("rewrite"):
            self._check_not_written()
        self._write(content, self._settings.rule, {})

    @classmethod
    def export_io(
        cls,
        path: str | Path,
        src_io: NWBHDF5IO | str | Path | None,
        comm: MPI.Intracomm | None = None,
        nwbfile: NWBFile | None = None,
        write_args: Mapping[str, Any] | None = None,
        cache_spec: bool = True,
        **settings: Any,
    ) -> None:
        """Export to a new file at ``path``, as ``export`` does. Collective.

        Parameters
        ----------
        path, comm, **settings
            For ``NWBParallelIO``; the mode is ``'w'``.
        src_io, nwbfile, write_args, cache_spec
            For ``export``.
        """
        with cls(path, "w", comm=comm, **settings) as io:
            io.export(src_io, nwbfile, write_args, cache_spec)

    @contextmanager
    def _agreed(self, doing: str) -> Iterator[None]:
        """Run the beginning of a call on all ranks; if it fails on one, all give up. Collective."""
        try:
            with self._ranks.agreed(doing):
                self._check_open()
                yield
        except BaseException as error:
            self._fail(error)
            raise

    def _agree_on(self, name: str, value: object) -> None:
        """Check that a keyword is the same on all ranks, or give up. Collective."""
        try:
            self._ranks.same({name: value}, "Pass the same keywords on every rank")
        except BaseException as error:
            self._fail(error)
            raise

    def _write(self, content: Content | Rewriting | None, rule: BulkRule, arguments: Mapping[str, Any]) -> None:
        self._handlers.enter_context(self._interrupts)
        try:
            self._written = write(
                self._ranks,
                self._target,
                content,
                self._opened.manager if self._opened is not None else self._manager,
                replace(self._settings, rule=rule),
                arguments,
                self._interrupts,
                self._view,
                self._opened,
                self._earlier,
                self._growths,
            )
        except Interrupted as error:
            self._stop(error)
        except BaseException as error:
            self._fail(error)
            raise

    def append(self, stream: Stream | str, block: npt.ArrayLike) -> None:
        """Append rows to a stream of the NWBFile that was written. Collective.

        The blocks of all ranks follow each other in the order of ranks. Rows are held back until they fill layers of
        chunks and some rank holds ``buffer_mb``; small blocks cost one small exchange.

        Parameters
        ----------
        stream
            The ``Stream``, or the path of its dataset, for ranks that have no NWBFile.
        block
            This rank's rows, of shape ``(rows, *row_shape)``; there may be none. It may be changed afterwards.

        Raises
        ------
        ParnwbError
            The stream is not of this file, the rows are not of its shape and dtype, or a rank is in another call. The
            same on all ranks.
        SystemExit
            As ``write``. All rows are committed, those of this call as well.
        """
        self._append(lambda: [(stream, block)])

    def append_together(self, blocks: Mapping[Stream | str, npt.ArrayLike]) -> None:
        """Append rows to several streams as one step: no commit has the rows of some of them only. Collective.

        So a job that is resumed finds all of them at the same step, however it ended.

        Parameters
        ----------
        blocks
            This rank's rows for each stream, as for ``append``; the same streams in the same order on every rank.

        Raises
        ------
        ParnwbError
            As ``append``.
        SystemExit
            As ``append``.
        """
        def pairs() -> list[tuple[Stream | str, npt.ArrayLike]]:
            if not isinstance(blocks, Mapping):
                raise ParnwbError(
                    f"append_together takes a mapping of streams to rows, got {type(blocks).__name__}",
                    where=str(self.path),
                    remedy="Write io.append_together({stream: rows, other: its_rows})",
                )
            return list(blocks.items())

        self._append(pairs)

    def _append(self, blocks: Callable[[], Sequence[tuple[Stream | str, npt.ArrayLike]]]) -> None:
        self._check_open()
        try:
            if self._written is None or self._written.streams is None:
                raise ParnwbError(
                    "there is no stream to append to",
                    where=str(self.path),
                    remedy="The file was finished by an earlier job"
                    if self._written is not None and self._written.published
                    else "Give write an NWBFile with a Stream first",
                )
            self._written.streams.append(blocks)
        except Interrupted as error:
            self._stop(error)
        except BaseException as error:
            self._fail(error)
            raise

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each stream, by the path of its dataset. Independent; nothing before ``write``."""
        streams = self._written.streams if self._written is not None else None
        return {} if streams is None else streams.rows

    def commit(self) -> None:
        """Keep what has been written, whatever happens from here on. Collective; nothing is done before ``write``.

        With streams: all rows that were appended are kept, and those in whole layers of chunks can be read by others in
        ``PATH.partial``; in mode ``'resume'`` the program goes on after them.

        All of it is safe on disk then. If the job is killed before ``close``, mode ``'resume'`` (or, for an existing
        file, whichever mode opens it next) finishes the file without writing any data again; if it fails, nothing
        is removed. With ``mpio``, which keeps no journal, what is left is the whole file, to be renamed by hand;
        ``virtual`` refuses.

        Raises
        ------
        ParnwbError
            The file is not there any more, or a rank has failed. The same on all ranks.
        """
        self._check_open()
        try:
            with self._ranks.agreed("commit"):
                has_streams = self._written is not None and self._written.streams is not None
                check_commit(self.path, self._settings, self._opened if has_streams else None)
            if self._written is not None and self._written.streams is not None:
                self._written.streams.commit()
            with self._ranks.agreed("remembering the commit"):
                if self._written is not None and self._ranks.is_root and not self._written.published:
                    self._target.check_ours()
                    sync_folder(self._target.path.parent)
        except BaseException as error:
            self._fail(error)
            raise
        self._committed = self._written is not None

    def close(self) -> None:
        """Give the finished file its name, or change the existing one. Collective; a second call does nothing.

        What ``extend`` was given is written first, if ``write`` has not done it, and so are values that the program has
        assigned to the file's datasets: by the root, which must have them.

        Raises
        ------
        ParnwbError
            A rank has failed, or has changed what the root has not; or columns of a table to which rows were appended
            differ in length, or an index does not end where its column does. The same on all ranks.
        """
        if self._closed:
            return
        if self._opened is not None and self._written is None and self._is_changed(self._opened):
            self.write()
        try:
            with self._ranks.agreed("close"):
                pass
            if self._written is not None and self._written.streams is not None:
                self._check_tables(self._written, self._written.streams)
                self._written.streams.complete()
            with self._ranks.agreed("closing the view"):
                if self._opened is not None:
                    self._opened.close_view()
        except BaseException:  # a rank has failed since the writing
            self._give_up()
            raise
        try:
            with self._ranks.agreed("completing the file"):
                if self._written is not None and self._ranks.is_root:
                    if self._written.published:  # by an earlier attempt, which ended before it had tidied up
                        self._target.forget_journal()
                        if self._settings.manifest and not self._target.manifest.exists():
                            warnings.warn("an earlier attempt has finished the file, without checksums", stacklevel=2)
                    else:
                        self._target.publish(overwrite=self._settings.overwrite)
                        self._tell_published()
                    if self._herd_place is not None and self._herd:
                        leave(self._herd_place, self._herd)
        finally:
            self._release()

    def _check_tables(self, written: Written, streams: OpenStreams) -> None:
        """Refuse tables of uneven columns before the file gets its name; what was appended is kept. Collective."""
        backend = written.backend.name
        remedy = f"Run it again: backend '{backend}' keeps no rows without the others"
        if self._opened is not None:
            remedy = "The file is as it was: run it again, with as many rows for each column"
        elif backend == "direct":
            remedy = (
                f"All rows are kept in {self._target.partial}: run the program with mode 'resume', append those "
                "that are missing (io.rows tells how many there are) and close it"
            )
        elif backend == "mpio":
            remedy = f"All rows are in {self._target.partial}: add those that are missing with h5py and rename it"
        fault = streams.fault_of_tables(remedy)
        if fault is None:
            return
        if self._opened is None and backend in ("direct", "mpio"):
            if backend == "mpio":
                streams.write_all()
            self.commit()
        raise self._ranks.known_to_all(fault)

    def _tell_published(self) -> None:
        """Tell views and the log that the file has its name. Independent; on the root."""
        with suppress(OSError):  # a job that moves it at once need not hear of it
            size = self.path.stat().st_size
            meter_of(self._view, self._ranks.rank, self._ranks.host).tell(Published(str(self.path), size))

    def __enter__(self) -> NWBParallelIO:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):  # as NWBHDF5IO does
            self.close()
        elif not self._closed:
            self._fail(error)

    def _is_appended_to(self, mode: str) -> bool:
        """Tell whether a file is to be opened; of a new one, find what an earlier job left. On the root."""
        if is_appended_to(self._target, mode):
            return True
        self._earlier = look_for_earlier(self._target, self._settings)
        if self._settings.resume and self._target.partial.exists():
            FileBytes(self._target.partial).close()  # it can be written to
        return False

    def _is_changed(self, opened: Opened) -> bool:
        """Tell whether there is something to write that ``write`` was not asked for. Collective."""
        with self._agreed("close"):
            pass
        try:
            return agree_on_changes(self._ranks, opened) or bool(self._growths)
        except BaseException as error:
            self._fail(error)
            raise

    def _open(self, manager: BuildManager | None) -> None:
        check_appending(self.path, self._settings)
        from parnwb.append import Opened

        self._opened = Opened(self.path, manager, leads=self._ranks.is_root)
        self._target = AppendTarget(self._target, self._opened.bytes, self._opened.lowest)

    def _stop(self, error: Interrupted) -> NoReturn:
        """End the program because it was asked to."""
        if self._ranks.is_root:
            last_words(str(error), self._ranks.rank, self._ranks.host)
        self._handlers.pop_all()  # stay: the same signal may come twice, and must not change the status
        self._give_up()
        raise SystemExit(EX_TEMPFAIL) from error

    def _check_open(self) -> None:
        if self._closed:
            raise ParnwbError("this NWBParallelIO is closed", where=str(self.path))

    def _check_not_written(self) -> None:
        if self._written is not None:
            raise ParnwbError("write can be called once for each NWBParallelIO", where=str(self.path))

    def __del__(self) -> None:
        """Say that a file was left without its name, and let others have it; several ranks are told when they end."""
        if not getattr(self, "_closed", True) and self._ranks.size == 1:
            warnings.warn(
                f"NWBParallelIO was never closed, so {self.path} did not get its name: use it in a with block",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
            with suppress(Exception):  # nobody could catch it, and the process may be about to end
                self._release()

    def _fail(self, error: BaseException) -> None:
        """Tell the others, unless they know, and leave."""
        if not self._ranks.all_know(error):
            self._ranks.fail(error)
        self._give_up()

    def _give_up(self) -> None:
        """Leave behind what a later job can go on with, and nothing else."""
        try:
            if not self._closed and self._written is not None and self._written.streams is not None:
                self._written.streams.close()
            if self._ranks.is_root and not self._closed:
                with suppress(ParnwbError, OSError):  # this job has its error; what stays is the next one's to finish
                    self._tidy_up()
        finally:
            self._release()

    def _tidy_up(self) -> None:
        if not self._committed and not is_worth_keeping(self._target):
            with self._ranks.doing("removing what was written"):
                self._target.discard()
        elif self._committed and self._opened is not None:
            self._opened.close_view()
            self._target.publish()

    def _release(self) -> None:
        if not self._closed:
            self._closed = True
            with self._handlers, ExitStack() as last:  # each of them, whatever the others raise
                last.callback(self._ranks.free)
                if self._reserved is not None:
                    last.callback(self._reserved.lock.release)
                if self._opened is not None:
                    last.callback(self._opened.close)


def _manager(manager: BuildManager | None, extensions: Extensions | None) -> BuildManager | None:
    """Return the user's manager, one for the user's extensions, or None."""
    if extensions is None:
        return manager
    if manager is not None:
        raise ParnwbError(
            "manager and extensions cannot both be given", remedy="Load the extensions into the manager's type map"
        )
    return extension_manager(extensions)


def _export(src_io: Any, nwbfile: NWBFile | None, files: ExitStack) -> Export:
    """Return what is exported, for a rank that was told; others need not import what that takes."""
    from parnwb.authoring.export import export_of

    return export_of(src_io, nwbfile, files)
