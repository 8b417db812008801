"""The HERD beside a new file, a zip of tables as ``NWBHDF5IO(herd_path=...)`` writes it. Imports hdmf in functions."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from parnwb.errors import ParnwbError, StorageError, TargetError
from parnwb.target import sync_folder

if TYPE_CHECKING:
    from hdmf.build import BuildManager
    from hdmf.common import HERD
    from pynwb import NWBFile

# Those that begin a file and end it with the same object ids, by which the tables name objects.
MODES = ("w", "w-", "x")
IN_THE_FILE = "Keep the terms in the file itself: nwbfile.get_external_resources().add_ref(...)"


def herd_place(herd_path: Any, mode: str) -> Path | None:
    """Return where the HERD goes; None if none is asked for. Independent.

    Raises
    ------
    ParnwbError
        It is no path, or the mode is not one of a new file.
    """
    if herd_path is None:
        return None
    if not isinstance(herd_path, str | os.PathLike) or not os.fspath(herd_path):
        raise ParnwbError(f"herd_path must be the path of a zip file, got {herd_path!r}", remedy="Try 'terms.zip'")
    if mode in MODES:
        return Path(os.fsdecode(herd_path)).absolute()
    why = "a job that resumes has other object ids than the file" if mode == "resume" else "it belongs to a new file"
    raise ParnwbError(f"herd_path goes with modes {', '.join(MODES)}, got {mode!r}: {why}", remedy=IN_THE_FILE)


def check_place(place: Path, *, overwrite: bool) -> None:
    """Refuse a place where no HERD can be left. Independent; on the root.

    Raises
    ------
    TargetError
        Its folder is not there, or there is a file that is not to be overwritten.
    """
    if not place.parent.is_dir():
        raise TargetError("the folder of herd_path does not exist", where=str(place), remedy="Create it first")
    if os.path.lexists(place) and not overwrite:
        raise TargetError(
            "herd_path exists", where=str(place), remedy="Choose another name, or overwrite both with overwrite=True"
        )


def zipped(herd: HERD | None, nwbfile: NWBFile, manager: BuildManager | None) -> bytes:
    """Return a HERD, with the terms that an NWBFile's own term sets give, as a zip of its tables. Independent.

    Parameters
    ----------
    herd
        What ``write`` was given; it gets these terms as well, as it does from hdmf. None for a new one.
    nwbfile
        All of whose objects are looked at.
    manager
        hdmf's; None for pynwb's own.
    """
    from hdmf.common import HERD
    from pynwb import get_type_map

    if herd is None:
        herd = HERD(type_map=get_type_map() if manager is None else manager.type_map)
    if not isinstance(herd, HERD):
        raise ParnwbError(f"herd must be a HERD of hdmf.common or pynwb.resources, got {type(herd).__name__}")
    herd.add_ref_container(nwbfile)
    with BytesIO() as buffer:
        with ZipFile(buffer, "w") as archive:
            for table in herd.children:
                # Bare names: hdmf's from_zip looks for them in the folder of the zip.
                archive.writestr(f"{table.name}.tsv", table.to_dataframe().to_csv(sep="\t", index=False))
        return buffer.getvalue()


def leave(place: Path, content: bytes) -> None:
    """Write the zip, whole or not at all, beside the file that has its name already. Independent; on the root.

    Raises
    ------
    StorageError
        The file system refuses.
    """
    unfinished = place.with_name(f"{place.name}.partial")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, place)
    except OSError as error:
        raise StorageError(
            f"the HERD could not be written: {error.strerror}; the file itself is complete",
            where=str(place),
            remedy="Write it with herd.to_zip(path) on one rank",
        ) from error
    sync_folder(place.parent)
