"""``parnwb convert``: one recording, or the sessions of a specification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parnwb.cli.afterwards import Afterwards
from parnwb.cli.agreed import agreed_world
from parnwb.cli.command import command
from parnwb.cli.first_import import import_neuroconv, import_pynwb
from parnwb.cli.options import (
    LOCAL,
    MOVIES,
    ON_MISMATCH,
    SOURCE,
    THREADS,
    WATCHDOG,
    WRITERS,
    compression_of,
    planning_where,
    reading,
    source_data,
)
from parnwb.cli.rehearsal import NOTHING_WRITTEN, rehearse_recording, rehearse_specification
from parnwb.cli.speaking import Voice, speaking, speaks

if TYPE_CHECKING:
    from mpi4py import MPI

    from parnwb.progress import View
    from parnwb.recordings.conversion import Converted


@dataclass(frozen=True)
class Work:
    """What a command line that has passed its checks asks for.

    Parameters
    ----------
    convert
        Does it. Collective.
    rehearse
        Says what would be done, and refuses what ``convert`` would refuse. Independent.
    """

    convert: Callable[[MPI.Intracomm, View], list[Converted]]
    rehearse: Callable[[], None]


@command(
    "Convert a recording to an NWB file.",
    ("mpiexec -n 8 parnwb convert RUN_g0 session.nwb", "a SpikeGLX folder, on 8 ranks"),
    ("parnwb convert RUN_g0 session.nwb --dry-run", "say what would be done, and write nothing"),
    ("mpiexec -n 8 parnwb convert RUN_g0 session.nwb --resume", "begin, or go on where an earlier job ended"),
    ("mpiexec -n 8 parnwb convert RUN_g0 session.nwb --report r.html", "verify it, and leave a page with pictures"),
    ("mpiexec -n 8 parnwb convert RUN_g0 session.nwb.zarr", "a Zarr store, as hdmf-zarr writes them"),
    ("parnwb convert a.mp4 a.nwb --interface ExternalVideoInterface --movies copy", "a movie, and a copy of it"),
    ("mpiexec -n 8 parnwb convert sessions.yml nwb/", "all sessions of neuroconv's YAML specification"),
    is_collective=True,
)
@SOURCE
@click.argument("output", required=False, type=click.Path(path_type=Path))
@reading
@planning_where("auto; of a SPEC.yml what neuroconv chooses")
@click.option(
    "--data-folder", type=click.Path(path_type=Path), help="Where the paths in a SPEC.yml begin; else beside it."
)
@click.option("--backend", default="auto", show_default=True, help="auto, direct, mpio or virtual.")
@LOCAL
@click.option("--transfer", default="independent", show_default=True, help="With mpio: independent or collective.")
@click.option("--overwrite", is_flag=True, allow_from_autoenv=False, help="Replace an existing file, finished or not.")
@click.option("--resume", is_flag=True, help="Go on where an earlier job ended; begin if there was none.")
@click.option(
    "--break-lock",
    is_flag=True,
    allow_from_autoenv=False,
    help="Take OUTPUT from a job that has surely ended but left OUTPUT.lock.",
)
@click.option("--commit-interval", default=300.0, show_default=True, help="Seconds between commits.")
@click.option("--manifest", is_flag=True, help="Leave checksums of the file beside it, as OUTPUT.crc, for verify.")
@click.option(
    "--no-copy", is_flag=True, help="Leave values in SOURCE where it is a flat file of exactly these; else refused."
)
@MOVIES
@ON_MISMATCH
@WRITERS
@THREADS
@WATCHDOG
@click.option(
    "--report", type=click.Path(path_type=Path), help="Leave a page about it, as NAME.html; verifies the file."
)
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Read the finished file back and compare it with SOURCE.",
    show_default="with --report",
)
@click.option("--dry-run", is_flag=True, allow_from_autoenv=False, help="Say what would be done; write nothing.")
@speaking("No progress and no summary.")
def convert(
    source: Path,
    output: Path | None,
    report: Path | None,
    verify: bool | None,
    dry_run: bool,
    voice: Voice,
    **given: Any,
) -> None:
    """Convert the recording SOURCE to the file OUTPUT, under mpiexec with all ranks.

    An OUTPUT that ends in .zarr is a Zarr store.

    SOURCE may be neuroconv's YAML conversion specification: its sessions are converted one after another, into the
    folder OUTPUT or beside it.
    """
    if speaks():  # the others need none of it where the root can send them what they are to read
        import_pynwb()
        import_neuroconv()
    is_one = not _is_specification(source, given)
    stays = given["movies"] != "move"
    against = source_data(source, dict(given)) if is_one and stays else None
    afterwards = Afterwards(report, verify, against, given["watchdog"], voice.quiet)
    work = (_convert_recording if is_one else _convert_specification)(source, output, given)
    if dry_run:
        from parnwb.comm import launched_size

        if launched_size() > 1:
            agreed_world()
        if speaks():
            _rehearse(work, afterwards, voice)
        return
    comm = agreed_world()
    afterwards.check(comm)
    voice.check(comm)
    view = voice.view()
    if not afterwards.do(work.convert(comm, view), comm, view):
        raise click.exceptions.Exit(1)


def _rehearse(work: Work, afterwards: Afterwards, voice: Voice) -> None:
    """Look at what the conversion would look at, in its order, and say what it would do. Independent."""
    afterwards.look()
    voice.look()
    work.rehearse()
    click.echo(NOTHING_WRITTEN)


def _is_specification(source: Path, given: dict[str, Any]) -> bool:
    return source.suffix in (".yml", ".yaml") and given["interface"] is None


def _convert_recording(source: Path, output: Path | None, given: dict[str, Any]) -> Work:
    """Return the conversion of one recording; refuse command lines that do not fit one. Independent."""
    from parnwb.recordings import conversion

    if output is None:
        raise click.UsageError("Missing argument 'OUTPUT'.")
    if given.pop("data_folder") is not None:
        raise click.UsageError("--data-folder is for a YAML conversion specification as SOURCE")
    compression = compression_of(given.pop("compression") or "auto")
    data, file = source_data(source, given), output
    settings = {**given, "compression": compression}
    return Work(
        lambda comm, view: [conversion.convert(data, file, comm, progress=view, **settings)],
        lambda: rehearse_recording(data, file, settings),
    )


def _convert_specification(source: Path, output: Path | None, given: dict[str, Any]) -> Work:
    """Return the conversion of all sessions of a specification; refuse options for one recording. Independent."""
    from parnwb.neuroconv import run_conversion_from_yaml

    given.pop("interface")
    if given.pop("no_copy"):
        raise click.UsageError("--no-copy is for a recording: a specification says itself how data are stored")
    for name in ("options", "metadata"):
        if given.pop(name):
            raise click.UsageError(f"--{name.removesuffix('s')} is for a recording: write it into the specification")
    given["compression"] = compression_of(given["compression"] or "neuroconv")
    given |= {"data_folder_path": given.pop("data_folder"), "parallel_backend": given.pop("backend")}
    return Work(
        lambda comm, view: run_conversion_from_yaml(
            source, output_folder_path=output, comm=comm, progress=view, **given
        ),
        lambda: rehearse_specification(source, output, given),
    )
