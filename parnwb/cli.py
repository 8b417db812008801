"""The command line: each command is a few lines over the library."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from parnwb.errors import ParnwbError

if TYPE_CHECKING:
    from parnwb.conversion import Converted, Recording
    from parnwb.plan import WritePlan
    from parnwb.verify import Verdict

Command = Callable[..., Any]
SOURCE = click.argument("source", type=click.Path(path_type=Path))
OUTPUT = click.argument("output", type=click.Path(path_type=Path))
MB = 1e6


def main() -> NoReturn:
    """Run the command line; errors are told once, whatever the number of ranks."""
    warnings.showwarning = _show_warning
    try:
        sys.exit(commands.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        if _speaks():
            error.show()
        else:
            time.sleep(1)  # Open MPI's launcher ends the job with the first that fails: not before the root has spoken
        sys.exit(error.exit_code)
    except ParnwbError as error:
        if _speaks():
            from parnwb.comm import describe

            rank = getattr(error, "parnwb_rank", None)
            print(f"parnwb: {error if rank is None else describe(error, rank)}", file=sys.stderr, flush=True)
        sys.exit(1)


def _show_warning(message: Warning | str, *where: Any, **also: Any) -> None:
    if _speaks():
        print(f"parnwb: warning: {message}", file=sys.stderr, flush=True)


def _speaks() -> bool:
    """Tell whether this rank is the one to print; asked of the launcher, because MPI may not have begun."""
    from parnwb.comm import launched_rank

    return launched_rank() == 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="parnwb")
def commands() -> None:
    """Write Neurodata Without Borders (NWB) files in parallel.

    convert and verify run under MPI: mpiexec -n 4 parnwb convert SOURCE OUT.nwb
    """


def reading(command: Command) -> Command:
    """Add the options that say how neuroconv reads a source."""
    for option in (
        click.option("--interface", help="Data interface or converter of neuroconv; SpikeGLX needs none."),
        click.option(
            "--option", "options", multiple=True, metavar="KEY=VALUE", help="For the interface; may be repeated."
        ),
        click.option(
            "--metadata", type=click.Path(path_type=Path), help="YAML in neuroconv's format, merged over the source's."
        ),
    ):
        command = option(command)
    return command


def planning(command: Command) -> Command:
    """Add the options that shape the plan."""
    for option in (
        click.option(
            "--compression", default="auto", show_default=True, help="auto, gzip, a gzip level 0-9, or none."
        ),
        click.option("--decomposition", default="balanced", show_default=True, help="balanced, slab or block."),
        click.option("--buffer-mb", default=64.0, show_default=True, help="MiB that a rank reads at once."),
    ):
        command = option(command)
    return command


@commands.command()
@SOURCE
@OUTPUT
@reading
@planning
@click.option("--backend", default="auto", show_default=True, help="auto, direct or mpio.")
@click.option("--transfer", default="independent", show_default=True, help="With mpio: independent or collective.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file, finished or not.")
@click.option("--resume", is_flag=True, help="Go on where an earlier job ended; begin if there was none.")
@click.option("--break-lock", is_flag=True, help="Take OUTPUT from a job that has surely ended but left OUTPUT.lock.")
@click.option("--commit-interval", default=300.0, show_default=True, help="Seconds between commits.")
@click.option("--manifest", is_flag=True, help="Leave checksums of the file beside it, as OUTPUT.crc, for verify.")
@click.option(
    "--watchdog",
    default=600.0,
    show_default=True,
    help="Seconds that one step of a rank may take before it ends the job; 0 for no limit.",
)
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def convert(source: Path, output: Path, quiet: bool, compression: str, **given: Any) -> None:
    """Convert the recording SOURCE to the file OUTPUT, under mpiexec with all ranks."""
    from parnwb import conversion
    from parnwb.comm import world
    from parnwb.progress import progress_for

    recording = _recording(source, given)
    comm = world()
    result = conversion.convert(
        recording, output, comm, progress=progress_for(not quiet), compression=_compression(compression), **given
    )
    if comm.Get_rank() == 0 and not quiet:
        _show_converted(result, comm.Get_size())


@commands.command()
@OUTPUT
@click.option("--against", type=click.Path(path_type=Path), help="Recording to compare with, bit for bit.")
@reading
@click.option("--buffer-mb", default=64.0, show_default=True, help="MiB that a rank reads at once.")
@click.option("--quiet", is_flag=True, help="No progress; only the verdict.")
def verify(output: Path, against: Path | None, buffer_mb: float, quiet: bool, **given: Any) -> None:
    """Re-read the file OUTPUT under another decomposition and say whether it is right; the exit status tells."""
    from parnwb import conversion
    from parnwb.comm import world
    from parnwb.progress import progress_for

    if against is None and (ignored := [name for name in ("interface", "options", "metadata") if given[name]]):
        raise click.UsageError(f"--{ignored[0].removesuffix('s')} says how the recording of --against is read: add it")
    comm = world()
    recording = _recording(against, given) if against is not None else None
    verdict = conversion.check(output, comm, against=recording, buffer_mb=buffer_mb, progress=progress_for(not quiet))
    if comm.Get_rank() == 0:
        _show_verdict(verdict)
    if not verdict.ok:
        raise click.exceptions.Exit(1)


@commands.command()
@SOURCE
@click.option("--ranks", type=click.IntRange(1, 1_000_000), required=True, help="Number of ranks to plan for.")
@reading
@planning
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan as JSON.")
def plan(source: Path, ranks: int, as_json: bool, compression: str, **given: Any) -> None:
    """Show what each of N ranks would read and write, without MPI and without writing."""
    from parnwb.planning import plan_recording

    recording = _recording(source, given)
    result = plan_recording(recording, ranks, compression=_compression(compression), **given)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
    else:
        _show_plan(result)


@commands.command()
@click.argument("folder", default=Path("."), type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--mpi", "only_mpi", is_flag=True, help="Print only name and version of the MPI library, for scripts.")
def doctor(folder: Path, as_json: bool, only_mpi: bool) -> None:
    """Say what is here (MPI, HDF5, hosts, limits), and what is wrong with it, for files in FOLDER."""
    from parnwb import doctor

    if only_mpi:
        click.echo(doctor.mpi_library())
        return
    report = doctor.examine(folder)
    if report is not None and _speaks():
        lines = [json.dumps(report.to_json(), indent=1)] if as_json else doctor.describe(report)
        click.echo("\n".join(lines))
    if report is not None and not report.good:
        raise click.exceptions.Exit(1)


@commands.command()
@click.option("--megabytes", default=350, show_default=True, type=click.IntRange(min=1), help="Size of the recording.")
@click.option("--folder", default=Path("demo"), type=click.Path(path_type=Path), show_default=True)
def demo(megabytes: int, folder: Path) -> None:
    """Make a SpikeGLX recording, convert it on 2 ranks and verify it on 3."""
    from parnwb.demo import run

    raise click.exceptions.Exit(run(folder, megabytes))


def _recording(source: Path, given: dict[str, Any]) -> Recording:
    from parnwb.conversion import Recording

    options = {}
    for item in given.pop("options"):
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"--option takes KEY=VALUE, got {item!r}")
        options[key] = value
    return Recording(source, given.pop("interface"), options, given.pop("metadata"))


def _compression(text: str) -> str | int | None:
    return None if text == "none" else int(text) if text.isdecimal() and text.isascii() else text


def _show_converted(result: Converted, ranks: int) -> None:
    click.echo(f"{result.path}")
    earlier = result.raw_bytes - result.written_bytes
    resumed = f" ({earlier / MB:.1f} MB were there from an earlier job)" if earlier else ""
    click.echo(
        f"  {result.raw_bytes / MB:.1f} MB{resumed} in {result.file_bytes / MB:.1f} MB (ratio {result.ratio:.2f}), "
        f"{result.seconds:.1f} s, {result.written_bytes / MB / result.seconds:.0f} MB/s on {ranks} rank(s), "
        f"backend {result.backend}: {result.reason}"
    )


def _show_verdict(verdict: Verdict) -> None:
    for finding in verdict.findings:
        click.echo(f"  wrong: {finding}")
    compared = f"{len(verdict.compared)} compared with the source" if verdict.compared else "no source to compare with"
    stored = f"{verdict.checksums} checksums compared, " if verdict.checksums else ""
    click.echo(
        f"{'GOOD' if verdict.ok else 'BAD'}: {verdict.path}: {verdict.datasets} numeric datasets "
        f"({verdict.nbytes / MB:.1f} MB) read back, {stored}{compared}, {verdict.seconds:.1f} s"
    )


def _show_plan(plan: WritePlan) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    datasets = Table(title="Datasets")
    for heading in ("path", "shape", "dtype", "chunks", "filters", "read"):
        datasets.add_column(heading)
    for spec in plan.layout:
        filters = " ".join(f"{f.name}{list(f.options)}" for f in spec.filters) or "-"
        datasets.add_row(spec.path, str(spec.shape), spec.dtype, str(spec.chunks or "-"), filters, spec.access)
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
