"""In which modes a file is opened, and what is to be written there then."""

from __future__ import annotations

import os
from pathlib import Path

from parnwb.commits.amendment import finish_append, real
from parnwb.errors import ParnwbError, TargetError
from parnwb.target import FolderTarget, SpreadTarget, Target

CREATING_MODES = ("w", "w-", "x", "resume")
APPENDING_MODES = ("a", "r+")


def check_mode(mode: str, path: str | Path) -> None:
    """Refuse modes that do not write."""
    modes = CREATING_MODES + APPENDING_MODES
    if mode in modes:
        return
    if mode == "r":
        raise ParnwbError("NWBParallelIO writes; mode 'r' reads", where=str(path), remedy="Use pynwb.NWBHDF5IO to read")
    raise ParnwbError(f"mode must be one of {', '.join(modes)}, got {mode!r}", where=str(path))


def target_of(path: str | Path, mode: str, backend: str, local: str | Path | None) -> Target:
    """Return the target at ``path``; refuse what is none, and a working folder that was removed.

    An existing file that is appended to is the one that links lead to: whatever it is called, it has one lock and one
    journal. A link that a new file replaces stays a name of its own.
    """
    try:
        absolute = Path(path).absolute()
        if backend == "zarr":
            return FolderTarget(absolute)
        if backend == "virtual":
            return SpreadTarget(absolute, _parts_of, _local_folder(local))
        return Target(real(absolute) if mode in APPENDING_MODES and absolute.exists() else absolute)
    except (TypeError, ValueError) as error:
        raise TargetError(
            f"the output must be the path of a file: {error}", where=repr(path), remedy="Choose a name such as out.nwb"
        ) from error
    except OSError as error:
        raise TargetError(
            f"the working folder cannot be found: {error.strerror}",
            where=str(path),
            remedy="Change to a folder that exists, or give the output from the root",
        ) from error


def is_appended_to(target: Target, mode: str) -> bool:
    """Return whether there is a file that is to be added to; refuse what could not be. Independent.

    What an earlier job has not finished of such a file is finished first.
    """
    path = target.path
    appends = mode in APPENDING_MODES
    if appends and path.exists():
        target.check_no_lost_writers()
    if appends or not path.is_symlink():  # a new file replaces the link, not what it leads to
        finish_append(path)
    if mode == "r+" and not path.exists():
        raise TargetError("mode 'r+' needs a file that exists", where=str(path), remedy="Use mode 'a' or 'w'")
    if not appends or not path.exists():
        return False
    if isinstance(target, FolderTarget):
        raise TargetError(
            f"mode {mode!r} adds to HDF5 files, not to Zarr stores",
            where=str(path),
            remedy="Write a new store, or add to this one with hdmf_zarr.NWBZarrIO on one process",
        )
    return True


def _parts_of(path: Path) -> tuple[Path, ...]:
    from parnwb.links.following import parts_of

    return parts_of(path)


def _local_folder(given: str | Path | None) -> Path | None:
    """Return the folder of this rank's host: its variables may differ from those of other hosts."""
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise ParnwbError(
            f"local must be the path of a folder, got {given!r}", remedy="Name one that every host has, like '$TMPDIR'"
        )
    return Path(os.path.expandvars(given)).expanduser().absolute()
