"""``parnwb plan``: what each rank would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parnwb.cli.options import SOURCE, compression_of, planning, reading, source_data
from parnwb.progress import MB

if TYPE_CHECKING:
    from parnwb.plan import WritePlan


@click.command()
@SOURCE
@click.option("--ranks", type=click.IntRange(1, 1_000_000), required=True, help="Number of ranks to plan for.")
@reading
@planning
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan as JSON.")
def plan(source: Path, ranks: int, as_json: bool, compression: str | None, **given: Any) -> None:
    """Show what each of N ranks would read and write, without MPI and without writing."""
    from parnwb.dry_run import plan_conversion

    data = source_data(source, given)
    result = plan_conversion(data, ranks, compression=compression_of(compression or "auto"), **given)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
    else:
        _show_plan(result)


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
    for heading in ("rank", "MB", "buffers", "hyperslabs"):
        shares.add_column(heading)
    shown = min(plan.ranks, 16)
    for share in plan.to_json(ranks=range(shown))["shares"]:
        slabs = ", ".join(f"{s['dataset'].rsplit('/', 2)[-2]} {s['start']}+{s['count']}" for s in share["hyperslabs"])
        shares.add_row(str(share["rank"]), f"{share['bytes'] / MB:.1f}", str(share["buffers"]), slabs or "-")
    console.print(shares)
    if shown < plan.ranks:
        console.print(f"... and {plan.ranks - shown} more ranks (--json has all)")
    console.print(
        f"{plan.layout.nbytes / MB:.1f} MB in all; largest share {plan.balance():.3f} of the average; "
        f"buffers of at most {plan.memory() / MB:.0f} MB on a rank, beside the interpreter"
    )
