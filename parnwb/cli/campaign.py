"""``parnwb campaign``: many recordings in one job."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parnwb.cli.agreed import agreed_world
from parnwb.cli.command import command
from parnwb.cli.first_import import import_pynwb
from parnwb.cli.options import LOCAL, MOVIES, ON_MISMATCH, THREADS, WATCHDOG, WRITERS, compression_of, planning
from parnwb.cli.speaking import Voice, speaking
from parnwb.progress import MB

if TYPE_CHECKING:
    from parnwb.campaign import Campaign


@command(
    "Convert many recordings in one job.",
    ("mpiexec -n 64 parnwb campaign sessions.yaml", "convert what is missing, with all ranks"),
    ("mpiexec -n 64 parnwb campaign sessions.yaml --results nightly.json", "write the summary elsewhere"),
    is_collective=True,
)
@click.argument("sessions", type=click.Path(path_type=Path))
@planning
@click.option("--results", type=click.Path(path_type=Path), help="Where to write the summary as JSON; else beside it.")
@click.option("--backend", default="auto", show_default=True, help="auto, direct, mpio or virtual.")
@LOCAL
@click.option(
    "--break-lock",
    is_flag=True,
    allow_from_autoenv=False,
    help="Take files from jobs that have surely ended but left their locks.",
)
@click.option("--commit-interval", default=300.0, show_default=True, help="Seconds between commits.")
@click.option("--manifest", is_flag=True, help="Leave checksums of each file beside it, for verify.")
@MOVIES
@ON_MISMATCH
@WRITERS
@THREADS
@WATCHDOG
@speaking("No progress and no summary.", "none; else each team says now and then how far its file is.")
def campaign(sessions: Path, results: Path | None, voice: Voice, compression: str | None, **given: Any) -> None:
    """Convert the recordings that SESSIONS lists, under mpiexec with all ranks.

    SESSIONS is a YAML file: 'sessions:' with a 'source' and an 'output' each. Ranks are divided among them so that all
    end together. What fails does not stop the others, and what is there is left alone: run it again for the rest.
    """
    from parnwb import campaign
    import_pynwb()
    comm = agreed_world()
    voice.check(comm)
    place = results if results is not None else sessions.with_suffix(".results.json")
    given["compression"] = compression_of(compression or "auto")
    tell = None if voice.quiet else partial(_show, results=place)
    given |= {"quiet": voice.quiet, "lines": voice.mode != "none"}
    done = campaign.run(sessions, comm, results=place.absolute(), tell=tell, **given)
    if done.status:
        raise click.exceptions.Exit(done.status)


def _show(done: Campaign, results: Path) -> None:
    click.echo(f"{'session':32} {'status':10} {'ranks':>5} {'MB':>9} {'ratio':>6} {'from':>7} {'s':>7}")
    for outcome in done.outcomes:
        name = Path(outcome.output).name
        ratio = f"{outcome.raw_bytes / outcome.file_bytes:.2f}" if outcome.file_bytes else "-"
        click.echo(
            f"{name:32} {outcome.status:10} {outcome.ranks or '-':>5} {outcome.raw_bytes / MB:9.1f} {ratio:>6} "
            f"{outcome.begun:7.1f} {outcome.seconds:7.1f}"
        )
        if outcome.error:
            click.echo(f"  {outcome.error}")
    raw = sum(outcome.raw_bytes for outcome in done.outcomes)
    counted = dict.fromkeys((outcome.status for outcome in done.outcomes), 0)
    for outcome in done.outcomes:
        counted[outcome.status] += 1
    words = ", ".join(f"{count} {status}" for status, count in counted.items())
    teams = ", ".join(map(str, done.arrangement.teams[:16])) + (", ..." if len(done.arrangement.teams) > 16 else "")
    click.echo(
        f"{len(done.outcomes)} sessions: {words}; {raw / MB:.1f} MB in {done.seconds:.1f} s; teams of {teams} rank(s); "
        f"{results}"
    )
