"""``parnwb jobscript``: from a recording and a site file to a job."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parnwb.cli.command import command
from parnwb.cli.options import (
    MOVIES,
    ON_MISMATCH,
    OUTPUT,
    SOURCE,
    WRITERS,
    compression_of,
    planning,
    reading,
    source_data,
)
from parnwb.errors import PlanError, TargetError
from parnwb.progress import MB

if TYPE_CHECKING:
    from parnwb.jobscript import JobSize, Needs



@command(
    "Write a SLURM script of the right size.",
    ("parnwb jobscript RUN_g0 session.nwb --site site.sh > job.sbatch", "a script to look at and to submit by hand"),
    ("parnwb jobscript RUN_g0 session.nwb --site site.sh --wait", "submit it and follow it to its end"),
)
@SOURCE
@OUTPUT
@click.option("--site", required=True, type=click.Path(path_type=Path), help="Site file, as jobscripts/site.sh.")
@click.option("--plan", type=click.Path(path_type=Path), help="JSON of parnwb plan: then SOURCE is not looked at.")
@reading
@planning
@click.option("--nodes", type=click.IntRange(min=1), help="Nodes; else as few as finish within --minutes.")
@click.option("--ranks", type=click.IntRange(min=1), help="Ranks in all.")
@click.option("--minutes", default=30.0, show_default=True, help="In which the conversion should end.")
@click.option("--rate-mb", type=float, help="MB that one rank does in a second; else the site file's.")
@click.option("--stripes", type=click.IntRange(min=1), help="Storage servers for the file, on Lustre.")
@click.option("--commit-interval", default=300.0, show_default=True, help="Seconds between commits.")
@MOVIES
@ON_MISMATCH
@WRITERS
@click.option(
    "--script",
    type=click.Path(path_type=Path),
    help="Where to write it; else to standard output. Another script there is not replaced.",
)
@click.option("--submit", is_flag=True, help="Submit it, and show the number of the job.")
@click.option("--wait", is_flag=True, help="Submit it, and follow it to its end; the exit status is the job's.")
def jobscript(
    source: Path,
    output: Path,
    site: Path,
    plan: Path | None,
    script: Path | None,
    submit: bool,
    wait: bool,
    **given: Any,
) -> None:
    """Write a SLURM script that converts SOURCE to OUTPUT, requeues itself if its time is over, and verifies.

    Nodes, tasks, memory and time follow from the plan and from what the site file says of a node.
    """
    from parnwb import jobscript

    words = _words(given)
    needs = _needs(plan, source, given)
    chosen = {name: given[name] for name in ("nodes", "ranks", "minutes", "rate_mb", "stripes")}
    read = jobscript.read_site(site)
    size = jobscript.job_size(needs, read, **chosen)
    stays = given["movies"] != "move"
    text = jobscript.render(read, size, source, output, reading=words[0], converting=words[1], source_stays=stays)
    click.echo(_summary(needs, size), err=True)
    if not (submit or wait) and script is None:
        click.echo(text, nl=False)
        return
    path = script or output.absolute().with_name(f"{output.name}.sbatch")
    _leave(text, path)
    click.echo(f"{path}")
    if submit or wait:
        number = jobscript.submit(path)
        click.echo(f"job {number}")
        if wait:
            raise click.exceptions.Exit(jobscript.follow(number, _tell))


def _leave(text: str, path: Path) -> None:
    """Write the script, unless another one is there, which somebody may have edited."""
    try:
        if path.exists() and path.read_text(errors="replace") != text:
            raise TargetError(
                "another script, perhaps edited, is there and is not replaced",
                where=str(path),
                remedy="Submit it with sbatch, remove it, or choose another name with --script",
            )
        path.write_text(text)
    except OSError as error:
        raise TargetError(
            f"the script cannot be written: {error.strerror}", where=str(path), remedy="Choose another with --script"
        ) from error


def _words(given: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the options for reading, and for converting alone, as the script gives them."""
    metadata = given["metadata"]
    reading = [f"--interface={given['interface']}"] if given["interface"] else []
    reading += [f"--option={item}" for item in given["options"]]
    reading += [f"--metadata={metadata.absolute()}"] if metadata else []
    movies = given["movies"]
    reading += [f"--movies={movies}"] if movies == "ingest" else []
    converting = [f"--movies={movies}"] if movies != "ingest" else []  # whatever parnwb.toml says there
    converting += [f"--on-mismatch={given['on_mismatch']}"]
    converting += [f"--compression={given['compression']}"] if given["compression"] else []
    converting += [f"--chunks={given['chunks']}"] if given["chunks"] else []
    converting += [f"--decomposition={given['decomposition']}", f"--buffer-mb={given['buffer_mb']:g}"]
    writers = given["writers_per_node"]
    converting += [f"--writers-per-node={writers}"] if writers is not None else []
    queue = given["queue"]
    converting += [f"--queue={queue}"] if isinstance(queue, str) else [f"--queue={p}={n:g}" for p, n in queue.items()]
    return reading, [*converting, f"--commit-interval={given['commit_interval']:g}"]


def _needs(plan: Path | None, source: Path, given: dict[str, Any]) -> Needs:
    from dataclasses import replace

    from parnwb.jobscript import needs_of_plan

    if plan is None:
        from parnwb.recordings.dry_run import plan_conversion

        settings = {name: given[name] for name in ("decomposition", "buffer_mb", "queue", "chunks")}
        settings["compression"] = compression_of(given["compression"] or "auto")
        made = plan_conversion(source_data(source, dict(given)), given["ranks"] or 1, **settings)
        return replace(needs_of_plan(made.to_json(ranks=range(0))), ranks=given["ranks"])
    try:
        return needs_of_plan(json.loads(plan.read_text()))
    except (OSError, ValueError) as error:
        raise PlanError(
            f"the plan cannot be read: {error}", where=str(plan), remedy="Make one with parnwb plan --json > plan.json"
        ) from error


def _summary(needs: Needs, size: JobSize) -> str:
    more = f" ({size.ranks} for {size.asked}: as many on each)" if size.ranks != (size.asked or size.ranks) else ""
    return (
        f"{needs.nbytes / MB:.1f} MB on {size.nodes} node(s) with {size.tasks_per_node} rank(s) each{more}, "
        f"{size.memory_mb} MB of memory a node; about {size.estimated_seconds:.0f} s with verifying, "
        f"limited by {size.limited_by}; time limit {size.minutes} minutes"
    )


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
