"""``parnwb verify``: whether a file is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from parnwb.cli.agreed import agreed_world
from parnwb.cli.command import command
from parnwb.cli.first_import import import_pynwb
from parnwb.cli.options import OUTPUT, WATCHDOG, movies_option, reading, source_data
from parnwb.cli.speaking import Voice, speaking
from parnwb.cli.verdict import show_verdict


@command(
    "Say whether a file is right.",
    ("mpiexec -n 4 parnwb verify session.nwb --against RUN_g0", "compare it with its recording bit for bit"),
    ("parnwb verify session.nwb --dandi", "say what DANDI would say, too"),
    ("parnwb verify session.nwb --report verdict.html", "leave a page about it"),
    is_collective=True,
)
@OUTPUT
@click.option("--against", type=click.Path(path_type=Path), help="Recording to compare with, bit for bit.")
@reading
@movies_option("What convert did with movies that the recording names: ingest compares their frames.")
@click.option("--dandi", is_flag=True, help="Say also what DANDI would refuse, and what it would advise.")
@click.option("--buffer-mb", default=64.0, show_default=True, help="MiB that a rank reads at once.")
@WATCHDOG
@click.option("--report", type=click.Path(path_type=Path), help="Leave a page about what was found, as NAME.html.")
@speaking("No progress; only the verdict.")
def verify(
    output: Path,
    against: Path | None,
    dandi: bool,
    buffer_mb: float,
    watchdog: float,
    report: Path | None,
    voice: Voice,
    **given: Any,
) -> None:
    """Re-read the file OUTPUT under another decomposition and say whether it is right; the exit status tells."""
    if against is None and (ignored := [name for name in ("interface", "options", "metadata") if given[name]]):
        raise click.UsageError(f"--{ignored[0].removesuffix('s')} says how the recording of --against is read: add it")
    given["on_mismatch"] = "warn"  # nothing is written that could be wrong: what is in the file is compared
    source = source_data(against, given) if against is not None else None
    import_pynwb()
    comm = agreed_world()
    voice.check(comm)
    settings: dict[str, Any] = {"buffer_mb": buffer_mb, "watchdog": watchdog, "dandi": dandi}
    settings["progress"] = voice.view()
    from parnwb.recordings import conversion

    if report is not None:
        conversion.check_report_place(report, comm)
    verdict = conversion.check(output, comm, against=source, **settings)
    if comm.Get_rank() == 0:
        show_verdict(verdict)
    if report is not None:
        conversion.save_verification_report(report, verdict, comm)
        if comm.Get_rank() == 0 and not voice.quiet:
            click.echo(f"  report: {report}")
    if not verdict.ok:
        raise click.exceptions.Exit(1)
