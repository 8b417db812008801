"""``parnwb plan``: what each rank would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parnwb.cli.options import SOURCE, compression_of, planning, reading, source_data
from parnwb.progress import MB

if TYPE_CHECKING:
    from parnwb.model import Prediction, Site
    from parnwb.plan import WritePlan


@click.command()
@SOURCE
@click.option("--ranks", type=click.IntRange(1, 1_000_000), required=True, help="Number of ranks to plan for.")
@reading
@planning
@click.option("--site", type=click.Path(path_type=Path), help="Costs that benchmarks/calibrate.py has measured.")
@click.option("--file-system-mbs", type=float, help="MB/s that all ranks together can write, if known.")
@click.option("--ranks-per-node", type=click.IntRange(min=1), help="How many ranks share a node's cores.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it, as NAME.png, .svg or .pdf (parnwb[plot]).")
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan as JSON.")
def plan(
    source: Path,
    ranks: int,
    as_json: bool,
    plot: Path | None,
    compression: str | None,
    site: Path | None,
    file_system_mbs: float | None,
    ranks_per_node: int | None,
    **given: Any,
) -> None:
    """Show what each of N ranks would read and write, without MPI and without writing, and about how long it takes."""
    from parnwb.dry_run import plan_conversion
    from parnwb.model import Work, predict

    where = _site(site, file_system_mbs=file_system_mbs, ranks_per_node=ranks_per_node)
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
        _show_plan(result)
        _show_prediction(prediction, measured=site is not None)


def _site(path: Path | None, **known: float | None) -> Site:
    from parnwb.model import Site, fitted

    return fitted(Site() if path is None else Site.from_file(path), **known)


def _show_prediction(prediction: Prediction, *, measured: bool) -> None:
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in prediction.phases.items())
    click.echo(
        f"about {prediction.seconds:.0f} s ({prediction.mbs:.0f} MB/s of data), limited by {prediction.limit}: {phases}"
    )
    if not measured:
        click.echo("for costs of another machine: measure this one's with benchmarks/calibrate.py and give --site")
    suffices = prediction.root_suffices
    click.echo(f"one root gives addresses fast enough for {suffices} such ranks; beyond that, larger chunks help")


def _show_plan(plan: WritePlan) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    datasets = Table(title="Datasets")
    for heading in ("turn", "path", "shape", "dtype", "chunks", "filters", "read"):
        datasets.add_column(heading)
    for turn, spec in ((turn, plan.layout.datasets[n]) for turn, group in enumerate(plan.order.turns) for n in group):
        filters = " ".join(f"{f.name}{list(f.options)}" for f in spec.filters) or "-"
        turned = "each in turn" if plan.order.alternates else str(turn + 1)
        datasets.add_row(turned, spec.path, str(spec.shape), spec.dtype, str(spec.chunks or "-"), filters, spec.access)
    console.print(datasets)
    shares = Table(title=f"{plan.ranks} ranks, {plan.decomposition}")
    for heading in ("rank", "MB", "buffers", "memory MB", "hyperslabs"):
        shares.add_column(heading)
    shown = min(plan.ranks, 16)
    for share in plan.to_json(ranks=range(shown))["shares"]:
        slabs = ", ".join(f"{s['dataset'].rsplit('/', 2)[-2]} {s['start']}+{s['count']}" for s in share["hyperslabs"])
        numbers = (f"{share['bytes'] / MB:.1f}", str(share["buffers"]), f"{share['projected_memory_bytes'] / MB:.0f}")
        shares.add_row(str(share["rank"]), *numbers, slabs or "-")
    console.print(shares)
    if shown < plan.ranks:
        console.print(f"... and {plan.ranks - shown} more ranks (--json has all)")
    console.print(
        f"{plan.layout.nbytes / MB:.1f} MB in all; largest share {plan.balance():.3f} of the average; "
        f"memory is that of buffers, on no rank more than {plan.memory() / MB:.0f} MB, beside the interpreter"
    )
