"""``parnwb convert --dry-run``: what would be done, said and not done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from parnwb.cli.options import compression_of, source_data
from parnwb.cli.showing import say, show_datasets, show_prediction
from parnwb.progress import MB

NOTHING_WRITTEN = "nothing was written: leave --dry-run out to do it"


def rehearse_recording(source: Path, output: Path | None, given: Mapping[str, Any]) -> None:
    """Print what ``convert`` would do with a recording; refuse what it would refuse. Independent."""
    from parnwb.comm import launched_size
    from parnwb.model import Site, Work, predict
    from parnwb.recordings.dry_run import rehearse
    from parnwb.settings import WriteSettings

    if output is None:
        raise click.UsageError("Missing argument 'OUTPUT'.")
    ranks = launched_size()
    settings = WriteSettings.among({**given, "compression": compression_of(given["compression"] or "auto")})
    found = rehearse(source_data(source, dict(given)), output, ranks, settings)
    plan = found.plan
    say(f"would convert {source}")
    say(f"to {output.absolute()}: {found.what}")
    show_datasets(plan)
    stored = f"about {found.about / MB:.1f} MB in the file" if found.about else "its size in the file is not known"
    say(f"{plan.layout.nbytes / MB:.1f} MB of data, {stored}; {found.free / MB:.0f} MB are free there")
    if found.movies:
        say(f"and {given['movies']} {found.movies} movie(s) of {found.movie_bytes / MB:.1f} MB beside it")
    hint = "" if ranks > 1 else " (more: mpiexec -n N parnwb convert ...)"
    say(f"on {ranks} rank(s){hint}, each with at most {plan.memory() / MB:.0f} MB of buffers")
    say(f"by backend {found.backend.name}: {found.backend.reason}")
    show_prediction(predict(Work.of(plan), Site()), measured=False)
    click.echo(NOTHING_WRITTEN)


def rehearse_specification(source: Path, output: Path | None, given: Mapping[str, Any]) -> None:
    """Print which sessions of a specification ``convert`` would convert. Independent."""
    from parnwb.neuroconv.specification import read_specification

    sessions = read_specification(source, given["data_folder"])
    folder = (output or source.parent).absolute()
    say(f"would convert {len(sessions)} session(s) of {source} into {folder}")
    for session in sessions:
        say(f"  {session.place}: {', '.join(session.interfaces.values())}; {_name(session.nwbfile_name)}")
    click.echo(NOTHING_WRITTEN)


def _name(name: str | None) -> str:
    return f"{name.removesuffix('.nwb')}.nwb" if name else "named by subject and session"
