"""What this build can do: parallel HDF5, its known faults; and the backend that follows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from parnwb.errors import LaunchError, PlanError

BACKENDS = ("auto", "direct", "mpio", "virtual", "zarr")
ZARR_SUFFIX = ".zarr"
# With these every rank opens HDF5 files of its own, or the one of all; with the others the root does.
HDF5_EVERYWHERE = ("mpio", "virtual")
# Those that keep a journal.
RESUMABLE = ("auto", "direct")
# Deflate, shuffle, fletcher32, N-bit and scale-offset are applied to every chunk, whatever it holds.
NEVER_SKIPPED = (1, 2, 3, 5, 6)


@dataclass(frozen=True)
class Fault:
    """What is wrong with some releases of parallel HDF5, through which backend ``mpio`` writes.

    Parameters
    ----------
    first, fixed
        The first release that has it, and the first that has it no more; None if none is known.
    what, remedy
        In words, which follow the release's number.
    """

    first: tuple[int, int, int]
    fixed: tuple[int, int, int] | None
    what: str
    remedy: str

    def concerns(self, release: tuple[int, ...]) -> bool:
        """Tell whether a release has it. Independent."""
        return self.first <= release and (self.fixed is None or release < self.fixed)


NO_FILTERS = Fault(
    (1, 0, 0),
    (1, 10, 2),
    "cannot write filtered datasets with backend 'mpio'",
    "Use backend='direct', or a newer HDF5",
)
# Measured with 1.10.8: where a filter skips a chunk, as LZF does with one that does not shrink, the file says that it
# was filtered, and cannot be read.
SKIPPED_FILTERS = Fault(
    (1, 0, 0),
    (1, 14, 0),
    "writes chunks that a filter has skipped, as LZF's may be, unreadably with backend 'mpio' (parnwb refuses)",
    "Use backend='direct', or HDF5 1.14 or newer",
)
# HDF5's release notes, 1.14.3: those that were created serially and are opened in parallel.
WRONG_DATA = Fault(
    (1, 14, 0),
    (1, 14, 3),
    "can return wrong data for chunked datasets without filters with backend 'mpio' (parnwb refuses)",
    "Use backend='direct', or HDF5 1.14.3 or newer",
)
# openPMD-api, pull request 1862, of 2.0 and 2.1.
ORDER = Fault(
    (2, 0, 0),
    None,
    "hangs where ranks change metadata of a file in different orders with parallel HDF5 (parnwb's keep to one)",
    "If a run with backend 'mpio' does not go on, use backend='direct'",
)
FAULTS = (NO_FILTERS, SKIPPED_FILTERS, WRONG_DATA, ORDER)
# h5py, issue 2330, and HDF5, pull request 1801: ROMIO asks for it on NFS. Elsewhere all is well, so it is not of these.
FILE_SYNC = Fault(
    (1, 13, 2),
    None,
    "refuses independent writes of backend 'mpio' on NFS, where MPI asks for MPI_File_sync after each",
    "export HDF5_DO_MPI_FILE_SYNC=0 where all ranks are on one host, or use backend='direct'",
)


@dataclass(frozen=True)
class BackendChoice:
    """A backend and why it was taken."""

    name: str
    reason: str


def parallel_hdf5() -> bool:
    """Tell whether the installed h5py was built with MPI. Independent."""
    import h5py

    return bool(h5py.get_config().mpi)


def release_of(version: str) -> tuple[int, ...]:
    """Return the numbers of a release, such as ``1.14.4-3``, as they compare. Independent."""
    return tuple(int(part) for part in version.split("-")[0].split(".")[:3])


def versions(*, leads: bool = True) -> dict[str, object]:
    """Return the versions that must be the same on all ranks: what decides messages, plans and bytes. Independent.

    Parameters
    ----------
    leads
        Whether this rank will need HDF5 in any case. Another one does not import it for this: it says ``...`` of what
        it does not know, and a release of h5py is told by how it was installed.
    """
    from parnwb import __version__

    found: dict[str, object] = {"the version of parnwb": __version__}
    if not leads and "h5py" not in sys.modules:
        with suppress(PackageNotFoundError):  # some distributions do not record it
            return found | {"the version of h5py": version("h5py"), "the version of HDF5": ...}
    import h5py

    return found | {
        "the version of h5py": h5py.version.version,
        "the version of HDF5": h5py.version.hdf5_version,
    }


def backend_for(path: str | Path, wanted: str) -> str:
    """Return the backend that a user means who gives this name to the output. Independent.

    Parameters
    ----------
    path
        Of the output. One that ends in ``.zarr`` is a Zarr store.
    wanted
        ``'auto'`` or the name that the user gave.

    Raises
    ------
    PlanError
        It writes something else than what the output is called.
    """
    is_store = str(path).endswith(ZARR_SUFFIX)
    if is_store and wanted == "auto":
        return "zarr"
    if is_store and wanted in BACKENDS and wanted != "zarr":
        raise PlanError(
            f"backend {wanted!r} writes HDF5 files, and the output is called like a Zarr store",
            where=str(path),
            remedy="Leave the backend out, or choose a name that ends in .nwb",
        )
    return wanted


def can_resume(path: str | Path, wanted: str) -> bool:
    """Tell whether a job can go on with what an earlier one has left of an output. Independent.

    Parameters
    ----------
    path, wanted
        As for ``backend_for``, which may refuse them.
    """
    return backend_for(path, wanted) in RESUMABLE


def check_backend(wanted: str) -> None:
    """Refuse a backend that there is not, or that this build does not have. Independent.

    Raises
    ------
    PlanError
        There is no backend of that name.
    LaunchError
        ``mpio`` is wanted but h5py has no MPI; or ``zarr``, and hdmf-zarr is not installed.
    """
    if wanted not in BACKENDS:
        raise PlanError(f"backend must be one of {', '.join(BACKENDS)}, got {wanted!r}")
    if wanted == "zarr" and find_spec("hdmf_zarr") is None:
        raise LaunchError(
            "Zarr stores are written through hdmf-zarr, which is not installed",
            remedy="pip install 'parnwb[zarr]', or choose an output that ends in .nwb",
        )
    if wanted == "mpio" and not parallel_hdf5():
        raise LaunchError(
            "backend 'mpio' needs an h5py that was built with MPI, and this one was not",
            remedy="Use backend='direct', or install h5py built against parallel HDF5",
        )


def choose_backend(wanted: str) -> BackendChoice:
    """Return the backend for a file: ``direct``, unless the other was asked for. Independent.

    Also where data are not filtered and h5py has MPI: measured there, ``direct`` is the faster one, and it alone can
    be resumed.

    Parameters
    ----------
    wanted
        ``'auto'`` or the name that the user gave.

    Raises
    ------
    PlanError, LaunchError
        As ``check_backend``.
    """
    check_backend(wanted)
    if wanted == "zarr":
        return BackendChoice(wanted, "ranks write each chunk of a Zarr store to a file of its own")
    if wanted != "auto":
        return BackendChoice(wanted, "as asked for")
    return BackendChoice("direct", "ranks encode and write by themselves, and what they have done can be resumed")


def check_parallel_hdf5(*, chunked_unfiltered: bool, filters: Mapping[int, str] | None = None) -> None:
    """Refuse a release of HDF5 that returns wrong data for what ``mpio`` is about to do. Independent.

    Parameters
    ----------
    chunked_unfiltered
        Whether any dataset has chunks and no filter.
    filters
        Names of all filters by their registered numbers.
    """
    import h5py

    version, release = h5py.version.hdf5_version, h5py.version.hdf5_version_tuple[:3]
    skipping = {number: name for number, name in (filters or {}).items() if number not in NEVER_SKIPPED}
    if skipping and SKIPPED_FILTERS.concerns(release):
        number, name = min(skipping.items())
        raise LaunchError(
            f"filter {number} ({name or 'no name'}) skips chunks that do not shrink, which parallel HDF5 "
            f"{version} does not record",
            remedy=SKIPPED_FILTERS.remedy,
        )
    if chunked_unfiltered and WRONG_DATA.concerns(release):
        raise LaunchError(
            f"HDF5 {version} can return wrong data for chunked datasets without filters", remedy=WRONG_DATA.remedy
        )
