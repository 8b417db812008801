"""The command line: each command is a few lines over the library."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from parnwb.errors import ParnwbError
from parnwb.progress import MB

if TYPE_CHECKING:
    from mpi4py import MPI

    from parnwb.conversion import Converted, SourceData
    from parnwb.plan import WritePlan
    from parnwb.progress import Progress
    from parnwb.verify import Verdict

Command = Callable[..., Any]
Work = Callable[["MPI.Intracomm", "Progress | None"], "list[Converted]"]
SOURCE = click.argument("source", type=click.Path(path_type=Path))
OUTPUT = click.argument("output", type=click.Path(path_type=Path))
WATCHDOG = click.option(
    "--watchdog",
    default=600.0,
    show_default=True,
    help="Seconds that one step of a rank may take before it ends the job; 0 for no limit.",
)


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
            "--compression",
            show_default="auto; of a SPEC.yml what neuroconv chooses",
            help="auto, gzip, a gzip level 0-9, or none.",
        ),
        click.option("--decomposition", default="balanced", show_default=True, help="balanced, slab or block."),
        click.option("--buffer-mb", default=64.0, show_default=True, help="MiB that a rank reads at once."),
        click.option(
            "--queue",
            multiple=True,
            metavar="POLICY|PATTERN=NUMBER",
            callback=lambda _, __, words: _policy(words),
            help="What is written first: file (default), round-robin or largest; or PATTERN=NUMBER, repeated: paths "
            "like '/processing/*', the smallest number first, the rest last.",
        ),
    ):
        command = option(command)
    return command


@commands.command()
@SOURCE
@click.argument("output", required=False, type=click.Path(path_type=Path))
@reading
@planning
@click.option(
    "--data-folder", type=click.Path(path_type=Path), help="Where the paths in a SPEC.yml begin; else beside it."
)
@click.option("--backend", default="auto", show_default=True, help="auto, direct or mpio.")
@click.option("--transfer", default="independent", show_default=True, help="With mpio: independent or collective.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file, finished or not.")
@click.option("--resume", is_flag=True, help="Go on where an earlier job ended; begin if there was none.")
@click.option("--break-lock", is_flag=True, help="Take OUTPUT from a job that has surely ended but left OUTPUT.lock.")
@click.option("--commit-interval", default=300.0, show_default=True, help="Seconds between commits.")
@click.option("--manifest", is_flag=True, help="Leave checksums of the file beside it, as OUTPUT.crc, for verify.")
@WATCHDOG
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def convert(source: Path, output: Path | None, quiet: bool, **given: Any) -> None:
    """Convert the recording SOURCE to the file OUTPUT, under mpiexec with all ranks.

    SOURCE may be neuroconv's YAML conversion specification: its sessions are converted one after another, into the
    folder OUTPUT or beside it.
    """
    from parnwb.comm import world
    from parnwb.progress import progress_for

    _import_pynwb()
    run = _convert_specification if _is_specification(source, given) else _convert_recording
    work = run(source, output, given)
    comm = world()
    results = work(comm, progress_for(not quiet))
    if comm.Get_rank() == 0 and not quiet:
        for result in results:
            _show_converted(result, comm.Get_size())


@commands.command()
@OUTPUT
@click.option("--against", type=click.Path(path_type=Path), help="Recording to compare with, bit for bit.")
@reading
@click.option("--buffer-mb", default=64.0, show_default=True, help="MiB that a rank reads at once.")
@WATCHDOG
@click.option("--quiet", is_flag=True, help="No progress; only the verdict.")
def verify(
    output: Path, against: Path | None, buffer_mb: float, watchdog: float, quiet: bool, **given: Any
) -> None:
    """Re-read the file OUTPUT under another decomposition and say whether it is right; the exit status tells."""
    from parnwb.comm import world
    from parnwb.progress import progress_for

    if against is None and (ignored := [name for name in ("interface", "options", "metadata") if given[name]]):
        raise click.UsageError(f"--{ignored[0].removesuffix('s')} says how the recording of --against is read: add it")
    _import_pynwb()
    comm = world()
    source = _source_data(against, given) if against is not None else None
    settings: dict[str, Any] = {"buffer_mb": buffer_mb, "watchdog": watchdog, "progress": progress_for(not quiet)}
    from parnwb import conversion

    verdict = conversion.check(output, comm, against=source, **settings)
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
def plan(source: Path, ranks: int, as_json: bool, compression: str | None, **given: Any) -> None:
    """Show what each of N ranks would read and write, without MPI and without writing."""
    from parnwb.dry_run import plan_conversion

    data = _source_data(source, given)
    result = plan_conversion(data, ranks, compression=_compression(compression or "auto"), **given)
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


def _import_pynwb(patience: float = 10.0) -> None:
    """Import pynwb, again where that fails: the first in a new home writes a cache that others read half done."""
    until = time.monotonic() + patience
    while True:
        try:
            import pynwb  # noqa: F401 - what it brings is used by those who import it later
        except ImportError:
            raise
        except Exception:  # a pickle that was cut off may raise anything
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def _is_specification(source: Path, given: dict[str, Any]) -> bool:
    return source.suffix in (".yml", ".yaml") and given["interface"] is None


def _convert_recording(source: Path, output: Path | None, given: dict[str, Any]) -> Work:
    """Return the conversion of one recording; refuse command lines that do not fit one. Independent."""
    from parnwb import conversion

    if output is None:
        raise click.UsageError("Missing argument 'OUTPUT'.")
    if given.pop("data_folder") is not None:
        raise click.UsageError("--data-folder is for a YAML conversion specification as SOURCE")
    compression = _compression(given.pop("compression") or "auto")
    data, file = _source_data(source, given), output
    return lambda comm, progress: [
        conversion.convert(data, file, comm, progress=progress, compression=compression, **given)
    ]


def _convert_specification(source: Path, output: Path | None, given: dict[str, Any]) -> Work:
    """Return the conversion of all sessions of a specification; refuse options for one recording. Independent."""
    from parnwb.neuroconv import run_conversion_from_yaml

    given.pop("interface")
    for name in ("options", "metadata"):
        if given.pop(name):
            raise click.UsageError(f"--{name.removesuffix('s')} is for a recording: write it into the specification")
    given["compression"] = _compression(given["compression"] or "neuroconv")
    given |= {"data_folder_path": given.pop("data_folder"), "parallel_backend": given.pop("backend")}
    return lambda comm, progress: run_conversion_from_yaml(
        source, output_folder_path=output, comm=comm, progress=progress, **given
    )


def _source_data(path: Path, given: dict[str, Any]) -> SourceData:
    from parnwb.conversion import SourceData

    options = {}
    for item in given.pop("options"):
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"--option takes KEY=VALUE, got {item!r}")
        options[key] = value
    return SourceData(path, given.pop("interface"), options, given.pop("metadata"))


def _compression(text: str) -> str | int | None:
    return None if text == "none" else int(text) if text.isdecimal() and text.isascii() else text


def _policy(words: Sequence[str]) -> str | dict[str, float]:
    if not any("=" in word for word in words):
        if len(words) > 1:
            raise click.BadParameter(f"one policy, or PATTERN=NUMBER several times; got {' and '.join(words)}")
        return words[0] if words else "file"
    places = {}
    for word in words:
        pattern, separator, number = word.rpartition("=")
        try:
            places[pattern] = float(number)
        except ValueError:
            pattern = ""
        if not separator or not pattern:
            raise click.BadParameter(f"PATTERN=NUMBER, such as '/processing/*=0', got {word!r}")
    return places


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
