"""Modular storage: a file of metadata and links over data files, all written by one job."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynwb import NWBHDF5IO, NWBFile, get_manager

from parnwb.comm import Ranks
from parnwb.errors import ParnwbError
from parnwb.io import NWBParallelIO

if TYPE_CHECKING:
    from hdmf.build import BuildManager
    from mpi4py import MPI

Make = Callable[[], NWBFile | None]
Assemble = Callable[[Mapping[str, NWBFile]], NWBFile]
# Of the file of links; what shapes data has nothing to do there.
OF_ALL = ("overwrite", "progress", "watchdog", "break_lock")


def write_modular(
    path: str | Path,
    parts: Mapping[str, Make],
    assemble: Assemble,
    comm: MPI.Intracomm | None = None,
    weights: Mapping[str, float] | None = None,
    **settings: Any,
) -> tuple[Path, ...]:
    """Write data files, each by a group of ranks of its own, and then one file that links to them. Collective.

    Ranks are divided over the data files, so that all are written at the same time; with fewer ranks than files a group
    writes several, one after another. When all are complete the root reads them and makes the file of metadata. Its
    links are relative: keep the files in one folder, or their folders together.

    Parameters
    ----------
    path
        The file of metadata and links.
    parts
        By name of a data file, relative to ``path``'s folder: what makes its NWBFile, called on the ranks of its group;
        there it may return None on all but the first.
    assemble
        Called on the root with the NWBFiles that were read back, by name; returns the one to write. What it adds of
        them (a series, or a series as the data of another) becomes a link.
    comm
        Communicator; None for this process alone.
    weights
        How many ranks a data file gets, in proportion; by default equally many. Any positive numbers, such as bytes.
    **settings
        For ``NWBParallelIO``.

    Returns
    -------
    files
        The data files and, last, the file of links.

    Raises
    ------
    ParnwbError
        The same on all ranks. Data files that were written by this call are removed, unless they replaced others.
    """
    path = Path(path).absolute()
    ranks = Ranks(comm, 0)  # ranks of other groups are silent here as long as theirs write; each group has its watchdog
    try:
        with ranks.agreed("dividing the ranks"):
            names = _checked(parts, path, settings, weights or {})
        ranks.same({"parts": str(names), "path": str(path)}, "Give the same parts on every rank")
        files = tuple(path.parent / name for name in names)
        try:
            _write_parts(ranks, comm, parts, path.parent, teams(names, weights or {}, ranks.size), settings)
            _write_links(ranks, path, names, assemble, comm, settings)
        except BaseException:
            if ranks.is_root and not settings.get("overwrite"):
                _remove(files)
            raise
        return (*files, path)
    finally:
        ranks.free()


def teams(names: Sequence[str], weights: Mapping[str, float], ranks: int) -> list[list[str]]:
    """Return for each rank which files its team writes, one after another. Independent.

    Parameters
    ----------
    names
        Of the files.
    weights
        How much there is to do for each; 1 where nothing is said.
    ranks
        How many there are: at least one for each file, if there are enough.
    """
    heaviest = sorted(names, key=lambda name: -weights.get(name, 1.0))
    if ranks <= len(names):
        lists: list[list[str]] = [[] for _ in range(ranks)]
        for name in heaviest:
            min(lists, key=lambda one: sum(weights.get(other, 1.0) for other in one)).append(name)
        return lists
    sizes = dict.fromkeys(names, 1)
    for _ in range(ranks - len(names)):  # each goes where there is most to do for one
        sizes[max(heaviest, key=lambda name: weights.get(name, 1.0) / sizes[name])] += 1
    return [[name] for name in names for _ in range(sizes[name])]


def _checked(
    parts: Mapping[str, Make], path: Path, settings: Mapping[str, Any], weights: Mapping[str, float]
) -> list[str]:
    names = list(parts)
    if not names:
        raise ParnwbError("a modular file needs a data file", where=str(path), remedy="Give parts, or NWBParallelIO")
    full = [os.path.realpath(path.parent / name) for name in names]
    if len({*full, os.path.realpath(path)}) < len(names) + 1:
        raise ParnwbError(f"all files must have names of their own, got {', '.join(names)} and {path.name}")
    wrong = {name: weight for name, weight in weights.items() if name not in parts or not weight > 0}
    if wrong:
        raise ParnwbError(f"weights must be positive numbers for data files, got {wrong}")
    existing = [name for name in (*names, path.name) if os.path.lexists(path.parent / name)]
    if existing and not settings.get("overwrite"):
        raise ParnwbError(
            f"the output is there already: {', '.join(existing)}", where=str(path.parent), remedy="Pass overwrite=True"
        )
    return names


def _write_parts(
    ranks: Ranks,
    comm: MPI.Intracomm | None,
    parts: Mapping[str, Make],
    folder: Path,
    divided: list[list[str]],
    settings: Mapping[str, Any],
) -> None:
    """Write the data files, each team its own. Collective; teams that are done wait for the others."""
    own = divided[ranks.rank]
    team: MPI.Intracomm | None = None if comm is None else comm.Split(divided.index(own), ranks.rank)  # type: ignore
    try:
        with ranks.agreed("writing the data files"):
            for name in own:
                with NWBParallelIO(folder / name, "w", comm=team, **settings) as io:
                    io.write(parts[name]())
    finally:
        if team is not None:
            team.Free()


def _write_links(
    ranks: Ranks,
    path: Path,
    names: Sequence[str],
    assemble: Assemble,
    comm: MPI.Intracomm | None,
    settings: Mapping[str, Any],
) -> None:
    manager = get_manager()  # one for all: hdmf knows by it what was read from where
    with ExitStack() as files:
        nwbfile = None
        with ranks.agreed("assembling the file of links"):
            if ranks.is_root:
                nwbfile = assemble(_read_parts(files, path.parent, names, manager))
        given = {name: value for name, value in settings.items() if name in OF_ALL}
        with NWBParallelIO(path, "w", comm=comm, manager=manager, **given) as io:
            io.write(nwbfile)


def _read_parts(
    files: ExitStack, folder: Path, names: Sequence[str], manager: BuildManager
) -> dict[str, NWBFile]:
    return {
        name: files.enter_context(NWBHDF5IO(str(folder / name), "r", manager=manager)).read() for name in names
    }


def _remove(files: Sequence[Path]) -> None:
    for file in files:
        with suppress(OSError):
            file.unlink()
