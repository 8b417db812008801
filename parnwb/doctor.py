"""``parnwb doctor``: what this machine, this build and this launch can do, and a remedy for all that is wrong."""

from __future__ import annotations

import importlib.metadata
import os
import re
import resource
import secrets
import shutil
import socket
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from parnwb.codec import native, planes
from parnwb.comm import NETMOD, Ranks, launched_size, library, world
from parnwb.errors import LaunchError
from parnwb.machine import kernel
from parnwb.machine.memory import MiB, rooms
from parnwb.machine.start_up import age
from parnwb.machine.storage import LUSTRE, NFS, Sharing, file_system, kind_of
from parnwb.machine.striping import striping_of
from parnwb.site import FAULTS, FILE_SYNC, choose_backend, parallel_hdf5, release_of
from parnwb.target.space import Space, space_left
from parnwb.target.visible import open_soon

PACKAGES = ("parnwb", "h5py", "hdmf", "pynwb", "mpi4py", "numpy")
CODERS = {"isal": "isal", "deflate": "libdeflate", "zlib_ng": "zlib-ng"}
# What --compression has of hdf5plugin, by the numbers under which HDF5 knows filters.
PLUGINS = {"zstd": 32015, "blosc2-zstd": 32026, "bitshuffle-lz4": 32008}
PLANES = "planes (compiled with parnwb)"
# What srun --mpi= is for a library, by the beginning of its name. Cray's MPICH may want cray_shasta.
SRUN_TYPES = {"Open MPI": "pmix", "MPICH": "pmi2", "MVAPICH": "pmi2", "Intel MPI": "pmi2"}

# How HDF5's switches are turned off.
NO = ("false", "0")
NO_LOCKING = (*NO, "best_effort")

RANKS_ON_A_LINE = 8

WATCHDOG = 120.0
"""Seconds that one step of a rank may take: a host whose file system or network hangs is what doctor is asked about."""

ROOT_WRITES = {
    Sharing.ROOT: (
        "on which several hosts cannot write one file",
        "Run all ranks on one host, or write to a parallel file system, which is quicker",
    ),
    Sharing.DOUBTFUL: (
        "of which it is not known whether several hosts can write one file",
        "If it is a parallel file system, give --writers-per-node, such as the ranks of a host",
    ),
}
"""Where the root writes for several hosts: why, and what can be done."""

VULCAN_RANKS = 31
"""From which on Open MPI 4's usual way of collective writing was seen to hang (an issue of HDF5's)."""

LEAST_OPEN_FILES = 256
LEAST_SPACE = 1024 * MiB
"""For files, in bytes: what is less is worth a word."""

LEAST_MEMORY = 512 * MiB
"""Of a rank with the default buffers, in bytes."""

LEAST_SHARED_MEMORY = 16 * MiB
"""Of a rank, in bytes: MPI's messages within a host go through /dev/shm, and containers often have 64 MiB of it."""


@dataclass(frozen=True)
class Advice:
    """Something that is wrong, and what to do about it.

    Parameters
    ----------
    what, remedy
        In words.
    prevents
        Whether it keeps parnwb from writing here at all; else it makes it slow, or concerns one backend.
    """

    what: str
    remedy: str
    prevents: bool = True


@dataclass(frozen=True)
class Seat:
    """What one rank finds.

    Parameters
    ----------
    host
        Its name, told apart from others of the same name.
    versions
        Of Python packages and of HDF5.
    cores
        On which the rank may run.
    open_files
        How many it may have.
    free_memory, free_shared_memory
        Bytes; -1 where they are not known.
    file_system, free_bytes, limited_by
        Of the folder for files: its type, as the kernel names it, what this user may still write, and what allows no
        more, such as a quota.
    trouble
        Why this rank does not see there what the root writes; empty if it does.
    start_up
        Seconds from the start of this rank's process until it looked; None where the machine does not tell.
    """

    host: str
    versions: Mapping[str, str]
    cores: tuple[int, ...]
    open_files: int
    free_memory: int
    free_shared_memory: int
    file_system: str
    free_bytes: int
    limited_by: str
    trouble: str
    start_up: float | None

    @classmethod
    def here(cls, host: str, folder: Path, trouble: str) -> Seat:
        """Return what this rank finds on its host. Independent."""
        start_up = age()
        space = _space(folder)
        return cls(
            host,
            _versions(),
            tuple(sorted(os.sched_getaffinity(0))),
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            min((room.free for room in rooms()), default=-1),
            _free_bytes(Path("/dev/shm")),
            file_system(folder),
            space.free,
            space.rule,
            trouble,
            start_up,
        )


@dataclass(frozen=True)
class Report:
    """What ``doctor`` has found.

    Parameters
    ----------
    mpi
        Name and version of the library; empty if there is none.
    launched, ranks
        How many ranks the launcher has started, and how many this MPI world has.
    hosts
        Number of ranks on each host.
    srun
        What ``srun --mpi=`` must be.
    versions
        Of the root.
    parallel_hdf5
        Whether h5py was built with MPI.
    filters, coders
        HDF5's filters that this build can apply, and programs that deflate.
    folder
        Where to write.
    backend, reason
        What ``auto`` would take there, and why.
    seats
        One of each host.
    advice
        All that is wrong.
    """

    mpi: str
    launched: int
    ranks: int
    hosts: Mapping[str, int]
    srun: str
    versions: Mapping[str, str]
    parallel_hdf5: bool
    filters: tuple[str, ...]
    coders: tuple[str, ...]
    folder: str
    backend: str
    reason: str
    start_ups: tuple[float | None, ...]
    seats: tuple[Seat, ...]
    advice: tuple[Advice, ...]

    @property
    def good(self) -> bool:
        """Whether nothing keeps parnwb from writing."""
        return not any(advice.prevents for advice in self.advice)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON's types."""
        return {"good": self.good, **asdict(self)}


def examine(folder: Path) -> Report | None:
    """Look at everything, on all ranks; return the report on the root, None elsewhere. Collective.

    Also where ranks are not one world, or there is no MPI: each process then reports for itself.

    Parameters
    ----------
    folder
        Where files are to be written; a file is created there for a moment.
    """
    advice = list(_about_library())
    try:
        ranks = Ranks(world(), WATCHDOG, "look at the hosts") if launched_size() > 1 else None
    except LaunchError as error:
        advice.append(Advice(error.message, error.remedy or ""))
        ranks = None
    if ranks is None:
        return _report(folder, [_seat_alone(folder)], advice)
    try:
        seats = _seats(ranks, folder)
        return _report(folder, seats, advice) if ranks.is_root else None
    finally:
        ranks.free()


def _report(folder: Path, seats: Sequence[Seat], advice: Sequence[Advice]) -> Report:
    choice = choose_backend("auto")
    found = [
        *advice,
        *_about_slurm(),
        *_about_versions(seats),
        *_about_hdf5(seats[0].versions["HDF5"], len(seats)),
        *_about_coders(),
        *_about_limits(seats),
        *_about_folder(folder, seats),
        *_about_nfs(seats),
    ]
    return Report(
        mpi=mpi_library(),
        launched=launched_size(),
        ranks=len(seats),
        hosts=dict(Counter(seat.host for seat in seats)),
        srun=srun_type(mpi_library()),
        versions=seats[0].versions,
        parallel_hdf5=parallel_hdf5(),
        filters=_filters(),
        coders=_coders(),
        folder=str(folder),
        backend=choice.name,
        reason=choice.reason,
        start_ups=tuple(seat.start_up for seat in seats),
        seats=tuple({seat.host: seat for seat in reversed(seats)}.values())[::-1],
        advice=tuple(found),
    )


def srun_type(mpi: str) -> str:
    """Return what ``srun --mpi=`` must be for a library; empty where that is not known. Independent."""
    return next((kind for name, kind in SRUN_TYPES.items() if mpi.startswith(name)), "")


# -- MPI -----------------------------------------------------------------------------------------------------


def mpi_library() -> str:
    """Return name and version of the MPI library; empty without one. Independent."""
    try:
        return library()
    except (ImportError, RuntimeError):
        return ""


def _about_library() -> Iterator[Advice]:
    if not mpi_library():
        yield Advice("mpi4py finds no MPI library", "Load your site's MPI module, or: pip install 'parnwb[mpich]'")


def _about_slurm() -> Iterator[Advice]:
    """Look whether SLURM, if it is here, can start ranks of this library."""
    wanted = srun_type(mpi_library())
    if not wanted or shutil.which("srun") is None:
        return
    try:
        done = subprocess.run(["srun", "--mpi=list"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    offered = (done.stdout + done.stderr).split()
    if done.returncode == 0 and not any(word == wanted or word.startswith(f"{wanted}_") for word in offered):
        yield Advice(
            f"srun cannot start ranks of {mpi_library()}: it has no --mpi={wanted}",
            "Use this MPI's own mpiexec within the job, or another MPI",
            prevents=False,
        )


# -- software ------------------------------------------------------------------------------------------------


def _versions() -> dict[str, str]:
    import h5py

    from parnwb import __version__

    found = {"parnwb": __version__, "HDF5": h5py.version.hdf5_version}
    for name in PACKAGES[1:]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def _about_versions(seats: Sequence[Seat]) -> Iterator[Advice]:
    first = seats[0]
    for name in first.versions:
        other = next((seat for seat in seats if seat.versions.get(name) != first.versions[name]), None)
        if other is not None:
            yield Advice(
                f"{name} is {first.versions[name]} on {first.host} and {other.versions.get(name)} on {other.host}",
                "Install the same on every host, or use one environment on a file system that they share",
            )


def mpi_libraries(maps: str) -> tuple[str, ...]:
    """Return the MPI libraries that a process has loaded, by its ``/proc/PID/maps``. Independent."""
    return tuple(sorted(set(re.findall(r"(/.*/lib(?:mpi|mpich)\.so[.\d]*)$", maps, re.MULTILINE))))


def _about_hdf5(version: str, ranks: int) -> Iterator[Advice]:
    if not parallel_hdf5():
        return
    loaded = mpi_libraries(kernel.text("/proc/self/maps"))
    if len(loaded) > 1:
        yield Advice(
            f"h5py was built with another MPI than the one that mpi4py loads: {' and '.join(loaded)}",
            "Build h5py anew with mpi4py's MPI, or install one without MPI: backend 'direct' needs none in it",
        )
    yield from known_faults(version)
    mpi = mpi_library()
    if mpi.startswith("Open MPI 4") and ranks >= VULCAN_RANKS and "OMPI_MCA_fcoll" not in os.environ:
        yield Advice(
            f"collective writes of backend 'mpio' can hang with {mpi} on {ranks} ranks",
            "export OMPI_MCA_fcoll=dynamic_gen2",
            prevents=False,
        )
    if mpi.startswith("Open MPI 4.1") and os.environ.get("OMPI_MCA_io", "").startswith("romio"):
        yield Advice(
            f"{mpi} with ROMIO crashes on chunked files with backend 'mpio'", "unset OMPI_MCA_io", prevents=False
        )


def known_faults(version: str) -> Iterator[Advice]:
    """Yield what is known of a release of parallel HDF5, such as ``1.14.1``. Independent."""
    for fault in FAULTS:
        if fault.concerns(release_of(version)):
            yield Advice(f"HDF5 {version} {fault.what}", fault.remedy, prevents=False)


def _filters() -> tuple[str, ...]:
    import h5py.h5z as h5z

    known = {"gzip": h5z.FILTER_DEFLATE, "shuffle": h5z.FILTER_SHUFFLE, "lzf": h5z.FILTER_LZF}
    known |= {"szip": h5z.FILTER_SZIP, "fletcher32": h5z.FILTER_FLETCHER32}
    return tuple(name for name, number in (known | PLUGINS).items() if native.is_available(number))


def _coders() -> tuple[str, ...]:
    found = ["zlib"]
    for module, name in CODERS.items():
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        found.append(name)
    return (*found, PLANES) if planes.available() else tuple(found)


def _about_coders() -> Iterator[Advice]:
    missing = set(CODERS.values()) - set(_coders())
    if missing:
        what = f"fast deflate programs cannot be loaded: {', '.join(sorted(missing))}"
        yield Advice(what, "Install parnwb anew", prevents=False)
    if PLANES not in _coders():
        what = "parnwb's own deflate, the quickest, was not compiled when parnwb was installed"
        yield Advice(what, "Install gcc, then parnwb anew", prevents=False)


# -- limits --------------------------------------------------------------------------------------------------


def _about_limits(seats: Sequence[Seat]) -> Iterator[Advice]:
    for host, ranks in Counter(seat.host for seat in seats).items():
        here = [seat for seat in seats if seat.host == host]
        cores = {core for seat in here for core in seat.cores}
        if len(cores) < ranks:
            yield Advice(
                f"{ranks} ranks share {len(cores)} cores on {host}",
                "Start fewer ranks, or give each a core: --cpus-per-task (SLURM), --bind-to none (Open MPI)",
                prevents=False,
            )
        if (files := min(seat.open_files for seat in here)) < LEAST_OPEN_FILES:
            yield Advice(f"a process may have {files} open files on {host}", f"ulimit -n {4 * LEAST_OPEN_FILES}")
        memory = min(seat.free_memory for seat in here)
        if 0 <= memory < LEAST_MEMORY * ranks:
            yield Advice(
                f"{memory // MiB} MiB of memory are free for {ranks} ranks on {host}",
                "Ask for more (--mem), start fewer ranks on a host, or use a smaller buffer_mb",
            )
        shared = min(seat.free_shared_memory for seat in here)
        if ranks > 1 and 0 <= shared < LEAST_SHARED_MEMORY * ranks:
            yield Advice(
                f"{shared // MiB} MiB of /dev/shm are free for {ranks} ranks on {host}, which MPI's messages need",
                "Give the container more: --shm-size=1g, or mount the host's /dev/shm",
            )


def _space(folder: Path) -> Space:
    try:
        return space_left(folder)
    except OSError:
        return Space("", -1)


def _free_bytes(folder: Path) -> int:
    try:
        info = os.statvfs(folder)
    except OSError:
        return -1
    return info.f_bavail * info.f_frsize


# -- the folder ----------------------------------------------------------------------------------------------


def _seat_alone(folder: Path) -> Seat:
    """Return what this process finds, after it has written to the folder."""
    probe = _probe(folder)
    trouble = _write_probe(probe)
    left = _remove_probe(probe)
    return Seat.here(socket.gethostname(), folder, trouble or left)


def _seats(ranks: Ranks, folder: Path) -> list[Seat]:
    """Return what each rank finds, after the root has written to the folder. Collective."""
    probe = ranks.broadcast(_probe(folder))
    try:
        with ranks.agreed("writing to the folder"):
            trouble = _write_probe(probe) if ranks.is_root else ""
        trouble = ranks.broadcast(trouble)
        with ranks.agreed("looking at the folder and the host"):
            if not trouble and ranks.leads_host:
                trouble = _look_at_probe(probe)
            seat = Seat.here(ranks.hosts[ranks.rank], folder, trouble)
        seats = ranks.gather_all(seat)
    finally:
        left = _remove_probe(probe) if ranks.is_root else ""
    return [replace(seats[0], trouble=seats[0].trouble or left), *seats[1:]]


def _probe(folder: Path) -> Path:
    return folder / f".parnwb-doctor-{secrets.token_hex(4)}"


def _write_probe(probe: Path) -> str:
    try:
        with probe.open("xb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"it cannot be written to: {error.strerror}"
    return ""


def _remove_probe(probe: Path) -> str:
    """Remove what was written, of which there may be nothing; return what keeps it there."""
    try:
        probe.unlink(missing_ok=True)
    except OSError as error:
        return f"what is written there cannot be removed: {error.strerror}"
    return ""


def _look_at_probe(probe: Path) -> str:
    try:
        os.close(open_soon(probe))
    except OSError as error:
        return f"it does not see what is written there: {error.strerror}"
    return ""


def _about_folder(folder: Path, seats: Sequence[Seat]) -> Iterator[Advice]:
    if seats[0].trouble:
        yield Advice(
            f"{folder}: {seats[0].trouble}",
            "Check that it is there and a folder, its permissions, the quota and its mount options",
        )
        return
    for seat in seats:
        if seat.trouble:
            yield Advice(f"{folder} on {seat.host}: {seat.trouble}", "Write to a folder that all hosts share")
    if 0 <= seats[0].free_bytes < LEAST_SPACE:
        yield Advice(
            f"{seats[0].limited_by} leaves {seats[0].free_bytes // MiB} MiB for files in {folder}",
            "Remove what is not needed, ask for more, or write to another folder",
            prevents=seats[0].free_bytes == 0,
        )
    kinds = dict.fromkeys(seat.file_system for seat in seats)
    careful = [one for sharing in (Sharing.ROOT, Sharing.DOUBTFUL) for one in kinds if kind_of(one).sharing is sharing]
    kind = next(iter(careful), seats[0].file_system)
    if kind_of(kind) is LUSTRE and (found := striping_of(folder)) is not None and found.count == 1:
        yield Advice(
            f"new files in {folder} lie on one storage server; parnwb spreads its own, where lfs lets it",
            f"lfs setstripe --stripe-count 8 --stripe-size 4M {folder}",
            prevents=False,
        )
    if (said := ROOT_WRITES.get(kind_of(kind).sharing)) is not None:
        why, remedy = said
        what = f"{folder} is of type {kind}, {why}: with several the root writes for all"
        yield Advice(what, remedy, prevents=False)


def _about_nfs(seats: Sequence[Seat]) -> Iterator[Advice]:
    """Tell what HDF5 and MPI ask of NFS, where it may not have it: whether it has cannot be tried without a hang."""
    if not any(kind_of(seat.file_system) is NFS for seat in seats):
        return
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").lower() not in NO_LOCKING:
        yield Advice(
            "HDF5 locks files, and on NFS without a lock daemon opening one fails or does not end",
            "If so: export HDF5_USE_FILE_LOCKING=FALSE; parnwb has a lock of its own",
            prevents=False,
        )
    version = seats[0].versions["HDF5"]
    asked_for = FILE_SYNC.concerns(release_of(version)) and parallel_hdf5() and _has_romio(mpi_library())
    if asked_for and os.environ.get("HDF5_DO_MPI_FILE_SYNC", "").lower() not in NO:
        yield Advice(f"HDF5 {version} with {mpi_library()} {FILE_SYNC.what}", FILE_SYNC.remedy, prevents=False)


def _has_romio(mpi: str) -> bool:
    """Tell whether files go through ROMIO, as with MPICH and what was made from it, or if Open MPI is asked to."""
    return not mpi.startswith("Open MPI") or os.environ.get("OMPI_MCA_io", "").startswith("romio")


def _slurm_words(mpi: str, kind: str) -> str:
    """Return how ranks are started within a job; empty where that is not known."""
    if not kind:
        return ""
    way = f"srun --mpi={kind}"
    return f"; under SLURM: {f'its mpiexec, or {way} with {NETMOD}=ofi' if mpi.startswith('MPICH') else way}"


def describe(report: Report) -> Iterator[str]:
    """Yield the lines of a report, for people. Independent."""
    hosts = ", ".join(f"{host} ({ranks})" for host, ranks in report.hosts.items())
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    seat = report.seats[0]
    memory = "unknown" if seat.free_memory < 0 else f"{seat.free_memory // MiB} MiB"
    yield f"software    {versions}"
    yield f"MPI         {report.mpi or 'none'}{_slurm_words(report.mpi, report.srun)}"
    yield f"ranks       {report.ranks} on {len(report.hosts)} host(s): {hosts}"
    yield f"h5py        {'with' if report.parallel_hdf5 else 'without'} MPI; filters: {', '.join(report.filters)}"
    yield f"deflate by  {', '.join(report.coders)}"
    kind = kind_of(seat.file_system)
    free = "" if seat.free_bytes < 0 else f", {seat.free_bytes // MiB} MiB free by {seat.limited_by}"
    yield f"folder      {report.folder}: {kind.name}{free}; {kind.sharing.value}"
    yield f"backend     auto takes {report.backend} there: {report.reason}"
    yield f"a rank has  {len(seat.cores)} core(s), {memory} of memory free, {seat.open_files} open files"
    yield f"start-up    {_start_up(report)}"
    for advice in report.advice:
        yield f"  {'wrong' if advice.prevents else 'note'}: {advice.what}. {advice.remedy}"
    yield "GOOD: nothing is in the way" if report.good else "BAD: parnwb cannot write here as it is"


def _start_up(report: Report) -> str:
    """Return how long ranks took until they were here, in words: by rank where they are few."""
    times = [(seconds, rank) for rank, seconds in enumerate(report.start_ups) if seconds is not None]
    if not times:
        return "not known here"
    if len(times) <= RANKS_ON_A_LINE:
        return ", ".join(f"{seconds:.1f} s (rank {rank})" for seconds, rank in times)
    (first, quickest), (last, slowest) = min(times), max(times)
    middle = statistics.median(seconds for seconds, _ in times)
    return f"{first:.1f} s (rank {quickest}) to {last:.1f} s (rank {slowest}), half of the ranks within {middle:.1f} s"
