"""The ranks of one command, which have all understood their command line, and were given the same options."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from parnwb.errors import LaunchError

if TYPE_CHECKING:
    from mpi4py import MPI

    from parnwb.comm import Ranks

UNDERSTANDING = "understanding the command line"
REMEDY = "Have one parnwb.toml and PARNWB_ environment on all hosts, or give it on the command line"
AGREED = "parnwb: ranks have met"


def agreed_world() -> MPI.Intracomm:
    """Return the communicator of all ranks, whose command has the same options everywhere. Collective.

    Configuration files and the environment are those of each host, and options decide what ranks do together.

    Raises
    ------
    AgreementError
        Names the first rank and the first option that differ.
    click.UsageError
        Another rank has not understood its options; says which and why.
    """
    from parnwb.comm import world

    context = click.get_current_context()
    context.meta[AGREED] = True
    comm = world()
    ranks = _ranks(comm)
    try:
        _refuse(ranks, _said(ranks, lambda: None))
        ranks.same({_word(context, name): value for name, value in context.params.items()}, REMEDY)
    finally:
        ranks.free()
    return comm


def have_met(context: click.Context) -> bool:
    """Tell whether this command has come to ``agreed_world``, and other ranks need not be told of it. Independent."""
    return bool(context.meta.get(AGREED))


def fail_together(error: Exception) -> NoReturn:
    """Leave with an error that came before ``agreed_world``, where the other ranks are told of it. Collective.

    Without it they would wait in the start of MPI, in which nobody looks up, for a rank that has left.
    """
    from parnwb.comm import world

    try:
        ranks = _ranks(world())
    except LaunchError:
        raise error from None  # nobody waits where ranks cannot meet, and this came first
    try:
        if isinstance(error, click.ClickException):
            said = _said(ranks, error.format_message)
            if all(words == said[0] for words in said):
                raise error
            _refuse(ranks, said)
        _said(ranks, lambda: _raise(error))
    finally:
        ranks.free()
    raise error


def _ranks(comm: MPI.Intracomm) -> Ranks:
    from parnwb.comm import DEFAULT_WATCHDOG, Ranks

    return Ranks(comm, DEFAULT_WATCHDOG, "begin the command")


def _said(ranks: Ranks, function: Callable[[], str | None]) -> list[str | None]:
    """Return why each rank has not understood its command line; other errors are raised on all. Collective."""
    return ranks.gather_agreed(UNDERSTANDING, function)


def _refuse(ranks: Ranks, said: list[str | None]) -> None:
    """Raise for all what the first rank says that has not understood; the same on all ranks."""
    for rank, words in enumerate(said):
        if words is not None:
            raise click.UsageError(f"{words.rstrip('.')} (rank {rank} on {ranks.hosts[rank]}, unlike others). {REMEDY}")


def _raise(error: Exception) -> NoReturn:
    raise error


def _word(context: click.Context, name: str) -> str:
    """Return what a parameter is called on the command line."""
    named: dict[str | None, Any] = {parameter.name: parameter for parameter in context.command.params}
    parameter = named.get(name)
    if isinstance(parameter, click.Argument):
        return parameter.human_readable_name
    return str(parameter.opts[0]) if parameter is not None else f"--{name.replace('_', '-')}"
