"""Plans and predictions as text, at the width of the terminal."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click

from parnwb.progress import MB

if TYPE_CHECKING:
    from parnwb.layout import FilterSpec
    from parnwb.model import Prediction
    from parnwb.planning.plan import WritePlan

MOST_RANKS = 16


def say(text: str, indent: int = 0) -> None:
    """Print text in lines that fit, the second and all that follow further to the right."""
    width, space = min(shutil.get_terminal_size((120, 24)).columns, 120), " " * indent
    click.echo(click.wrap_text(text, width, initial_indent=space, subsequent_indent=f"{space}  "))


def show_prediction(prediction: Prediction, *, measured: bool) -> None:
    """Print how long it takes, and what limits it."""
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in prediction.phases.items())
    rate = f"{prediction.mbs:.0f} MB/s of data"
    say(f"about {prediction.seconds:.0f} s ({rate}), limited by {prediction.limit}: {phases}")
    if not measured:
        say("for costs of another machine: measure this one's with benchmarks/calibrate.py and give --site")
    suffices = prediction.root_suffices
    beyond = "beyond that, larger chunks help, or --backend virtual"
    say(f"one root gives addresses fast enough for {suffices} such ranks; {beyond}")


def show_plan(plan: WritePlan) -> None:
    """Print the datasets, and what each of the first ranks does with them."""
    show_datasets(plan)
    show_shares(plan)
    say(
        f"{plan.layout.nbytes / MB:.1f} MB in all; largest share {plan.balance():.3f} of the average; "
        f"memory is that of buffers, on no rank more than {plan.memory() / MB:.0f} MB, beside the interpreter"
    )


def _filter(item: FilterSpec) -> str:
    from parnwb.codec.filters import NUMCODECS
    from parnwb.codec.zarr import in_words

    return in_words(item) if item.identifier == NUMCODECS else f"{item.name}{list(item.options)}"


def show_datasets(plan: WritePlan) -> None:
    """Print the datasets in the order of the queue."""
    from parnwb.planning.layers import said_of_readings

    said = dict(said_of_readings(plan))
    click.echo("Datasets")
    for turn, group in enumerate(plan.order.turns):
        for spec in (plan.layout.datasets[number] for number in group):
            filters = " ".join(map(_filter, spec.filters)) or "no filters"
            turned = "each in turn" if plan.order.alternates else f"turn {turn + 1}"
            chunks = f"chunks {spec.chunks}" if spec.chunks else "no chunks"
            beside = f" with {spec.read_beside / MB:.1f} MB of other columns" if spec.read_beside > spec.nbytes else ""
            click.echo(f"  {spec.path}")
            say(f"{spec.shape} {spec.dtype}, {chunks}, {filters}; read {spec.access}{beside}, {turned}", indent=4)
            if spec.path in said:
                say(said[spec.path], indent=4)


def show_shares(plan: WritePlan) -> None:
    """Print a table of the first ranks."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{plan.ranks} ranks, {plan.decomposition}", box=SIMPLE_HEAD, title_justify="left", pad_edge=False
    )
    for heading in ("rank", "MB", "buffers", "memory MB", "hyperslabs"):
        table.add_column(heading, overflow="fold")
    shown = min(plan.ranks, MOST_RANKS)
    for share in plan.to_json(ranks=range(shown))["shares"]:
        slabs = ", ".join(f"{s['dataset'].rsplit('/', 2)[-2]} {s['start']}+{s['count']}" for s in share["hyperslabs"])
        numbers = (f"{share['bytes'] / MB:.1f}", str(share["buffers"]), f"{share['projected_memory_bytes'] / MB:.0f}")
        table.add_row(str(share["rank"]), *numbers, slabs or "-")
    Console().print(table)
    if shown < plan.ranks:
        say(f"... and {plan.ranks - shown} more ranks (--json has all)")
