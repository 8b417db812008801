"""``parnwb demo``: a first look, on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from parnwb.cli.agreed import agreed_world
from parnwb.cli.command import command


@command(
    "Make, convert and verify a recording, for a first look.",
    ("parnwb demo", "350 MB in the folder demo"),
    ("parnwb demo --megabytes 5000 --folder /scratch/demo", "5 GB elsewhere"),
    is_collective=True,
)
@click.option("--megabytes", default=350, show_default=True, type=click.IntRange(min=1), help="Size of the recording.")
@click.option("--folder", default=Path("demo"), type=click.Path(path_type=Path), show_default=True)
@click.pass_context
def demo(context: click.Context, megabytes: int, folder: Path) -> None:
    """Make a SpikeGLX recording, convert it on 2 ranks and verify it on 3; under mpiexec, on its ranks."""
    from parnwb.comm import launched_size
    from parnwb.recordings.demo import run, run_within

    if launched_size() == 1:
        raise click.exceptions.Exit(run(folder, megabytes, click.echo))
    agreed_world()
    commands = context.find_root().command

    def run_command(words: Sequence[str]) -> int:
        return commands.main(list(words), standalone_mode=False) or 0

    status = run_within(folder, megabytes, run_command, click.echo)
    raise click.exceptions.Exit(status)
