"""``parnwb convert --dry-run``: what would be done, said and not done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.cli.showing import say, show_datasets, show_prediction
from parnwb.progress import MB

if TYPE_CHECKING:
    from parnwb.neuroconv.rehearsing import Rehearsed
    from parnwb.recordings.conversion import SourceData

NOTHING_WRITTEN = "nothing was written: leave --dry-run out to do it"


def rehearse_recording(source: SourceData, output: Path, settings: Mapping[str, Any]) -> None:
    """Print what ``convert`` would do with a recording; refuse what it would refuse. Independent."""
    from parnwb.comm import launched_size
    from parnwb.model import Site, Work, predict
    from parnwb.recordings.dry_run import rehearse_conversion

    ranks = launched_size()
    found = rehearse_conversion(source, output, ranks, **settings)
    plan = found.plan
    say(f"would convert {source.path}")
    say(f"to {output.absolute()}: {found.what}")
    show_datasets(plan)
    stored = f"about {found.about / MB:.1f} MB in the file" if found.about else "its size in the file is not known"
    say(f"{plan.layout.nbytes / MB:.1f} MB of data, {stored}; {found.free / MB:.0f} MB are free there")
    if found.movies:
        say(f"and {source.movies} {found.movies} movie(s) of {found.movie_bytes / MB:.1f} MB beside it")
    hint = "" if ranks > 1 else " (more: mpiexec -n N parnwb convert ...)"
    say(f"on {ranks} rank(s){hint}, each with at most {plan.memory() / MB:.0f} MB of buffers")
    say(f"by backend {found.backend.name}: {found.backend.reason}")
    show_prediction(predict(Work.of(plan), Site()), measured=False)


def rehearse_specification(source: Path, output: Path | None, settings: Mapping[str, Any]) -> None:
    """Print what ``convert`` would do with each session of a specification; refuse what it would refuse. Independent.

    Parameters
    ----------
    settings
        For ``run_conversion_from_yaml``.
    """
    from parnwb.comm import launched_size
    from parnwb.neuroconv.rehearsing import rehearse_sessions

    sessions = rehearse_sessions(source, output_folder_path=output, ranks=launched_size(), **settings)
    folder = (output or source.parent).absolute()
    say(f"would convert {sum(one.found is not None for one in sessions)} session(s) of {source} into {folder}")
    for one in sessions:
        say(f"  {one.session.place}: {', '.join(one.session.interfaces.values())}; {one.path.name}, {_becomes(one)}")


def _becomes(one: Rehearsed) -> str:
    if one.found is None:
        return "which an earlier job has finished"
    return f"{one.found.plan.layout.nbytes / MB:.1f} MB of data, {one.found.what}"
