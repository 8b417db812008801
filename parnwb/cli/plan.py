"""``parnwb plan``: what each rank would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parnwb.cli.command import command
from parnwb.cli.options import SOURCE, compression_of, planning, reading, source_data
from parnwb.cli.showing import show_plan, show_prediction

if TYPE_CHECKING:
    from parnwb.model import Site

POSITIVE = click.FloatRange(min=0, min_open=True)
KNOWN = ("file_system_mbs", "stripe_mbs", "stripes", "cores_per_node", "ranks_per_node")


@command(
    "Show what each of N ranks would do.",
    ("parnwb plan RUN_g0 --ranks 64", "a table, the memory, and about how long it takes"),
    ("parnwb plan RUN_g0 --ranks 64 --plot plan.png", "a picture of which rank writes what"),
    ("parnwb plan RUN_g0 --ranks 64 --json > plan.json", "all of it, for programs"),
)
@SOURCE
@click.option("--ranks", type=click.IntRange(1, 1_000_000), required=True, help="Number of ranks to plan for.")
@reading
@planning
@click.option("--site", type=click.Path(path_type=Path), help="Costs that benchmarks/calibrate.py has measured.")
@click.option("--file-system-mbs", type=POSITIVE, help="MB/s that all ranks together can write, if known.")
@click.option("--stripe-mbs", type=POSITIVE, help="MB/s that one storage server takes of a file, if known.")
@click.option("--stripes", type=click.IntRange(min=1), help="Storage servers for the file, with --stripe-mbs.")
@click.option("--cores-per-node", type=click.IntRange(min=1), help="Cores of a node (64).")
@click.option("--ranks-per-node", type=click.IntRange(min=1), help="Ranks that share them; else as many.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it, as NAME.png, .svg or .pdf (parnwb[plot]).")
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan as JSON.")
def plan(
    source: Path,
    ranks: int,
    as_json: bool,
    plot: Path | None,
    compression: str | None,
    site: Path | None,
    **given: Any,
) -> None:
    """Show what each of N ranks would read and write, without MPI and without writing, and about how long it takes."""
    from parnwb.model import Work, predict
    from parnwb.recordings.dry_run import plan_conversion

    where = _site(site, **{name: given.pop(name) for name in KNOWN})
    data = source_data(source, given)
    result = plan_conversion(data, ranks, compression=compression_of(compression or "auto"), **given)
    prediction = predict(Work.of(result), where)
    if plot is not None:
        from parnwb.drawing.plan import MOST_RANKS
        from parnwb.drawing.plot import save_plot

        save_plot(result.to_json(ranks=range(min(ranks, MOST_RANKS))), plot)
    if as_json:
        click.echo(json.dumps({**result.to_json(), "prediction": prediction.to_json()}, indent=1))
    else:
        show_plan(result)
        show_prediction(prediction, measured=site is not None)


def _site(path: Path | None, **known: float | None) -> Site:
    from parnwb.errors import PlanError
    from parnwb.model import Site, fitted

    if path is None:
        known["ranks_per_node"] = known["ranks_per_node"] or known["cores_per_node"]
        if known["stripes"] and known["stripe_mbs"]:  # what is not known of the file system does not limit them
            known["file_system_mbs"] = known["file_system_mbs"] or known["stripes"] * known["stripe_mbs"]
    site = fitted(Site() if path is None else Site.from_file(path), **known)
    if known["stripes"] and site.stripe_mbs is None:
        raise PlanError(
            f"--stripes {known['stripes']} says nothing while it is not known what one of them takes",
            remedy="Give --stripe-mbs as well, or a --site that says it",
        )
    return site
