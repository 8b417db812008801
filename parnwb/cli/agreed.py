"""The ranks of one command, which were all given the same options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mpi4py import MPI


def agreed_world() -> MPI.Intracomm:
    """Return the communicator of all ranks, whose command has the same options everywhere. Collective.

    Configuration files and the environment are those of each host, and options decide what ranks do together.

    Raises
    ------
    AgreementError
        Names the first rank and the first option that differ.
    """
    from parnwb.comm import DEFAULT_WATCHDOG, Ranks, world

    given = click.get_current_context().params
    comm = world()
    ranks = Ranks(comm, DEFAULT_WATCHDOG)
    try:
        named = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
        ranks.same(named, "Have one parnwb.toml and PARNWB_ environment on all hosts, or give it on the command line")
    finally:
        ranks.free()
    return comm
