"""How a command speaks: which rank does, what it shows while it works, and where events go."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parnwb.progress import MODES
from parnwb.voice import NAME, NOTICE, say

if TYPE_CHECKING:
    from mpi4py import MPI

    from parnwb.progress import JsonLines, View

Command = Callable[..., Any]
LOGGER = logging.getLogger(NAME)
LEVELS = (NOTICE, logging.INFO, logging.DEBUG)


class Lines(logging.Handler):
    """Writes what the logger is given to standard error: a line for each, the same from all commands."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; last words have been written already."""
        if getattr(record, "is_said", False):
            return
        kind = "warning: " if record.levelno == logging.WARNING else ""
        part = record.name.removeprefix(f"{NAME}.")
        whose = NAME if record.levelno >= logging.WARNING else part
        if self.level < NOTICE and record.levelno < logging.WARNING:  # who asked for more wants to know whose it is
            whose = f"{NAME} {part} [rank {getattr(record, 'rank', 0)} on {getattr(record, 'host', '?')}]"
        with suppress(OSError, ValueError):  # a full disk of logs or a closed terminal ends no writing
            sys.stderr.write(f"{whose}: {kind}{record.getMessage()}\n")  # in one piece: launchers mix what they get
            sys.stderr.flush()


@contextmanager
def listening() -> Iterator[None]:
    """Let the logger be heard on standard error; at the end take away all that the command has added to it."""
    before, level, stdout = list(LOGGER.handlers), LOGGER.level, sys.stdout
    lines = Lines(NOTICE)
    LOGGER.addHandler(lines)
    LOGGER.setLevel(NOTICE)
    try:
        yield
    finally:
        for handler in [handler for handler in LOGGER.handlers if handler not in before]:
            LOGGER.removeHandler(handler)
            handler.close()
        LOGGER.setLevel(level)
        sys.stdout = stdout


@dataclass(frozen=True)
class Voice:
    """How much a command says, and where.

    Parameters
    ----------
    quiet
        Whether to say nothing of what is good.
    mode
        Of showing progress, one of ``MODES``.
    events
        Where events go; None for nowhere.
    """

    quiet: bool
    mode: str
    events: JsonLines | None

    def view(self) -> View:
        """Return what progress is shown to."""
        from parnwb.progress import Silent, view_by_name

        return Silent() if self.quiet else view_by_name(self.mode)

    def look(self) -> None:
        """Refuse a place for events to which this rank cannot write, and leave nothing there. Independent."""
        if self.events is not None:
            self.events.look()

    def check(self, comm: MPI.Intracomm) -> None:
        """Have the root look. Collective."""
        from parnwb.recordings import conversion

        if self.events is not None:
            conversion.check_opens("opening the log of events", self.look, comm)


PROGRESS = (
    "terminal (all datasets in one view, also where a launcher hides the terminal), plain (a line every few seconds), "
    "none, or auto, as standard error is."
)


def speaking(quiet: str, progress: str = PROGRESS) -> Callable[[Command], Command]:
    """Add the options that say how a command speaks, which it gets as ``voice``.

    Parameters
    ----------
    quiet
        What the command leaves out if it is to be quiet.
    progress
        Which views it has.
    """
    options = (
        click.option("--quiet", is_flag=True, help=quiet),
        click.option(
            "-v", "--verbose", count=True, help="Say more on standard error, with rank and host; twice: all there is."
        ),
        click.option(
            "--progress",
            type=click.Choice(MODES),
            default="auto",
            show_default=True,
            metavar="VIEW",
            help=progress,
        ),
        click.option(
            "--log-json",
            metavar="FILE|-",
            help="Append events to FILE, as one JSON object a line; - writes them to standard output, and all else to "
            "standard error.",
        ),
    )

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(*arguments: Any, quiet: bool, verbose: int, progress: str, log_json: str | None, **given: Any) -> Any:
            voice = Voice(quiet, progress, _events(log_json))
            if verbose:
                level = LEVELS[min(verbose, len(LEVELS) - 1)]
                LOGGER.setLevel(min(level, LOGGER.level))
                for handler in LOGGER.handlers:
                    if isinstance(handler, Lines):
                        handler.setLevel(level)
            return command(*arguments, voice=voice, **given)

        for option in reversed(options):  # the last decorator's is listed first
            run = option(run)
        return run

    return decorate


def _events(place: str | None) -> JsonLines | None:
    """Let events be written. All ranks do: one that ends the job says why."""
    if place is None:
        return None
    from parnwb.progress import JsonLines

    events = JsonLines(sys.stdout if place == "-" else Path(place))
    if place == "-":
        sys.stdout = sys.stderr  # people read what is there for them, and programs find nothing else between the lines
    LOGGER.addHandler(events)
    LOGGER.setLevel(logging.DEBUG)
    return events


def show_warning(message: Warning | str, category: type[Warning] = UserWarning, *where: Any, **also: Any) -> None:
    """Log a warning, once for all ranks."""
    if speaks():
        say(logging.WARNING, "warnings", str(message), kind=category.__name__)


def speaks() -> bool:
    """Tell whether this rank is the one to print; asked of the launcher, because MPI may not have begun."""
    from parnwb.comm import launched_rank

    return launched_rank() == 0
