"""Modular storage: a file of metadata and links over data files, all written by one job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynwb import NWBHDF5IO, NWBFile, get_manager

from parnwb.comm import DEFAULT_WATCHDOG, Ranks, until_checked
from parnwb.errors import Interrupted, ParnwbError
from parnwb.interrupts import ASKED_TO_STOP, EX_TEMPFAIL, Interrupts
from parnwb.io import NWBParallelIO
from parnwb.links.following import parts_of
from parnwb.target import SpreadTarget, Target, identity
from parnwb.voice import last_words

if TYPE_CHECKING:
    from hdmf.build import BuildManager
    from mpi4py import MPI

Make = Callable[[], NWBFile | None]
Assemble = Callable[[Mapping[str, NWBFile]], NWBFile]
MODES = ("w", "resume")
# They keep no journal: of a file that has no name yet nothing can be gone on with.
BEGUN_ANEW = ("mpio", "virtual")
AGAIN = "Data files that are finished stay: call write_modular again with mode='resume'"
# Of the file of links; what shapes data has nothing to do there.
OF_ALL = ("overwrite", "progress", "watchdog", "break_lock", "on_mismatch")


@dataclass
class _Made:
    """The files that this rank has given a name which nothing had, by their names."""

    files: dict[Path, tuple[Target, tuple[int, int]]] = field(default_factory=dict)

    def note(self, target: Target) -> None:
        """Remember a whole file that is about to get its name. Independent."""
        with suppress(OSError):  # an earlier job has named it
            if not os.path.lexists(target.path):
                self.files[target.path] = target, identity(os.lstat(target.partial))

    def remove(self) -> None:
        """Remove them, but none that another job has put in their place. Independent."""
        for target, own in self.files.values():
            target.withdraw(own)


class _PartIO(NWBParallelIO):
    """Writes a data file by a team of ranks, which leaves when another team has failed; arguments as those it follows.

    Parameters
    ----------
    all_ranks
        Those of all teams.
    """

    def __init__(self, all_ranks: Ranks, *arguments: Any, **settings: Any) -> None:
        self._all_ranks = all_ranks
        super().__init__(*arguments, **settings)

    def _gathered(self, comm: MPI.Intracomm | None, watchdog: float | None) -> Ranks:
        return Ranks(comm, watchdog, within=self._all_ranks)


@dataclass(frozen=True)
class _Task:
    """What all teams know."""

    path: Path
    parts: Mapping[str, Make]
    mode: str
    settings: Mapping[str, Any]
    interrupts: Interrupts
    made: _Made = field(default_factory=_Made)

    def target(self, path: Path) -> Target:
        """Return the target of a data file, or of the file of links."""
        is_spread = path != self.path and self.settings.get("backend") == "virtual"
        return SpreadTarget(path, parts_of) if is_spread else Target(path)


def write_modular(
    path: str | Path,
    parts: Mapping[str, Make],
    assemble: Assemble,
    comm: MPI.Intracomm | None = None,
    weights: Mapping[str, float] | None = None,
    mode: str = "w",
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
    mode
        ``'w'``; or ``'resume'``, which goes on where an earlier job was ended: data files that have their names are
        taken as they are, whatever is in them, others are resumed or begun.
    **settings
        For ``NWBParallelIO``.

    Returns
    -------
    files
        The data files and, last, the file of links.

    Raises
    ------
    ParnwbError
        The same on all ranks. In mode ``'w'`` the files that this call has finished are removed, unless they replaced
        others; in mode ``'resume'`` they stay, and so does what was committed of others. A group that fails is noticed
        by the others when they have written the buffer that they are at, or when ``parts`` has returned.
    SystemExit
        With status 75, when a signal asked any rank to stop, as by ``NWBParallelIO.write``. What is finished stays.
    """
    path = Path(path).absolute()
    ranks = Ranks(comm, 0)  # ranks of other groups are silent here as long as theirs write; each group has its watchdog
    handlers = ExitStack()
    try:
        with ranks.agreed("dividing the ranks"):
            names = _checked(parts, path, settings, weights or {}, mode)
        said = {"parts": str(names), "path": str(path), "mode": mode}
        ranks.same(said, "Give the same parts on every rank")
        missing = ranks.on_root("looking at the output", lambda: _missing(names, path, settings, mode))
        task = _Task(path, parts, mode, settings, handlers.enter_context(Interrupts()))
        try:
            if missing:
                _write_parts(ranks, comm, teams(missing, weights or {}, ranks.size), task)
            _write_links(ranks, comm, names, assemble, task)
        except Interrupted as error:
            if ranks.is_root:
                last_words(str(ParnwbError(ASKED_TO_STOP, where=str(path), remedy=AGAIN)), 0)
            handlers.pop_all()  # stay: the same signal may come twice, and must not change the status
            raise SystemExit(EX_TEMPFAIL) from error
        except BaseException as error:
            if mode == "w":
                _remove(ranks, task.made, error)
            raise
        return (*(path.parent / name for name in names), path)
    finally:
        handlers.close()
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
    parts: Mapping[str, Make], path: Path, settings: Mapping[str, Any], weights: Mapping[str, float], mode: str
) -> list[str]:
    names = list(parts)
    if mode not in MODES:
        raise ParnwbError(f"mode must be one of {', '.join(MODES)}, got {mode!r}", where=str(path))
    if mode == "resume" and settings.get("overwrite"):
        raise ParnwbError(
            "mode 'resume' keeps the data files that are there, overwrite=True replaces them",
            where=str(path),
            remedy="Pass one of both",
        )
    if not names:
        raise ParnwbError("a modular file needs a data file", where=str(path), remedy="Give parts, or NWBParallelIO")
    full = [os.path.realpath(path.parent / name) for name in names]
    if len({*full, os.path.realpath(path)}) < len(names) + 1:
        raise ParnwbError(f"all files must have names of their own, got {', '.join(names)} and {path.name}")
    wrong = {name: weight for name, weight in weights.items() if name not in parts or not weight > 0}
    if wrong:
        raise ParnwbError(f"weights must be positive numbers for data files, got {wrong}")
    return names


def _missing(names: Sequence[str], path: Path, settings: Mapping[str, Any], mode: str) -> list[str]:
    """Return the data files that are to be written; refuse what would be replaced. Independent; on the root."""
    finished = [name for name in names if mode == "resume" and Target(path.parent / name).is_complete]
    missing = [name for name in names if name not in finished]
    refused = (*missing, path.name) if mode == "w" else (path.name,) if Target(path).is_complete else ()
    existing = [name for name in refused if os.path.lexists(path.parent / name)]
    if existing and not settings.get("overwrite"):
        raise ParnwbError(
            f"the output is there already: {', '.join(existing)}",
            where=str(path.parent),
            remedy="Pass overwrite=True, or mode='resume' if an earlier job was ended"
            if mode == "w"
            else "It is finished",
        )
    return missing


def _write_parts(ranks: Ranks, comm: MPI.Intracomm | None, divided: list[list[str]], task: _Task) -> None:
    """Write the data files, each team its own. Collective; teams that are done wait for the others."""
    own = divided[ranks.rank]
    team: MPI.Intracomm | None = None if comm is None else comm.Split(divided.index(own), ranks.rank)  # type: ignore
    stopped = None
    try:
        with ranks.agreed("writing the data files"), ranks.in_teams():
            watchdog = until_checked(task.settings.get("watchdog", DEFAULT_WATCHDOG))
            members = Ranks(team, watchdog, "write a data file", within=ranks)
            try:
                with _stopped_by_error():
                    for name in own:
                        _write_part(ranks, members, team, name, task)
            except Interrupted as error:  # does not ring at other teams, which need not lose anything
                stopped = error
            finally:
                members.free()
        if ranks.any_failed(stopped is not None):
            raise ranks.known_to_all(stopped or Interrupted(ASKED_TO_STOP, where=str(task.path)))
    finally:
        if team is not None:
            team.Free()


def _write_part(ranks: Ranks, members: Ranks, team: MPI.Intracomm | None, name: str, task: _Task) -> None:
    """Write one data file. Collective in its team."""
    path = task.path.parent / name
    mode = "w" if task.settings.get("backend") in BEGUN_ANEW else task.mode
    with _PartIO(ranks, path, mode, comm=team, **task.settings) as io:
        with members.agreed("making the NWBFile of a data file"):
            members.look_up()
            nwbfile = None if task.interrupts.received else task.parts[name]()
        if members.any_failed(task.interrupts.received):
            raise members.known_to_all(Interrupted(ASKED_TO_STOP, where=str(path)))
        io.write(nwbfile)
        if members.is_root:
            task.made.note(task.target(path))


def _write_links(
    ranks: Ranks, comm: MPI.Intracomm | None, names: Sequence[str], assemble: Assemble, task: _Task
) -> None:
    manager = get_manager()  # one for all: hdmf knows by it what was read from where
    with ExitStack() as files:
        nwbfile = None
        with ranks.agreed("assembling the file of links"):
            if ranks.is_root:
                nwbfile = assemble(_read_parts(files, task.path.parent, names, manager))
        if ranks.any_failed(task.interrupts.received):
            raise ranks.known_to_all(Interrupted(ASKED_TO_STOP, where=str(task.path)))
        given = {name: value for name, value in task.settings.items() if name in OF_ALL}
        with ranks.agreed("writing the file of links"), _stopped_by_error():
            with NWBParallelIO(task.path, task.mode, comm=comm, manager=manager, **given) as io:
                io.write(nwbfile)
                if ranks.is_root:
                    task.made.note(task.target(task.path))


@contextmanager
def _stopped_by_error() -> Iterator[None]:
    """Let the end of the program, which a signal has asked for, be an error, which all ranks can agree on."""
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__cause__, Interrupted):
            raise stop.__cause__ from None
        raise


def _read_parts(files: ExitStack, folder: Path, names: Sequence[str], manager: BuildManager) -> dict[str, NWBFile]:
    return {name: files.enter_context(NWBHDF5IO(str(folder / name), "r", manager=manager)).read() for name in names}


def _remove(ranks: Ranks, made: _Made, error: BaseException) -> None:
    """Remove what was made; before any rank can begin again, if all have the same error. Collective then."""
    if not ranks.all_know(error):
        made.remove()
        return
    with ranks.agreed("removing what was made"):
        made.remove()
