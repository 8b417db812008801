"""What DANDI would say of a finished file: each with its remedy, before anybody uploads it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from parnwb.errors import ParnwbError
from parnwb.finding import Finding
from parnwb.links.following import datasets_in, movies_named, outward_links

MB = 10**6
# dandi's own limit for one asset, and what is advised for chunks that are read over a network.
MAX_FILE_BYTES = 5 * 10**12
CHUNK_BYTES = (100 * 10**3, 20 * MB)
# Below it nobody waits for a chunk more or less.
SMALL_BYTES = 10 * MB
UNCOMPRESSED_BYTES = 50 * MB
# nwbinspector's words: what DANDI refuses, and what it lets pass.
REFUSED = ("ERROR", "PYNWB_VALIDATION", "CRITICAL")
BEST_PRACTICES = "https://nwbinspector.readthedocs.io/en/dev/best_practices/best_practices_index.html"


@dataclass(frozen=True)
class Preflight:
    """What DANDI would say.

    Parameters
    ----------
    refused
        For these it would not take the file.
    advice
        With these it would, but others will suffer.
    """

    refused: tuple[Finding, ...]
    advice: tuple[Finding, ...]


def check_can_be_told(path: Path) -> None:
    """Refuse what ``preflight`` cannot look at, before anything else takes its time. Independent; on the root.

    Raises
    ------
    ParnwbError
        nwbinspector is not installed; or it is a Zarr store.
    """
    if path.is_dir():
        raise ParnwbError(
            "what DANDI would say is known of HDF5 files only",
            where=str(path),
            remedy="Leave dandi (--dandi) out, and run dandi validate",
        )
    try:
        import nwbinspector  # noqa: F401
    except ImportError as error:
        raise ParnwbError(
            "nwbinspector, which DANDI asks, is not installed", remedy='pip install "parnwb[inspect]"'
        ) from error


def preflight(path: Path) -> Preflight:
    """Look at a finished file as DANDI does. Independent; on the root.

    Raises
    ------
    ParnwbError
        As ``check_can_be_told`` does.
    """
    check_can_be_told(path)
    refused: list[Finding] = []
    advice: list[Finding] = []
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        what = f"has {size / 10**12:.1f} TB, DANDI takes {MAX_FILE_BYTES / 10**12:.0f}: write a file for each part"
        refused.append(Finding("/", None, what))
    with h5py.File(path, "r") as file:
        for link in outward_links(file):
            what = f"links to {link.file}: DANDI takes no external links; write with link_data=False, which copies"
            refused.append(Finding(link.path, None, what))
        for dataset in datasets_in(file):
            refused += _stored_elsewhere(dataset)
            advice += _advice(dataset)
    _inspect(path, refused, advice)
    return Preflight(tuple(refused), tuple(advice))


def _stored_elsewhere(dataset: h5py.Dataset) -> Iterator[Finding]:
    names = [name for name, _, _ in dataset.external or ()]
    names += [source.file_name for source in dataset.virtual_sources()] if dataset.is_virtual else []
    for name in dict.fromkeys(str(name) for name in names if name != "."):
        yield Finding(dataset.name, None, f"has its values in {name}, which is not uploaded: write them into the file")
    for movie in filter(os.path.isabs, movies_named(dataset.name, dataset)):
        what = f"names {movie} by an absolute path: bring it along with parnwb.movies.place_movies"
        yield Finding(dataset.name, None, what)


def _advice(dataset: h5py.Dataset) -> Iterator[Finding]:
    if not dataset.shape or dataset.dtype.hasobject:
        return
    nbytes = int(np.prod(dataset.shape)) * dataset.dtype.itemsize
    if dataset.chunks is None:
        if nbytes > UNCOMPRESSED_BYTES:
            what = f"has {nbytes / MB:.0f} MB without chunks and compression: write with compression='auto'"
            yield Finding(dataset.name, None, what)
        return
    chunk = int(np.prod(dataset.chunks)) * dataset.dtype.itemsize
    if nbytes > SMALL_BYTES and not CHUNK_BYTES[0] <= chunk <= CHUNK_BYTES[1]:
        what = f"has chunks {dataset.chunks} of {chunk / MB:.3g} MB: over a network 2 to 16 MB are read best"
        yield Finding(dataset.name, None, what)


def _inspect(path: Path, refused: list[Finding], advice: list[Finding]) -> None:
    """Ask nwbinspector, with DANDI's configuration."""
    from nwbinspector import available_checks, inspect_nwbfile, load_config

    try:
        messages = list(inspect_nwbfile(nwbfile_path=path, config=load_config("dandi"), skip_validate=True))
    except Exception as error:  # noqa: BLE001 - what it cannot read DANDI does not take
        refused.append(Finding("/", None, f"cannot be read by nwbinspector: {type(error).__name__}: {error}"))
        return
    sections = {check.__name__: _section(check.__doc__ or "") for check in available_checks}
    for message in messages:
        name, importance = message.check_function_name, message.importance.name
        remedy = f"nwbinspector's {name}, {_plain(importance)}; what to do: {sections.get(name, BEST_PRACTICES)}"
        finding = Finding(message.location or "/", None, f"{message.message} ({remedy})")
        (refused if importance in REFUSED else advice).append(finding)


def _section(documentation: str) -> str:
    """Return where nwbinspector says what to do about a check's findings: its section, if the check names one."""
    named = re.search(r":ref:`(?:[^<`]*<)?(best_practice_\w+)>?`", documentation)
    return f"{BEST_PRACTICES}, {named[1]}" if named is not None else BEST_PRACTICES


def _plain(importance: str) -> str:
    return importance.lower().replace("_", " ")
