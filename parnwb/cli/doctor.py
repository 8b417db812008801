"""``parnwb doctor``: what is here, and what is wrong with it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import click

from parnwb.cli.agreed import agreed_world
from parnwb.cli.command import command
from parnwb.cli.speaking import speaks
from parnwb.errors import LaunchError


@command(
    "Say what is here, and what is wrong with it.",
    ("parnwb doctor", "this machine, and the folder one is in"),
    ("srun parnwb doctor /scratch/project", "all hosts of a job, and whether they share a folder"),
    ("parnwb doctor --json", "for programs, and for fault reports"),
    is_collective=True,
)
@click.argument("folder", default=Path("."), type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--mpi", "only_mpi", is_flag=True, help="Print only name and version of the MPI library, for scripts.")
def doctor(folder: Path, as_json: bool, only_mpi: bool) -> None:
    """Say what is here (MPI, HDF5, hosts, limits), and what is wrong with it, for files in FOLDER."""
    from parnwb import doctor
    from parnwb.comm import launched_size

    if launched_size() > 1:
        with suppress(LaunchError):  # which is what it finds by itself, and says more of
            agreed_world()
    if only_mpi:
        click.echo(doctor.mpi_library())
        return
    report = doctor.examine(folder)
    if report is not None and speaks():
        lines = [json.dumps(report.to_json(), indent=1)] if as_json else doctor.describe(report)
        click.echo("\n".join(lines))
    if report is not None and not report.good:
        raise click.exceptions.Exit(1)
