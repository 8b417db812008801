"""What the calls of ``NWBParallelIO`` can be given, beside what all of them need: each check refuses the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.errors import ParnwbError
from parnwb.settings import WriteSettings

if TYPE_CHECKING:
    from pynwb import NWBFile

    from parnwb.append import Opened


def check_appending(path: Path, settings: WriteSettings) -> None:
    """Refuse settings with which nothing can be added to an existing file. Independent."""
    if settings.backend in ("mpio", "virtual"):
        raise ParnwbError(
            f"backend {settings.backend!r} cannot append to an existing file",
            where=str(path),
            remedy="Use backend='direct'",
        )
    if settings.manifest:
        raise ParnwbError(
            "checksums are kept of a whole file, and an append knows only what it adds",
            where=str(path),
            remedy="Write without manifest",
        )


def check_write(path: Path, settings: WriteSettings, arguments: Mapping[str, Any]) -> None:
    """Refuse keywords that ``write`` does not know. Independent."""
    own = "consolidate_metadata" if settings.backend == "zarr" else "expandable"
    unknown = sorted(set(arguments) - {own, "herd"})
    if unknown:
        raise ParnwbError(
            f"write takes cache_spec, link_data, exhaust_dci, {own} and herd, got {', '.join(unknown)}",
            where=str(path),
        )


def check_nwbfile(path: Path, nwbfile: NWBFile | None, opened: Opened | None) -> None:
    """Refuse what is no NWBFile, or not the one that was read from the file that is added to. Independent."""
    if nwbfile is None:
        return
    from pynwb import NWBFile as Expected

    if not isinstance(nwbfile, Expected):
        raise ParnwbError(f"write takes an NWBFile or None, got {type(nwbfile).__name__}", where=str(path))
    if opened is not None and nwbfile is not opened.nwbfile:
        raise ParnwbError(
            "an existing file can only be added to: write takes the NWBFile that read returned",
            where=str(path),
            remedy="Call read on every rank, and add to what it returns",
        )


def check_export(path: Path, write_args: Mapping[str, Any], opened: Opened | None) -> None:
    """Refuse to export into an existing file, and what ``write_args`` cannot hold. Independent."""
    if opened is not None:
        raise ParnwbError(
            "an export makes a new file, in mode 'w'",
            where=str(path),
            remedy="Choose another name, or mode 'w' with overwrite=True",
        )
    unknown = sorted(set(write_args) - {"link_data", "exhaust_dci", "expandable"})
    if unknown:
        raise ParnwbError(
            f"write_args can be link_data, exhaust_dci and expandable, got {', '.join(unknown)}", where=str(path)
        )


def check_commit(path: Path, settings: WriteSettings, streamed: Opened | None) -> None:
    """Refuse a commit of what can only be kept when the file is closed. Independent.

    Parameters
    ----------
    path
        The file.
    settings
        With which it is written.
    streamed
        The existing file that streams are added to, if that is so.
    """
    if settings.backend == "virtual":
        raise ParnwbError(
            "parts keep no journal, so what backend 'virtual' writes is kept when the file is closed, not before",
            where=str(path),
            remedy="Close it, or use backend='direct'",
        )
    if streamed is not None:
        raise ParnwbError(
            "an existing file changes when it is closed: rows that are appended to it cannot be committed before",
            where=str(path),
            remedy="Close it, or write streams to a file of their own",
        )
