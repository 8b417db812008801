"""One run of a campaign with all ranks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from logging import INFO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.campaign.sessions import Session, read_sessions
from parnwb.campaign.teams import Arrangement, arrange
from parnwb.campaign.turns import Turns, finish, prepare
from parnwb.comm import Ranks
from parnwb.errors import Interrupted, ParnwbError, TargetError
from parnwb.interrupts import EX_TEMPFAIL, Interrupts
from parnwb.progress import PlainLines, Silent
from parnwb.recordings.conversion import convert
from parnwb.site import can_resume
from parnwb.target import Target
from parnwb.target.lock import Lock
from parnwb.target.process import Process
from parnwb.voice import NOTICE

if TYPE_CHECKING:
    from mpi4py import MPI

CONVERTED, THERE, FAILED, STOPPED, NOT_BEGUN = "converted", "was there", "failed", "stopped", "not begun"
LINES_APART = 30.0


@dataclass(frozen=True)
class Outcome:
    """What became of one session.

    Parameters
    ----------
    source, output
        Paths.
    status
        ``converted``, ``was there``, ``failed``, ``stopped`` (the next run goes on) or ``not begun``.
    ranks, host
        How many took part, and where the first of them was.
    begun, seconds
        After the beginning of the run, and how long it took.
    raw_bytes, file_bytes
        Uncompressed, and of the file.
    error
        In words; empty where there was none.
    """

    source: str
    output: str
    status: str
    ranks: int = 0
    host: str = ""
    begun: float = 0.0
    seconds: float = 0.0
    raw_bytes: int = 0
    file_bytes: int = 0
    error: str = ""


@dataclass(frozen=True)
class Campaign:
    """What became of all sessions.

    Parameters
    ----------
    outcomes
        In the order of the list.
    arrangement
        How ranks were divided.
    seconds
        For all of it.
    """

    outcomes: tuple[Outcome, ...]
    arrangement: Arrangement
    seconds: float

    @property
    def status(self) -> int:
        """Exit status: 0 where all files are there, 75 where the next run goes on, else 1."""
        found = {outcome.status for outcome in self.outcomes}
        if found & {STOPPED, NOT_BEGUN}:
            return EX_TEMPFAIL
        return 1 if FAILED in found else 0

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON's types."""
        return {
            "seconds": self.seconds,
            "teams": list(self.arrangement.teams),
            "sessions": [asdict(outcome) for outcome in self.outcomes],
        }


def run(
    listed: Path,
    comm: MPI.Intracomm,
    *,
    results: Path,
    quiet: bool = False,
    lines: bool = True,
    break_lock: bool = False,
    movies: str = "keep",
    tell: Callable[[Campaign], None] | None = None,
    **settings: Any,
) -> Campaign:
    """Convert all sessions of a list whose files are not there yet. Collective.

    A session that fails does not stop the others, one that a former run has left is resumed, or begun anew where the
    backend keeps no journal.

    Parameters
    ----------
    listed
        As for ``read_sessions``.
    results
        Where to write what became of them, as JSON; a folder that all ranks see.
    quiet
        Whether leaders of teams say nothing.
    lines
        Whether they say how far their file is.
    break_lock
        Take results and outputs from jobs that have surely ended.
    movies
        What becomes of movies that sessions name: ``'keep'``, ``'copy'``, ``'move'`` or ``'ingest'``.
    tell
        Called on the root at the end, before any rank returns: launchers end a job with the first rank that fails.
    settings
        For ``NWBParallelIO``.

    Returns
    -------
    campaign
        The same on every rank.

    Raises
    ------
    ParnwbError
        The list cannot be read or the results not be written, or a team has failed between two sessions: then when the
        others have ended, and with the results written.
    """
    # Teams meet at the end only, so nothing is known here of ranks that are silent until then; teams watch their own.
    ranks = Ranks(comm, None, "run the campaign")
    try:
        policy = settings.get("on_mismatch", "raise")
        sessions = ranks.on_root("reading the list of sessions", lambda: read_sessions(listed, movies, policy))
        processes = ranks.gather_all(Process.this())
        with _reserved(ranks, results, processes, break_lock=break_lock):
            settings |= {"break_lock": break_lock, "movies": movies}
            view = PlainLines(interval=LINES_APART) if lines and not quiet else Silent()
            settings |= {"progress": view}
            done, trouble = _run(ranks, comm, sessions, results, settings, quiet=quiet)
        if tell is not None:
            ranks.on_root("telling the results", lambda: tell(done))
        with ranks.agreed("ending the campaign"):
            if trouble is not None:
                raise trouble
        return done
    finally:
        ranks.free()


@contextmanager
def _reserved(ranks: Ranks, results: Path, processes: Sequence[Process], *, break_lock: bool) -> Iterator[None]:
    """Keep other runs of this campaign away. Collective."""
    ranks.on_root("looking at the place of the results", lambda: _check_place(results))
    lost = results.with_name(results.name + ".lost")
    lock, is_ours = Lock(results.with_name(results.name + ".lock"), lost), False
    try:
        with ranks.agreed("reserving the results"):
            if ranks.is_root:
                lock.take(processes, like=None, break_lock=break_lock)
                is_ours = True
        yield
    finally:
        if is_ours:  # else what is there is another run's
            lock.release()
            lost.unlink(missing_ok=True)


def _check_place(results: Path) -> None:
    if not results.name:
        remedy = "Add a file name with --results, such as results.json"
        raise TargetError("the results must be a file", where=str(results), remedy=remedy)
    Target(results).check_place()


def _run(
    ranks: Ranks,
    comm: MPI.Intracomm,
    sessions: Sequence[Session],
    results: Path,
    settings: Mapping[str, Any],
    *,
    quiet: bool,
) -> tuple[Campaign, Exception | None]:
    """Return what became of all sessions, and what kept this rank's team from taking more. Collective."""
    began = time.monotonic()

    def missing_and_folder() -> tuple[list[int], list[int], Path]:
        missing = [number for number, session in enumerate(sessions) if not Target(session.output).is_complete]
        return missing, [sessions[number].nbytes() for number in missing], prepare(results)

    missing, sizes, folder = ranks.on_root("looking at what is missing", missing_and_folder)
    arrangement = arrange(sizes, ranks.size)
    order = [missing[number] for number in arrangement.order]
    seats = sorted(range(ranks.size), key=lambda rank: (ranks.hosts.index(ranks.hosts[rank]), rank))
    number = arrangement.team_of(seats.index(ranks.rank))
    team_comm = ranks.divided(number, seats.index(ranks.rank))
    turns = Turns(folder, len(arrangement.teams), len(order))
    team = _Team(team_comm, number, turns, began, settings, quiet=quiet)
    try:
        with ranks.agreed("converting the sessions"):
            trouble = team.work(sessions, order)
    finally:
        team.close()
        if ranks.is_root:
            finish(folder)
    found = ranks.gather_all(team.outcomes if team.leads else {})
    done = {number: outcome for part in found for number, outcome in part.items()}
    statuses = {number: NOT_BEGUN if number in missing else THERE for number in range(len(sessions))}
    outcomes = tuple(
        done.get(number) or Outcome(str(session.source.path), str(session.output), statuses[number])
        for number, session in enumerate(sessions)
    )
    campaign = Campaign(outcomes, arrangement, time.monotonic() - began)
    ranks.on_root("writing the results", lambda: _write(campaign, results))
    return campaign, trouble


def _write(campaign: Campaign, results: Path) -> None:
    part = results.with_name(results.name + ".part")
    part.write_text(json.dumps(campaign.to_json(), indent=1) + "\n")
    os.replace(part, results)


class _Team:
    """Ranks that convert one session after another. Construction and all methods are collective in the team."""

    def __init__(
        self,
        comm: MPI.Intracomm,
        number: int,
        turns: Turns,
        began: float,
        settings: Mapping[str, Any],
        *,
        quiet: bool,
    ) -> None:
        self._comm, self._number, self._turns = comm, number, turns
        self._began, self._settings, self._quiet = began, settings, quiet
        self.outcomes: dict[int, Outcome] = {}
        self._ranks = Ranks(comm, settings.get("watchdog"), "take the next session")

    @property
    def leads(self) -> bool:
        """Whether this rank is the first of the team."""
        return self._ranks.is_root

    def work(self, sessions: Sequence[Session], order: Sequence[int]) -> Exception | None:
        """Convert this team's first session, then what is left, until nothing is or the job is to stop.

        Return what went wrong between two sessions: other teams go on, and all that was done counts.
        """
        place: int | None = self._number if self._number < len(order) else None
        try:
            with Interrupts() as interrupts:
                while place is not None and not self._ranks.any_failed(interrupts.received):
                    outcome = self.outcomes[order[place]] = self._convert(sessions[order[place]])
                    if outcome.status == STOPPED:
                        break
                    place = self._ranks.on_root("taking the next session", self._turns.take)
        except Exception as error:  # noqa: BLE001 - agreed on in the team; raised when all results are written
            return error
        return None

    def close(self) -> None:
        """Give the team's communicators back."""
        self._ranks.free()
        self._comm.Free()

    def _convert(self, session: Session) -> Outcome:
        begun = time.monotonic()
        say = f"{session.output.name} ({self._ranks.size} rank(s) from {self._ranks.hosts[0]} on)"
        self._tell(f"begin {say}")
        known: dict[str, Any] = {"source": str(session.source.path), "output": str(session.output)}
        known |= {"ranks": self._ranks.size, "host": self._ranks.hosts[0], "begun": begun - self._began}
        try:
            # What is left without a journal is replaced; a file that has its name is not.
            resume = can_resume(session.output, self._settings.get("backend", "auto"))
            made = convert(session.source, session.output, self._comm, resume=resume, **self._convert_settings())
        except SystemExit:
            return self._ended(STOPPED, known, begun, say)
        except Exception as error:  # noqa: BLE001 - agreed on in the team; the other sessions are not concerned
            status = STOPPED if isinstance(error, Interrupted) else FAILED
            words = str(error) if isinstance(error, ParnwbError) else f"{type(error).__name__}: {error}"
            host = self._ranks.hosts[min(getattr(error, "parnwb_rank", 0), self._ranks.size - 1)]
            return self._ended(status, known, begun, say, error=f"{words} (on {host})")
        return self._ended(CONVERTED, known, begun, say, raw_bytes=made.raw_bytes, file_bytes=made.file_bytes)

    def _convert_settings(self) -> dict[str, Any]:
        return {**self._settings} if self.leads else {**self._settings, "progress": Silent()}

    def _ended(self, status: str, known: Mapping[str, Any], begun: float, say: str, **more: Any) -> Outcome:
        seconds = time.monotonic() - begun
        self._tell(f"{status} {say}, {seconds:.1f} s" + (f": {more['error']}" if more.get("error") else ""))
        return Outcome(status=status, seconds=seconds, **known, **more)

    def _tell(self, what: str) -> None:
        self._ranks.say("campaign", what, INFO if self._quiet else NOTICE)
